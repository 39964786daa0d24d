//! PID 1 of every domain: from the orders in xenstore to the running app, and from its end to
//! power-off.
//!
//! [`boot::run`] is the whole life of a domain, in order; the other modules are one step each.
//! The steps are short, and what takes long (disk reads, xenstore round trips) is dom0's work,
//! which is asked for early: threads mount the root, read ahead in the image, and find out what is
//! worth reading ahead.

pub mod boot;
pub mod bulk_output;
pub mod children;
pub mod clock;
pub mod console;
pub mod copy;
pub mod device;
pub mod end;
pub mod etc;
pub mod failure;
pub mod file_systems;
pub mod layer;
pub mod limits;
pub mod marks;
pub mod namespaces;
pub mod netlink;
pub mod network;
pub mod orders;
pub mod out_of_memory;
pub mod program;
pub mod reaper;
pub mod relay;
pub mod root;
pub mod signals;
pub mod spawn;
pub mod start_set;
pub mod streams;
pub mod supervise;
pub mod systemd;
pub mod talk;
pub mod terminal;
pub mod user;
