//! Limits how fast an app's output is taken: a budget of bytes written to disk and one of processor time.
//!
//! Both budgets are token buckets that are charged after the work, so the last piece of work may overdraw one. The
//! caller then waits until neither is overdrawn. The caller reads the clocks.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The two clocks of the budgets, each with its own zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clocks {
    /// Monotonic time.
    pub(crate) elapsed: Duration,
    /// Processor time of this process, in user space and in the kernel.
    pub(crate) processor: Duration,
}

impl Clocks {
    /// Reads both clocks.
    pub(crate) fn now() -> Self {
        let read = |id| Duration::try_from(clock_gettime(id)).unwrap_or_default();
        Self { elapsed: read(ClockId::Monotonic), processor: read(ClockId::ProcessCPUTime) }
    }
}

/// A limit on spending: `per_second` on average, and `burst` at once after a rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) per_second: u64,
    pub(crate) burst: u64,
}

/// One budget and its balance.
#[derive(Clone, Debug)]
struct Bucket {
    budget: Budget,
    /// Negative if the budget is overdrawn.
    left: i128,
    filled_at: Duration,
}

impl Bucket {
    fn new(budget: Budget, now: Duration) -> Self {
        Self { budget, left: i128::from(budget.burst), filled_at: now }
    }

    fn refill(&mut self, now: Duration) {
        let Some(passed) = now.checked_sub(self.filled_at) else { return };
        // `u128` holds a rate times the nanoseconds of 500 years.
        let gained = u128::from(self.budget.per_second) * passed.as_nanos() / NANOS;
        // If less than one token was gained, the time counts at the next call.
        if gained > 0 || passed >= Duration::from_secs(1) {
            self.filled_at = now;
            let gained = i128::try_from(gained).unwrap_or(i128::MAX);
            self.left = self.left.saturating_add(gained).min(i128::from(self.budget.burst));
        }
    }

    fn spend(&mut self, amount: u64) {
        self.left = self.left.saturating_sub(i128::from(amount));
    }

    /// How long until the balance is positive; `None` if it is.
    fn wait(&self) -> Option<Duration> {
        if self.left > 0 {
            return None;
        }
        let missing = self.left.unsigned_abs() + 1;
        let rate = u128::from(self.budget.per_second.max(1));
        let nanos = (missing * NANOS).div_ceil(rate);
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(LONGEST_WAIT))
    }
}

const NANOS: u128 = 1_000_000_000;
/// A longer wait is split into waits of this length.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The budgets of one app's output.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    bytes: Bucket,
    /// In nanoseconds.
    processor: Bucket,
    /// The processor clock when it was last charged.
    charged: Duration,
}

impl Limiter {
    /// Full budgets: `bytes`, and `processor` in nanoseconds of processor time.
    pub(crate) fn new(bytes: Budget, processor: Budget, now: Clocks) -> Self {
        Self {
            bytes: Bucket::new(bytes, now.elapsed),
            processor: Bucket::new(processor, now.elapsed),
            charged: now.processor,
        }
    }

    /// Charges `bytes` that were written, and the processor time since the last charge.
    pub(crate) fn charge(&mut self, bytes: u64, now: Clocks) {
        let used = now.processor.saturating_sub(self.charged);
        self.charged = now.processor;
        self.bytes.refill(now.elapsed);
        self.processor.refill(now.elapsed);
        self.bytes.spend(bytes);
        self.processor.spend(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How long the caller must wait after the last charge before it takes more from the guest; `None` if not at all.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.bytes.wait().max(self.processor.wait())
    }

    /// How many bytes and nanoseconds the balances are below full budgets, for the limiter of the next process.
    pub(crate) fn debt(&self) -> Debt {
        let below = |bucket: &Bucket| {
            let debt = i128::from(bucket.budget.burst).saturating_sub(bucket.left);
            u64::try_from(debt).unwrap_or(u64::MAX)
        };
        Debt { bytes: below(&self.bytes), processor_ns: below(&self.processor) }
    }

    /// Takes over the debt of the previous process.
    pub(crate) fn owe(&mut self, debt: Debt) {
        self.bytes.spend(debt.bytes);
        self.processor.spend(debt.processor_ns);
    }
}

/// What was spent and is not refilled yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Debt {
    pub(crate) bytes: u64,
    pub(crate) processor_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: Budget = Budget { per_second: 1000, burst: 4000 };
    /// A tenth of a processor, and half a second at once.
    const PROCESSOR: Budget = Budget { per_second: 100_000_000, burst: 500_000_000 };

