//! The verbs of daily work, as people know them from Docker.

use tests::Dom0;

/// Says what it gets, and ends with 3 when asked to stop.
const TALKER: &str = "trap 'echo hup' HUP; trap 'echo bye; exit 3' TERM; echo ready; \
    while :; do sleep 0.1; done";

fn status(dom0: &Dom0, name: &str) -> String {
    let told = dom0.launch(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name]);
    told.expect_success().stdout.trim().to_owned()
}

#[test]
fn what_an_app_wrote_is_there_when_it_is_started_again() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    for toolstack in ["native", "xl"] {
        let app = dom0.start("again", &["--toolstack", toolstack, "redis"]);
        let cli = |app: &tests::App<'_>, command: &str| {
            dom0.eventually(120, &format!("redis-cli -h {} {command}", app.address()))
        };
        let _ = cli(&app, "set kept yes");
        // A kill is no stop: redis writes nothing itself then, but what it saved must be there.
        let _ = cli(&app, "save");
        dom0.launch(&["stop", "again"]).expect_success();
        assert_eq!(status(dom0, "again"), "exited 0");
        dom0.launch(&["start", "again"]).expect_success();
        assert!(cli(&app, "get kept").contains("yes"));
        dom0.launch(&["restart", "-t", "5", "again"]).expect_success();
        assert!(cli(&app, "get kept").contains("yes"));
        dom0.launch(&["kill", "again"]).expect_success();
        assert_eq!(status(dom0, "again"), "exited 137");
        dom0.launch(&["start", "again"]).expect_success();
        assert!(cli(&app, "get kept").contains("yes"));
        // A monitor that dies harms nothing, and neither does a domain that is destroyed.
        dom0.sh("pkill -9 -f '^launch-monitor '").expect_success();
        assert!(cli(&app, "get kept").contains("yes"));
        dom0.sh("xl destroy again").expect_success();
        let _ = dom0.eventually(30, "launch ps -a --filter name=again | grep 'Exited (137)'");
        dom0.launch(&["start", "again"]).expect_success();
        assert!(cli(&app, "get kept").contains("yes"), "{toolstack}");
        drop(app);
        dom0.expect_traces(&before);
    }
}

#[test]
fn what_a_database_promised_to_keep_outlives_a_stop_a_dead_monitor_and_a_dead_domain() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    for toolstack in ["native", "xl"] {
        let args = ["--toolstack", toolstack, "-m", "192m", "-e", "POSTGRES_PASSWORD=secret"];
        let app = dom0.start("database", &[&args[..], &["postgres"]].concat());
        let ask = |sql: &str| {
            let ip = app.address();
            let psql = format!("psql -h {ip} -U postgres -Atc \"{sql}\"");
            dom0.eventually(300, &format!("PGPASSWORD=secret PGCONNECT_TIMEOUT=5 {psql}"))
        };
        // Each may be asked twice, where only its answer is lost.
        let keep = |line: u32| {
            let _ = ask(&format!("insert into kept values ({line}) on conflict do nothing"));
        };
        let kept = || ask("select count(*) from kept").trim().to_owned();
        let _ = ask("create table if not exists kept (line int primary key)");
        keep(1);
        dom0.launch(&["stop", "database"]).expect_success();
        dom0.launch(&["start", "database"]).expect_success();
        assert_eq!(kept(), "1", "{toolstack}: after a stop");
        dom0.sh("pkill -9 -f '^launch-monitor '").expect_success();
        keep(2);
        dom0.sh("xl destroy database").expect_success();
        let _ = dom0.eventually(30, "launch ps -a --filter name=database | grep 'Exited (137)'");
        dom0.launch(&["start", "database"]).expect_success();
        assert_eq!(kept(), "2", "{toolstack}: after its domain was destroyed");
        drop(app);
        dom0.expect_traces(&before);
    }
}

#[test]
fn a_signal_reaches_the_app_and_nothing_else() {
    let dom0 = Dom0::shared();
    for flags in [&[][..], &["--toolstack", "xl"], &["--type", "pv"]] {
        let args = [flags, &["python", "sh", "-c", TALKER]].concat();
        let app = dom0.start("signalled", &args);
        let _ = dom0.eventually(60, "launch logs signalled | grep ready");
        for count in 1..=2 {
            dom0.launch(&["kill", "-s", "SIGHUP", "signalled"]).expect_success();
            let _ = dom0
                .eventually(20, &format!("test $(launch logs signalled | grep -c hup) = {count}"));
        }
        assert_eq!(status(dom0, "signalled"), "running 0");
        dom0.launch(&["kill", "-s", "15", "signalled"]).expect_success();
        assert_eq!(dom0.launch(&["wait", "signalled"]).expect_success().stdout, "3\n");
        drop(app);
    }
}

