//! Whether the guest kernel patches its own code as Linux does, byte for byte.
//!
//! `patches/patch-own-code-faster.patch` gives the kernel shortcuts for that. A kernel for this
//! comparison alone has a boot parameter that takes them away. It boots twice on each of some
//! processors, with the shortcuts and as Linux does it: directly in QEMU, or as a domain. It panics
//! when its code is patched; its text is then read out of memory.

mod difference;
mod domain;
mod image;
mod machine;

pub use difference::Difference;
pub use image::{Image, Section};
pub use machine::{Machine, Processor};

use crate::instance::Instance;
use anyhow::{Result, ensure};
use machine::Booted;

/// The boot parameter that takes the shortcuts away, see `guest-kernel-config/reference`.
const PARAMETER: &str = "patch_like_linux";

/// The processors on which the kernels boot. Each is here for what the kernel makes of it.
///
/// QEMU 7.2's emulation has no feature against speculative execution, so there is none that does
/// without retpolines by itself (enhanced IBRS); the last one stands for it.
pub const PROCESSORS: [Processor; 6] = [
    Processor {
        name: "old AMD: retpolines, plain returns",
        model: "qemu64",
        vcpus: 1,
        parameters: "",
    },
    Processor {
        name: "Intel Skylake: retpolines, return thunks against ITS",
        model: "Skylake-Server",
        vcpus: 1,
        parameters: "",
    },
    Processor {
        name: "AMD Zen 3, 2 vCPUs: retpolines, return thunks against SRSO, lock prefixes kept",
        model: "EPYC-Milan",
        vcpus: 2,
        parameters: "",
    },
    Processor {
        name: "AMD Zen 2: retpolines, return thunks against SRSO and Retbleed",
        model: "EPYC-Rome",
        vcpus: 1,
        parameters: "",
    },
    Processor {
        name: "AMD Zen 2: retpolines with LFENCE, return thunks against Retbleed",
        model: "EPYC-Rome",
        vcpus: 1,
        parameters: "spectre_v2=retpoline,lfence spec_rstack_overflow=off",
    },
    Processor {
        name: "Intel Skylake without mitigations: plain calls, plain returns",
        model: "Skylake-Server",
        vcpus: 1,
        parameters: "mitigations=off",
    },
];

/// What the comparison found for one processor.
#[derive(Debug)]
pub struct Outcome {
    /// Bytes of the kernel file's executable sections.
    pub size: usize,
    /// How many of them the kernel changed, as Linux does it.
    pub changed: usize,
    /// Where the shortcuts leave something else.
    pub differences: Vec<Difference>,
    /// The text as Linux patches it.
    pub text: Vec<u8>,
}

/// Boots `image` both ways on `processor`, without Xen, and compares.
///
/// # Errors
/// When a kernel does not boot or lacks the parameter, or a QEMU fails.
pub fn compare_on(machine: &Machine, image: &Image, processor: &Processor) -> Result<Outcome> {
    let shortcuts = machine.start("shortcuts", processor, "")?;
    let linux = machine.start("linux", processor, PARAMETER)?;
    outcome(image, shortcuts.finish(image)?, linux.finish(image)?)
}

/// Boots `image`, which is /share/vmlinux of `lab`, both ways as a domain of type `kind`, and compares.
///
/// # Errors
/// When a kernel does not boot or lacks the parameter, or Xen's tools fail.
pub fn compare_domains(lab: &Instance, image: &Image, kind: &str) -> Result<Outcome> {
    let shortcuts = domain::boot(lab, kind, "", image)?;
    outcome(image, shortcuts, domain::boot(lab, kind, PARAMETER, image)?)
}

fn outcome(image: &Image, shortcuts: Booted, linux: Booted) -> Result<Outcome> {
    ensure!(
        linux.is_linux && !shortcuts.is_linux,
        "the kernel lacks the boot parameter {PARAMETER}, or does not heed it: build it with \
         `guest-kernel-config/build --patch guest-kernel-config/reference/patch-like-linux.patch`"
    );
    let original = image.text();
    Ok(Outcome {
        size: original.len(),
        changed: original.iter().zip(&linux.text).filter(|(before, after)| before != after).count(),
        differences: difference::find(image, &linux.text, &shortcuts.text),
        text: linux.text,
    })
}
