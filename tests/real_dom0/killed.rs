//! Killed at any step, launcher and monitor leave nothing that the next command does not put right.

use tests::Dom0;

/// Runs `launch ARGS` with its trace, and kills it as soon as a line of it has `$0` in it.
const KILL_AT: &str = "rm -f /tmp/trace; mkfifo /tmp/trace; \
    LAUNCH_LOG=info launch \"$@\" 2>/tmp/trace >/dev/null & pid=$!; \
    while read -r line; do case \"$line\" in \
        *\"$0\"*) kill -9 $pid 2>/dev/null; echo killed;; esac; done </tmp/trace; \
    wait $pid 2>/dev/null; true";

/// At its last steps a launch may be faster than who kills it: the app runs then, which the tests
/// allow for.
fn kill_at(dom0: &Dom0, step: &str, args: &[&str]) {
    let output = dom0.run(&[&["bash", "-c", KILL_AT, step], args].concat());
    assert!(output.stdout.contains("killed"), "no step {step:?}: {output:?}");
}

/// The steps of a start, as `launch` traces them; the first line of each tells its beginning.
const STEPS: [&str; 11] = [
    "create: ",
    "step=\"folder\"}",
    "build: ",
    "introduce: ",
    "step=\"disks\"}",
    "step=\"network\"}",
    "step=\"orders\"}",
    "step=\"devices\"}",
    "attach: ",
    "bridge: ",
    "step=\"monitor\"}",
];

fn launch_leaves_nothing(args: &[&str], steps: &[&str]) {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    for step in steps {
        kill_at(dom0, step, &[&["run", "-d", "--name", "killed", "-p", "18093:80"], args].concat());
        // Any command repairs; a kill that came late has left an app that runs.
        let _ = dom0.launch(&["ps"]);
        dom0.sh("launch rm -f killed 2>/dev/null; true").expect_success();
        dom0.expect_traces(&before);
    }
}

#[test]
fn a_launcher_killed_at_any_step_leaves_nothing() {
    launch_leaves_nothing(&["hello"], &STEPS);
}

#[test]
fn a_launcher_killed_while_xl_builds_leaves_nothing() {
    let steps = ["step=\"network\"}", "step=\"orders\"}", "step=\"domain\"}", "step=\"monitor\"}"];
    launch_leaves_nothing(&["--toolstack", "xl", "hello"], &steps);
}

#[test]
fn a_launcher_killed_while_it_takes_a_waiting_domain_leaves_nothing() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let steps = [
        "create: ",
        "step=\"folder\"}",
        "step=\"disks\"}",
        "step=\"network\"}",
        "step=\"orders\"}",
        "step=\"devices\"}",
        "provide: ",
        "bridge: ",
        "step=\"monitor\"}",
    ];
    for step in steps {
        dom0.launch(&["pool", "--size", "1"]).expect_success();
        kill_at(dom0, step, &["run", "-d", "--name", "killed", "hello"]);
        let _ = dom0.launch(&["ps"]);
        dom0.sh("launch rm -f killed 2>/dev/null; true").expect_success();
        dom0.launch(&["pool", "--drain"]).expect_success();
        dom0.expect_traces(&before);
    }
}

#[test]
fn a_pool_that_was_filled_in_part_only_is_put_right() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let of_an_image = ["--image", "hello"];
    for (step, flags) in [
        ("build: ", &of_an_image[..]),
        ("introduce: ", &of_an_image),
        ("attach: ", &of_an_image),
        ("promise: ", &[]),
    ] {
        kill_at(dom0, step, &[&["pool", "--size", "1"], flags].concat());
        let said = dom0.launch(&["ps"]).stderr;
        assert!(said.contains("waiting-"), "{step}: {said:?}");
        dom0.launch(&["pool", "--drain"]).expect_success();
        dom0.expect_traces(&before);
    }
}

#[test]
fn a_killed_monitor_is_started_anew_and_the_app_runs_on() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let app = dom0.start("watched", &["hello"]);
    let ip = app.address();
    let page = format!("curl -sf --max-time 5 http://{ip}/");
    let _ = dom0.eventually(120, &page);
    let id = app.inspect()["app"]["id"].as_str().unwrap().to_owned();
    dom0.sh(&format!("pkill -9 -f '^launch-monitor .*{id}'")).expect_success();
    dom0.sh(&page).expect_success();
    let said = dom0.launch(&["ps"]).expect_success().stderr;
    assert!(said.contains("app watched had died") && said.contains("another one"), "{said:?}");
    dom0.sh(&format!("pgrep -f '^launch-monitor .*{id}'")).expect_success();
    drop(app);
    dom0.expect_traces(&before);
}

