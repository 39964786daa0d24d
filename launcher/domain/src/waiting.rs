//! The note of a domain that waits for its app.

use crate::launch::Launch;
use crate::settings::Settings;
use crate::spec::Machine;
use crate::writable_choice::WritableChoice;
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, UNIX_EPOCH};

/// A domain that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What it has.
    pub machine: Machine,
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

impl Waiting {
    /// Whether an app of this machine and image can have it.
    pub(crate) fn fits(&self, machine: &Machine, launch: &Launch, settings: &Settings) -> bool {
        let usual_disk = launch.writable == WritableChoice::Disk
            && launch.storage_mib.is_none_or(|size_mib| size_mib == settings.storage_mib);
        let usual_interface =
            launch.network == net::Choice::Launch && launch.ip.is_none() && launch.mac.is_none();
        let usual_image = |digest: &String| *digest == launch.image.digest.to_string();
        self.machine == *machine
            && self.image.as_ref().is_none_or(usual_image)
            && (usual_disk && usual_interface || !self.furnished)
            && self.is_current()
    }

    /// Whether kernel and `init` are still those that it runs; an upgrade brings new ones.
    pub(crate) fn is_current(&self) -> bool {
        let built = UNIX_EPOCH + Duration::from_millis(self.created_unix_ms);
        [&self.machine.kernel, &self.machine.ramdisk].into_iter().all(|path| {
            fs::metadata(path).and_then(|data| data.modified()).is_ok_and(|time| time <= built)
        })
    }
}
