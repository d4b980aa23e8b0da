//! Publishes of several requests in one statement, and so in one transaction, with one sync.
//!
//! The statement never waits for a lock: a feed that somebody else is just writing to is passed by,
//! and so is a workspace whose quota must be counted first. Whoever was passed by publishes alone.
//! Since nothing is waited for, several groups, and whoever else holds feeds' locks, cannot stand in
//! each other's way for ever.

use std::time::SystemTime;

use pending_uploads_core::Quota;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::chunks::ChunkColumns;
use crate::database::Database;
use crate::error::PgError;
use crate::feed_rows::FeedRows;
use crate::publish::{Publication, UploadColumns, quota_counts};
use crate::rows;

/// Publishes of one workspace are taken in their order, as long as the bounds of what waits stay
/// under the quota; from the first that does not fit none is. So the numbers in the feed have no gap.
/// Each counter is looked up by its workspace, whatever the planner knows of the table.
///
/// $1 to $3: a publication's workspace, files and bytes; $4 and $5: the quota. $6 to $16: a file's
/// publication, its place in it, and its record. $17 to $27: its feed row. $28 to $31: a chunk's
/// publication, its file, its place in that, and its bytes.
const PUBLISH: &str = "WITH publication AS MATERIALIZED ( \
         SELECT no, workspace_id, files, bytes, \
             (sum(files) OVER feed)::int8 AS files_so_far, \
             (sum(bytes) OVER feed)::int8 AS bytes_so_far \
         FROM unnest($1::uuid[], $2::int8[], $3::int8[]) WITH ORDINALITY \
             AS asked (workspace_id, files, bytes, no) \
         WINDOW feed AS (PARTITION BY workspace_id ORDER BY no) \
     ), counter AS MATERIALIZED ( \
         SELECT feed.* FROM (SELECT DISTINCT workspace_id FROM publication) AS asked \
         CROSS JOIN LATERAL (SELECT workspace_id, last_seq, waiting_files, waiting_bytes \
             FROM feed_counters AS feed WHERE feed.workspace_id = asked.workspace_id \
             LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) AS feed \
     ), accepted AS MATERIALIZED ( \
         SELECT no, workspace_id, files, bytes, last_seq + files_so_far - files AS before \
         FROM publication JOIN counter USING (workspace_id) \
         WHERE waiting_files + files_so_far <= $4 AND waiting_bytes + bytes_so_far <= $5 \
     ), counted AS ( \
         UPDATE feed_counters AS counter SET last_seq = counter.last_seq + fresh.files, \
             waiting_files = counter.waiting_files + fresh.files, \
             waiting_bytes = counter.waiting_bytes + fresh.bytes \
         FROM (SELECT workspace_id, sum(files)::int8 AS files, sum(bytes)::int8 AS bytes \
             FROM accepted GROUP BY workspace_id) AS fresh \
         WHERE counter.workspace_id = fresh.workspace_id \
     ), file AS MATERIALIZED ( \
         SELECT accepted.workspace_id, accepted.before + asked.place AS seq, asked.* \
         FROM unnest($6::int8[], $7::int8[], $8::uuid[], $9::text[], $10::text[], $11::text[], \
             $12::int8[], $13::int4[], $14::bytea[], $15::timestamptz[], $16::timestamptz[], \
             $17::uuid[], $18::text[], $19::uuid[], $20::uuid[], $21::text[], $22::text[], \
             $23::json[], $24::json[], $25::int8[], $26::text[], $27::text[]) \
             AS asked (no, place, file_id, filename, original_name, mimetype, size_bytes, \
                 chunk_bytes, sha256, created_at, expires_at, id, activity_type, source_id, \
                 target_id, method, summary, request_body, response_body, duration_ms, status, \
                 error_detail) \
         JOIN accepted USING (no) \
     ), uploads AS ( \
         INSERT INTO pending_uploads (workspace_id, file_id, filename, original_name, mimetype, \
             size_bytes, chunk_bytes, sha256, created_at, expires_at) \
         SELECT workspace_id, file_id, filename, original_name, mimetype, size_bytes, \
             chunk_bytes, sha256, created_at, expires_at FROM file \
     ), feed AS ( \
         INSERT INTO activity (workspace_id, seq, id, activity_type, source_id, target_id, \
             method, summary, request_body, response_body, duration_ms, status, error_detail, \
             created_at) \
         SELECT workspace_id, seq, id, activity_type, source_id, target_id, method, summary, \
             request_body, response_body, duration_ms, status, error_detail, created_at FROM file \
     ), chunks AS ( \
         INSERT INTO pending_upload_chunks (file_id, seq, data) \
         SELECT file_id, seq, data \
         FROM unnest($28::int8[], $29::uuid[], $30::int4[], $31::bytea[]) \
             AS chunk (no, file_id, seq, data) \
         JOIN accepted USING (no) \
     ) SELECT no FROM accepted";

