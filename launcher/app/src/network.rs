//! An app's network: its address and ports. Damaged files of the network are rebuilt from the apps' records.

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

/// Runs an operation of the network. If a power cut has damaged the network's files, rebuilds them first.
///
/// # Errors
/// The network refuses, or its files cannot be rebuilt.
pub(crate) fn with_network<T>(
    apps: &Apps,
    act: impl Fn(&net::Network) -> Result<T, NetworkError>,
) -> Result<T, AppsError> {
    Ok(with_mended_network(apps, act)?.0)
}

/// As [`with_network`]; also returns the paths of the rebuilt files.
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

/// Rebuilds damaged files of the network from the records of apps and pooled domains; returns the paths of the
/// rebuilt files.
///
/// # Errors
/// The records cannot be read, or the files cannot be written.
fn restore_network(apps: &Apps) -> Result<Vec<PathBuf>, AppsError> {
    let mut holdings = BTreeMap::new();
    // Pooled domains first: a launch takes one by renaming its folder into the apps' folder.
    for folder in apps.pooled_folders()? {
        match noted_address(&folder) {
            Some(address) => {
                holdings.insert(folder.id().to_owned(), Holding::at(address));
            }
            // A domain without this note is never taken out of the pool, and the repair removes it.
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

/// Connects the app to its network in dom0: bridge, address and published ports.
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

/// Leases an address on `launch`'s own bridge, and creates the bridge if it is missing.
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

/// Replaces the app's id in an error of `net` by the app's name, which users know.
fn name_owner(apps: &Apps, mut error: AppsError) -> AppsError {
    if let AppsError::Network(net::NetworkError::PortOfApp { owner, .. }) = &mut error {
        if let Ok(record) = apps.folder(owner).read_record() {
            *owner = format!("app {}", record.name);
        }
    }
    error
}

/// The address and ports that an app holds in `launch`'s own network.
fn holding(apps: &Apps, id: &str) -> Option<Holding> {
    let folder = apps.folder(id);
    let Ok(Some(app)) = apps.read(id) else {
        // The app is being made from a pooled domain.
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

/// The address of a pooled domain, or of an app that was made from one.
fn noted_address(folder: &Folder) -> Option<Ipv4Addr> {
    files::read_json::<PooledDomain>(&folder.file(folder::POOLED)).ok()?.address
}
