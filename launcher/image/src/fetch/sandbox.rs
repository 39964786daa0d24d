//! What the child gives up before it reads anything from outside.
//!
//! In this order: inherited files, its user and groups, the right to gain any others, large files
//! and core dumps, the file system (Landlock), and the system calls it has no need for (seccomp).

mod calls;

use super::messages::{Input, Request};
use calls::{ALLOWED, DEADLY, NETWORK};
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

#[cfg(test)]
mod tests;
