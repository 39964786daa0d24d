//! Turns a user's request into the record of an app.

use crate::record::app::{Network, Record};
use crate::request::error::ResolveError;
use crate::request::orders::{check_orders_size, render_orders};
use crate::request::process::process;
use crate::request::run_request::RunRequest;
use crate::settings::Settings;
use std::net::IpAddr;
use toolstack::{Shape, Uuid};

/// What distinguishes two apps of the same request.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Lower-case hex.
    pub id: String,
    /// Unique on this machine.
    pub name: String,
    /// The domain's UUID.
    pub uuid: Uuid,
    /// Milliseconds since 1970.
    pub created_unix_ms: u64,
}

/// Merges the image, the user's request and the settings.
///
/// # Errors
/// A part of the request cannot be fulfilled; the error names it.
pub(crate) fn resolve(
    request: &RunRequest,
    shape: Shape,
    identity: Identity,
    settings: &Settings,
) -> Result<Record, ResolveError> {
    let image = &request.image.config;
    let hostname = request.hostname.clone().unwrap_or_else(|| identity.id.clone());
    check_hostname(&hostname)?;
    let mut labels = image.labels.clone();
    labels.extend(
        request.labels.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())),
    );
    let network = network(request)?;
    if !request.publish.is_empty() && !matches!(network, Network::Launch { .. }) {
        return Err(ResolveError::PublishWithoutNetwork);
    }
    let record = Record {
        image: request.image_name.clone(),
        image_digest: request.image.digest.to_string(),
        labels,
        shape,
        process: process(request, &hostname, settings)?,
        hostname,
        writable: request.writable,
        storage_mib: request.storage_mib.unwrap_or(settings.storage_mib),
        tmpfs: request.tmpfs.clone(),
        sysctls: request.sysctls.clone(),
        network,
        publish: request.publish.clone(),
        dns: request.dns.clone(),
        hosts: request.hosts.clone(),
        remove_on_exit: request.remove_on_exit,
        restart: request.restart,
        schedule: request.schedule,
        mac: request.mac,
        dns_search: request.dns_search.clone(),
        is_image_alone: request.is_image_alone(),
        id: identity.id,
        name: identity.name,
        uuid: identity.uuid,
        created_unix_ms: identity.created_unix_ms,
    };
    // The network adds a few hundred bytes at most; `guest_nodes` checks the final orders.
    check_orders_size(&render_orders(&record, None, &net::Resolver::default(), &[0; 32]))?;
    Ok(record)
}

fn network(request: &RunRequest) -> Result<Network, ResolveError> {
    Ok(match &request.network {
        net::NetworkRequest::Launch => Network::Launch {
            ip: match &request.ip {
                Some(ip) => Some(ip.parse::<IpAddr>().map_err(|_| ResolveError::Ip(ip.clone()))?),
                None => None,
            },
        },
        net::NetworkRequest::Bridge(bridge) => Network::Bridge {
            bridge: bridge.clone(),
            ip: request.ip.clone(),
            gateway: request.gateway,
        },
        net::NetworkRequest::None => Network::None,
    })
}

/// Checks that Linux accepts the name (`__NEW_UTS_LEN` is 64) and `/etc/hosts` can hold it.
fn check_hostname(name: &str) -> Result<(), ResolveError> {
    let fine = (1..=64).contains(&name.len())
        && !name.starts_with(['-', '.'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    if fine { Ok(()) } else { Err(ResolveError::Hostname(name.to_owned())) }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
pub(crate) mod tests;
