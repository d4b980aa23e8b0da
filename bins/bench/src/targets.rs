//! What a release is meant to reach, and whether it did.

use std::fmt::Write;

use crate::figures::Figure;
use crate::report::Report;

/// A bound of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    AtLeast(f64),
    Below(f64),
}
use Bound::{AtLeast, Below};

/// A bound that a figure must keep in every row whose name begins with one of these.
#[derive(Debug, Clone, Copy)]
struct Target {
    what: &'static str,
    rows: &'static [&'static str],
    figure: Figure,
    bound: Bound,
}

/// The ratios to what was measured in the same run, and the bounds of memory, time and statements.
const TARGETS: [Target; 20] = [
    Target {
        what: "large uploads on PostgreSQL: 0.7 of the bare COPY loop",
        rows: &["postgres: upload of 25 MB", "postgres: upload of 1 GB"],
        figure: Figure::ToDatabaseFloor,
        bound: AtLeast(0.7),
    },
    Target {
        what: "large uploads on SQLite: 0.8 of dd with fdatasync",
        rows: &["sqlite: upload of 25 MB", "sqlite: upload of 1 GB"],
        figure: Figure::ToDiskFloor,
        bound: AtLeast(0.8),
    },
    Target {
        what: "large fetches on PostgreSQL: 0.7 of the bare windowed read",
        rows: &["postgres: fetch of 25 MB", "postgres: fetch of 1 GB"],
        figure: Figure::ToDatabaseFloor,
        bound: AtLeast(0.7),
    },
    Target {
        what: "small uploads: 0.6 of the bare transaction",
        rows: &["postgres: upload of 1 KB", "sqlite: upload of 1 KB"],
        figure: Figure::ToDatabaseFloor,
        bound: AtLeast(0.6),
    },
    Target {
        what: "acks: 0.6 of the bare transaction",
        rows: &["postgres: ack of 1 KB", "sqlite: ack of 1 KB"],
        figure: Figure::ToDatabaseFloor,
        bound: AtLeast(0.6),
    },
    // The plain baseline knows no tokens, keeps no order and takes no digest, and is built of the same
    // parts as ours: to be ahead of it is asked of what is not about large files.
    Target {
        what: "uploads on PostgreSQL: ahead of the plain baseline",
        rows: &[
            "postgres: upload of 1 KB, 16",
            "postgres: upload of 100 KB, 16",
            "postgres: upload of 25 MB, 4",
        ],
        figure: Figure::ToPlainBaseline,
        bound: AtLeast(1.0),
    },
    Target {
        what: "small fetches on PostgreSQL: ahead of the plain baseline",
        rows: &[
            "postgres: fetch of 1 KB, 16",
            "postgres: fetch of 100 KB, 16",
        ],
        figure: Figure::ToPlainBaseline,
        bound: AtLeast(1.0),
    },
    Target {
        what: "large fetches on PostgreSQL: ahead of the plain baseline",
        rows: &["postgres: fetch of 25 MB, 4"],
        figure: Figure::ToPlainBaseline,
        bound: AtLeast(1.0),
    },
    Target {
        what: "acks on PostgreSQL: ahead of the plain baseline",
        rows: &["postgres: ack of 1 KB"],
        figure: Figure::ToPlainBaseline,
        bound: AtLeast(1.0),
    },
    Target {
        what: "acks of large files on PostgreSQL: 50 times the plain baseline",
        rows: &["postgres: ack of 25 MB"],
        figure: Figure::ToPlainBaseline,
        bound: AtLeast(50.0),
    },
    Target {
        what: "polls on PostgreSQL: ahead of the plain baseline",
        rows: &["postgres: idle poll, 16"],
        figure: Figure::ToPlainBaseline,
        bound: AtLeast(1.0),
    },
    Target {
        what: "uploads and fetches on SQLite: half the file server without fsync",
        rows: &["sqlite: upload", "sqlite: fetch"],
        figure: Figure::ToFileServer,
        bound: AtLeast(0.5),
    },
    Target {
        what: "peak memory with 64 uploads of 25 MB: below 96 MiB",
        rows: &[
            "postgres: upload of 25 MB, 64",
            "sqlite: upload of 25 MB, 64",
        ],
        figure: Figure::ServerPeakMib,
        bound: Below(96.0),
    },
    Target {
        what: "peak memory with an upload of 1 GB: below 96 MiB",
        rows: &["postgres: upload of 1 GB, 1 ", "sqlite: upload of 1 GB, 1 "],
        figure: Figure::ServerPeakMib,
        bound: Below(96.0),
    },
    Target {
        what: "memory of an idle server: below 15 MiB",
        rows: &["postgres: idle", "sqlite: idle"],
        figure: Figure::MemoryMib,
        bound: Below(15.0),
    },
    Target {
        what: "memory with 1,000 waiting polls: below 50 MiB",
        rows: &["postgres: waiters, 1000", "sqlite: waiters, 1000"],
        figure: Figure::MemoryMib,
        bound: Below(50.0),
    },
    Target {
        what: "database connections in use by 1,000 waiting polls: none",
        rows: &["postgres: waiters, 1000"],
        figure: Figure::ConnectionsInUse,
        bound: Below(1.0),
    },
    Target {
        what: "from publish to arrival: p99 below 50 ms",
        rows: &["postgres: arrival", "sqlite: arrival"],
        figure: Figure::P99Millis,
        bound: Below(50.0),
    },
    Target {
        // The listener looks at the counters every few seconds, which is divided among the polls.
        what: "a poll with nothing new: one statement",
        rows: &["postgres: idle poll"],
        figure: Figure::StatementsPerTurn,
        bound: Below(1.05),
    },
    Target {
        what: "cycles of 100 KB on PostgreSQL: ahead of the plain baseline",
        rows: &["postgres: cycle"],
        figure: Figure::ToPlainBaseline,
        bound: AtLeast(1.0),
    },
];

