//! Commands that take several names: each name is tried, and each failure is reported on its own line.

use crate::failure;
use crate::output::print;
use anyhow::Result;
use std::process::ExitCode;

/// Runs `action` for each of `names` and prints those for which it succeeded, as Docker does.
pub(crate) fn each(
    names: &[String],
    mut action: impl FnMut(&str) -> Result<()>,
) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for name in names {
        match action(name) {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(error) => code = failure::report(&error),
        }
    }
    Ok(code)
}
