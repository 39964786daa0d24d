//! From what a user asks to what is run: Docker's rules for merging an image with its flags.

use crate::record::app::{Network, Record};
use crate::record::writable_choice::WritableChoice;
use crate::request::image_request;
use crate::request::run_request::{RunRequest, ShapeRequest};
use crate::request::signal::{self};
use crate::request::signal::{SignalError, parse_signal};
use crate::request::size::SizeError;
use crate::settings::Settings;
use contract::{Neighbour, Orders, Process, Root, Untrusted, Writable, devices};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use toolstack::Disk;
use toolstack::DomainSpec;
use toolstack::Kind;
use toolstack::Shape;
use toolstack::ToolstackKind;
use toolstack::Uuid;
use toolstack::Vif;

/// What a domain needs for kernel and `init` alone, in MiB.
pub(crate) const MIN_MEMORY_MIB: u32 = 16;

/// The largest number of vCPUs that Xen gives an HVM guest (`HVM_MAX_VCPUS`).
const MAX_VCPUS: u32 = 128;

/// Docker's own default.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every domain's kernel is told.
///
/// Persistent grants make blkfront take 4 MiB for each disk beforehand: a guest of 24 MiB then looks
/// for memory for ever instead of starting.
const CMDLINE: &str =
    "console=hvc0 rdinit=/init panic=-1 tsc=reliable xen_blkfront.feature_persistent=0";

/// Why a launch makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nothing to run.
    #[error("image {0} names no command; give one after the image, or with --entrypoint")]
    NoCommand(String),
    /// Too little memory.
    #[error(
        "{memory_mib} MiB of memory are too little: a guest needs at least {MIN_MEMORY_MIB} MiB; give more with --memory"
    )]
    Memory {
        /// What was asked for.
        memory_mib: u32,
    },
    /// The image's label is wrong.
    #[error("label {label} of image {image}")]
    MemoryLabel {
        /// The label.
        label: &'static str,
        /// The image.
        image: String,
        /// What is wrong.
        source: SizeError,
    },
    /// No or too many vCPUs.
    #[error("a domain cannot have {0} vCPUs; give 1 to {MAX_VCPUS}")]
    Vcpus(u32),
    /// Not an absolute path.
    #[error("working directory {0:?} is not an absolute path")]
    Cwd(String),
    /// A signal nobody knows.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// Something that C strings cannot hold.
    #[error("{what} {value:?} has a NUL character")]
    Nul {
        /// Argument, variable, …
        what: &'static str,
        /// The value.
        value: String,
    },
    /// A variable without a name.
    #[error("environment variable {0:?} has no name")]
    Env(String),
    /// Not a host name.
    #[error("hostname {0:?} is not valid; use up to 64 letters, digits, dots and hyphens")]
    Hostname(String),
    /// A wrong address.
    #[error("address {0:?} is not valid")]
    Ip(String),
    /// Ports of an app that has no address.
    #[error("ports can only be published on launch's own network; leave out -p or --network")]
    PublishWithoutNetwork,
    /// Orders beyond what the guest reads.
    #[error(
        "arguments and environment are too large for the guest: {bytes} bytes as JSON, at most {max}; give the app long texts in files", max = contract::store::MAX_ORDERS_BYTES
    )]
    OrdersTooLarge {
        /// Size of the orders.
        bytes: usize,
    },
}

/// What distinguishes one app from another of the same request.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Lower-case hex.
    pub id: String,
    /// Unique on this machine.
    pub name: String,
    /// Xen's handle.
    pub uuid: Uuid,
    /// Milliseconds since 1970.
    pub created_unix_ms: u64,
}

/// The domain that a launch wants, but for devices; `image` is the launch's image and its name, and
/// toolstack and kind were chosen by what this machine can do.
///
/// # Errors
/// A wish that cannot be fulfilled, named.
pub(crate) fn shape(
    asked: &ShapeRequest,
    image: Option<(&image::Config, &str)>,
    settings: &Settings,
    (toolstack, kind): (ToolstackKind, Kind),
) -> Result<Shape, ResolveError> {
    let vcpus = check_vcpus(asked.vcpus.unwrap_or(settings.vcpus))?;
    let mut cmdline = CMDLINE.to_owned();
    if !asked.verbose_kernel {
        // `quiet` alone lets errors through, such as those of an ACPI that PVH does not need; they
        // would stand in the app's output. A panic still speaks.
        cmdline.push_str(" quiet loglevel=1");
    }
    if let Some(extra) = asked.extra.as_deref().map(str::trim).filter(|extra| !extra.is_empty()) {
        cmdline.push(' ');
        cmdline.push_str(extra);
    }
    Ok(Shape {
        kind,
        toolstack,
        kernel: asked.kernel.clone().unwrap_or_else(|| settings.kernel.clone()),
        ramdisk: settings.ramdisk.clone(),
        cmdline,
        memory_mib: memory_mib(asked, image, settings)?,
        vcpus,
    })
}

