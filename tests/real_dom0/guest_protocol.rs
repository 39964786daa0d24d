//! What a command in dom0 does when the guest that it talks to ends, floods, or says nothing, and when the
//! number that is noted for an app's domain is another domain's.

use crate::hostile;
use tests::{Dom0, Output};

/// An app that waits for its end, and takes no processor time meanwhile: that is dear where Xen is emulated.
const SLEEP: [&str; 4] = ["python", "sh", "-c", "trap 'exit 0' TERM; echo up; sleep 100000 & wait"];

/// Dom0's list of domains that have ended and that something still keeps.
const ZOMBIES: &str = "xl list | grep -c '(null)\\|---d' || true";

/// Runs `script` with `launch exec APP COMMAND &` before it, and prints the exit code of that `exec`.
fn beside_an_exec(dom0: &Dom0, app: &str, script: &str) -> Output {
    dom0.sh(&format!(
        "launch exec {app} sh -c 'echo in; sleep 1000' > /tmp/{app}.out 2> /tmp/{app}.err & exec=$!; \
        until grep -q in /tmp/{app}.out; do sleep 0.2; done; \
        {script} > /tmp/{app}.script 2>&1; \
        timeout 60 tail --pid $exec -f /dev/null; \
        if kill -9 $exec 2> /dev/null; then echo hangs; else wait $exec; echo $?; fi; \
        cat /tmp/{app}.err"
    ))
}

#[test]
fn an_exec_ends_with_137_when_its_domain_is_removed_destroyed_or_reboots_and_keeps_nothing_of_it() {
    let dom0 = Dom0::shared();
    let reboot =
        "launch exec ended python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x1234567)'";
    for script in ["launch rm -f ended", "xl destroy ended", reboot] {
        let before = dom0.sh(ZOMBIES).stdout;
        let app = dom0.start("ended", &SLEEP);
        let _ = dom0.eventually(120, "launch exec ended true");
        let output = beside_an_exec(dom0, "ended", script);
        assert_eq!(output.stdout.lines().next(), Some("137"), "{script}: {output:?}");
        // Of a restart, the kernel has ended the process with the app, so it has an end of its own.
        let told = output.stdout.contains("app ended has ended");
        assert_eq!(told, script != reboot, "{script}: {output:?}");
        if script.contains("rm -f") {
            std::mem::forget(app);
        } else {
            drop(app);
        }
        let _ = dom0.eventually(60, &format!("test \"$({ZOMBIES})\" = {}", before.trim()));
    }
}

#[test]
fn an_attached_command_ends_when_its_domain_is_removed_or_destroyed() {
    let dom0 = Dom0::shared();
    for (script, code) in [("launch rm -f held", "137"), ("xl destroy held", "137")] {
        let app = dom0.start("held", &[&["-i"], &SLEEP[..]].concat());
        let _ = dom0.eventually(120, "launch exec held true");
        let output = dom0.sh(&format!(
            "sleep 60 | launch attach held & attach=$!; sleep 3; {script} >/dev/null; \
            for i in $(seq 20); do kill -0 $attach 2>/dev/null || break; sleep 1; done; \
            if kill -9 $attach 2>/dev/null; then echo hangs; else wait $attach; echo $?; fi"
        ));
        assert_eq!(output.stdout.lines().last(), Some(code), "{script}: {output:?}");
        std::mem::forget(app);
        dom0.launch(&["rm", "-f", "held"]).expect_success();
    }
}

