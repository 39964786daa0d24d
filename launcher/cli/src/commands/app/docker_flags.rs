//! Flags of `docker run` that mean nothing for a domain or are not supported yet: each is accepted with a note, or
//! refused with the reason. None is ignored silently.

use crate::output::say;
use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// How a flag is answered.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    /// Accepted: `launch` always does this.
    Always,
    /// Accepted without effect, for this reason.
    Note(&'static str),
    /// Refused, for this reason.
    Refuse(&'static str),
    /// These values are accepted, because they describe what `launch` does; others are refused for this reason.
    Only(&'static [&'static str], &'static str),
}

use Verdict::{Always, Note, Only, Refuse};

/// A flag of Docker.
struct Flag {
    name: &'static str,
    short: Option<char>,
    /// Whether the flag takes a value.
    value: bool,
    verdict: Verdict,
}

const fn flag(name: &'static str, verdict: Verdict) -> Flag {
    Flag { name, short: None, value: true, verdict }
}

const fn switch(name: &'static str, verdict: Verdict) -> Flag {
    Flag { name, short: None, value: false, verdict }
}

const fn short(letter: char, flag: Flag) -> Flag {
    Flag { short: Some(letter), ..flag }
}

const OWN_KERNEL: &str =
    "a domain has a kernel of its own and shares nothing of it with dom0 or other apps";
const ROOT_THERE: &str = "an app has all rights within its domain; the domain is what confines it";
const OPEN_TO_ROOT: &str = "root has all rights in the app's domain, which is what confines it; \
    --sysctl kernel.unprivileged_userns_clone=1 --sysctl kernel.io_uring_disabled=0 gives its other users \
    user namespaces and io_uring";
const NO_VOLUMES: &str = "host folders and volumes are not supported yet; what the app writes is kept \
    in its writable layer until `launch rm`";
const NO_DEVICES: &str = "devices of dom0 cannot be passed to a domain yet";
const NO_DISK_LIMITS: &str = "limits of a disk's speed are not supported yet";
const NO_HEALTH: &str = "health checks are not supported yet";
const ONE_NETWORK: &str = "an app is on one network and cannot have more names there yet; use \
    --add-host in the apps that look for it";
const IPV4: &str = "networks are IPv4 only; use --ip";
const WINDOWS: &str = "it is for Windows only";
const PINNING: &str = "use --cpus or --vcpus, and `xl vcpu-pin` to choose processors";

const FLAGS: [Flag; 65] = [
    flag("annotation", Note("nothing reads annotations; use --label")),
    short('a', flag("attach", Note("a foreground app shows both of its output streams"))),
    flag("blkio-weight", Note(NO_DISK_LIMITS)),
    flag("blkio-weight-device", Note(NO_DISK_LIMITS)),
    flag("cap-add", Note(ROOT_THERE)),
    flag("cap-drop", Note(ROOT_THERE)),
    flag("cgroup-parent", Note("a domain is not in a cgroup of dom0")),
    flag("cgroupns", Only(&["private"], OWN_KERNEL)),
    flag("cpu-count", Refuse(WINDOWS)),
    flag("cpu-percent", Refuse(WINDOWS)),
    flag("cpu-rt-period", Refuse("use --cpus and --cpu-weight")),
    flag("cpu-rt-runtime", Refuse("use --cpus and --cpu-weight")),
    flag("cpuset-cpus", Refuse(PINNING)),
    flag("cpuset-mems", Refuse(PINNING)),
    flag("device", Refuse(NO_DEVICES)),
    flag("device-cgroup-rule", Refuse(NO_DEVICES)),
    flag("device-read-bps", Refuse(NO_DISK_LIMITS)),
    flag("device-read-iops", Refuse(NO_DISK_LIMITS)),
    flag("device-write-bps", Refuse(NO_DISK_LIMITS)),
    flag("device-write-iops", Refuse(NO_DISK_LIMITS)),
    switch("disable-content-trust", Always),
    flag("dns-option", Refuse("/etc/resolv.conf gets name servers and search domains only")),
    flag("domainname", Refuse("write it into --hostname NAME.DOMAIN")),
    flag(
        "expose",
        Note(
            "every port of an app can be reached at the app's address; -p publishes a port on this machine",
        ),
    ),
    flag("gpus", Refuse(NO_DEVICES)),
    flag("group-add", Refuse("more groups are not supported yet; use -u USER:GROUP")),
    flag("health-cmd", Note(NO_HEALTH)),
    flag("health-interval", Note(NO_HEALTH)),
    flag("health-retries", Note(NO_HEALTH)),
    flag("health-start-interval", Note(NO_HEALTH)),
    flag("health-start-period", Note(NO_HEALTH)),
    flag("health-timeout", Note(NO_HEALTH)),
    flag("io-maxbandwidth", Refuse(WINDOWS)),
    flag("io-maxiops", Refuse(WINDOWS)),
    flag("ip6", Refuse(IPV4)),
    flag("ipc", Only(&["private", "shareable", "none"], OWN_KERNEL)),
    flag("isolation", Only(&["default"], WINDOWS)),
    flag("kernel-memory", Note("--memory includes the guest's kernel")),
    flag("link", Refuse(ONE_NETWORK)),
    flag("link-local-ip", Refuse(IPV4)),
    flag(
        "log-driver",
        Only(&["json-file", "local"], "output is kept in a file, see `launch logs`"),
    ),
    flag("log-opt", Note("log_mib in /etc/launch/config.toml sets how much output is kept")),
    flag("memory-reservation", Note("a domain gets all of its --memory at the start")),
    flag("memory-swap", Note("a domain has no swap")),
    flag("memory-swappiness", Note("a domain has no swap")),
    flag("mount", Refuse(NO_VOLUMES)),
    flag("network-alias", Refuse(ONE_NETWORK)),
    flag("net-alias", Refuse(ONE_NETWORK)),
    switch("no-healthcheck", Always),
    switch(
        "oom-kill-disable",
        Note("only the domain's own kernel ends processes for lack of memory"),
    ),
    flag("oom-score-adj", Note("dom0's kernel cannot end a domain for lack of memory")),
    flag("pid", Refuse(OWN_KERNEL)),
    flag(
        "pids-limit",
        Note("processes of a domain do not affect other apps; use --ulimit nproc=N"),
    ),
    flag("platform", Only(&["linux", "linux/amd64"], "domains are linux/amd64")),
    switch("privileged", Note(OPEN_TO_ROOT)),
    short('P', switch("publish-all", Refuse("give each port with -p HOST:GUEST"))),
    flag("runtime", Refuse("apps are Xen domains; choose with --type and --toolstack")),
    flag("security-opt", Note(OPEN_TO_ROOT)),
    switch("sig-proxy", Only(&["true"], "the first Ctrl-C always asks the app to stop")),
    switch("use-api-socket", Refuse("there is no container engine whose socket could be passed")),
    flag("userns", Refuse(OWN_KERNEL)),
    flag("uts", Refuse(OWN_KERNEL)),
    short('v', flag("volume", Refuse(NO_VOLUMES))),
    flag("volume-driver", Refuse(NO_VOLUMES)),
    flag("volumes-from", Refuse(NO_VOLUMES)),
];

/// The flags of Docker that were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct DockerFlags(Vec<(usize, String)>);

impl DockerFlags {
    /// Answers each given flag, before anything is created.
    ///
    /// # Errors
    /// One of the flags is refused.
    pub(crate) fn answer(&self) -> Result<()> {
        let mut notes = Vec::new();
        for (index, value) in &self.0 {
            let Flag { name, verdict, .. } = &FLAGS[*index];
            match verdict {
                Always => {}
                Note(why) => notes.push(format!("--{name} has no effect: {why}")),
                Refuse(why) => bail!("--{name} is not possible: {why}"),
                Only(fine, _) if fine.contains(&value.as_str()) => {}
                Only(_, why) => bail!("--{name} {value} is not possible: {why}"),
            }
        }
        notes.dedup();
        for note in notes {
            say(note);
        }
        Ok(())
    }
}

impl clap::FromArgMatches for DockerFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for (index, flag) in FLAGS.iter().enumerate() {
            for value in matches.get_many::<String>(flag.name).into_iter().flatten() {
                // `--init=false` counts as not given.
                if flag.value || value != "false" || matches!(flag.verdict, Only(..)) {
                    given.push((index, value.clone()));
                }
            }
        }
        Ok(Self(given))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for DockerFlags {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, flag| {
            let mut arg = Arg::new(flag.name)
                .long(flag.name)
                .hide(true)
                .action(ArgAction::Append)
                .value_name("VALUE");
            if let Some(letter) = flag.short {
                arg = arg.short(letter);
            }
            command.arg(match flag.value {
                true => arg.allow_hyphen_values(true),
                false => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn answer(line: &str) -> Result<()> {
        let command = DockerFlags::augment_args(Command::new("run").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split(' '))?;
        DockerFlags::from_arg_matches(&matches)?.answer()
    }

    #[test]
    fn a_flag_that_cannot_be_is_refused_with_its_reason() {
        for (line, word) in [
            ("--pid host", "kernel of its own"),
            ("-v /data:/data", "writable layer"),
            ("--gpus=all", "devices"),
            ("--ipc=host", "--ipc host"),
            ("--privileged -P", "-p HOST:GUEST"),
            ("--platform linux/arm64", "linux/amd64"),
        ] {
            let error = answer(line).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains('\n'), "{line}: {error}");
        }
    }

    #[test]
    fn what_has_no_effect_is_taken() {
        for line in [
            "--privileged",
            "--cap-add NET_ADMIN --cap-drop=ALL",
            "--memory-swap -1",
            "--ipc private",
            "--privileged=false",
            "--sig-proxy=true",
        ] {
            answer(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
