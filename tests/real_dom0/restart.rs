//! Apps that are started again: by their policy, after a killed monitor, with the host.

use tests::Dom0;

fn counted(dom0: &Dom0, name: &str, count: &str) {
    let script = format!("test $(launch inspect -f '{{{{.RestartCount}}}}' {name}) {count}");
    let _ = dom0.eventually(300, &script);
}

#[test]
fn an_app_that_fails_is_started_again_so_often() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    for toolstack in ["native", "xl"] {
        let output = dom0.launch(&[
            // Of PVH domains in an emulated Xen some die by themselves, and are started again.
            "--type",
            "pv",
            "--restart",
            "on-failure:2",
            "--name",
            "failing",
            "--toolstack",
            toolstack,
            "python",
            "sh",
            "-c",
            "echo try; exit 7",
        ]);
        assert_eq!((output.code, output.stdout.as_str()), (7, "try\ntry\ntry\n"), "{output:?}");
        let told =
            dom0.launch(&["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "failing"]);
        assert_eq!(told.stdout, "2 exited\n");
        dom0.launch(&["rm", "failing"]).expect_success();
        dom0.expect_traces(&before);
    }
    let output =
        dom0.launch(&["--restart", "on-failure", "--name", "fine", "python", "echo", "once"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, "once\n"), "{output:?}");
    dom0.launch(&["rm", "fine"]).expect_success();
}

#[test]
fn one_that_is_always_to_run_runs_until_it_is_stopped() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let app = dom0.start("steady", &["--restart", "always", "-p", "18120:80", "hello"]);
    let page = "curl -sf --max-time 5 http://127.0.0.1:18120/";
    let _ = dom0.eventually(120, page);
    dom0.sh("xl destroy steady").expect_success();
    counted(dom0, "steady", "= 1");
    let _ = dom0.eventually(120, page);
    // Its end and its monitor's at once.
    dom0.sh("pkill -9 -f '^launch-monitor '; xl destroy steady").expect_success();
    let said = dom0.launch(&["ps"]).expect_success().stderr;
    assert!(said.contains("steady") && said.contains("restarts it"), "{said}");
    let _ = dom0.eventually(120, page);
    dom0.launch(&["stop", "steady"]).expect_success();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let listed = dom0.launch(&["ps", "-a", "--filter", "name=steady"]).stdout;
    assert!(listed.contains("Exited"), "{listed}");
    drop(app);
    dom0.expect_traces(&before);
}

#[test]
fn an_app_that_waits_to_be_started_again_can_be_stopped_and_removed() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let looping = ["--restart", "always", "python", "false"];
    let app = dom0.start("looping", &looping);
    counted(dom0, "looping", "-ge 4");
    let _ = dom0.eventually(120, "launch ps | grep 'looping' | grep Restarting");
    // A monitor that dies in the pause is started anew.
    dom0.sh("pkill -9 -f '^launch-monitor '; true").expect_success();
    counted(dom0, "looping", "-ge 6");
    dom0.launch(&["stop", "looping"]).expect_success();
    let listed = dom0.launch(&["ps", "-a", "--filter", "name=looping"]).stdout;
    assert!(listed.contains("Exited"), "{listed}");
    drop(app);
    let app = dom0.start("looping", &looping);
    counted(dom0, "looping", "-ge 3");
    drop(app);
    dom0.expect_traces(&before);
}

#[test]
fn with_the_host_those_start_whose_policy_says_so() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let always = dom0.start("boot-always", &["--restart", "always", "hello"]);
    let unless = dom0.start("boot-unless", &["--restart", "unless-stopped", "hello"]);
    let stopped = dom0.start("boot-stopped", &["--restart", "unless-stopped", "hello"]);
    let never = dom0.start("boot-never", &["hello"]);
    dom0.launch(&["stop", "boot-stopped", "boot-always"]).expect_success();
    // What a power cut leaves: no monitors, no domains, and state files that say otherwise.
    dom0.sh("pkill -9 -f '^launch-monitor '; xl destroy boot-unless; xl destroy boot-never")
        .expect_success();
    dom0.launch(&["start", "--at-boot"]).expect_success();
    let states = "launch ps -a --format '{{.Names}} {{.State}}' | grep boot- | sort | tr '\\n' ','";
    let wanted = "boot-always running,boot-never exited,boot-stopped exited,boot-unless running,";
    let _ = dom0.eventually(300, &format!("test \"$({states})\" = '{wanted}'"));
    drop((always, unless, stopped, never));
    dom0.expect_traces(&before);
}

#[test]
fn a_monitor_is_small_also_after_a_restart_and_in_a_pause() {
    let dom0 = Dom0::shared();
    // The largest of all, in KiB.
    let most = "for pid in $(pgrep -f '^launch-monitor '); do \
        awk '/^Pss:/{print $2}' /proc/$pid/smaps_rollup; done | sort -n | tail -1";
    let steady = dom0.start("small", &["--type", "pv", "--restart", "always", "hello"]);
    let looping =
        dom0.start("small-looping", &["--type", "pv", "--restart", "always", "python", "false"]);
    counted(dom0, "small-looping", "-ge 6");
    let _ = dom0.eventually(120, "launch ps | grep small-looping | grep Restarting");
    let pss_kib: u64 = dom0.sh(most).stdout.trim().parse().unwrap();
    println!("largest monitor: {pss_kib} KiB");
    assert!(pss_kib <= 2048, "{pss_kib} KiB");
    drop((steady, looping));
}