#[test]
fn an_exec_whose_reader_is_slow_still_hears_signals_and_the_end_of_its_domain() {
    let dom0 = Dom0::shared();
    let app = dom0.start("slow", &SLEEP);
    let _ = dom0.eventually(120, "launch exec slow true");
    for signal in ["INT", "TERM"] {
        // The reader takes nothing; `yes` fills ring and pipe.
        let script = format!(
            "mkfifo /tmp/slow.{signal}; sleep 300 < /tmp/slow.{signal} & reader=$!; \
            launch exec slow yes > /tmp/slow.{signal} & exec=$!; sleep 8; kill -{signal} $exec; \
            for i in 1 2 3 4 5 6 7 8 9 10; do \
                launch exec slow pgrep -x yes > /dev/null || break; sleep 1; done; \
            launch exec slow pgrep -x yes > /dev/null && echo 'yes goes on'; \
            kill $reader; wait $exec; rm /tmp/slow.{signal}"
        );
        let output = dom0.sh(&script);
        assert_eq!(output.stdout, "", "SIG{signal} was not passed on: {output:?}");
    }
    let script = "mkfifo /tmp/slow.end; sleep 300 < /tmp/slow.end & reader=$!; \
        launch exec slow yes > /tmp/slow.end & exec=$!; sleep 8; launch rm -f slow > /dev/null; \
        for i in $(seq 30); do xl list | grep -q '(null)\\|---d' || break; sleep 1; done; \
        xl list | grep '(null)\\|---d'; kill $reader; wait $exec; rm /tmp/slow.end";
    assert_eq!(dom0.sh(script).stdout, "", "the domain is kept by an exec whose reader is slow");
    std::mem::forget(app);
}

#[test]
fn the_third_signal_in_a_row_ends_an_exec_whose_process_does_not() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("insist", &SLEEP);
    let _ = dom0.eventually(120, "launch exec insist true");
    let script = "launch exec insist sh -c 'trap \"\" INT TERM; echo in; while :; do sleep 1; done' > /tmp/insist & \
        exec=$!; until grep -q in /tmp/insist; do sleep 0.2; done; \
        for i in 1 2 3; do kill -TERM $exec; sleep 0.5; done; wait $exec; echo $?";
    let output = dom0.sh(script);
    assert_eq!(output.stdout, "143\n", "{output:?}");
    assert!(output.stderr.contains("three signals"), "{output:?}");
}

#[test]
fn a_record_with_the_number_of_another_domain_sends_nothing_there_by_any_verb() {
    let dom0 = Dom0::shared();
    let _other = dom0.start("other", &[&["-e", "SECRET=others"], &SLEEP[..]].concat());
    let _own = dom0.start("own", &[&["-e", "SECRET=owns"], &SLEEP[..]].concat());
    let _ = dom0.eventually(120, "launch exec own true");
    // As a power cut leaves it: the number is another domain's by now, and nobody is in charge.
    // The domain itself stays, so that the test can give the number back.
    let state = "/var/lib/launch/domains/$(launch inspect -f '{{.Id}}' own)/state.json";
    let number =
        |name: &str| dom0.sh(&format!("xl domid {name}")).expect_success().stdout.trim().to_owned();
    let (own, other) = (number("own"), number("other"));
    let note = |domid: &str| {
        let script = format!(
            "state={state}; sed -i -E 's/\"domid\": *[0-9]+/\"domid\": {domid}/' $state; \
            grep -oE '\"domid\": *[0-9]+' $state | grep -oE '[0-9]+'"
        );
        assert_eq!(dom0.sh(&script).expect_success().stdout.trim(), domid);
    };
    // Its monitor has the right number and would write it again.
    let id = dom0.launch(&["inspect", "-f", "{{.Id}}", "own"]).expect_success().stdout;
    let tell_monitor = |signal: &str| {
        let script = format!("pkill -{signal} -f '[l]aunch-monitor.*{}'", id.trim());
        dom0.sh(&script).expect_success();
    };
    tell_monitor("STOP");
    note(&other);
    let paused = || dom0.sh("xl list other | tail -1 | awk '{print $5}'").stdout;
    let memory = || dom0.sh(&format!("xenstore-read /local/domain/{other}/memory/target")).stdout;
    let shutdown =
        || dom0.sh(&format!("xenstore-read /local/domain/{other}/control/shutdown")).stdout;
    let before = (memory(), shutdown());
    for verb in [
        &["exec", "own", "sh", "-c", "echo reached; env"][..],
        &["cp", "own:/etc/hostname", "-"],
        &["pause", "own"],
        &["unpause", "own"],
        &["kill", "-s", "USR1", "own"],
        &["update", "--memory", "48m", "own"],
        &["stop", "-t", "1", "own"],
        &["rename", "own", "own2"],
        &["rename", "own2", "own"],
        &["stats", "--no-stream", "own"],
    ] {
        let output = dom0.launch(verb);
        assert!(!output.stdout.contains("reached"), "{verb:?} reached another app: {output:?}");
        assert!(!output.stdout.contains("SECRET"), "{verb:?}: {output:?}");
        assert!(!paused().contains('p'), "{verb:?} has paused another app");
        assert_eq!((memory(), shutdown()), before, "{verb:?} changed another app's domain");
        let name = dom0.sh(&format!("xenstore-read /local/domain/{other}/name")).stdout;
        assert_eq!(name.trim(), "other", "{verb:?}");
    }
    let listed = dom0.launch(&["ps", "-a", "--format", "{{.Names}} {{.State}} {{.Domid}}"]);
    assert!(listed.stdout.contains(&format!("other running {other}")), "{listed:?}");
    assert!(!listed.stdout.contains(&format!("own running {other}")), "{listed:?}");
    let environment = dom0.launch(&["exec", "other", "env"]).expect_success().stdout;
    assert!(environment.contains("SECRET=others") && !environment.contains("owns"));
    // The right number again, for the app to be taken down as usual.
    note(&own);
    tell_monitor("CONT");
}

