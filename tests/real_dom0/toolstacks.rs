//! Both toolstacks give the same domain, and Xen's own tools work on either.

use tests::Dom0;

const TOOLSTACKS: [&str; 2] = ["native", "xl"];
const KINDS: [&str; 2] = ["pvh", "pv"];

fn answers(dom0: &Dom0, ip: &str) {
    let page = dom0.eventually(120, &format!("curl -sf --max-time 5 http://{ip}/"));
    assert!(page.contains("ello"), "{page}");
}

#[test]
fn every_toolstack_builds_both_kinds_and_leaves_nothing() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    for toolstack in TOOLSTACKS {
        for kind in KINDS {
            let app = dom0.start("both", &["--toolstack", toolstack, "--type", kind, "hello"]);
            assert_eq!(app.inspect()["app"]["toolstack"], toolstack);
            answers(dom0, &app.address());
            drop(app);
            dom0.expect_traces(&before);
        }
    }
}

#[test]
fn a_known_xen_gets_the_native_toolstack() {
    let dom0 = Dom0::shared();
    let app = dom0.start("chosen", &["hello"]);
    assert_eq!(app.inspect()["app"]["toolstack"], "native");
}

#[test]
fn xls_commands_work_on_native_domains() {
    let dom0 = Dom0::shared();
    for kind in KINDS {
        let app = dom0.start("by-xl", &["--type", kind, "hello"]);
        let ip = app.address();
        answers(dom0, &ip);
        let state = "xl list by-xl | awk 'NR==2{print $5}'";
        dom0.sh("xl pause by-xl").expect_success();
        assert!(dom0.sh(state).stdout.contains('p'));
        dom0.sh("xl unpause by-xl").expect_success();
        answers(dom0, &ip);
        let vcpus = dom0.sh("xl vcpu-list by-xl").expect_success().stdout;
        assert!(vcpus.contains("by-xl"), "{vcpus}");
        let long = dom0.sh("xl list -v by-xl").expect_success().stdout;
        assert!(long.contains("6c61756e-6368"), "{long}");
        let disks = dom0.sh("xl block-list by-xl").expect_success().stdout;
        assert!(disks.contains("51712") && disks.contains("51728"), "{disks}");
        let network = dom0.sh("xl network-list by-xl").expect_success().stdout;
        assert!(network.contains("00:16:3e"), "{network}");
        dom0.sh("timeout 30 xentop -b -i 1 | grep by-xl").expect_success();
    }
}

#[test]
fn xl_shutdown_ends_a_native_app_gracefully() {
    let dom0 = Dom0::shared();
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let app = dom0.start("asked", &["python", "sh", "-c", script]);
    let _ = dom0.eventually(60, "launch logs asked | grep ready");
    dom0.sh("xl shutdown asked").expect_success();
    let _ = dom0.eventually(60, "launch inspect asked | jq -e '.[0].state.outcome.code == 3'");
    drop(app);
}

#[test]
fn after_xl_destroy_nothing_of_a_native_app_is_left() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    for kind in KINDS {
        dom0.launch(&[
            "-d",
            "--rm",
            "--name",
            "destroyed",
            "-p",
            "18091:80",
            "--type",
            kind,
            "hello",
        ])
        .expect_success();
        dom0.sh("xl destroy destroyed").expect_success();
        dom0.expect_traces(&before);
    }
}

#[test]
fn the_console_of_a_native_domain_is_xls_too() {
    let dom0 = Dom0::shared();
    let script = "while :; do echo tick; sleep 0.2; done";
    let _app = dom0.start("console", &["python", "sh", "-c", script]);
    // Whoever reads takes the words from the monitor: one of both has them.
    let _ = dom0.eventually(60, "launch logs console | grep tick");
    let told = dom0.sh("timeout 5 script -qc 'xl console console' /dev/null; echo code $?").stdout;
    assert!(told.contains("code 124") && !told.contains("unable"), "{told:?}");
}

#[test]
fn two_vcpus_are_two_processors_for_the_app() {
    let dom0 = Dom0::shared();
    for kind in KINDS {
        let output = dom0
            .launch(&["--rm", "--name", "two", "--type", kind, "--vcpus", "2", "python", "nproc"]);
        assert_eq!((output.code, output.stdout.trim()), (0, "2"), "{kind}: {output:?}");
    }
}

#[test]
fn a_guest_reads_the_clock_of_the_processor_itself() {
    let dom0 = Dom0::shared();
    for toolstack in TOOLSTACKS {
        for kind in KINDS {
            let app = dom0.start("clock", &["--toolstack", toolstack, "--type", kind, "hello"]);
            let script = format!(
                "xl debug-keys s; sleep 1; xl dmesg | grep -E 'dom{}(\\(hvm\\))?: mode=' | tail -n 1",
                app.inspect()["state"]["domid"]
            );
            // 2: Xen never traps a reading.
            let told = dom0.sh(&script).expect_success().stdout;
            assert!(told.contains(": mode=2"), "{toolstack} {kind}: {told:?}");
        }
    }
}

#[test]
fn a_kernel_that_is_none_is_told_and_undone() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    dom0.sh("head -c 200000 /usr/lib/launch/vmlinux > /tmp/cut; cp /bin/ls /tmp/no-note")
        .expect_success();
    for (file, words) in
        [("/tmp/cut", &["kernel"][..]), ("/tmp/no-note", &["note"]), ("/nowhere", &["/nowhere"])]
    {
        dom0.launch(&["-d", "--name", "odd", "--kernel", file, "hello"]).expect_failure(125, words);
        dom0.expect_traces(&before);
    }
}

#[test]
fn too_little_free_memory_is_told_with_both_figures() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    for kind in KINDS {
        dom0.launch(&["-d", "--name", "large", "--type", kind, "-m", "32g", "hello"])
            .expect_failure(125, &["MiB are free", "takes 32"]);
        dom0.expect_traces(&before);
    }
}
