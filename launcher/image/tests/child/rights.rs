//! What the child may still do.

use crate::{Verdict, death::pulling, pull, registry::Sample};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    thread,
    time::Duration,
};

/// A pull whose child waits for the rest of a tar that comes through a named pipe.
pub(crate) fn with_waiting_child(store: &Path, pid: impl FnOnce(u32)) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    // Open for both, so that neither side waits for the other to open it.
    let _writer = fs::File::options().read(true).write(true).open(&pipe).unwrap();
    thread::scope(|scope| {
        let pulling = scope.spawn(|| pull(store, &format!("rootfs:{}", pipe.display())));
        let child = loop {
            if let Some(child) = fetching_child().filter(|child| sandboxed(*child)) {
                break child;
            }
            assert!(!pulling.is_finished(), "{:?}", pulling.join());
            thread::sleep(Duration::from_millis(10));
        };
        // The child waits for ever, and with it the thread that pulls.
        let looked = catch_unwind(AssertUnwindSafe(|| pid(child)));
        let kill = rustix::process::Pid::from_raw(i32::try_from(child).unwrap()).unwrap();
        // It may be gone already.
        let _ = rustix::process::kill_process(kill, rustix::process::Signal::KILL);
        let pulled = pulling.join().unwrap();
        looked.unwrap_or_else(|panic| resume_unwind(panic));
        pulled.map(drop).map_err(|error| error.to_string())
    })
}

/// Pulls in a process whose kernel seems not to know the system call `missing`.
fn pull_without(missing: libc::c_long, allow: bool) -> String {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let layout = folder.path().join("layout");
    sample.write_layout(&layout);
    let mut pull = pulling(&folder.path().join("store"), &format!("oci:{}", layout.display()));
    pull.env(crate::MISSING, missing.to_string());
    if allow {
        pull.env(crate::ALLOW, "1");
    }
    String::from_utf8(pull.output().unwrap().stdout).unwrap()
}

const FENCES: [(libc::c_long, &str); 2] =
    [(libc::SYS_landlock_create_ruleset, "Landlock (files)"), (libc::SYS_seccomp, "seccomp")];

pub(crate) fn without_a_fence_nothing_is_fetched() -> Verdict {
    for (call, fence) in FENCES {
        let said = pull_without(call, false);
        let refused = format!("safely: this kernel lacks {fence}: ");
        assert!(said.contains("failed cannot fetch ") && said.contains(&refused), "{said}");
        assert!(said.contains("allow_unsandboxed_fetch = true under [image]"), "{said}");
        assert!(!said.contains("Layers"), "layers were read: {said}");
    }
    Verdict::Passed
}

pub(crate) fn the_settings_can_do_without_a_fence() -> Verdict {
    for (call, fence) in FENCES {
        let said = pull_without(call, true);
        assert!(said.contains("pulled sha256:"), "{said}");
        let told = format!("Unsandboxed {{ missing: \"{fence}: ");
        assert_eq!(said.matches(&told).count(), 1, "{said}");
    }
    Verdict::Passed
}

/// The child of this very process.
fn fetching_child() -> Option<u32> {
    let task = fs::read_to_string(format!("/proc/{0}/stat", std::process::id())).ok()?;
    let own = task.split(' ').next()?.to_owned();
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let parent = field(&status, "PPid:")?;
        (parent == own && field(&status, "Name:")? == "fetch").then_some(pid)
    })
}

/// The last step of its sandbox has been taken.
fn sandboxed(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field(&status, "Seccomp_filters:").is_some_and(|filters| filters == "1")
}

fn field(status: &str, name: &str) -> Option<String> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(line[name.len()..].trim().to_owned())
}

pub(crate) fn the_child_is_not_root_and_holds_nothing() -> Verdict {
    if !rustix::process::getuid().is_root() {
        return Verdict::Skipped("needs root, to give root up");
    }
    // A file that someone before this process forgot to close.
    let leaked = fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let store = tempfile::tempdir().unwrap();
    let _ = with_waiting_child(store.path(), |pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let get = |name| field(&status, name).unwrap();
        assert_eq!(get("Uid:"), ["64321"; 4].join("\t"));
        assert_eq!(get("Gid:"), ["64321"; 4].join("\t"));
        assert_eq!(get("Groups:"), "");
        for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(get(capabilities), "0".repeat(16), "{capabilities}");
        }
        assert_eq!((get("NoNewPrivs:"), get("Seccomp:")), ("1".to_owned(), "2".to_owned()));
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        let data = limits.lines().find(|line| line.starts_with("Max data size")).unwrap();
        assert_eq!(data.split_whitespace().nth(3), Some("1073741824"), "{data}");
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let files: Vec<_> = files
            .map(|file| fs::read_link(file.unwrap().path()).unwrap().display().to_string())
            .collect();
        assert!(!files.iter().any(|file| file.contains("passwd")), "{files:?}");
        let known = |file: &String| {
            ["socket:", "pipe:", "/dev/null"].iter().any(|kind| file.starts_with(kind))
                || file.ends_with("/pipe")
                || file.ends_with("/disk.erofs")
        };
        assert!(files.iter().all(known), "{files:?}");
    });
    Verdict::Passed
}

