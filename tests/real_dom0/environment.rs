//! Environment and arguments up to what Linux takes reach the app as they are: 128 KiB a word, 2 MiB in
//! all.
//!
//! With `LAB_XENSTORED=c` on the xenstored in C, else on the one in OCaml, which takes 2,048 bytes a node.

use tests::{App, Dom0, Output};

/// Each toolstack once, and each type once.
const KINDS: [[&str; 4]; 2] =
    [["--toolstack", "native", "--type", "pv"], ["--toolstack", "xl", "--type", "pvh"]];

/// Runs in the app: says how many variables, arguments and hosts it has got, and their digest.
const COUNT: &str = r#"
import hashlib, os, sys
digest = hashlib.sha256()
env = sorted((k, v) for k, v in os.environb.items() if k.startswith(b'E_'))
args = [os.fsencode(arg) for arg in sys.argv[1:]]
for k, v in env: digest.update(k + b'=' + v + b'\0')
for arg in args: digest.update(arg + b'\0')
hosts = sum('.hosts.example' in line for line in open('/etc/hosts'))
told = '%d variables, %d arguments, %d hosts, %s' % (len(env), len(args), hosts, digest.hexdigest())
"#;

/// Runs in dom0: makes words of one of two kinds, and runs `launch` with them. `many`: one value of 131,000
/// bytes, 3,000 variables, 3,000 arguments with all that JSON escapes, and further values to 1.9 MiB in all;
/// `control`: 1.8 MiB of control characters, of each of which JSON makes six bytes. The command line has
/// `HOSTS`, `ENV` and `ARGS` where the words belong. Prints what the app should tell.
const GIVE: &str = r#"
import hashlib, os, subprocess, sys
kind, command = sys.argv[1], sys.argv[2:]
if kind == 'many':
    env = {'E_BIG': 'x' * 131000}
    env.update(('E_%d' % i, 'value "%d" \\ \t %s' % (i, 'y' * 20)) for i in range(3000))
    args = ['argument %d\n"\\%s\u20ac\U0001f980' % (i, 'z' * 20) for i in range(3000)]
    size = lambda: (sum(len(k) + len(v.encode()) + 2 for k, v in env.items())
        + sum(len(arg.encode()) + 1 for arg in args))
    while (left := int(1.9 * 2**20) - size() - 20) > 0:
        env['E_F%d' % len(env)] = 'f' * min(left, 100000)
else:
    env, args = {'E_C%d' % i: '\1' * 125000 for i in range(15)}, ['\1']
with open('/tmp/env', 'w') as file:
    for k, v in env.items(): file.write('%s=%s\n' % (k, v))
words = {
    'HOSTS': [word for i in range(60) for word in ('--add-host', 'n%d.hosts.example:10.1.2.3' % i)],
    'ENV': ['--env-file', '/tmp/env'],
    'ARGS': args,
}
hosts = 60 if 'HOSTS' in command else 0
digest = hashlib.sha256()
for k in sorted(env): digest.update(('%s=%s\0' % (k, env[k])).encode())
for arg in args: digest.update(arg.encode() + b'\0')
command = [word for part in command for word in words.get(part, [part])]
print('%d variables, %d arguments, %d hosts, %s' % (len(env), len(args), hosts, digest.hexdigest()), flush=True)
sys.exit(subprocess.run(command).returncode)
"#;

/// Runs `launch COMMAND` with words of `kind`; returns what the app should tell, and the rest of the output.
fn give(kind: &str, command: &[&str]) -> (String, Output) {
    let dom0 = Dom0::shared();
    dom0.write("/tmp/give.py", GIVE);
    let mut output = dom0.run(&[&["python3", "/tmp/give.py", kind, "launch"], command].concat());
    assert_eq!(output.code, 0, "{output:?}");
    let (expected, rest) = output.stdout.split_once('\n').unwrap();
    let (expected, rest) = (expected.to_owned(), rest.to_owned());
    output.stdout = rest;
    (expected, output)
}

fn telling() -> String {
    format!("{COUNT}print(told)")
}

/// Tells it and stays.
fn staying() -> String {
    format!("{COUNT}print(told, flush=True)\nimport signal; signal.pause()")
}

fn expect_told(kind: &str, flags: &[&str]) {
    let words = ["HOSTS", "ENV", "python", "python3", "-c", &telling(), "ARGS"];
    let (expected, output) =
        give(kind, &[&["run", "--rm", "--name", "given"], flags, &words].concat());
    assert_eq!(output.stdout.trim(), expected, "{flags:?}: {}", output.stderr);
}

#[test]
fn all_that_linux_takes_reaches_the_app_by_either_toolstack() {
    let dom0 = Dom0::shared();
    dom0.launch(&["pull", "python"]).expect_success();
    let before = dom0.traces();
    for kind in KINDS {
        expect_told("many", &kind);
        dom0.expect_traces(&before);
    }
}

#[test]
#[ignore = "takes minutes on an emulated Xen; ci/test --long runs it"]
fn control_characters_fill_no_guest_of_the_usual_memory() {
    expect_told("control", &[]);
}

