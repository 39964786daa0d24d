//! Commands about apps, one file for each verb.

pub(crate) mod attach;
pub(crate) mod config;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod describe;
mod docker_flags;
pub(crate) mod exec;
mod foreground;
mod id_file;
pub(crate) mod kill;
pub(crate) mod logs;
pub(crate) mod pause;
pub(crate) mod port;
pub(crate) mod ps;
pub(crate) mod rename;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod run;
mod spec;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod update;
pub(crate) mod wait;
