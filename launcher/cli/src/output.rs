//! Prints the command's own text. No other module writes such text to stdout or stderr.
//!
//! Names, labels and errors may contain text of a guest, an image or a registry. So this module cleans each line for
//! stderr, and JSON. Tables and templates clean each inserted text themselves. An app's own output does not pass
//! through here: it is bytes.

use anyhow::{Context, Result};
use contract::untrusted::{is_obeyed, printable};
use std::fmt::{Display, Write as _};
use std::io::Write as _;

/// The most bytes of one line on stderr.
const MAX_LINE_BYTES: usize = 8 << 10;

/// Prints one line on stderr, prefixed with this program's name.
pub(crate) fn say(line: impl Display) {
    note(format_args!("launch: {line}"));
}

/// Prints one cleaned line on stderr.
pub(crate) fn note(line: impl Display) {
    let text = line.to_string();
    // If stderr is closed, there is no reader to report to.
    let _ = writeln!(std::io::stderr().lock(), "{}", cut(&printable(&text)));
}

fn cut(line: &str) -> String {
    if line.len() <= MAX_LINE_BYTES {
        return line.to_owned();
    }
    let end = (0..=MAX_LINE_BYTES).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &line[..end])
}

/// Prints text that is already clean to stdout. A closed pipe ends the command quietly.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to stdout")
}

/// Prints `value` as indented JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&format!("{}\n", escape_json(&serde_json::to_string_pretty(value)?)))
}

/// Escapes the characters in JSON that control a terminal. Serde has escaped those below 32, except the newlines of
/// indented JSON; all others can only be within a text, where an escape means the same.
pub(crate) fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_obeyed(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_same_without_characters_that_a_terminal_obeys() {
        let text = "a\u{1b}\u{9b}\u{7f}\u{202e}\u{e0041}\"\\\n\u{e9}";
        let value = serde_json::json!({ text: [text] });
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let escaped = escape_json(&json);
            assert!(!escaped.chars().any(|c| c != '\n' && is_obeyed(c)), "{escaped:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let line = cut(&"\u{1f980}".repeat(MAX_LINE_BYTES));
        assert!(line.len() <= MAX_LINE_BYTES + 3 && line.ends_with("\u{1f980}…"));
    }
}
