//! `launch cp` out of a guest that does not play fair, and of files that are hard to copy.

use crate::hostile;
use tests::{Dom0, Output};

/// A Python program in dom0 that runs a command for at most 120 seconds and tells, as the last line of
/// its standard error, the largest memory that it or a process below it had, in KiB.
const MEASURED: &str = r#"
import resource, subprocess, sys
try:
    code = subprocess.run(sys.argv[1:], timeout=120).returncode
except subprocess.TimeoutExpired:
    code = 124
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"#;
/// The most memory that a copy takes, in KiB: a release build takes a few MiB.
const MAX_MEMORY_KIB: u64 = 32 << 10;

/// Runs `launch cp` with these arguments; its output without the last line, and its memory in KiB.
fn measured(dom0: &Dom0, args: &[&str]) -> (Output, u64) {
    let program = ["python3", "-c", MEASURED, "launch", "cp"];
    let mut output = dom0.run(&[&program, args].concat());
    let (said, memory) = match output.stderr.trim_end().rsplit_once('\n') {
        Some((said, memory)) => (format!("{said}\n"), memory.to_owned()),
        None => (String::new(), output.stderr.trim_end().to_owned()),
    };
    output.stderr = said;
    let memory = memory.parse().unwrap_or_else(|_| panic!("no memory told: {output:?}"));
    (output, memory)
}

/// An empty folder of dom0's.
fn empty(dom0: &Dom0) -> &'static str {
    dom0.sh("rm -rf /tmp/out && mkdir /tmp/out").expect_success();
    "/tmp/out"
}

/// Nothing is in the folder, not even what is hidden.
fn expect_nothing(dom0: &Dom0, why: &str) {
    assert_eq!(dom0.sh("ls -A /tmp/out").expect_success().stdout, "", "{why}");
}

#[test]
fn a_guest_that_sends_for_ever_takes_no_memory_and_ends_by_a_limit_with_nothing_left() {
    let dom0 = Dom0::shared();
    let limits = ["--max-size", "16m", "--max-entries", "2000", "--max-depth", "100"];
    let modes = [
        ("tar-long-name-for-ever", "version"),
        ("copy-file-for-ever", "--max-size"),
        ("copy-files-for-ever", "--max-entries"),
        ("copy-folders-for-ever", "--max-depth"),
        ("stdout-for-ever", "version"),
        // What it says on standard error does not take memory either.
        ("stderr-for-ever", "words without end"),
        ("noise", ""),
    ];
    let all: Vec<&str> = modes.iter().map(|(mode, _)| *mode).collect();
    let _app = hostile::start(dom0, "endless", &all.join(","));
    for (mode, word) in modes {
        let dest = empty(dom0);
        let (output, memory) = measured(dom0, &[&limits[..], &["endless:/etc", dest]].concat());
        println!("{mode}: {memory} KiB");
        output.expect_failure(1, &[word]);
        assert!(memory < MAX_MEMORY_KIB, "{mode}: {memory} KiB");
        expect_nothing(dom0, mode);
    }
}

#[test]
fn a_tar_of_a_guest_that_does_not_end_it_is_a_failure_and_has_no_end() {
    let dom0 = Dom0::shared();
    let _app = hostile::start(dom0, "cut", "copy-cut");
    let copy = "launch cp cut:/etc - >/tmp/cut.tar; echo $?; head -c 1024 /dev/zero >/tmp/zeros
        tail -c 1024 /tmp/cut.tar | cmp -s - /tmp/zeros; echo $?";
    let output = dom0.sh(copy);
    assert_eq!(output.stdout, "1\n1\n", "{output:?}");
    let dest = empty(dom0);
    dom0.launch(&["cp", "cut:/etc", dest]).expect_failure(1, &["cut:/etc", "ends early"]);
    expect_nothing(dom0, "cut");
}

