//! Faults that a seed picks, for each connection anew.

use std::time::Duration;

use super::{Direction, Fault, Moment};
use crate::{Random, seed_of};

/// How often each fault is picked, in proportion to the others. [`Default`] picks them all, and lets
/// one connection of three pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Nothing happens.
    pub pass: u64,
    /// The connection is reset as soon as it is there.
    pub refuse: u64,
    /// [`Fault::Cut`] after up to 1 MiB in some direction.
    pub cut: u64,
    /// [`Fault::Reset`] after up to 1 MiB in some direction.
    pub reset: u64,
    /// [`Fault::Stall`] after up to 1 MiB in some direction.
    pub stall: u64,
    /// [`Fault::HalfAnswer`] to the first request.
    pub half_answer: u64,
    /// [`Fault::Delay`] by up to 50 ms.
    pub delay: u64,
    /// [`Fault::Trickle`] in some direction, at about 100 KiB/s or more.
    pub trickle: u64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            pass: 4,
            refuse: 1,
            cut: 2,
            reset: 2,
            stall: 1,
            half_answer: 1,
            delay: 1,
            trickle: 1,
        }
    }
}

/// Picks what happens to one connection after the other. The same seed picks the same, in the same
/// order.
#[derive(Debug, Clone)]
pub struct Storm {
    random: Random,
    weights: Weights,
}

impl Storm {
    /// A storm that `seed` decides.
    pub fn from_seed(seed: u64, weights: Weights) -> Self {
        Self {
            random: Random::from_seed(seed),
            weights,
        }
    }

    /// A storm of the seed that the environment variable `variable` has, or else of a new one, which
    /// is printed: see [`seed_of`].
    pub fn of_variable(variable: &str, weights: Weights) -> Self {
        Self::from_seed(seed_of(variable), weights)
    }

    /// What happens to the next connection.
    pub(super) fn next(&mut self) -> Option<Fault> {
        let makers: [(u64, Maker); 8] = [
            (self.weights.pass, |_| None),
            (self.weights.refuse, |_| Some(Fault::Reset(Moment::AtOnce))),
            (self.weights.cut, |random| Some(Fault::Cut(moment(random)))),
            (self.weights.reset, |random| {
                Some(Fault::Reset(moment(random)))
            }),
            (self.weights.stall, |random| {
                Some(Fault::Stall(moment(random)))
            }),
            (self.weights.half_answer, |_| {
                Some(Fault::HalfAnswer("HTTP/1.1".to_owned()))
            }),
            (self.weights.delay, |random| Some(delay(random))),
            (self.weights.trickle, |random| Some(trickle(random))),
        ];
        let mut left = self
            .random
            .below(makers.iter().map(|(weight, _)| weight).sum());
        for (weight, make) in makers {
            if left < weight {
                return make(&mut self.random);
            }
            left -= weight;
        }
        None
    }
}

type Maker = fn(&mut Random) -> Option<Fault>;

fn direction(random: &mut Random) -> Direction {
    match random.below(2) {
        0 => Direction::ToServer,
        _ => Direction::ToClient,
    }
}

/// After up to 1 MiB; small numbers are as likely as large ones, so that heads are hit as often as
/// bodies.
fn moment(random: &mut Random) -> Moment {
    let size = random.below(20);
    Moment::Bytes(direction(random), random.below(2 << size))
}

fn delay(random: &mut Random) -> Fault {
    Fault::Delay(Duration::from_millis(1 + random.below(50)))
}

fn trickle(random: &mut Random) -> Fault {
    let kib = 1 + usize::try_from(random.below(16)).unwrap();
    Fault::Trickle {
        direction: direction(random),
        bytes: kib * 1024,
        every: Duration::from_millis(1 + random.below(10)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn picked(seed: u64) -> Vec<Option<Fault>> {
        let mut storm = Storm::from_seed(seed, Weights::default());
        (0..500).map(|_| storm.next()).collect()
    }

    #[test]
    fn a_seed_picks_every_kind_and_the_same_again() {
        let some = picked(1);
        assert_eq!(some, picked(1));
        assert_ne!(some, picked(2));
        let kinds: BTreeSet<_> = some.iter().flatten().map(Fault::kind).collect();
        assert_eq!(kinds.len(), 6);
        assert!(some.contains(&None));
        assert!(some.contains(&Some(Fault::Reset(Moment::AtOnce))));
    }

    #[test]
    fn what_has_no_weight_is_never_picked() {
        let weights = Weights {
            pass: 0,
            refuse: 0,
            cut: 0,
            reset: 0,
            stall: 0,
            half_answer: 0,
            delay: 1,
            trickle: 0,
        };
        let mut storm = Storm::from_seed(3, weights);
        let all_delay = (0..100).all(|_| matches!(storm.next(), Some(Fault::Delay(_))));
        assert!(all_delay);
    }
}
