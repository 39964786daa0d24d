//! The note about a pooled domain: a domain that has booted up to `init` and waits for its app.

use serde::{Deserialize, Serialize};
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, UNIX_EPOCH};
use toolstack::{Booted, Devices, DomId, Shape};

/// `waiting.json`: the note about a domain that waits for its app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PooledDomain {
    /// The domain's shape.
    #[serde(rename = "machine")]
    pub shape: Shape,
    /// The manifest digest of the image whose disk the domain already has.
    pub image: Option<String>,
    /// Whether the domain has the disk of a writable layer of the usual size, an interface with a lease on
    /// `launch`'s own bridge, and, if it has no image's disk, the promise of one.
    pub furnished: bool,
    /// The leased address.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// When the domain was built; milliseconds since 1970.
    pub created_unix_ms: u64,
    /// The domain's number.
    pub domid: u16,
}

impl PooledDomain {
    /// The domain in the form that toolstacks use.
    #[must_use]
    pub(crate) fn booted(&self) -> Booted {
        let devices = match (self.furnished, &self.image) {
            (false, _) => Devices::Nothing,
            (true, None) => Devices::DiskPromised,
            (true, Some(_)) => Devices::Everything,
        };
        Booted::Domain { domid: DomId(self.domid), devices }
    }

    /// Whether the domain runs the installed kernel and `init`; an upgrade installs new ones.
    pub(crate) fn is_current(&self) -> bool {
        let built = UNIX_EPOCH + Duration::from_millis(self.created_unix_ms);
        [&self.shape.kernel, &self.shape.ramdisk].into_iter().all(|path| {
            fs::metadata(path).and_then(|data| data.modified()).is_ok_and(|time| time <= built)
        })
    }
}
