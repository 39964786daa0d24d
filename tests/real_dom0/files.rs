//! The app's files look like one file system, whichever of its disks they are on.

use tests::Dom0;

/// Each place that takes an app's writes.
const LAYERS: [&[&str]; 2] = [&[], &["--tmpfs-root"]];

#[test]
fn files_of_the_image_and_of_the_app_are_on_one_device_and_are_no_mounts() {
    let dom0 = Dom0::shared();
    let script = "mkdir /var/log/new; touch /etc/own /etc/passwd; cd /; \
        stat -c %d / /usr /etc /var/log/new /etc/group /etc/passwd /etc/own | sort -u | wc -l; \
        test $(du -sk usr | cut -f1) = $(du -sxk usr | cut -f1) && echo same; \
        df --output=target /etc/group | tail -n 1; \
        python3 -c 'import os; print(os.path.ismount(\"/etc/group\"))'; \
        a() { stat -c '%d:%i' / /usr /etc /var/log/new /etc/group /etc/passwd /etc/own; }; \
        a >/tmp/1; sync; echo 3 >/proc/sys/vm/drop_caches; a | cmp - /tmp/1 && echo kept";
    for layer in LAYERS {
        let args = [&["--rm", "-m", "128m"], layer, &["python", "sh", "-c", script]].concat();
        let told = dom0.launch(&args).expect_success().stdout;
        let told: Vec<&str> = told.lines().collect();
        assert!(
            told.contains(&"1") && told.contains(&"same") && told.contains(&"False"),
            "{told:?}"
        );
        assert!(told.contains(&"/") && told.contains(&"kept"), "{told:?}");
    }
}

#[test]
fn a_working_directory_is_made_where_a_link_leads_and_an_empty_one_is_the_images() {
    let dom0 = Dom0::shared();
    let told = |flags: &[&str]| {
        dom0.launch(&[&["--rm"], flags, &["python", "pwd", "-P"]].concat()).expect_success().stdout
    };
    assert_eq!(told(&["-w", ""]), "/\n");
    // The link stays in the writable layer, and its target is missing when the app starts again.
    let script = "pwd -P; rmdir /srv/target 2>/dev/null; ln -sfn /srv/target /link; sleep 1000";
    let _app = dom0.start(
        "linked",
        &["-w", "/link", "python", "sh", "-c", "rmdir /link; cd /; eval \"$0\"", script],
    );
    let _ = dom0.eventually(60, "launch exec -w / linked test -L /link");
    dom0.launch(&["restart", "-t", "1", "linked"]).expect_success();
    let _ = dom0.eventually(60, "launch exec -w / linked test -L /link");
    let _app = dom0.start("plain", &["-w", "/srv", "python", "sleep", "1000"]);
    assert_eq!(dom0.launch(&["exec", "-w", "", "plain", "pwd"]).expect_success().stdout, "/srv\n");
}
