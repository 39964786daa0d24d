//! Sends files and folders between dom0 and a guest, in a format of `launch`'s own.
//!
//! One side walks a tree and sends it ([`send`]); the other reads the stream and writes a copy of the tree
//! ([`receive()`] into a [`Tree`]). Neither trusts the other: the reader holds one record at a time, checks that it may
//! follow the previous one, and counts it against [`Limits`].
//!
//! Why not tar: a tar's extension headers may have any size and its entries name whole paths, so a reader must bound
//! and resolve them. This format has neither.
#![forbid(unsafe_code)]

mod error;
mod reader;
mod sender;
mod tree;
mod wire;

pub use error::{CopyError, Limit};
pub use reader::{Limits, Sink, Summary, read_preamble, receive};
pub use sender::{SendError, send};
pub use tree::{Rights, Top, Tree};
pub use wire::{Kind, LeftOut, Meta, Writer};
