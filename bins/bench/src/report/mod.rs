//! What was measured, over all runs.

mod comparison;
mod json;
mod statements;
mod table;

use serde::{Deserialize, Serialize};

pub(crate) use comparison::comparison;
pub(crate) use json::{read, write};
pub(crate) use statements::statements;
pub(crate) use table::table;

use crate::figures::{Figure, Figures, Spread};

/// A row: what it is about, and its figures in each run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The name of its section: the rows of one scenario stand together.
    pub(crate) section: String,
    /// Its own name, which no other row has.
    pub(crate) name: String,
    pub(crate) runs: Vec<Figures>,
}

impl Row {
    /// A figure over all runs.
    pub(crate) fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| run.get(figure)).collect())
    }

    /// The median of a figure over all runs.
    pub(crate) fn median(&self, figure: Figure) -> Option<f64> {
        self.spread(figure).map(|spread| spread.median)
    }
}

/// Everything that was measured, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// What was measured on, and with which settings: a line each.
    pub(crate) about: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Adds the figures of one run to the row of that name.
    pub(crate) fn add(&mut self, section: &str, name: &str, figures: Figures) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            row.runs.push(figures);
            return;
        }
        self.rows.push(Row {
            section: section.to_owned(),
            name: name.to_owned(),
            runs: vec![figures],
        });
    }

    /// The row of that name.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_of_one_cell_are_one_row() {
        let mut report = Report {
            about: Vec::new(),
            rows: Vec::new(),
        };
        for rate in [3.0, 1.0, 2.0] {
            let mut figures = Figures::default();
            figures.set(Figure::TurnsPerSecond, rate);
            report.add("s", "a", figures);
            report.add("s", "b", Figures::default());
        }
        assert_eq!(report.rows.len(), 2);
        let median = report.row("a").unwrap().median(Figure::TurnsPerSecond);
        assert_eq!(median, Some(2.0));
        assert_eq!(
            report.row("b").unwrap().median(Figure::TurnsPerSecond),
            None
        );
    }
}
