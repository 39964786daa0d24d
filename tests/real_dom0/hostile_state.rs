//! The state on disk: closed to users of dom0, and what a power cut leaves of it.

use tests::Dom0;

const STATE: &str = "/var/lib/launch";

/// What others than root may do anything with.
fn open_to_others(dom0: &Dom0) -> String {
    dom0.sh(&format!("find {STATE} ! -type l -perm /077")).expect_success().stdout
}

#[test]
fn only_root_can_look_into_the_state() {
    let dom0 = Dom0::shared();
    dom0.launch(&["pull", "nginx"]).expect_success();
    dom0.launch(&["pool", "--size", "1", "--memory", "96m"]).expect_success();
    let app = dom0.start("private", &["-p", "18084:80", "nginx"]);
    let _ = dom0.eventually(120, "curl -sf --max-time 5 http://127.0.0.1:18084/");
    dom0.sh("launch cp private:/etc/hostname /tmp/private-hostname").expect_success();
    dom0.launch(&["stop", "private"]).expect_success();
    dom0.launch(&["start", "private"]).expect_success();
    assert_eq!(open_to_others(dom0), "");
    let image = dom0.sh(&format!("find {STATE}/images -name image.json | head -1")).stdout;
    let spy = format!("su -s /bin/sh nobody -c 'cat {}'", image.trim());
    assert_ne!(dom0.sh(&spy).code, 0);
    // As an older version left it. Whoever fills the pool would close it before it is looked into.
    dom0.launch(&["pool", "--drain"]).expect_success();
    let open = dom0.sh(&format!("chmod -R go+rX {STATE} && {spy}")).expect_success().stdout;
    assert!(open.contains("config"), "{open}");
    dom0.launch(&["ps"]).expect_success();
    assert_eq!(open_to_others(dom0), "");
    assert_ne!(dom0.sh(&spy).code, 0);
    // All works on.
    let _ = dom0.launch(&["rmi", "redis"]);
    dom0.launch(&["pull", "redis"]).expect_success();
    let _ = dom0.eventually(60, "curl -sf --max-time 5 http://127.0.0.1:18084/");
    drop(app);
    assert_eq!(open_to_others(dom0), "");
}

/// Has a file of an app's folder as a power cut leaves it: as long as it was, and all zeros.
fn zero(name: &str, file: &str) -> String {
    format!(
        "f=$(readlink -f {STATE}/names/{name})/{file}; s=$(stat -c %s $f); truncate -s 0 $f; truncate -s $s $f"
    )
}

#[test]
fn an_app_made_just_before_a_power_cut_starts() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    dom0.launch(&["create", "--name", "cut", "hello"]).expect_success();
    for damage in [
        zero("cut", "write.ext4"),
        // Only its first blocks, and all but those.
        "dd if=/dev/zero of=$(readlink -f /var/lib/launch/names/cut)/write.ext4 bs=4096 count=1 conv=notrunc"
            .to_owned(),
        zero("cut", "state.json"),
        "truncate -s 0 $(readlink -f /var/lib/launch/names/cut)/state.json".to_owned(),
        format!("{}; {}", zero("cut", "write.ext4"), zero("cut", "state.json")),
        format!("{}; {}", zero("cut", "orders.json"), zero("cut", "console.log")),
    ] {
        dom0.sh(&format!("launch rm -f cut; launch create --name cut hello; {damage}")).expect_success();
        // What a reader of the records says first is one line.
        dom0.launch(&["ps", "-a"]).expect_success();
        dom0.launch(&["start", "cut"]).expect_success();
        let page = "curl -sf --max-time 5 http://$(launch inspect cut | jq -r '.[0].state.address')/";
        let _ = dom0.eventually(120, page);
    }
    dom0.launch(&["rm", "-f", "cut"]).expect_success();
    dom0.expect_traces(&before);
}

#[test]
fn a_writable_layer_with_data_is_never_made_anew() {
    let dom0 = Dom0::shared();
    let app = dom0.start("kept", &["python", "sleep", "100000"]);
    let _ = dom0.eventually(120, "launch exec kept sh -c 'echo mine > /mine; sync'");
    dom0.launch(&["stop", "-t", "0", "kept"]).expect_success();
    let file = format!("$(readlink -f {STATE}/names/kept)/write.ext4");
    // It is sparse and long: whoever writes it changes one of these.
    let about = format!("stat -c '%i %b %y' {file}");
    // The superblock, after a copy of it was put aside.
    dom0.sh(&format!(
        "dd if={file} of=/tmp/first bs=4096 count=1; dd if=/dev/zero of={file} bs=4096 count=1 conv=notrunc"
    ))
    .expect_success();
    let damaged = dom0.sh(&about).stdout;
    dom0.launch(&["start", "kept"]).expect_failure(
        1,
        &["write.ext4", "has lost its file system, but not all data", "launch rm"],
    );
    assert_eq!(dom0.sh(&about).stdout, damaged);
    dom0.sh(&format!("dd if=/tmp/first of={file} conv=notrunc")).expect_success();
    dom0.launch(&["start", "kept"]).expect_success();
    let mine = dom0.eventually(120, "launch exec kept cat /mine");
    assert_eq!(mine.trim(), "mine");
    drop(app);
}

#[test]
fn damaged_leases_and_ports_are_made_anew_from_what_runs() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    dom0.launch(&["pool", "--size", "1", "--memory", "96m"]).expect_success();
    let web = dom0.start("web", &["-p", "18085:80", "hello"]);
    let leases = |dom0: &Dom0| dom0.sh(&format!("jq -S .owners {STATE}/leases")).stdout;
    let ports = |dom0: &Dom0| dom0.sh(&format!("jq -S . {STATE}/ports")).stdout;
    let known = (leases(dom0), ports(dom0));
    assert!(known.0.contains("10.107.") && known.1.contains("18085"), "{known:?}");
    for damage in
        ["truncate -s 0 F", "truncate -s 20 F", "echo garbage > F", "head -c 4096 /dev/zero > F"]
    {
        for files in [&["leases"][..], &["ports"], &["leases", "ports"]] {
            let spoil: Vec<_> =
                files.iter().map(|file| damage.replace('F', &format!("{STATE}/{file}"))).collect();
            dom0.sh(&spoil.join(" && ")).expect_success();
            let told = dom0.launch(&["ps"]).expect_success().stderr;
            for file in files {
                assert!(
                    told.contains(&format!("{STATE}/{file} was damaged; rebuilt it")),
                    "{told}"
                );
            }
            assert_eq!((leases(dom0), ports(dom0)), known, "{damage} {files:?}");
        }
        // A launch does the same by itself, and gives nobody an address that is taken.
        dom0.sh(&damage.replace('F', &format!("{STATE}/leases"))).expect_success();
        dom0.sh(&format!("touch {STATE}/domains/.looked")).expect_success();
        let other = dom0.start("other", &["-p", "18086:80", "hello"]);
        assert_ne!(other.address(), web.address());
        for port in [18085, 18086] {
            let _ = dom0.eventually(60, &format!("curl -sf --max-time 5 http://127.0.0.1:{port}/"));
        }
        drop(other);
    }
    drop(web);
    dom0.launch(&["pool", "--drain"]).expect_success();
    dom0.expect_traces(&before);
}
