//! Describes a domain for any toolstack, as pure data.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The complete description of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainSpec {
    /// The app's id, lower-case hex.
    pub id: String,
    /// The domain's name, as `xl list` shows it.
    pub name: String,
    /// The domain's UUID.
    pub uuid: Uuid,
    /// The domain without its devices.
    pub shape: Shape,
    /// Disks, in the order they are attached.
    pub disks: Vec<Disk>,
    /// The network interface.
    pub vif: Option<Vif>,
    /// The folder of the root disk, where the files for `xl` and [`crate::hotplug`] are written.
    pub folder: PathBuf,
}

/// A domain without its devices. A pooled domain fits every app of the same shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// PV or PVH.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The toolstack that builds the domain.
    pub toolstack: ToolstackKind,
    /// Guest kernel.
    pub kernel: PathBuf,
    /// Initramfs.
    pub ramdisk: PathBuf,
    /// Kernel command line.
    pub cmdline: String,
    /// Memory in MiB, at the start and at most.
    pub memory_mib: u32,
    /// Number of vCPUs.
    pub vcpus: u32,
}

/// The two types of domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Paravirtual: needs no hardware virtualization.
    Pv,
    /// Hardware-virtualized without any emulated device.
    #[default]
    Pvh,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pv => "pv",
            Self::Pvh => "pvh",
        })
    }
}

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        match text {
            "pv" => Ok(Self::Pv),
            "pvh" => Ok(Self::Pvh),
            _ => Err(KindError(text.to_owned())),
        }
    }
}

/// The error for text that is not a type of domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("domain type {0:?} is not known; use pv or pvh")]
pub struct KindError(String);

/// The toolstacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolstackKind {
    /// `launch`'s own hypercalls, on a Xen whose interface `launch` knows.
    Native,
    /// Xen's `xl`, on any Xen.
    Xl,
}

impl fmt::Display for ToolstackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Xl => "xl",
        })
    }
}

impl FromStr for ToolstackKind {
    type Err = ToolstackKindError;

    fn from_str(text: &str) -> Result<Self, ToolstackKindError> {
        match text {
            "native" => Ok(Self::Native),
            "xl" => Ok(Self::Xl),
            _ => Err(ToolstackKindError(text.to_owned())),
        }
    }
}

/// The error for text that is not a toolstack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("toolstack {0:?} is not known; use native or xl")]
pub struct ToolstackKindError(String);

/// A disk: a raw file in dom0 that the guest sees as a block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The guest's name for it, e.g. `xvda`.
    pub vdev: String,
    /// The raw file.
    pub file: PathBuf,
    /// Whether the guest may write to it.
    pub writable: bool,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vif {
    /// The bridge in dom0 that the backend joins.
    pub bridge: String,
    /// The guest's link address.
    pub mac: contract::Mac,
    /// The guest's address, if `launch` assigned it; `launch`'s own bridge then delivers only the guest's packets to
    /// it.
    pub address: Option<IpAddr>,
}

/// A domain's UUID, which Xen calls its handle.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uuid(uuid::Uuid);

/// The first bytes of the UUID of each domain of `launch`; the last six are the app's id. The other bits follow
/// RFC 9562 for UUIDs of an own format (version 8).
const UUID_OF_APP: [u8; 10] = [b'l', b'a', b'u', b'n', b'c', b'h', 0x80, 0, 0x80, 0];

impl Uuid {
    /// The UUID with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }

    /// The UUID's bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The UUID of the domain of the app `id`. It also marks the domain as one of `launch`.
    #[must_use]
    pub fn of_app(id: [u8; 6]) -> Self {
        let mut bytes = [0; 16];
        bytes[..10].copy_from_slice(&UUID_OF_APP);
        bytes[10..].copy_from_slice(&id);
        Self::from_bytes(bytes)
    }

    /// The id of the app to which a domain with this UUID belongs; `None` if the domain is not one of `launch`.
    #[must_use]
    pub fn app(self) -> Option<String> {
        self.0.as_bytes().strip_prefix(&UUID_OF_APP).map(hex::encode)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_is_known_by_its_domains_uuid() {
        let uuid = Uuid::of_app([1, 2, 3, 0xab, 5, 6]);
        assert_eq!(uuid.to_string(), "6c61756e-6368-8000-8000-010203ab0506");
        assert_eq!(uuid.app().as_deref(), Some("010203ab0506"));
        assert_eq!(Uuid::from_bytes([7; 16]).app(), None);
    }

    #[test]
    fn a_uuid_is_read_from_a_state_file_as_it_was_written_there() {
        let bytes = [0xd9, 1, 2, 3, 0x47, 5, 0x41, 7, 0x8b, 9, 10, 11, 12, 13, 14, 0xff];
        let json = serde_json::to_string(&Uuid::from_bytes(bytes)).unwrap();
        assert_eq!(json, r#""d9010203-4705-4107-8b09-0a0b0c0d0eff""#);
        assert_eq!(serde_json::from_str::<Uuid>(&json).unwrap().bytes(), bytes);
        for text in [r#""d9010203""#, r#""+9010203-4705-4107-8b09-0a0b0c0d0éf""#] {
            let error = serde_json::from_str::<Uuid>(text).unwrap_err();
            assert!(error.to_string().contains("UUID"), "{text}: {error}");
        }
    }
}
