//! A reader that stops a stream which goes on for ever.

use std::io::{self, Read};

/// Counts what passes and fails past a limit.
#[derive(Debug)]
pub(super) struct Metered<R> {
    inner: R,
    limit: u64,
    pub(super) passed: u64,
    /// Whether the last error was this limit and not the stream's own.
    pub(super) exceeded: bool,
}

impl<R: Read> Metered<R> {
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self { inner, limit, passed: 0, exceeded: false }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.passed += count as u64;
        if self.passed > self.limit {
            self.exceeded = true;
            return Err(io::Error::other("the layer is larger than its limit"));
        }
        Ok(count)
    }
}