#[test]
fn frames_that_say_nothing_keep_no_command_beyond_its_deadline() {
    let dom0 = Dom0::shared();
    let modes = "silent,taken,taken-slowly,taken-for-ever";
    let _app = hostile::start(dom0, "mute", modes);
    for mode in modes.split(',') {
        println!("{mode}");
        let output = dom0.run(&["timeout", "-s", "KILL", "120", "launch", "exec", "mute", "true"]);
        output.expect_failure(1, &["mute", "did not answer within 15 seconds", "launch stop"]);
    }
}

#[test]
fn a_guest_that_answers_nothing_of_use_keeps_stats_from_no_other_app() {
    let dom0 = Dom0::shared();
    let _good = dom0.start("good", &SLEEP);
    let _ = dom0.eventually(120, "launch exec good true");
    let _mute = hostile::start(dom0, "mute-1", "taken");
    let _flood = hostile::start(dom0, "mute-2", "taken-for-ever");
    let format = "{{.Name}} {{.PIDs}}";
    let command = ["launch", "stats", "--no-stream", "--format", format];
    let output = dom0.run(&[&["timeout", "-s", "KILL", "120"], &command[..]].concat());
    let output = output.expect_success().stdout;
    let line = |name: &str| output.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(line("good ").ends_with(|last: char| last.is_ascii_digit()), "{output}");
    assert_eq!((line("mute-1 "), line("mute-2 ")), ("mute-1 --", "mute-2 --"), "{output}");
}

#[test]
fn ctrl_c_is_heard_in_a_flood_of_a_hostile_guests_and_the_third_ends_the_command() {
    let dom0 = Dom0::shared();
    let modes = "stdout-for-ever,started";
    let _app = hostile::start(dom0, "deaf", modes);
    for mode in modes.split(',') {
        let script = "launch exec deaf true > /dev/null 2> /tmp/deaf & exec=$!; sleep 10; \
            for i in 1 2 3; do kill -INT $exec; sleep 0.5; done; \
            timeout 60 tail --pid $exec -f /dev/null; \
            if kill -9 $exec 2> /dev/null; then echo hangs; else wait $exec; echo $?; fi; cat /tmp/deaf";
        let output = dom0.sh(script).stdout;
        assert!(
            output.starts_with("130\n") && output.contains("three signals"),
            "{mode}: {output}"
        );
    }
}
