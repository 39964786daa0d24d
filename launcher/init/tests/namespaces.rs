//! `init`'s steps on real disks, mounts, processes and interfaces, each scenario as PID 1 of
//! namespaces of its own. Needs root; Xen's part is tested on Xen.

#![expect(clippy::unwrap_used, reason = "these are tests, though not in the usual harness")]

mod stage;

use contract::start_set::Range;
use contract::streams::{Splitter, Stream};
use contract::{Exit, Network, Orders, Process, StartSet, Sysctl, Tmpfs, Writable};
use init::boot;
use init::children::Children;
use init::console::Console;
use init::failure::Failure;
use init::limits;
use init::namespaces;
use init::out_of_memory::OutOfMemory;
use init::program;
use init::root::{self, EarlyMounts, Root};
use init::signals::Signals;
use init::spawn::{Place, spawn};
use init::start_set::{find_out, read_ahead};
use init::streams::{Kind, Stdio};
use init::supervise::{Stop, Supervisor};
use rustix::process::WaitOptions;
use stage::Loop;
use std::collections::HashSet;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

type Scenario = (&'static str, fn(&Stage));

const SCENARIOS: [Scenario; 24] = [
    ("the root looks as Docker's does", root_looks_as_dockers),
    ("what the image keeps in run survives", run_survives),
    ("a writable disk is left clean and keeps its files", writable_disk_keeps_files),
    ("a root that is given up is left clean", abandoned_root),
    ("a disk that was not left clean is repaired and left clean", dirty_disk),
    ("what an app read of its image is found out and read ahead", start_set),
    ("image folders can be renamed in the layer", folders_can_be_renamed),
    ("files of image and layer are on the root's device", one_device),
    ("settings of the network are made as asked", sysctls),
    ("a read-only root refuses writes", read_only_root),
    ("memory file systems take their options", tmpfs_options),
    ("a user other than root can reopen its standard output", user_reopens_stdout),
    ("exit codes and signals come back", exit_codes),
    ("a program that cannot run has docker's code and a clear line", cannot_run),
    ("the app starts with default signals and no files but its streams", clean_start),
    ("a stop request is the stop signal, then the end", stop_request),
    ("an app that does not stop is killed", stubborn_app),
    ("the app is PID 1 and sees no process but its own", app_is_pid_1),
    ("what the app's user writes to PID 1's streams is the app's output", streams_of_pid_1),
    ("a signal that the app does not handle does nothing, and SIGKILL ends it", unhandled_signals),
    ("an init before the app passes signals on and reaps orphans", init_before_the_app),
    ("what runs beside the app sees its processes and mounts, and ends with it", beside_the_app),
    ("what the app leaves running is ended and its output kept", leftovers),
    ("an interface that comes late gets its address, route and neighbour", late_interface),
];

/// The disks, by file, for all scenarios; `layer` is new for each.
struct Stage {
    folder: PathBuf,
}

impl Stage {
    fn image(&self) -> PathBuf {
        self.folder.join("image.erofs")
    }

    fn layer(&self) -> PathBuf {
        self.folder.join("layer.ext4")
    }
}

fn main() -> ExitCode {
    // What is ignored here (by `nohup`, say) would be ignored by the apps too, unlike in a domain.
    // SAFETY: plain system call; no handler is set.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
    if let Some(code) = init::reaper::run(std::env::args_os().next().as_deref()) {
        std::process::exit(code);
    }
    if let Ok(index) = std::env::var("SCENARIO") {
        let (_, scenario) = SCENARIOS[index.parse::<usize>().unwrap()];
        let stage = Stage { folder: std::env::var_os("STAGE").unwrap().into() };
        scenario(&stage);
        return ExitCode::SUCCESS;
    }
    let filter: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let Some(reason) = missing() {
        println!("skipped all {} scenarios: {reason}", SCENARIOS.len());
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage { folder: folder.path().to_owned() };
    let tree = stage.folder.join("tree");
    stage::make_tree(&tree);
    stage::make_erofs(&tree, &stage.image());
    let mut failed = 0;
    for (index, (name, _)) in SCENARIOS.iter().enumerate() {
        if !filter.is_empty() && !filter.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        stage::make_ext4(&stage.layer());
        let good = play(index, &stage);
        println!("scenario {name} ... {}", if good { "ok" } else { "FAILED" });
        failed += u32::from(!good);
    }
    ExitCode::from(u8::from(failed > 0))
}

/// What this machine lacks.
fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can mount; run as root".into());
    }
    let file_systems = std::fs::read_to_string("/proc/filesystems").unwrap();
    let lacks = |kind: &&&str| !file_systems.lines().any(|line| line.ends_with(**kind));
    if let Some(kind) = ["erofs", "overlay", "ext4"].iter().find(lacks) {
        return Some(format!("this kernel has no {kind}"));
    }
    let absent = |tool: &&&str| {
        Command::new("sh")
            .args(["-c", &format!("command -v {tool} >/dev/null")])
            .status()
            .is_ok_and(|status| !status.success())
    };
    let tools = ["mkfs.erofs", "mke2fs", "losetup", "unshare", "ip"];
    tools.iter().find(|tool| absent(tool)).map(|tool| format!("there is no {tool}"))
}

