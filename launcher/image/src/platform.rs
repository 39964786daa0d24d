//! Platforms as images name them, and as this machine is named.

use crate::json::{Fields, JsonError};
use std::fmt;

/// A system and a processor by their Go names; empty where an image does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
    variant: String,
}

/// How well an image fits this machine, the best first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// For this machine; the variant of the processor, the plain one first.
    Here(String),
    /// It does not say what it is for.
    Unsaid,
}

impl Platform {
    /// This machine's, e.g. `linux` and `amd64`.
    pub(crate) fn machine() -> Self {
        Self::named("linux", std::env::consts::ARCH, "")
    }

    /// By whatever names: other tools write `x86_64`, `AMD64` or `v1` for the plain processor, as containerd knows.
    pub(crate) fn named(os: &str, architecture: &str, variant: &str) -> Self {
        let (os, architecture) = (os.trim().to_lowercase(), architecture.trim().to_lowercase());
        let variant = variant.trim().to_lowercase();
        let architecture = match architecture.as_str() {
            "x86_64" | "x86-64" | "x64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            "i386" | "i486" | "i586" | "i686" | "x86" => "386".to_owned(),
            "armhf" | "armel" => "arm".to_owned(),
            _ => architecture,
        };
        let plain = match architecture.as_str() {
            "amd64" => matches!(variant.as_str(), "v1" | "1"),
            "arm64" => matches!(variant.as_str(), "v8" | "8"),
            _ => false,
        };
        let variant = if plain { String::new() } else { variant };
        Self { os, architecture, variant }
    }

    /// The platform that the fields `os`, `architecture` and `variant` name.
    pub(crate) fn of(fields: &Fields<'_>) -> Result<Self, JsonError> {
        let text = |name| fields.text(name);
        Ok(Self::named(text("os")?, text("architecture")?, text("variant")?))
    }

    /// The same, with this machine's where it says nothing, as Docker takes it.
    pub(crate) fn or_machine(self) -> Self {
        let machine = Self::machine();
        let or = |said: String, here| if said.is_empty() { here } else { said };
        Self {
            os: or(self.os, machine.os),
            architecture: or(self.architecture, machine.architecture),
            variant: self.variant,
        }
    }

    /// How it fits this machine; `None`: it is for another.
    pub(crate) fn fit(&self) -> Option<Fit> {
        let machine = Self::machine();
        let is = |said: &str, here: &str| said.is_empty() || said == here;
        if !is(&self.os, &machine.os) || !is(&self.architecture, &machine.architecture) {
            return None;
        }
        match self.architecture.is_empty() {
            true => Some(Fit::Unsaid),
            false => Some(Fit::Here(self.variant.clone())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match self.variant.is_empty() {
            true => Ok(()),
            false => write!(formatter, "/{}", self.variant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_has_many_names() {
        for name in ["amd64", "x86_64", "x86-64", "X86_64", "AMD64", " amd64"] {
            assert_eq!(Platform::named("Linux", name, "v1").to_string(), "linux/amd64", "{name}");
        }
        for (name, variant) in [("arm64", "v8"), ("aarch64", ""), ("ARM64", "8")] {
            assert_eq!(Platform::named("linux", name, variant).to_string(), "linux/arm64");
        }
        assert_eq!(Platform::named("linux", "amd64", "V3").to_string(), "linux/amd64/v3");
        assert_eq!(Platform::named("linux", "i686", "").to_string(), "linux/386");
    }

    #[test]
    fn what_is_not_said_is_this_machines() {
        let machine = Platform::machine();
        assert_eq!(Platform::default().or_machine(), machine);
        assert_eq!(Platform::default().fit(), Some(Fit::Unsaid));
        assert_eq!(Platform::named("linux", "", "").fit(), Some(Fit::Unsaid));
        assert_eq!(
            Platform::named("", &machine.architecture, "").fit(),
            Some(Fit::Here(String::new()))
        );
        assert_eq!(Platform::named("windows", &machine.architecture, "").fit(), None);
        assert_eq!(Platform::named("unknown", "unknown", "").fit(), None);
        assert_eq!(Platform::named("linux", "s390x", "").fit(), None);
    }
}
