//! What the child gives up before it reads anything from outside.
//!
//! In this order: inherited files, its user and groups, the right to gain any others, large files
//! and core dumps, the file system (Landlock), and the system calls it has no need for (seccomp).

use super::messages::{Input, Request};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::{
    process::{
        DumpableBehavior, Gid, Resource, Rlimit, Signal, Uid, getuid, set_dumpable_behavior,
        set_parent_process_death_signal, setrlimit,
    },
    thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use std::{collections::BTreeMap, fs, path::PathBuf};

/// What a registry's name, address and certificate are looked up in: the resolver's settings and
/// plug-ins (glibc loads them at the first look-up), and certificates.
const READABLE: &[&str] = &[
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/var/lib/ca-certificates",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/nscd",
];
const MAX_OPEN_FILES: u64 = 64;

/// Closes all but standard input, output and error.
#[expect(unsafe_code, reason = "no safe interface closes files that Rust does not know")]
pub(super) fn close_inherited_files() {
    // SAFETY: the caller is at the start of the process, with one thread, and has opened nothing:
    // no value anywhere owns a file above 2, so none is left with a closed one.
    let closed = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    if closed != 0 {
        tracing::debug!("close_range: {}", std::io::Error::last_os_error());
    }
}

/// Gives up what `request` has no need for. What a kernel lacks is skipped with a warning, but
/// root is given up or nothing goes on.
///
/// # Errors
/// One line that says what could not be given up.
pub(super) fn enter(request: &Request) -> Result<(), String> {
    // Where memory is short, better this than a domain's monitor. Fails without harm.
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    if getuid().is_root() {
        drop_root(request.uid)
            .map_err(|error| format!("cannot become user {} to fetch: {error}", request.uid))?;
    }
    let failed = |error: rustix::io::Errno| format!("cannot enter the fetching sandbox: {error}");
    // After the change of user, which resets it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)?;
    set_no_new_privs(true).map_err(failed)?;
    let limits = [
        (Resource::Core, 0),
        (Resource::Fsize, request.settings.limits.max_disk_bytes),
        (Resource::Nofile, MAX_OPEN_FILES),
    ];
    for (resource, limit) in limits {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(resource, limit).map_err(failed)?;
    }
    let network = matches!(request.input, Input::Registry(_));
    if let Err(error) = restrict_files(request, network) {
        tracing::warn!("fetching without Landlock: {error}");
    }
    if let Err(error) = restrict_calls(network) {
        tracing::warn!("fetching without seccomp: {error}");
    }
    Ok(())
}

fn drop_root(uid: u32) -> rustix::io::Result<()> {
    if uid == 0 {
        return Err(rustix::io::Errno::INVAL);
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
    // These change one thread; there is only one.
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    // The kernel has dropped every capability with the uid; trying is the proof.
    match set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT) {
        Ok(()) => Err(rustix::io::Errno::PERM),
        Err(_) => Ok(()),
    }
}

/// Landlock: nothing may be written, and read only what a registry needs. Open files stay usable.
fn restrict_files(request: &Request, network: bool) -> Result<(), landlock::RulesetError> {
    let abi = ABI::V6;
    let mut readable: Vec<PathBuf> = Vec::new();
    if network {
        readable.extend(READABLE.iter().map(PathBuf::from));
        readable.extend(request.settings.certificates.clone());
        readable.extend(std::env::var_os("SSL_CERT_FILE").map(PathBuf::from));
    }
    let ports = match network {
        true => AccessNet::BindTcp.into(),
        false => AccessNet::BindTcp | AccessNet::ConnectTcp,
    };
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(ports)?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(readable, AccessFs::ReadFile | AccessFs::ReadDir))?
        .restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced {
        tracing::warn!("this kernel has no Landlock; fetching without it");
    }
    Ok(())
}

/// Two filters, of which the stricter answer counts: one ends the process at calls that only an
/// intruder makes, one refuses (`ENOSYS`) all calls that are not on the list.
fn restrict_calls(network: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut deadly: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    deadly.extend(DEADLY.iter().map(|call| (*call, Vec::new())));
    // A new process; threads share memory, files and more. (clone3 is refused below, and glibc
    // then makes its threads with clone.)
    let thread = libc::CLONE_THREAD as u64;
    let no_thread = condition(0, SeccompCmpOp::MaskedEq(thread), 0)?;
    deadly.insert(libc::SYS_clone, vec![SeccompRule::new(vec![no_thread])?]);
    apply(deadly, SeccompAction::Allow, SeccompAction::KillProcess)?;

    let mut allowed: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    allowed.extend(ALLOWED.iter().map(|call| (*call, Vec::new())));
    if network {
        // The resolver asks how much there is to read; connecting with a time-out needs the other.
        let requests = [libc::FIONREAD, libc::FIONBIO];
        let request = |request| SeccompRule::new(vec![condition(1, SeccompCmpOp::Eq, request)?]);
        let requests = requests.into_iter().map(request).collect::<Result<_, _>>()?;
        allowed.insert(libc::SYS_ioctl, requests);
        allowed.extend(NETWORK.iter().map(|call| (*call, Vec::new())));
        let families = [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX, libc::AF_NETLINK];
        let family = |family| -> Result<_, seccompiler::BackendError> {
            SeccompRule::new(vec![condition(
                0,
                SeccompCmpOp::Eq,
                u64::try_from(family).unwrap_or(0),
            )?])
        };
        let families = families.into_iter().map(family).collect::<Result<_, _>>()?;
        allowed.insert(libc::SYS_socket, families);
    }
    let refused = SeccompAction::Errno(u32::try_from(libc::ENOSYS).unwrap_or(1));
    apply(allowed, refused, SeccompAction::Allow)
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn apply(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    others: SeccompAction,
    these: SeccompAction,
) -> Result<(), Box<dyn std::error::Error>> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, others, these, architecture)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(apply_filter(&program)?)
}

/// Calls of intruders.
const DEADLY: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_open_by_handle_at,
    libc::SYS_setuid,
    libc::SYS_setresuid,
    libc::SYS_setgid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// What reading, inflating, converting and two threads take.
const ALLOWED: &[i64] = &[
    // Files: those that are open, and (as far as Landlock goes) opening others.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
    // The launcher's socket.
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // Threads, signals, time and the end.
    libc::SYS_clone,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_tgkill,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What a registry takes besides; `socket` is for families of a list.
const NETWORK: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
];
