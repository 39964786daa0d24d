//! vchans: two streams of bytes between two domains, one in each direction (`libxenvchan`'s wire format).
//!
//! The [`Server`] shares the pages and publishes their grants; the [`Client`] maps them. Only functions with "wait" in
//! their names wait: [`Vchan::read`] and [`Vchan::write`] do what is possible immediately and ask the other side to
//! notify when there is more. The other side is not trusted: see [`ring`].
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
