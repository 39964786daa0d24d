//! What a guest can do to dom0 through its monitor: cost it a little, and nothing else.

use tests::{App, Dom0};

const VCHAN: &str = include_str!("hostile/vchan.py");

/// Shell functions of dom0. `monitor ID` prints the numbers of a monitor's processes, the keeper first. `cost ID` prints
/// the processor time they used, in hundredths of a second, and the bytes that they wrote; a reader that has ended counts
/// for its keeper.
const FUNCTIONS: &str = r#"
monitor() { pgrep -o -f "^launch-monitor .*$1"; pgrep -f "^launch-reader .*$1"; }
cost() {
    set -- $(monitor "$1")
    for pid; do cat /proc/$pid/stat 2>/dev/null; done | awk -v keeper=$1 '
        { used += $14 + $15 } $1 == keeper { used += $16 + $17 } END { printf "%d ", used }'
    for pid; do cat /proc/$pid/io 2>/dev/null; done | awk '/^wchar/ { sum += $2 } END { print sum + 0 }'
}
"#;
/// A guest's program that writes nodes of its own: `write(path, value)`, both bytes.
const WRITE_NODES: &str = "import os, struct, sys, time
store = os.open('/dev/xen/xenbus', os.O_RDWR)
def write(path, value):
    body = path + b'\\0' + value
    os.write(store, struct.pack('=4I', 11, 1, 0, len(body)) + body)
    return os.read(store, 4096)
";

fn id_of(app: &App<'_>) -> String {
    app.inspect()["app"]["id"].as_str().unwrap().to_owned()
}

fn sh(dom0: &Dom0, script: &str) -> String {
    dom0.sh(&format!("{FUNCTIONS}{script}")).expect_success().stdout
}

/// That an app's monitor stays within its budgets while the app does its worst: a tenth of a processor, 4 MiB a
/// second, and what may come at once.
fn expect_cheap(dom0: &Dom0, app: &App<'_>, seconds: u64) {
    let id = id_of(app);
    let output = sh(dom0, &format!("cost {id}; sleep {seconds}; cost {id}"));
    let numbers: Vec<u64> =
        output.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [used, written, used_later, written_later] = numbers[..] else { panic!("{output:?}") };
    let (used, written) = (used_later - used, written_later.saturating_sub(written));
    println!("in {seconds} s: {used}0 ms of a processor, {} KiB written", written >> 10);
    // A quarter more for what is counted late.
    let most = (1000 + seconds * 10) * 5 / 4;
    assert!(used <= most, "{used} hundredths of a second in {seconds} s, at most {most}");
    let most = (32 + 4 * seconds + 8) << 20;
    assert!(written <= most, "{written} bytes in {seconds} s, at most {most}");
}

#[test]
fn an_app_that_writes_nothing_but_line_ends_costs_dom0_little_and_still_ends_at_once() {
    let dom0 = Dom0::shared();
    let app = dom0.start("line-ends", &["python", "yes", ""]);
    let _ = dom0.eventually(120, "launch logs -n 1 line-ends | grep -c ''");
    expect_cheap(dom0, &app, 30);
    dom0.launch(&["kill", "line-ends"]).expect_success();
}

#[test]
fn an_app_that_writes_more_than_it_may_waits_and_its_log_is_whole_and_in_order() {
    let dom0 = Dom0::shared();
    // About 7 MiB of log. In an emulated Xen they take more than the time of a processor that may be used at once.
    let app = dom0.start("waits", &["python", "sh", "-c", "seq 130000; echo end"]);
    let log = format!("/var/lib/launch/domains/{}/console.log", id_of(&app));
    let _ = dom0.eventually(290, &format!("tail -n 1 {log} | grep 'F end$'"));
    let wanted = dom0.sh("(seq 130000; echo end) | md5sum").stdout;
    assert_eq!(dom0.sh("launch logs waits | md5sum").stdout, wanted);
}

/// Starts an app that writes so much to its console that its monitor asks for the output over a vchan, which
/// `vchan.py` then serves with `mode`.
fn start_flood<'a>(dom0: &'a Dom0, name: &'a str, mode: &str) -> App<'a> {
    let script = format!(
        "until tail -n 1 /vchan.py 2>/dev/null | grep -q '^# The end'; do sleep 0.2; done
         (until test -e /serving; do sleep 0.5; done; head -c 400000 /dev/zero | tr '\\0' x; echo) &
         exec python3 /vchan.py {mode}"
    );
    let app = dom0.start(name, &["python", "sh", "-c", &script]);
    dom0.write("/tmp/hostile/vchan.py", VCHAN);
    dom0.launch(&["cp", "/tmp/hostile/vchan.py", &format!("{name}:/vchan.py")]).expect_success();
    let _ = dom0.eventually(120, &format!("launch logs {name} | grep 'request.*output'"));
    app
}

