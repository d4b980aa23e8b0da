//! The bursts of one batch on their way to the store, in their order.
//!
//! The next one is sent while the one before is not answered yet, on the same connection: the
//! database has no pause between them. With the last answer the connection goes back to the pool.

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use deadpool_postgres::Object;
use futures_util::stream::{FuturesOrdered, StreamExt};
use pending_uploads_core::{Timestamp, WorkspaceId};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};
use uuid::Uuid;

use crate::batch::RETRY_PAUSES;
use crate::burst::{FULL_CHUNKS, FullBurst};
use crate::chunks::{Chunk, ChunkColumns};
use crate::error::PgError;
use crate::pace::Company;
use crate::publish::Staging;
use crate::storage::PgStorage;

/// Where a burst that is sent again after it was committed is found to be there already.
const STAGING_TABLES: [&str; 2] = ["staged_batches", "pending_upload_chunks"];

/// How many bursts of a batch are on their way at the most.
const PLACES: u32 = 2;

/// How many of these places a burst takes: where many are stored, one burst of each is on its way, and
/// one without chunks goes alone.
fn places_of(company: Company, chunks: &[Chunk]) -> u32 {
    match company {
        Company::Few if !chunks.is_empty() => 1,
        Company::Few | Company::Many => PLACES,
    }
}

/// A burst: $1 to $4 are the batch, its workspace, its files and the time, $5 and $6 how many bursts
/// there were before and are now; the others are the chunks. It answers a row when the batch is there.
macro_rules! burst {
    ($noted:expr, $chunks:expr) => {
        concat!(
            "WITH noted AS (",
            $noted,
            " RETURNING batch_id), \
             stored AS (INSERT INTO pending_upload_chunks (file_id, seq, data) ",
            $chunks,
            ") SELECT batch_id FROM noted"
        )
    };
}
macro_rules! note_first {
    () => {
        "INSERT INTO staged_batches (batch_id, workspace_id, file_ids, touched_at, bursts) \
         SELECT $1, $2, $3, $4, $6 \
         FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried \
         WHERE $5::int8 = 0"
    };
}
/// One that is sent again after its answer was lost may find itself counted already, and the one that
/// was sent behind it, too: its chunks are then found to be there. One that only shows that the batch
/// is alive has no chunks, and finds the count as it was: none is sent behind it.
macro_rules! note_next {
    () => {
        "UPDATE staged_batches SET file_ids = $3, touched_at = $4, bursts = $6 \
         FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried \
         WHERE batch_id = $1 AND workspace_id = $2 AND abandoned_at IS NULL \
             AND bursts BETWEEN $5::int8 AND $6::int8 + ($6::int8 - $5::int8)"
    };
}
/// Any chunks: $7 to $9 are their files, their places in these, and their bytes.
macro_rules! any_chunks {
    () => {
        "SELECT chunk.* FROM noted, unnest($7::uuid[], $8::int4[], $9::bytea[]) AS chunk"
    };
}
const FIRST_BURST: &str = burst!(note_first!(), any_chunks!());
const NEXT_BURST: &str = burst!(note_next!(), any_chunks!());
/// A full burst of one file: $7 is the file, $8 the place of the first chunk, and each chunk's bytes
/// are a value of their own. The database copies those of an array twice more, into memory that it
/// gives back after each statement and must then be given anew, page by page.
static NEXT_FULL_BURST: LazyLock<String> = LazyLock::new(|| {
    let values: Vec<String> = (0..FULL_CHUNKS)
        .map(|place| format!("({place}, ${}::bytea)", place + 9))
        .collect();
    let statement = burst!(
        note_next!(),
        "SELECT $7::uuid, $8::int4 + chunk.place, chunk.data \
         FROM noted, (VALUES CHUNKS) AS chunk (place, data)"
    );
    statement.replace("CHUNKS", &values.join(", "))
});

/// What one statement stores.
#[derive(Debug)]
pub(crate) struct StagedBurst {
    pub(crate) batch_id: Uuid,
    pub(crate) workspace: WorkspaceId,
    pub(crate) file_ids: Vec<Uuid>,
    pub(crate) touched_at: Timestamp,
    /// How the batch was left by the burst before.
    pub(crate) staging: Staging,
    pub(crate) after: i64,
    pub(crate) chunks: Vec<Chunk>,
}

/// What stores the bursts of one batch. It ends at the first error, and when all is stored that was
/// sent until [`end`](Self::end) was called, or until this value was dropped.
#[derive(Debug)]
pub(crate) struct Storing {
    /// None when there are no more.
    bursts: Option<UnboundedSender<Queued>>,
    places: Arc<Semaphore>,
    ended: JoinHandle<Result<(), PgError>>,
}

/// A burst, and the places that it has until it has arrived.
type Queued = (StagedBurst, OwnedSemaphorePermit);

impl Storing {
    /// Starts it, with no burst yet.
    pub(crate) fn start(storage: &PgStorage) -> Self {
        let (sender, bursts) = mpsc::unbounded_channel();
        Self {
            bursts: Some(sender),
            places: Arc::new(Semaphore::new(PLACES as usize)),
            ended: storage.database().spawn(store(storage.clone(), bursts)),
        }
    }

    /// Waits until a burst of these chunks may be on its way.
    pub(crate) async fn wait_for_places(
        &self,
        company: Company,
        chunks: &[Chunk],
    ) -> Option<OwnedSemaphorePermit> {
        let places = places_of(company, chunks);
        let free = self.places.clone().acquire_many_owned(places).await;
        free.ok()
    }

