//! When something that failed is tried again.

use std::time::{Duration, SystemTime};

use httpdate::parse_http_date;

use crate::RetryPolicy;

/// Tells how long to wait after each failure in a row.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    policy: RetryPolicy,
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self {
            policy,
            failures: 0,
        }
    }

    /// Counts a failure, and says how long to wait before the next try: a random time below a bound
    /// that doubles with each failure in a row, and no less than what was `asked` for, as far as the
    /// policy heeds that.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        let heeded = asked.unwrap_or_default().min(self.policy.longest_asked);
        random_below(bound).max(heeded)
    }

    /// Something went well: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    fn bound(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures);
        self.policy
            .first
            .saturating_mul(doubled)
            .min(self.policy.longest)
    }
}

/// A random time up to `bound`. Without randomness it is `bound` itself: too long a wait harms less
/// than too short a one.
fn random_below(bound: Duration) -> Duration {
    getrandom::u32().map_or(bound, |random| {
        let nanos = bound.as_nanos() * u128::from(random) / u128::from(u32::MAX);
        Duration::from_nanos_u128(nanos)
    })
}

/// Reads a `Retry-After` (RFC 9110, section 10.2.3): a number of seconds, or a date. A date is counted
/// from the `date` of the same answer, so that nobody's clock has to be right, and from `now` without
/// one; one that has passed asks for no time. What is neither asks for nothing.
pub(crate) fn retry_after(value: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = parse_http_date(value).ok()?;
    let sent = date.and_then(|date| parse_http_date(date).ok());
    Some(
        until
            .duration_since(sent.unwrap_or(now))
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use httpdate::fmt_http_date;
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        first: Duration::from_millis(500),
        longest: Duration::from_mins(1),
        longest_asked: Duration::from_mins(10),
    };

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs)
    }

    #[test]
    fn seconds_and_dates_are_read() {
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        let later = "Wed, 21 Oct 2015 07:28:30 GMT";
        let now = parse_http_date(date).unwrap() - Duration::from_hours(1);
        let secs = |secs| Some(Duration::from_secs(secs));
        for (value, date, read) in [
            ("0", None, secs(0)),
            (" 120 ", None, secs(120)),
            ("99999999999999999999999", None, secs(u64::MAX)),
            (later, Some(date), secs(30)),
            (date, Some(later), secs(0)),
            (later, None, secs(3630)),
            (later, Some("yesterday"), secs(3630)),
            ("", None, None),
            ("-1", None, None),
            ("+1", None, None),
            ("1.5", None, None),
            ("soon", None, None),
        ] {
            assert_eq!(retry_after(value, date, now), read, "{value}");
        }
    }

    #[test]
    fn the_waits_are_spread() {
        let mut backoff = Backoff::new(POLICY);
        let waits: Vec<_> = (0..64).map(|_| backoff.next(None)).collect();
        let long = waits.iter().filter(|wait| **wait > POLICY.longest / 2);
        let long = long.count();
        // Each of the last 57 is long with a chance of a half.
        assert!((1..57).contains(&long), "{waits:?}");
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_bound_nor_shorter_than_what_was_asked(
            failures in 0_u32..100,
            asked in prop::option::of(0_u64..10_000),
        ) {
            let mut backoff = Backoff::new(POLICY);
            (0..failures).for_each(|_| { backoff.next(None); });
            let asked = asked.map(Duration::from_secs);
            let heeded = asked.unwrap_or_default().min(POLICY.longest_asked);
            let bound = (0..failures).fold(POLICY.first, |bound, _| (bound * 2).min(POLICY.longest));
            let wait = backoff.next(asked);
            prop_assert!(wait >= heeded);
            prop_assert!(wait <= bound.max(heeded));
        }

        #[test]
        fn after_a_success_the_wait_is_a_first_one(failures in 0_u32..100) {
            let mut backoff = Backoff::new(POLICY);
            (0..failures).for_each(|_| { backoff.next(None); });
            backoff.reset();
            prop_assert!(backoff.next(None) <= POLICY.first);
        }

        #[test]
        fn any_policy_and_any_wish_make_a_wait(
            millis in prop::array::uniform3(any::<u64>()),
            failures in 0_u32..80,
            asked in any::<u64>(),
        ) {
            let [first, longest, longest_asked] = millis.map(Duration::from_millis);
            let mut backoff = Backoff::new(RetryPolicy { first, longest, longest_asked });
            (0..failures).for_each(|_| { backoff.next(None); });
            prop_assert!(backoff.next(Some(Duration::from_secs(asked))) <= longest.max(longest_asked));
        }

        #[test]
        fn reading_never_panics(value in any::<String>(), date in prop::option::of(any::<String>())) {
            retry_after(&value, date.as_deref(), SystemTime::now());
        }

        #[test]
        fn a_date_is_counted_from_the_answers_own(sent in 0_u64..4_000_000_000, ask in 0_u64..100_000) {
            let value = fmt_http_date(at(sent + ask));
            let read = retry_after(&value, Some(&fmt_http_date(at(sent))), at(7));
            prop_assert_eq!(read, Some(Duration::from_secs(ask)));
        }
    }
}