#[test]
fn frames_that_bring_nothing_cost_dom0_little() {
    let dom0 = Dom0::shared();
    for (name, mode) in [("taken", "taken-for-ever"), ("empty", "empty-for-ever")] {
        let app = start_flood(dom0, name, mode);
        println!("{name}");
        expect_cheap(dom0, &app, 30);
    }
}

#[test]
fn line_ends_over_a_vchan_of_the_guests_own_cost_dom0_little() {
    let dom0 = Dom0::shared();
    let app = start_flood(dom0, "own-vchan", "stdout-for-ever 10");
    expect_cheap(dom0, &app, 30);
}

#[test]
fn a_flood_on_the_console_of_a_guest_that_has_no_vchan_costs_dom0_little() {
    let dom0 = Dom0::shared();
    // The vchan that takes the place of `init`'s never answers, so all output stays on the console.
    let script = "until tail -n 1 /vchan.py 2>/dev/null | grep -q '^# The end'; do sleep 0.2; done
         python3 /vchan.py silent & sleep 15; exec yes";
    let app = dom0.start("console-only", &["python", "sh", "-c", script]);
    dom0.write("/tmp/hostile/vchan.py", VCHAN);
    dom0.launch(&["cp", "/tmp/hostile/vchan.py", "console-only:/vchan.py"]).expect_success();
    let _ = dom0.eventually(120, "launch logs -n 1 console-only | grep '^y'");
    expect_cheap(dom0, &app, 30);
}

#[test]
fn a_guest_that_writes_its_nodes_without_end_takes_no_memory_of_dom0s_kernel() {
    let dom0 = Dom0::shared();
    let script = format!(
        "{WRITE_NODES}
for number in range(10**9):
    value = b'%d' % number
    write(b'data/launch/report', value); write(b'data/launch/start-set', value)"
    );
    let app = dom0.start("rewrites", &["python", "python3", "-c", &script]);
    let id = id_of(&app);
    let node = format!(
        "/local/domain/{}/data/launch/report",
        app.inspect()["state"]["domid"].as_u64().unwrap()
    );
    let written = |number: u64| {
        let _ = dom0.eventually(280, &format!("test \"$(xenstore-read {node})\" -ge {number}"));
        dom0.sh(&format!("xenstore-read {node}")).stdout.trim().parse::<u64>().unwrap()
    };
    let begin = written(20);
    // However slow its reader is: here it does not run at all.
    sh(dom0, &format!("kill -STOP $(monitor {id})"));
    let kernel =
        "awk '/^kmalloc-/ { sum += $2 * $4 } END { print int(sum / 1024) }' /proc/slabinfo";
    let kib = || dom0.sh(kernel).stdout.trim().parse::<u64>().unwrap();
    let before = kib();
    let end = written(begin + 800);
    let after = kib();
    println!("{} writes of two nodes: {before} KiB, {after} KiB", end - begin);
    sh(dom0, &format!("kill -CONT $(monitor {id})"));
    // Linux keeps an event that is not read in at least 80 bytes: these would be 125 KiB and more.
    assert!(after < before + 60, "dom0's kernel took {} KiB more", after - before);
    // And while it runs, it is not kept busy.
    expect_cheap(dom0, &app, 20);
}

#[test]
fn what_reads_a_guests_words_has_no_rights_in_dom0_and_no_files_but_its_own() {
    let dom0 = Dom0::shared();
    for script in ["echo ready; sleep 1000", "echo ready; yes '' | head -c 300000; sleep 1000"] {
        let app = dom0.start("fenced", &["python", "sh", "-c", script]);
        let _ = dom0.eventually(120, "launch logs fenced | grep ready");
        let id = id_of(&app);
        let reader = format!("reader=$(pgrep -f '^launch-reader .*{id}') || exit");
        let _ = dom0.eventually(60, &reader);
        let status = dom0.sh(&format!("{reader}; cat /proc/$reader/status")).stdout;
        let get = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').trim().to_owned()
        };
        assert_eq!(get("Uid"), ["64322"; 4].join("\t"));
        assert_eq!(get("Gid"), ["64322"; 4].join("\t"));
        assert_eq!(get("Groups"), "");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&get(set), 16), Ok(0), "{set}");
        }
        assert_eq!((get("NoNewPrivs"), get("Seccomp")), ("1".into(), "2".into()));
        let files = dom0.sh(&format!("{reader}; readlink /proc/$reader/fd/*")).stdout;
        let own = ["/dev/null", "socket:", "/dev/pts/", "/dev/xen/gntdev", "/dev/xen/evtchn"];
        let logs = [format!("/{id}/console.log"), format!("/{id}/monitor.log")];
        for file in files.lines() {
            let known = own.iter().any(|own| file.starts_with(own))
                || logs.iter().any(|log| file.ends_with(log));
            assert!(known, "{file} in {files}");
        }
        assert_eq!(files.lines().filter(|file| file.starts_with("socket:")).count(), 1, "{files}");
        let said = dom0.sh(&format!("cat /var/lib/launch/domains/{id}/monitor.log")).stdout;
        assert_eq!(said, "");
    }
}

