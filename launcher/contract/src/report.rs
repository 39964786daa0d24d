//! The report: what `init` tells dom0 about the app.

use crate::Untrusted;
use serde::{Deserialize, Serialize};

/// `init` writes it to [`crate::store::REPORT`] at each change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`crate::VERSION`] of `init`.
    pub version: u32,
    /// `None` while the app runs.
    pub exit: Option<Exit>,
    /// Whether the kernel has ended a process for want of memory. Known at the app's end.
    #[serde(default, skip_serializing_if = "is_false")]
    pub out_of_memory: bool,
    /// When each step was done, in the order they were done.
    pub marks: Vec<Mark>,
    /// The guest's real-time clock, in microseconds since 1970, at the zero of the marks' clock.
    /// A guest takes it over from Xen, as dom0 does, so it tells when the marks were for dom0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_unix_us: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// How the app ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It returned this code.
    Code(u8),
    /// This signal ended it.
    Signal(u8),
    /// It never ran; the code is Docker's: 125 set-up, 126 not executable, 127 not found.
    NotStarted {
        /// Docker's exit code.
        code: u8,
        /// One line: object, value, cause.
        message: Untrusted,
    },
}

/// One step of the guest's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What was done, e.g. `init`, `root`, `exec`.
    pub step: Untrusted,
    /// The guest's monotonic clock, in microseconds since its kernel started to keep time.
    pub at_us: u64,
}

/// What makes a report unusable.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Larger than a guest may write.
    #[error("the guest's report has {0} bytes, more than {max}", max = MAX_BYTES)]
    TooLarge(usize),
    /// Not JSON of the right shape.
    #[error("the guest's report is not valid")]
    Json(#[from] serde_json::Error),
    /// From an init of another version.
    #[error("the guest's report has contract version {0}, this launcher has {ours}", ours = crate::VERSION)]
    Version(u32),
}

/// The largest report; xenstored lets a guest write 2,048 bytes a node.
pub const MAX_BYTES: usize = 2048;
const MAX_MARKS: usize = 32;
const MAX_TEXT: usize = 512;

impl Exit {
    /// The exit code as Docker reports it: the app's own, 128 + signal, or 125 to 127.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Code(code) | Self::NotStarted { code, .. } => *code,
            Self::Signal(signal) => 128u8.saturating_add(*signal),
        }
    }

    /// The same with a message that fits a report.
    fn cut(mut self) -> Self {
        if let Self::NotStarted { message, .. } = &mut self {
            *message = cut(message);
        }
        self
    }
}

impl Report {
    /// Renders to JSON of at most [`MAX_BYTES`]; a long message is cut.
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    #[must_use]
    #[expect(clippy::expect_used, reason = "strings and numbers always serialize")]
    pub fn render(&self) -> String {
        let mut cut = self.clone();
        cut.marks.truncate(MAX_MARKS);
        cut.exit = cut.exit.map(Exit::cut);
        serde_json::to_string(&cut).expect("a report serializes")
    }

    /// Parses a report that an untrusted guest wrote.
    ///
    /// Texts come back with at most 512 bytes.
    ///
    /// # Errors
    /// Too large, not a report, or of another version.
    pub fn parse(json: &str) -> Result<Self, ReportError> {
        if json.len() > MAX_BYTES {
            return Err(ReportError::TooLarge(json.len()));
        }
        let mut report: Self = serde_json::from_str(json)?;
        if report.version != crate::VERSION {
            return Err(ReportError::Version(report.version));
        }
        report.marks.truncate(MAX_MARKS);
        for mark in &mut report.marks {
            mark.step = cut(&mark.step);
        }
        report.exit = report.exit.map(Exit::cut);
        Ok(report)
    }
}

/// A text of at most [`MAX_TEXT`] bytes, on one line: JSON would make six bytes of a control
/// character, and the report would not fit its node.
fn cut(text: &Untrusted) -> Untrusted {
    let mut out = String::new();
    for c in text.printable().chars() {
        if out.len() + c.len_utf8() > MAX_TEXT {
            break;
        }
        out.push(c);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_control_characters_do_not_reach_the_terminal() {
        let json = r#"{"version":5,"exit":{"not-started":{"code":127,"message":"a\u001b[2Jb\nc"}},"marks":[]}"#;
        let report = Report::parse(json).unwrap();
        let Some(Exit::NotStarted { message, .. }) = report.exit else { panic!("wrong exit") };
        assert_eq!(message.to_string(), "a\u{fffd}[2Jb c");
    }

    #[test]
    fn a_report_with_the_longest_message_fits_one_guest_node() {
        let mark = |step: &str| Mark { step: step.into(), at_us: 9_999_999_999 };
        let report = Report {
            version: crate::VERSION,
            exit: Some(Exit::NotStarted { code: 127, message: "\u{1f980}".repeat(4096).into() }),
            out_of_memory: true,
            marks: vec![mark("network-is-up"); 24],
            zero_unix_us: Some(u64::MAX),
        };
        assert!(report.render().len() <= MAX_BYTES);
        Report::parse(&report.render()).unwrap();
    }

    #[test]
    fn an_oversized_report_is_refused() {
        let json = format!(r#"{{"version":5,"exit":null,"marks":[]}}{}"#, " ".repeat(MAX_BYTES));
        assert!(matches!(Report::parse(&json), Err(ReportError::TooLarge(_))));
    }
}
