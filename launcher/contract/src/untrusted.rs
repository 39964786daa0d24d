//! Text that a guest, an image or a registry chose.
//!
//! The author may be hostile, and a terminal obeys what is printed on it: an escape sequence
//! sets its title or clears its lines, a newline forges a line of ours, a bidirectional override
//! shows a name backwards. So such text is an [`Untrusted`], which has no way to be printed but
//! cleaned.

use serde::{Deserialize, Serialize};
use std::borrow::{Borrow, Cow};
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::path::Path;

/// The most bytes of one text that are printed in a message.
pub const MAX_PRINTED_BYTES: usize = 1024;

/// Text from an author who may be hostile.
///
/// [`Display`](fmt::Display) and [`Debug`](fmt::Debug) print it on one line, without characters
/// that a terminal obeys, and cut after [`MAX_PRINTED_BYTES`]. Serde writes and reads the text as
/// it is: JSON escapes control characters, and state files must keep what was said.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Untrusted(String);

impl Untrusted {
    /// Takes `text` as it is.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as it is: to compare, to parse, to hand on to a guest. Never to print.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// The whole text cleaned, whatever its length: for a user who asked for exactly this text.
    #[must_use]
    pub fn printable(&self) -> Cow<'_, str> {
        printable(&self.0)
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `text` with each character replaced that a terminal obeys: tabs and ends of lines by a space,
/// others by U+FFFD.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    match text.chars().all(|c| shown(c) == c) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(text.chars().map(shown).collect()),
    }
}

/// What is printed for a character.
fn shown(c: char) -> char {
    match c {
        // Ends of lines: also Unicode's next line, line separator and paragraph separator.
        '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        _ if is_obeyed(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// Whether a character is invisible and changes how a terminal shows others.
#[must_use]
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{2028}' | '\u{2029}'
            // Direction of writing: marks, embeddings, overrides, isolates.
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Without width, so that two names look the same.
            | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

impl fmt::Display for Untrusted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = MAX_PRINTED_BYTES;
        for c in self.0.chars().map(shown) {
            if c.len_utf8() > left {
                return formatter.write_char('…');
            }
            left -= c.len_utf8();
            formatter.write_char(c)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Untrusted {
    /// The cleaned text in quotes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.to_string())
    }
}

impl From<String> for Untrusted {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Untrusted {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Bytes that are no UTF-8 become U+FFFD.
impl From<&[u8]> for Untrusted {
    fn from(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// As from bytes: the name of a file in a guest or an image.
impl From<&Path> for Untrusted {
    fn from(path: &Path) -> Self {
        Self(path.to_string_lossy().into_owned())
    }
}

/// As from bytes.
impl From<&OsStr> for Untrusted {
    fn from(name: &OsStr) -> Self {
        Self(name.to_string_lossy().into_owned())
    }
}

impl PartialEq<str> for Untrusted {
    fn eq(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl PartialEq<&str> for Untrusted {
    fn eq(&self, text: &&str) -> bool {
        self.0 == *text
    }
}

/// For maps whose keys are untrusted.
impl Borrow<str> for Untrusted {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOSTILE: &str = "\u{1b}]0;title\u{7}a\nb\r\tc\u{202e}d\u{9b}2Je\u{7f}\u{2028}\u{200b}f";

    #[test]
    fn what_a_terminal_obeys_is_not_printed_in_any_way() {
        let text = Untrusted::new(HOSTILE);
        let printed = "\u{fffd}]0;title\u{fffd}a b  c\u{fffd}d\u{fffd}2Je\u{fffd} \u{fffd}f";
        assert_eq!(text.to_string(), printed);
        assert_eq!(format!("{text:>9.3}"), printed, "width and precision change nothing");
        assert_eq!(text.printable(), printed);
        assert_eq!(format!("{text:?}"), format!("\"{printed}\""));
        assert_eq!(format!("{:#?}", [&text]), format!("[\n    \"{printed}\",\n]"));
    }

    #[test]
    fn a_long_text_is_cut_in_a_message_and_whole_where_it_was_asked_for() {
        let text = Untrusted::new("\u{e9}".repeat(MAX_PRINTED_BYTES));
        assert_eq!(text.to_string(), "\u{e9}".repeat(MAX_PRINTED_BYTES / 2) + "…");
        assert_eq!(text.printable(), text.raw());
        let just = Untrusted::new("x".repeat(MAX_PRINTED_BYTES));
        assert_eq!(just.to_string(), just.raw());
    }

    #[test]
    fn json_keeps_the_text_as_it_was_and_has_no_raw_control_character() {
        let json = serde_json::to_string(&Untrusted::new("a\u{1b}\n")).unwrap();
        assert_eq!(json, r#""a\u001b\n""#);
        assert_eq!(serde_json::from_str::<Untrusted>(&json).unwrap(), "a\u{1b}\n");
    }

    #[test]
    fn names_that_are_no_utf8_are_taken() {
        assert_eq!(Untrusted::from(&b"a\xff\x1b"[..]).to_string(), "a\u{fffd}\u{fffd}");
        assert_eq!(Untrusted::from(Path::new("/d/\n")).to_string(), "/d/ ");
    }

    proptest! {
        #[test]
        fn any_text_is_printed_on_one_line_of_bounded_length(text in any::<String>()) {
            for printed in [Untrusted::new(&text).to_string(), format!("{:?}", Untrusted::new(text))] {
                prop_assert!(!printed.chars().any(is_obeyed), "{printed:?}");
                prop_assert!(printed.len() <= 2 * MAX_PRINTED_BYTES);
            }
        }
    }
}
