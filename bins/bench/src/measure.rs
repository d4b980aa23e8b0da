//! Measuring one cell.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::cell::{Cell, GB, KB, MB, Scale, Scenario};
use crate::error::BenchError;
use crate::figures::{Figure, Figures};
use crate::load::{Extent, Yield, drive};
use crate::meters::{CountingProxy, Statement, statements_between};
use crate::scenarios::{self, Prepared, Rows};
use crate::site::{Site, address_of};

/// How long small loads run before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);
/// How long the transfers of files that do not end within the window run before bytes count: the
/// network's buffers are full by then.
const FILLING: Duration = Duration::from_secs(1);
/// How many bytes a counting pass moves at the most, and how many turns it makes.
const COUNTED_BYTES: u64 = 200 * MB;
const COUNTED_TURNS: u64 = 20;
const COUNTING_WARM_UP: u64 = 3;
/// Of files of 1 GB, so many at once are waited for; of more, the bytes within the window count.
const WHOLE_GB_FILES: usize = 4;
/// How long a compressed hour is.
const COMPRESSED_HOUR: Duration = Duration::from_mins(2);
/// How much longer than other windows that of an arrival is: it makes few turns a second.
const ARRIVALS_WINDOWS: u32 = 4;

/// How long each cell is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) scale: Scale,
    pub(crate) window: Duration,
}

impl Effort {
    fn window_of(self, cell: Cell) -> Duration {
        match (cell.scenario, self.scale) {
            (Scenario::Mixed, Scale::Full) => COMPRESSED_HOUR,
            (Scenario::Mixed, Scale::Smoke) => self.window * 10,
            (Scenario::Arrival, _) => self.window * ARRIVALS_WINDOWS,
            // Their buffers alone take a second to fill.
            _ if cell.bytes >= GB => self.window * 3,
            _ => self.window,
        }
    }
}

/// The load of a cell, ready to begin, and those of its neighbours on the same server.
pub(crate) async fn prepare(
    cell: Cell,
    site: &Site<'_>,
    effort: Effort,
) -> Result<Option<Prepared>, BenchError> {
    Prepared::of(cell, site.address()?, effort.scale, effort.window).await
}

/// Measures a cell, and answers its rows: one, but for a mixed hour.
pub(crate) async fn measure(
    cell: Cell,
    site: &Site<'_>,
    prepared: Option<&Prepared>,
    effort: Effort,
) -> Result<Rows, BenchError> {
    let extent = Extent {
        duration: effort.window_of(cell),
        turns: u64::MAX,
    };
    let figures = match (prepared, cell.scenario) {
        (None, Scenario::Mixed) => {
            return scenarios::mixed(site, cell.at_once, extent.duration).await;
        }
        (None, Scenario::Idle) => scenarios::idle(site).await?,
        (None, Scenario::Waiters) => scenarios::waiters(site, cell.at_once).await?,
        (None, _) => scenarios::arrival(cell, site, extent).await?,
        (Some(prepared), _) if never_ends(cell, effort.scale) => {
            stream(site, prepared, cell.at_once, extent.duration).await?
        }
        (Some(prepared), _) => turns(cell, site, prepared, extent).await?,
    };
    Ok(vec![(None, figures)])
}

/// Whether the files are too large to be waited for.
pub(crate) fn never_ends(cell: Cell, scale: Scale) -> bool {
    cell.bytes >= GB && (scale == Scale::Smoke || cell.at_once > WHOLE_GB_FILES)
}

/// Whole turns: those under way at the end of the window are waited for.
async fn turns(
    cell: Cell,
    site: &Site<'_>,
    prepared: &Prepared,
    extent: Extent,
) -> Result<Figures, BenchError> {
    let moved = Arc::default();
    let address = site.address()?;
    let workers = async || prepared.workers(address, cell.at_once, &moved).await;
    if cell.bytes <= 100 * KB && prepared.turns() == u64::MAX {
        let warm_up = Extent {
            duration: WARM_UP.min(extent.duration),
            turns: u64::MAX,
        };
        drive(workers().await?, warm_up).await?;
    }
    let extent = Extent {
        turns: prepared.turns(),
        ..extent
    };
    let workers = workers().await?;
    let meters = site.meters();
    let begun = meters.begin().await?;
    let yielded = drive(workers, extent).await?;
    meters.end(&begun, &yielded).await
}