#[test]
fn a_stop_takes_as_long_as_it_is_told() {
    let dom0 = Dom0::shared();
    // Takes longer to stop than its own limit says.
    let script = "trap 'sleep 4; echo done; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let args = ["--stop-timeout", "1", "python", "sh", "-c", script];
    let app = dom0.start("slow", &args);
    let _ = dom0.eventually(60, "launch logs slow | grep ready");
    dom0.launch(&["stop", "-t", "60", "slow"]).expect_success();
    assert_eq!(status(dom0, "slow"), "exited 5");
    dom0.launch(&["start", "slow"]).expect_success();
    let _ = dom0.eventually(60, "test $(launch logs slow | grep -c ready) = 2");
    dom0.launch(&["stop", "slow"]).expect_success();
    assert_eq!(status(dom0, "slow"), "exited 137");
    drop(app);
}

#[test]
fn a_paused_app_stands_still_and_goes_on() {
    let dom0 = Dom0::shared();
    let app = dom0.start("held", &["python", "sh", "-c", TALKER]);
    let _ = dom0.eventually(60, "launch logs held | grep ready");
    dom0.launch(&["pause", "held"]).expect_success();
    assert_eq!(status(dom0, "held"), "paused 0");
    assert!(dom0.sh("xl list held | awk 'NR==2{print $5}'").stdout.contains('p'));
    assert!(dom0.launch(&["ps"]).stdout.contains("(Paused)"));
    dom0.launch(&["pause", "held"]).expect_failure(1, &["already paused"]);
    dom0.launch(&["unpause", "held"]).expect_success();
    dom0.launch(&["unpause", "held"]).expect_failure(1, &["not paused"]);
    // A paused app can be stopped like any other.
    dom0.launch(&["pause", "held"]).expect_success();
    dom0.launch(&["stop", "held"]).expect_success();
    assert_eq!(status(dom0, "held"), "exited 3");
    drop(app);
}

#[test]
fn files_and_folders_are_copied_both_ways() {
    let dom0 = Dom0::shared();
    dom0.sh(
        "rm -rf /tmp/cp && mkdir -p /tmp/cp/from/below && cd /tmp/cp && ln -s below/file from/link
             seq 100000 >from/below/file && chmod 640 from/below/file",
    )
    .expect_success();
    // An image without any program for it, and one that runs as another user.
    for (toolstack, image) in [("native", "hello"), ("xl", "redis")] {
        let app = dom0.start("copied", &["--toolstack", toolstack, image]);
        let copy = |from: &str, to: &str| dom0.launch(&["cp", from, to]);
        copy("/tmp/cp/from", "copied:/new").expect_success();
        copy("/tmp/cp/from", "copied:/new").expect_success();
        copy("copied:/new", "/tmp/cp/back").expect_success();
        dom0.sh("cd /tmp/cp && diff -r from back/from && rm -r back/from && diff -r from back")
            .expect_success();
        let mode = dom0.sh("stat -c '%a %U' /tmp/cp/back/below/file").stdout;
        assert_eq!(mode.trim(), "640 root");
        copy("copied:new/below/file", "/tmp/cp").expect_success();
        copy("/tmp/cp/from/below/.", "copied:/").expect_success();
        dom0.sh("cd /tmp/cp && launch cp copied:/file - | tar x -O | cmp - file").expect_success();
        dom0.sh("cd /tmp/cp && tar c from | launch cp - copied:/new/below").expect_success();
        copy("copied:/new/below/from/link", "/tmp/cp/link").expect_success();
        assert_eq!(dom0.sh("readlink /tmp/cp/link").stdout.trim(), "below/file");
        copy("copied:/no/such", "/tmp/cp").expect_failure(1, &["/no/such"]);
        copy("/tmp/cp/none", "copied:/").expect_failure(1, &["/tmp/cp/none"]);
        copy("/tmp/cp/file", "copied:/no/such").expect_failure(1, &["/no/such"]);
        copy("copied:/file", "/tmp/no/such").expect_failure(1, &["/tmp/no"]);
        copy("copied:/file", "copied:/other").expect_failure(1, &["between two apps"]);
        dom0.launch(&["stop", "-t", "1", "copied"]).expect_success();
        copy("copied:/file", "/tmp/cp").expect_failure(1, &["copied"]);
        drop(app);
        dom0.sh("rm -rf /tmp/cp/back /tmp/cp/file /tmp/cp/link").expect_success();
    }
}

