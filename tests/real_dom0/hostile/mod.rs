//! A guest that does not play fair: an ordinary app whose root process takes the place of `init` on the
//! vchan that dom0 connects to. `vchan.py` lists what it can send.

use tests::{App, Dom0};

const VCHAN: &str = include_str!("vchan.py");

/// Starts the app `name` in which `vchan.py` serves dom0 with `modes` (and their arguments), the first
/// client with the first; returns when it does.
#[must_use]
pub(crate) fn start<'a>(dom0: &'a Dom0, name: &'a str, modes: &str) -> App<'a> {
    let script = format!(
        "until tail -n 1 /vchan.py 2>/dev/null | grep -q '^# The end'; do sleep 0.2; done
         exec python3 /vchan.py {modes}"
    );
    let app = dom0.start(name, &["python", "sh", "-c", &script]);
    dom0.write("/tmp/hostile/vchan.py", VCHAN);
    dom0.launch(&["cp", "/tmp/hostile/vchan.py", &format!("{name}:/vchan.py")]).expect_success();
    let _ = dom0.eventually(120, &format!("launch logs {name} | grep serving"));
    app
}

#[test]
fn a_guest_that_breaks_the_protocol_ends_the_command_with_one_line() {
    let dom0 = Dom0::shared();
    let modes = [
        ("frame-too-large", "16777215 bytes"),
        ("unknown-kind", "kind 99"),
        ("bad-index", "corrupted"),
        ("refused", "no"),
    ];
    let all: Vec<&str> = modes.iter().map(|(mode, _)| *mode).collect();
    let _app = start(dom0, "odd", &all.join(","));
    for (mode, word) in modes {
        println!("{mode}");
        let output = dom0.run(&["timeout", "-s", "KILL", "120", "launch", "exec", "odd", "true"]);
        output.expect_failure(1, &[word]);
    }
}