#[test]
fn a_guest_writes_nowhere_else_and_what_it_names_does_not_drive_the_terminal() {
    let dom0 = Dom0::shared();
    let raw = |output: &Output| output.stderr.chars().any(|c| c.is_control() && c != '\n');
    let _app = hostile::start(dom0, "loud", "copy-escapes,escapes,refused,copy-outside");
    for (mode, code) in [("copy-escapes", 0), ("escapes", 1), ("refused", 1)] {
        let dest = empty(dom0);
        let output = dom0.launch(&["cp", "loud:/etc", dest]);
        assert_eq!(output.code, code, "{mode}: {output:?}");
        assert!(!raw(&output), "{mode}: {output:?}");
        let said = if mode == "copy-escapes" { "left out" } else { "loud:/etc" };
        assert!(output.stderr.contains(said), "{mode}: {output:?}");
    }
    let dest = empty(dom0);
    dom0.launch(&["cp", "loud:/etc", dest]).expect_failure(1, &["loud:/etc", "directory"]);
    expect_nothing(dom0, "outside");
    dom0.sh("test ! -e /tmp/outside").expect_success();
}

#[test]
fn a_guest_that_stalls_is_left_by_a_signal_and_one_that_does_not_end_is_not_waited_for() {
    let dom0 = Dom0::shared();
    let all = "copy-whole-then-hold,copy-then-silence,copy-then-silence,started";
    let _app = hostile::start(dom0, "stalls", all);
    let dest = empty(dom0);
    dom0.launch(&["cp", "stalls:/etc", dest]).expect_success();
    assert_eq!(dom0.sh("cat /tmp/out/etc/file").stdout, "text");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let dest = empty(dom0);
        let timeout = ["timeout", "--preserve-status", "-k", "60", "-s", signal, "20"];
        let output = dom0.run(&[&timeout[..], &["launch", "cp", "stalls:/etc", dest]].concat());
        output.expect_failure(code, &["interrupted", "nothing was written"]);
        expect_nothing(dom0, signal);
    }
    // Into it, too: it takes no input.
    dom0.sh("head -c 1000000 /dev/zero >/tmp/million").expect_success();
    let timeout = ["timeout", "--preserve-status", "-k", "60", "-s", "INT", "20"];
    let output = dom0.run(&[&timeout[..], &["launch", "cp", "/tmp/million", "stalls:/x"]].concat());
    output.expect_failure(130, &["interrupted", "stalls:/x may not be complete"]);
}

/// Makes what is hard to copy, and keeps a log growing.
const MAKES: &str = r#"
import os, socket, time
os.makedirs('/d')
with open('/d/hole', 'wb') as file:
    file.seek(100 << 20); file.write(b'middle'); file.truncate(1 << 30)
with open('/d/ahead', 'wb') as file:
    os.posix_fallocate(file.fileno(), 0, 1 << 20); file.write(b'log')
os.mkfifo('/d/pipe'); socket.socket(socket.AF_UNIX).bind('/d/socket'); os.link('/d/ahead', '/d/same'); os.symlink('ahead', '/d/link')
open('/d/z-behind', 'w').write('behind')
log = open('/d/log', 'ab', 0)
log.write(b'g' * 3000000)
print('made', flush=True)
while True:
    log.write(b'g' * 100000)
    if log.tell() > 10000000:
        log.truncate(3000000)
    time.sleep(0.01)
"#;

