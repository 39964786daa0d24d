//! The monitor: two small processes an app, from its start to its end.
//!
//! The keeper learns how the app ends, and takes everything down. It is root, has the app's lock, and parses
//! nothing that a guest wrote. The reader does that: it keeps the log, and parses the report and the start set,
//! behind fences. When either dies, the other cannot do harm: without a keeper the reader ends, and the next
//! command starts both again; without a reader the keeper starts another one.
//!
//! A guest can cost dom0 little: its output is read at a limited rate (see `limiter.rs`), and no node that it
//! may write is watched. Linux queues the events of a watch without a limit. The keeper watches for domains that
//! end, which the guest's end is one of, and looks at the guest's nodes then and at a few moments after the start.

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
