//! The app is PID 1, as in a container: programs that insist on it, what others look up at PID 1, and
//! signals as Linux has them for it.

use tests::{App, Dom0};

/// Each way in which a domain is built, and each type.
const KINDS: [[&str; 4]; 4] = [
    ["--toolstack", "native", "--type", "pv"],
    ["--toolstack", "native", "--type", "pvh"],
    ["--toolstack", "xl", "--type", "pv"],
    ["--toolstack", "xl", "--type", "pvh"],
];

/// Programs of the image `inits` that run as PID 1 only, and what each says when it has started.
const INITS: [(&[&str], &str); 4] = [
    (&["runit"], "runit runs its services"),
    (&["busybox", "init"], "busybox runs its services"),
    (&["needs-pid-1"], "this is process no 1"),
    (
        &["tini", "-s", "--", "sh", "-c", "echo tini runs its child; sleep 1000"],
        "tini runs its child",
    ),
];

fn log_has(dom0: &Dom0, name: &str, words: &str) {
    let _ = dom0.eventually(120, &format!("launch logs {name} 2>&1 | grep -qF '{words}'"));
}

fn exec(dom0: &Dom0, args: &[&str]) -> String {
    dom0.launch(&[&["exec"], args].concat()).expect_success().stdout
}

/// An app of the image `inits`, started with a program of it.
fn start<'a>(dom0: &'a Dom0, flags: &[&str], program: &[&str]) -> App<'a> {
    dom0.start("first", &[flags, &["inits"], program].concat())
}

#[test]
fn programs_that_must_be_pid_1_run_whichever_toolstack_and_kind() {
    let dom0 = Dom0::shared();
    for kind in KINDS {
        for (program, said) in INITS {
            let _app = start(dom0, &kind, program);
            log_has(dom0, "first", said);
        }
    }
}

#[test]
fn programs_that_must_be_pid_1_run_in_a_domain_out_of_a_pool() {
    let dom0 = Dom0::shared();
    for kind in ["pv", "pvh"] {
        for image in [&[][..], &["--image", "inits"]] {
            let flags = ["--size", "1", "--type", kind];
            dom0.launch(&[&["pool"], &flags[..], image].concat()).expect_success();
            let waiting = dom0.sh("xl list | awk '/waiting-/{print $2}'").stdout;
            let (program, said) = INITS[0];
            let app = start(dom0, &["--type", kind], program);
            assert_eq!(app.inspect()["state"]["domid"].to_string(), waiting.trim());
            log_has(dom0, "first", said);
            drop(app);
            dom0.launch(&["pool", "--drain"]).expect_success();
        }
    }
}

#[test]
fn inits_stop_when_they_are_asked_to() {
    let dom0 = Dom0::shared();
    // Both switch the machine off in the end, or restart it, which is how their app ends.
    for (signal, program, code) in
        [("CONT", INITS[0], 130), ("USR2", INITS[1], 130), ("TERM", INITS[1], 129)]
    {
        let app = start(dom0, &["--stop-signal", signal, "--stop-timeout", "60"], program.0);
        log_has(dom0, "first", program.1);
        if signal == "CONT" {
            exec(dom0, &["first", "sh", "-c", ": >/run/runit.stopit; chmod 100 /run/runit.stopit"]);
        }
        dom0.launch(&["stop", "first"]).expect_success();
        let state = &app.inspect()["State"];
        assert_eq!(state["ExitCode"], code, "{signal}: {state}");
        assert!(state["Error"].as_str().unwrap().contains("its machine"), "{signal}: {state}");
    }
}

#[test]
fn a_cron_job_that_writes_to_pid_1s_streams_writes_to_the_log() {
    let dom0 = Dom0::shared();
    let crontab = "* * * * * root echo by-cron >/proc/1/fd/1; echo wrong >/proc/1/fd/2";
    let script = format!("echo '{crontab}' >/etc/cron.d/job; exec cron -f");
    let _app = start(dom0, &[], &["sh", "-c", &script]);
    let _ = dom0.eventually(150, "launch logs first 2>/dev/null | grep -x by-cron");
    let _ = dom0.eventually(10, "launch logs first 2>&1 >/dev/null | grep -x wrong");
}