#[test]
fn all_that_linux_takes_reaches_an_app_out_of_a_pool_and_again_after_a_restart() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    dom0.launch(&["pull", "python"]).expect_success();
    dom0.launch(&["pool", "--size", "1", "--image", "python"]).expect_success();
    let waiting = dom0.sh("xl list | awk '/waiting-/{print $2}'").stdout;
    let staying = staying();
    let words = ["HOSTS", "ENV", "python", "python3", "-c", &staying, "ARGS"];
    let (expected, _) = give("many", &[&["run", "-d", "--name", "given"], &words[..]].concat());
    let app = Given(dom0);
    let domid = dom0.launch(&["ps", "--format", "{{.Domid}}"]).expect_success().stdout;
    assert_eq!(domid, waiting, "it was not taken out of the pool");
    let times = |count: u32| {
        let script = format!("test $(launch logs given | grep -c '^{expected}$') = {count}");
        let _ = dom0.eventually(600, &script);
    };
    times(1);
    dom0.launch(&["restart", "-t", "1", "given"]).expect_success();
    times(2);
    dom0.launch(&["pool", "--drain"]).expect_success();
    drop(app);
    dom0.expect_traces(&before);
}

/// The app `given`, removed when dropped.
struct Given<'a>(&'a Dom0);

impl Drop for Given<'_> {
    fn drop(&mut self) {
        let _ = self.0.launch(&["rm", "-f", "given"]);
    }
}

#[test]
#[ignore = "takes minutes on an emulated Xen; ci/test --long runs it"]
fn a_domain_started_by_hand_has_all_of_its_long_environment() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let serving = format!(
        "{COUNT}
import http.server, os
os.chdir('/tmp')
open('index.html', 'w').write(told)
http.server.test(http.server.SimpleHTTPRequestHandler, port=80)"
    );
    let words = ["HOSTS", "ENV", "python", "python3", "-c", &serving, "ARGS"];
    let (expected, output) = give("many", &[&["config", "--name", "given"], &words[..]].concat());
    let app = Given(dom0);
    dom0.write("/tmp/given.cfg", &output.stdout);
    dom0.sh("xl create /tmp/given.cfg").expect_success();
    let ip = dom0.launch(&["inspect", "-f", "{{.state.address}}", "given"]).stdout;
    let told = dom0.eventually(600, &format!("curl -sf --max-time 5 http://{}/", ip.trim()));
    assert_eq!(told, expected);
    dom0.sh("xl destroy given").expect_success();
    drop(app);
    dom0.expect_traces(&before);
}

#[test]
fn a_process_beside_the_app_is_given_as_much() {
    let dom0 = Dom0::shared();
    let _app =
        dom0.start("beside", &["python", "sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]);
    for kind in ["many", "control"] {
        let words = ["exec", "ENV", "beside", "python3", "-c", &telling(), "ARGS"];
        let (expected, output) = give(kind, &words);
        assert_eq!(output.stdout.trim(), expected, "{}", output.stderr);
    }
}

#[test]
fn what_linux_does_not_take_is_told_as_linux_tells_it() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let app: App<'_> =
        dom0.start("beside", &["python", "sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]);
    // One word that is too long, and all words together.
    for (lines, size, command) in [
        (1, 200_000, &["run", "--rm", "--env-file", "/tmp/env", "python"][..]),
        (22, 100_000, &["exec", "--env-file", "/tmp/env", "beside"]),
    ] {
        let script = format!(
            "for i in $(seq {lines}); do printf 'V%s=' $i; head -c {size} /dev/zero | tr '\\0' x; echo; \
             done > /tmp/env"
        );
        dom0.sh(&script).expect_success();
        let output = dom0.launch(&[command, &["true"]].concat());
        assert_eq!(output.code, 126, "{output:?}");
        let lines: Vec<&str> = output.stderr.lines().collect();
        assert!(lines.iter().any(|line| line.contains("argument list too long")), "{lines:?}");
    }
    drop(app);
    dom0.expect_traces(&before);
}

#[test]
fn short_orders_are_one_node_and_long_ones_are_nodes_that_a_guest_can_read_and_not_write() {
    let dom0 = Dom0::shared();
    let nodes = |name: &str| {
        let domid = dom0.launch(&["inspect", "-f", "{{.state.domid}}", name]).stdout;
        let path = format!("/local/domain/{}/vm-data", domid.trim());
        dom0.sh(&format!("xenstore-ls -fp {path}")).expect_success().stdout
    };
    let short = "x".repeat(1000);
    let app = dom0.start("short", &["-e", &format!("S={short}"), "hello"]);
    assert!(!nodes("short").contains("orders-chunks"));
    drop(app);
    let long = "x".repeat(100_000);
    for toolstack in ["native", "xl"] {
        let flags = ["--toolstack", toolstack, "-e", &format!("L={long}")];
        let app = dom0.start("long", &[&flags[..], &["hello"]].concat());
        let nodes = nodes("long");
        let domid = app.inspect()["state"]["domid"].to_string();
        let chunks = nodes.lines().filter(|line| line.contains("/orders-chunks/0/"));
        let of_guest = format!("(n0,r{domid})");
        assert!(chunks.clone().count() >= 49, "{nodes}");
        assert!(chunks.into_iter().all(|line| line.ends_with(&of_guest)), "{nodes}");
    }
}
