//! Checks that the guest kernel patches its own code as Linux does, byte for byte.
//!
//! `patches/patch-own-code-faster.patch` gives the kernel shortcuts for patching. A kernel for this comparison only has
//! a boot parameter that turns them off. It boots twice on each of several processors, with the shortcuts and without:
//! directly in QEMU, or as a domain. It panics after it has patched its code; then its text is read from memory.

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

/// The boot parameter that turns the shortcuts off; see `guest-kernel-config/reference`.
const PARAMETER: &str = "patch_like_linux";

/// The processors on which the kernels boot. Each leads to other patches.
///
/// QEMU 7.2's emulation has no feature against speculative execution, so no processor makes the kernel go without
/// retpolines (enhanced IBRS); the last one stands in for such a processor.
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

/// The result of the comparison on one processor.
#[derive(Debug)]
pub struct Outcome {
    /// Bytes of the kernel file's executable sections.
    pub size: usize,
    /// How many of them Linux's own patching changed.
    pub changed: usize,
    /// Where the result of the shortcuts differs.
    pub differences: Vec<Difference>,
    /// The text as Linux patches it.
    pub text: Vec<u8>,
}

/// Boots `image` both ways on `processor`, without Xen, and compares.
///
/// # Errors
/// A kernel does not boot or lacks the parameter, or QEMU fails.
pub fn compare_on(machine: &Machine, image: &Image, processor: &Processor) -> Result<Outcome> {
    let shortcuts = machine.start("shortcuts", processor, "")?;
    let linux = machine.start("linux", processor, PARAMETER)?;
    outcome(image, shortcuts.finish(image)?, linux.finish(image)?)
}

/// Boots `image`, which is /share/vmlinux of `lab`, both ways as a domain of type `kind`, and compares.
///
/// # Errors
/// A kernel does not boot or lacks the parameter, or Xen's tools fail.
pub fn compare_domains(lab: &Instance, image: &Image, kind: &str) -> Result<Outcome> {
    let shortcuts = domain::boot(lab, kind, "", image)?;
    outcome(image, shortcuts, domain::boot(lab, kind, PARAMETER, image)?)
}

fn outcome(image: &Image, shortcuts: Booted, linux: Booted) -> Result<Outcome> {
    ensure!(
        linux.is_linux && !shortcuts.is_linux,
        "the kernel lacks the boot parameter {PARAMETER}, or ignores it: build it with \
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
