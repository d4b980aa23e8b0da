//! The floors of what is one statement: an ack, and a poll with nothing new.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::rows::{FloorFile, Placement, PublishStatements, one};
use super::{FloorDatabase, TTL};
use crate::error::BenchError;
use crate::floors::FloorError;
use crate::load::{Extent, Worker, Yield, drive};

/// How many files wait for the acks of one load at most.
const MOST_WAITING: u64 = 200_000;

/// Records alone: an ack has nothing to do with a file's bytes.
const MAKE_WAITING: &str = "INSERT INTO pending_uploads (file_id, workspace_id, filename, \
         original_name, mimetype, size_bytes, chunk_bytes, sha256, created_at, expires_at) \
     SELECT file_id, $2, 'floor.bin', 'floor.bin', 'application/octet-stream', 1000, 8000, \
         decode(repeat('a5', 32), 'hex'), $3, $4 FROM unnest($1::uuid[]) AS file_id";
const ACK: &str = "UPDATE pending_uploads SET acked_at = $3 \
     WHERE file_id = $1 AND workspace_id = $2 AND acked_at IS NULL AND expires_at > $3 \
     RETURNING file_id";

const POLL: &str = "SELECT id, workspace_id, seq, activity_type, source_id, target_id, method, \
         summary, request_body, response_body, duration_ms, status, error_detail, created_at \
     FROM activity WHERE workspace_id = $1 \
         AND seq > (SELECT seq FROM activity WHERE id = $2 AND workspace_id = $1) \
     ORDER BY seq LIMIT 100";
const NEWEST: &str = "SELECT id FROM activity WHERE workspace_id = $1 ORDER BY seq DESC LIMIT 1";

/// Acks files, each of which was made to wait before the clock ran, over `at_once` connections. It
/// ends after 200,000 acks at the latest.
pub(crate) async fn ack(
    database: &FloorDatabase,
    at_once: usize,
    extent: Extent,
) -> Result<Yield, BenchError> {
    let turns = extent.turns.min(MOST_WAITING);
    let files = Arc::new(make_waiting(database, turns).await?);
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = Vec::with_capacity(at_once);
    for client in database.connections(at_once).await? {
        workers.push(Acker {
            ack: client.prepare(ACK).await.map_err(FloorError::from)?,
            client,
            files: Arc::clone(&files),
            next: Arc::clone(&next),
        });
    }
    drive(workers, Extent { turns, ..extent }).await
}

struct Waiting {
    workspace: Uuid,
    files: Vec<Uuid>,
}

async fn make_waiting(database: &FloorDatabase, count: u64) -> Result<Waiting, FloorError> {
    let workspaces = database.workspaces(1).await?;
    let workspace = *workspaces
        .first()
        .ok_or(FloorError::Missing("a workspace"))?;
    let files: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
    let now = SystemTime::now();
    let client = database.connect().await?;
    client
        .execute(MAKE_WAITING, &[&files, &workspace, &now, &(now + TTL)])
        .await?;
    Ok(Waiting { workspace, files })
}

struct Acker {
    client: Client,
    ack: Statement,
    files: Arc<Waiting>,
    next: Arc<AtomicUsize>,
}

impl Acker {
    async fn ack(&self) -> Result<(), FloorError> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let file = self.files.files.get(next);
        let file = file.ok_or(FloorError::Missing("a waiting file"))?;
        let acked = self
            .client
            .query(
                &self.ack,
                &[file, &self.files.workspace, &SystemTime::now()],
            )
            .await?;
        one(acked.len() as u64, "a waiting file")
    }
}

impl Worker for Acker {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        self.ack().await?;
        Ok(0)
    }
}

/// Asks for what is after the newest row of a feed, over `at_once` connections with a feed each.
pub(crate) async fn poll(
    database: &FloorDatabase,
    at_once: usize,
    extent: Extent,
) -> Result<Yield, BenchError> {
    let workspaces = database.workspaces(at_once).await?;
    let clients = database.connections(at_once).await?;
    let mut workers = Vec::with_capacity(at_once);
    for (workspace, client) in workspaces.into_iter().zip(clients) {
        workers.push(Poller::begin(client, workspace).await?);
    }
    drive(workers, extent).await
}

struct Poller {
    client: Client,
    poll: Statement,
    workspace: Uuid,
    cursor: Uuid,
}

impl Poller {
    /// Gives the feed a row to be after.
    async fn begin(client: Client, workspace: Uuid) -> Result<Self, FloorError> {
        let publish = PublishStatements::prepare(&client).await?;
        let file = FloorFile::new(workspace, 1);
        publish
            .publish(&client, &file, Placement::Chunks(&[]))
            .await?;
        Ok(Self {
            poll: client.prepare(POLL).await?,
            cursor: client
                .query_one(NEWEST, &[&workspace])
                .await?
                .try_get("id")?,
            client,
            workspace,
        })
    }

    async fn poll(&self) -> Result<(), FloorError> {
        let rows = self
            .client
            .query(&self.poll, &[&self.workspace, &self.cursor])
            .await?;
        if rows.is_empty() {
            Ok(())
        } else {
            Err(FloorError::Missing("the end of an idle feed"))
        }
    }
}

impl Worker for Poller {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        self.poll().await?;
        Ok(0)
    }
}
