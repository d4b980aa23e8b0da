//! Who uploads how much and when, in a mixed hour; a seed decides.

use std::time::Duration;

use server_harness::Random;

/// Uploads in one workspace in an hour: with 40 workspaces, ten a second of the compressed hour.
const UPLOADS_AN_HOUR: u32 = 30;
/// How many times faster than the clock the hour goes by.
const COMPRESSION: u32 = 30;
/// The sizes of files, evenly spread over the orders of magnitude.
const SMALLEST: f64 = 1_000.0;
const LARGEST: f64 = 25_000_000.0;
/// Of a hundred files, so many are never fetched, and the first fetches of so many are cut off.
const NEVER_FETCHED: u64 = 5;
const CUT_OFF: u64 = 5;

/// An upload that is going to be made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Planned {
    pub(super) at: Duration,
    pub(super) workspace: usize,
    pub(super) bytes: u64,
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nobody ever comes for it.
    Left,
    /// It is fetched, but the first fetch is cut off.
    CutOff,
    /// It is fetched.
    Fetched,
}

/// When which workspace gets how large a file, for so long.
pub(super) fn plan(workspaces: usize, duration: Duration, seed: u64) -> Vec<Planned> {
    let mut random = Random::from_seed(seed);
    let mut plan = Vec::new();
    for workspace in 0..workspaces {
        let mut at = pause(unit(&mut random));
        while at < duration {
            plan.push(Planned {
                at,
                workspace,
                bytes: size(unit(&mut random)),
            });
            at += pause(unit(&mut random));
        }
    }
    plan.sort_by_key(|planned| planned.at);
    plan
}

/// People come independently of each other: pauses are exponentially distributed.
fn pause(unit: f64) -> Duration {
    let mean = Duration::from_hours(1) / (UPLOADS_AN_HOUR * COMPRESSION);
    mean.mul_f64(-(1.0 - unit).ln())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a size is positive and far below the largest number"
)]
fn size(unit: f64) -> u64 {
    (SMALLEST * (LARGEST / SMALLEST).powf(unit)) as u64
}

/// A number from 0 up to and without 1.
fn unit(random: &mut Random) -> f64 {
    let number = u32::try_from(random.below(1 << 32)).unwrap_or_default();
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}

/// What becomes of the file with that id, whose last digits are random.
pub(super) fn fate(file_id: &str) -> Fate {
    let digits = file_id.get(file_id.len().saturating_sub(8)..);
    let number = u64::from_str_radix(digits.unwrap_or_default(), 16).unwrap_or_default();
    match number % 100 {
        0..NEVER_FETCHED => Fate::Left,
        number if number < NEVER_FETCHED + CUT_OFF => Fate::CutOff,
        _ => Fate::Fetched,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_hour_has_about_as_many_uploads_as_an_hour() {
        let uploads = plan(40, Duration::from_mins(2), 1);
        assert!((1_000..1_400).contains(&uploads.len()), "{}", uploads.len());
        assert!(uploads.is_sorted_by_key(|planned| planned.at));
        assert!(uploads.iter().all(|planned| planned.workspace < 40));
        assert_eq!(uploads, plan(40, Duration::from_mins(2), 1));
    }

    #[test]
    fn sizes_are_spread_over_all_orders_of_magnitude() {
        assert_eq!(size(0.0), 1_000);
        assert!((24_000_000..=25_000_000).contains(&size(0.999_999)));
        let uploads = plan(40, Duration::from_mins(2), 1);
        let small = uploads.iter().filter(|planned| planned.bytes < 158_113);
        let (small, all) = (small.count(), uploads.len());
        assert!(
            (all * 4 / 10..all * 6 / 10).contains(&small),
            "{small} of {all}"
        );
    }

    #[test]
    fn a_files_fate_is_in_its_last_digits() {
        assert_eq!(fate("01900000-0000-7000-8000-000000000000"), Fate::Left);
        assert_eq!(fate("01900000-0000-7000-8000-000000000005"), Fate::CutOff);
        assert_eq!(fate("01900000-0000-7000-8000-00000000000a"), Fate::Fetched);
    }
}
