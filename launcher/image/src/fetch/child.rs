//! The child's side: `launch __fetch`.

use std::process::ExitCode;

/// The body of `launch __fetch`.
#[must_use]
pub fn fetch_child() -> ExitCode {
    ExitCode::FAILURE
}
