//! Bad input: one clear line, exit 1, 2 or 125, nothing left behind.

use tests::{Dom0, Output};

const TRACES: &str = "xl list | awk 'NR>1{print $1}' | sort; losetup -a; ls /var/lib/launch/images/work \
    /var/lib/launch/domains 2>/dev/null; true";

/// Runs `act`, which must fail with `code` and `words`, and checks that nothing was left behind.
fn fails(act: impl Fn(&Dom0) -> Output, code: i32, words: &[&str]) {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    act(dom0).expect_failure(code, words);
    dom0.expect_traces(&before);
}

#[test]
fn an_unknown_image_is_named() {
    fails(|dom0| dom0.launch(&["nosuchimage"]), 125, &["nosuchimage", "not found"]);
}

#[test]
fn a_registry_that_is_down_is_named() {
    fails(|dom0| dom0.launch(&["pull", "127.0.0.1:9/some/image"]), 1, &["127.0.0.1:9", "refused"]);
}

#[test]
fn a_wrong_digest_is_named() {
    let digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let name = format!("nginx@{digest}");
    fails(move |dom0| dom0.launch(&["pull", &name]), 1, &["sha256:000000"]);
}

#[test]
fn a_full_disk_is_told_and_nothing_of_the_image_stays() {
    let dom0 = Dom0::shared();
    let script = "mkdir -p /mnt/small && mount -t tmpfs -o size=4m small /mnt/small && \
        printf 'state = \"/mnt/small\"\\n' > /tmp/small.toml && cat /etc/launch/config.toml >> /tmp/small.toml && \
        LAUNCH_CONFIG=/tmp/small.toml launch pull nginx; code=$?; \
        ls /mnt/small/images/sha256 /mnt/small/images/work; umount /mnt/small; exit $code";
    let output = dom0.sh(script);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("no space left"), "{output:?}");
    let left: Vec<_> =
        output.stdout.lines().filter(|line| !line.is_empty() && !line.ends_with(':')).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_machine_without_xen_is_told() {
    let script = "unshare -m sh -c 'mount -t tmpfs none /dev/xen && exec launch hello'";
    fails(|dom0| dom0.sh(script), 125, &["/dev/xen", "not a Xen dom0"]);
}

#[test]
fn someone_who_is_not_root_is_told() {
    fails(|dom0| dom0.run(&["setpriv", "--reuid", "65534", "launch", "hello"]), 125, &["root"]);
}

#[test]
fn a_name_that_is_taken_is_told() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("taken", &["hello"]);
    fails(|dom0| dom0.launch(&["-d", "--name", "taken", "hello"]), 125, &["taken"]);
}

#[test]
fn a_port_that_is_taken_is_told() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("first", &["-p", "18100:80", "hello"]);
    let before = dom0.sh(TRACES).stdout;
    fails(|dom0| dom0.launch(&["-d", "-p", "18100:80", "hello"]), 125, &["18100", "first"]);
    assert_eq!(dom0.sh(TRACES).stdout, before);
}

#[test]
fn too_little_memory_for_the_guest_is_told() {
    fails(|dom0| dom0.launch(&["-d", "-m", "4m", "hello"]), 125, &["4 MiB", "memory"]);
}

#[test]
fn more_memory_than_the_machine_has_is_told() {
    fails(|dom0| dom0.launch(&["-d", "-m", "64g", "--name", "huge", "hello"]), 125, &["memory"]);
    assert!(!Dom0::shared().launch(&["ps", "-a"]).stdout.contains("huge"));
}

#[test]
fn bad_flags_are_usage_errors() {
    for args in
        [&["-p", "eighty:80", "hello"][..], &["--type", "hvm", "hello"], &["-m", "lots", "hello"]]
    {
        Dom0::shared().launch(args).expect_failure(2, &["--help"]);
    }
}

#[test]
fn an_app_that_is_not_there_is_named() {
    for command in [
        "logs", "start", "stop", "restart", "kill", "wait", "pause", "unpause", "port", "stats",
        "rm", "inspect",
    ] {
        fails(|dom0| dom0.launch(&[command, "nosuchapp"]), 1, &["no such app", "nosuchapp"]);
    }
    fails(|dom0| dom0.launch(&["rename", "nosuchapp", "new"]), 1, &["nosuchapp"]);
    fails(|dom0| dom0.launch(&["update", "-m", "32m", "nosuchapp"]), 1, &["nosuchapp"]);
}

