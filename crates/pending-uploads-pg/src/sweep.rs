//! The sweep: deletes what nobody will come for, in short transactions of bounded size.
//!
//! Record and bytes go in one transaction, but for files larger than a step: of those the bytes go
//! first, from the end, step by step, and the record goes with the last of them. Whatever a crash
//! leaves is thus still found by its record.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use deadpool_postgres::Object;
use futures_util::future::try_join_all;
use pending_uploads_core::{
    ActivityId, FileId, NewActivity, SweepPolicy, SweepReason, Swept, SweptFile, Timestamp,
    WorkspaceId,
};
use tokio::time::sleep;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row};
use uuid::Uuid;

use crate::batch::end_transaction;
use crate::database::Database;
use crate::error::PgError;
use crate::feed_rows::{self, FeedRows};
use crate::rows::{self, stored_time};

/// How many bytes one transaction deletes at most: 64 MiB.
const STEP_BYTES: u64 = 64 * 1024 * 1024;
/// The same as the database counts it.
const STEP_BYTES_I64: i64 = 64 * 1024 * 1024;
const _: () = assert!(STEP_BYTES == STEP_BYTES_I64.unsigned_abs());

/// How long to pause before a batch that somebody holds is looked at again.
const DISCARD_PAUSES: [Duration; 5] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(4),
];

/// A hundred candidates at most, for as many as fit into a step, of workspaces that are not in $2;
/// rows that somebody is just working on are left for the next one.
macro_rules! candidates {
    ($condition:literal, $order:literal) => {
        concat!(
            "SELECT file_id, workspace_id, filename, original_name, size_bytes, \
                 acked_at IS NOT NULL AS acked FROM pending_uploads WHERE ",
            $condition,
            " AND workspace_id <> ALL($2::uuid[]) ORDER BY ",
            $order,
            " LIMIT 100 FOR UPDATE SKIP LOCKED"
        )
    };
}
const ACKED: &str = candidates!("acked_at <= $1", "acked_at");
const ACKED_EXPIRED: &str = candidates!("acked_at IS NOT NULL AND expires_at <= $1", "expires_at");
const EXPIRED: &str = candidates!("acked_at IS NULL AND expires_at <= $1", "expires_at");

/// The feeds of these workspaces, and of which of them the lock is ours from here on. One that
/// somebody else holds is not waited for: who never waits for a second lock cannot deadlock.
const LOCK_FEEDS: &str = "SELECT feed.workspace_id, locked.workspace_id IS NOT NULL AS locked \
     FROM feed_counters AS feed LEFT JOIN ( \
         SELECT workspace_id FROM feed_counters WHERE workspace_id = ANY($1) \
         ORDER BY workspace_id FOR NO KEY UPDATE SKIP LOCKED \
     ) AS locked ON locked.workspace_id = feed.workspace_id WHERE feed.workspace_id = ANY($1)";

/// The one feed that is waited for, a second at the most, with no other in hand.
const BOUND_THE_WAIT: &str = "SET LOCAL lock_timeout = '1s'";
const LOCK_ONE_FEED: &str = "SELECT FROM feed_counters WHERE workspace_id = $1 FOR NO KEY UPDATE";

const DELETE_UPLOADS: &str = "DELETE FROM pending_uploads WHERE file_id = ANY($1)";
const DELETE_CHUNKS: &str = "WITH gone AS ( \
         DELETE FROM pending_upload_chunks WHERE file_id = ANY($1) \
         RETURNING file_id, octet_length(data) AS bytes \
     ) SELECT file_id, sum(bytes)::int8 AS bytes FROM gone GROUP BY file_id";
/// As many of a file's last chunks as have $2 bytes. All of its chunks are as long as the first, but
/// for the last.
const DELETE_TAIL: &str = "WITH gone AS ( \
         DELETE FROM pending_upload_chunks WHERE file_id = $1 AND seq > \
             (SELECT max(seq) FROM pending_upload_chunks WHERE file_id = $1) - $2::int8 / \
             (SELECT octet_length(data) FROM pending_upload_chunks WHERE file_id = $1 AND seq = 0) \
         RETURNING octet_length(data) AS bytes \
     ) SELECT coalesce(sum(bytes), 0)::int8 AS bytes FROM gone";
/// How many bytes the files have at the most: of each, only its first chunk and its last are looked
/// at.
const STORED_BYTES: &str = "SELECT \
         coalesce(sum((last.seq + 1)::int8 * octet_length(first.data)), 0)::int8 AS bytes \
     FROM unnest($1::uuid[]) AS file (id) \
     CROSS JOIN LATERAL (SELECT data FROM pending_upload_chunks \
         WHERE file_id = file.id AND seq = 0 LIMIT 1) AS first \
     CROSS JOIN LATERAL (SELECT seq FROM pending_upload_chunks \
         WHERE file_id = file.id ORDER BY seq DESC LIMIT 1) AS last";