    fn at(elapsed_ms: u64, processor_ms: u64) -> Clocks {
        let [elapsed, processor] = [elapsed_ms, processor_ms].map(Duration::from_millis);
        Clocks { elapsed, processor }
    }

    /// Takes pieces of `bytes` and `processor_ms` each, as fast as the limiter allows, for a minute. Returns bytes and
    /// milliseconds of processor time per second.
    fn flood(bytes: u64, processor_ms: u64) -> (u64, u64) {
        let mut limiter = Limiter::new(BYTES, PROCESSOR, at(0, 0));
        let (mut now, mut written) = (at(0, 0), 0);
        while now.elapsed < Duration::from_secs(60) {
            now.elapsed += Duration::from_millis(processor_ms);
            now.processor += Duration::from_millis(processor_ms);
            written += bytes;
            limiter.charge(bytes, now);
            while let Some(wait) = limiter.wait() {
                now.elapsed += wait;
                limiter.charge(0, now);
            }
        }
        let used = u64::try_from(now.processor.as_millis()).unwrap();
        let seconds = now.elapsed.as_secs();
        (written / seconds, used / seconds)
    }

    #[test]
    fn an_app_that_writes_without_end_gets_its_rate_of_bytes_and_no_more() {
        let (bytes, _) = flood(100, 1);
        assert!((1000..=1070).contains(&bytes), "{bytes} bytes a second");
    }

    #[test]
    fn an_app_that_writes_nothing_but_costs_processor_time_gets_its_share_and_no_more() {
        let (_, processor_ms) = flood(0, 3);
        assert!((100..=110).contains(&processor_ms), "{processor_ms} ms a second");
    }

    #[test]
    fn the_stricter_of_both_budgets_counts_for_large_and_costly_pieces() {
        let (bytes, processor_ms) = flood(50, 20);
        assert!((250..=280).contains(&bytes), "{bytes} bytes a second");
        assert!((100..=112).contains(&processor_ms), "{processor_ms} ms a second");
        let (bytes, _) = flood(100_000, 1);
        assert!((900..=1070).contains(&bytes), "{bytes} bytes a second");
    }

    #[test]
    fn an_app_that_writes_little_never_waits_and_has_its_burst_again_after_a_rest() {
        let mut limiter = Limiter::new(BYTES, PROCESSOR, at(0, 0));
        for second in 1..100 {
            limiter.charge(900, at(1000 * second, second));
            assert_eq!(limiter.wait(), None);
        }
        limiter.charge(3999, at(200_000, 100));
        assert_eq!(limiter.wait(), None);
        limiter.charge(1001, at(200_000, 100));
        assert_eq!(limiter.wait(), Some(Duration::from_millis(1001)));
        limiter.charge(0, at(201_001, 100));
        assert_eq!(limiter.wait(), None);
        limiter.charge(0, at(300_000, 100));
        assert_eq!(limiter.debt(), Debt::default());
    }

    #[test]
    fn what_is_owed_goes_over_to_the_next_process() {
        let mut limiter = Limiter::new(BYTES, PROCESSOR, at(0, 0));
        limiter.charge(9000, at(0, 700));
        let debt = limiter.debt();
        assert_eq!(debt, Debt { bytes: 9000, processor_ns: 700_000_000 });
        let mut next = Limiter::new(BYTES, PROCESSOR, at(5000, 1));
        assert_eq!(next.wait(), None);
        next.owe(debt);
        assert_eq!(next.wait(), limiter.wait());
    }

    #[test]
    fn clocks_that_stand_still_or_go_back_and_rates_of_nothing_do_no_harm() {
        let none = Budget { per_second: 0, burst: 0 };
        let mut limiter = Limiter::new(none, none, at(10, 10));
        limiter.charge(u64::MAX, at(5, 5));
        assert_eq!(limiter.wait(), Some(LONGEST_WAIT));
        let mut limiter = Limiter::new(BYTES, PROCESSOR, at(10, 10));
        (0..1_000_000).for_each(|_| limiter.charge(0, at(0, 0)));
        assert_eq!(limiter.wait(), None);
    }
}