/// Merges the image, the user's wishes and the settings.
///
/// # Errors
/// A wish that cannot be fulfilled, named.
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
    // What the network adds is a few hundred bytes; the orders are checked again when sent.
    check_orders_size(&render_orders(&record, None, &net::Resolver::default(), &[0; 32]))?;
    Ok(record)
}

/// Makes sure that orders are not longer than the guest reads.
///
/// # Errors
/// They are.
pub(crate) fn check_orders_size(orders: &Orders) -> Result<(), ResolveError> {
    match orders.render().len() {
        bytes if bytes > contract::store::MAX_ORDERS_BYTES => {
            Err(ResolveError::OrdersTooLarge { bytes })
        }
        _ => Ok(()),
    }
}

/// The orders for one start of an app.
#[must_use]
pub(crate) fn render_orders(
    record: &Record,
    link: Option<&Link>,
    resolver: &net::Resolver,
    seed: &[u8],
) -> Orders {
    Orders {
        version: contract::VERSION,
        hostname: record.hostname.clone(),
        root: Root {
            writable: match record.writable {
                WritableChoice::Disk => Writable::Disk,
                WritableChoice::Memory => Writable::Memory { max_bytes: 0 },
                WritableChoice::Nothing => Writable::Nothing,
            },
        },
        process: record.process.clone(),
        network: link.map(|link| contract::Network {
            address: link.lease.address,
            prefix: link.lease.prefix,
            gateway: link.lease.gateway,
            neighbours: (link.lease.gateway)
                .zip(link.gateway_mac)
                .map(|(address, mac)| Neighbour { address, mac })
                .into_iter()
                .collect(),
            dns: if record.dns.is_empty() { resolver.servers.clone() } else { record.dns.clone() },
            search: match record.dns_search.is_empty() {
                true => resolver.search.clone(),
                false => record.dns_search.clone(),
            },
        }),
        hosts: record.hosts.clone(),
        tmpfs: record.tmpfs.clone(),
        seed: seed.iter().map(|byte| format!("{byte:02x}")).collect(),
        // Xen gives the guest dom0's clock; seconds pass before these orders are read.
        unix_time: 0,
    }
}

/// How a started app hangs on its network.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Dom0's bridge.
    pub bridge: String,
    /// The guest's addresses.
    pub lease: net::Lease,
    /// The gateway's link address, where it is known: on our own bridge.
    pub gateway_mac: Option<contract::Mac>,
}

impl Link {
    /// The interface that it needs.
    #[must_use]
    pub(crate) fn vif(&self) -> Vif {
        let address = self.gateway_mac.and(Some(self.lease.address));
        Vif { bridge: self.bridge.clone(), mac: self.lease.mac, address }
    }
}

/// The disks of an app whose state folder is `folder`.
#[must_use]
pub(crate) fn disks(folder: &Path, writable: WritableChoice) -> Vec<Disk> {
    let disk = |vdev: &str, file: &str, writable| Disk {
        vdev: vdev.to_owned(),
        file: folder.join(file),
        writable,
    };
    let mut disks = vec![disk(devices::ROOT_DISK, crate::store::folder::ROOT_DISK, false)];
    if writable == WritableChoice::Disk {
        disks.push(disk(devices::WRITABLE_DISK, crate::store::folder::WRITABLE_DISK, true));
    }
    disks
}

/// The domain for one start of an app whose state folder is `folder`.
#[must_use]
pub(crate) fn domain_spec(record: &Record, folder: &Path, link: Option<&Link>) -> DomainSpec {
    DomainSpec {
        id: record.id.clone(),
        name: record.name.clone(),
        uuid: record.uuid,
        shape: record.shape.clone(),
        disks: disks(folder, record.writable),
        vif: link.map(Link::vif),
        folder: folder.to_owned(),
    }
}

fn memory_mib(
    asked: &ShapeRequest,
    image: Option<(&image::Config, &str)>,
    settings: &Settings,
) -> Result<u32, ResolveError> {
    let memory_mib = match (asked.memory_mib, image) {
        (Some(memory_mib), _) => memory_mib,
        (None, Some((config, name))) => {
            let label =
                image_request::memory_mib(config, settings).map_err(|(label, source)| {
                    ResolveError::MemoryLabel { label, image: name.to_owned(), source }
                })?;
            label.unwrap_or(settings.memory_mib)
        }
        (None, None) => settings.memory_mib,
    };
    check_memory_mib(memory_mib)
}

/// Makes sure that a guest can live with so much memory.
///
/// # Errors
/// It cannot.
pub(crate) fn check_memory_mib(memory_mib: u32) -> Result<u32, ResolveError> {
    if memory_mib < MIN_MEMORY_MIB {
        return Err(ResolveError::Memory { memory_mib });
    }
    Ok(memory_mib)
}

