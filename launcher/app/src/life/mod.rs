//! The life of an app, with one file for each verb.

pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod end;
pub(crate) mod kill;
pub(crate) mod launch;
pub(crate) mod monitor_process;
pub(crate) mod monitor_start;
pub(crate) mod pause;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod repair;
pub(crate) mod restart;
pub(crate) mod signal;
pub(crate) mod sigterm;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod update;
pub(crate) mod wait;

pub use config::config;
pub use create::create;
pub use kill::kill;
pub use launch::launch;
pub use monitor_start::MonitorStart;
pub use pause::{pause, unpause};
pub use remove::{remove, remove_damaged};
pub use rename::rename;
pub use repair::{repair, repair_at_times};
pub use restart::{RESTART_ROLE, at_boot, restart_inherited};
pub use signal::signal;
pub use start::start;
pub use stop::{stop, stop_to_start, stop_with_host};
pub use update::{Change, Changed, update};
pub use wait::wait;