/// Bytes that move within the window; what is under way is cut off then.
async fn stream(
    site: &Site<'_>,
    prepared: &Prepared,
    at_once: usize,
    window: Duration,
) -> Result<Figures, BenchError> {
    let moved = Arc::new(AtomicU64::new(0));
    let workers = prepared.workers(site.address()?, at_once, &moved).await?;
    let for_ever = Extent {
        duration: Duration::MAX,
        turns: u64::MAX,
    };
    let mut load = pin!(drive(workers, for_ever));
    let meters = site.meters();
    // It ends before only when it fails.
    tokio::select! {
        ended = &mut load => return Err(ended.err().unwrap_or(BenchError::WorkerDied)),
        () = sleep(FILLING.min(window)) => {}
    }
    let begun = meters.begin().await?;
    let (clock, before) = (Instant::now(), moved.load(Ordering::Relaxed));
    tokio::select! {
        ended = &mut load => return Err(ended.err().unwrap_or(BenchError::WorkerDied)),
        () = sleep(window) => {}
    }
    let mut yielded = Yield::nothing()?;
    yielded.bytes = moved.load(Ordering::Relaxed) - before;
    yielded.elapsed = clock.elapsed();
    meters.end(&begun, &yielded).await
}

/// What a turn costs when it is alone, whatever the clock says.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) figures: Figures,
    pub(crate) statements: Vec<Statement>,
}

/// Makes some turns, one at a time, through a server whose words with the database are counted;
/// nothing is counted when there is no database, or when a turn moves too much.
pub(crate) async fn count(
    cell: Cell,
    site: &Site<'_>,
    prepared: &Prepared,
) -> Result<Count, BenchError> {
    let (Some(database), Some(address)) = (site.database(), site.database_address()) else {
        return Ok(Count::default());
    };
    let turns = COUNTED_TURNS.min(COUNTED_BYTES / cell.bytes.max(1));
    if turns == 0 {
        return Ok(Count::default());
    }
    let proxy = CountingProxy::before(address).await?;
    let server = site.server_through(proxy.port());
    let own = address_of(&server)?;
    // The first turns open connections and prepare statements.
    repeat(prepared, own, COUNTING_WARM_UP).await?;
    let workers = connected(prepared, own).await?;
    let before = (database.statements().await?, proxy.round_trips());
    let made = drive(workers, exactly(turns)).await?;
    let after = (database.statements().await?, proxy.round_trips());
    server.kill();
    let statements = statements_between(&before.0, &after.0, made.turns);
    let mut figures = Figures::default();
    let all: f64 = statements.iter().map(|statement| statement.calls).sum();
    figures.set(Figure::StatementsAlone, all);
    figures.set(
        Figure::RoundTripsAlone,
        each(after.1 - before.1, made.turns),
    );
    Ok(Count {
        figures,
        statements,
    })
}

fn exactly(turns: u64) -> Extent {
    Extent {
        duration: Duration::MAX,
        turns,
    }
}

async fn connected(
    prepared: &Prepared,
    address: SocketAddr,
) -> Result<Vec<scenarios::Job>, BenchError> {
    prepared.workers(address, 1, &Arc::default()).await
}

async fn repeat(prepared: &Prepared, address: SocketAddr, turns: u64) -> Result<(), BenchError> {
    let workers = connected(prepared, address).await?;
    drive(workers, exactly(turns)).await.map(drop)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures have few significant digits"
)]
fn each(number: u64, turns: u64) -> f64 {
    number as f64 / turns as f64
}