fn play(index: usize, stage: &Stage) -> bool {
    let image = Loop::attach(&stage.image(), true);
    let layer = Loop::attach(&stage.layer(), false);
    let status = Command::new("unshare")
        .args(["--pid", "--fork", "--mount", "--net", "--uts", "--"])
        .arg(std::env::current_exe().unwrap())
        .env("SCENARIO", index.to_string())
        .env("STAGE", &stage.folder)
        .env("DISKS", format!("{} {}", image.number(), layer.number()))
        .status()
        .unwrap();
    drop((image, layer));
    let wants_clean = SCENARIOS[index].0.contains("left clean");
    status.success() && (!wants_clean || stage::is_clean(&stage.layer()))
}

/// A domain whose root is in place and furnished.
struct Domain {
    root: Root,
    signals: Signals,
}

fn orders(writable: Writable) -> Orders {
    Orders {
        version: contract::VERSION,
        hostname: "web".into(),
        root: contract::Root { writable },
        ..Orders::default()
    }
}

fn enter_initramfs(stage: &Stage) {
    let disks = std::env::var("DISKS").unwrap();
    let numbers: Vec<u64> = disks.split(' ').map(|number| number.parse().unwrap()).collect();
    stage::enter_initramfs(&stage.folder, &[("xvda", numbers[0]), ("xvdb", numbers[1])]);
}

fn boot(stage: &Stage, orders: &Orders) -> Domain {
    enter_initramfs(stage);
    let signals = Signals::open().unwrap();
    // Where the orders say otherwise, what was begun is taken back.
    let early = EarlyMounts::advance(None);
    assert!(early.is_some());
    let root = Root::mount(&orders.root.writable, early, &signals).unwrap();
    root.enter().unwrap();
    boot::set_up_root(orders).unwrap();
    Domain { root, signals }
}

struct Ended {
    exit: Exit,
    output: String,
    took: Duration,
}

impl Domain {
    /// Runs an app to its end; `during` is called once it runs.
    fn run(&self, process: Process, during: impl FnOnce()) -> Result<Ended, Failure> {
        self.run_with(process, stop(Duration::from_secs(20)), during)
    }

    fn run_with(
        &self,
        process: Process,
        stop: Stop,
        during: impl FnOnce(),
    ) -> Result<Ended, Failure> {
        let orders = Orders { process, hostname: "web".into(), ..Orders::default() };
        let program = boot::prepare(&orders)?;
        self.root.seal()?;
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open("/dev/shm/console")
            .unwrap();
        let console = Console::over(file.into());
        let began = Instant::now();
        let (app, relay, _) = boot::start(&program, &orders.process)?;
        during();
        let children = Children::default();
        let mut supervisor = Supervisor {
            signals: &self.signals,
            console: &console,
            relay,
            children: &children,
            out_of_memory: OutOfMemory::default(),
            xenstore: None,
        };
        let exit = supervisor.watch(app, stop);
        let took = began.elapsed();
        supervisor.finish(Duration::from_secs(5));
        let output = std::fs::read_to_string("/dev/shm/console").unwrap();
        Ok(Ended { exit, output, took })
    }

