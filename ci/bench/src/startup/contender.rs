//! Who is compared.

use std::fmt;
use std::str::FromStr;

/// One way to start an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Contender {
    /// `launch`, a domain made on the spot by a toolstack, of a type.
    Launch {
        /// `native` or `xl`.
        toolstack: &'static str,
        /// `pvh` or `pv`.
        kind: &'static str,
    },
    /// `launch` with domains that wait.
    LaunchPool,
    /// `launch` with domains that wait for this image.
    LaunchPoolImage,
    /// `xl create` with stock scripts and Debian's kernel.
    XlStock,
    /// An OCI runtime: `crun` or `runc`.
    Runtime(&'static str),
    /// A container engine: `podman` or `docker`.
    Engine(&'static str),
}

impl Contender {
    /// All, in the order they are shown in.
    pub(crate) const ALL: [Self; 11] = [
        Self::Launch { toolstack: "native", kind: "pvh" },
        Self::Launch { toolstack: "native", kind: "pv" },
        Self::Launch { toolstack: "xl", kind: "pvh" },
        Self::Launch { toolstack: "xl", kind: "pv" },
        Self::LaunchPool,
        Self::LaunchPoolImage,
        Self::XlStock,
        Self::Runtime("crun"),
        Self::Runtime("runc"),
        Self::Engine("podman"),
        Self::Engine("docker"),
    ];

    /// Whether it is `launch`, which tells its phases.
    pub(crate) fn is_launch(self) -> bool {
        matches!(self, Self::Launch { .. } | Self::LaunchPool | Self::LaunchPoolImage)
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launch { toolstack, kind } => write!(out, "launch-{toolstack}-{kind}"),
            Self::LaunchPool => out.write_str("launch-pool"),
            Self::LaunchPoolImage => out.write_str("launch-pool-image"),
            Self::XlStock => out.write_str("xl-stock"),
            Self::Runtime(name) | Self::Engine(name) => out.write_str(name),
        }
    }
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|contender| contender.to_string() == text).ok_or_else(|| {
            let names: Vec<String> = Self::ALL.iter().map(ToString::to_string).collect();
            format!("{text:?} is no contender; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_others_read_in_the_json() {
        let names: Vec<String> = Contender::ALL.iter().map(ToString::to_string).collect();
        let promised = "launch-native-pvh launch-native-pv launch-xl-pvh launch-xl-pv launch-pool \
                        launch-pool-image xl-stock crun runc podman docker";
        assert_eq!(names.join(" "), promised);
        for contender in Contender::ALL {
            assert_eq!(contender.to_string().parse(), Ok(contender));
        }
        assert!("lxc".parse::<Contender>().unwrap_err().contains("xl-stock, crun"));
    }
}