/// From here on the batch can neither grow nor publish. In the order of their ids, which is about
/// that of their beginnings: the search ends at the first, however many have been left.
const ABANDON: &str = "UPDATE staged_batches SET abandoned_at = $1 WHERE batch_id = ( \
         SELECT batch_id FROM staged_batches WHERE touched_at <= $2 OR abandoned_at IS NOT NULL \
         ORDER BY batch_id LIMIT 1 FOR UPDATE SKIP LOCKED \
     ) RETURNING batch_id, workspace_id, file_ids";
const ABANDON_ONE: &str = "UPDATE staged_batches SET abandoned_at = $1 WHERE batch_id = ( \
         SELECT batch_id FROM staged_batches WHERE batch_id = $2 FOR UPDATE SKIP LOCKED \
     ) RETURNING batch_id, workspace_id, file_ids";
const IS_STAGED: &str = "SELECT 1 FROM staged_batches WHERE batch_id = $1";
const DELETE_BATCH: &str = "DELETE FROM staged_batches WHERE batch_id = $1";

/// Sweeps one step of each kind: of acked files, of expired ones, acked and not, and of abandoned
/// ones. None of them waits until another is done, however much of that there is.
pub(crate) async fn step(
    database: &Database,
    policy: &SweepPolicy,
    now: Timestamp,
) -> pending_uploads_core::Result<Swept> {
    let acked_until = now.saturating_sub(policy.ack_retention);
    let silent_since = now.saturating_sub(policy.staging_lease);
    let parts = [
        sweep_published(database, ACKED, acked_until, now).await,
        sweep_published(database, ACKED_EXPIRED, now, now).await,
        sweep_published(database, EXPIRED, now, now).await,
        sweep_abandoned(database, silent_since, now).await,
    ];
    Swept::of_parts(parts.map(|part| Ok(part?)))
}

/// Deletes what was staged of a batch that its owner gave up. A transaction that is just publishing
/// it is not waited for with a connection in hand; what it still holds in the end is the sweeper's.
pub(crate) async fn discard_batch(
    database: &Database,
    batch_id: Uuid,
    now: Timestamp,
) -> Result<(), PgError> {
    let params: [&(dyn ToSql + Sync); 2] = [&SystemTime::from(now), &batch_id];
    for pause in DISCARD_PAUSES {
        if let Some(batch) = abandon(database, ABANDON_ONE, &params).await? {
            return delete_abandoned(database, &batch).await.map(drop);
        }
        if database.query(IS_STAGED, &[&batch_id]).await?.is_empty() {
            return Ok(());
        }
        sleep(pause).await;
    }
    Ok(())
}

