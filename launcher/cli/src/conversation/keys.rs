//! The detach keys, which leave the app running and end the command.

use anyhow::{Result, bail};
use std::str::FromStr;

/// The bytes of the detach keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys(pub(super) Vec<u8>);

impl FromStr for DetachKeys {
    type Err = anyhow::Error;

    /// Parses keys in Docker's form, separated by commas: a character, or `ctrl-` and one of `a` to `z`, `@`, `[`,
    /// `\\`,
    /// `]`, `^`, `_`. An empty text means no keys.
    fn from_str(text: &str) -> Result<Self> {
        let key = |key: &str| -> Result<u8> {
            match (key.strip_prefix("ctrl-").map(str::as_bytes), key.as_bytes()) {
                (Some([letter @ b'a'..=b'z']), _) => Ok(letter - b'a' + 1),
                (Some([sign @ (b'@' | b'['..=b'_')]), _) => Ok(sign - b'@'),
                (None, [character]) if character.is_ascii() => Ok(*character),
                _ => {
                    bail!("{key:?} is not a valid key; write single characters or ctrl-a to ctrl-z")
                }
            }
        };
        let keys = text.split(',').filter(|_| !text.is_empty()).map(key);
        Ok(Self(keys.collect::<Result<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_named_as_docker_names_them() {
        let keys = |text: &str| text.parse::<DetachKeys>().map(|keys| keys.0).ok();
        assert_eq!(keys("ctrl-p,ctrl-q"), Some(vec![16, 17]));
        assert_eq!(keys("a,ctrl-@,ctrl-_"), Some(vec![b'a', 0, 31]));
        assert_eq!(keys(""), Some(vec![]));
        for text in ["ctrl-", "ctrl-1", "ab", "ctrl-p,,x", "\u{e9}"] {
            assert_eq!(keys(text), None, "{text:?}");
        }
    }
}
