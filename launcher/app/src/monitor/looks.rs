//! Decides when the keeper looks at the nodes that a guest writes, since it does not watch them.

use std::time::{Duration, Instant};

/// How long after the monitor's start the guest's nodes are looked at first. Each further look comes after twice the
/// time, up to the longest.
const FIRST_LOOK: Duration = Duration::from_millis(200);
const LONGEST_BETWEEN_LOOKS: Duration = Duration::from_secs(600);
/// The longest time between looks while the guest may soon write its image's start set, which takes it 5 to 10 s.
const BETWEEN_LOOKS_FOR_START_SET: Duration = Duration::from_secs(2);
const START_SET_COMES_WITHIN: Duration = Duration::from_secs(120);

/// The times at which the guest's nodes are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    begin: Instant,
    pub(super) next: Instant,
}

impl Looks {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { begin: now, next: now + FIRST_LOOK }
    }

    /// Whether a look is due now; if so, plans the next one.
    pub(super) fn is_due(&mut self, now: Instant, for_start_set: bool) -> bool {
        if now < self.next {
            return false;
        }
        let since = now.duration_since(self.begin);
        let mut delay = (since + FIRST_LOOK).min(LONGEST_BETWEEN_LOOKS);
        if for_start_set && since < START_SET_COMES_WITHIN {
            delay = delay.min(BETWEEN_LOOKS_FOR_START_SET);
        }
        self.next = now + delay;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times of the looks within `seconds`, in milliseconds after the start.
    fn looks(seconds: u64, for_start_set: bool) -> Vec<u128> {
        let mut looks = Looks::new();
        let mut at = vec![];
        while looks.next.duration_since(looks.begin) < Duration::from_secs(seconds) {
            at.push(looks.next.duration_since(looks.begin).as_millis());
            assert!(looks.is_due(looks.next, for_start_set));
        }
        at
    }

    #[test]
    fn a_guest_is_looked_at_soon_after_its_start_and_hardly_ever_later() {
        assert_eq!(looks(7, false), [200, 600, 1400, 3000, 6200]);
        assert!(looks(3600, false).len() < 20, "{:?}", looks(3600, false));
    }

    #[test]
    fn a_start_set_is_looked_for_as_long_as_it_may_come() {
        let at = looks(3600, true);
        assert!(at.iter().filter(|at| (5000..=20_000).contains(*at)).count() >= 6, "{at:?}");
        assert!(at.len() < 80, "{at:?}");
        // A start set that comes later is found too.
        assert!(at.windows(2).all(|pair| pair[1] <= 2 * pair[0] + 200), "{at:?}");
    }
}
