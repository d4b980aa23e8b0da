//! Points in time, and the clocks that tell them.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;

/// A point in time, to the microsecond: the resolution that every backend stores exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text was not an RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// The time that many microseconds after 1970-01-01T00:00:00Z; negative is before.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The time `after` later; the latest that can be told, should that overflow.
    #[must_use]
    pub fn saturating_add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(micros(after)))
    }

    /// The time `before` earlier; the earliest that can be told, should that overflow.
    #[must_use]
    pub fn saturating_sub(self, before: Duration) -> Self {
        Self(self.0.saturating_sub(micros(before)))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Rounds down to the microsecond.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(micros(after)),
            Err(before) => Self(micros(before.duration()).saturating_neg()),
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let distance = Duration::from_micros(time.0.unsigned_abs());
        if time.0 < 0 {
            UNIX_EPOCH - distance
        } else {
            UNIX_EPOCH + distance
        }
    }
}

/// Prints RFC 3339 in UTC, such as `2026-05-04T12:00:00.123456Z`; a time beyond the year 9999 as the
/// last one that RFC 3339 can tell.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let out_of_range = if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        };
        jiff::Timestamp::from_microsecond(self.0)
            .unwrap_or(out_of_range)
            .fmt(f)
    }
}

/// Reads a `date-time` of RFC 3339, section 5.6, and nothing else of ISO 8601: with seconds, and with
/// any offset. What is finer than a microsecond is dropped, and a leap second is the second before.
impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let mut rest = text.as_bytes();
        take_date_time(&mut rest)
            .filter(|_| rest.is_empty())
            .ok_or(InvalidTimestamp)
    }
}

fn take_date_time(rest: &mut &[u8]) -> Option<Timestamp> {
    let year = take_number(rest, 4)?;
    let month = take_after(rest, b"-")?;
    let day = take_after(rest, b"-")?;
    let hour = take_after(rest, b"Tt")?;
    let minute = take_after(rest, b":")?;
    let second = take_after(rest, b":").map(|second| if second == 60 { 59 } else { second })?;
    let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let micros = take_fraction(rest)?;
    let since_epoch = time.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    let seconds = since_epoch.as_secs() - take_offset_seconds(rest)?;
    Some(Timestamp(seconds * 1_000_000 + micros))
}

fn take_one(rest: &mut &[u8], of: &[u8]) -> Option<u8> {
    let (&first, after) = rest.split_first().filter(|(first, _)| of.contains(first))?;
    *rest = after;
    Some(first)
}

fn take_number(rest: &mut &[u8], digits: usize) -> Option<i16> {
    (0..digits).try_fold(0, |number, _| {
        let digit = take_one(rest, b"0123456789")?;
        Some(number * 10 + i16::from(digit - b'0'))
    })
}

/// Takes two digits that follow one of `separators`.
fn take_after(rest: &mut &[u8], separators: &[u8]) -> Option<i8> {
    take_one(rest, separators)?;
    i8::try_from(take_number(rest, 2)?).ok()
}

/// Takes the fraction of a second, if there is one, in microseconds.
fn take_fraction(rest: &mut &[u8]) -> Option<i64> {
    if take_one(rest, b".").is_none() {
        return Some(0);
    }
    let mut micros = i64::from(take_number(rest, 1)?) * 100_000;
    let mut unit = 10_000;
    while let Some(digit) = take_number(rest, 1) {
        micros += i64::from(digit) * unit;
        unit /= 10;
    }
    Some(micros)
}

/// Takes the distance from UTC, in seconds.
fn take_offset_seconds(rest: &mut &[u8]) -> Option<i64> {
    let sign = take_one(rest, b"Zz+-")?;
    if sign.eq_ignore_ascii_case(&b'z') {
        return Some(0);
    }
    let hours = i64::from(take_number(rest, 2).filter(|&hours| hours < 24)?);
    let minutes = i64::from(take_after(rest, b":").filter(|&minutes| minutes < 60)?);
    let seconds = hours * 3600 + minutes * 60;
    Some(if sign == b'-' { -seconds } else { seconds })
}

/// Tells the time. Backends ask one instead of the system, so that a test can let a day pass.
///
/// Platforms that share a database should keep their clocks within a second or so of each other
/// (NTP does): a file's time to live is counted by the clock of the instance that published it and
/// ended by the clock of the one that is asked for it.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// A clock that stands still until it is told to go on, for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn starting_at(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.as_micros()))
    }

    /// Lets `elapsed` pass.
    pub fn advance(&self, elapsed: Duration) {
        self.0.fetch_add(micros(elapsed), Ordering::SeqCst);
    }

    /// Sets it back, as happens to a clock that was ahead.
    pub fn set_back(&self, by: Duration) {
        self.0.fetch_sub(micros(by), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_prints_as_rfc_3339_in_utc() {
        let time: Timestamp = "2026-05-04T14:00:00.123456789+02:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-05-04T12:00:00.123456Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-05-04",
            "2026-05-04T12:00:00",
            "1777890000",
            "2026-05-04T12Z",
            "2026-05-04T12:00Z",
            "2026-05-04 12:00:00Z",
            "20260504T120000Z",
            "2026-05-04T120000Z",
            "2026-05-04T12:00:00Z[UTC]",
            "2026-05-04T12:00:00+00:00[UTC]",
            "+002026-05-04T12:00:00Z",
            "-2026-05-04T12:00:00Z",
            "2026-05-04T12:00:00+00",
            "2026-05-04T12:00:00+0000",
            "2026-05-04T12:00:00+00:00:00",
            "2026-05-04T12:00:00+24:00",
            "2026-05-04T12:00:00+00:60",
            "2026-05-04T12:00:00,5Z",
            "2026-05-04T12:00:00.Z",
            "2026-05-04T12:00:00.5",
            "2026-05-04T12:00:00Z ",
            " 2026-05-04T12:00:00Z",
            "2026-5-4T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-05-04T24:00:00Z",
            "2026-05-04T12:60:00Z",
            "2026-05-04T12:00:61Z",
            "２026-05-04T12:00:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
    }

    #[test]
    fn every_time_of_rfc_3339_is_read() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00.1z", 100_000),
            ("1970-01-01T00:00:00.123456999999999Z", 123_456),
            ("1969-12-31T23:59:59.9999999Z", -1),
            ("1969-12-31T22:30:00-01:30", 0),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1970-01-01T00:00:00-00:00", 0),
            ("1990-12-31T23:59:60Z", 662_687_999_000_000),
            ("1990-12-31T15:59:60.25-08:00", 662_687_999_250_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000_000),
            ("9999-12-31T23:59:59.999999999Z", 253_402_300_799_999_999),
            ("9999-12-31T23:59:59-23:59", 253_402_387_139_000_000),
        ] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(text.parse(), Ok(time), "{text}");
        }
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::starting_at(Timestamp::from_micros(0));
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), Timestamp::from_micros(1_000_000));
        assert_eq!(clock.now(), clock.now());
    }

    proptest! {
        #[test]
        fn a_time_is_read_as_it_was_printed(micros in -60_000_000_000_000_000..250_000_000_000_000_000_i64) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
            prop_assert_eq!(Timestamp::from(SystemTime::from(time)), time);
        }

        #[test]
        fn printing_never_fails(micros in any::<i64>()) {
            prop_assert!(!Timestamp::from_micros(micros).to_string().is_empty());
        }
    }
}
