//! What a user sees of an error: one line, and an exit code.

use std::process::ExitCode;

/// Exit code of everything that failed; clap's usage errors leave with 2.
const FAILED: u8 = 1;

/// Prints `error` with its causes on one line of stderr.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("launch: {}", one_line(error));
    ExitCode::from(FAILED)
}

/// The error and its causes, joined by colons; a cause that the message before it already
/// contains is not said twice.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string().replace('\n', "; ");
        if line.contains(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    line
}

/// `launch ps | head -1` is no failure.
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
    fn causes_follow_on_the_same_line_once() {
        let error = anyhow::anyhow!("no such\ndevice")
            .context("cannot open x")
            .context("cannot open x: no");
        assert_eq!(one_line(&error), "cannot open x: no: no such; device");
    }
}
