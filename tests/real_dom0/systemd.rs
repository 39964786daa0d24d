//! A dom0 as Debian has it: systemd, udev, networkd, and a shutdown with all that Xen does then.

use tests::Dom0;

/// An app that adds a line at each start and one when it is asked to stop, by nginx's own signal.
const GRACEFUL: &str =
    "echo >> /starts; trap 'sleep 1; echo >> /ends; exit 3' QUIT; sleep 100000 & wait";

#[test]
fn apps_and_pools_survive_jobs_that_end_and_a_reboot_of_the_host() {
    let dom0 = Dom0::with_systemd();
    let udev_and_networkd = "systemctl is-active systemd-udevd systemd-networkd xen";
    dom0.sh(udev_and_networkd).expect_success();
    dom0.sh("systemctl enable --now launch-apps launch-pool").expect_success();

    // A job that ends takes its processes with it, and no app.
    let job = "systemd-run --quiet --wait --collect launch run -d --name job nginx";
    dom0.sh(job).expect_success();
    let monitored = "test \"$(pgrep -fc '^launch-monitor ')\" = ";
    dom0.sh(&format!("sleep 2; {monitored} 1")).expect_success();
    assert_eq!(state_of(&dom0, "job"), "running");

    // Two disks, and udev has looked into neither.
    let disks = "udevadm settle; for disk in $(losetup -n -O NAME); do udevadm info -q property $disk; done";
    let known = dom0.sh(disks).expect_success().stdout;
    assert_eq!(known.matches("DEVNAME=").count(), 2, "{known}");
    assert!(!known.contains("ID_FS_"), "{known}");

    let graceful = ["run", "-d", "--name", "graceful", "--restart", "unless-stopped"];
    dom0.launch(&[&graceful, &["nginx", "sh", "-c", GRACEFUL][..]].concat()).expect_success();
    let web = ["run", "-d", "--name", "web", "--restart", "always", "-p", "8080:80", "nginx"];
    dom0.launch(&web).expect_success();
    dom0.launch(&["run", "-d", "--name", "stopped", "--restart", "unless-stopped", "nginx"])
        .expect_success();
    dom0.launch(&["stop", "stopped"]).expect_success();
    dom0.launch(&["pool", "--size", "1"]).expect_success();
    let answers = "curl -sf -m 5 -o /dev/null http://127.0.0.1:8080/";
    let _ = dom0.eventually(60, answers);
    let _ = dom0.eventually(60, "launch exec graceful cat /starts");

    dom0.reboot();

    let _ = dom0.eventually(120, answers);
    let _ = dom0.eventually(120, "launch exec graceful cat /starts");
    let lines = |file: &str| {
        let text = dom0.launch(&["exec", "graceful", "cat", file]).expect_success().stdout;
        text.lines().count()
    };
    assert_eq!((lines("/starts"), lines("/ends")), (2, 1));
    assert_eq!(
        (state_of(&dom0, "job"), state_of(&dom0, "stopped")),
        ("exited".into(), "exited".into())
    );
    let waits = "launch pool --format '{{.Waiting}}' | grep -x 1";
    let _ = dom0.eventually(120, waits);
    // Two apps, one that waits, and dom0: nothing of before came back beside them.
    let _ = dom0.eventually(60, "test \"$(xl list | wc -l)\" = 5");
    dom0.sh(&format!("{monitored} 2")).expect_success();
    // What xendomains saves of a domain it starts again without us.
    dom0.sh("test -z \"$(ls /var/lib/xen/save 2>/dev/null)\"").expect_success();
}

fn state_of(dom0: &Dom0, name: &str) -> String {
    let format = ["inspect", "--format", "{{.State.Status}}", name];
    dom0.launch(&format).expect_success().stdout.trim().to_owned()
}
