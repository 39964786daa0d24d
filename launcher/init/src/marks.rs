//! When each step of the start was done, whichever thread did it.

use contract::Mark;
use rustix::time::{ClockId, clock_gettime};
use std::sync::{Mutex, PoisonError};

static DONE: Mutex<Vec<Mark>> = Mutex::new(Vec::new());

/// Notes that `step` is done now.
pub fn note(step: &str) {
    let now = clock_gettime(ClockId::Monotonic);
    let us = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
    let mark = Mark { step: step.to_owned(), at_us: u64::try_from(us).unwrap_or(0) };
    DONE.lock().unwrap_or_else(PoisonError::into_inner).push(mark);
}

/// All steps done so far, in order.
#[must_use]
pub fn list() -> Vec<Mark> {
    DONE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
