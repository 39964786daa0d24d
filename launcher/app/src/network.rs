//! An app's network: its address and ports. Damaged files of the network are rebuilt from what apps have noted.

use crate::apps::Apps;
use crate::error::AppsError;
use crate::record::app::{Network, Record};
use crate::record::pooled_domain::PooledDomain;
use crate::record::state::State;
use crate::request::domain::Link;
use crate::store::folder::{self, Folder};
use crate::store::ids::ids_in;
use net::{Holding, NetworkError};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// Does something with the network. Where its files are damaged, as a power cut leaves them, they
/// are rebuilt first.
///
/// # Errors
/// The network refuses, or its files cannot be rebuilt.
pub(crate) fn with_network<T>(
    apps: &Apps,
    act: impl Fn(&net::Network) -> Result<T, NetworkError>,
) -> Result<T, AppsError> {
    Ok(with_mended_network(apps, act)?.0)
}

/// As [`with_network`]; also returns the files that were rebuilt.
///
/// # Errors
/// As [`with_network`].
pub(crate) fn with_mended_network<T>(
    apps: &Apps,
    act: impl Fn(&net::Network) -> Result<T, NetworkError>,
) -> Result<(T, Vec<PathBuf>), AppsError> {
    match act(&apps.network) {
        Err(error) if error.is_damaged() => {
            let mended = restore_network(apps)?;
            Ok((act(&apps.network)?, mended))
        }
        done => Ok((done?, vec![])),
    }
}

/// Rebuilds damaged files of the network from what apps and pooled domains have noted; returns
/// their paths.
///
/// # Errors
/// The notes cannot be read, or the files not be written.
fn restore_network(apps: &Apps) -> Result<Vec<PathBuf>, AppsError> {
    let mut holdings = BTreeMap::new();
    // In this order: a domain that waits is taken by renaming its folder to the app's.
    for folder in apps.pooled_folders()? {
        match noted_address(&folder) {
            Some(address) => {
                holdings.insert(folder.id().to_owned(), Holding::at(address));
            }
            // Without its note the domain is never taken out of the pool, and repairs remove it.
            None => folder.unmark(folder::POOLED)?,
        }
    }
    for id in ids_in(&apps.folders())? {
        if let Some(holding) = holding(apps, &id) {
            holdings.insert(id, holding);
        }
    }
    Ok(apps.network.restore(&holdings)?)
}

/// Gives the app its network, as far as dom0 is concerned.
pub(crate) fn connect(apps: &Apps, record: &Record) -> Result<Option<Link>, AppsError> {
    Ok(match &record.network {
        Network::Launch { ip } => {
            let link = link(apps, &record.id, *ip, record.mac)?;
            let address = link.lease.address;
            with_network(apps, |network| network.publish(&record.id, address, &record.publish))
                .map_err(|error| name_owner(apps, error))?;
            Some(link)
        }
        Network::Bridge { bridge, ip, gateway } => {
            if bridge.as_str() == apps.network.bridge() {
                return Err(net::NetworkRequestError::Own(bridge.clone()).into());
            }
            net::check_bridge(bridge)?;
            let mut lease = net::static_lease(bridge, &record.id, ip.as_deref(), *gateway)?;
            lease.mac = record.mac.unwrap_or(lease.mac);
            Some(Link { bridge: bridge.as_str().to_owned(), gateway_mac: None, lease })
        }
        Network::None => None,
    })
}

/// An address on our own bridge, which is there then.
pub(crate) fn link(
    apps: &Apps,
    id: &str,
    ip: Option<IpAddr>,
    mac: Option<contract::Mac>,
) -> Result<Link, AppsError> {
    with_network(apps, net::Network::ensure_up)?;
    let lease = with_network(apps, |network| network.lease(id, ip, mac))?;
    Ok(Link {
        bridge: apps.network.bridge().to_owned(),
        gateway_mac: Some(apps.network.gateway_mac()),
        lease,
    })
}

/// `net` knows apps by their ids; people know them by name.
fn name_owner(apps: &Apps, mut error: AppsError) -> AppsError {
    if let AppsError::Network(net::NetworkError::PortOfApp { owner, .. }) = &mut error {
        if let Ok(record) = apps.folder(owner).read_record() {
            *owner = format!("app {}", record.name);
        }
    }
    error
}

/// What an app has of our own network.
fn holding(apps: &Apps, id: &str) -> Option<Holding> {
    let folder = apps.folder(id);
    let Ok(Some(app)) = apps.read(id) else {
        // One that is being made of a domain that waited.
        return noted_address(&folder).map(Holding::at);
    };
    if !matches!(app.record.network, Network::Launch { .. }) {
        return None;
    }
    let noted = match app.state {
        State::Starting { address: None, .. } => noted_address(&folder).map(IpAddr::V4),
        _ => app.state.address(),
    };
    match noted {
        Some(IpAddr::V4(address)) => {
            Some(Holding { address, mac: app.record.mac, ports: app.record.publish })
        }
        _ => None,
    }
}

/// The address of a domain that waits, or waited for this app.
fn noted_address(folder: &Folder) -> Option<Ipv4Addr> {
    files::read_json::<PooledDomain>(&folder.file(folder::POOLED)).ok()?.address
}