    fn shell(&self, script: &str) -> Ended {
        self.run(shell(script), || {}).unwrap()
    }
}

fn shell(script: &str) -> Process {
    Process { args: ["sh", "-c", script].map(str::to_owned).into(), ..Process::default() }
}

fn stop(patience: Duration) -> Stop {
    Stop { signal: libc::SIGTERM, patience }
}

#[expect(clippy::zombie_processes, reason = "it is reaped as any child of PID 1")]
fn stop_soon(after: &'static str) {
    // A process, not a thread: signals to this process must find no thread that takes them.
    Command::new("/bin/sh").args(["-c", &format!("sleep {after}; kill -PWR 1")]).spawn().unwrap();
}

fn root_looks_as_dockers(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Disk));
    let ended = domain.shell(
        "cat /etc/hostname /proc/sys/kernel/hostname; ls -d /proc/self /sys/kernel; \
         ls /dev/pts/ptmx; stat -c '%N' /dev/fd /dev/stdout; stat -c '%a' /dev/shm; \
         cat /etc/hosts; echo $HOME $PATH $HOSTNAME; pwd",
    );
    let text = &ended.output;
    assert_eq!(ended.exit, Exit::Code(0), "{text}");
    for line in [
        "web\nweb\n",
        "/proc/self\n/sys/kernel\n",
        "/dev/pts/ptmx\n",
        "'/dev/fd' -> '/proc/self/fd'\n'/dev/stdout' -> '/proc/self/fd/1'\n",
        "1777\n",
        "127.0.0.1\tlocalhost\n",
        "/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin web\n/\n",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
}

fn run_survives(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Memory { max_bytes: 1 << 20 }));
    assert_eq!(domain.shell("cat /run/app/kept").output, "from the image\n");
}

fn writable_disk_keeps_files(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Disk));
    assert_eq!(
        domain.shell("echo kept > /srv/file; exec 5> /srv/open; sleep 100 &").exit,
        Exit::Code(0)
    );
    domain.root.close().unwrap();
    assert_eq!(std::fs::read_to_string("/srv/file").unwrap(), "kept\n");
    let refused = std::fs::write("/srv/more", "").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
}

fn abandoned_root(stage: &Stage) {
    enter_initramfs(stage);
    let _signals = Signals::open().unwrap();
    root::abandon(EarlyMounts::advance(None));
    assert_eq!(std::fs::read_dir("/newroot").unwrap().count(), 0);
    assert_eq!(std::fs::read_dir("/upper").unwrap().count(), 0);
}

fn dirty_disk(stage: &Stage) {
    let layer = stage.layer();
    stage::run("debugfs", &["-w", "-R", "feature needs_recovery", layer.to_str().unwrap()]);
    let domain = boot(stage, &orders(Writable::Disk));
    assert_eq!(domain.shell("echo kept > /srv/file").exit, Exit::Code(0));
    domain.root.close().unwrap();
}

