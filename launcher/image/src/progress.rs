//! Progress: what a pull tells while it works.

use crate::digest::Digest;
use contract::Untrusted;
use serde::{Deserialize, Serialize};

/// One step of a pull or a conversion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The name is being turned into a digest.
    Resolving {
        /// The image as it was asked for.
        name: String,
    },
    /// Another process is pulling this image; its work will be used.
    Waiting {
        /// The image.
        digest: Digest,
    },
    /// The image is in the store already.
    Present {
        /// The image.
        digest: Digest,
    },
    /// A name now leads to the image.
    Named {
        /// The name.
        name: String,
        /// The image.
        digest: Digest,
        /// The image that it led to.
        before: Option<Digest>,
    },
    /// The image is fetched and converted though the kernel lacks a fence around that; only where
    /// the settings allow it.
    Unsandboxed {
        /// What is missing and why; one line.
        missing: Untrusted,
    },
    /// A file of logins cannot be read, or a program that keeps them fails; the fetch went on without.
    LoginProblem {
        /// What is wrong with which file; one line.
        problem: Untrusted,
    },
    /// Layers are about to be read.
    Layers {
        /// The size of each as stored, in bytes, in the order they are read; 0: not known.
        bytes: Vec<u64>,
    },
    /// Part of a layer was read.
    Layer {
        /// Which one, from 0.
        index: usize,
        /// How much of it was read so far, in bytes as stored.
        done_bytes: u64,
    },
    /// Something went wrong and is tried again.
    Retry {
        /// What, and when again: often in the registry's words.
        reason: Untrusted,
    },
    /// All layers were read; the disk is being completed.
    Finishing,
}

/// Takes the events of a pull; `()` ignores them.
pub trait Progress {
    /// Called for every event, from one thread.
    fn event(&mut self, event: &Event);
}

impl Progress for () {
    fn event(&mut self, _: &Event) {}
}

impl<F: FnMut(&Event)> Progress for F {
    fn event(&mut self, event: &Event) {
        self(event);
    }
}