#[test]
fn output_goes_on_after_the_death_of_a_monitor_that_much_of_it_went_to() {
    let dom0 = Dom0::shared();
    let script = "seq 300000; while :; do echo tick; sleep 0.2; done";
    for flags in [["--toolstack", "native"], ["--toolstack", "xl"]] {
        let app = dom0.start("much", &[&flags[..], &["python", "sh", "-c", script]].concat());
        let _ = dom0.eventually(120, "launch logs much | grep tick");
        let numbers = "launch logs much | grep -v tick | md5sum";
        let wanted = dom0.sh("seq 300000 | md5sum").stdout;
        assert_eq!(dom0.sh(numbers).stdout, wanted, "{flags:?}");
        dom0.sh("pkill -9 -f '^launch-monitor '").expect_success();
        dom0.launch(&["ps"]).expect_success();
        let ticks =
            || -> u32 { dom0.sh("launch logs much | grep -c tick").stdout.trim().parse().unwrap() };
        let before = ticks();
        let more = format!("test $(launch logs much | grep -c tick) -gt {}", before + 3);
        let _ = dom0.eventually(60, &more);
        drop(app);
    }
}

#[test]
fn an_app_that_ended_while_its_monitor_was_dead_is_taken_down() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let app = dom0.start("unwatched", &["-p", "18094:80", "hello"]);
    let _ = dom0.eventually(120, &format!("curl -sf --max-time 5 http://{}/", app.address()));
    dom0.sh("pkill -9 -f '^launch-monitor '").expect_success();
    dom0.sh("xl destroy unwatched").expect_success();
    let said = dom0.launch(&["ps"]).expect_success().stderr;
    assert!(said.contains("unwatched"), "{said:?}");
    drop(app);
    dom0.expect_traces(&before);
}

#[test]
fn a_launcher_killed_while_it_removes_an_app_leaves_nothing() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    for toolstack in ["native", "xl"] {
        // Before its monitor is told, and in what it does itself after that.
        for step in ["arguments: ", "destroy: ", "take down"] {
            dom0.launch(&[
                "-d",
                "--name",
                "killed",
                "-p",
                "18093:80",
                "--toolstack",
                toolstack,
                "hello",
            ])
            .expect_success();
            kill_at(dom0, step, &["rm", "-f", "killed"]);
            let _ = dom0.launch(&["ps"]);
            dom0.sh("launch rm -f killed 2>/dev/null; true").expect_success();
            dom0.expect_traces(&before);
        }
    }
}

/// Kills the monitor `$0` at its system call `$1`, the `$2`th time, as its domain is destroyed; it
/// may be done before.
const KILL_MONITOR_AT: &str = "pid=$(pgrep -f '^launch-monitor .*'\"$0\") || exit; rm -f /tmp/strace; \
    strace -f -o /tmp/strace.out -p $pid -e trace=\"$1\" -e inject=\"$1\":signal=KILL:when=$2 2>/tmp/strace & \
    until grep -q attached /tmp/strace; do sleep 0.1; done; \
    xl destroy killed; wait; while [ -d /proc/$pid ]; do sleep 0.1; done; \
    tail -n 1 /tmp/strace.out; grep -q 'killed by SIGKILL' /tmp/strace.out && echo killed; true";

#[test]
fn a_monitor_killed_while_it_takes_down_leaves_nothing() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let mut killed = 0;
    for (call, time) in [
        // Loop devices, nftables, leases and ports, the state, the outcome in the lock, the folder.
        ("ioctl", "3"),
        ("ioctl", "9"),
        ("sendto", "1"),
        ("/^rename", "1"),
        ("/^rename", "2"),
        ("/^rename", "3"),
        ("ftruncate", "1"),
        ("/^unlink", "1"),
        ("/^unlink", "4"),
        ("/^(rmdir|unlinkat)", "1"),
    ] {
        for flags in [&[][..], &["--rm"]] {
            let args = [&["-d", "--name", "killed", "-p", "18093:80"], flags, &["hello"]].concat();
            let id = dom0.launch(&args).expect_success().stdout;
            let told = dom0.run(&["bash", "-c", KILL_MONITOR_AT, id.trim(), call, time]);
            println!("{call} {time} {flags:?}: {}", told.stdout.trim());
            killed += usize::from(told.stdout.contains("killed\n"));
            let _ = dom0.launch(&["ps"]);
            dom0.sh("launch rm -f killed 2>/dev/null; true").expect_success();
            dom0.expect_traces(&before);
        }
    }
    assert!(killed >= 10, "only {killed} were killed in time");
}
