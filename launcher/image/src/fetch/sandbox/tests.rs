//! Acts of an intruder in the child, each in a process of its own that has entered the sandbox.

use super::*;
use crate::Settings;
use std::{
    fs::File,
    net::{TcpListener, TcpStream},
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus},
};

const ACT: &str = "LAUNCH_TEST_ACT";
/// Exit codes by which an act tells how it went.
const DONE: i32 = 42;
const REFUSED: i32 = 43;

/// Not a test of its own: what [`act`] runs, and nothing without its variable.
#[test]
fn intruder() {
    let Ok(act) = std::env::var(ACT) else { return };
    let (act, argument) = act.split_once(' ').unwrap();
    let input = match act {
        "resolve" | "socket" | "signal" => Input::Registry("localhost/x".parse().unwrap()),
        _ if act.starts_with("fetch-") => Input::Registry("localhost/x".parse().unwrap()),
        _ => Input::Rootfs,
    };
    let request = request(input);
    // The harness has a thread of its own.
    confine(&request, |sandbox| sandbox.enter_thread()).unwrap();
    let done = match act.trim_start_matches("fetch-") {
        "exec" => Command::new(argument).status().is_ok(),
        "read" => File::open(argument).is_ok(),
        "write" => File::create(argument).is_ok(),
        "connect" => TcpStream::connect(argument).is_ok(),
        "listen" => TcpListener::bind(argument).is_ok(),
        "resolve" => std::net::ToSocketAddrs::to_socket_addrs(&(argument, 80)).is_ok(),
        "thread" => std::thread::spawn(|| ()).join().is_ok(),
        "socket" => {
            let mut numbers = argument.split(',').map(|number| number.parse().unwrap());
            let mut next = || numbers.next().unwrap();
            let kind = rustix::net::SocketType::from_raw;
            let protocol = rustix::net::Protocol::from_raw;
            let family = rustix::net::AddressFamily::from_raw(u16::try_from(next()).unwrap());
            let kind = kind(next());
            rustix::net::socket(family, kind, std::num::NonZeroU32::new(next()).map(protocol))
                .is_ok()
        }
        // Any process at all will do: the call must not get as far as looking for it.
        "signal" => {
            let id: i32 = argument.parse().unwrap();
            signal(if id == 0 { i32::try_from(std::process::id()).unwrap() } else { id })
        }
        _ => panic!("no such act"),
    };
    std::process::exit(if done { DONE } else { REFUSED });
}

/// Sends signal 0, which does nothing but looks whether it may be sent.
#[expect(unsafe_code, reason = "no safe interface to this call")]
fn signal(id: i32) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_tgkill, id, id, 0) == 0 }
}

fn request(input: Input) -> Request {
    Request {
        name: "x".to_owned(),
        input,
        settings: Settings::default(),
        credentials: Default::default(),
        certificates: Default::default(),
        uid: 64321,
    }
}

fn act(act: &str) -> ExitStatus {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "fetch::sandbox::tests::intruder", "--test-threads=1"]);
    program.env(ACT, act).output().unwrap().status
}

#[test]
fn no_program_can_be_started() {
    assert_eq!(act("exec /bin/true").signal(), Some(libc::SIGSYS));
}

#[test]
fn threads_can_be_started_and_names_resolved() {
    assert_eq!(act("thread -").code(), Some(DONE));
    assert_eq!(act("resolve localhost").code(), Some(DONE));
}

#[test]
fn a_converter_of_files_has_no_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(act(&format!("connect {address}")).code(), Some(REFUSED));
    assert_eq!(act("listen 127.0.0.1:0").code(), Some(REFUSED));
}

#[test]
fn no_file_can_be_made_read_or_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(folder.path(), mode).unwrap();
    let file = folder.path().join("file");
    assert_eq!(act(&format!("write {}", file.display())).code(), Some(REFUSED));
    assert_eq!(act("read /etc/hostname").code(), Some(REFUSED));
    assert_eq!(act("fetch-read /etc/passwd").code(), Some(DONE));
    assert_eq!(act("fetch-read /proc/version").code(), Some(REFUSED));
}

#[test]
fn a_registry_gets_tcp_and_udp_and_no_other_sockets() {
    use libc::{AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX};
    use libc::{SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM};
    let socket = |family: i32, kind: i32, protocol: i32| {
        act(&format!("socket {family},{kind},{protocol}")).code()
    };
    for family in [AF_INET, AF_INET6] {
        assert_eq!(socket(family, SOCK_STREAM | libc::SOCK_CLOEXEC, 0), Some(DONE));
        assert_eq!(socket(family, SOCK_DGRAM, libc::IPPROTO_UDP), Some(DONE));
        assert_eq!(socket(family, SOCK_STREAM, libc::IPPROTO_MPTCP), Some(REFUSED));
        assert_eq!(socket(family, SOCK_DGRAM, libc::IPPROTO_ICMP), Some(REFUSED));
        assert_eq!(socket(family, SOCK_RAW, libc::IPPROTO_ICMP), Some(REFUSED));
        assert_eq!(socket(family, SOCK_SEQPACKET, 0), Some(REFUSED));
    }
    assert_eq!(socket(AF_UNIX, SOCK_STREAM, 0), Some(REFUSED));
    assert_eq!(socket(AF_NETLINK, SOCK_RAW, libc::NETLINK_ROUTE), Some(REFUSED));
    assert_eq!(socket(AF_PACKET, SOCK_RAW, 0), Some(REFUSED));
    assert_eq!(act("fetch-listen 127.0.0.1:0").code(), Some(REFUSED));
}

#[test]
fn a_fetch_can_signal_itself_and_nobody_else() {
    // As the user it becomes: root may signal anybody, and other fetches have the same user.
    let mut other = Command::new("sleep");
    if getuid().is_root() {
        std::os::unix::process::CommandExt::uid(&mut other, 64321);
    }
    let mut other = other.arg("1000").spawn().unwrap();
    assert_eq!(act(&format!("signal {}", other.id())).code(), Some(REFUSED));
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(act("signal 0").code(), Some(DONE));
}

#[test]
fn a_missing_fence_ends_the_fetch_unless_the_settings_allow_it() {
    let gap = || {
        let cause = io::Error::from_raw_os_error(libc::ENOSYS);
        Err(SandboxError::Gaps(Gaps(vec![sandbox::Gap { fence: sandbox::Fence::Files, cause }])))
    };
    let mut request = request(Input::Rootfs);
    let error = allow(gap(), &request).unwrap_err();
    assert!(error.contains("lacks Landlock (files): "), "{error}");
    assert!(error.contains("allow_unsandboxed_fetch = true under [image]"), "{error}");
    request.settings.allow_unsandboxed_fetch = true;
    assert_eq!(allow(gap(), &request).unwrap().0.len(), 1);
    // Root that was not given up is no matter of settings.
    let step = SandboxError::Step { step: "x", source: io::ErrorKind::PermissionDenied.into() };
    assert!(allow(Err(step), &request).unwrap_err().contains("cannot x"));
}
