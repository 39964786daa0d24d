//! `launch`: runs a Docker image as its own Xen domain.
#![forbid(unsafe_code)]

mod commands;
mod failure;
mod here;
mod progress;
mod settings;
mod table;
mod times;

use clap::{CommandFactory, Parser};
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
    // Roles that `launch` plays for itself. They come before anything else is read: one of them
    // is about to give up all its rights.
    match args.get(1).and_then(|role| role.to_str()) {
        Some("__fetch") => return image::fetch_child(),
        Some("__pool") => return commands::pool::fill_in_background(),
        _ => {}
    }
    start_log();
    let cli =
        tracing::info_span!("arguments").in_scope(|| Cli::parse_from(with_default_command(args)));
    match cli.command.run(begin) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

/// Turns `launch nginx` and `launch -d nginx` into `launch run …`.
fn with_default_command(mut args: Vec<OsString>) -> Vec<OsString> {
    let Some(first) = args.get(1).and_then(|arg| arg.to_str()) else { return args };
    let known = matches!(first, "help" | "-h" | "--help" | "-V" | "--version")
        || Cli::command().get_subcommands().any(|command| {
            command.get_name() == first || command.get_all_aliases().any(|alias| alias == first)
        });
    if !known {
        args.insert(1, "run".into());
    }
    args
}

/// `LAUNCH_LOG=debug` (or `domain=trace`, …) writes what happens to stderr.
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

    fn expand(line: &str) -> String {
        let args = with_default_command(line.split(' ').map(OsString::from).collect());
        args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_image_alone_is_run() {
        assert_eq!(expand("launch nginx"), "launch run nginx");
        assert_eq!(expand("launch -d nginx"), "launch run -d nginx");
        assert_eq!(expand("launch --name ps nginx"), "launch run --name ps nginx");
    }

    #[test]
    fn a_command_stays_a_command() {
        for line in ["launch", "launch ps -a", "launch --help", "launch help run", "launch -V"] {
            assert_eq!(expand(line), line);
        }
    }
}
