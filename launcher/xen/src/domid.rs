//! Domain numbers.

use std::fmt;
use std::str::FromStr;

/// A domain's number, assigned by Xen; 0 is dom0.
///
/// Numbers of real domains are below [`DomId::FIRST_RESERVED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomId(pub u16);

impl DomId {
    /// The control domain.
    pub const DOM0: Self = Self(0);
    /// The first of Xen's reserved numbers (`DOMID_FIRST_RESERVED`).
    pub const FIRST_RESERVED: u16 = 0x7FF0;
}

impl fmt::Display for DomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not a domain number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a domain number (0 to 32751)")]
pub struct ParseDomIdError(String);

impl FromStr for DomId {
    type Err = ParseDomIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<u16>() {
            Ok(number) if number < Self::FIRST_RESERVED && !text.starts_with('+') => {
                Ok(Self(number))
            }
            _ => Err(ParseDomIdError(text.chars().take(64).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_xen_reserves_are_not_domains() {
        assert_eq!("0".parse(), Ok(DomId::DOM0));
        assert_eq!("32751".parse(), Ok(DomId(0x7FEF)));
        for text in ["32752", "65536", "-1", "+1", "", " 1", "1x"] {
            assert_eq!(text.parse::<DomId>(), Err(ParseDomIdError(text.into())));
        }
    }
}
