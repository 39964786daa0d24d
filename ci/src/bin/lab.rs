//! `ci/lab`: starts the lab, runs commands in its dom0, ends it.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use lab::clock::Clock;
use lab::dom0::Extra;
use lab::host::say;
use lab::instance::{Instance, Options};
use lab::qemu::Size;
use lab::stage::default_stage;
use lab::terminal::size_of_stdin;
use lab::xen_version::XenVersion;
use lab::xenstored::Xenstored;
use lab_agent::frame::Start;
use std::path::PathBuf;
use std::process::ExitCode;

/// A nested Xen for trying and testing `launch`: Xen and dom0 in QEMU.
#[derive(Debug, Parser)]
#[command(name = "ci/lab", bin_name = "ci/lab", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Args)]
struct Which {
    /// Name of the lab; labs of different names run side by side
    #[arg(long, default_value = "default", env = "LAB_NAME")]
    name: String,
    /// Xen of the lab: 4.20 (Debian 13) or 4.17 (Debian 12)
    #[arg(long, default_value_t, env = "LAB_XEN")]
    xen: XenVersion,
    /// Install more in dom0, for comparisons
    #[arg(long = "with", value_name = "WHAT")]
    extra: Option<Extra>,
    /// Memory of the whole machine in MiB, of which dom0 has 1536
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    memory: u32,
    /// The source of its time, if its processor is emulated [default: wall]
    #[arg(long, value_enum)]
    clock: Option<Clock>,
    /// The xenstored in dom0 [default: ocaml]
    #[arg(long, value_enum, env = "LAB_XENSTORED")]
    xenstored: Option<Xenstored>,
    /// Folder of this machine that dom0 sees at /share
    #[arg(long, value_name = "FOLDER")]
    share: Option<PathBuf>,
}

impl Which {
    fn options(&self) -> Options {
        let (name, share) = (self.name.clone(), self.share.clone());
        let size = Size { memory_mib: self.memory, ..Size::default() };
        let (xen, extra, clock, xenstored) = (self.xen, self.extra, self.clock, self.xenstored);
        Options { name, xen, extra, size, clock, xenstored, share }
    }
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start the lab, and make what it needs
    Up(Which),
    /// Run a command in dom0, with the last `ci/build` installed there, and exit with the command's exit code
    Run {
        #[command(flatten)]
        which: Which,
        /// Use a lab that nothing has run in
        #[arg(long)]
        fresh: bool,
        /// The command and its arguments
        #[arg(required = true, last = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// Open a shell in dom0
    Shell(Which),
    /// Forward a port of this machine's loopback to a port of dom0
    Forward {
        #[command(flatten)]
        which: Which,
        /// Port here and port in dom0, for example 8080:80 or 5353:53/udp
        #[arg(value_name = "HOST:DOM0", value_parser = parse_forward)]
        ports: (u16, u16, &'static str),
    },
    /// Print the folder that dom0 sees at /share
    Share(Which),
    /// End the lab; all changes in it are lost
    Down(Which),
}

fn main() -> ExitCode {
    match run(Cli::parse().action) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::from(125)
        }
    }
}

fn run(action: Action) -> Result<ExitCode> {
    match action {
        Action::Up(which) => {
            install_build(&Instance::up(&which.options())?)?;
        }
        Action::Run { which, fresh, command } => {
            let options = which.options();
            let lab = if fresh { Instance::fresh(&options)? } else { Instance::up(&options)? };
            install_build(&lab)?;
            let session = lab.start(Start { argv: command, ..Start::default() })?;
            return Ok(exit_code(session.follow(false)?));
        }
        Action::Shell(which) => {
            let lab = Instance::up(&which.options())?;
            install_build(&lab)?;
            let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".into());
            let session = lab.start(Start {
                argv: vec!["bash".into(), "-l".into()],
                env: vec![("TERM".into(), term)],
                terminal: Some(
                    size_of_stdin().context("stdin is not a terminal; use `ci/lab run`")?,
                ),
                ..Start::default()
            })?;
            return Ok(exit_code(session.follow(true)?));
        }
        Action::Forward { which, ports: (host, dom0, protocol) } => {
            Instance::up(&which.options())?.forward(protocol, host, dom0)?;
            say(&format!("127.0.0.1:{host} is dom0's port {dom0}"));
        }
        Action::Share(which) => {
            println!("{}", Instance::up(&which.options())?.share().display());
        }
        Action::Down(which) => match Instance::find(&which.name)? {
            Some(lab) => lab.down()?,
            None => say(&format!("no lab {} is running", which.name)),
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn install_build(lab: &Instance) -> Result<()> {
    let stage = default_stage();
    if !lab.install_stage(&stage)? {
        say(&format!("{} contains no build; run `ci/build`", stage.display()));
    }
    Ok(())
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(125))
}

fn parse_forward(text: &str) -> Result<(u16, u16, &'static str), String> {
    let explain = || format!("{text:?} is not HOST:DOM0, such as 8080:80 or 5353:53/udp");
    let (ports, protocol) = match text.strip_suffix("/udp") {
        Some(ports) => (ports, "udp"),
        None => (text.strip_suffix("/tcp").unwrap_or(text), "tcp"),
    };
    let (host, dom0) = ports.split_once(':').ok_or_else(explain)?;
    let port = |text: &str| text.parse().map_err(|_| explain());
    Ok((port(host)?, port(dom0)?, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn forwards_are_read_as_docker_reads_ports() {
        assert_eq!(parse_forward("8080:80"), Ok((8080, 80, "tcp")));
        assert_eq!(parse_forward("53:53/udp"), Ok((53, 53, "udp")));
        for bad in ["80", "80:99999"] {
            assert!(parse_forward(bad).unwrap_err().contains("is not HOST:DOM0"));
        }
    }
}