fn start_set(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Disk));
    assert_eq!(domain.shell("cat /run/app/kept").exit, Exit::Code(0));
    let soon = || Instant::now() + Duration::from_secs(20);
    let set = match find_out(domain.root.image(), soon()) {
        Err(rustix::io::Errno::NOSYS) => return println!("skipped: this kernel has no cachestat"),
        found => found.unwrap(),
    };
    let read = |set: &StartSet, path: &str| set.files.iter().any(|(name, _)| name == path);
    assert!(read(&set, "run/app/kept") && read(&set, "bin/cat"), "{set:?}");
    assert!(!read(&set, "bin/no-format") && !set.disk.is_empty(), "{set:?}");

    // Whatever a guest may have made up: nothing comes of what is not there.
    let odd = ["no/such", "bin", "etc/resolv.conf", "bin/no-format"];
    let odd = odd.map(|path| (path.to_owned(), vec![Range(0, 1), Range(u32::MAX - 9, 9)]));
    let disk = vec![Range(u32::MAX - 9, 9)];
    read_ahead(domain.root.image(), &StartSet { disk, files: odd.into() });
    let deadline = soon();
    while !read(&find_out(domain.root.image(), deadline).unwrap(), "bin/no-format") {
        assert!(Instant::now() < deadline, "bin/no-format was not read");
    }
    let none = find_out(domain.root.image(), Instant::now()).unwrap();
    assert!(none.files.is_empty(), "{none:?}");
}

fn folders_can_be_renamed(stage: &Stage) {
    let _domain = boot(stage, &orders(Writable::Disk));
    // Asked of the system itself: `mv` would copy where it refuses.
    std::fs::rename("/folder", "/moved").unwrap();
    assert!(Path::new("/moved/inner").is_dir());
}

fn one_device(stage: &Stage) {
    let _domain = boot(stage, &orders(Writable::Disk));
    std::fs::write("/srv/own", "").unwrap();
    let device = |path: &str| std::fs::metadata(path).unwrap().dev();
    for path in ["/srv", "/srv/own", "/etc", "/etc/passwd"] {
        assert_eq!(device(path), device("/"), "{path}");
    }
}

fn sysctls(stage: &Stage) {
    let _domain = boot(stage, &orders(Writable::Memory { max_bytes: 0 }));
    let set = |name: &str| Sysctl { name: name.into(), value: "77".into() };
    limits::set_sysctls(&[set("net.ipv4.ip_default_ttl"), set("net/core/somaxconn")]).unwrap();
    for file in ["ipv4/ip_default_ttl", "core/somaxconn"] {
        assert_eq!(std::fs::read_to_string(format!("/proc/sys/net/{file}")).unwrap(), "77\n");
    }
}

fn read_only_root(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Nothing));
    let ended = domain.shell(
        "exec 2>&1; echo > /srv/file; echo > /dev/shm/file && ls -d /proc/1 && cat /etc/hostname",
    );
    assert!(ended.output.contains("ead-only file system"), "{}", ended.output);
    assert!(ended.output.ends_with("/proc/1\nweb\n"), "{}", ended.output);
}

fn tmpfs_options(stage: &Stage) {
    let tmpfs = Tmpfs { path: "/var/cache/app".into(), options: "size=1m,mode=0700,noexec".into() };
    let orders = Orders { tmpfs: vec![tmpfs], ..orders(Writable::Nothing) };
    let domain = boot(stage, &orders);
    let ended = domain.shell("stat -c %a /var/cache/app; cat /proc/mounts");
    let line = ended.output.lines().find(|line| line.contains("/var/cache/app ")).unwrap();
    assert!(ended.output.starts_with("700\n"), "{}", ended.output);
    assert!(line.contains("noexec") && line.contains("size=1024k"), "{line}");
}

fn user_reopens_stdout(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Disk));
    let mut process =
        shell("id -u; id -g; id -G; echo out > /dev/stdout; echo err > /dev/stderr; pwd");
    process.user = "app".into();
    process.cwd = "/made/for/it".into();
    let ended = domain.run(process, || {}).unwrap();
    let expected = "1000\n1000\n1000 44\nout\n/made/for/it\n";
    assert_eq!(of_stream(&ended, Stream::Stdout), expected);
    assert_eq!(of_stream(&ended, Stream::Stderr), "err\n");
}

fn of_stream(ended: &Ended, wanted: Stream) -> String {
    let mut streams = Splitter::default();
    let parts = [streams.split(ended.output.as_bytes()), streams.finish()].concat();
    let of_it = parts.into_iter().filter(|(stream, _)| *stream == wanted);
    String::from_utf8(of_it.flat_map(|(_, bytes)| bytes).collect()).unwrap()
}