#[test]
fn an_app_goes_on_when_the_process_that_reads_its_words_is_killed() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let script = "trap 'echo bye; exit 7' TERM; while :; do echo tick; sleep 0.2; done";
    let app = dom0.start("unread", &["python", "sh", "-c", script]);
    let _ = dom0.eventually(120, "launch logs unread | grep tick");
    let id = id_of(&app);
    sh(dom0, &format!("set -- $(monitor {id}); kill -9 $2"));
    let ticks = dom0.sh("launch logs unread | grep -c tick").stdout.trim().parse::<u32>().unwrap();
    let more = format!("test $(launch logs unread | grep -c tick) -gt {}", ticks + 3);
    let _ = dom0.eventually(60, &more);
    let said = dom0.sh(&format!("cat /var/lib/launch/domains/{id}/monitor.log")).stdout;
    assert_eq!(said.lines().count(), 1, "{said:?}");
    assert!(said.contains("has died") && said.contains("signal 9"), "{said:?}");
    // Also if it happens as the app ends.
    dom0.launch(&["stop", "unread"]).expect_success();
    assert_eq!(app.inspect()["state"]["outcome"]["code"], 7);
    dom0.sh("launch logs unread | grep bye").expect_success();
    drop(app);
    dom0.expect_traces(&before);
}

#[test]
fn nothing_is_left_of_a_monitor_whose_keeper_is_killed() {
    let dom0 = Dom0::shared();
    let app = dom0.start("keeperless", &["hello"]);
    let id = id_of(&app);
    let _ = dom0.eventually(60, &format!("pgrep -f '^launch-reader .*{id}'"));
    dom0.sh(&format!("pkill -9 -f '^launch-monitor .*{id}'")).expect_success();
    let _ = dom0.eventually(30, &format!("! pgrep -f '^launch-reader .*{id}'"));
    dom0.launch(&["ps"]).expect_success();
    let _ = dom0.eventually(60, &format!("pgrep -f '^launch-reader .*{id}'"));
}

#[test]
fn what_a_tenants_app_says_of_its_image_is_told_to_no_other_app() {
    let dom0 = Dom0::shared();
    let found = dom0.launch(&["inspect", "python"]).expect_success().stdout;
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let set = found[0]["disk"].as_str().unwrap().replace("disk.erofs", "start-set");
    dom0.sh(&format!("rm -f {set}")).expect_success();
    let script = format!(
        "{WRITE_NODES}
write(b'data/launch/start-set', b'1 {{\"disk\":[[1,2]],\"files\":[]}}')
print('written', flush=True); time.sleep(1000)"
    );
    let app = dom0.start("teacher", &["python", "python3", "-c", &script]);
    let folder = format!("/var/lib/launch/domains/{}", id_of(&app));
    // It is told to this app's own later starts.
    let _ = dom0.eventually(120, &format!("grep '\\[1,2\\]' {folder}/start-set.own"));
    assert_ne!(dom0.sh(&format!("test -e {set}")).code, 0, "kept for the image");
    let other = dom0.start("pupil", &["python", "sleep", "1000"]);
    let told = format!(
        "xenstore-read /local/domain/{}/vm-data/launch/start-set",
        other.inspect()["state"]["domid"].as_u64().unwrap()
    );
    assert_eq!(dom0.sh(&told).stdout.trim(), "0");
}

#[test]
fn what_an_image_by_itself_reads_at_its_start_is_told_to_its_later_apps() {
    let dom0 = Dom0::shared();
    dom0.launch(&["pull", "hello"]).expect_success();
    let found = dom0.launch(&["inspect", "hello"]).expect_success().stdout;
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let set = found[0]["disk"].as_str().unwrap().replace("disk.erofs", "start-set");
    dom0.sh(&format!("rm -f {set}")).expect_success();
    let _app = dom0.start("first", &["hello"]);
    let _ = dom0.eventually(180, &format!("grep files {set}"));
}
