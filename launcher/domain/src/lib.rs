//! What to run, and its life from create to remove.
//!
//! [`Launch`] is what a user asks for. [`Apps`] turns it into an app: a state folder, orders for
//! the guest, a [`DomainSpec`], and a domain that a [`Toolstack`] builds from it. One process an
//! app, the [`monitor`], keeps its log and takes everything down when it ends. Nothing here
//! prints, and nothing here ends the process.
#![deny(unsafe_code)]

pub mod apps;
mod cgroup;
pub mod console;
pub mod disks;
mod domain_watch;
pub mod domains;
pub mod folder;
pub mod follow;
pub mod handover;
pub mod hotplug;
pub mod image_wish;
pub mod launch;
mod limiter;
pub mod log;
mod log_files;
pub mod loopdev;
pub mod monitor;
pub mod names;
pub mod native;
mod output;
pub mod pool;
pub mod reconcile;
pub mod record;
pub mod resolve;
pub mod restart;
pub mod schedule;
pub mod settings;
pub mod signal;
pub mod size;
mod sparse;
pub mod spec;
pub mod start_set;
pub mod talk;
pub mod timestamp;
pub mod timing;
pub mod toolstack;
pub mod usage;
pub mod writable;
pub mod xl;
pub mod xlcfg;

pub use apps::{App, Apps, AppsError, Change, Changed, Condition, make_state_folder};
pub use domains::AppDomain;
pub use follow::{Follow, Followed};
pub use image_wish::{CutWish, cut_wishes};
pub use launch::{Launch, MachineWish, WritableChoice};
pub use log::{Entry, Part, Stream};
pub use pool::{Pool, PoolStatus};
pub use reconcile::Repair;
pub use record::{Outcome, Phase, Record, State};
pub use restart::RestartPolicy;
pub use schedule::Schedule;
pub use settings::Settings;
pub use spec::{Disk, DomainSpec, Kind, Machine, Uuid, Vif};
pub use talk::{ExecWish, Session, TalkError};
pub use timing::{Moment, Timing, Timings};
pub use toolstack::{DomainState, Toolstack, ToolstackError, ToolstackKind};
pub use usage::Usage;
