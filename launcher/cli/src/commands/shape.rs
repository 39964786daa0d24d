//! The flags for a domain's shape, shared by all commands that create domains.

use app::request::parse_size_mib;
use app::schedule::{Cpus, CpusError, Schedule, weight_of_shares};
use app::{Kind, ShapeRequest, ToolstackKind};
use std::path::PathBuf;

/// The flags for a domain's share of the processors.
#[derive(Debug, clap::Args)]
pub(crate) struct CpuFlags {
    /// Most processor time, in processors (0.5, 2); also sets that many vCPUs, unless --vcpus is given
    #[arg(long, value_name = "N")]
    cpus: Option<Cpus>,
    /// Weight against other domains when all together want more than the processors have [default: 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    cpu_weight: Option<u16>,
    /// Docker's form of --cpu-weight: 1024 means Xen's 256
    #[arg(short = 'c', long, value_name = "N", conflicts_with = "cpu_weight")]
    cpu_shares: Option<u64>,
    /// Docker's older form of --cpus: microseconds in each --cpu-period
    #[arg(long, value_name = "MICROSECONDS", conflicts_with = "cpus")]
    cpu_quota: Option<u32>,
    /// Length of the period for --cpu-quota
    #[arg(
        long,
        value_name = "MICROSECONDS",
        requires = "cpu_quota",
        default_value_if("cpu_quota", clap::builder::ArgPredicate::IsPresent, Some("100000"))
    )]
    cpu_period: Option<u32>,
}

impl CpuFlags {
    fn cpus(&self) -> Result<Option<Cpus>, CpusError> {
        let Some(quota) = self.cpu_quota else { return Ok(self.cpus) };
        let share = f64::from(quota) / f64::from(self.cpu_period.unwrap_or_default().max(1));
        format!("{share:.4}").parse().map(Some)
    }

    /// The number of vCPUs that a domain needs to use its allowed processor time.
    pub(crate) fn vcpus(&self) -> Result<Option<u32>, CpusError> {
        Ok(self.cpus()?.map(Cpus::vcpus))
    }

    /// The values for Xen's scheduler. A domain that may use all its vCPUs fully needs no cap.
    pub(crate) fn schedule(&self, vcpus: Option<u32>) -> Result<Schedule, CpusError> {
        let cap = self.cpus()?.map(|cpus| match vcpus {
            Some(vcpus) if u32::from(cpus.percent) >= vcpus * 100 => 0,
            _ => cpus.percent,
        });
        let weight = self.cpu_weight.or(self.cpu_shares.map(weight_of_shares));
        Ok(Schedule { cap_percent: cap, weight })
    }
}

/// The flags for a domain's shape.
#[derive(Debug, clap::Args)]
pub(crate) struct ShapeFlags {
    /// Memory of the domain, in bytes or with a unit (96m, 1g) [default: the image's label, or 64m]
    #[arg(short, long, value_name = "SIZE", value_parser = parse_size_mib)]
    memory: Option<u32>,
    /// Virtual CPUs of the domain [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=128))]
    vcpus: Option<u32>,
    /// Type of domain [default: pvh, or pv if hardware virtualization is missing or emulated]
    #[arg(long = "type", value_name = "pv|pvh")]
    kind: Option<Kind>,
    /// What builds the domain [default: native if launch knows the interface of this Xen, or else xl]
    #[arg(long, value_name = "native|xl")]
    toolstack: Option<ToolstackKind>,
    /// Guest kernel
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// More words for the guest kernel's command line
    #[arg(long, value_name = "WORDS")]
    extra: Option<String>,
    /// Let the guest kernel write its messages to the app's output
    #[arg(long)]
    verbose_kernel: bool,
}

impl ShapeFlags {
    /// Converts the flags to a request.
    pub(crate) fn into_wish(self) -> ShapeRequest {
        ShapeRequest {
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
