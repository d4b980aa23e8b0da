//! Counting what is stored, at a cost that does not grow with it.

use std::time::SystemTime;

use pending_uploads_core::{Stats, Timestamp};

use crate::database::Database;
use crate::error::PgError;
use crate::rows;

/// Counts every file while the table has up to 4,096 pages (32 MiB, some 150,000 files). Of a larger
/// one about as many pages are read, and what they hold stands for the rest. They are the same ones
/// each time, so that a figure moves when the files do, and not with the draw.
///
/// The file that waits longest is the one whose end is nearest, whatever pages are read.
const STATS: &str = "WITH share AS ( \
         SELECT least(1, 4096 * current_setting('block_size')::float8 \
             / greatest(1, pg_relation_size('pending_uploads'))) AS read \
     ), sampled AS ( \
         SELECT count(*) FILTER (WHERE waiting) AS waiting_files, \
             coalesce(sum(size_bytes) FILTER (WHERE waiting), 0) AS waiting_bytes, \
             count(*) FILTER (WHERE NOT waiting) AS unswept_files, \
             coalesce(sum(size_bytes) FILTER (WHERE NOT waiting), 0) AS unswept_bytes \
         FROM (SELECT size_bytes, acked_at IS NULL AND expires_at > $1 AS waiting \
             FROM pending_uploads TABLESAMPLE SYSTEM (100 * (SELECT read FROM share)) \
                 REPEATABLE (0)) AS upload \
     ) \
     SELECT (waiting_files / read)::int8 AS waiting_files, \
         (waiting_bytes::float8 / read)::int8 AS waiting_bytes, \
         (unswept_files / read)::int8 AS unswept_files, \
         (unswept_bytes::float8 / read)::int8 AS unswept_bytes, \
         (SELECT created_at FROM pending_uploads WHERE acked_at IS NULL AND expires_at > $1 \
             ORDER BY expires_at LIMIT 1) AS oldest_waiting, \
         (SELECT coalesce(sum(cardinality(file_ids)), 0)::int8 FROM staged_batches) \
             AS staged_files \
     FROM share CROSS JOIN sampled";

/// What is stored at `now`.
pub(crate) async fn stats(database: &Database, now: Timestamp) -> Result<Stats, PgError> {
    let rows = database.query(STATS, &[&SystemTime::from(now)]).await?;
    let row = rows.first().ok_or(PgError::Damaged("no statistics"))?;
    let oldest: Option<SystemTime> = rows::column(row, "oldest_waiting")?;
    Ok(Stats {
        waiting_files: rows::byte_count(row, "waiting_files")?,
        waiting_bytes: rows::byte_count(row, "waiting_bytes")?,
        unswept_files: rows::byte_count(row, "unswept_files")?,
        unswept_bytes: rows::byte_count(row, "unswept_bytes")?,
        staged_files: rows::byte_count(row, "staged_files")?,
        oldest_waiting: oldest.map(Timestamp::from),
    })
}
