//! `launch`: runs a Docker image as its own Xen domain.
#![forbid(unsafe_code)]
// All text is printed by `output`, which cleans it.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod commands;
mod conversation;
mod failure;
mod here;
mod listing;
mod output;
mod progress;
mod settings;
mod table;
mod template;
mod terminal;
mod times;

use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

/// Runs Docker and OCI images as Xen domains of their own.
///
/// `launch IMAGE` is short for `launch run IMAGE`.
#[derive(Debug, Parser)]
#[command(name = "launch", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    let begin = Instant::now();
    let args: Vec<OsString> = std::env::args_os().collect();
    // Internal roles, which only `launch` itself starts.
    match args.get(1).and_then(|role| role.to_str()) {
        Some(app::life::RESTART_ROLE) => {
            let id = args.get(2).and_then(|id| id.to_str()).unwrap_or_default();
            return commands::app::start::restart_inherited(id);
        }
        Some("__pool") => return commands::pool::fill_in_background(),
        Some(commands::app::cp::receiver::ROLE) => {
            return commands::app::cp::receiver::run(args.get(2).and_then(|job| job.to_str()));
        }
        _ => {}
    }
    start_log();
    let first = args.get(1).and_then(|first| first.to_str());
    if let Some(instead) = first.and_then(commands::docker_verbs::answer) {
        return failure::report(&anyhow::anyhow!(instead));
    }
    let args = with_default_command(args);
    let command = match tracing::info_span!("arguments").in_scope(|| parse(&args)) {
        Ok(command) => command,
        Err(error) => {
            let command = args.get(1).and_then(|command| command.to_str());
            return failure::report_usage(&error, command.filter(|command| is_command(command)));
        }
    };
    match command.run(begin) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

/// Parses the command line. Builds only the parser of `run` if possible, so that a start does not wait for the parsers
/// of all other commands.
fn parse(args: &[OsString]) -> Result<commands::Command, clap::Error> {
    use clap::{Args as _, FromArgMatches as _};
    match args.split_first() {
        Some((_, rest)) if rest.first().is_some_and(|verb| verb == "run") => {
            let command = clap::Command::new("run").bin_name("launch run").max_term_width(100);
            let command =
                commands::app::run::Args::augment_args(command).about(commands::ABOUT_RUN);
            let matches = command.try_get_matches_from(rest)?;
            let args = commands::app::run::Args::from_arg_matches(&matches)?;
            Ok(commands::Command::Run(Box::new(args)))
        }
        _ => Cli::try_parse_from(args).map(|cli| cli.command),
    }
}

/// Turns `launch nginx` and `launch -d nginx` into `launch run …`.
fn with_default_command(mut args: Vec<OsString>) -> Vec<OsString> {
    let Some(first) = args.get(1).and_then(|arg| arg.to_str()) else { return args };
    let known = matches!(first, "help" | "-h" | "--help" | "-V" | "--version") || is_command(first);
    if !known {
        args.insert(1, "run".into());
    }
    args
}

/// Whether `launch` has this verb. Fast, because each start calls it.
fn is_command(name: &str) -> bool {
    <commands::Command as clap::Subcommand>::has_subcommand(name)
}

