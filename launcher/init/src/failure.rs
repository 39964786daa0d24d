//! Why the app never ran: one line for the console, and Docker's exit code.

use std::error::Error;
use std::io;

/// Set-up failed: Docker's own errors.
const SET_UP: u8 = 125;
/// The program is there but cannot be run.
const NOT_EXECUTABLE: u8 = 126;
/// The program is not there.
const NOT_FOUND: u8 = 127;

/// An error that ends the domain before its app ran.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Docker's exit code: 125, 126 or 127.
    pub code: u8,
    /// One line: object, value, cause.
    pub message: String,
}

impl Failure {
    /// Something around the app could not be set up (125).
    #[must_use]
    pub fn set_up(message: impl Into<String>) -> Self {
        Self { code: SET_UP, message: message.into() }
    }

    /// The program exists and cannot be run (126).
    #[must_use]
    pub fn not_executable(message: impl Into<String>) -> Self {
        Self { code: NOT_EXECUTABLE, message: message.into() }
    }

    /// There is no such program (127).
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { code: NOT_FOUND, message: message.into() }
    }

    /// Set-up failed with `error`, whose causes are named too.
    #[must_use]
    pub fn from_error(error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            message.push_str(": ");
            message.push_str(&inner.to_string());
            cause = inner.source();
        }
        Self::set_up(message)
    }
}

/// Turns an error of the system into a set-up failure: `cannot <what>: <cause>`.
pub trait OrFail<T> {
    /// Names what could not be done; `what` follows "cannot".
    ///
    /// # Errors
    /// The error itself, as a [`Failure`] with code 125.
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> OrFail<T> for Result<T, E> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::set_up(format!("cannot {}: {}", what(), cause(error))))
    }
}

/// The system's message for `error`, as the end of a line: lower case, without its number.
#[must_use]
pub fn cause(error: impl Into<io::Error>) -> String {
    let mut text = error.into().to_string();
    if let Some(end) = text.find(" (os error") {
        text.truncate(end);
    }
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_system_error_reads_as_the_end_of_a_sentence() {
        let failure = Err::<(), _>(Errno::NOENT).or_fail(|| "mount /dev/xvda".into()).unwrap_err();
        assert_eq!(failure.to_string(), "cannot mount /dev/xvda: no such file or directory");
        assert_eq!(failure.code, 125);
    }
}
