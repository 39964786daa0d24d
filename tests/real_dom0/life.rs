//! An app's life: output, exit codes, stopping, removing, and what is left afterwards.

use tests::Dom0;

#[test]
fn the_apps_output_and_exit_code_come_through() {
    let dom0 = Dom0::shared();
    let output = dom0.launch(&[
        "--rm",
        "--name",
        "echo",
        "python",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 42",
    ]);
    assert_eq!(output.code, 42, "{output:?}");
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
}

/// More than xenconsoled holds back, so that much is still to come when the app has ended.
#[test]
fn long_output_arrives_whole_and_in_order() {
    let output = Dom0::shared().launch(&["--rm", "--name", "long", "python", "seq", "700000"]);
    let wanted: String = (1..=700_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(output.code, 0, "{}", output.stderr);
    let (got, wanted_bytes) = (output.stdout.len(), wanted.len());
    assert!(output.stdout == wanted, "{got} bytes of {wanted_bytes}");
}

#[test]
fn logs_tell_output_and_errors_apart_whichever_toolstack_and_kind() {
    let dom0 = Dom0::shared();
    let script = "for i in $(seq 200); do echo out $i; echo err $i >&2; done; sleep 1000";
    for kind in [["native", "pv"], ["native", "pvh"], ["xl", "pv"]] {
        let flags = ["--toolstack", kind[0], "--type", kind[1]];
        let _app = dom0.start("apart", &[&flags[..], &["python", "sh", "-c", script]].concat());
        let _ = dom0.eventually(60, "launch logs apart 2>&1 >/dev/null | grep 'err 200'");
        let logs = dom0.launch(&["logs", "apart"]);
        let lines = |word: &str| (1..=200).map(|i| format!("{word} {i}\n")).collect::<String>();
        assert_eq!(logs.stdout, lines("out"), "{kind:?}");
        assert_eq!(logs.stderr, lines("err"), "{kind:?}");
    }
}

#[test]
fn a_signal_that_kills_the_app_is_told_as_128_plus_its_number() {
    let flags = ["--rm", "--init", "--name", "killed"];
    let app = ["python", "sh", "-c", "kill -9 $$"];
    let output = Dom0::shared().launch(&[&flags[..], &app].concat());
    assert_eq!(output.code, 137, "{output:?}");
}

#[test]
fn environment_folder_user_and_hostname_are_as_asked() {
    let script = "echo $A:$B:$(pwd):$(id -u):$(id -g):$(hostname)";
    let output = Dom0::shared().launch(&[
        "--rm",
        "--name",
        "asked",
        "-e",
        "A=1",
        "-e",
        "B=two words",
        "-w",
        "/tmp/new",
        "-u",
        "daemon",
        "--hostname",
        "elsewhere",
        "python",
        "sh",
        "-c",
        script,
    ]);
    assert!(output.stdout.contains("1:two words:/tmp/new:1:1:elsewhere"), "{output:?}");
}

#[test]
fn an_app_that_is_there_but_cannot_run_ends_with_126_and_one_that_is_not_with_127() {
    let dom0 = Dom0::shared();
    for (program, code) in [("/etc/passwd", 126), ("/no/such/program", 127), ("nosuch", 127)] {
        let output = dom0.launch(&["--rm", "--name", "absent", "--entrypoint", program, "python"]);
        output.expect_failure(code, &[program]);
        assert_eq!(output.stdout, "");
    }
    dom0.launch(&["--rm", "--name", "absent", "-u", "nobody-here", "python", "true"])
        .expect_failure(125, &["nobody-here"]);
    // In the background nobody saw it, so the log's reader is told.
    let _app = dom0.start("absent", &["python", "nosuch"]);
    assert_eq!(dom0.launch(&["wait", "absent"]).expect_success().stdout, "127\n");
    dom0.launch(&["logs", "absent"]).expect_failure(0, &["'nosuch'"]);
}

#[test]
fn stop_lets_the_app_finish_and_nothing_of_it_is_left() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    dom0.launch(&["-d", "--name", "stopped", "-p", "18090:80", "python", "sh", "-c", script])
        .expect_success();
    let _ = dom0.eventually(60, "launch logs stopped | grep ready");
    dom0.launch(&["stop", "stopped"]).expect_success();
    let listed = dom0.launch(&["ps", "-a"]).expect_success().stdout;
    assert!(listed.contains("Exited (3)"), "{listed}");
    assert!(dom0.launch(&["logs", "stopped"]).stdout.contains("bye"));
    dom0.launch(&["rm", "stopped"]).expect_success();
    dom0.expect_traces(&before);
}

