//! When each step of the start was done.

use contract::Mark;
use rustix::time::{ClockId, clock_gettime};

/// The steps done so far.
#[derive(Debug, Default)]
pub struct Marks(Vec<Mark>);

impl Marks {
    /// Notes that `step` is done now.
    pub fn note(&mut self, step: &str) {
        let now = clock_gettime(ClockId::Monotonic);
        let us = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.0.push(Mark { step: step.to_owned(), at_us: u64::try_from(us).unwrap_or(0) });
    }

    /// All steps, in order.
    #[must_use]
    pub fn list(&self) -> &[Mark] {
        &self.0
    }
}
