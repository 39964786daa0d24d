//! The monitor: two small processes beside each app, from its start to its end.
//!
//! The keeper learns how the app ends, and removes its domain. It is root, holds the app's lock, and parses nothing
//! that a guest wrote. The reader writes the log, and parses the report and the start set, behind a fence. If either
//! dies, the other does no harm: without a keeper the reader ends, and the next command starts both again; if the
//! reader dies, the keeper starts another one.
//!
//! A guest can cost dom0 little: its output is read at a limited rate (see `limiter.rs`). No node that the guest may
//! write is watched, because Linux queues the events of a watch without a limit. The keeper watches for ends of
//! domains, and looks at the guest's nodes then and at a few moments after the start.

pub(crate) mod cgroup;
pub(crate) mod channel;
pub(crate) mod console;
pub(crate) mod current_reader;
pub(crate) mod fence;
pub(crate) mod keeper;
pub(crate) mod limiter;
pub(crate) mod looks;
pub(crate) mod messages;
pub(crate) mod output;
pub(crate) mod process;
pub(crate) mod reader;
pub(crate) mod readers;
pub(crate) mod refill;
pub(crate) mod run;

pub use run::run;
