//! Measuring one cell.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cell::{Cell, GB, KB, MB, Scale, Scenario};
use crate::error::BenchError;
use crate::figures::{Figure, Figures};
use crate::load::{Extent, Yield, drive};
use crate::meters::{CountingProxy, Statement, statements_between};
use crate::scenarios::{self, Job, Prepared, Rows, Stock};
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
    let stock = match effort.scale {
        Scale::Full => Stock::Plenty,
        Scale::Smoke => Stock::Few,
    };
    Prepared::of(cell, site.address()?, stock, effort.window).await
}

/// Measures a cell, and answers its rows: one, but for a mixed hour.
pub(crate) async fn measure(
    cell: Cell,
    site: &Site<'_>,
    prepared: Option<&Prepared>,
    effort: Effort,
) -> Result<Rows, BenchError> {
    let window = effort.window_of(cell);
    let figures = match (prepared, cell.scenario) {
        (None, Scenario::Mixed) => return scenarios::mixed(site, cell.at_once, window).await,
        (None, Scenario::Idle) => scenarios::idle(site).await?,
        (None, Scenario::Waiters) => scenarios::waiters(site, cell.at_once).await?,
        (None, _) => scenarios::arrival(cell, site, window).await?,
        (Some(prepared), _) => {
            let meters = site.meters();
            let running = Running::start(site.address()?, cell, prepared, effort).await?;
            let begun = meters.begin().await?;
            let yielded = running.finish().await?;
            meters.end(&begun, &yielded).await?
        }
    };
    Ok(vec![(None, figures)])
}

/// Puts the server at `address` under the load of a cell that is a closed loop.
pub(crate) async fn load(
    address: SocketAddr,
    cell: Cell,
    prepared: &Prepared,
    effort: Effort,
) -> Result<Yield, BenchError> {
    let running = Running::start(address, cell, prepared, effort).await?;
    running.finish().await
}

/// A load that is warm.
enum Running {
    /// Whole turns: those under way at the end of the window are waited for.
    Turns(Vec<Job>, Extent),
    /// Files too large to be waited for: bytes that move within the window count, and what is under
    /// way then is cut off.
    Stream {
        load: JoinSet<Result<Yield, BenchError>>,
        moved: Arc<AtomicU64>,
        window: Duration,
    },
}

impl Running {
    async fn start(
        address: SocketAddr,
        cell: Cell,
        prepared: &Prepared,
        effort: Effort,
    ) -> Result<Self, BenchError> {
        let window = effort.window_of(cell);
        let moved = Arc::new(AtomicU64::new(0));
        let workers = async || prepared.workers(address, cell.at_once, &moved).await;
        if never_ends(cell, effort.scale) {
            let mut load = JoinSet::new();
            load.spawn(drive(workers().await?, for_so_long(Duration::MAX)));
            during(&mut load, FILLING.min(window)).await?;
            return Ok(Self::Stream {
                load,
                moved,
                window,
            });
        }
        if cell.bytes <= 100 * KB && prepared.turns() == u64::MAX {
            drive(workers().await?, for_so_long(WARM_UP.min(window))).await?;
        }
        let extent = Extent {
            duration: window,
            turns: prepared.turns(),
        };
        Ok(Self::Turns(workers().await?, extent))
    }

    async fn finish(self) -> Result<Yield, BenchError> {
        match self {
            Self::Turns(workers, extent) => drive(workers, extent).await,
            Self::Stream {
                mut load,
                moved,
                window,
            } => {
                let (clock, before) = (Instant::now(), moved.load(Ordering::Relaxed));
                during(&mut load, window).await?;
                let mut yielded = Yield::nothing()?;
                yielded.bytes = moved.load(Ordering::Relaxed) - before;
                yielded.elapsed = clock.elapsed();
                Ok(yielded)
            }
        }
    }
}

/// Lets a load run that never ends, unless it fails.
async fn during(
    load: &mut JoinSet<Result<Yield, BenchError>>,
    time: Duration,
) -> Result<(), BenchError> {
    match timeout(time, load.join_next()).await {
        Err(_) => Ok(()),
        Ok(Some(Ok(Err(error)))) => Err(error),
        Ok(_) => Err(BenchError::WorkerDied),
    }
}

fn for_so_long(duration: Duration) -> Extent {
    Extent {
        duration,
        turns: u64::MAX,
    }
}

/// Whether the files are too large to be waited for.
fn never_ends(cell: Cell, scale: Scale) -> bool {
    cell.bytes >= GB && (scale == Scale::Smoke || cell.at_once > WHOLE_GB_FILES)
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

async fn connected(prepared: &Prepared, address: SocketAddr) -> Result<Vec<Job>, BenchError> {
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
