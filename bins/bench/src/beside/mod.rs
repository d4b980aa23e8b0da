//! What stands beside a row: the rates of its floors and of its rivals, measured in the same run.

mod floor;
mod rival;

use std::collections::BTreeMap;

use crate::cell::{Cell, Scenario};
use crate::error::BenchError;
use crate::figures::{Figure, Figures};
use crate::load::Yield;
use crate::measure::Effort;
use crate::site::Host;

use floor::{Floor, Remains};
use rival::{Rival, RivalServer};

/// How much shorter a floor is measured than a cell.
const SHORTER: u32 = 2;

/// The rates of one run, each of which is measured when it is first asked for.
#[derive(Debug)]
pub(crate) struct Beside<'a> {
    host: &'a Host,
    effort: Effort,
    rates: BTreeMap<(Figure, String), Rates>,
    servers: BTreeMap<Rival, RivalServer<'a>>,
    remains: Vec<Remains<'a>>,
}

/// How fast a floor was.
#[derive(Debug, Clone, Copy)]
struct Rates {
    turns: Option<f64>,
    mb: Option<f64>,
}

impl<'a> Beside<'a> {
    /// Begins a run.
    pub(crate) fn begin(host: &'a Host, effort: Effort) -> Self {
        Self {
            host,
            effort: Effort {
                window: effort.window / SHORTER,
                ..effort
            },
            rates: BTreeMap::new(),
            servers: BTreeMap::new(),
            remains: Vec::new(),
        }
    }

    /// How many times the rate of each of its floors and rivals the rate of a cell is.
    pub(crate) async fn ratios(
        &mut self,
        cell: Cell,
        own: &Figures,
    ) -> Result<Figures, BenchError> {
        let own = Rates::of(own);
        let mut ratios = Figures::default();
        for floor in Floor::of(cell) {
            let figure = floor.figure();
            let key = (figure, floor.key(cell));
            if !self.rates.contains_key(&key) {
                let (yielded, remains) = floor.measure(self.host, cell, self.effort).await?;
                if cell.scenario == Scenario::Upload {
                    self.remains.push(remains);
                }
                self.rates
                    .insert(key.clone(), Rates::of(&yielded.figures()));
            }
            ratios.set_if(figure, own.times(self.rates[&key]));
        }
        for rival in Rival::of(cell, self.host) {
            let key = (rival.figure(), cell.load());
            if !self.rates.contains_key(&key) {
                let yielded = self.measure_rival(rival, cell).await?;
                self.rates
                    .insert(key.clone(), Rates::of(&yielded.figures()));
            }
            ratios.set_if(rival.figure(), own.times(self.rates[&key]));
        }
        Ok(ratios)
    }

    async fn measure_rival(&mut self, rival: Rival, cell: Cell) -> Result<Yield, BenchError> {
        if !self.servers.contains_key(&rival) {
            let server = RivalServer::start(rival, self.host, cell, self.effort).await?;
            self.servers.insert(rival, server);
        }
        self.servers[&rival].measure(cell, self.effort).await
    }

    /// Ends the servers that were started for the cells before, and deletes what they and the floors
    /// have written: the next cells are about something else.
    pub(crate) fn end_group(&mut self) {
        self.servers.clear();
        self.remains.clear();
    }
}

impl Rates {
    fn of(figures: &Figures) -> Self {
        Self {
            turns: figures.get(Figure::TurnsPerSecond),
            mb: figures.get(Figure::MbPerSecond),
        }
    }

    /// How many times the other rate this one is: by turns when both have some, or else by bytes.
    fn times(self, other: Self) -> Option<f64> {
        let by = |own: Option<f64>, other: Option<f64>| Some(own? / other?);
        by(self.turns, other.turns).or_else(|| by(self.mb, other.mb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_compared_when_both_have_some() {
        let rates = |turns, mb| Rates { turns, mb };
        let ours = rates(Some(30.0), Some(5.0));
        assert_eq!(ours.times(rates(Some(60.0), None)), Some(0.5));
        assert_eq!(ours.times(rates(None, Some(10.0))), Some(0.5));
        assert_eq!(ours.times(rates(None, None)), None);
    }
}
