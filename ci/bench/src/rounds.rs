//! Rounds: every contender has one turn in each round, in a changing order.

/// The round and the contender of each turn, for `count` contenders.
///
/// In as many rounds as there are contenders, each has each place once. If their number is even, each also follows each
/// other once: so the effect of one on the next (a working daemon, a cold cache) is spread over all. Design: E. J.
/// Williams, 1949.
pub(crate) fn turns(
    rounds: impl IntoIterator<Item = usize>,
    count: usize,
) -> impl Iterator<Item = (usize, usize)> {
    rounds.into_iter().flat_map(move |round| {
        (0..count).map(move |place| {
            let step = place.div_ceil(2);
            let first = if place % 2 == 1 { step } else { count - step };
            (round, (first + round) % count)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::turns;
    use std::collections::BTreeSet;

    #[test]
    fn everyone_runs_once_a_round_and_once_after_each_other_one() {
        for count in [1, 2, 5, 12] {
            let mut pairs = BTreeSet::new();
            for round in 0..count {
                let all: Vec<usize> = turns([round], count).map(|(_, index)| index).collect();
                assert_eq!(all.iter().copied().collect::<BTreeSet<_>>(), (0..count).collect());
                pairs.extend(all.windows(2).map(|two| (two[0], two[1])));
            }
            if count % 2 == 0 {
                assert_eq!(pairs.len(), count * (count - 1));
            }
        }
    }
}