fn exit_codes(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Memory { max_bytes: 0 }));
    assert_eq!(domain.shell("exit 0").exit, Exit::Code(0));
    assert_eq!(domain.shell("exit 37").exit, Exit::Code(37));
    // A PID 1 takes no signal from its own processes that it does not handle; its children do.
    assert_eq!(domain.shell("sh -c 'kill -SEGV $$'; exit $?").exit, Exit::Code(128 + 11));
}

fn cannot_run(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Memory { max_bytes: 0 }));
    for (name, user, code, line) in [
        ("nginx", "", 127, "'nginx': executable file not found in PATH"),
        ("/no/such", "", 127, "/no/such: no such file in the image"),
        ("a-folder", "", 127, "not found in PATH"),
        (
            "/bin/lost-interpreter",
            "",
            127,
            "interpreter or loader that it names is not in the image",
        ),
        ("lost-interpreter", "", 127, "/bin/lost-interpreter: the interpreter"),
        ("/bin/not-executable", "", 126, "permission denied for user 0"),
        ("not-executable", "", 126, "/bin/not-executable: permission denied"),
        ("/bin/a-folder", "", 126, "it is a directory"),
        ("/bin/no-format", "", 126, "exec format error"),
        ("sh", "ghost", 125, "unable to find user ghost: no matching entries in /etc/passwd"),
    ] {
        let process = Process { args: vec![name.into()], user: user.into(), ..Process::default() };
        let failure = domain.run(process, || {}).err().unwrap_or_else(|| panic!("{name} ran"));
        assert_eq!(failure.code, code, "{name}: {failure}");
        assert!(failure.message.contains(line), "{name}: {failure}");
    }
    let process = Process { cwd: "/etc/passwd".into(), ..shell("true") };
    let failure = domain.run(process, || {}).err().unwrap();
    assert_eq!((failure.code, failure.message.contains("/etc/passwd")), (125, true), "{failure}");
}

fn clean_start(stage: &Stage) {
    // What this test itself inherited from whoever started it is not init's to close.
    let inherited = open_files("/proc/self/fd");
    let domain = boot(stage, &orders(Writable::Memory { max_bytes: 0 }));
    let run = |args: &[&str]| {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        domain.run(Process { args, ..Process::default() }, || {}).unwrap().output
    };
    let status = run(&["cat", "/proc/self/status"]);
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!(mask("SigBlk:"), 0);
    assert_eq!(mask("SigIgn:") & (1 << (libc::SIGPIPE - 1)), 0, "SIGPIPE is ignored");
    // No shell: it has files of its own.
    let files = run(&["ls", "/proc/self/fd"]);
    let unknown: Vec<&str> = files.lines().filter(|file| !inherited.contains(*file)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    // What this machine allows; a domain allows all of it.
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap();
    assert_eq!(domain.shell("ulimit -n").output, format!("{hard}\n"));
}

/// The numbers of the open files, that of the listed folder included, as `ls` has it.
fn open_files(folder: &str) -> HashSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn stop_request(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Memory { max_bytes: 0 }));
    let app = shell("trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.1; done");
    let ended = domain.run(app, || stop_soon("0.5")).unwrap();
    assert_eq!((ended.exit, ended.output.as_str()), (Exit::Code(9), "up\nbye\n"));
}

fn stubborn_app(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Memory { max_bytes: 0 }));
    let app = shell("trap '' TERM; while :; do sleep 0.1; done");
    let patience = Duration::from_millis(700);
    let ended = domain.run_with(app, stop(patience), || stop_soon("0.3")).unwrap();
    assert_eq!(ended.exit, Exit::Signal(9));
    assert!(ended.took >= patience, "{:?}", ended.took);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
}