#[test]
fn a_start_stays_with_the_app_and_ends_as_it_does() {
    let dom0 = Dom0::shared();
    let says = "read line; echo got $line; echo err >&2; exit 7";
    let create = ["create", "-i", "--name", "stayed", "python", "sh", "-c", says];
    dom0.launch(&create).expect_success();
    for _ in 0..2 {
        let output = dom0.sh("echo words | launch start -a -i stayed");
        let told = (output.code, output.stdout.as_str(), output.stderr.as_str());
        assert_eq!(told, (7, "got words\n", "err\n"));
    }
    dom0.launch(&["start", "-a", "stayed", "other"]).expect_failure(1, &["one app"]);
    dom0.launch(&["rm", "-f", "stayed"]).expect_success();
}

#[test]
fn a_new_name_is_the_only_one_and_the_domains_too() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    dom0.launch(&["-d", "--rm", "--name", "before", "python", "sh", "-c", TALKER]).expect_success();
    dom0.launch(&["rename", "before", "after"]).expect_success();
    dom0.run(&["xl", "list", "after"]).expect_success();
    dom0.launch(&["logs", "before"]).expect_failure(1, &["no such app"]);
    dom0.launch(&["rename", "after", "a/b"]).expect_failure(1, &["a/b"]);
    dom0.launch(&["rename", "after", "after"]).expect_failure(1, &["already"]);
    dom0.launch(&["stop", "after"]).expect_success();
    // It was to go when it ends, and its new name with it.
    dom0.expect_traces(&before);
}

#[test]
fn ps_lists_what_is_asked_for() {
    let dom0 = Dom0::shared();
    for (name, label) in [("listed-a", "tier=web"), ("listed-b", "tier=db")] {
        dom0.launch(&["create", "--name", name, "--label", label, "hello"]).expect_success();
    }
    let names = |args: &[&str]| {
        let all = [&["ps", "-a", "--format", "{{.Names}}"], args].concat();
        let told = dom0.launch(&all).expect_success().stdout;
        let mut names: Vec<_> =
            told.lines().filter(|name| name.starts_with("listed")).map(str::to_owned).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&[]), "listed-a listed-b");
    assert_eq!(names(&["--filter", "label=tier=db"]), "listed-b");
    assert_eq!(names(&["--filter", "label=tier"]), "listed-a listed-b");
    assert_eq!(names(&["--filter", "label=tier=db", "--filter", "label=tier=web"]), "");
    assert_eq!(names(&["--filter", "name=d-a", "--filter", "status=created"]), "listed-a");
    assert_eq!(names(&["--filter", "status=running"]), "");
    assert_eq!(names(&["--filter", "since=listed-a"]), "listed-b");
    assert!(!dom0.launch(&["ps"]).stdout.contains("listed-"));
    let json = "launch ps -a --format json | jq -e 'select(.Names == \"listed-a\") | .State == \"created\" and .Labels == \"tier=web\"'";
    dom0.sh(json).expect_success();
    let quiet = dom0.launch(&["ps", "-a", "-q", "--filter", "name=listed-a"]).stdout;
    assert_eq!(quiet.trim().len(), 12, "{quiet:?}");
    dom0.launch(&["ps", "--filter", "colour=red"]).expect_failure(2, &["colour", "ancestor"]);
    dom0.launch(&["ps", "--format", "{{.Nmae}}"]).expect_success();
    dom0.launch(&["ps", "-a", "--format", "{{.Nmae}}"]).expect_failure(1, &[".Nmae", "Names"]);
    dom0.launch(&["rm", "listed-a", "listed-b"]).expect_success();
}

