//! Domains that wait are taken by the apps that they fit, once each.

use std::collections::BTreeSet;
use tests::Dom0;

/// How many domains wait in all pools together.
const WAITING: &str = "launch pool | awk 'NR>1{n+=$NF} END{print n+0}'";

struct Pool<'a>(&'a Dom0);

/// A pool of `size` domains for hello, with further flags.
fn pool<'a>(dom0: &'a Dom0, size: &str, flags: &[&str]) -> Pool<'a> {
    dom0.launch(&[&["pool", "--size", size], flags].concat()).expect_success();
    Pool(dom0)
}

impl Drop for Pool<'_> {
    fn drop(&mut self) {
        let output = self.0.launch(&["pool", "--drain"]);
        if !std::thread::panicking() {
            output.expect_success();
        }
    }
}

fn waiting(dom0: &Dom0) -> BTreeSet<String> {
    let listed = dom0.sh("xl list | awk '/waiting-/{print $2}'").stdout;
    listed.lines().map(str::to_owned).collect()
}

fn answers(dom0: &Dom0, ip: &str) {
    let page = dom0.eventually(120, &format!("curl -sf --max-time 5 http://{ip}/"));
    assert!(page.contains("ello"), "{page}");
}

#[test]
fn a_waiting_domain_becomes_the_app_and_another_takes_its_place() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    for kind in ["pvh", "pv"] {
        for image in [&[][..], &["--image", "hello"]] {
            let pool = pool(dom0, "1", &[&["--type", kind], image].concat());
            let waited = waiting(dom0);
            assert_eq!(waited.len(), 1);
            let app = dom0.start("pooled", &["--type", kind, "-p", "18092:80", "hello"]);
            let domid = app.inspect()["state"]["domid"].to_string();
            assert!(waited.contains(&domid), "{domid} is none of {waited:?}");
            assert!(dom0.sh("xl list").stdout.contains("pooled"));
            if image.is_empty() {
                // It was promised its disk, and has it now.
                let params = format!("/libxl/{domid}/device/vbd/51712/params");
                dom0.sh(&format!("test -f $(xenstore-read {params})")).expect_success();
            }
            answers(dom0, &app.address());
            let _ = dom0.eventually(60, &format!("test $({WAITING}) = 1"));
            drop((app, pool));
            dom0.expect_traces(&before);
        }
    }
}

/// Launches at once; more with `LAUNCHES=50`, as long as there is memory for 32 MiB each.
fn launches_at_once() -> u32 {
    std::env::var("LAUNCHES").map_or(8, |count| count.parse().unwrap())
}

#[test]
fn launches_at_once_get_a_domain_each_out_of_a_pool_that_is_too_small() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let count = launches_at_once();
    // PV: in an emulated Xen some of several PVH domains that run at once die of triple faults,
    // whoever built them, xl too.
    let pool = pool(dom0, "4", &["-m", "32m", "--type", "pv"]);
    let waited = waiting(dom0);
    assert_eq!(waited.len(), 4);
    let all = format!(
        "for i in $(seq {count}); do (launch -d -m 32m --type pv --name at-once-$i hello >/dev/null || echo $i) & \
         done; wait"
    );
    // They may take longer than one command of a test may.
    dom0.sh(&format!(
        "rm -f /tmp/at-once.end; ({all}; touch /tmp/at-once.end) >/tmp/at-once.log 2>&1 &"
    ))
    .expect_success();
    let _ = dom0.eventually(1200, "test -e /tmp/at-once.end");
    assert_eq!(dom0.sh("cat /tmp/at-once.log").stdout, "");
    let ids = "launch inspect $(launch ps -q) | jq -r '.[] | select(.app.name | startswith(\"at-once\")) | .state.domid'";
    let domids: Vec<String> = dom0.sh(ids).stdout.lines().map(str::to_owned).collect();
    let different: BTreeSet<String> = domids.iter().cloned().collect();
    assert_eq!(different.len(), domids.len(), "{domids:?}");
    // An app that ended, as one now and then does in an emulated Xen, had a domain all the same.
    let ended = count as usize - domids.len();
    let made = dom0.sh("launch ps -aq --filter name=at-once | wc -l").stdout;
    assert_eq!(made.trim(), count.to_string(), "{domids:?}");
    assert!(ended <= 1, "{}", dom0.launch(&["ps", "-a"]).stdout);
    let untaken = waited.difference(&different).count();
    assert!(untaken <= ended, "{waited:?} waited, {different:?} were taken");
    let _ = dom0.eventually(300, &format!("test $({WAITING}) = 4"));
    dom0.sh("launch rm -f $(launch ps -aq)").expect_success();
    drop(pool);
    dom0.expect_traces(&before);
}

