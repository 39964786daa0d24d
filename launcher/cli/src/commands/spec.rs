//! The flags that describe an app, shared by `run` and `config`.

use super::machine::MachineFlags;
use anyhow::{Context, Result, bail};
use domain::{Launch, WritableChoice};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The image, the app's own arguments, and what to change about either.
#[derive(Debug, clap::Args)]
pub(crate) struct Spec {
    /// Name of the app and its domain [default: the image's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Set an environment variable; without a value, take it from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Publish a port of the app on this machine
    #[arg(short, long, value_name = "[IP:]HOST:GUEST[/udp]")]
    publish: Vec<net::Publish>,
    /// Working directory of the app
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User, and group, that the app runs as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Program to start instead of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Host name that the app sees
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    #[command(flatten)]
    machine: MachineFlags,
    /// default, none, or bridge=NAME for a bridge of yours
    #[arg(long, value_name = "NETWORK", default_value = "default")]
    network: net::Choice,
    /// Address of the app; on a bridge of yours with its prefix length, ADDRESS/PREFIX
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// Default gateway of the app on a bridge of yours
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<IpAddr>,
    /// Keep the app's writes in the domain's memory instead of on a disk
    #[arg(long, conflicts_with = "read_only")]
    tmpfs_root: bool,
    /// Let the app write nothing to its root
    #[arg(long)]
    read_only: bool,
    /// Signal that asks the app to stop [default: the image's, or SIGTERM]
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// An image's name, or docker-archive:FILE, oci-archive:FILE, oci:DIR, rootfs:FILE
    pub(crate) image: String,
    /// Arguments for the app, in place of the image's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

impl Spec {
    /// What to launch, once the image is here.
    ///
    /// # Errors
    /// An unreadable `--env-file`.
    pub(crate) fn into_launch(self, image: image::Image) -> Result<Launch> {
        let mut launch = Launch::new(image, self.image);
        launch.env = environment(&self.env_file, &self.env)?;
        launch.name = self.name;
        launch.publish = self.publish;
        launch.cwd = self.workdir;
        launch.user = self.user;
        launch.entrypoint = self.entrypoint.map(|program| vec![program]);
        launch.args = self.args;
        launch.hostname = self.hostname;
        launch.machine = self.machine.into_wish();
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

/// `NAME=value` each: first the files', then the flags', as Docker orders them. A bare `NAME`
/// takes the value from this process, and is left out where it has none.
pub(super) fn environment(files: &[PathBuf], flags: &[String]) -> Result<Vec<String>> {
    let mut env = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read --env-file {}", file.display()))?;
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

fn place(file: &Path, line: usize) -> String {
    format!("in --env-file {}, line {line}", file.display())
}

fn variable(text: &str) -> Result<Option<String>> {
    let (name, value) =
        text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    if name.is_empty() || name.contains(char::is_whitespace) || text.contains('\0') {
        bail!("{name:?} is not a name for a variable");
    }
    Ok(match value {
        Some(_) => Some(text.to_owned()),
        None => std::env::var(name).ok().map(|value| format!("{name}={value}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_before_flags_and_a_name_without_a_value_needs_one_here() {
        let file = std::env::temp_dir().join(format!("launch-env-{}", std::process::id()));
        std::fs::write(&file, "# comment\n\nA=1 2\nLAUNCH_TEST_ABSENT\n").unwrap();
        let env =
            environment(std::slice::from_ref(&file), &["B=x=y".into(), "PATH".into()]).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(env[..2], ["A=1 2", "B=x=y"]);
        assert!(env.len() == 3 && env[2].starts_with("PATH="));
        assert!(environment(&[], &["=x".into()]).is_err());
        assert!(environment(&[], &["a b=x".into()]).is_err());
    }
}
