//! An error and its causes as one line of text.

use crate::untrusted::printable;
use std::error::Error;

/// The error and its causes, joined by colons, on one line without control characters.
///
/// A cause whose text the line already contains is left out: some errors print their source themselves.
#[must_use]
pub fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = cause.source();
    }
    printable(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Failure(&'static str, Option<Box<Failure>>);

    impl std::fmt::Display for Failure {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failure {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    fn chain(texts: &[&'static str]) -> Failure {
        let cause = if texts.len() > 1 { Some(Box::new(chain(&texts[1..]))) } else { None };
        Failure(texts[0], cause)
    }

    #[test]
    fn an_error_is_told_with_its_causes_in_one_line() {
        let told = one_line(&chain(&["cannot open disk /x", "no such\ndevice\x1b[2J"]));
        assert_eq!(told, "cannot open disk /x: no such device\u{fffd}[2J");
    }

    #[test]
    fn a_cause_that_was_told_already_is_left_out() {
        let told = one_line(&chain(&["cannot open x: no", "cannot open x", "no", "denied"]));
        assert_eq!(told, "cannot open x: no: denied");
    }
}
