//! The report as a table for people.

use std::fmt::Write;

use crate::figures::{Figure, Spread};
use crate::report::{Report, Row};

/// The narrowest column that still shows most figures.
const COLUMN: usize = 9;
/// The figures whose ends are shown below their median when there was more than one run.
const WITH_ENDS: [Figure; 2] = [Figure::TurnsPerSecond, Figure::MbPerSecond];

/// All rows, section by section; each section has the columns that it has figures for.
pub(crate) fn table(report: &Report) -> String {
    let mut text = String::new();
    for line in &report.about {
        text += line;
        text.push('\n');
    }
    let mut sections: Vec<&str> = Vec::new();
    for row in &report.rows {
        if !sections.contains(&row.section.as_str()) {
            sections.push(&row.section);
        }
    }
    for section in sections {
        let rows: Vec<_> = report
            .rows
            .iter()
            .filter(|row| row.section == section)
            .collect();
        add_section(&mut text, section, &rows);
    }
    text
}

fn add_section(text: &mut String, section: &str, rows: &[&Row]) {
    let has = |figure: &Figure| rows.iter().any(|row| row.median(*figure).is_some());
    let figures: Vec<_> = Figure::ALL.into_iter().filter(has).collect();
    let names = rows.iter().map(|row| row.name.chars().count());
    let name_width = names.max().unwrap_or_default();
    // Writing to a string cannot fail.
    let _written = write!(text, "\n{section:<name_width$}");
    for figure in &figures {
        let _written = write!(text, " {:>COLUMN$}", figure.column().title);
    }
    text.push('\n');
    for row in rows {
        let _written = write!(text, "{:<name_width$}", row.name);
        for figure in &figures {
            let median = row.median(*figure);
            let cell = median.map_or("-".to_owned(), |median| number(*figure, median));
            let _written = write!(text, " {cell:>COLUMN$}");
        }
        text.push('\n');
        add_ends(text, row, &figures, name_width);
    }
}

/// The line with the least and the greatest of the rates.
fn add_ends(text: &mut String, row: &Row, figures: &[Figure], name_width: usize) {
    if row.runs.len() < 2 {
        return;
    }
    let _written = write!(text, "{:>name_width$}", "min..max");
    for figure in figures.iter().filter(|figure| WITH_ENDS.contains(figure)) {
        let spread = row.spread(*figure);
        let cell = spread.map_or("-".to_owned(), |spread| ends(*figure, spread));
        let _written = write!(text, " {cell:>COLUMN$}");
    }
    text.push('\n');
}

fn ends(figure: Figure, spread: Spread) -> String {
    format!(
        "{}..{}",
        number(figure, spread.min),
        number(figure, spread.max)
    )
}

/// A figure with its decimals, of which large ones need none.
pub(super) fn number(figure: Figure, value: f64) -> String {
    let decimals = match value.abs() {
        1000.0.. => 0,
        100.0.. => figure.column().decimals.min(1),
        _ => figure.column().decimals,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;

    fn report(rates: &[f64]) -> Report {
        let mut report = Report {
            about: vec!["about".to_owned()],
            rows: Vec::new(),
        };
        for rate in rates {
            let mut figures = Figures::default();
            figures.set(Figure::TurnsPerSecond, *rate);
            report.add("uploads", "one", figures);
        }
        let mut other = Figures::default();
        other.set(Figure::P50Millis, 1.5);
        report.add("uploads", "another", other);
        report
    }

    #[test]
    fn a_row_has_a_dash_where_it_has_no_figure() {
        let expected = "about\n\nuploads   turns/s    p50 ms\none          12.0         -\n\
                        another         -      1.50\n";
        assert_eq!(table(&report(&[12.0])), expected);
    }

    #[test]
    fn the_ends_of_several_runs_stand_below_their_median() {
        let text = table(&report(&[12.0, 10.0, 14.0]));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[3].contains("12.0"), "{text}");
        assert!(lines[4].ends_with("min..max 10.0..14.0"), "{text}");
    }

    #[test]
    fn large_figures_have_no_decimals() {
        assert_eq!(number(Figure::MbPerSecond, 1234.56), "1235");
        assert_eq!(number(Figure::MbPerSecond, 123.456), "123.5");
        assert_eq!(number(Figure::MbPerSecond, 1.234), "1.23");
    }
}