fn app_is_pid_1(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Memory { max_bytes: 0 }));
    let mut app =
        shell("echo $$ /proc/[0-9]*; cat /proc/1/environ; trap 'echo again' HUP; kill -HUP 1");
    app.env = vec!["SECRET=words".into()];
    let output = domain.run(app, || {}).unwrap().output;
    assert!(output.starts_with("1 /proc/1\nSECRET=words\0"), "{output}");
    assert!(output.ends_with("again\n"), "{output}");
}

fn streams_of_pid_1(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Memory { max_bytes: 0 }));
    let mut process = shell("sh -c 'echo out > /proc/1/fd/1; echo err > /proc/1/fd/2'");
    process.user = "app".into();
    let ended = domain.run(process, || {}).unwrap();
    assert_eq!(of_stream(&ended, Stream::Stdout), "out\n");
    assert_eq!(of_stream(&ended, Stream::Stderr), "err\n");
}

fn unhandled_signals(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Memory { max_bytes: 0 }));
    let app = shell("kill -TERM 1; kill -KILL 1; echo up; while :; do sleep 0.1; done");
    let patience = Duration::from_millis(700);
    let ended = domain.run_with(app, stop(patience), || stop_soon("0.3")).unwrap();
    assert_eq!((&ended.exit, ended.output.as_str()), (&Exit::Signal(9), "up\n"));
    assert!(ended.took >= patience, "{:?}", ended.took);
}

fn init_before_the_app(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Memory { max_bytes: 0 }));
    let run = |script| domain.run(Process { init: true, ..shell(script) }, || {}).unwrap();
    let orphans = run("echo $$; (sleep 0.1 &); sleep 0.4; cat /proc/[0-9]*/stat; exit 7");
    assert_eq!(orphans.exit, Exit::Code(7));
    assert!(orphans.output.starts_with("2\n1 (launch-init)"), "{}", orphans.output);
    assert!(!orphans.output.contains(") Z "), "{}", orphans.output);
    assert_eq!(run("trap 'echo got; exit 0' HUP; kill -HUP 1; sleep 1").output, "got\n");
    let app = Process { init: true, ..shell("sleep 20") };
    assert_eq!(domain.run(app, || stop_soon("0.3")).unwrap().exit, Exit::Code(128 + 15));
    let missing = Process { init: true, args: vec!["no-such".into()], ..Process::default() };
    let failure = domain.run(missing, || {}).err().unwrap();
    assert_eq!((failure.code, failure.message.contains("'no-such'")), (127, true), "{failure}");
}

fn beside_the_app(stage: &Stage) {
    let _domain = boot(stage, &orders(Writable::Memory { max_bytes: 0 }));
    let start = |process: &Process| {
        let orders = Orders { process: process.clone(), ..Orders::default() };
        boot::start(&boot::prepare(&orders).unwrap(), process).unwrap()
    };
    let app = "mount -t tmpfs tmpfs /srv; echo inside > /srv/file; while :; do sleep 1; done";
    let (app, _relay, _) = start(&shell(app));
    let children = Children::default();
    children.set_app(app).unwrap();
    let beside = |script: &str| {
        let pidfd = children.app().unwrap();
        namespaces::beside(pidfd.as_fd(), || {
            let program = program::find(&shell(script), "web")?;
            let stdio = Stdio::open(Kind::Pipes { stdin: false }, 0)?;
            let pid = spawn(&program, stdio.streams(), Place::Here)?;
            Ok((pid, stdio.outputs))
        })
        .unwrap()
    };
    let (pid, outputs) =
        beside("until [ -f /srv/file ]; do sleep 0.05; done; echo /proc/1 $(cat /srv/file)");
    let ended = rustix::process::waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap().1;
    assert_eq!(ended.exit_status(), Some(0));
    let mut text = [0; 64];
    let count = rustix::io::read(&outputs[0].1, &mut text).unwrap();
    assert_eq!(&text[..count], b"/proc/1 inside\n");
    // Neither this process nor the scenario's own files are reached from there.
    assert!(!Path::new("/srv/file").exists());

    let (pid, _) = beside("trap '' TERM; sleep 1000");
    rustix::process::kill_process(app, rustix::process::Signal::KILL).unwrap();
    let ended = rustix::process::waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap().1;
    assert_eq!(ended.terminating_signal(), Some(libc::SIGKILL));
    rustix::process::waitpid(Some(app), WaitOptions::empty()).unwrap();
    let failure = namespaces::beside(children.app().unwrap().as_fd(), || Ok(())).unwrap_err();
    assert!(failure.message.starts_with("cannot join the app: "), "{failure}");
}

