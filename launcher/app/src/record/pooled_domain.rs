//! The note of a pooled domain: one that is booted up to `init`, and waits for its app.

use serde::{Deserialize, Serialize};
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, UNIX_EPOCH};
use toolstack::{Booted, Devices, DomId, Shape};

/// `waiting.json`: a domain that waits for its app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PooledDomain {
    /// What it has.
    #[serde(rename = "machine")]
    pub shape: Shape,
    /// The manifest digest of the image whose disk it has already.
    pub image: Option<String>,
    /// Whether it has the disk of a writable layer of the usual size, an interface on our own
    /// bridge with a lease for it, and the promise of an image's disk where it has none.
    pub furnished: bool,
    /// The address that its lease is for.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// When it was built; milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Its number.
    pub domid: u16,
}

impl PooledDomain {
    /// The domain, as toolstacks know it.
    #[must_use]
    pub(crate) fn booted(&self) -> Booted {
        let devices = match (self.furnished, &self.image) {
            (false, _) => Devices::Nothing,
            (true, None) => Devices::DiskPromised,
            (true, Some(_)) => Devices::Everything,
        };
        Booted::Domain { domid: DomId(self.domid), devices }
    }

    /// Whether kernel and `init` are still those that it runs; an upgrade brings new ones.
    pub(crate) fn is_current(&self) -> bool {
        let built = UNIX_EPOCH + Duration::from_millis(self.created_unix_ms);
        [&self.shape.kernel, &self.shape.ramdisk].into_iter().all(|path| {
            fs::metadata(path).and_then(|data| data.modified()).is_ok_and(|time| time <= built)
        })
    }
}