/// What other programs were once measured at, and how many times that is aimed at: the row, its
/// figure, the other's, the factor, and whose it was.
///
/// Where they are from: measured on one machine with two cores, which ran the server, PostgreSQL 15
/// and the load, as medians. "The other" is an implementation of the same contract in Go, which
/// keeps a file as one bytea; the file servers are two that are built on actix-web and sync
/// nothing. On another machine they say little: the ratios above are measured where they are shown.
type Absolute = (&'static str, Figure, f64, f64, &'static str);
const ABSOLUTE: [Absolute; 16] = [
    (
        "postgres: upload of 1 KB, 16",
        Figure::TurnsPerSecond,
        690.0,
        4.0,
        OTHER,
    ),
    (
        "postgres: upload of 100 KB, 16",
        Figure::TurnsPerSecond,
        220.0,
        4.0,
        OTHER,
    ),
    (
        "postgres: upload of 25 MB, 4",
        Figure::MbPerSecond,
        61.0,
        4.0,
        OTHER,
    ),
    (
        "postgres: fetch of 1 KB, 16",
        Figure::TurnsPerSecond,
        890.0,
        4.0,
        OTHER,
    ),
    (
        "postgres: fetch of 100 KB, 16",
        Figure::TurnsPerSecond,
        790.0,
        4.0,
        OTHER,
    ),
    (
        "postgres: fetch of 25 MB, 4",
        Figure::MbPerSecond,
        680.0,
        1.5,
        OTHER,
    ),
    (
        "postgres: ack of 1 KB, 16",
        Figure::TurnsPerSecond,
        1_100.0,
        4.0,
        OTHER,
    ),
    (
        "postgres: ack of 25 MB, 16",
        Figure::TurnsPerSecond,
        23.0,
        50.0,
        OTHER,
    ),
    (
        "postgres: idle poll, 16",
        Figure::TurnsPerSecond,
        870.0,
        4.0,
        OTHER,
    ),
    (
        "postgres: cycle of 100 KB, 16",
        Figure::TurnsPerSecond,
        110.0,
        4.0,
        OTHER,
    ),
    (
        "sqlite: upload of 1 KB, 16",
        Figure::TurnsPerSecond,
        660.0,
        1.0,
        SLOWER,
    ),
    (
        "sqlite: upload of 100 KB, 16",
        Figure::TurnsPerSecond,
        560.0,
        1.0,
        SLOWER,
    ),
    (
        "sqlite: upload of 25 MB, 4",
        Figure::MbPerSecond,
        430.0,
        1.0,
        SLOWER,
    ),
    (
        "sqlite: upload of 1 KB, 16",
        Figure::TurnsPerSecond,
        8_300.0,
        0.5,
        FASTER,
    ),
    (
        "sqlite: upload of 100 KB, 16",
        Figure::TurnsPerSecond,
        6_500.0,
        0.5,
        FASTER,
    ),
    (
        "sqlite: upload of 25 MB, 4",
        Figure::MbPerSecond,
        890.0,
        0.5,
        FASTER,
    ),
];
const OTHER: &str = "the other implementation";
const SLOWER: &str = "the slower file server";
const FASTER: &str = "the faster file server";

