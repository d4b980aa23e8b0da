//! Numbers that a seed decides.

use std::env;

use uuid::Uuid;

/// An xorshift generator: good enough to vary a test, and the same for the same seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins a sequence.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        // The low bits of the first numbers of neighbouring seeds are much alike.
        (self.any() >> 20) % end
    }
}

/// The seed that the environment variable `variable` has, or else one that nobody has seen yet. It is
/// printed, so that a test that fails can be run with it again.
#[expect(
    clippy::print_stderr,
    reason = "the test harness shows it when the test fails"
)]
pub fn seed_of(variable: &str) -> u64 {
    let given = env::var(variable).ok();
    let seed = given.map_or_else(any_seed, |seed| seed.parse().unwrap());
    eprintln!("{variable}={seed}");
    seed
}

fn any_seed() -> u64 {
    Uuid::new_v4().as_u64_pair().0 >> 16
}
