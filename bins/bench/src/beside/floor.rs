//! Which bare loop is the floor of which cell.

use tempfile::TempDir;

use crate::cell::{Backend, Cell, GB, MB, Scale, Scenario};
use crate::error::BenchError;
use crate::figures::Figure;
use crate::floors::postgres::{self, Commits, FloorDatabase, Form};
use crate::floors::sqlite::{self, FloorFolder, Grouping};
use crate::floors::{Feeds, disk};
use crate::load::{Extent, Yield};
use crate::measure::Effort;
use crate::site::{FreshDatabase, Host};

/// What is written within one transaction; more goes by COPY.
const ONE_TRANSACTION: u64 = MB;
/// The smallest files that a program a file, which `dd` is, says something about.
const FOR_DD: u64 = 4 * MB;
/// How many acks a floor has material for.
const ACKS: u64 = 20_000;
const FEW_ACKS: u64 = 500;

/// What a floor has written, which is deleted with this value: not before the cells beside it are
/// measured, because memory that was just freed is faster than other memory, which a hypervisor may
/// have taken back.
#[derive(Debug)]
#[expect(dead_code, reason = "kept to be dropped")]
pub(super) enum Remains<'a> {
    Database(Option<FreshDatabase<'a>>),
    Folder(TempDir),
}

/// A bare loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Floor {
    Postgres,
    Sqlite,
    Disk,
}

impl Floor {
    /// Those of a cell.
    pub(super) fn of(cell: Cell) -> Vec<Self> {
        let disk =
            matches!(cell.scenario, Scenario::Upload | Scenario::Fetch) && cell.bytes >= FOR_DD;
        let store = match (cell.scenario, cell.backend) {
            (Scenario::Upload | Scenario::Ack | Scenario::IdlePoll, Backend::Sqlite) => {
                Some(Self::Sqlite)
            }
            (
                Scenario::Upload | Scenario::Fetch | Scenario::Ack | Scenario::IdlePoll,
                Backend::Postgres,
            ) => Some(Self::Postgres),
            _ => None,
        };
        store
            .into_iter()
            .chain(disk.then_some(Self::Disk))
            .collect()
    }

    /// The figure that says how many times its rate ours is.
    pub(super) fn figure(self) -> Figure {
        match self {
            Self::Postgres | Self::Sqlite => Figure::ToDatabaseFloor,
            Self::Disk => Figure::ToDiskFloor,
        }
    }

    /// What two cells have in common that share its rate.
    pub(super) fn key(self, cell: Cell) -> String {
        match self {
            Self::Disk => cell.load(),
            Self::Postgres | Self::Sqlite => cell.to_string(),
        }
    }

    /// Measures it. What it has written stays until the second value goes.
    pub(super) async fn measure(
        self,
        host: &Host,
        cell: Cell,
        effort: Effort,
    ) -> Result<(Yield, Remains<'_>), BenchError> {
        let extent = Extent {
            duration: effort.window,
            turns: match (cell.scenario, effort.scale) {
                (Scenario::Ack, Scale::Full) => ACKS,
                (Scenario::Ack, Scale::Smoke) => FEW_ACKS,
                _ => u64::MAX,
            },
        };
        let bytes = floor_bytes(cell, effort.scale);
        match self {
            Self::Postgres => in_postgres(host, cell, bytes, extent).await,
            Self::Sqlite => in_sqlite(cell, bytes, extent).await,
            Self::Disk => on_disk(cell, bytes, extent).await,
        }
    }
}

async fn in_postgres(
    host: &Host,
    cell: Cell,
    bytes: u64,
    extent: Extent,
) -> Result<(Yield, Remains<'_>), BenchError> {
    let fresh = host.empty_database()?;
    let url = fresh.as_ref().map(FreshDatabase::url).unwrap_or_default();
    let database = FloorDatabase::open(&url).await?;
    let at_once = cell.at_once;
    let yielded = match cell.scenario {
        Scenario::Fetch => postgres::windows(&database, bytes, at_once, extent).await,
        Scenario::Ack => postgres::ack(&database, at_once, extent).await,
        Scenario::IdlePoll => postgres::poll(&database, at_once, extent).await,
        _ if bytes > ONE_TRANSACTION => {
            postgres::copy(&database, bytes, Commits::EachFile, at_once, extent).await
        }
        _ => {
            let how = (Form::Flight, Feeds::OneEach);
            postgres::publish(&database, bytes, how, at_once, extent).await
        }
    };
    Ok((yielded?, Remains::Database(fresh)))
}

async fn in_sqlite(
    cell: Cell,
    bytes: u64,
    extent: Extent,
) -> Result<(Yield, Remains<'static>), BenchError> {
    let place = folder()?;
    let folder = FloorFolder::open(&place.path().join("data")).await?;
    let at_once = cell.at_once;
    let yielded = match cell.scenario {
        Scenario::Ack => sqlite::ack(&folder, Grouping::Together, at_once, extent).await,
        Scenario::IdlePoll => sqlite::poll(&folder, at_once, extent).await,
        _ => {
            let how = (Grouping::Together, Feeds::OneEach);
            sqlite::publish(&folder, bytes, how, at_once, extent).await
        }
    };
    Ok((yielded?, Remains::Folder(place)))
}

async fn on_disk(
    cell: Cell,
    bytes: u64,
    extent: Extent,
) -> Result<(Yield, Remains<'static>), BenchError> {
    let place = folder()?;
    let yielded = if cell.scenario == Scenario::Fetch {
        disk::read(place.path(), bytes, cell.at_once, extent).await
    } else {
        disk::write(place.path(), bytes, cell.at_once, extent).await
    };
    Ok((yielded?, Remains::Folder(place)))
}

/// How large the files of a floor are. A bare loop ends each file that it has begun: so much at once
/// in all is enough to measure it, and little enough for the disk.
fn floor_bytes(cell: Cell, scale: Scale) -> u64 {
    let at_once_bytes = match scale {
        Scale::Full => 4 * GB,
        Scale::Smoke => 32 * MB,
    };
    let at_once = u64::try_from(cell.at_once.max(1)).unwrap_or(u64::MAX);
    cell.bytes.min(at_once_bytes / at_once)
}

/// A folder for floors, which is gone with this value.
pub(super) fn folder() -> Result<TempDir, BenchError> {
    let folder = tempfile::Builder::new().prefix("bench-floor-").tempdir();
    folder.map_err(BenchError::Setup)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(scenario: Scenario, backend: Backend, bytes: u64, at_once: usize) -> Cell {
        Cell {
            scenario,
            backend,
            bytes,
            at_once,
        }
    }

    #[test]
    fn large_uploads_have_the_disk_as_a_floor_and_small_ones_do_not() {
        let upload = |bytes| Floor::of(cell(Scenario::Upload, Backend::Postgres, bytes, 1));
        assert_eq!(upload(1_000), [Floor::Postgres]);
        assert_eq!(upload(25 * MB), [Floor::Postgres, Floor::Disk]);
        let mixed = cell(Scenario::Mixed, Backend::Sqlite, 0, 40);
        assert_eq!(Floor::of(mixed), []);
    }

    #[test]
    fn a_floor_of_large_files_fits_on_the_disk() {
        let bytes = |bytes, at_once| {
            let upload = cell(Scenario::Upload, Backend::Sqlite, bytes, at_once);
            floor_bytes(upload, Scale::Full)
        };
        assert_eq!(bytes(25 * MB, 64), 25 * MB);
        assert_eq!(bytes(GB, 4), GB);
        assert_eq!(bytes(GB, 64), 62_500_000);
    }
}
