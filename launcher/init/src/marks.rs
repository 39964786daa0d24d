//! When each step of the start was done, in any thread.

use contract::Mark;
use rustix::time::{ClockId, clock_gettime};
use std::sync::{Mutex, PoisonError};

static DONE: Mutex<Vec<Mark>> = Mutex::new(Vec::new());

/// Notes that `step` is done now.
pub fn note(step: &str) {
    let at_us = u64::try_from(now_us(ClockId::Monotonic)).unwrap_or(0);
    let mark = Mark { step: step.into(), at_us };
    DONE.lock().unwrap_or_else(PoisonError::into_inner).push(mark);
}

/// All steps done so far, in order.
#[must_use]
pub fn list() -> Vec<Mark> {
    DONE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The real-time clock at the zero of the marks, as it would have been set then; see
/// [`contract::Report`].
#[must_use]
pub fn zero_unix_us() -> Option<u64> {
    u64::try_from(now_us(ClockId::Realtime) - now_us(ClockId::Monotonic)).ok()
}

fn now_us(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000)
}
