//! Servers that do less than ours, under the very load that ours is under.

use tempfile::TempDir;

use crate::cell::{Cell, GB, MB, Scenario};
use crate::error::BenchError;
use crate::figures::Figure;
use crate::floors::FloorError;
use crate::floors::servers::{FloorServer, RunningServer};
use crate::load::Yield;
use crate::measure::{Effort, load};
use crate::scenarios::{Prepared, Stock};
use crate::site::{FreshDatabase, Host};

use super::floor::folder;

/// The plain baseline holds whole files in memory, and several copies of each: no more than this at
/// once.
const PLAIN_BYTES: u64 = 400 * MB;

/// A server that does less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rival {
    /// Reads and drops, and serves from memory.
    Drop,
    /// Keeps files, without any fsync.
    Files,
    /// One bytea a file, one statement at a time.
    Plain,
}

impl Rival {
    /// Those of a cell: who knows what is asked there.
    pub(super) fn of(cell: Cell, host: &Host) -> Vec<Self> {
        let at_once = cell.bytes * cell.at_once as u64;
        let plain = host.cluster().is_some() && cell.bytes < GB && at_once <= PLAIN_BYTES;
        let rivals: &[Self] = match cell.scenario {
            Scenario::Upload | Scenario::Fetch => &[Self::Drop, Self::Files, Self::Plain],
            Scenario::Batch => &[Self::Files, Self::Plain],
            Scenario::Ack | Scenario::Cycle => &[Self::Plain],
            Scenario::IdlePoll => &[Self::Drop, Self::Plain],
            _ => &[],
        };
        let rivals = rivals.iter().copied();
        rivals
            .filter(|rival| plain || *rival != Self::Plain)
            .collect()
    }

    /// The figure that says how many times its rate ours is.
    pub(super) fn figure(self) -> Figure {
        match self {
            Self::Drop => Figure::ToHttpFloor,
            Self::Files => Figure::ToFileServer,
            Self::Plain => Figure::ToPlainBaseline,
        }
    }
}

/// A rival that listens, with the load of some cells prepared.
#[derive(Debug)]
pub(super) struct RivalServer<'a> {
    // Before what it keeps things in.
    server: RunningServer,
    prepared: Option<Prepared>,
    _folder: TempDir,
    _database: Option<FreshDatabase<'a>>,
}

impl<'a> RivalServer<'a> {
    /// Starts it for the cells that share a site with this one.
    pub(super) async fn start(
        rival: Rival,
        host: &'a Host,
        cell: Cell,
        effort: Effort,
    ) -> Result<Self, BenchError> {
        let folder = folder()?;
        let database = match rival {
            Rival::Plain => host.empty_database()?,
            Rival::Drop | Rival::Files => None,
        };
        let kind = match (rival, &database) {
            (Rival::Drop, _) => FloorServer::Drop,
            (Rival::Plain, Some(database)) => FloorServer::Plain {
                postgres: database.url(),
            },
            (Rival::Files | Rival::Plain, _) => FloorServer::Files {
                folder: folder.path().to_owned(),
            },
        };
        let own = std::env::current_exe().map_err(FloorError::from)?;
        let server = kind.launch(&own)?;
        let stock = match rival {
            Rival::Drop => Stock::OneByOne,
            Rival::Files | Rival::Plain => Stock::Few,
        };
        let prepared = Prepared::of(cell, server.address(), stock, effort.window).await?;
        Ok(Self {
            server,
            prepared,
            _folder: folder,
            _database: database,
        })
    }

    /// Puts it under the load of a cell.
    pub(super) async fn measure(&self, cell: Cell, effort: Effort) -> Result<Yield, BenchError> {
        match &self.prepared {
            Some(prepared) => load(self.server.address(), cell, prepared, effort).await,
            None => Yield::nothing(),
        }
    }
}