/// A line for each target that something was measured of: whether it was reached, and the row that
/// is farthest from it.
pub(crate) fn verdicts(report: &Report) -> String {
    let mut text = String::new();
    for target in &TARGETS {
        if let Some((row, value)) = worst(report, target.rows, target.figure, target.bound) {
            // Writing to a string cannot fail.
            let _written = writeln!(
                text,
                "{:<8} {value:>9.2}  {}   [{row}]",
                word(target.bound, value),
                target.what,
            );
        }
    }
    for (row, figure, other, factor, whose) in ABSOLUTE {
        let bound = AtLeast(factor);
        let found = worst(report, &[row], figure, AtLeast(0.0));
        if let Some((row, value)) = found {
            let times = value / other;
            let _written = writeln!(
                text,
                "{:<8} {times:>9.2}  {factor} times {whose} where that was measured: {other} {}   \
                 [{row}]",
                word(bound, times),
                figure.column().title,
            );
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("\ntargets\n{text}")
}

fn word(bound: Bound, value: f64) -> &'static str {
    let reached = match bound {
        AtLeast(least) => value >= least,
        Below(limit) => value < limit,
    };
    if reached { "reached" } else { "MISSED" }
}

/// Of the rows whose names begin with one of these, the one that is farthest from the bound, and its
/// median.
fn worst<'a>(
    report: &'a Report,
    rows: &[&str],
    figure: Figure,
    bound: Bound,
) -> Option<(&'a str, f64)> {
    let named = report
        .rows
        .iter()
        .filter(|row| rows.iter().any(|name| row.name.starts_with(name)));
    let medians = named.filter_map(|row| Some((row.name.as_str(), row.median(figure)?)));
    medians.reduce(|one, other| {
        let other_is_worse = match bound {
            AtLeast(_) => other.1 < one.1,
            Below(_) => other.1 > one.1,
        };
        if other_is_worse { other } else { one }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Backend, Scale, Selection};
    use crate::figures::Figures;

    fn report(rows: &[(&str, Figure, f64)]) -> Report {
        let mut report = Report {
            about: Vec::new(),
            rows: Vec::new(),
        };
        for (name, figure, value) in rows {
            let mut figures = Figures::default();
            figures.set(*figure, *value);
            report.add("s", name, figures);
        }
        report
    }

    #[test]
    fn the_row_that_is_farthest_from_the_bound_decides() {
        let figure = Figure::ToDatabaseFloor;
        let text = verdicts(&report(&[
            ("postgres: upload of 25 MB, 1 at once", figure, 0.9),
            ("postgres: upload of 25 MB, 4 at once", figure, 0.65),
            ("postgres: upload of 1 KB, 1 at once", figure, 0.6),
        ]));
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[1].starts_with("MISSED        0.65  large uploads"),
            "{text}"
        );
        assert!(
            lines[1].ends_with("[postgres: upload of 25 MB, 4 at once]"),
            "{text}"
        );
        assert!(
            lines[2].starts_with("reached       0.60  small uploads"),
            "{text}"
        );
    }

    #[test]
    fn a_limit_that_is_met_exactly_is_not_kept() {
        let figure = Figure::MemoryMib;
        let text = verdicts(&report(&[("sqlite: idle", figure, 15.0)]));
        assert!(text.contains("MISSED"), "{text}");
    }

    #[test]
    fn nothing_is_said_of_what_was_not_measured() {
        assert_eq!(verdicts(&report(&[])), "");
    }

    #[test]
    fn every_target_is_about_rows_that_there_are() {
        let selection = Selection {
            scale: Scale::Full,
            only: Vec::new(),
            backends: vec![Backend::Postgres, Backend::Sqlite],
        };
        let names: Vec<_> = selection.cells().iter().map(ToString::to_string).collect();
        let targets = TARGETS.iter().flat_map(|target| target.rows);
        let absolute = ABSOLUTE.iter().map(|(row, ..)| row);
        for row in targets.chain(absolute) {
            assert!(names.iter().any(|name| name.starts_with(row)), "{row}");
        }
    }
}
