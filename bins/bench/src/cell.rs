//! What is measured: the cells of the table.

use std::fmt;

use clap::ValueEnum;

/// What keeps the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub(crate) enum Backend {
    Postgres,
    Sqlite,
}

/// What is done over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scenario {
    /// A server that was started and does nothing.
    Idle,
    /// One file in one request.
    Upload,
    /// 64 files in one request.
    Batch,
    /// One file, whole.
    Fetch,
    /// The first ack of a file.
    Ack,
    /// A poll with nothing new.
    IdlePoll,
    /// A poll with 100 new rows.
    BusyPoll,
    /// Upload, poll, fetch and ack of a file.
    Cycle,
    /// From the answer to an upload until the inbox says that the file has arrived.
    Arrival,
    /// Polls that wait.
    Waiters,
    /// Everything at once, at the pace of people.
    Mixed,
}

/// One row of the table: a scenario on a backend, with files of a size, so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cell {
    pub(crate) scenario: Scenario,
    pub(crate) backend: Backend,
    /// Zero when there is no file, or when there are files of many sizes.
    pub(crate) bytes: u64,
    pub(crate) at_once: usize,
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Everything.
    Full,
    /// As little as shows that everything runs.
    Smoke,
}

pub(crate) const KB: u64 = 1_000;
pub(crate) const MB: u64 = 1_000_000;
pub(crate) const GB: u64 = 1_000_000_000;

/// A scenario with the sizes and the numbers at once that it is measured with.
type Block = (Scenario, &'static [u64], &'static [usize]);

const FULL: [Block; 11] = [
    (Scenario::Idle, &[0], &[0]),
    (
        Scenario::Upload,
        &[KB, 100 * KB, 4 * MB, 25 * MB, GB],
        &[1, 4, 16, 64],
    ),
    (Scenario::Batch, &[KB], &[1, 4, 16]),
    (
        Scenario::Fetch,
        &[KB, 100 * KB, 4 * MB, 25 * MB, GB],
        &[1, 4, 16, 64],
    ),
    (Scenario::Ack, &[KB, 25 * MB], &[16]),
    (Scenario::IdlePoll, &[0], &[1, 16]),
    (Scenario::BusyPoll, &[0], &[1, 16]),
    (Scenario::Cycle, &[100 * KB], &[1, 4, 16]),
    (Scenario::Arrival, &[KB, 100 * KB], &[1]),
    (Scenario::Waiters, &[0], &[10, 100, 1_000]),
    (Scenario::Mixed, &[0], &[40]),
];

const SMOKE: [Block; 11] = [
    (Scenario::Idle, &[0], &[0]),
    (Scenario::Upload, &[KB, 4 * MB, GB], &[4]),
    (Scenario::Batch, &[KB], &[4]),
    (Scenario::Fetch, &[KB, 4 * MB], &[4]),
    (Scenario::Ack, &[KB], &[4]),
    (Scenario::IdlePoll, &[0], &[4]),
    (Scenario::BusyPoll, &[0], &[4]),
    (Scenario::Cycle, &[100 * KB], &[4]),
    (Scenario::Arrival, &[KB], &[1]),
    (Scenario::Waiters, &[0], &[50]),
    (Scenario::Mixed, &[0], &[10]),
];

/// Which cells are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) scale: Scale,
    /// Each cell has one of these in its name; none of them is all cells.
    pub(crate) only: Vec<String>,
    pub(crate) backends: Vec<Backend>,
}

impl Selection {
    /// The cells, those of one scenario, size and backend next to each other.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let blocks = match self.scale {
            Scale::Full => FULL,
            Scale::Smoke => SMOKE,
        };
        let mut cells = Vec::new();
        for (scenario, sizes, numbers) in blocks {
            for &bytes in sizes {
                for &backend in &self.backends {
                    cells.extend(numbers.iter().map(|&at_once| Cell {
                        scenario,
                        backend,
                        bytes,
                        at_once,
                    }));
                }
            }
        }
        cells.retain(|cell| self.wants(&cell.to_string()));
        cells
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }
}

impl Cell {
    /// Whether both are measured on the same server, one after the other. Uploads that fill the disk
    /// each have one of their own, which gives the room back.
    pub(crate) fn shares_site_with(&self, other: &Self) -> bool {
        let fills_the_disk = self.scenario == Scenario::Upload && self.bytes >= GB;
        !fills_the_disk
            && (self.scenario, self.backend, self.bytes)
                == (other.scenario, other.backend, other.bytes)
    }

    /// Its name without the backend: what a floor has in common with it.
    pub(crate) fn load(&self) -> String {
        let size = match self.bytes {
            0 => String::new(),
            bytes => format!(" of {}", size(bytes)),
        };
        let at_once = match self.at_once {
            0 => String::new(),
            number => format!(", {number} at once"),
        };
        format!("{}{size}{at_once}", self.scenario)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.backend, self.load())
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        })
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Upload => "upload",
            Self::Batch => "batch of 64",
            Self::Fetch => "fetch",
            Self::Ack => "ack",
            Self::IdlePoll => "idle poll",
            Self::BusyPoll => "busy poll",
            Self::Cycle => "cycle",
            Self::Arrival => "arrival",
            Self::Waiters => "waiters",
            Self::Mixed => "mixed hour",
        })
    }
}

/// A size as people write it.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        GB.. => format!("{} GB", bytes / GB),
        MB.. => format!("{} MB", bytes / MB),
        _ => format!("{} KB", bytes / KB),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(scale: Scale, only: &[&str]) -> Vec<String> {
        let selection = Selection {
            scale,
            only: only.iter().map(|&only| only.to_owned()).collect(),
            backends: vec![Backend::Postgres, Backend::Sqlite],
        };
        selection.cells().iter().map(Cell::to_string).collect()
    }

    #[test]
    fn every_cell_has_a_name_of_its_own() {
        let all = names(Scale::Full, &[]);
        assert!(all.contains(&"postgres: upload of 25 MB, 64 at once".to_owned()));
        assert!(all.contains(&"sqlite: idle".to_owned()));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn a_part_of_the_name_selects() {
        let expected = ["postgres: ack of 1 KB, 16 at once"];
        assert_eq!(names(Scale::Full, &["postgres: ack of 1 KB"]), expected);
        assert_eq!(names(Scale::Full, &["no such"]), [""; 0]);
    }

    #[test]
    fn a_smoke_run_has_every_scenario() {
        let scenarios = |blocks: [Block; 11]| blocks.map(|(scenario, ..)| scenario);
        assert_eq!(scenarios(FULL), scenarios(SMOKE));
    }
}
