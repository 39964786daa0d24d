//! The flags that describe an app, shared by `run`, `create` and `config`.

mod values;

use crate::commands::shape::{CpuFlags, ShapeFlags};
use anyhow::{Context, Result, bail};
use app::request::parse_size_mib;
use app::{RunRequest, WritableChoice};
use contract::{Limit, Sysctl, Tmpfs};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The image, the app's own arguments, and the changes to the image's defaults.
#[derive(Debug, clap::Args)]
pub(crate) struct Spec {
    /// Name of the app and its domain [default: the image's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Set an environment variable; without a value, take it from this command's environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file, one per line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Publish a port of the app on this machine
    #[arg(short, long, value_name = "[IP:]HOST:GUEST[/udp]")]
    publish: Vec<net::Publish>,
    /// Working directory of the app
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User and group that the app runs as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Program to start instead of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Host name that the app sees
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// Label of the app
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = values::parse_label)]
    label: Vec<(String, String)>,
    /// Read labels from a file, one per line
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    #[command(flatten)]
    machine: ShapeFlags,
    #[command(flatten)]
    cpu: CpuFlags,
    /// default, none, or bridge=NAME for your own bridge
    #[arg(long, visible_alias = "net", value_name = "NETWORK", default_value = "default")]
    network: net::NetworkRequest,
    /// Address of the app; on your own bridge with the prefix length, ADDRESS/PREFIX
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// Default gateway of the app on your own bridge
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<IpAddr>,
    /// Link address of the app's interface [default: made from its address]
    #[arg(long, value_name = "MAC")]
    mac_address: Option<contract::Mac>,
    /// Name server of the app [default: this machine's]
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// Domain in which the app looks up short names [default: this machine's]
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Line to add to the app's /etc/hosts; host-gateway is this machine's address
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = values::parse_host)]
    add_host: Vec<values::AddedHost>,
    /// Mount a file system in memory at this path
    #[arg(long, value_name = "PATH[:OPTIONS]", value_parser = values::parse_tmpfs)]
    tmpfs: Vec<Tmpfs>,
    /// Size of /dev/shm [default: half of the memory]
    #[arg(long, value_name = "SIZE", value_parser = parse_size_mib)]
    shm_size: Option<u32>,
    /// A setting of the guest's kernel
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::parse_sysctl)]
    sysctl: Vec<Sysctl>,
    /// Limit of the app's processes; -1 means no limit
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = values::parse_limit)]
    ulimit: Vec<Limit>,
    /// Run a small init as PID 1, which passes signals on to the app and reaps orphans
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value_t = false)]
    init: bool,
    /// Size of the app's writable layer [default: 8g]; it takes space only as it is written
    #[arg(long, value_name = "SIZE", value_parser = parse_size_mib)]
    storage_size: Option<u32>,
    /// Docker's form of --storage-size
    #[arg(long, value_name = "size=SIZE", conflicts_with = "storage_size",
        value_parser = values::parse_storage_opt)]
    storage_opt: Option<u32>,
    /// Keep the app's writes in the domain's memory instead of on a disk
    #[arg(long, conflicts_with = "read_only")]
    tmpfs_root: bool,
    /// Make the app's root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Signal that asks the app to stop [default: the image's, or SIGTERM]
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds that the app has to stop before it is killed [default: the image's, or 10]
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u64>,
    /// An image's name, or docker-archive:FILE, oci-archive:FILE, oci:DIR, dir:DIR, rootfs:FILE (- is standard input);
    /// then arguments for the app, which replace the image's
    // One argument for both, so that the flags of `launch` end at its first value, as in Docker.
    #[arg(required = true, trailing_var_arg = true, num_args = 1.., value_names = ["IMAGE", "ARG"])]
    image_and_args: Vec<String>,
}

impl Spec {
    /// The image's name as the user typed it.
    pub(crate) fn image(&self) -> &str {
        &self.image_and_args[0]
    }

    /// The request, once the image has been fetched.
    ///
    /// # Errors
    /// A file of variables or labels cannot be read.
    pub(crate) fn into_launch(
        mut self,
        image: image::Image,
        network: &net::Settings,
    ) -> Result<RunRequest> {
        let args = self.image_and_args.split_off(1);
        let mut launch = RunRequest::new(image, self.image().to_owned());
        launch.args = args;
        launch.env = environment(&self.env_file, &self.env)?;
        for file in &self.label_file {
            launch.labels.extend(labels(file)?);
        }
        launch.labels.extend(self.label);
        let gateway = self.gateway.unwrap_or_else(|| network.subnet.gateway().into());
        launch.hosts = self.add_host.into_iter().map(|host| host.into_host(gateway)).collect();
        (launch.dns, launch.dns_search) = (self.dns, self.dns_search);
        launch.mac = self.mac_address;
        launch.tmpfs = self.tmpfs;
        if let Some(mib) = self.shm_size {
            let options = format!("noexec,nosuid,nodev,mode=1777,size={mib}m");
            launch.tmpfs.push(Tmpfs { path: "/dev/shm".into(), options });
        }
        launch.sysctls = self.sysctl;
        launch.limits = self.ulimit;
        launch.init = self.init;
        launch.storage_mib = self.storage_size.or(self.storage_opt).map(u64::from);
        launch.stop_timeout_s = self.stop_timeout;
        launch.name = self.name;
        launch.publish = self.publish;
        launch.cwd = self.workdir;
        launch.user = self.user;
        launch.entrypoint = self.entrypoint.map(|program| vec![program]);
        launch.hostname = self.hostname;
        launch.shape = self.machine.into_wish();
        launch.shape.vcpus = launch.shape.vcpus.or(self.cpu.vcpus()?);
        launch.schedule = self.cpu.schedule(launch.shape.vcpus)?;
        launch.network = self.network;
        launch.ip = self.ip;
        launch.gateway = self.gateway;
        launch.stop_signal = self.stop_signal;
        if self.tmpfs_root {
            launch.writable = WritableChoice::Memory;
        } else if self.read_only {
            launch.writable = WritableChoice::Nothing;
        }
        Ok(launch)
    }
}