/// What became of a publication in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was published.
    Published,
    /// Nothing of it was written: it is to publish alone.
    PassedBy,
}

/// Publishes what can be without waiting, all of it with one commit, and answers what became of each
/// publication, in their order. None of them has bytes in the store yet. After an error all of it
/// was published or nothing.
pub(crate) async fn publish(
    database: &Database,
    quota: Quota,
    publications: &[Publication],
) -> Result<Vec<Fate>, PgError> {
    let columns = Columns::of(publications)?;
    let client = database.client().await?;
    let statement = client.prepare_cached(PUBLISH).await?;
    let accepted = client
        .query(&statement, &columns.params(&quota_counts(quota)))
        .await?;
    let mut fates = vec![Fate::PassedBy; publications.len()];
    for row in accepted {
        let no = rows::byte_count(&row, "no")?;
        let fate = usize::try_from(no - 1)
            .ok()
            .and_then(|at| fates.get_mut(at));
        *fate.ok_or(PgError::Damaged("a publication that was not asked for"))? = Fate::Published;
    }
    Ok(fates)
}

/// The publications, laid out as the statement takes them.
#[derive(Default)]
struct Columns<'a> {
    workspaces: Vec<Uuid>,
    file_counts: Vec<i64>,
    byte_counts: Vec<i64>,
    files: FileColumns<'a>,
    feed: FeedRows,
    chunk_numbers: Vec<i64>,
    chunks: ChunkColumns<'a>,
}

#[derive(Default)]
struct FileColumns<'a> {
    numbers: Vec<i64>,
    places: Vec<i64>,
    records: UploadColumns<'a>,
    created: Vec<SystemTime>,
    expires: Vec<SystemTime>,
}

impl<'a> Columns<'a> {
    fn of(publications: &'a [Publication]) -> Result<Self, PgError> {
        let mut columns = Self::default();
        for (publication, no) in publications.iter().zip(1..) {
            columns.push(publication, no)?;
        }
        Ok(columns)
    }

    fn push(&mut self, publication: &'a Publication, no: i64) -> Result<(), PgError> {
        self.workspaces.push(publication.workspace.as_uuid());
        self.file_counts.push(publication.file_count());
        self.byte_counts.push(publication.byte_count());
        for (upload, place) in publication.uploads.iter().zip(1..) {
            self.files.numbers.push(no);
            self.files.places.push(place);
            self.files.records.push(upload, &publication.cuts)?;
            self.files.created.push(publication.created_at.into());
            self.files.expires.push(publication.expires_at.into());
        }
        publication.announce_in(&mut self.feed);
        for chunk in &publication.chunks {
            self.chunk_numbers.push(no);
            self.chunks.push(chunk);
        }
        Ok(())
    }

    fn params<'b>(&'b self, quota: &'b (i64, i64)) -> Vec<&'b (dyn ToSql + Sync)> {
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![
            &self.workspaces,
            &self.file_counts,
            &self.byte_counts,
            &quota.0,
            &quota.1,
            &self.files.numbers,
            &self.files.places,
        ];
        params.extend(self.files.records.params());
        params.extend::<[&(dyn ToSql + Sync); 2]>([&self.files.created, &self.files.expires]);
        params.extend(self.feed.columns());
        params.push(&self.chunk_numbers);
        params.extend(self.chunks.params());
        params
    }
}

#[cfg(test)]
mod tests;