pub(crate) fn a_registry_is_reached() -> Verdict {
    let (store, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let host = sample.serve();
    // By name, too: the resolver must work in the sandbox.
    for host in [host.clone(), host.replace("127.0.0.1", "localhost")] {
        let image = pull(store.path(), &format!("{host}/sample:1.0")).unwrap();
        assert_eq!(image.digest, sample.manifest);
        let error = pull(store.path(), &format!("{host}/sample:2.0")).unwrap_err().to_string();
        assert!(error.starts_with("image not found: "), "{error}");
    }
    Verdict::Passed
}

pub(crate) fn problems_with_logins_are_told() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let (open, locked) = (sample.serve(), sample.serve_to(Some("Basic dTpw")));
    let said = |host: &str, config: &str| {
        fs::write(folder.path().join("config.json"), config).unwrap();
        let mut pull = pulling(&folder.path().join("store"), &format!("{host}/sample:1.0"));
        pull.env("DOCKER_CONFIG", folder.path());
        String::from_utf8(pull.output().unwrap().stdout).unwrap()
    };
    for (config, problem) in [
        ("{},", "config.json: it is no JSON: trailing characters"),
        (r#"{"credsStore":"none"}"#, "docker-credential-none, which "),
        (r#"{"auths":{"HOST":{"auth":"dTp"}}}"#, "config.json is not valid: its auth is no base64"),
    ] {
        let refused = said(&locked, &config.replace("HOST", &locked));
        let line = refused.lines().find(|line| line.starts_with("failed ")).unwrap();
        assert!(line.contains("docker login") && line.contains(problem), "{line}");
        // What needs no login is pulled, and the user hears of it all the same.
        let pulled = said(&open, &config.replace("HOST", &open));
        let told = pulled.lines().find(|line| line.starts_with("LoginProblem")).unwrap_or_default();
        assert!(pulled.contains("pulled sha256:") && told.contains(problem), "{pulled}");
    }
    Verdict::Passed
}

pub(crate) fn credentials_are_found() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let path = |name: &str| folder.path().join(name);
    // "dTpw" is u:p.
    let host = sample.serve_to(Some("Basic dTpw"));
    let said = |config: &str| {
        fs::write(path("config.json"), config).unwrap();
        let search = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut pull = pulling(&path("store"), &format!("{host}/sample:1.0"));
        pull.env("DOCKER_CONFIG", folder.path()).env("PATH", search);
        String::from_utf8(pull.output().unwrap().stdout).unwrap()
    };
    let asked = said("{}");
    assert!(asked.contains("wants a login for") && asked.contains("docker login"), "{asked}");
    let wrong = said(&format!(r#"{{"auths":{{"{host}":{{"auth":"dTp4"}}}}}}"#));
    assert!(wrong.contains("does not take the credentials"), "{wrong}");
    let right = said(&format!(r#"{{"auths":{{"{host}":{{"auth":"dTpw"}}}}}}"#));
    assert!(right.contains("pulled sha256:"), "{right}");
    fs::remove_dir_all(path("store")).unwrap();
    let helper = path("docker-credential-test");
    let script = "#!/bin/sh\n[ \"$1\" = get ] || exit 1\ncat >\"${0%/*}/asked\"\n\
        echo '{\"ServerURL\":\"x\",\"Username\":\"u\",\"Secret\":\"p\"}'\n";
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    for config in
        [format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#), r#"{"credsStore":"test"}"#.to_owned()]
    {
        let helped = said(&config);
        assert!(helped.contains("pulled sha256:"), "{helped}");
        assert_eq!(fs::read_to_string(path("asked")).unwrap(), host);
        fs::remove_file(path("asked")).unwrap();
    }
    Verdict::Passed
}