/// The variables, `NAME=value` each: first those of the files, then those of the flags, as in Docker. A bare `NAME`
/// takes the value from this process, and is left out if there is none.
pub(super) fn environment(files: &[PathBuf], flags: &[String]) -> Result<Vec<String>> {
    let mut env = Vec::new();
    for file in files {
        let text = read_lines("--env-file", file)?;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            env.extend(variable(line).with_context(|| place(file, index + 1))?);
        }
    }
    for flag in flags {
        env.extend(variable(flag).with_context(|| format!("in --env {flag:?}"))?);
    }
    Ok(env)
}

/// Reads the labels of a file: `KEY=VALUE` or only a key on each line.
fn labels(file: &Path) -> Result<Vec<(String, String)>> {
    let text = read_lines("--label-file", file)?;
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| match values::parse_label(line) {
            Ok(label) => Ok(label),
            Err(error) => bail!("in --label-file {}, line {number}: {error}", file.display()),
        })
        .collect()
}

/// The text of a file given to `flag`, without the byte order mark that editors on Windows begin it with.
fn read_lines(flag: &str, file: &Path) -> Result<String> {
    let cannot = || format!("cannot read {flag} {}", file.display());
    let bytes = std::fs::read(file).with_context(cannot)?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        bail!("{}: it is in UTF-16; save it as UTF-8", cannot());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .split(|byte| *byte == b'\n')
            .count();
        anyhow::anyhow!("{}: line {line} has bytes that are not UTF-8", cannot())
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn place(file: &Path, line: usize) -> String {
    format!("in --env-file {}, line {line}", file.display())
}

fn variable(text: &str) -> Result<Option<String>> {
    let (name, value) =
        text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    if name.is_empty() || name.contains(char::is_whitespace) || text.contains('\0') {
        bail!("{name:?} is not a valid name of a variable");
    }
    Ok(match value {
        Some(_) => Some(text.to_owned()),
        None => std::env::var(name).ok().map(|value| format!("{name}={value}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        spec: Spec,
    }

    #[test]
    fn init_is_taken_with_and_without_a_value_as_docker_takes_it() {
        for (flag, expected) in [("--init", true), ("--init=true", true), ("--init=false", false)] {
            let line = <Line as clap::Parser>::try_parse_from(["run", flag, "nginx"]).unwrap();
            assert_eq!((line.spec.init, line.spec.image()), (expected, "nginx"), "{flag}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_name_and_other_encodings_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list");
        let read = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            environment(std::slice::from_ref(&file), &[])
        };
        assert_eq!(read(b"\xef\xbb\xbfA=1\r\nB=2\r\n").unwrap(), ["A=1", "B=2"]);
        for (bytes, cause) in [
            (&b"\xff\xfeA\0=\x001\0"[..], "UTF-16; save it as UTF-8"),
            (b"\xfe\xff\0A\0=\x001", "UTF-16"),
            (b"A=1\nB=\xff\n", "line 2 has bytes that are not UTF-8"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(cause) && error.contains("--env-file"), "{error}");
        }
        std::fs::write(&file, b"\xef\xbb\xbfa=1\n").unwrap();
        assert_eq!(labels(&file).unwrap(), [("a".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn files_come_before_flags_and_a_name_without_a_value_needs_one_here() {
        let file = std::env::temp_dir().join(format!("launch-env-{}", std::process::id()));
        std::fs::write(&file, "# comment\n\nA=1 2\nLAUNCH_TEST_ABSENT\n").unwrap();
        let env =
            environment(std::slice::from_ref(&file), &["B=x=y".into(), "PATH".into()]).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(env[..2], ["A=1 2", "B=x=y"]);
        assert!(env.len() == 3 && env[2].starts_with("PATH="));
        for bad in ["=x", "a b=x"] {
            let error = environment(&[], &[bad.into()]).unwrap_err();
            let cause = error.root_cause().to_string();
            assert!(cause.contains("is not a valid name of a variable"), "{cause}");
        }
    }
}