#[test]
fn what_is_looked_up_at_pid_1_is_the_apps() {
    let dom0 = Dom0::shared();
    let script = "trap 'echo hup' HUP; echo up; while :; do sleep 1; done";
    for kind in KINDS {
        let _app = dom0.start(
            "looked",
            &[&kind[..], &["-e", "SECRET=words", "-u", "33", "python", "sh", "-c", script]]
                .concat(),
        );
        log_has(dom0, "looked", "up");
        let environ = exec(dom0, &["-u", "0", "looked", "cat", "/proc/1/environ"]);
        assert!(environ.contains("SECRET=words"), "{environ}");
        for user in ["0", "33"] {
            let write = format!("echo out-{user} >/proc/1/fd/1; echo err-{user} >/proc/1/fd/2");
            exec(dom0, &["-u", user, "looked", "sh", "-c", &write]);
            let _ = dom0
                .eventually(20, &format!("launch logs looked 2>/dev/null | grep -x out-{user}"));
            let _ = dom0.eventually(
                20,
                &format!("launch logs looked 2>&1 >/dev/null | grep -x err-{user}"),
            );
        }
        exec(dom0, &["-u", "0", "looked", "sh", "-c", "kill -HUP 1"]);
        log_has(dom0, "looked", "hup");
        // The app, what it waits for, and the two that look.
        let seen = exec(dom0, &["looked", "sh", "-c", "ls /proc | grep -c '^[0-9]'"]);
        assert!(seen.trim().parse::<u32>().unwrap() <= 5, "{seen}");
        let stats = dom0.launch(&["stats", "--no-stream", "--format", "{{.PIDs}}", "looked"]);
        // The shell, and `sleep` unless one has just ended.
        let count = stats.expect_success().stdout;
        assert!(["1\n", "2\n"].contains(&count.as_str()), "{count}");
    }
}

#[test]
fn what_runs_beside_the_app_sees_what_the_app_has_mounted() {
    let dom0 = Dom0::shared();
    let script = "mount -t tmpfs tmpfs /srv; echo inside >/srv/file; echo up; sleep 1000";
    let _app = dom0.start("mounted", &["python", "sh", "-c", script]);
    log_has(dom0, "mounted", "up");
    assert_eq!(exec(dom0, &["mounted", "cat", "/srv/file"]), "inside\n");
    dom0.sh("launch cp mounted:/srv/file /tmp/mounted && cat /tmp/mounted").expect_success();
    dom0.sh("launch cp /tmp/mounted mounted:/srv/back").expect_success();
    assert_eq!(exec(dom0, &["mounted", "cat", "/srv/back"]), "inside\n");
}

#[test]
fn a_signal_without_a_handler_does_nothing_to_pid_1_and_init_gives_it_its_usual_meaning() {
    let dom0 = Dom0::shared();
    let kill = ["python", "sh", "-c", "kill -TERM 1; sleep 3; echo lives"];
    let output = dom0.launch(&[&["--rm"], &kill[..]].concat());
    assert_eq!((output.code, output.stdout.as_str()), (0, "lives\n"), "{output:?}");
    let output = dom0.launch(&[&["--rm", "--init"], &kill[..]].concat());
    assert_eq!((output.code, output.stdout.as_str()), (143, ""), "{output:?}");

    let sleep = ["--stop-timeout", "3", "python", "sleep", "1000"];
    for (flag, code) in [(&[][..], 137), (&["--init"], 143)] {
        let app = dom0.start("unhandled", &[flag, &sleep].concat());
        exec(dom0, &["unhandled", "true"]);
        dom0.launch(&["stop", "unhandled"]).expect_success();
        assert_eq!(app.inspect()["State"]["ExitCode"], code);
    }
}

#[test]
fn an_init_before_the_app_reaps_orphans_and_ends_as_the_app_does() {
    let dom0 = Dom0::shared();
    let script = "for i in 1 2 3; do (sleep 0.1 &); done; sleep 1; cat /proc/[0-9]*/stat | grep -c ' Z '; exit 7";
    for kind in KINDS {
        let args = [&["--rm", "--init"], &kind[..], &["python", "sh", "-c", script]].concat();
        let output = dom0.launch(&args);
        assert_eq!((output.code, output.stdout.as_str()), (7, "0\n"), "{output:?}");
    }
    dom0.launch(&["--rm", "--init", "python", "no-such"]).expect_failure(127, &["no-such"]);
}

#[test]
fn an_app_that_restarts_its_machine_is_told_so() {
    let dom0 = Dom0::shared();
    let app = start(dom0, &[], &["busybox", "reboot", "-f"]);
    assert_eq!(dom0.launch(&["wait", "first"]).expect_success().stdout, "129\n");
    let error = app.inspect()["State"]["Error"].to_string();
    assert!(error.contains("restart of its machine"), "{error}");
}

#[test]
fn systemd_as_the_program_is_refused_in_one_line_that_says_what_is_missing() {
    let dom0 = Dom0::shared();
    dom0.launch(&["--rm", "inits", "/sbin/init"])
        .expect_failure(126, &["systemd", "control groups", "--kernel"]);
}