/// Sweeps published files in the order of `candidates`, until a step has deleted some or there are
/// none.
async fn sweep_published(
    database: &Database,
    candidates: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<Vec<SweptFile>, PgError> {
    loop {
        let client = database.client().await?;
        client.batch_execute("BEGIN").await?;
        let worked = delete_published(&client, candidates, until, now).await;
        match end_transaction(client, worked).await {
            Ok(Step::Shrunk) => {}
            Ok(Step::Deleted(files)) => {
                announce_expiries(database, &files);
                return Ok(files);
            }
            Err(error) => return Err(error),
        }
    }
}

/// What one transaction did.
enum Step {
    /// It took a piece of a file that is larger than a step.
    Shrunk,
    /// It deleted these files; none were left if it is empty.
    Deleted(Vec<SweptFile>),
}

async fn delete_published(
    client: &Object,
    candidates: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<Step, PgError> {
    let mut held = Vec::new();
    loop {
        let files = find(client, candidates, until, &held).await?;
        if files.is_empty() {
            let files = wait_for_a_feed(client, held, now).await?;
            return delete(client, files, now).await;
        }
        let (free, of_held) = lock_feeds(client, files).await?;
        if !free.is_empty() {
            return delete(client, free, now).await;
        }
        // Who is always publishing keeps nobody else's files from being swept.
        held.extend(of_held);
    }
}

/// Finds what is to be swept, of workspaces of which no file was passed over.
async fn find(
    client: &Object,
    candidates: &str,
    until: Timestamp,
    passed_over: &[SweptFile],
) -> Result<Vec<SweptFile>, PgError> {
    let workspaces: HashSet<Uuid> = workspaces(passed_over).collect();
    let workspaces: Vec<Uuid> = workspaces.into_iter().collect();
    let statement = client.prepare_cached(candidates).await?;
    let rows = client
        .query(&statement, &[&stored_time(until), &workspaces])
        .await?;
    rows.iter().map(swept_file).collect()
}

fn workspaces(files: &[SweptFile]) -> impl Iterator<Item = Uuid> {
    files.iter().map(|file| file.workspace_id.as_uuid())
}

/// Deletes a step's worth of the files, whose feeds are locked, and says in these which of them
/// expired; or a piece of the first when it is larger than a step.
async fn delete(client: &Object, files: Vec<SweptFile>, now: Timestamp) -> Result<Step, PgError> {
    let files = one_step_of(files);
    let Some(first) = files.first() else {
        return Ok(Step::Deleted(files));
    };
    if first.size_bytes > STEP_BYTES {
        let shrunk = shrink(&***client, &[first.file_id.as_uuid()]).await?;
        if shrunk.is_some() {
            return Ok(Step::Shrunk);
        }
    }
    let ids: Vec<Uuid> = files.iter().map(|file| file.file_id.as_uuid()).collect();
    let delete_chunks = client.prepare_cached(DELETE_CHUNKS).await?;
    let delete_uploads = client.prepare_cached(DELETE_UPLOADS).await?;
    client.query(&delete_chunks, &[&ids]).await?;
    client.execute(&delete_uploads, &[&ids]).await?;
    append_expiries(client, &files, now).await?;
    Ok(Step::Deleted(files))
}

/// As many of the files as one transaction may delete: up to [`STEP_BYTES`], but one at least.
fn one_step_of(files: Vec<SweptFile>) -> Vec<SweptFile> {
    let mut bytes = 0;
    files
        .into_iter()
        .enumerate()
        .take_while(|(index, file)| {
            bytes += file.size_bytes;
            *index == 0 || bytes <= STEP_BYTES
        })
        .map(|(_, file)| file)
        .collect()
}

/// Locks the feeds that these files expired in. The second are those whose feed somebody holds: a
/// publish, or a caller's own transaction.
async fn lock_feeds(
    client: &Object,
    files: Vec<SweptFile>,
) -> Result<(Vec<SweptFile>, Vec<SweptFile>), PgError> {
    if files.iter().all(|file| file.reason != SweepReason::Expired) {
        return Ok((files, Vec::new()));
    }
    let lock = client.prepare_cached(LOCK_FEEDS).await?;
    let workspaces: Vec<Uuid> = workspaces(&files).collect();
    let mut held = HashSet::new();
    for feed in client.query(&lock, &[&workspaces]).await? {
        if !rows::column::<bool>(&feed, "locked")? {
            held.insert(rows::uuid(&feed, "workspace_id")?);
        }
    }
    let is_free = |file: &SweptFile| !held.contains(&file.workspace_id.as_uuid());
    Ok(files.into_iter().partition(is_free))
}

/// When nothing else is left: waits for the feed of one of the workspaces whose files were passed
/// over, another one each time, and answers its files. None when that feed is held for longer.
async fn wait_for_a_feed(
    client: &Object,
    passed_over: Vec<SweptFile>,
    now: Timestamp,
) -> Result<Vec<SweptFile>, PgError> {
    let turn = usize::try_from(now.as_micros().unsigned_abs()).unwrap_or_default();
    let chosen = turn.checked_rem(passed_over.len());
    let Some(workspace) = chosen.and_then(|at| Some(passed_over.get(at)?.workspace_id)) else {
        return Ok(Vec::new());
    };
    client.batch_execute(BOUND_THE_WAIT).await?;
    let lock = client.prepare_cached(LOCK_ONE_FEED).await?;
    match client.query(&lock, &[&workspace.as_uuid()]).await {
        Ok(_) => {}
        // The transaction has failed, and nothing was written in it.
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let is_its = |file: &SweptFile| file.workspace_id == workspace;
    Ok(passed_over.into_iter().filter(is_its).collect())
}

/// When the files have more bytes than a step: deletes a step's worth of the last chunks of one of
/// them, and answers which that was and how many bytes they had.
async fn shrink(
    client: &impl GenericClient,
    files: &[Uuid],
) -> Result<Option<(Uuid, u64)>, PgError> {
    let row = client.query_one(STORED_BYTES, &[&files]).await?;
    if rows::byte_count(&row, "bytes")? <= STEP_BYTES {
        return Ok(None);
    }
    for file in files {
        let step: [&(dyn ToSql + Sync); 2] = [file, &STEP_BYTES_I64];
        let row = client.query_one(DELETE_TAIL, &step).await?;
        let deleted = rows::byte_count(&row, "bytes")?;
        if deleted > 0 {
            return Ok(Some((*file, deleted)));
        }
    }
    Ok(None)
}

/// Appends to the feeds what expired without an ack, all in one flight.
async fn append_expiries(
    client: &Object,
    files: &[SweptFile],
    now: Timestamp,
) -> Result<(), PgError> {
    let feeds = expiries(files);
    if feeds.is_empty() {
        return Ok(());
    }
    let append = &client.prepare_cached(feed_rows::APPEND).await?;
    // A workspace that is gone has no feed to say it in.
    let flight = feeds.into_iter().map(|(workspace, rows)| async move {
        rows.append(&***client, append, workspace, now).await
    });
    try_join_all(flight).await?;
    Ok(())
}

/// The feed rows that say which files of a step expired without an ack.
fn expiries(files: &[SweptFile]) -> HashMap<WorkspaceId, FeedRows> {
    let mut feeds: HashMap<WorkspaceId, FeedRows> = HashMap::new();
    for file in files {
        if file.reason == SweepReason::Expired {
            let rows = feeds.entry(file.workspace_id).or_default();
            rows.push(ActivityId::generate(), NewActivity::expiry(file));
        }
    }
    feeds
}

fn announce_expiries(database: &Database, files: &[SweptFile]) {
    let expired = files
        .iter()
        .filter(|file| file.reason == SweepReason::Expired);
    let workspaces: HashSet<WorkspaceId> = expired.map(|file| file.workspace_id).collect();
    for workspace in workspaces {
        database.announce(workspace);
    }
}

fn swept_file(row: &Row) -> Result<SweptFile, PgError> {
    let reason = if rows::column(row, "acked")? {
        SweepReason::Acked
    } else {
        SweepReason::Expired
    };
    Ok(SweptFile {
        file_id: FileId::from_uuid(rows::uuid(row, "file_id")?),
        workspace_id: WorkspaceId::from_uuid(rows::uuid(row, "workspace_id")?),
        // A damaged name must not keep the file for ever.
        filename: rows::filename(row).ok(),
        size_bytes: rows::byte_count(row, "size_bytes")?,
        reason,
    })
}

/// A batch that can neither grow nor publish any more.
struct AbandonedBatch {
    batch_id: Uuid,
    workspace: WorkspaceId,
    file_ids: Vec<Uuid>,
}

async fn sweep_abandoned(
    database: &Database,
    silent_since: Timestamp,
    now: Timestamp,
) -> Result<Vec<SweptFile>, PgError> {
    let params: [&(dyn ToSql + Sync); 2] = [&SystemTime::from(now), &stored_time(silent_since)];
    match abandon(database, ABANDON, &params).await? {
        Some(batch) => delete_abandoned(database, &batch).await,
        None => Ok(Vec::new()),
    }
}

async fn abandon(
    database: &Database,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Option<AbandonedBatch>, PgError> {
    let client = database.client().await?;
    let statement = client.prepare_cached(sql).await?;
    let row = client.query_opt(&statement, params).await?;
    row.map(|row| {
        Ok(AbandonedBatch {
            batch_id: rows::uuid(&row, "batch_id")?,
            workspace: WorkspaceId::from_uuid(rows::uuid(&row, "workspace_id")?),
            file_ids: rows::column(&row, "file_ids")?,
        })
    })
    .transpose()
}

/// The batch's own row goes with the last of its bytes. Of two that do this at once, the one that
/// deletes that row reports the files.
async fn delete_abandoned(
    database: &Database,
    batch: &AbandonedBatch,
) -> Result<Vec<SweptFile>, PgError> {
    let client = database.client().await?;
    let mut sizes: HashMap<Uuid, u64> = HashMap::new();
    while let Some((file, bytes)) = shrink(&**client, &batch.file_ids).await? {
        *sizes.entry(file).or_default() += bytes;
    }
    client.batch_execute("BEGIN").await?;
    let worked = async {
        let rows = client.query(DELETE_CHUNKS, &[&batch.file_ids]).await?;
        let deleted = client.execute(DELETE_BATCH, &[&batch.batch_id]).await?;
        for row in &rows {
            let left = rows::byte_count(row, "bytes")?;
            *sizes.entry(rows::uuid(row, "file_id")?).or_default() += left;
        }
        Ok(if deleted == 1 {
            batch.swept_files(&sizes)
        } else {
            Vec::new()
        })
    }
    .await;
    end_transaction(client, worked).await
}

impl AbandonedBatch {
    fn swept_files(&self, sizes: &HashMap<Uuid, u64>) -> Vec<SweptFile> {
        self.file_ids
            .iter()
            .map(|file_id| SweptFile {
                file_id: FileId::from_uuid(*file_id),
                workspace_id: self.workspace,
                filename: None,
                size_bytes: sizes.get(file_id).copied().unwrap_or(0),
                reason: SweepReason::Abandoned,
            })
            .collect()
    }
}
