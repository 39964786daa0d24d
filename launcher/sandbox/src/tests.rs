//! Acts of an intruder, each in a separate process that has entered a sandbox.

use super::*;
use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    path::Path,
    process::{Command, ExitStatus},
};

const ACT: &str = "LAUNCH_TEST_ACT";
/// Exit codes by which an act reports its result.
const DONE: i32 = 42;
const REFUSED: i32 = 43;

/// System calls that a test program needs.
const COMMON: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fcntl,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_renameat2,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_getpid,
    libc::SYS_kill,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
];
const SOCKETS: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_poll,
];

/// Not a test of its own: runs an act for [`act`], and does nothing without its variable.
#[test]
fn intruder() {
    let Ok(act) = std::env::var(ACT) else { return };
    let words: Vec<&str> = act.split(' ').collect();
    let (folder, act, argument) = (Path::new(words[0]), words[1], words[2]);
    let place = open_place(folder).unwrap().unwrap();
    let readable = open_place(Path::new("/etc/passwd")).unwrap().unwrap();
    let port: u16 = words.get(3).map_or(0, |port| port.parse().unwrap());
    let family = |family: libc::c_int| Test::Is { argument: 0, value: family.unsigned_abs() };
    let stream = Test::Masked { argument: 1, mask: 0xf, value: libc::SOCK_STREAM.unsigned_abs() };
    let sandbox = Sandbox {
        user: (act == "user").then_some(64321),
        dies_with_parent: true,
        limits: &[(Resource::Core, 0), (Resource::Fsize, 1 << 20)],
        landlock: Landlock {
            files: &[(place.as_fd(), Access::Write), (readable.as_fd(), Access::Read)],
            connect: Some(&[port]),
            bind: Some(&[]),
            needed: &[],
        },
        calls: Calls {
            allowed: &[COMMON, SOCKETS],
            checked: &[
                (libc::SYS_socket, &[&[family(libc::AF_INET), stream], &[family(libc::AF_INET6)]]),
                (libc::SYS_ioctl, &[&[Test::Null { argument: 1 }]]),
                (libc::SYS_clone, &[&[Test::Is { argument: 0, value: 77 }]]),
            ],
            deadly: &[libc::SYS_execve, libc::SYS_clone],
        },
    };
    if act == "threads" {
        let other = std::thread::spawn(std::thread::park);
        let error = sandbox.enter().unwrap_err();
        assert!(matches!(error, SandboxError::Step { .. }), "{error}");
        other.thread().unpark();
        std::process::exit(DONE);
    }
    sandbox.enter_thread().unwrap();
    let socket = |family, kind| rustix::net::socket(family, kind, None).map(drop);
    use rustix::net::{AddressFamily, SocketType};
    let outcome = match act {
        "exec" => Command::new(argument).status().map(drop),
        "read" => File::open(argument).map(drop),
        "write" => fs::write(argument, "x"),
        "make" => fs::create_dir(argument),
        "rename" => fs::rename(format!("{argument}/one"), format!("{argument}/two")),
        "large" => fs::write(argument, vec![0; 2 << 20]),
        "connect" => TcpStream::connect(argument).map(drop),
        "listen" => TcpListener::bind(argument).map(drop),
        "signal" => {
            let pid = rustix::process::Pid::from_raw(argument.parse().unwrap()).unwrap();
            rustix::process::kill_process(pid, Signal::CONT).map_err(Into::into)
        }
        "unix" => socket(AddressFamily::UNIX, SocketType::STREAM).map_err(Into::into),
        "datagram" => socket(AddressFamily::INET, SocketType::DGRAM).map_err(Into::into),
        "datagram6" => socket(AddressFamily::INET6, SocketType::DGRAM).map_err(Into::into),
        "user" => {
            rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(Into::into)
        }
        _ => panic!("no such act"),
    };
    let expected = words.get(4).map(|errno| errno.parse().unwrap());
    let code = match outcome {
        Ok(()) => DONE,
        Err(error) if expected.is_none() || error.raw_os_error() == expected => REFUSED,
        // A panic would make system calls that are not listed.
        Err(_) => REFUSED + 1,
    };
    std::process::exit(code);
}

/// Runs `act`, which is `FOLDER ACT ARGUMENT`; it may write in FOLDER.
fn act(act: &str) -> ExitStatus {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "tests::intruder", "--test-threads=1", "--nocapture"]);
    program.env(ACT, act).output().unwrap().status
}