/// Writes a log to stderr if `LAUNCH_LOG` says so (`debug`, `app=trace`, …).
fn start_log() {
    use tracing_subscriber::{EnvFilter, fmt, fmt::format::FmtSpan};
    if let Ok(filter) = EnvFilter::try_from_env("LAUNCH_LOG") {
        fmt()
            .with_env_filter(filter)
            .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
            .with_writer(std::io::stderr)
            .init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn expand(line: &str) -> String {
        let args = with_default_command(line.split(' ').map(OsString::from).collect());
        args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Docker's verbs, and the flags of its `run`.
    const DOCKERS_VERBS: &str = "attach build builder buildx checkpoint commit compose container context cp \
        create diff events exec export history image images import info inspect kill load login logout logs \
        manifest network node pause plugin port ps pull push rename restart rm rmi run save search \
        secret service stack start stats stop swarm system tag top trust unpause update version volume \
        wait";
    const DOCKERS_FLAGS: &str = "add-host annotation attach blkio-weight blkio-weight-device cap-add \
        cap-drop cgroup-parent cgroupns cidfile cpu-count cpu-percent cpu-period cpu-quota \
        cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus cpuset-mems detach detach-keys device \
        device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops \
        disable-content-trust dns dns-option dns-search domainname entrypoint env env-file expose gpus \
        group-add health-cmd health-interval health-retries health-start-interval health-start-period \
        health-timeout help hostname init interactive io-maxbandwidth io-maxiops ip ip6 ipc isolation \
        kernel-memory label label-file link link-local-ip log-driver log-opt mac-address memory \
        memory-reservation memory-swap memory-swappiness mount name network network-alias \
        no-healthcheck oom-kill-disable oom-score-adj pid pids-limit platform privileged publish \
        publish-all pull quiet read-only restart rm runtime security-opt shm-size sig-proxy \
        stop-signal stop-timeout storage-opt sysctl tmpfs tty ulimit use-api-socket user userns uts volume \
        volume-driver volumes-from workdir";

    #[test]
    fn each_of_dockers_verbs_and_flags_is_answered_and_in_the_table() {
        let table = include_str!("../../../docs/docker.md");
        for verb in DOCKERS_VERBS.split_whitespace() {
            let known = is_command(verb) || commands::docker_verbs::answer(verb).is_some();
            assert!(known && table.contains(&format!("`{verb}")), "{verb}");
        }
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for flag in DOCKERS_FLAGS.split_whitespace() {
            let known = run.get_arguments().any(|arg| arg.get_long() == Some(flag));
            assert!(known && table.contains(&format!("`--{flag}")), "--{flag}");
        }
    }

    #[test]
    fn an_image_alone_is_run() {
        assert_eq!(expand("launch nginx"), "launch run nginx");
        assert_eq!(expand("launch -d nginx"), "launch run -d nginx");
        assert_eq!(expand("launch --name ps nginx"), "launch run --name ps nginx");
    }

    #[test]
    fn a_run_is_read_the_same_alone_and_among_all_commands() {
        let args: Vec<OsString> =
            ["launch", "run", "-d", "--name", "web", "nginx", "-g", "x"].map(Into::into).to_vec();
        let alone = format!("{:?}", parse(&args).unwrap());
        assert_eq!(alone, format!("{:?}", Cli::try_parse_from(&args).unwrap().command));
        let wrong = ["launch", "run", "--type", "hvm", "hello"].map(Into::into);
        let alone = parse(&wrong).unwrap_err().to_string();
        assert_eq!(alone, Cli::try_parse_from(&wrong).unwrap_err().to_string());
    }

    #[test]
    fn what_follows_the_image_or_the_app_is_the_apps_even_where_it_looks_like_a_flag_of_ours() {
        let read = |line: &str| {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            parse(&args).map(|command| format!("{command:?}"))
        };
        let run = read("launch run -d --entrypoint sh nginx -c ls --rm --help").unwrap();
        assert!(run.contains(r#"["nginx", "-c", "ls", "--rm", "--help"]"#), "{run}");
        let exec = read("launch exec -u me web -e -u X").unwrap();
        assert!(exec.contains(r#"["web", "-e", "-u", "X"]"#), "{exec}");
        use clap::error::ErrorKind::{MissingRequiredArgument, TooFewValues, UnknownArgument};
        let error = |line: &str| read(line).unwrap_err().kind();
        assert_eq!(error("launch run --no-such-flag nginx"), UnknownArgument);
        assert_eq!(error("launch run -d"), MissingRequiredArgument);
        assert_eq!(error("launch exec web"), TooFewValues);
    }

    #[test]
    fn a_command_stays_a_command() {
        for line in ["launch", "launch ps -a", "launch --help", "launch help run", "launch -V"] {
            assert_eq!(expand(line), line);
        }
    }
}
