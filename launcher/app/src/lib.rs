//! Apps: what a user asks to run, and everything from its creation to its removal.
//!
//! [`RunRequest`] is what a user asks for. The verbs in [`life`] turn it into an app: a state folder, orders for
//! the guest, and a domain that a [`toolstack::Toolstack`] builds. The two processes of the [`monitor`] write the
//! app's log and remove its domain when it ends. No function here prints or ends the process.
//!
//! Each room may use only those before it: `record`, `store`, then `request`, `storage` and `log`, then [`Apps`],
//! which finds apps and changes none, then `guest` and `network`, `pool`, `life`, `follow`, `monitor`.
#![deny(unsafe_code)]

mod apps;
mod domain;
mod error;
mod follow;
pub mod guest;
pub mod life;
mod log;
pub mod monitor;
mod network;
pub mod pool;
mod record;
pub mod request;
mod settings;
mod storage;
mod store;
#[cfg(test)]
mod tests;

pub use apps::{App, Apps, make_state_folder};
pub use contract::Stream;
pub use domain::{Condition, condition, usage};
pub use error::AppsError;
pub use follow::{Follow, Followed, follow};
pub use guest::error::TalkError;
pub use guest::session::Session;
pub use guest::verbs::ExecRequest;
pub use life::update::{Change, Changed};
pub use log::timestamp;
pub use log::writer::{Entry, LogFilter};
pub use pool::pools::{Pool, PoolStatus};
pub use record::app::{Network, Record};
pub use record::outcome::{End, Outcome};
pub use record::repair::Repair;
pub use record::restart_policy::RestartPolicy;
pub use record::state::{Attempts, Last, Phase, State};
pub use record::timing::{Moment, Timing, Timings, now_unix_us};
pub use record::writable_choice::WritableChoice;
pub use request::error::ResolveError;
pub use request::image_request::{CutRequest, cut_requests};
pub use request::run_request::{RunRequest, ShapeRequest};
pub use settings::Settings;
pub use storage::writable::WritableError;
pub use store::names::NameError;
pub use toolstack::{Kind, Schedule, Shape, ToolstackError, ToolstackKind, Usage, Uuid, schedule};