#[test]
fn logs_are_cut_by_lines_and_by_time() {
    let dom0 = Dom0::shared();
    let script = "for i in 1 2 3 4 5; do echo line $i; done; printf 'no end'; sleep 2; echo; sleep 2; echo late; sleep 600";
    let app = dom0.start("logged", &["python", "sh", "-c", script]);
    let _ = dom0.eventually(60, "launch logs logged | grep late");
    let logs = |args: &[&str]| dom0.launch(&[&["logs"], args, &["logged"]].concat()).stdout;
    assert_eq!(logs(&[]), "line 1\nline 2\nline 3\nline 4\nline 5\nno end\nlate\n");
    assert_eq!(logs(&["--tail", "2"]), "no end\nlate\n");
    assert_eq!(logs(&["-n", "0"]), "");
    let stamped = logs(&["-t", "--tail", "3"]);
    let first = stamped.lines().next().unwrap();
    assert!(first.len() == 31 + "line 5".len() && first.ends_with("Z line 5"), "{stamped}");
    let late = stamped.lines().last().unwrap().split(' ').next().unwrap();
    assert_eq!(logs(&["--since", late]), "late\n");
    assert_eq!(logs(&["--since", "1h"]).lines().count(), 7);
    dom0.launch(&["logs", "--since", "noon", "logged"]).expect_failure(1, &["--since", "noon"]);
    drop(app);
    let script = "launch run -d --name followed python sh -c 'echo one; sleep 1; echo two' >/dev/null && \
        timeout 120 launch logs -f followed; launch rm followed >/dev/null";
    assert_eq!(dom0.sh(script).stdout, "one\ntwo\n");
}

#[test]
fn much_output_is_rotated_and_its_end_is_kept() {
    let dom0 = Dom0::shared();
    dom0.sh(
        "sed 's/^/&/; 1i [domain]\\nlog_mib = 1' /etc/launch/config.toml > /tmp/small-log.toml",
    )
    .expect_success();
    let script = "LAUNCH_CONFIG=/tmp/small-log.toml launch run --name rotated python \
        sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); echo this is line number $i; done' | tail -1; \
        du -b /var/lib/launch/names/rotated/console.log* | awk '{s+=$1} END {print (s < 2200000)}'; \
        launch logs --tail 1 rotated; launch rm rotated >/dev/null";
    let told = dom0.sh(script).stdout;
    assert_eq!(told, "this is line number 30000\n1\nthis is line number 30000\n");
}

#[test]
fn ports_are_told_and_one_that_is_not_published_is_missed() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("ported", &["-p", "18110:80", "-p", "127.0.0.1:18111:53/udp", "hello"]);
    let told = dom0.launch(&["port", "ported"]).expect_success().stdout;
    assert_eq!(told, "80/tcp -> 0.0.0.0:18110\n53/udp -> 127.0.0.1:18111\n");
    assert_eq!(dom0.launch(&["port", "ported", "80"]).stdout, "0.0.0.0:18110\n");
    dom0.launch(&["port", "ported", "90"])
        .expect_failure(1, &["no public port '90/tcp'", "ported"]);
}

#[test]
fn stats_show_what_xen_and_the_backends_count() {
    let dom0 = Dom0::shared();
    let script = "cat /usr/bin/python3* > /dev/null; while :; do :; done";
    let _busy = dom0.start("busy", &["-m", "64m", "python", "sh", "-c", script]);
    let _ = dom0.eventually(60, "launch inspect busy | jq -e '.[0].state.marks | length > 0'");
    let row = dom0.eventually(
        60,
        "launch stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.BlockIO}}' busy | grep MiB",
    );
    let words: Vec<&str> = row.split_whitespace().collect();
    let cpu: f64 = words[1].trim_end_matches('%').parse().unwrap();
    assert!(words[0] == "busy" && cpu > 10.0, "{row}");
    assert!(row.contains("MiB / 64 MiB") && !row.contains(" 0 B / "), "{row}");
    let table = dom0.launch(&["stats", "--no-stream"]).expect_success().stdout;
    assert!(table.starts_with("ID ") && table.contains("MEM USAGE / LIMIT"), "{table}");
}

