//! What the guest's kernel keeps from an app's users, and how it is opened.

use tests::{Dom0, Output};

/// Tries what only root may do by default; says of each whether it was done, or the error's name.
const ATTEMPTS: &str = r#"
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, IO_URING_SETUP = 0x10000000, 425

def attempt(name, call):
    try:
        done = call() >= 0
        print(name, "done" if done else errno.errorcode[ctypes.get_errno()])
    except OSError as error:
        print(name, errno.errorcode[error.errno])

attempt("kernel log", lambda: os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
attempt("io_uring", lambda: libc.syscall(IO_URING_SETUP, 8, ctypes.create_string_buffer(120)))
attempt("user namespace", lambda: libc.unshare(CLONE_NEWUSER))
"#;

fn python(flags: &[&str], script: &str) -> Output {
    let args = [&["--rm", "--name", "guarded"], flags, &["python", "python3", "-c", script]];
    Dom0::shared().launch(&args.concat()).expect_success()
}

#[test]
fn only_root_reads_the_kernels_log_and_makes_user_namespaces_and_io_rings() {
    let told = |flags: &[&str]| python(flags, ATTEMPTS).stdout;
    assert_eq!(told(&[]), "kernel log done\nio_uring done\nuser namespace done\n");
    let user = ["-u", "daemon"];
    assert_eq!(told(&user), "kernel log EPERM\nio_uring EPERM\nuser namespace EPERM\n");
}

#[test]
fn sysctl_opens_user_namespaces_and_io_rings_to_every_user() {
    let settings = ["kernel.unprivileged_userns_clone=1", "kernel.io_uring_disabled=0"];
    let opened = "kernel log EPERM\nio_uring done\nuser namespace done\n";
    let sysctl = ["-u", "daemon", "--sysctl", settings[0], "--sysctl", settings[1]];
    assert_eq!(python(&sysctl, ATTEMPTS).stdout, opened);
    let extra = settings.map(|setting| format!("sysctl.{setting}")).join(" ");
    assert_eq!(python(&["-u", "daemon", "--extra", &extra], ATTEMPTS).stdout, opened);
}

#[test]
fn an_app_can_fence_itself_in_by_landlock() {
    // landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)
    let script = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1) >= 6)";
    assert_eq!(python(&["-u", "daemon"], script).stdout, "True\n");
}

#[test]
fn what_another_user_made_in_a_shared_folder_is_not_opened_for_writing() {
    let script = r#"
import os
os.umask(0)
os.mkdir("/shared")
os.chmod("/shared", 0o1777)
if os.fork() == 0:
    os.setuid(1)
    os.mkfifo("/shared/fifo", 0o666)
    os.close(os.open("/shared/file", os.O_CREAT | os.O_WRONLY, 0o666))
    os._exit(0)
os.wait()
for name in "fifo", "file":
    try:
        os.open("/shared/" + name, os.O_CREAT | os.O_RDWR)
        print(name, "opened")
    except PermissionError:
        print(name, "refused")
"#;
    assert_eq!(python(&[], script).stdout, "fifo refused\nfile refused\n");
}
