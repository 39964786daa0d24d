//! What a launch needs is used up: one clear line, and all that was made is undone.

use tests::Dom0;

/// What builds a domain, and the kind of it.
const WAYS: [[&str; 4]; 3] = [
    ["--toolstack", "native", "--type", "pvh"],
    ["--toolstack", "native", "--type", "pv"],
    ["--toolstack", "xl", "--type", "pv"],
];
const FREE_MIB: &str = "xl info | awk '/^free_memory/{print $3}'";

/// A script that ends, when dropped, what another has begun.
struct Undo<'a>(&'a Dom0, String);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let output = self.0.sh(&self.1);
        if !std::thread::panicking() {
            output.expect_success();
        }
    }
}

/// Launches in each way; each must fail with `words` and leave nothing.
fn every_launch_fails(dom0: &Dom0, ways: &[[&str; 4]], words: &[&str]) {
    let before = dom0.traces();
    for way in ways {
        let args = [&["run", "-d", "--name", "odd", "-p", "18095:80"], &way[..], &["hello"]];
        let output = dom0.launch(&args.concat());
        println!("{way:?}: {}", output.stderr.trim());
        if output.code == 0 {
            // The other tests are to find the dom0 that they expect.
            let _ = dom0.launch(&["rm", "-f", "odd"]);
        }
        output.expect_failure(125, words);
        dom0.expect_traces(&before);
        assert!(!dom0.launch(&["ps", "-a"]).stdout.contains("odd"));
    }
}

/// And when there is enough again, the next launch is as any other.
fn a_launch_works(dom0: &Dom0) {
    let app = dom0.start("even", &["hello"]);
    let _ = dom0.eventually(120, &format!("curl -sf --max-time 5 http://{}/", app.address()));
}

#[test]
fn xens_last_memory_is_not_enough_and_the_figures_say_so() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    // The first size that fits: PV, of which Xen keeps the least besides.
    let fill = format!(
        "free=$({FREE_MIB}); for less in 1 2 3 4 6 8 12; do \
         launch run -d --name filler --type pv -m $((free - less))m hello 2>/dev/null && exit; done; exit 1"
    );
    dom0.sh(&fill).expect_success();
    let undo = Undo(dom0, "launch rm -f filler".into());
    println!("left: {} MiB", dom0.sh(FREE_MIB).stdout.trim());
    every_launch_fails(dom0, &WAYS, &["MiB are free", " 6"]);
    drop(undo);
    dom0.expect_traces(&before);
    a_launch_works(dom0);
}

#[test]
fn no_further_loop_device_is_told_and_undone() {
    let dom0 = Dom0::shared();
    // All that there are, and no room in /dev for the node of another.
    let script = "cd /tmp && while losetup -f | grep -q 'loop[0-7]$'; do \
        file=$(mktemp full.XXXX) && truncate -s 1M $file && losetup -f $file || exit; done; \
        mount -o remount,nr_inodes=$(df --output=iused /dev | tail -n 1 | tr -d ' ') /dev";
    let all = dom0.sh("df --output=itotal /dev | tail -n 1").stdout;
    let undo = Undo(
        dom0,
        format!(
            "mount -o remount,nr_inodes={} /dev; cd /tmp; for file in full.*; do \
             losetup -d $(losetup -nO NAME -j $file); rm $file; done; \
             for device in /sys/block/loop*; do node=/dev/${{device##*/}}; \
             test -e $node || mknod -m 660 $node b $(tr : ' ' <$device/dev); done",
            all.trim()
        ),
    );
    dom0.sh(script).expect_success();
    every_launch_fails(dom0, &WAYS[1..], &["/dev/loop"]);
    drop(undo);
    a_launch_works(dom0);
}

#[test]
fn dom0_out_of_grants_is_told_and_undone() {
    let dom0 = Dom0::shared();
    if dom0.sh("pgrep -x oxenstored").code == 0 {
        println!(
            "skipped: xenstored in OCaml maps a domain's ring without a grant (LAB_XENSTORED=c)"
        );
        return;
    }
    const LIMIT: &str = "/sys/module/xen_gntdev/parameters/limit";
    let limit = dom0.sh(&format!("cat {LIMIT}")).stdout;
    // xenstored cannot map the new domain's ring.
    let undo = Undo(dom0, format!("echo {} > {LIMIT}", limit.trim()));
    dom0.sh(&format!("echo 0 > {LIMIT}")).expect_success();
    every_launch_fails(dom0, &WAYS[..2], &["introduce domain"]);
    drop(undo);
    a_launch_works(dom0);
}

#[test]
fn no_xenstored_is_told_and_undone() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let script = "unshare -m sh -c 'mount -t tmpfs none /run/xenstored && \
        mount --bind /dev/null /dev/xen/xenbus && exec launch run -d --name odd hello'";
    dom0.sh(script).expect_failure(125, &["xenstore"]);
    dom0.expect_traces(&before);
    a_launch_works(dom0);
}
