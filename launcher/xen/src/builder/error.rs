//! Errors of building a domain.

use crate::DomId;
use crate::error::XenError;
use crate::store::{Refusal, StoreError};

/// Why a domain could not be built. Everything created for it has been undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Xen refused a step.
    #[error(transparent)]
    Xen(#[from] XenError),
    /// xenstored refused a step.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel cannot be used.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel or initrd cannot be read.
    #[error("cannot read the {what}: {source}")]
    Payload {
        /// Kernel or initrd.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// Xen has not enough memory.
    #[error(
        "not enough free memory in Xen: the domain takes {wanted_mib} MiB, {free_mib} MiB are \
         free; stop other domains or give dom0 less (dom0_mem=)"
    )]
    OutOfMemory {
        /// The domain's memory with Xen's overhead.
        wanted_mib: u64,
        /// Xen's free memory.
        free_mib: u64,
    },
    /// dom0's event channels are used up.
    #[error("dom0 has too few event channels left for a domain (ENOSPC); stop other domains")]
    NoEventChannels,
    /// The kernel and initrd do not fit.
    #[error(
        "{memory_mib} MiB of memory is too little: kernel and initrd alone take {needed_mib} MiB"
    )]
    MemoryTooSmall {
        /// The domain's requested memory.
        memory_mib: u32,
        /// The least memory that it needs.
        needed_mib: u64,
    },
    /// xenstored cannot serve the domain: for that it needs an event channel of dom0 and a mapped grant.
    #[error(
        "cannot introduce domain {domid} to xenstored, which {}; stop other domains, or see \
         xenstored's log", lack(.refusal)
    )]
    NotIntroduced {
        /// The domain.
        domid: DomId,
        /// xenstored's answer.
        refusal: Refusal,
    },
    /// This machine cannot run this kind of domain.
    #[error("this machine cannot run {kind} domains: {why}")]
    KindUnsupported {
        /// PVH or PV.
        kind: &'static str,
        /// The missing ability.
        why: &'static str,
    },
    /// The description is invalid.
    #[error("cannot build the domain: {0}")]
    Invalid(String),
    /// Building failed, and undoing it failed too.
    #[error("{error}; then undoing it failed: {undo}")]
    NotUndone {
        /// Why it could not be built.
        #[source]
        error: Box<BuildError>,
        /// Why building could not be undone.
        undo: Box<BuildError>,
    },
}

/// Why a file cannot be a guest's kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The file is not an ELF file, or damaged.
    #[error("the kernel is not a whole ELF file ({0}); it must be a vmlinux, not a bzImage")]
    Damaged(String),
    /// The kernel is built for another processor.
    #[error("the kernel is not for 64-bit x86")]
    WrongMachine,
    /// The file ends before its last segment.
    #[error("the kernel is cut off: a segment ends at byte {wanted}, the file at {found}")]
    Truncated {
        /// Where the segment ends, in bytes.
        wanted: u64,
        /// The file's size, in bytes.
        found: u64,
    },
    /// The segments overlap or are out of range.
    #[error("the kernel's segments overlap or are out of range")]
    BadSegments,
    /// The kernel is not built for this kind of domain.
    #[error("the kernel has no ELF note {note}; it was built without {option}")]
    MissingNote {
        /// The note's name in `elfnote.h`.
        note: &'static str,
        /// Linux's option that creates the note.
        option: &'static str,
    },
}

/// Why xenstored cannot serve a domain. `ENOSPC` is not a quota here, because dom0 has no quota.
fn lack(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Quota => "gets no event channel: dom0 has none left (ENOSPC)".into(),
        Refusal::Invalid | Refusal::Other(_) => {
            format!(
                "cannot map its page or bind to its event channel ({refusal}): dom0 may have no grants \
                 or event channels left"
            )
        }
        _ => format!("refuses: {refusal}"),
    }
}