fn leftovers(stage: &Stage) {
    let domain = boot(stage, &orders(Writable::Memory { max_bytes: 0 }));
    let ended =
        domain.shell("(trap '' TERM HUP; while :; do sleep 0.1; done) & echo last words; exit 4");
    assert_eq!((ended.exit, ended.output.as_str()), (Exit::Code(4), "last words\n"));
    let others = std::fs::read_dir("/proc").unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().parse::<u32>().is_ok_and(|pid| pid != 1)
    });
    assert_eq!(others.count(), 0);
}

fn late_interface(_: &Stage) {
    stage::make_mounts_private();
    let signals = Signals::open().unwrap();
    let mut later = Command::new("sh")
        .args(["-c", "sleep 0.5; ip link add eth0 type veth peer name peer && ip link set peer up"])
        .spawn()
        .unwrap();
    let network = Network {
        address: "10.107.0.2".parse().unwrap(),
        prefix: 16,
        gateway: Some("10.107.0.1".parse().unwrap()),
        neighbours: vec![contract::Neighbour {
            address: "10.107.0.1".parse().unwrap(),
            mac: contract::Mac([2, 0, 0, 0, 0, 1]),
        }],
        dns: vec![],
        search: vec![],
    };
    let began = Instant::now();
    init::network::configure("eth0", Some(&network), &signals).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    later.wait().unwrap();
    let shown = stage::run("ip", &["address", "show", "eth0"]);
    assert!(shown.contains("inet 10.107.0.2/16 brd 10.107.255.255"), "{shown}");
    let shown = stage::run("ip", &["route"]);
    assert!(shown.contains("default via 10.107.0.1 dev eth0"), "{shown}");
    let shown = stage::run("ip", &["neighbour"]);
    assert!(shown.contains("10.107.0.1 dev eth0 lladdr 02:00:00:00:00:01 PERMANENT"), "{shown}");
    let shown = stage::run("ip", &["link", "show", "lo"]);
    assert!(shown.contains("LOOPBACK,UP"), "{shown}");

    // The peer is up: connected already.
    stage::run("mount", &["-t", "sysfs", "sysfs", "/sys"]);
    assert!(init::network::await_link("eth0", Duration::ZERO));
    stage::run("ip", &["link", "set", "peer", "down"]);
    assert!(!init::network::await_link("eth0", Duration::ZERO));
    let mut later =
        Command::new("sh").args(["-c", "sleep 0.3; ip link set peer up"]).spawn().unwrap();
    assert!(init::network::await_link("eth0", Duration::from_secs(60)));
    assert_eq!(stage::run("cat", &["/sys/class/net/eth0/carrier"]), "1\n");
    later.wait().unwrap();

    // Version 6 as well, and a refusal that is named.
    let version_6 = Network {
        address: "fd00::2".parse().unwrap(),
        prefix: 64,
        gateway: None,
        neighbours: vec![],
        ..network.clone()
    };
    init::network::configure("eth0", Some(&version_6), &signals).unwrap();
    let shown = stage::run("ip", &["-6", "address", "show", "eth0"]);
    assert!(shown.contains("inet6 fd00::2/64 scope global nodad"), "{shown}");
    let bad = Network { prefix: 77, ..network };
    let failure = init::network::configure("eth0", Some(&bad), &signals).unwrap_err();
    assert!(failure.message.contains("give eth0 the address 10.107.0.2/77"), "{failure}");
}