    /// Sends a burst on its way; false when it has ended for an error.
    pub(crate) fn send(&self, burst: StagedBurst, places: OwnedSemaphorePermit) -> bool {
        let bursts = self.bursts.as_ref();
        bursts.is_some_and(|bursts| bursts.send((burst, places)).is_ok())
    }

    /// Waits until all that were sent have arrived, or one could not be stored.
    pub(crate) async fn end(&mut self) -> Result<(), PgError> {
        self.bursts = None;
        (&mut self.ended).await?
    }
}

/// What is left when no more is sent over a connection, to be done in this order.
#[derive(Debug, Default)]
struct Left {
    /// What is to be sent again: the connection was lost.
    again: Vec<Queued>,
    /// What may not follow on the same connection, because somebody else waits for one.
    held_back: Option<Queued>,
}

async fn store(storage: PgStorage, mut bursts: UnboundedReceiver<Queued>) -> Result<(), PgError> {
    let mut next = bursts.recv().await;
    while let Some(first) = next {
        let left = store_in_a_row(&storage, &mut bursts, first).await?;
        for (burst, _places) in left.again {
            burst.store_again(&storage).await?;
        }
        next = match left.held_back {
            Some(held_back) => Some(held_back),
            None => bursts.recv().await,
        };
    }
    Ok(())
}

/// Stores bursts over one connection, as long as the next is there before the last has been answered,
/// and nobody else waits for a connection.
async fn store_in_a_row(
    storage: &PgStorage,
    bursts: &mut UnboundedReceiver<Queued>,
    first: Queued,
) -> Result<Left, PgError> {
    let mut left = Left::default();
    let connection = match Connection::open(storage).await {
        Err(error) if error.is_transient() => {
            left.again.push(first);
            return Ok(left);
        }
        opened => opened?,
    };
    let mut on_their_way = FuturesOrdered::new();
    on_their_way.push_back(connection.attempt(storage, first));
    while !on_their_way.is_empty() {
        let may_follow = left.again.is_empty() && left.held_back.is_none();
        // What is on its way is polled first, so that it is sent before what comes next.
        tokio::select! {
            biased;
            Some((queued, outcome)) = on_their_way.next() => match outcome {
                // Behind one that was not stored none was: it did not find what it expects.
                _ if !left.again.is_empty() => left.again.push(queued),
                Err(error) if error.is_transient() => left.again.push(queued),
                Err(error) => {
                    // Nobody is to get a connection that is still busy with what was sent behind it.
                    while on_their_way.next().await.is_some() {}
                    return Err(error);
                }
                Ok(()) => {}
            },
            Some(next) = bursts.recv(), if may_follow => {
                if storage.database().is_short_of_connections() {
                    left.held_back = Some(next);
                } else {
                    on_their_way.push_back(connection.attempt(storage, next));
                }
            }
        }
    }
    Ok(left)
}

/// A connection on which the statements are prepared.
struct Connection {
    client: Object,
    first_burst: Statement,
    next_burst: Statement,
    next_full_burst: Statement,
}

impl Connection {
    /// Borrows one. The statements are prepared before anything is sent, so that bursts are sent in
    /// their order.
    async fn open(storage: &PgStorage) -> Result<Self, PgError> {
        let client = storage.database().client().await?;
        Ok(Self {
            first_burst: client.prepare_cached(FIRST_BURST).await?,
            next_burst: client.prepare_cached(NEXT_BURST).await?,
            next_full_burst: client.prepare_cached(&NEXT_FULL_BURST).await?,
            client,
        })
    }

    async fn attempt(&self, storage: &PgStorage, queued: Queued) -> (Queued, Result<(), PgError>) {
        let outcome = queued.0.store(self, storage).await;
        (queued, outcome)
    }
}

impl StagedBurst {
    async fn store(&self, connection: &Connection, storage: &PgStorage) -> Result<(), PgError> {
        let first = self.staging.bursts() == 0;
        let stored = if let Some(full) = FullBurst::of(&self.chunks).filter(|_| !first) {
            self.send(connection, &connection.next_full_burst, &full.params())
                .await?
        } else {
            let statement = if first {
                &connection.first_burst
            } else {
                &connection.next_burst
            };
            let columns = ChunkColumns::of(&self.chunks);
            self.send(connection, statement, &columns.params()).await?
        };
        if stored.is_empty() {
            return Err(self.staging.why_missing(storage.now()));
        }
        Ok(())
    }

    async fn send(
        &self,
        connection: &Connection,
        statement: &Statement,
        chunks: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let (workspace, touched_at) = (self.workspace.as_uuid(), SystemTime::from(self.touched_at));
        let before = self.staging.bursts();
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![
            &self.batch_id,
            &workspace,
            &self.file_ids,
            &touched_at,
            &before,
            &self.after,
        ];
        params.extend(chunks);
        connection.client.query(statement, &params).await
    }

    /// Sends it once more, after pauses, on other connections: its own was lost.
    async fn store_again(&self, storage: &PgStorage) -> Result<(), PgError> {
        let [mut pause, later @ ..] = RETRY_PAUSES;
        let mut later = later.into_iter();
        loop {
            sleep(pause).await;
            let outcome = match Connection::open(storage).await {
                Ok(connection) => self.store(&connection, storage).await,
                Err(error) => Err(error),
            };
            match (outcome, later.next()) {
                // A try before this one was committed, and only its answer was lost.
                (Err(error), _) if error.is_repetition_in(&STAGING_TABLES) => return Ok(()),
                (Err(error), Some(longer)) if error.is_transient() => pause = longer,
                (outcome, _) => return outcome,
            }
        }
    }
}
