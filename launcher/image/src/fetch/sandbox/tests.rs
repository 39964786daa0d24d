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
        "resolve" => Input::Registry("localhost/x".parse().unwrap()),
        _ => Input::Rootfs,
    };
    let request = Request {
        name: String::new(),
        input,
        settings: Settings::default(),
        credentials: BTreeMap::new(),
        uid: 64321,
    };
    enter(&request).unwrap();
    let done = match act {
        "exec" => Command::new(argument).status().is_ok(),
        "read" => File::open(argument).is_ok(),
        "write" => File::create(argument).is_ok(),
        "connect" => TcpStream::connect(argument).is_ok(),
        "listen" => TcpListener::bind(argument).is_ok(),
        "resolve" => std::net::ToSocketAddrs::to_socket_addrs(&(argument, 80)).is_ok(),
        "thread" => std::thread::spawn(|| ()).join().is_ok(),
        _ => panic!("no such act"),
    };
    std::process::exit(if done { DONE } else { REFUSED });
}

fn act(act: &str) -> ExitStatus {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "fetch::sandbox::tests::intruder", "--test-threads=1"]);
    program.env(ACT, act).output().unwrap().status
}

fn has_landlock() -> bool {
    let has = fs::read_to_string("/sys/kernel/security/lsm")
        .is_ok_and(|modules| modules.split(',').any(|module| module == "landlock"));
    if !has {
        println!("part skipped: this kernel has no Landlock");
    }
    has
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
fn no_file_can_be_made_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(folder.path(), mode).unwrap();
    if has_landlock() {
        let file = folder.path().join("file");
        assert_eq!(act(&format!("write {}", file.display())).code(), Some(REFUSED));
        assert_eq!(act("read /etc/hostname").code(), Some(REFUSED));
    }
    if rustix::process::getuid().is_root() {
        assert_eq!(act("read /etc/shadow").code(), Some(REFUSED));
    }
}