/// The kernel's version of Landlock, as reported by the kernel.
fn landlock() -> u32 {
    let version = landlock::version();
    println!("Landlock: {version:?}");
    version.unwrap_or(0)
}

#[test]
fn only_listed_files_are_in_reach_and_only_as_listed() {
    if landlock() < 1 {
        return;
    }
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (own, other) = (folder.path().display(), other.path().display());
    assert_eq!(act(&format!("{own} write {own}/file")).code(), Some(DONE));
    assert_eq!(act(&format!("{own} read {own}/file")).code(), Some(DONE));
    assert_eq!(act(&format!("{own} make {own}/one")).code(), Some(DONE));
    assert_eq!(act(&format!("{own} rename {own}")).code(), Some(DONE));
    assert_eq!(act(&format!("{own} write {other}/file 0 13")).code(), Some(REFUSED));
    assert_eq!(act(&format!("{own} make {other}/one 0 13")).code(), Some(REFUSED));
    assert_eq!(act(&format!("{own} read /etc/passwd")).code(), Some(DONE));
    assert_eq!(act(&format!("{own} write /etc/passwd 0 13")).code(), Some(REFUSED));
    assert_eq!(act(&format!("{own} read /etc/group 0 13")).code(), Some(REFUSED));
}

#[test]
fn a_limit_of_file_size_holds() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().display();
    assert_eq!(act(&format!("{own} large {own}/file")).signal(), Some(libc::SIGXFSZ));
}

#[test]
fn only_listed_ports_are_in_reach() {
    if landlock() < 4 {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let port = address.port();
    assert_eq!(act(&format!("/tmp connect {address} {port}")).code(), Some(DONE));
    assert_eq!(act(&format!("/tmp connect {address} 1 13")).code(), Some(REFUSED));
    assert_eq!(act("/tmp listen 127.0.0.1:0 0 13").code(), Some(REFUSED));
}

#[test]
fn processes_outside_cannot_be_signalled() {
    if landlock() < 6 {
        return;
    }
    let own = std::process::id();
    assert_eq!(act(&format!("/tmp signal {own} 0 1")).code(), Some(REFUSED));
}

#[test]
fn deadly_calls_kill_and_checked_ones_are_refused_by_their_arguments() {
    assert_eq!(act("/tmp exec /bin/true").signal(), Some(libc::SIGSYS));
    assert_eq!(act("/tmp unix - 0 1").code(), Some(REFUSED));
    assert_eq!(act("/tmp datagram - 0 1").code(), Some(REFUSED));
    // The second alternative does not test the type.
    assert_eq!(act("/tmp datagram6 -").code(), Some(DONE));
}

#[test]
fn root_is_given_up_for_good_and_so_are_capabilities() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: needs root, to give it up");
        return;
    }
    assert_eq!(act("/tmp user - 0 38").code(), Some(REFUSED));
}

#[test]
fn a_process_with_two_threads_cannot_enter() {
    assert_eq!(act("/tmp threads -").code(), Some(DONE));
}

#[test]
fn older_kernels_get_the_rules_they_know_and_lack_the_rest() {
    let rules = Landlock { files: &[], connect: Some(&[80]), bind: Some(&[]), needed: &[] };
    let lacks = |version, cause| -> Vec<Fence> {
        rules.gaps(version, cause).0.iter().map(|gap| gap.fence).collect()
    };
    let network = [Fence::TcpConnect, Fence::TcpBind];
    let scopes = [Fence::Signals, Fence::AbstractSockets];
    // Linux 6.1, 6.7, 6.12, and none at all.
    assert_eq!(lacks(2, None), [network, scopes].concat());
    assert_eq!(lacks(4, None), scopes);
    assert_eq!(lacks(6, None), []);
    let none = io::Error::from_raw_os_error(libc::ENOSYS);
    assert_eq!(lacks(0, Some(none)), [&[Fence::Files][..], &network, &scopes].concat());
    for version in 1..=landlock().min(6) {
        rules.ruleset(version).unwrap();
    }
}

#[test]
fn gaps_are_named_with_their_fence_and_cause() {
    let gaps = Gaps(vec![
        Gap { fence: Fence::Files, cause: io::Error::from_raw_os_error(libc::ENOSYS) },
        Gap { fence: Fence::Calls, cause: io::Error::other("because") },
    ]);
    assert_eq!(
        SandboxError::Gaps(gaps).to_string(),
        "this kernel lacks Landlock (files): Function not implemented (os error 38), \
         seccomp: because"
    );
}