#[test]
fn files_with_holes_that_grow_or_are_the_kernels_are_copied() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("hard", &["python", "python3", "-c", MAKES]);
    let _ = dom0.eventually(120, "launch logs hard | grep made");
    let dest = empty(dom0);
    let output = dom0.launch(&["cp", "hard:/d", dest]).expect_success();
    assert!(output.stderr.contains("left out socket: "), "{output:?}");
    let check = "set -e; cd /tmp/out/d; stat -c %s hole; tail -c +104857601 hole | head -c 6; echo
        test $(du -k hole | cut -f1) -lt 1000; stat -c %s ahead same; head -c 3 same; echo
        test ahead -ef same; test -p pipe
        cat z-behind; echo; readlink link; test $(stat -c %s log) -ge 3000000; tr -d 'g\\0' <log | wc -c";
    let told = dom0.sh(check).expect_success().stdout;
    let expected = "1073741824\nmiddle\n1048576\n1048576\nlog\nbehind\nahead\n0\n";
    assert_eq!(told, expected);
    // As a tar: a hole is written out there, so without the large one.
    dom0.launch(&["exec", "hard", "rm", "/d/hole"]).expect_success();
    let told = dom0.sh("cd /tmp && rm -rf tar && mkdir tar && launch cp hard:/d - >d.tar && \
        tar xf d.tar -C tar && test tar/d/ahead -ef tar/d/same && test -p tar/d/pipe && cat tar/d/z-behind && tr -d 'g\\0' <tar/d/log | wc -c && ls -A tar/d");
    assert_eq!(told.expect_success().stdout, "behind0\nahead\nlink\nlog\npipe\nsame\nz-behind\n");
    // Alone, and files of the kernel's.
    dom0.launch(&["cp", "hard:/d/log", dest]).expect_success();
    dom0.launch(&["cp", "hard:/proc/cpuinfo", dest]).expect_success();
    dom0.launch(&["cp", "hard:/sys/kernel/notes", dest]).expect_success();
    dom0.sh("grep -q processor /tmp/out/cpuinfo && test -s /tmp/out/notes").expect_success();
    // And in again, as a folder and as a tar.
    dom0.sh("cd /tmp/out/d && rm hole log && launch cp /tmp/out/d hard:/in && \
        tar cf - -C /tmp/out d | launch cp - hard:/srv")
        .expect_success();
    let check = "for d in /in /srv/d; do test $d/ahead -ef $d/same -a -p $d/pipe || exit 1; done";
    dom0.launch(&["exec", "hard", "sh", "-c", check]).expect_success();
    // Asked for by name, a device or socket is an error.
    dom0.launch(&["cp", "hard:/d/socket", dest]).expect_failure(1, &["/d/socket is a socket"]);
    dom0.launch(&["cp", "hard:/dev/null", dest]).expect_failure(1, &["/dev/null is a device"]);
    // The root, with what is mounted there.
    let _small = dom0.start("small", &["hello"]);
    let copy = "launch cp small:/ /tmp/out/root 2>/tmp/said && grep 'left out' /tmp/said";
    let _ = dom0.eventually(120, copy);
    let check = "cd /tmp/out/root && test -d proc && test -d sys && ls -A proc sys | grep -v -e : -e ^$ | wc -l";
    assert_eq!(dom0.sh(check).expect_success().stdout.trim(), "0");
    dom0.sh("rm -rf /tmp/out /tmp/tar /tmp/d.tar").expect_success();
}

#[test]
fn a_full_disk_a_read_only_one_and_a_missing_folder_are_named() {
    let dom0 = Dom0::shared();
    let makes = "head -c 5000000 /dev/zero >/large; echo made; exec sleep 1000000";
    let _app = dom0.start("full", &["--tmpfs", "/small:size=1m", "python", "sh", "-c", makes]);
    let _ = dom0.eventually(60, "launch logs full | grep made");
    dom0.sh("mkdir -p /tmp/small && mount -t tmpfs -o size=1m x /tmp/small && \
        head -c 5000000 /dev/zero >/tmp/large")
        .expect_success();
    let copy = |args: &[&str]| dom0.launch(&[&["cp"], args].concat());
    copy(&["full:/large", "/tmp/small"]).expect_failure(1, &["full:/large", "--max-size", "free"]);
    copy(&["--max-size", "1g", "full:/large", "/tmp/small"])
        .expect_failure(1, &["full:/large", "no space left on device"]);
    assert_eq!(dom0.sh("ls -A /tmp/small").stdout, "");
    dom0.sh("mount -o remount,ro /tmp/small").expect_success();
    copy(&["full:/large", "/tmp/small"]).expect_failure(1, &["/tmp/small", "ead-only file system"]);
    dom0.sh("umount /tmp/small").expect_success();
    copy(&["full:/large", "/tmp/no/such"]).expect_failure(1, &["/tmp/no"]);
    // Into the app.
    copy(&["/tmp/large", "full:/small"])
        .expect_failure(1, &["/small/large", "no space left on device"]);
    copy(&["/tmp/large", "full:/no/such"]).expect_failure(1, &["/no", "no such file or directory"]);
    dom0.sh("cd /tmp && tar c large | launch cp - full:/small")
        .expect_failure(1, &["/small/large", "no space left on device"]);
    copy(&["/tmp/large", "full:/proc"]).expect_failure(1, &["/proc/large"]);
    let _read_only = dom0.start("sealed", &["--read-only", "python", "sleep", "1000000"]);
    copy(&["/tmp/large", "sealed:/etc"])
        .expect_failure(1, &["/etc/large", "read-only file system"]);
}
