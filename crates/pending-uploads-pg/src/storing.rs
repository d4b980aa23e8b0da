//! The bursts of one batch on their way to the store, in their order.
//!
//! The next one is sent while the one before is not answered yet, on the same connection: the
//! database has no pause between them. With the last answer the connection goes back to the pool.

use std::sync::Arc;
use std::time::SystemTime;

use deadpool_postgres::Object;
use futures_util::stream::{FuturesOrdered, StreamExt};
use pending_uploads_core::{Timestamp, WorkspaceId};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::batch::RETRY_PAUSES;
use crate::chunks::{Chunk, ChunkColumns};
use crate::error::PgError;
use crate::pace::Company;
use crate::publish::Staging;
use crate::storage::PgStorage;

/// Where a burst that is sent again after it was committed is found to be there already.
const STAGING_TABLES: [&str; 2] = ["staged_batches", "pending_upload_chunks"];

/// How many bursts of a batch are on their way at the most.
const PLACES: u32 = 2;

/// How many of these places a burst takes: where many are stored, one burst of each is on its way.
const fn places_of(company: Company) -> u32 {
    match company {
        Company::Few => 1,
        Company::Many => PLACES,
    }
}

/// A burst: $1 to $4 are the batch, its workspace, its files and the time, $5 and $6 how many bursts
/// there were before and are now, $7 to $9 the chunks. It answers a row when the batch is there.
macro_rules! burst {
    ($note:literal) => {
        concat!(
            "WITH noted AS (",
            $note,
            " RETURNING batch_id), \
             stored AS (INSERT INTO pending_upload_chunks (file_id, seq, data) \
                 SELECT chunk.* FROM noted, unnest($7::uuid[], $8::int4[], $9::bytea[]) AS chunk) \
             SELECT batch_id FROM noted"
        )
    };
}
const FIRST_BURST: &str = burst!(
    "INSERT INTO staged_batches (batch_id, workspace_id, file_ids, touched_at, bursts) \
     SELECT $1, $2, $3, $4, $6 \
     FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried \
     WHERE $5::int8 = 0"
);
/// One that is sent again after its answer was lost may find itself counted already, and the one that
/// was sent behind it, too; its chunks are then found to be there.
const NEXT_BURST: &str = burst!(
    "UPDATE staged_batches SET file_ids = $3, touched_at = $4, bursts = $6 \
     FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried \
     WHERE batch_id = $1 AND workspace_id = $2 AND abandoned_at IS NULL \
         AND bursts BETWEEN $5::int8 AND $6::int8 + 1"
);

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

/// What stores the bursts of one batch. It ends at the first error, and when it is told to; what was
/// sent until then is stored also when this value is dropped.
#[derive(Debug)]
pub(crate) struct Storing {
    /// None when there are no more.
    bursts: Option<UnboundedSender<Sent>>,
    places: Arc<Semaphore>,
    ended: JoinHandle<Result<(), PgError>>,
}

/// A burst, and the places that it has until it has arrived.
type Sent = (StagedBurst, OwnedSemaphorePermit);

impl Storing {
    /// Starts it, with no burst yet.
    pub(crate) fn start(storage: &PgStorage) -> Self {
        let (sender, bursts) = mpsc::unbounded_channel();
        let storage_of_task = storage.clone();
        let store = async move { store(storage_of_task, bursts).await };
        Self {
            bursts: Some(sender),
            places: Arc::new(Semaphore::new(PLACES as usize)),
            ended: storage.database().spawn(store),
        }
    }

    /// Waits until one more burst may be on its way.
    pub(crate) async fn places(&self, company: Company) -> Option<OwnedSemaphorePermit> {
        let places = self.places.clone();
        places.acquire_many_owned(places_of(company)).await.ok()
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

/// What is to be done when a flight is over, in this order.
#[derive(Debug, Default)]
struct Landing {
    /// What is to be sent again: the connection was lost.
    again: Vec<Sent>,
    /// What may not follow on the same connection, because somebody else waits for one.
    held_back: Option<Sent>,
}

async fn store(storage: PgStorage, mut bursts: UnboundedReceiver<Sent>) -> Result<(), PgError> {
    let mut next = bursts.recv().await;
    while let Some(first) = next {
        let landing = fly(&storage, &mut bursts, first).await?;
        for (burst, _places) in landing.again {
            burst.store_again(&storage).await?;
        }
        next = match landing.held_back {
            Some(held_back) => Some(held_back),
            None => bursts.recv().await,
        };
    }
    Ok(())
}

/// Stores bursts over one connection, as long as the next is there before the last has been answered,
/// and nobody else waits for a connection.
async fn fly(
    storage: &PgStorage,
    bursts: &mut UnboundedReceiver<Sent>,
    first: Sent,
) -> Result<Landing, PgError> {
    let mut landing = Landing::default();
    let connection = match Connection::open(storage).await {
        Err(error) if error.is_transient() => {
            landing.again.push(first);
            return Ok(landing);
        }
        opened => opened?,
    };
    let mut flying = FuturesOrdered::new();
    flying.push_back(connection.attempt(storage, first));
    while !flying.is_empty() {
        let may_follow = landing.again.is_empty() && landing.held_back.is_none();
        // What is flying is polled first, so that it is sent before what comes next.
        tokio::select! {
            biased;
            Some((sent, outcome)) = flying.next() => match outcome {
                // Behind one that was not stored none was: it did not find what it expects.
                _ if !landing.again.is_empty() => landing.again.push(sent),
                Err(error) if error.is_transient() => landing.again.push(sent),
                outcome => outcome?,
            },
            Some(next) = bursts.recv(), if may_follow => {
                if storage.database().is_short_of_connections() {
                    landing.held_back = Some(next);
                } else {
                    flying.push_back(connection.attempt(storage, next));
                }
            }
        }
    }
    Ok(landing)
}

struct Connection {
    client: Object,
    first: Statement,
    next: Statement,
}

impl Connection {
    /// Both statements are prepared before anything is sent, so that bursts are sent in their order.
    async fn open(storage: &PgStorage) -> Result<Self, PgError> {
        let client = storage.database().client().await?;
        Ok(Self {
            first: client.prepare_cached(FIRST_BURST).await?,
            next: client.prepare_cached(NEXT_BURST).await?,
            client,
        })
    }

    async fn attempt(&self, storage: &PgStorage, sent: Sent) -> (Sent, Result<(), PgError>) {
        let outcome = sent.0.store(self, storage).await;
        (sent, outcome)
    }
}

impl StagedBurst {
    async fn store(&self, connection: &Connection, storage: &PgStorage) -> Result<(), PgError> {
        let before = self.staging.bursts();
        let statement = if before == 0 {
            &connection.first
        } else {
            &connection.next
        };
        let (workspace, touched_at) = (self.workspace.as_uuid(), SystemTime::from(self.touched_at));
        let chunks = ChunkColumns::of(&self.chunks);
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![
            &self.batch_id,
            &workspace,
            &self.file_ids,
            &touched_at,
            &before,
            &self.after,
        ];
        params.extend(chunks.params());
        let stored = connection.client.query(statement, &params).await?;
        if stored.is_empty() {
            return Err(self.staging.why_missing(storage.now()));
        }
        Ok(())
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
