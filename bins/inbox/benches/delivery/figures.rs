//! The figures of one length, and how they are printed.

use std::fmt::Write;
use std::time::Instant;

use crate::delivery::Delivered;
use crate::floor::{self, PartTimes};
use crate::steps::STEPS;

/// What was measured of files of one length. Everything in milliseconds.
#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    latencies: Vec<f64>,
    floors: Vec<f64>,
    /// How long after the step before each step was done, and the event after the last one; the first
    /// is after the answer to the upload.
    steps: [Vec<f64>; STEPS.len() + 1],
    parts: [Vec<f64>; floor::PARTS.len()],
}

impl Report {
    /// The titles above the rows of all reports.
    pub(crate) fn head() -> String {
        format!(
            "{:>8} {:>6} | {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9} | {:>6} {:>6} | {:>9}\n",
            "size",
            "files",
            "p50 ms",
            "p99 ms",
            "max ms",
            "floor p50",
            "floor p99",
            "floor max",
            "p50 x",
            "p99 x",
            "overtook"
        )
    }

    /// An empty one.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            latencies: Vec::new(),
            floors: Vec::new(),
            steps: Default::default(),
            parts: Default::default(),
        }
    }

    /// Adds a file, and the floor that was measured after it.
    pub(crate) fn count(&mut self, delivered: &Delivered, floor: &PartTimes) {
        let latency = millis_between(delivered.answered, delivered.arrived);
        self.latencies.push(latency);
        let mut before = delivered.answered;
        let times = delivered.steps.iter().chain([&delivered.arrived]);
        for (step, time) in self.steps.iter_mut().zip(times) {
            step.push(millis_between(before, *time));
            before = *time;
        }
        let millis = floor.map(|part| part.as_secs_f64() * 1e3);
        self.floors.push(millis.iter().sum());
        for (part, millis) in self.parts.iter_mut().zip(millis) {
            part.push(millis);
        }
    }

    /// The row of figures, and below it where the time went.
    pub(crate) fn rows(mut self) -> String {
        let slowest = self.slowest();
        let overtook = self.latencies.iter().filter(|millis| **millis < 0.0);
        let (overtook, files) = (overtook.count(), self.latencies.len());
        let [p50, p99, max] = percentiles(&mut self.latencies);
        let [floor_p50, floor_p99, floor_max] = percentiles(&mut self.floors);
        let mut rows = format!(
            "{:>8} {files:>6} | {p50:>9.3} {p99:>9.3} {max:>9.3} | {floor_p50:>9.3} {floor_p99:>9.3} \
             {floor_max:>9.3} | {:>6.2} {:>6.2} | {overtook:>9}\n",
            self.name,
            p50 / floor_p50,
            p99 / floor_p99,
        );
        let steps = STEPS.iter().chain(&["event"]).zip(&mut self.steps);
        describe(&mut rows, "each step", steps);
        let parts = floor::PARTS.iter().zip(&mut self.parts);
        describe(&mut rows, "the floor", parts);
        rows + &slowest
    }

    /// One line: where the time went of the file that took longest.
    fn slowest(&self) -> String {
        let latencies = self.latencies.iter().enumerate();
        let (slowest, _) = latencies
            .max_by(|one, other| one.1.total_cmp(other.1))
            .unwrap();
        let mut row = format!("{:>15}:", "the slowest");
        for (name, millis) in STEPS.iter().chain(&["event"]).zip(&self.steps) {
            write!(row, "  {name} {:.3}", millis[slowest]).unwrap();
        }
        row + "\n"
    }
}

/// One line: the median and the 99th percentile of each part.
fn describe<'a>(
    rows: &mut String,
    what: &str,
    parts: impl Iterator<Item = (&'a &'static str, &'a mut Vec<f64>)>,
) {
    write!(rows, "{what:>15}: p50/p99").unwrap();
    for (name, millis) in parts {
        let [p50, p99, _] = percentiles(millis);
        write!(rows, "  {name} {p50:.3}/{p99:.3}").unwrap();
    }
    rows.push('\n');
}

/// The median, the 99th percentile, and the largest, by nearest rank.
fn percentiles(millis: &mut [f64]) -> [f64; 3] {
    millis.sort_unstable_by(f64::total_cmp);
    [50, 99, 100].map(|percent| millis[(millis.len() * percent).div_ceil(100) - 1])
}

/// Negative when `to` came before `from`.
fn millis_between(from: Instant, to: Instant) -> f64 {
    let later = to.saturating_duration_since(from).as_secs_f64();
    let earlier = from.saturating_duration_since(to).as_secs_f64();
    (later - earlier) * 1e3
}
