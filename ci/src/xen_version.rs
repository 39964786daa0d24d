//! The versions of Xen that a lab can have, each with its Debian release.

use std::fmt;
use std::str::FromStr;

/// A Xen version and its Debian release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XenVersion {
    /// Xen 4.20 on Debian 13.
    #[default]
    V4_20,
    /// Xen 4.17 on Debian 12.
    V4_17,
}

impl XenVersion {
    /// Debian's name of the release with this Xen.
    #[must_use]
    pub fn suite(self) -> &'static str {
        match self {
            Self::V4_20 => "trixie",
            Self::V4_17 => "bookworm",
        }
    }
}

impl fmt::Display for XenVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::V4_20 => "4.20",
            Self::V4_17 => "4.17",
        })
    }
}

impl FromStr for XenVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::V4_20, Self::V4_17]
            .into_iter()
            .find(|version| version.to_string() == text)
            .ok_or_else(|| format!("no lab has Xen {text}; there are 4.20 and 4.17"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_reads_back_from_its_name() {
        for version in [XenVersion::V4_20, XenVersion::V4_17] {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
        assert!("4.2".parse::<XenVersion>().unwrap_err().contains("no lab has Xen 4.2;"));
    }
}
