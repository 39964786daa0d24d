//! The disks of domains, as block devices of dom0.

pub mod attached;
pub mod loopdev;
