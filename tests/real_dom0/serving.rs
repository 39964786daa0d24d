//! Images serve from domains of their own, PV and PVH.

use tests::Dom0;

/// Longest time from the start to the first answer; postgres makes its database first, and Xen is
/// emulated.
const PATIENCE_S: u64 = 300;
const KINDS: [&str; 2] = ["pvh", "pv"];

/// Runs `check` against the app's address for both kinds of domain, and looks for the domain in
/// `xl list`.
fn serves(image: &str, flags: &[&str], check: impl Fn(&str) -> String, answer: &str) {
    let dom0 = Dom0::shared();
    for kind in KINDS {
        let name = format!("{image}-{kind}");
        let app = dom0.start(&name, &[&["--type", kind], flags, &[image]].concat());
        let got = dom0.eventually(PATIENCE_S, &check(&app.address()));
        assert!(got.contains(answer), "{name} answered {got:?}");
        let listed = dom0.run(&["xl", "list"]).expect_success().stdout;
        assert!(listed.contains(&name), "{name} is not in xl list:\n{listed}");
    }
}

#[test]
fn nginx_serves_its_own_page() {
    serves("nginx", &[], |ip| format!("curl -sf --max-time 5 http://{ip}/"), "Welcome to nginx");
}

#[test]
fn redis_keeps_what_it_is_given() {
    let check =
        |ip: &str| format!("redis-cli -h {ip} set k v && redis-cli -h {ip} get k | grep -x v");
    serves("redis", &[], check, "v");
}

#[test]
fn postgres_answers_a_query() {
    let check = |ip: &str| {
        format!(
            "PGPASSWORD=secret PGCONNECT_TIMEOUT=5 psql -h {ip} -U postgres -Atc 'select 6*7' | grep -x 42"
        )
    };
    serves("postgres", &["-m", "192m", "-e", "POSTGRES_PASSWORD=secret"], check, "42");
}

#[test]
fn python_serves_a_folder() {
    let dom0 = Dom0::shared();
    for kind in KINDS {
        let name = format!("python-{kind}");
        let args = ["--type", kind, "-w", "/etc", "python", "python3", "-m", "http.server", "80"];
        let app = dom0.start(&name, &args);
        let ip = app.address();
        let page =
            dom0.eventually(PATIENCE_S, &format!("curl -sf --max-time 5 http://{ip}/passwd"));
        assert!(page.contains("root:"), "{name} answered {page:?}");
    }
}

#[test]
fn memcached_answers() {
    let check =
        |ip: &str| format!("printf 'version\\r\\nquit\\r\\n' | nc -w 5 {ip} 11211 | grep VERSION");
    serves("memcached", &[], check, "VERSION");
}

#[test]
fn a_static_program_on_an_empty_image_serves() {
    serves("hello", &[], |ip| format!("curl -sf --max-time 5 http://{ip}/"), "ello");
}
