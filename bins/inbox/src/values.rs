//! The values of settings: parsed once, from an option, a variable or the file, right from then on.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use command_line::text;
use serde::de::{Deserialize, Deserializer, Error};

/// The longest time that a setting takes: ten years, far from where arithmetic on times ends.
const MAX_SECONDS: u64 = 10 * 365 * 24 * 60 * 60;
/// The most bytes that a setting takes: 1 PiB.
const MAX_BYTES: u64 = 1 << 50;

/// A time in whole seconds, at least one.
pub(crate) type Seconds = Within<1, MAX_SECONDS>;
/// How long a poll waits, in whole seconds: the platform waits for a minute at the most.
pub(crate) type WaitSeconds = Within<1, 60>;
/// A number of bytes, at least one.
pub(crate) type SomeBytes = Within<1, MAX_BYTES>;
/// A number of bytes, which may be none.
pub(crate) type Bytes = Within<0, MAX_BYTES>;
/// How many files are fetched at once.
pub(crate) type Parallel = Within<1, 64>;

/// A whole number within these bounds, both of them in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Within<const MIN: u64, const MAX: u64>(u64);

/// A number that is none, or not within its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a whole number from {min} to {max} is expected")]
pub(crate) struct OutOfBounds {
    min: u64,
    max: u64,
}

/// A text of the settings file that stands for a `T`.
#[derive(Debug, Clone)]
pub(crate) struct Parsed<T>(pub(crate) T);

/// A command for the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShellCommand(String);

/// There is nothing to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command is expected")]
pub(crate) struct NoCommand;

impl<const MIN: u64, const MAX: u64> Within<MIN, MAX> {
    const REFUSED: OutOfBounds = OutOfBounds { min: MIN, max: MAX };

    /// The number.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// So many seconds.
    pub(crate) const fn seconds(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// The number, if it is not zero.
    pub(crate) fn non_zero(self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.0)
    }

    /// The number, if it is not zero, to count things in memory.
    pub(crate) fn count(self) -> Option<NonZeroUsize> {
        usize::try_from(self.0).ok().and_then(NonZeroUsize::new)
    }

    fn new(number: u64) -> Result<Self, OutOfBounds> {
        let within = (MIN..=MAX).contains(&number);
        within.then_some(Self(number)).ok_or(Self::REFUSED)
    }
}

impl<const MIN: u64, const MAX: u64> FromStr for Within<MIN, MAX> {
    type Err = OutOfBounds;

    fn from_str(text: &str) -> Result<Self, OutOfBounds> {
        Self::new(text.parse().map_err(|_| Self::REFUSED)?)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Within<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer).map_err(|_| D::Error::custom(Self::REFUSED))?;
        Self::new(number).map_err(D::Error::custom)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parsed = text(deserializer)?.parse();
        parsed.map(Self).map_err(D::Error::custom)
    }
}

impl ShellCommand {
    /// The command.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ShellCommand {
    type Err = NoCommand;

    fn from_str(text: &str) -> Result<Self, NoCommand> {
        let empty = text.trim().is_empty();
        (!empty).then(|| Self(text.to_owned())).ok_or(NoCommand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_within_its_bounds() {
        assert_eq!("1".parse::<Seconds>().unwrap().seconds().as_secs(), 1);
        assert_eq!("0".parse::<Bytes>().unwrap().get(), 0);
        assert!("315360000".parse::<Seconds>().is_ok());
        for text in [
            "0",
            "-1",
            "1.5",
            "1s",
            "",
            "315360001",
            "99999999999999999999",
        ] {
            let error = text.parse::<Seconds>().unwrap_err();
            let sentence = "a whole number from 1 to 315360000 is expected";
            assert_eq!(error.to_string(), sentence, "{text}");
        }
    }

    #[test]
    fn a_command_does_something() {
        assert_eq!(" ".parse::<ShellCommand>(), Err(NoCommand));
        assert_eq!("true".parse::<ShellCommand>().unwrap().as_str(), "true");
    }
}
