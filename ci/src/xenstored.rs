//! The two xenstored of Xen; one of them serves a lab's dom0.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One of Xen's two xenstored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Xenstored {
    /// The one in OCaml, Debian's default
    #[default]
    Ocaml,
    /// The one in C
    C,
}

impl Xenstored {
    /// The program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Ocaml => "oxenstored",
            Self::C => "xenstored",
        }
    }
}

impl FromStr for Xenstored {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ValueEnum::from_str(text, false)
    }
}

impl fmt::Display for Xenstored {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ocaml => "ocaml",
            Self::C => "c",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reads_back_from_its_name() {
        for xenstored in [Xenstored::Ocaml, Xenstored::C] {
            assert_eq!(xenstored.to_string().parse(), Ok(xenstored));
        }
    }
}
