//! The shape of the domain that a request asks for.

use crate::request::error::ResolveError;
use crate::request::image_request;
use crate::request::limits::{MAX_VCPUS, MIN_MEMORY_MIB};
use crate::request::run_request::ShapeRequest;
use crate::settings::Settings;
use toolstack::{Kind, Shape, ToolstackKind};

/// The command line of every guest kernel.
///
/// Persistent grants are off: blkfront would reserve 4 MiB for each disk, and a guest of 24 MiB would then search for
/// memory forever instead of starting.
const CMDLINE: &str =
    "console=hvc0 rdinit=/init panic=-1 tsc=reliable xen_blkfront.feature_persistent=0";

/// The shape of the domain that a request asks for. `image` is the image and its name; the caller has chosen
/// toolstack and type by the abilities of this machine.
///
/// # Errors
/// A part of the request cannot be fulfilled; the error names it.
pub(crate) fn shape(
    asked: &ShapeRequest,
    image: Option<(&image::Config, &str)>,
    settings: &Settings,
    (toolstack, kind): (ToolstackKind, Kind),
) -> Result<Shape, ResolveError> {
    let vcpus = check_vcpus(asked.vcpus.unwrap_or(settings.vcpus))?;
    let mut cmdline = CMDLINE.to_owned();
    if !asked.verbose_kernel {
        // `quiet` alone would let errors into the app's output, such as those about ACPI, which PVH does not need.
        // The kernel still prints a panic.
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

/// Checks that a guest can run in this much memory.
///
/// # Errors
/// It cannot.
pub(crate) fn check_memory_mib(memory_mib: u32) -> Result<u32, ResolveError> {
    if memory_mib < MIN_MEMORY_MIB {
        return Err(ResolveError::Memory { memory_mib });
    }
    Ok(memory_mib)
}

/// Checks that a domain can have this many vCPUs.
///
/// # Errors
/// It cannot.
pub(crate) fn check_vcpus(vcpus: u32) -> Result<u32, ResolveError> {
    if !(1..=MAX_VCPUS).contains(&vcpus) {
        return Err(ResolveError::Vcpus(vcpus));
    }
    Ok(vcpus)
}
