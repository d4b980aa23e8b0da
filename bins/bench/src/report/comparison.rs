//! A report beside an earlier one.

use std::fmt::Write;

use crate::figures::Figure;
use crate::report::Report;

/// What is compared, the least noisy first: statements and CPU hardly depend on who else is at work.
const COMPARED: [Figure; 12] = [
    Figure::StatementsAlone,
    Figure::RoundTripsAlone,
    Figure::StatementsPerTurn,
    Figure::ServerCpuPerTurn,
    Figure::DatabaseCpuPerTurn,
    Figure::ServerCpuPerMb,
    Figure::DatabaseCpuPerMb,
    Figure::WrittenPerTurn,
    Figure::ServerPeakMib,
    Figure::TurnsPerSecond,
    Figure::MbPerSecond,
    Figure::P99Millis,
];
const COLUMN: usize = 9;

/// How many times its earlier figure each figure is, for every row that both have.
pub(crate) fn comparison(now: &Report, before: &Report) -> String {
    let both = now
        .rows
        .iter()
        .filter_map(|row| Some((row, before.row(&row.name)?)));
    let width = now.rows.iter().map(|row| row.name.chars().count()).max();
    let width = width.unwrap_or_default();
    // Writing to a string cannot fail.
    let mut text = format!("\n{:<width$}", "times the earlier figure");
    for figure in COMPARED {
        let _written = write!(text, " {:>COLUMN$}", figure.column().title);
    }
    text.push('\n');
    for (row, earlier) in both {
        let _written = write!(text, "{:<width$}", row.name);
        for figure in COMPARED {
            let cell = match (row.median(figure), earlier.median(figure)) {
                (Some(now), Some(before)) if before != 0.0 => format!("{:.2}", now / before),
                _ => "-".to_owned(),
            };
            let _written = write!(text, " {cell:>COLUMN$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;

    fn report(rows: &[(&str, f64)]) -> Report {
        let mut report = Report {
            about: Vec::new(),
            rows: Vec::new(),
        };
        for (name, statements) in rows {
            let mut figures = Figures::default();
            figures.set(Figure::StatementsAlone, *statements);
            report.add("s", name, figures);
        }
        report
    }

    #[test]
    fn a_row_that_only_one_report_has_is_left_out() {
        let text = comparison(
            &report(&[("a", 6.0), ("new", 1.0)]),
            &report(&[("a", 4.0), ("old", 1.0)]),
        );
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[2].starts_with("a "), "{text}");
        assert_eq!(lines[2].split_whitespace().nth(1), Some("1.50"));
    }
}
