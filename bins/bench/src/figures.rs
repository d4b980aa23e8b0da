//! The figures of a row: what each is called, and how it is shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One kind of figure. The order is that of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    TurnsPerSecond,
    MbPerSecond,
    P50Millis,
    P99Millis,
    P999Millis,
    ToDatabaseFloor,
    ToHttpFloor,
    ToDiskFloor,
    ToFileServer,
    ToPlainBaseline,
    ServerPeakMib,
    ServerCpuPerTurn,
    ServerCpuPerMb,
    DatabaseCpuPerTurn,
    DatabaseCpuPerMb,
    GeneratorCpuPerTurn,
    GeneratorCpuPerMb,
    WrittenPerByte,
    WrittenPerTurn,
    StatementsPerTurn,
    StatementsAlone,
    RoundTripsAlone,
    MemoryMib,
    MemoryOverIdleMib,
    ConnectionsOpen,
    ConnectionsInUse,
}

/// How a kind of figure is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    /// Above the column; at most nine characters.
    pub(crate) title: &'static str,
    pub(crate) decimals: usize,
}

impl Figure {
    /// Every kind, in the order of the columns.
    pub(crate) const ALL: [Self; 26] = [
        Self::TurnsPerSecond,
        Self::MbPerSecond,
        Self::P50Millis,
        Self::P99Millis,
        Self::P999Millis,
        Self::ToDatabaseFloor,
        Self::ToHttpFloor,
        Self::ToDiskFloor,
        Self::ToFileServer,
        Self::ToPlainBaseline,
        Self::ServerPeakMib,
        Self::ServerCpuPerTurn,
        Self::ServerCpuPerMb,
        Self::DatabaseCpuPerTurn,
        Self::DatabaseCpuPerMb,
        Self::GeneratorCpuPerTurn,
        Self::GeneratorCpuPerMb,
        Self::WrittenPerByte,
        Self::WrittenPerTurn,
        Self::StatementsPerTurn,
        Self::StatementsAlone,
        Self::RoundTripsAlone,
        Self::MemoryMib,
        Self::MemoryOverIdleMib,
        Self::ConnectionsOpen,
        Self::ConnectionsInUse,
    ];

    /// How it is shown.
    pub(crate) fn column(self) -> Column {
        let (title, decimals) = match self {
            Self::TurnsPerSecond => ("turns/s", 1),
            Self::MbPerSecond => ("MB/s", 2),
            Self::P50Millis => ("p50 ms", 2),
            Self::P99Millis => ("p99 ms", 2),
            Self::P999Millis => ("p99.9 ms", 2),
            Self::ToDatabaseFloor => ("/db", 2),
            Self::ToHttpFloor => ("/http", 2),
            Self::ToDiskFloor => ("/disk", 2),
            Self::ToFileServer => ("/files", 2),
            Self::ToPlainBaseline => ("/plain", 2),
            Self::ServerPeakMib => ("peak MiB", 1),
            Self::ServerCpuPerTurn => ("srv us/t", 0),
            Self::ServerCpuPerMb => ("srv ms/MB", 2),
            Self::DatabaseCpuPerTurn => ("db us/t", 0),
            Self::DatabaseCpuPerMb => ("db ms/MB", 2),
            Self::GeneratorCpuPerTurn => ("gen us/t", 0),
            Self::GeneratorCpuPerMb => ("gen ms/MB", 2),
            Self::WrittenPerByte => ("wr B/B", 2),
            Self::WrittenPerTurn => ("wr kB/t", 1),
            Self::StatementsPerTurn => ("stmt/t", 2),
            Self::StatementsAlone => ("stmt/t@1", 2),
            Self::RoundTripsAlone => ("trips@1", 2),
            Self::MemoryMib => ("mem MiB", 1),
            Self::MemoryOverIdleMib => ("+mem MiB", 1),
            Self::ConnectionsOpen => ("conns", 0),
            Self::ConnectionsInUse => ("in use", 0),
        };
        Column { title, decimals }
    }
}

/// The figures of one row in one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Figures(BTreeMap<Figure, f64>);

impl Figures {
    /// Sets one; what is no number is left out.
    pub(crate) fn set(&mut self, figure: Figure, value: f64) {
        if value.is_finite() {
            self.0.insert(figure, value);
        }
    }

    /// Sets one that may not be there.
    pub(crate) fn set_if(&mut self, figure: Figure, value: Option<f64>) {
        if let Some(value) = value {
            self.set(figure, value);
        }
    }

    /// One of them.
    pub(crate) fn get(&self, figure: Figure) -> Option<f64> {
        self.0.get(&figure).copied()
    }

    /// Takes over what the others say.
    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}

/// A figure over all runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The median and the ends; none when there is no figure at all. Of an even number of figures,
    /// the median is the mean of the two in the middle.
    pub(crate) fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let upper = figures.len() / 2;
        let lower = (figures.len() - 1) / 2;
        Some(Self {
            median: f64::midpoint(figures[lower], figures[upper]),
            min,
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_between_the_ends() {
        let of_three = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        let expected = Spread {
            median: 2.0,
            min: 1.0,
            max: 3.0,
        };
        assert_eq!(of_three, expected);
        let of_two = Spread::of(vec![4.0, 1.0]);
        assert_eq!(of_two.map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn what_is_no_number_is_no_figure() {
        let mut figures = Figures::default();
        figures.set(Figure::P50Millis, f64::NAN);
        figures.set_if(Figure::P99Millis, None);
        assert_eq!(figures, Figures::default());
    }

    #[test]
    fn every_kind_of_figure_has_its_place_and_a_short_title() {
        assert!(Figure::ALL.is_sorted());
        for figure in Figure::ALL {
            assert!(figure.column().title.len() <= 9, "{figure:?}");
        }
        // The last one of the enum is the last one of the list.
        assert_eq!(Figure::ALL.len(), Figure::ConnectionsInUse as usize + 1);
    }
}
