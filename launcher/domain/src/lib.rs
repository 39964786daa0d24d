//! What to run, and its life from create to remove.
//!
//! [`Launch`] is what a user asks for. [`Apps`] turns it into an app: a state folder, orders for
//! the guest, a [`DomainSpec`], and a domain that a [`Toolstack`] builds from it. One process an
//! app, the [`monitor`], keeps its log and takes everything down when it ends. Nothing here
//! prints, and nothing here ends the process.
#![deny(unsafe_code)]

pub mod apps;
mod ask;
mod cgroup;
mod change;
pub mod console;
mod create;
pub mod disks;
mod domain_state;
mod domain_watch;
pub mod domains;
mod end;
mod end_watch;
pub mod error;
pub mod folder;
pub mod follow;
pub mod handover;
pub mod hotplug;
mod ids;
pub mod image_wish;
pub mod launch;
mod limiter;
pub mod lock;
pub mod log;
mod log_files;
pub mod loopdev;
pub mod monitor;
pub mod monitor_start;
pub mod names;
pub mod native;
mod network;
pub mod outcome;
mod output;
pub mod pool;
mod pooled;
pub mod reconcile;
pub mod record;
pub mod resolve;
pub mod restart;
pub mod restart_policy;
mod root;
pub mod schedule;
mod session;
pub mod settings;
pub mod signal;
pub mod size;
mod sparse;
pub mod spec;
mod start;
pub mod start_set;
pub mod talk;
pub mod talk_error;
pub mod timestamp;
pub mod timing;
pub mod toolstack;
pub mod toolstack_error;
pub mod usage;
pub mod waiting;
pub mod writable;
pub mod writable_choice;
pub mod xl;
mod xl_command;
pub mod xlcfg;

pub use apps::{App, Apps, make_state_folder};
pub use ask::Condition;
pub use change::{Change, Changed};
pub use domain_state::DomainState;
pub use domains::AppDomain;
pub use error::AppsError;
pub use follow::{Follow, Followed};
pub use image_wish::{CutWish, cut_wishes};
pub use launch::{Launch, MachineWish};
pub use log::{Entry, Part, Stream};
pub use outcome::Outcome;
pub use pool::{Pool, PoolStatus};
pub use reconcile::Repair;
pub use record::{Phase, Record, State};
pub use restart_policy::RestartPolicy;
pub use schedule::Schedule;
pub use session::Session;
pub use settings::Settings;
pub use spec::{Disk, DomainSpec, Kind, Machine, ToolstackKind, Uuid, Vif};
pub use talk::ExecWish;
pub use talk_error::TalkError;
pub use timing::{Moment, Timing, Timings};
pub use toolstack::Toolstack;
pub use toolstack_error::ToolstackError;
pub use usage::Usage;
pub use waiting::Waiting;
pub use writable_choice::WritableChoice;
