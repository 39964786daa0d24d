//! What a user sees when a command fails: one line, and an exit code.

use crate::output::say;
use contract::one_line;
use std::process::ExitCode;

/// Exit code of a failed command.
const FAILED: u8 = 1;
/// Exit code of a wrong command line.
const USAGE: u8 = 2;

/// Prints `error` with its causes on one line of stderr.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    say(one_line(error.as_ref()));
    ExitCode::from(FAILED)
}

/// Prints one line about a wrong command line on stderr, with a pointer to the help. Prints help itself unchanged.
/// `command` is the given command, if it exists.
pub(crate) fn report_usage(error: &clap::Error, command: Option<&str>) -> ExitCode {
    use clap::error::ErrorKind::{
        DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion,
    };
    let is_help = matches!(
        error.kind(),
        DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand
    );
    if is_help {
        // It is no failure if the pipe is closed.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
    }
    let command = command.map_or_else(String::new, |command| format!(" {command}"));
    say(format_args!("{}; see `launch{command} --help`", usage_line(&error.to_string())));
    ExitCode::from(USAGE)
}

/// Puts the first paragraph of clap's message, and its tip, on one line.
fn usage_line(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let mut paragraphs = text.split("\n\n").map(|paragraph| {
        let lines = paragraph.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join(" ")
    });
    let first = paragraphs.next().unwrap_or_default();
    match paragraphs.find(|paragraph| paragraph.starts_with("tip: ")) {
        Some(tip) => format!("{first}; {}", tip.trim_start_matches("tip: ")),
        None => first,
    }
}

/// Whether the reader of stdout has ended, as in `launch ps | head -1`, which is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_is_told_on_one_line() {
        let text = "error: invalid value 'lots' for '--memory <SIZE>': size \"lots\" is not valid\n\n\
                    For more information, try '--help'.\n";
        assert_eq!(
            usage_line(text),
            "invalid value 'lots' for '--memory <SIZE>': size \"lots\" is not valid"
        );
        let text = "error: unexpected argument '--al' found\n\n  tip: a similar argument exists: \
                    '--all'\n\nUsage: launch ps\n";
        let told = "unexpected argument '--al' found; a similar argument exists: '--all'";
        assert_eq!(usage_line(text), told);
    }
}
