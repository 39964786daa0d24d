//! Hardware virtualization or emulation: decides which of them can run Xen here.

use crate::clock::Clock;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How the lab's processor runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's processor, through KVM with nested virtualization.
    Kvm,
    /// QEMU's emulation, with the reason.
    Emulation(String),
}

impl Accelerator {
    /// Chooses for this host. `LAB_ACCEL=tcg` (or `kvm`) overrides the choice.
    ///
    /// A readable `/dev/kvm` is not enough: on some cloud machines it cannot run a hypervisor inside. So nested
    /// virtualization must be on, and the processor must support it. `kvm_failed`: an earlier attempt to run Xen under
    /// KVM failed.
    #[must_use]
    pub fn detect(kvm_failed: bool) -> Self {
        match std::env::var("LAB_ACCEL").as_deref() {
            Ok("kvm") => return Self::Kvm,
            Ok("tcg") => return Self::Emulation("LAB_ACCEL=tcg".into()),
            _ if kvm_failed => return Self::Emulation("Xen did not run under KVM before".into()),
            _ => {}
        }
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let nested = |module: &str| {
            fs::read_to_string(format!("/sys/module/{module}/parameters/nested")).ok()
        };
        let can_open = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        match reason_against_kvm(
            &cpuinfo,
            [nested("kvm_intel"), nested("kvm_amd")],
            Path::new("/dev/kvm").exists(),
            can_open,
        ) {
            None => Self::Kvm,
            Some(reason) => Self::Emulation(reason.into()),
        }
    }

    /// The longest time that a boot may take, on a busy machine.
    #[must_use]
    pub fn boot_timeout(&self) -> Duration {
        match self {
            Self::Kvm => Duration::from_secs(120),
            Self::Emulation(_) => Duration::from_secs(600),
        }
    }

    /// QEMU's options for machine and processor.
    ///
    /// `qemu64,+svm,+npt`: richer models (`max`, `EPYC-Milan`) crash dom0 under Xen 4.20 in QEMU 7.2's
    /// emulation; this one runs PV and PVH.
    ///
    /// With wall-clock time, a guest spends much of its boot in translation of its kernel: with a fourth of this
    /// buffer, sixteen guests at once would evict each other's translations.
    ///
    /// A hardware processor has only its own clock. If instructions are counted, the emulated processors take turns:
    /// each sees the time that all of them together have used.
    #[must_use]
    pub fn qemu_options(&self, clock: Clock) -> Vec<&'static str> {
        let machine = ["-machine", "q35"];
        let processor: &[&str] = match (self, clock) {
            (Self::Kvm, _) => &["-accel", "kvm", "-cpu", "host"],
            (Self::Emulation(_), Clock::Wall) => {
                &["-accel", "tcg,tb-size=1024", "-cpu", "qemu64,+svm,+npt"]
            }
            (Self::Emulation(_), Clock::Instructions) => &[
                "-accel",
                "tcg,thread=single,tb-size=256",
                "-cpu",
                "qemu64,+svm,+npt",
                "-icount",
                "shift=0",
            ],
        };
        [&machine, processor].concat()
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kvm => out.write_str("KVM with nested virtualization"),
            Self::Emulation(reason) => write!(out, "emulation: {reason}"),
        }
    }
}

fn reason_against_kvm(
    cpuinfo: &str,
    nested: [Option<String>; 2],
    exists: bool,
    can_open: bool,
) -> Option<&'static str> {
    let has_flag = cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| line.split_whitespace().any(|flag| flag == "svm" || flag == "vmx"));
    let is_nested = nested.iter().flatten().any(|value| matches!(value.trim(), "1" | "Y"));
    if !has_flag {
        Some("the processor offers no svm or vmx")
    } else if !exists {
        Some("/dev/kvm does not exist")
    } else if !can_open {
        Some("/dev/kvm cannot be opened")
    } else if !is_nested {
        Some("nested virtualization is off in kvm_intel or kvm_amd")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMD: &str = "model name\t: EPYC\nflags\t\t: fpu svm npt\n";

    #[test]
    fn kvm_is_used_only_where_nested_virtualization_is_on() {
        let on = || Some("1\n".to_owned());
        assert_eq!(reason_against_kvm(AMD, [None, on()], true, true), None);
        assert_eq!(reason_against_kvm(AMD, [Some("Y\n".into()), None], true, true), None);
        assert!(reason_against_kvm(AMD, [None, Some("0\n".into())], true, true).is_some());
        assert!(reason_against_kvm(AMD, [None, None], true, true).is_some());
        assert!(reason_against_kvm("flags : fpu\n", [None, on()], true, true).is_some());
        assert!(reason_against_kvm(AMD, [None, on()], true, false).is_some());
        assert!(reason_against_kvm(AMD, [None, on()], false, false).is_some());
    }
}
