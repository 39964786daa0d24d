//! Tests of the host that may be skipped, with the reasons. Any other skipped test fails `ci/test`.

/// An expected skip.
struct Expected {
    /// Part of the line that the test prints.
    says: &'static str,
    /// Where the subject is tested instead, or why it need not be.
    why: &'static str,
    /// Whether the skip is expected only without root.
    not_root: bool,
}

const EXPECTED: &[Expected] = &[
    always("not in a Xen domain", "the lab runs these tests in dom0 and refuses skips"),
    always("cannot find xenstore", "the lab runs these tests in dom0 and refuses skips"),
    always("/dev/xen/privcmd: it does not exist", "the lab runs these tests in dom0"),
    always("this is a dom0", "the test wants a machine without Xen; other machines have none"),
    always("has no erofs", "depends on the kernel; guests of the lab mount these disks"),
    always("has no overlay", "depends on the kernel; guests of the lab mount these roots"),
    always("has no cachestat", "Linux 6.5; guests of the lab read ahead with it"),
    always("br_netfilter: this kernel does not have it", "depends on the kernel"),
    always("/dev/loop-control cannot be opened here", "containers have none; the lab has"),
    always("this machine cannot bind it", "not every machine has IPv6"),
    always("this machine makes no network namespaces", "containers may not; the lab's dom0 may"),
    without_root("only root", "run ci/test as root"),
    without_root("needs root", "run ci/test as root"),
];

const fn always(says: &'static str, why: &'static str) -> Expected {
    Expected { says, why, not_root: false }
}

const fn without_root(says: &'static str, why: &'static str) -> Expected {
    Expected { says, why, not_root: true }
}

/// Why the skip reported by `line` is expected; `None` if it is not.
#[must_use]
pub fn reason(line: &str, is_root: bool) -> Option<&'static str> {
    EXPECTED
        .iter()
        .find(|expected| line.contains(expected.says) && !(expected.not_root && is_root))
        .map(|expected| expected.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_no_reason_and_root_is_one_for_others_only() {
        assert_eq!(reason("skipped: x: umoci is not installed", false), None);
        assert_eq!(reason("skipped: needs root, to give it up", true), None);
        assert_eq!(
            reason("skipped: needs root, to give it up", false),
            Some("run ci/test as root")
        );
        let xen = "skipped: no /dev/xen/evtchn; not in a Xen domain";
        assert!(reason(xen, true).is_some_and(|why| why.contains("the lab runs these tests")));
    }
}
