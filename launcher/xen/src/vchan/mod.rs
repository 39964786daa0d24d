//! vchan: two streams of bytes between two domains, one each way (`libxenvchan`'s wire format).
//!
//! The [`Server`] shares the pages and publishes their grants; the [`Client`] maps them. Only functions
//! whose names say so wait: [`Vchan::read`] and [`Vchan::write`] do what can be done now and have
//! the other side notify when there is more. The other side is not trusted: see [`ring`].
//!
//! Source: `xen/include/public/io/libxenvchan.h`, Xen 4.20.

mod client;
mod end;
mod error;
mod page;
mod ring;
mod server;

pub use client::Client;
pub use end::Vchan;
pub use error::VchanError;
pub use server::{EVENT_CHANNEL, Peer, RING_REF, Server};
