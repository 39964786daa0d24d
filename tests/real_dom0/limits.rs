//! What an app may use up does not depend on how small its domain is, but for memory itself; and want of
//! memory is told.

use tests::Dom0;

fn python(flags: &[&str], script: &str) -> String {
    let args = [&["--rm"], flags, &["python", "python3", "-c", script]].concat();
    Dom0::shared().launch(&args).expect_success().stdout
}

#[test]
fn a_user_in_the_smallest_domain_has_as_many_threads_as_memory_allows() {
    // The kernel would allow 208 of them with the usual memory.
    let script = "
import threading
threading.stack_size(32768)
stop = threading.Event()
for n in range(600): threading.Thread(target=stop.wait).start()
print(threading.active_count()); stop.set()";
    assert_eq!(python(&["-u", "daemon"], script), "601\n");
}

#[test]
fn limits_of_processes_files_watches_and_maps_are_those_of_a_large_host() {
    let dom0 = Dom0::shared();
    let script = "ulimit -p; ulimit -n; cd /proc/sys; cat kernel/threads-max kernel/pid_max fs/nr_open \
        vm/max_map_count fs/inotify/max_user_watches fs/inotify/max_user_instances";
    let output = dom0.launch(&["--rm", "-u", "daemon", "python", "sh", "-c", script]);
    let limits = "unlimited 1048576 4194304 4194304 1073741816 1048576 1048576 1024";
    let told: Vec<String> = output.expect_success().stdout.lines().map(str::to_owned).collect();
    assert_eq!(told.join(" "), limits);
}

#[test]
fn settings_of_the_guests_kernel_are_as_asked_and_one_that_it_lacks_is_named() {
    let dom0 = Dom0::shared();
    let flags = [
        "net.core.somaxconn=1234",
        "kernel.shmmax=5678",
        "fs.mqueue.msg_max=99",
        "vm/swappiness=7",
    ];
    let flags: Vec<&str> = flags.iter().flat_map(|flag| ["--sysctl", flag]).collect();
    let files = "net/core/somaxconn kernel/shmmax fs/mqueue/msg_max vm/swappiness";
    let script = format!("cd /proc/sys; cat {files}");
    for toolstack in ["native", "xl"] {
        let app = ["--rm", "--toolstack", toolstack, "python", "sh", "-c", &script];
        let args = [&["run"], &flags[..], &app].concat();
        assert_eq!(dom0.launch(&args).expect_success().stdout, "1234\n5678\n99\n7\n");
    }
    let output = dom0.launch(&["--rm", "--sysctl", "net.no.such=1", "python", "true"]);
    output.expect_failure(125, &["--sysctl net.no.such=1", "no such file"]);
}

#[test]
fn an_app_that_is_killed_for_want_of_memory_is_told_its_limit_and_the_flag() {
    let dom0 = Dom0::shared();
    let fill = "x = [bytearray(1 << 20) for _ in range(4096)]";
    for flags in [&[][..], &["--init"]] {
        let app = dom0.app("hungry");
        let args =
            [flags, &["--name", "hungry", "-m", "96m", "python", "python3", "-c", fill]].concat();
        let output = dom0.launch(&args);
        assert_eq!(output.code, 137, "{output:?}");
        for line in [
            "launch-init: out of memory: the kernel has ended python3; the domain has 96 MiB; give it more with --memory\n",
            "launch: out of memory: the guest's kernel ended the app, whose domain has 96 MiB; give it more with --memory\n",
        ] {
            assert!(output.stderr.contains(line), "no {line:?} in {output:?}");
        }
        let state = &app.inspect()["State"];
        assert_eq!(
            (&state["OOMKilled"], &state["ExitCode"]),
            (&true.into(), &137.into()),
            "{state}"
        );
    }
}

#[test]
fn a_process_beside_that_is_killed_for_want_of_memory_is_told_in_the_log() {
    let dom0 = Dom0::shared();
    let script = "python3 -c 'x = [bytearray(1 << 20) for _ in range(4096)]'; echo code $?";
    let app = dom0.start("hungry-child", &["-m", "96m", "python", "sh", "-c", script]);
    assert_eq!(dom0.launch(&["wait", "hungry-child"]).expect_success().stdout, "0\n");
    let logs = dom0.launch(&["logs", "hungry-child"]).expect_success();
    assert!(logs.stdout.contains("code 137"), "{logs:?}");
    assert!(logs.stderr.contains("the kernel has ended python3"), "{logs:?}");
    assert_eq!(app.inspect()["State"]["OOMKilled"], true);
}