#[test]
fn an_app_that_ignores_the_stop_signal_is_killed_in_time() {
    let dom0 = Dom0::shared();
    let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let app = dom0.start("stubborn", &["python", "sh", "-c", script]);
    let _ = dom0.eventually(60, "launch logs stubborn | grep ready");
    dom0.launch(&["stop", "-t", "1", "stubborn"]).expect_success();
    assert_eq!(app.inspect()["state"]["outcome"]["code"], 137);
}

#[test]
fn ctrl_c_stops_a_foreground_app_gracefully() {
    let dom0 = Dom0::shared();
    let script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    let run = format!(
        "launch --rm --name interrupted python sh -c {script:?} > /tmp/interrupted.log & pid=$!; \
         for i in $(seq 300); do grep -q ready /tmp/interrupted.log && break; sleep 0.2; done; \
         kill -INT $pid; wait $pid; echo code $?; cat /tmp/interrupted.log"
    );
    // A background job of a shell ignores SIGINT, so the shell must let job control do it.
    let output = dom0.run(&["bash", "-mc", &run]);
    assert!(output.stdout.contains("code 0") && output.stdout.contains("bye"), "{output:?}");
}

#[test]
fn a_guest_that_reports_what_is_no_text_is_ended_like_any_other() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let script = "import os, struct, time\n\
        store = os.open('/dev/xen/xenbus', os.O_RDWR)\n\
        for path in b'data/launch/report', b'data/launch/signal':\n \
            body = path + b'\\0\\xff\\xfe'\n \
            os.write(store, struct.pack('=4I', 11, 1, 0, len(body)) + body)\n \
            print('told', os.read(store, 4096)[-3:], flush=True)\n\
        time.sleep(1000)";
    dom0.launch(&["-d", "--name", "liar", "python", "python3", "-c", script]).expect_success();
    let _ = dom0.eventually(60, "test $(launch logs liar | grep -c \"told b'OK\") = 2");
    let listed = dom0.launch(&["ps"]).expect_success();
    assert!(listed.stdout.contains("liar") && listed.stderr.is_empty(), "{listed:?}");
    dom0.launch(&["kill", "liar"]).expect_success();
    dom0.launch(&["rm", "liar"]).expect_success();
    dom0.expect_traces(&before);
}

#[test]
fn a_config_that_cannot_be_made_leaves_no_app() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let args = ["config", "--name", "refused", "--network", "bridge=nosuch0", "hello"];
    dom0.launch(&args).expect_failure(1, &["nosuch0"]);
    dom0.expect_traces(&before);
}

#[test]
fn a_printed_config_starts_by_hand() {
    let dom0 = Dom0::shared();
    dom0.sh("launch config --name by-hand hello > /tmp/by-hand.cfg").expect_success();
    dom0.run(&["xl", "create", "-q", "/tmp/by-hand.cfg"]).expect_success();
    dom0.launch(&["start", "by-hand"]).expect_failure(1, &["by-hand", "runs"]);
    let _ = dom0.eventually(60, "ip=$(launch inspect by-hand | jq -re .[0].state.address) && curl -sf --max-time 5 http://$ip/");
    dom0.run(&["xl", "shutdown", "-w", "by-hand"]).expect_success();
    let _ = dom0.eventually(30, "launch rm by-hand");
}
