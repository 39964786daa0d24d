//! System calls by what the fetching child may do with them.

use sandbox::Test;

/// Calls of intruders.
pub(super) const DEADLY: &[i64] = &[
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
    libc::SYS_clone,
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
pub(super) const ALLOWED: &[i64] = &[
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
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
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

/// What a registry takes besides.
pub(super) const NETWORK: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
];

/// A file is opened for reading, and neither made nor emptied; `argument` has the flags.
pub(super) const fn for_reading(argument: u8) -> Test {
    let writing =
        libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY);
    Test::Masked { argument, mask: writing as u32, value: 0 }
}

/// What is cloned is a thread.
pub(super) const THREAD: Test =
    Test::Masked { argument: 0, mask: libc::CLONE_THREAD as u32, value: libc::CLONE_THREAD as u32 };

/// TCP and UDP. glibc asks a netlink socket for this machine's addresses and nscd over a Unix
/// socket for names, and goes on without either.
pub(super) const SOCKETS: &[&[Test]] = &[
    &[family(libc::AF_INET), kind(libc::SOCK_STREAM), protocol(0)],
    &[family(libc::AF_INET), kind(libc::SOCK_STREAM), protocol(libc::IPPROTO_TCP)],
    &[family(libc::AF_INET), kind(libc::SOCK_DGRAM), protocol(0)],
    &[family(libc::AF_INET), kind(libc::SOCK_DGRAM), protocol(libc::IPPROTO_UDP)],
    &[family(libc::AF_INET6), kind(libc::SOCK_STREAM), protocol(0)],
    &[family(libc::AF_INET6), kind(libc::SOCK_STREAM), protocol(libc::IPPROTO_TCP)],
    &[family(libc::AF_INET6), kind(libc::SOCK_DGRAM), protocol(0)],
    &[family(libc::AF_INET6), kind(libc::SOCK_DGRAM), protocol(libc::IPPROTO_UDP)],
];

/// The resolver asks how much there is to read (`FIONREAD`); connecting with a time-out needs
/// `FIONBIO`. `include/uapi/asm-generic/ioctls.h`.
pub(super) const REQUESTS: &[&[Test]] =
    &[&[Test::Is { argument: 1, value: 0x541b }], &[Test::Is { argument: 1, value: 0x5421 }]];

const fn family(family: libc::c_int) -> Test {
    Test::Is { argument: 0, value: family as u32 }
}

const fn kind(kind: libc::c_int) -> Test {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    Test::Masked { argument: 1, mask: !flags as u32, value: kind as u32 }
}

const fn protocol(protocol: libc::c_int) -> Test {
    Test::Is { argument: 2, value: protocol as u32 }
}