#[test]
fn an_image_for_another_processor_is_told() {
    let dom0 = Dom0::shared();
    let script = "import json,hashlib,os\n\
        def blob(b):\n d=hashlib.sha256(b).hexdigest(); open('/tmp/arm/blobs/sha256/'+d,'wb').write(b); return {'digest':'sha256:'+d,'size':len(b)}\n\
        os.makedirs('/tmp/arm/blobs/sha256',exist_ok=True)\n\
        c=blob(json.dumps({'architecture':'arm64','os':'linux','rootfs':{'type':'layers','diff_ids':[]}}).encode())\n\
        m=blob(json.dumps({'schemaVersion':2,'config':dict(c,mediaType='application/vnd.oci.image.config.v1+json'),'layers':[]}).encode())\n\
        i={'schemaVersion':2,'manifests':[dict(m,mediaType='application/vnd.oci.image.manifest.v1+json',platform={'architecture':'arm64','os':'linux'})]}\n\
        json.dump(i,open('/tmp/arm/index.json','w')); open('/tmp/arm/oci-layout','w').write('{\"imageLayoutVersion\":\"1.0.0\"}')";
    dom0.run(&["python3", "-c", script]).expect_success();
    fails(|dom0| dom0.launch(&["oci:/tmp/arm"]), 125, &["arm64", "amd64"]);
}

#[test]
fn a_beginning_that_fits_several_apps_is_told_with_their_names() {
    let dom0 = Dom0::shared();
    for name in ["twin-a", "twin-b"] {
        dom0.launch(&["create", "--name", name, "hello"]).expect_success();
    }
    for command in [&["stop", "twin"][..], &["rm", "-f", "twin"], &["logs", "twin"]] {
        dom0.launch(command).expect_failure(1, &["twin-a", "twin-b", "several"]);
    }
    // The beginning of one name is enough, and the whole of a name is no beginning.
    dom0.launch(&["rm", "twin-a"]).expect_success();
    dom0.launch(&["rm", "tw"]).expect_success();
}

#[test]
fn what_only_a_running_app_can_do_is_refused_for_others() {
    let dom0 = Dom0::shared();
    dom0.launch(&["create", "--name", "idle", "hello"]).expect_success();
    for command in [
        &["kill", "idle"][..],
        &["kill", "-s", "HUP", "idle"],
        &["pause", "idle"],
        &["unpause", "idle"],
    ] {
        dom0.launch(command).expect_failure(1, &["idle", "does not run"]);
    }
    // As in Docker, what is stopped already can be stopped.
    dom0.launch(&["stop", "idle"]).expect_success();
    dom0.launch(&["rm", "idle"]).expect_success();
}

#[test]
fn flags_of_dockers_that_cannot_be_are_refused_and_others_taken_with_a_word() {
    let dom0 = Dom0::shared();
    for (flags, words) in [
        (&["-v", "/srv:/srv"][..], &["--volume", "writable layer"][..]),
        (&["--pid", "host"], &["--pid", "kernel of its own"]),
        (&["--restart", "always", "--rm"], &["conflicting options", "--restart and --rm"]),
        (&["--pull", "never", "nosuchimage"], &["no such image", "nosuchimage"]),
    ] {
        let all = [&["run"][..], flags, &["hello"]].concat();
        dom0.launch(&all).expect_failure(125, words);
    }
    for flags in [
        &["--restart", "sometimes"][..],
        &["--ulimit", "files=1"],
        &["--cpus", "0"],
        &["--tmpfs", "run"],
        &["--mac-address", "1:2"],
        &["--add-host", "db"],
    ] {
        let all = [&["run"][..], flags, &["hello"]].concat();
        dom0.launch(&all).expect_failure(2, &[flags[0], "launch run --help"]);
    }
    dom0.launch(&["build", "."]).expect_failure(1, &["launch build", "docker"]);
    let noted = dom0.launch(&["--rm", "--name", "noted", "--privileged", "python", "true"]);
    assert_eq!((noted.code, noted.stderr.lines().count()), (0, 1), "{noted:?}");
    assert!(noted.stderr.contains("--privileged has no effect"), "{noted:?}");
}
