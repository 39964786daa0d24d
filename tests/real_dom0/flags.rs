//! Flags of `launch run`, each with Docker's meaning.

use tests::Dom0;

fn told(flags: &[&str], script: &str) -> String {
    let args = [&["--rm", "--name", "flagged"], flags, &["python", "sh", "-c", script]].concat();
    let output = Dom0::shared().launch(&args);
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout
}

#[test]
fn memory_file_systems_have_their_size_and_options() {
    let flags = ["--tmpfs", "/scratch:size=2m,mode=700", "--tmpfs", "/run", "--shm-size", "4m"];
    let mounts = told(&flags, "cat /proc/mounts");
    let line = |path: &str| {
        let mut of_path = mounts.lines().filter(|line| line.split(' ').nth(1) == Some(path));
        of_path.next_back().unwrap_or_default().to_owned()
    };
    let scratch = line("/scratch");
    assert!(scratch.contains("size=2048k") && scratch.contains("mode=700"), "{scratch}");
    assert!(line("/run").starts_with("tmpfs ") && line("/run").contains("noexec"), "{mounts}");
    assert!(line("/dev/shm").contains("size=4096k"), "{mounts}");
}

#[test]
fn limits_names_hosts_and_interface_are_as_asked() {
    let flags = [
        "--ulimit",
        "nofile=123:456",
        "--ulimit",
        "core=0",
        "--add-host",
        "db:10.9.8.7",
        "--add-host",
        "outside:host-gateway",
        "--dns",
        "10.1.2.3",
        "--dns-search",
        "corp.example",
        "--mac-address",
        "00:16:3e:aa:bb:cc",
        "-h",
        "box",
        "-u",
        "daemon",
    ];
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; hostname; cat /sys/class/net/eth0/address; \
        cat /etc/resolv.conf /etc/hosts";
    let told = told(&flags, script);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..5], ["123", "456", "0", "box", "00:16:3e:aa:bb:cc"]);
    assert_eq!(lines[5..7], ["search corp.example", "nameserver 10.1.2.3"]);
    for line in ["10.9.8.7\tdb", "10.107.0.1\toutside"] {
        assert!(lines.contains(&line), "no {line:?} in {told}");
    }
}

#[test]
fn an_app_with_a_link_address_of_its_own_is_reached() {
    let dom0 = Dom0::shared();
    let app = dom0.start("addressed", &["--mac-address", "00:16:3e:aa:bb:cd", "hello"]);
    let _ = dom0.eventually(60, &format!("curl -sf --max-time 5 http://{}/", app.address()));
}

#[test]
fn the_writable_layer_has_the_size_that_was_asked_for() {
    let size = |flags: &[&str]| {
        let told = told(flags, "stat -f -c '%b %S' /");
        let words: Vec<u64> = told.split_whitespace().map(|word| word.parse().unwrap()).collect();
        (words[0] * words[1]) >> 20
    };
    let half = size(&["--storage-size", "256m"]);
    assert!((200..=256).contains(&half), "{half} MiB");
    assert!((400..=512).contains(&size(&["--storage-opt", "size=512m"])));
}

#[test]
fn cpus_are_vcpus_and_a_cap() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("capped", &["--cpus", "1.5", "--cpu-weight", "512", "hello"]);
    // Not `xl list`, which counts those only that the guest's kernel has started.
    let listed = dom0.run(&["xl", "vcpu-list", "capped"]).expect_success().stdout;
    assert_eq!(listed.lines().filter(|line| line.starts_with("capped")).count(), 2, "{listed}");
    let share = dom0.sh("xl sched-credit2 -d capped | awk 'NR==2{print $(NF-1), $NF}'").stdout;
    assert_eq!(share.trim(), "512 150");
}

#[test]
fn an_id_file_holds_the_id_and_is_never_written_over() {
    let dom0 = Dom0::shared();
    dom0.sh("rm -f /tmp/cid").expect_success();
    dom0.launch(&["run", "--cidfile", "/tmp/cid", "nosuchimage"])
        .expect_failure(125, &["nosuchimage"]);
    let id = dom0.launch(&["create", "--name", "with-id", "--cidfile", "/tmp/cid", "hello"]).stdout;
    assert_eq!(dom0.sh("cat /tmp/cid").stdout, id.trim());
    dom0.launch(&["create", "--cidfile", "/tmp/cid", "hello"])
        .expect_failure(1, &["container ID file found", "/tmp/cid"]);
    dom0.launch(&["rm", id.trim()]).expect_success();
}

#[test]
fn an_image_is_fetched_when_it_is_said() {
    let dom0 = Dom0::shared();
    dom0.launch(&["pull", "hello"]).expect_success();
    dom0.sh("launch ps -a --filter ancestor=hello -q | xargs -r launch rm -f").expect_success();
    dom0.launch(&["rmi", "hello"]).expect_success();
    dom0.launch(&["create", "--pull", "never", "--name", "fetched", "hello"])
        .expect_failure(1, &["no such image", "hello"]);
    dom0.launch(&["create", "--pull", "always", "--quiet", "--name", "fetched", "hello"])
        .expect_success();
    dom0.launch(&["rm", "fetched"]).expect_success();
    dom0.launch(&["create", "--pull", "never", "--name", "fetched", "hello"]).expect_success();
    dom0.launch(&["rm", "fetched"]).expect_success();
}
