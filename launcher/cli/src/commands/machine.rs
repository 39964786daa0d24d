//! The flags that describe a domain, shared by all commands that make one.

use domain::size::parse_size_mib;
use domain::{Kind, MachineWish, ToolstackKind};
use std::path::PathBuf;

/// What the domain is to have.
#[derive(Debug, clap::Args)]
pub(crate) struct MachineFlags {
    /// Memory of the domain, in bytes or with a unit (96m, 1g) [default: the image's label, or 64m]
    #[arg(short, long, value_name = "SIZE", value_parser = parse_size_mib)]
    memory: Option<u32>,
    /// Virtual CPUs of the domain [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=128))]
    vcpus: Option<u32>,
    /// Kind of domain [default: pvh, or pv where hardware virtualization is missing or emulated]
    #[arg(long = "type", value_name = "pv|pvh")]
    kind: Option<Kind>,
    /// What builds the domain [default: native where this Xen is known, or else xl]
    #[arg(long, value_name = "native|xl")]
    toolstack: Option<ToolstackKind>,
    /// Guest kernel
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Further words for the guest kernel's command line
    #[arg(long, value_name = "WORDS")]
    extra: Option<String>,
    /// Let the guest kernel write its messages to the app's output
    #[arg(long)]
    verbose_kernel: bool,
}

impl MachineFlags {
    /// As the library takes it.
    pub(crate) fn into_wish(self) -> MachineWish {
        MachineWish {
            memory_mib: self.memory,
            vcpus: self.vcpus,
            kind: self.kind,
            toolstack: self.toolstack,
            kernel: self.kernel,
            extra: self.extra,
            verbose_kernel: self.verbose_kernel,
        }
    }
}
