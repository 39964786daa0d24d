//! `launch pool`: domains that have booted and wait for their apps.

use super::shape::ShapeFlags;
use crate::failure;
use crate::here::{self, Here};
use crate::listing::{self, Field, Format};
use anyhow::Result;
use app::pool;
use app::{Pool, PoolStatus};
use serde_json::{Value, json};
use std::process::ExitCode;

/// The pool to change, and its size.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A launch takes a waiting domain of the same type, memory, vCPUs and kernel; then the pool is filled
again. A pooled domain already has an address of the default network and the usual writable layer. So an
app with another --network, --ip, --mac-address or --storage-size, or with --tmpfs-root or --read-only,
gets no pooled domain and starts cold. With --image a pool's domains also have the image's disk, and wait
for apps of that image only.")]
pub(crate) struct Args {
    /// Number of domains to keep ready; 0 removes the pool
    #[arg(long, value_name = "N")]
    size: Option<u32>,
    /// Image whose disk the domains already have
    #[arg(long, value_name = "IMAGE", requires = "size")]
    image: Option<String>,
    /// Remove all pools
    #[arg(long, conflicts_with = "size")]
    drain: bool,
    /// Build missing domains, as after a reboot
    #[arg(long, conflicts_with_all = ["size", "drain"])]
    fill: bool,
    /// Destroy the waiting domains but keep the pools, as before a shutdown
    #[arg(long, conflicts_with_all = ["size", "drain", "fill"])]
    empty: bool,
    /// Output form: "table", "json", "table TEMPLATE" or a template, as with ps
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    #[command(flatten)]
    machine: ShapeFlags,
}

/// The fields of each pool.
const FIELDS: [Field; 7] = [
    ("Image", "IMAGE"),
    ("Type", "TYPE"),
    ("Memory", "MEMORY"),
    ("Vcpus", "VCPUS"),
    ("Size", "SIZE"),
    ("Addresses", "ADDRESSES"),
    ("Waiting", "WAITING"),
];
const COLUMNS: [&str; 6] = ["Image", "Type", "Memory", "Vcpus", "Size", "Waiting"];

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    here::require_dom0()?;
    let format = Format::parse(args.format.as_deref())?;
    let here = Here::new()?;
    let apps = here.apps()?;
    let images = here.images()?;
    if let Some(size) = args.size {
        let wish = args.machine.into_wish();
        let image = args.image.as_deref().map(|name| here.image(name)).transpose()?;
        let named = image.as_ref().zip(args.image.as_deref());
        let shape = pool::pool_shape(&apps, &wish, named)?;
        pool::set_pool(&apps, Pool { shape, image: args.image, size })?;
        pool::fill_pools(&apps, &images)?;
    } else if args.drain {
        pool::drain_pools(&apps)?;
        pool::fill_pools(&apps, &images)?;
    } else if args.fill {
        pool::fill_pools(&apps, &images)?;
    } else if args.empty {
        pool::empty_pools(&apps)?;
    }
    let row = |status: PoolStatus| {
        let Pool { shape, image, size } = status.pool;
        let addresses: Vec<String> = status.addresses.iter().map(ToString::to_string).collect();
        json!({
            "Image": image.unwrap_or_else(|| "any".into()),
            "Type": shape.kind.to_string(),
            "Memory": format!("{} MiB", shape.memory_mib),
            "Vcpus": shape.vcpus.to_string(),
            "Size": size.to_string(),
            "Addresses": addresses.join(" "),
            "Waiting": status.waiting.to_string(),
        })
    };
    let rows: Vec<Value> = pool::list_pools(&apps, &images)?.into_iter().map(row).collect();
    listing::show(&format, &FIELDS, &COLUMNS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `launch __pool`, which a monitor starts after its app has started. Nothing waits for it, so it gives way to all
/// other work.
pub(crate) fn fill_in_background() -> ExitCode {
    // Ignores a failure: the filling then only competes more with other work.
    let _ = rustix::process::nice(10);
    let fill = || -> Result<()> {
        let here = Here::new()?;
        let settings = &here.settings;
        let apps = app::Apps::open(&settings.state, &settings.domain, &settings.network)?;
        Ok(pool::fill_pools(&apps, &here.images()?)?)
    };
    match fill() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
