//! The disks of domains, as block devices of dom0.

pub(crate) mod attached;
pub(crate) mod loopdev;
