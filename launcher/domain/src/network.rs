//! What apps have of our own network, and its files made anew where they were damaged.

use crate::apps::Apps;
use crate::error::AppsError;
use crate::folder::{self, Folder};
use crate::ids::ids_in;
use crate::record::{Network, Phase};
use net::{Holding, NetworkError};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

impl Apps {
    /// Does something with the network. Where its files are damaged, as a power cut leaves them, they
    /// are made anew first.
    ///
    /// # Errors
    /// The network refuses, or its files cannot be made anew.
    pub(crate) fn with_network<T>(
        &self,
        act: impl Fn(&net::Network) -> Result<T, NetworkError>,
    ) -> Result<T, AppsError> {
        Ok(self.with_mended_network(act)?.0)
    }

    /// The same; says also which files were made anew.
    ///
    /// # Errors
    /// As [`Apps::with_network`].
    pub(crate) fn with_mended_network<T>(
        &self,
        act: impl Fn(&net::Network) -> Result<T, NetworkError>,
    ) -> Result<(T, Vec<PathBuf>), AppsError> {
        match act(&self.network) {
            Err(error) if error.is_damaged() => {
                let mended = self.restore_network()?;
                Ok((act(&self.network)?, mended))
            }
            done => Ok((done?, vec![])),
        }
    }

    /// Makes damaged files of the network anew, from what apps and domains that wait have noted; says
    /// which.
    ///
    /// # Errors
    /// The notes cannot be read, or the files not be written.
    fn restore_network(&self) -> Result<Vec<PathBuf>, AppsError> {
        let mut holdings = BTreeMap::new();
        // In this order: a domain that waits is taken by renaming its folder to the app's.
        for folder in self.waiting_folders()? {
            match noted_address(&folder) {
                Some(address) => {
                    holdings.insert(folder.id().to_owned(), Holding::at(address));
                }
                // Without a note nobody takes the domain, and repairs remove it.
                None => folder.unmark(folder::WAITING)?,
            }
        }
        for id in ids_in(&self.folders())? {
            if let Some(holding) = self.holding(&id) {
                holdings.insert(id, holding);
            }
        }
        Ok(self.network.restore(&holdings)?)
    }

    /// What an app has of our own network.
    fn holding(&self, id: &str) -> Option<Holding> {
        let folder = self.folder(id);
        let Ok(Some(app)) = self.read(id) else {
            // One that is being made of a domain that waited.
            return noted_address(&folder).map(Holding::at);
        };
        if !matches!(app.record.network, Network::Launch { .. }) {
            return None;
        }
        let noted = match (app.state.phase, app.state.address) {
            (Phase::Starting | Phase::Running | Phase::Created, Some(address)) => Some(address),
            (Phase::Starting, None) => noted_address(&folder).map(IpAddr::V4),
            _ => None,
        };
        match noted {
            Some(IpAddr::V4(address)) => {
                Some(Holding { address, mac: app.record.mac, ports: app.record.publish })
            }
            _ => None,
        }
    }
}

/// The address of a domain that waits, or waited for this app.
fn noted_address(folder: &Folder) -> Option<Ipv4Addr> {
    files::read_json::<super::Waiting>(&folder.file(folder::WAITING)).ok()?.address
}
