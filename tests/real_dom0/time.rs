//! `--time` tells every step of a start, dom0's and the guest's, on one clock.

use tests::Dom0;

struct Step {
    name: String,
    start_ms: f64,
    took_ms: f64,
}

/// The lines `start ms  took ms  name`.
fn steps(text: &str) -> Vec<Step> {
    let step = |line: &str| {
        let (start, rest) = line.trim().split_once(" ms ")?;
        let (took, name) = rest.trim().split_once(" ms ")?;
        Some(Step {
            name: name.trim().to_owned(),
            start_ms: start.parse().ok()?,
            took_ms: took.parse().ok()?,
        })
    };
    text.lines().filter_map(step).collect()
}

/// Starts an app and checks what is told of it; `firsts` is what the guest may do first of all that
/// counts, beside or after the step `after` of dom0.
fn is_told(dom0: &Dom0, flags: &[&str], firsts: &[&str], after: &str) {
    let all = [
        &["sh", "-c", "date +%s%N; launch \"$@\" 2>&1; date +%s%N", "sh", "-d", "--time"],
        flags,
        &["--name", "timed", "hello"],
    ];
    let told = dom0.run(&all.concat()).expect_success().stdout;
    dom0.launch(&["rm", "-f", "timed"]).expect_success();
    let clock = |line: Option<&str>| line.unwrap().parse::<f64>().unwrap() / 1e6;
    let command_ms = clock(told.lines().last()) - clock(told.lines().next());

    let steps = steps(&told);
    let find = |name: &str| {
        steps.iter().find(|step| step.name == name).unwrap_or_else(|| panic!("no {name}: {told}"))
    };
    assert_eq!((find("arguments").start_ms, steps[0].name.as_str()), (0.0, "arguments"), "{told}");
    for name in ["settings and state", "image", "disks", "network", "orders", "monitor", after] {
        let step = find(name);
        assert!(step.start_ms + step.took_ms <= command_ms, "{name}: {told}");
    }
    let guest: Vec<&Step> = steps.iter().filter(|step| step.name.starts_with("guest: ")).collect();
    assert!(firsts.contains(&guest[0].name.as_str()), "{told}");
    assert!(guest[0].start_ms >= find(after).start_ms, "{told}");
    for pair in guest.windows(2) {
        let gap = pair[1].start_ms - pair[0].start_ms - pair[0].took_ms;
        assert!(gap.abs() < 0.3, "{} does not follow {}: {told}", pair[1].name, pair[0].name);
    }
    let exec = find("guest: exec");
    assert!(guest[0].took_ms > 0.0, "{told}");
    // The command returned after it had been told of it.
    assert!(exec.start_ms + exec.took_ms <= command_ms, "{command_ms} ms: {told}");
}

#[test]
fn a_cold_start_is_told_from_the_arguments_to_the_exec() {
    let dom0 = Dom0::shared();
    for flags in [&["--type", "pv"][..], &["--type", "pvh"], &["--type", "pv", "--toolstack", "xl"]]
    {
        is_told(dom0, flags, &["guest: kernel"], "domain");
    }
}

#[test]
fn a_start_out_of_a_pool_is_told_without_what_was_before() {
    let dom0 = Dom0::shared();
    dom0.launch(&["pool", "--size", "1"]).expect_success();
    let _ = dom0.eventually(60, "test $(launch pool | awk 'NR>1{n+=$NF} END{print n+0}') = 1");
    // Booted, so that only the handing over is left: its processor time stands still.
    let used = "xl list | awk '/waiting-/{print $6}'";
    let still = format!("before=$({used}); sleep 3; test $before = $({used})");
    let _ = dom0.eventually(120, &still);
    // Its threads do these beside each other.
    is_told(dom0, &[], &["guest: orders", "guest: image", "guest: network"], "devices");
    dom0.launch(&["pool", "--drain"]).expect_success();
}
