//! Counting what is stored, by indexes that hold all that is counted.

use pending_uploads_core::{Stats, Timestamp};
use rusqlite::{Connection, Row, params};

use crate::error::SqliteError;
use crate::rows::{self, Time};

/// Neither acked nor expired. The first of them has waited longest.
const WAITING: &str = "SELECT count(*) AS files, coalesce(sum(size_bytes), 0) AS bytes, \
         (SELECT created_at FROM pending_uploads WHERE acked_at IS NULL AND expires_at > ?1 \
             ORDER BY expires_at LIMIT 1) AS oldest \
     FROM pending_uploads WHERE acked_at IS NULL AND expires_at > ?1";
const EXPIRED: &str = "SELECT count(*) AS files, coalesce(sum(size_bytes), 0) AS bytes \
     FROM pending_uploads WHERE acked_at IS NULL AND expires_at <= ?1";
const ACKED: &str = "SELECT count(*) AS files, coalesce(sum(size_bytes), 0) AS bytes \
     FROM pending_uploads WHERE acked_at IS NOT NULL";

/// What is stored at `now`, beside `staged_files` that are on their way in.
pub(crate) fn stats(
    connection: &Connection,
    now: Timestamp,
    staged_files: u64,
) -> Result<Stats, SqliteError> {
    let count = |row: &Row<'_>| {
        Ok((
            rows::byte_count(row, "files"),
            rows::byte_count(row, "bytes"),
        ))
    };
    let (expired_files, expired_bytes) = connection
        .prepare_cached(EXPIRED)?
        .query_row(params![Time(now)], count)?;
    let (acked_files, acked_bytes) = connection.prepare_cached(ACKED)?.query_row([], count)?;
    let mut waiting = connection.prepare_cached(WAITING)?;
    let mut found = waiting.query(params![Time(now)])?;
    let row = found.next()?.ok_or(SqliteError::Damaged("no statistics"))?;
    Ok(Stats {
        waiting_files: rows::byte_count(row, "files")?,
        waiting_bytes: rows::byte_count(row, "bytes")?,
        unswept_files: expired_files? + acked_files?,
        unswept_bytes: expired_bytes? + acked_bytes?,
        staged_files,
        oldest_waiting: row.get::<_, Option<Time>>("oldest")?.map(|time| time.0),
    })
}