/// Makes sure that a domain can have so many vCPUs.
///
/// # Errors
/// It cannot.
pub(crate) fn check_vcpus(vcpus: u32) -> Result<u32, ResolveError> {
    if !(1..=MAX_VCPUS).contains(&vcpus) {
        return Err(ResolveError::Vcpus(vcpus));
    }
    Ok(vcpus)
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

fn process(
    request: &RunRequest,
    hostname: &str,
    settings: &Settings,
) -> Result<Process, ResolveError> {
    let image = &request.image.config;
    let args = merge_args(
        (&raw(&image.entrypoint), &raw(&image.cmd)),
        (request.entrypoint.as_deref(), &request.args),
    );
    if args.first().is_none_or(String::is_empty) {
        return Err(ResolveError::NoCommand(request.image_name.clone()));
    }
    let mut env = merge_env(hostname, &raw(&image.env), &request.env);
    if request.terminal {
        add_term(&mut env);
    }
    if let Some(entry) = env.iter().find(|entry| entry.starts_with('=')) {
        return Err(ResolveError::Env(entry.clone()));
    }
    let cwd = match request.cwd.as_deref() {
        Some(cwd) if !cwd.starts_with('/') => return Err(ResolveError::Cwd(cwd.to_owned())),
        Some(cwd) => cwd.to_owned(),
        // Dockerfiles may have a relative one; it counts from the root.
        None => format!("/{}", image.working_dir.raw().trim_start_matches('/')),
    };
    let user = request.user.as_deref().unwrap_or(image.user.raw()).to_owned();
    for (what, values) in [
        ("argument", &args),
        ("environment variable", &env),
        ("working directory", &vec![cwd.clone()]),
        ("user", &vec![user.clone()]),
    ] {
        if let Some(value) = values.iter().find(|value| value.contains('\0')) {
            return Err(ResolveError::Nul { what, value: value.clone() });
        }
    }
    let of_image = image.stop_signal.as_ref().map(Untrusted::raw);
    let stop_signal = request.stop_signal.as_deref().or(of_image);
    let stop_timeout_s = request
        .stop_timeout_s
        .or_else(|| image_request::stop_timeout_s(image, settings))
        .unwrap_or(settings.stop_timeout_s);
    Ok(Process {
        args,
        env,
        cwd,
        user,
        stop_signal: stop_signal.map_or(Ok(signal::TERM), parse_signal)?,
        stop_timeout_ms: stop_timeout_s.saturating_mul(1000),
        stdin: request.stdin,
        terminal: request.terminal,
        limits: request.limits.clone(),
    })
}

/// An image's texts as they are: they go to the guest.
fn raw(texts: &[Untrusted]) -> Vec<String> {
    texts.iter().map(|text| text.raw().to_owned()).collect()
}

/// Docker's rules: an entrypoint of the user's drops the image's command; arguments of the user's
/// replace it.
fn merge_args(
    (image_entrypoint, image_cmd): (&[String], &[String]),
    (entrypoint, args): (Option<&[String]>, &[String]),
) -> Vec<String> {
    let (entrypoint, cmd) = match entrypoint {
        Some([empty]) if empty.is_empty() => (&[][..], args),
        Some(entrypoint) => (entrypoint, args),
        None if args.is_empty() => (image_entrypoint, image_cmd),
        None => (image_entrypoint, args),
    };
    [entrypoint, cmd].concat()
}

/// What Docker says of a terminal, unless somebody has said so already.
pub(crate) fn add_term(env: &mut Vec<String>) {
    if !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
}

/// Later entries replace earlier ones of the same name, in place; one without `=` takes it away.
pub(crate) fn merge_env(hostname: &str, image: &[String], user: &[String]) -> Vec<String> {
    let first = [DEFAULT_PATH.to_owned(), format!("HOSTNAME={hostname}")];
    let mut merged: Vec<Option<&String>> = vec![];
    // Where each name is: there may be tens of thousands.
    let mut places: HashMap<&str, usize> = HashMap::new();
    for entry in first.iter().chain(image).chain(user) {
        let (name, value) = match entry.split_once('=') {
            Some((name, _)) => (name, Some(entry)),
            None => (entry.as_str(), None),
        };
        match (places.get(name), value) {
            (Some(index), Some(_)) => merged[*index] = value,
            (Some(index), None) => {
                merged[*index] = None;
                places.remove(name);
            }
            (None, Some(_)) => {
                places.insert(name, merged.len());
                merged.push(value);
            }
            (None, None) => {}
        }
    }
    merged.into_iter().flatten().cloned().collect()
}

/// What Linux takes (`__NEW_UTS_LEN` is 64) and `/etc/hosts` can hold.
fn check_hostname(name: &str) -> Result<(), ResolveError> {
    let fine = (1..=64).contains(&name.len())
        && !name.starts_with(['-', '.'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    if fine { Ok(()) } else { Err(ResolveError::Hostname(name.to_owned())) }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
pub(crate) mod tests;