#[test]
fn a_running_domain_is_changed_as_far_as_it_can_be() {
    let dom0 = Dom0::shared();
    for toolstack in ["native", "xl"] {
        let args =
            ["--toolstack", toolstack, "-m", "96m", "--cpus", "0.5", "python", "sh", "-c", TALKER];
        let app = dom0.start("changed", &args);
        let cap = "xl sched-credit2 -d changed | awk 'NR==2{print $(NF-1), $NF}'";
        assert_eq!(dom0.sh(cap).stdout.trim(), "256 50");
        let _ = dom0.eventually(60, "launch logs changed | grep ready");
        dom0.launch(&["update", "--cpus", "0.2", "--cpu-shares", "512", "changed"])
            .expect_success();
        assert_eq!(dom0.sh(cap).stdout.trim(), "128 20");
        dom0.launch(&["update", "-m", "72m", "--restart", "on-failure:2", "changed"])
            .expect_success();
        let _ = dom0.eventually(60, "test $(xl list changed | awk 'NR==2{print $3}') -le 72");
        let later = dom0.launch(&["update", "-m", "128m", "--vcpus", "2", "changed"]).stderr;
        assert!(later.contains("128") && later.contains("gets 2 at its next start"), "{later}");
        dom0.launch(&["restart", "changed"]).expect_success();
        // Its second processor comes while it boots.
        let now = dom0.eventually(60, "xl list changed | awk 'NR==2{print $3, $4}' | grep ' 2$'");
        assert!(now.starts_with("12"), "{now}");
        let policy =
            dom0.launch(&["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", "changed"]);
        assert_eq!(policy.stdout, "on-failure\n");
        dom0.launch(&["update", "-m", "4m", "changed"]).expect_failure(1, &["4 MiB"]);
        dom0.launch(&["update", "changed"]).expect_failure(1, &["nothing to change"]);
        drop(app);
    }
}

#[test]
fn images_are_listed_inspected_and_pruned() {
    let dom0 = Dom0::shared();
    dom0.launch(&["pull", "hello"]).expect_success();
    let listed = "launch image ls --format '{{.Repository}}:{{.Tag}}' | grep -x hello:latest";
    dom0.sh(listed).expect_success();
    let about = dom0.launch(&["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", "hello"]);
    assert_eq!(about.expect_success().stdout, "linux/amd64\n");
    dom0.launch(&["image", "inspect", "nosuch"]).expect_failure(1, &["nosuch"]);
    dom0.launch(&["create", "--name", "user", "hello"]).expect_success();
    // No is no; and one that an app has stays.
    dom0.sh("echo n | launch image prune -a").expect_success();
    dom0.launch(&["image", "rm", "hello"]).expect_failure(1, &["in use"]);
    dom0.launch(&["image", "prune", "-f"]).expect_success();
    dom0.sh(listed).expect_success();
    dom0.launch(&["rm", "user"]).expect_success();
    dom0.launch(&["image", "rm", "hello"]).expect_success();
    assert_ne!(dom0.sh(listed).code, 0);
}

#[test]
fn an_image_of_stopped_apps_goes_by_force_only_and_they_start_without_it() {
    let dom0 = Dom0::shared();
    dom0.launch(&["create", "--name", "kept", "hello"]).expect_success();
    dom0.launch(&["rmi", "hello"]).expect_failure(1, &["in use"]);
    dom0.launch(&["rmi", "-f", "hello"]).expect_success();
    dom0.launch(&["start", "kept"]).expect_success();
    dom0.launch(&["pull", "hello"]).expect_success();
    // One that runs is not without its image's name.
    dom0.launch(&["rmi", "-f", "hello"]).expect_failure(1, &["in use"]);
    dom0.launch(&["rm", "-f", "kept"]).expect_success();
}

#[test]
fn several_are_removed_at_once_and_those_that_run_by_force_only() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    for name in ["gone-a", "gone-b"] {
        dom0.launch(&["-d", "--name", name, "hello"]).expect_success();
    }
    let refused = dom0.launch(&["rm", "gone-a", "nosuchapp", "gone-b"]);
    assert_eq!((refused.code, refused.stderr.lines().count()), (1, 3), "{refused:?}");
    let removed = dom0.launch(&["rm", "-f", "gone-a", "gone-b"]).expect_success();
    assert_eq!(removed.stdout, "gone-a\ngone-b\n");
    dom0.expect_traces(&before);
    let none = dom0.launch(&["rm", "-f", "gone-a"]);
    assert_eq!((none.code, none.stderr.as_str()), (0, "launch: no such app: gone-a\n"));
}

#[test]
fn an_app_that_goes_when_it_ends_is_started_again_with_what_it_wrote() {
    let dom0 = Dom0::shared();
    let before = dom0.traces();
    let script = format!("echo line >> /kept; wc -l < /kept; {TALKER}");
    let args = ["create", "--rm", "--name", "brief", "python", "sh", "-c", &script];
    dom0.launch(&args).expect_success();
    dom0.launch(&["start", "brief"]).expect_success();
    let _ = dom0.eventually(60, "launch logs brief | grep ready");
    dom0.launch(&["restart", "brief"]).expect_success();
    let _ = dom0.eventually(60, "launch logs brief | grep -x 2");
    dom0.launch(&["stop", "brief"]).expect_success();
    dom0.expect_traces(&before);
}