#[test]
fn an_app_that_wants_another_machine_is_started_cold() {
    let dom0 = Dom0::shared();
    let _pool = pool(dom0, "1", &[]);
    let waited = waiting(dom0);
    let app = dom0.start("cold", &["-m", "80m", "hello"]);
    answers(dom0, &app.address());
    assert_eq!(waiting(dom0), waited);
}

#[test]
fn an_app_that_wants_another_interface_is_started_cold() {
    let dom0 = Dom0::shared();
    let _pool = pool(dom0, "1", &[]);
    let waited = waiting(dom0);
    for flags in [&["--network", "none"][..], &["--ip", "10.107.3.4"]] {
        let app = dom0.start("other", &[flags, &["hello"]].concat());
        assert_eq!(waiting(dom0), waited, "{flags:?}");
        drop(app);
    }
}

#[test]
fn a_waiting_domain_keeps_its_address_until_it_is_destroyed() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let pool = pool(dom0, "1", &[]);
    let lease = "cat /var/lib/launch/leases*";
    let leased = dom0.sh(lease).stdout;
    // `ps` puts right what was left behind, at most every ten seconds.
    dom0.sh("sleep 11; launch ps").expect_success();
    assert_eq!(dom0.sh(lease).stdout, leased);
    let app = dom0.start("with-address", &["hello"]);
    assert!(leased.contains(&app.address()), "{leased}");
    drop((app, pool));
    dom0.expect_traces(&before);
}

#[test]
fn a_pool_is_filled_again_after_its_domains_died() {
    let dom0 = Dom0::shared();
    let _pool = pool(dom0, "2", &[]);
    dom0.sh("for d in $(xl list | awk '/waiting-/{print $2}'); do xl destroy $d; done")
        .expect_success();
    assert_eq!(dom0.sh(WAITING).stdout.trim(), "0");
    let app = dom0.start("after", &["hello"]);
    answers(dom0, &app.address());
    dom0.launch(&["pool", "--fill"]).expect_success();
    assert_eq!(dom0.sh(WAITING).stdout.trim(), "2");
}

#[test]
fn a_pool_is_filled_again_after_an_app_that_was_removed_at_once() {
    let dom0 = Dom0::shared();
    let _pool = pool(dom0, "1", &[]);
    dom0.sh("launch -d --name brief hello && launch rm -f brief").expect_success();
    let _ = dom0.eventually(60, &format!("test $({WAITING}) = 1"));
}

#[test]
fn resizing_keeps_what_waits() {
    let dom0 = Dom0::shared();
    let _pool = pool(dom0, "1", &[]);
    let first = waiting(dom0);
    dom0.launch(&["pool", "--size", "2"]).expect_success();
    let both = waiting(dom0);
    assert!(both.len() == 2 && both.is_superset(&first), "{first:?} {both:?}");
    dom0.launch(&["pool", "--size", "0"]).expect_success();
    assert_eq!(waiting(dom0).len(), 0);
}

#[test]
fn a_pool_of_an_unknown_image_is_refused() {
    let dom0 = Dom0::shared();
    dom0.launch(&["pool", "--size", "1", "--image", "no-such-image"])
        .expect_failure(1, &["no-such-image"]);
    assert_eq!(dom0.sh(WAITING).stdout.trim(), "0");
}
