//! The publish step: files and their feed rows become visible together, in the writer's transaction.

use pending_uploads_core::{NewActivity, PendingUpload, Quota, Seq, Timestamp, WorkspaceId};
use rusqlite::{Connection, OptionalExtension, named_params, params};

use crate::bundle::{Slot, Writing};
use crate::error::SqliteError;
use crate::feed_rows;
use crate::rows::{Id, Time, byte_count, signed};

const INSERT_UPLOAD: &str = "INSERT INTO pending_uploads (file_id, workspace_id, filename, \
         original_name, mimetype, size_bytes, sha256, placement, bundle_id, bundle_offset, \
         created_at, expires_at, fetched_at, acked_at) \
     VALUES (:file_id, :workspace_id, :filename, :original_name, :mimetype, :size_bytes, \
         :sha256, :placement, :bundle_id, :bundle_offset, :created_at, :expires_at, :fetched_at, \
         :acked_at)";
const INSERT_BYTES: &str = "INSERT INTO pending_upload_bytes (file_id, data) VALUES (?1, ?2)";
/// Gives out numbers to ?2 files, and adds them and their ?3 bytes to the bounds of what waits, where
/// these stay within ?4 files and ?5 bytes.
const COUNT: &str = "UPDATE feed_counters SET last_seq = last_seq + ?2, \
         waiting_files = waiting_files + ?2, waiting_bytes = waiting_bytes + ?3 \
     WHERE workspace_id = ?1 AND waiting_files + ?2 <= ?4 AND waiting_bytes + ?3 <= ?5 \
     RETURNING last_seq";
const WAITING: &str = "SELECT count(*) AS files, coalesce(sum(size_bytes), 0) AS bytes \
     FROM pending_uploads WHERE workspace_id = ?1 AND acked_at IS NULL AND expires_at > ?2";
/// Gives out numbers to ?2 files, and sets the bounds to what waits with them.
const COUNT_ANEW: &str = "UPDATE feed_counters SET last_seq = last_seq + ?2, \
         waiting_files = ?3, waiting_bytes = ?4 \
     WHERE workspace_id = ?1 RETURNING last_seq";

/// Where a file's bytes are before its publish.
#[derive(Debug)]
pub(crate) enum Placement {
    /// In memory.
    Memory(Vec<u8>),
    /// In a file of its own beside the database, already on the disk.
    File,
    /// Nowhere: it was moved here when it had been acked or had expired, and only its record came.
    Nowhere,
}

impl Placement {
    /// Where they are from then on, if what is in memory goes into a row.
    pub(crate) fn in_row(&self) -> Stored<'_> {
        match self {
            Self::Memory(data) => Stored::Row(data),
            Self::File => Stored::File,
            Self::Nowhere => Stored::Nowhere,
        }
    }

    /// Where they are from then on.
    fn stored(&self, writing: &Writing<'_>) -> Result<Stored<'_>, SqliteError> {
        if let Self::Memory(data) = self
            && let Some(slot) = writing.put(data)?
        {
            return Ok(Stored::Bundle(slot));
        }
        Ok(self.in_row())
    }
}

/// Where a file's bytes are from its publish on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stored<'a> {
    /// In a row of the database, which is to be written.
    Row(&'a [u8]),
    /// In a file of its own.
    File,
    /// In a bundle.
    Bundle(Slot),
    /// Nowhere.
    Nowhere,
}

/// All that a publish writes.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) workspace: WorkspaceId,
    pub(crate) created_at: Timestamp,
    pub(crate) quota: Quota,
    pub(crate) files: Vec<(PendingUpload, Placement)>,
}

impl Publication {
    /// Writes everything; nothing of it stays when this fails.
    pub(crate) fn write(&self, writing: &Writing<'_>) -> Result<Vec<PendingUpload>, SqliteError> {
        let connection = writing.connection();
        let first = self.admit(connection)?;
        let mut uploads = Vec::with_capacity(self.files.len());
        let (workspace, at) = (self.workspace, self.created_at);
        for (seq, (upload, placement)) in (first..).map(Seq).zip(&self.files) {
            insert(connection, upload, placement.stored(writing)?)?;
            let announcement = NewActivity::announcement(upload);
            feed_rows::insert_new(connection, workspace, seq, &announcement, at)?;
            uploads.push(upload.clone());
        }
        Ok(uploads)
    }

    /// Takes numbers in the feed for the files, if the quota has room for them; answers the first.
    ///
    /// What waits is counted only when the bounds of it would pass the quota. There is one writer, and
    /// every earlier publish is in what it sees: what it counts is exact. Whoever is refused has
    /// written nothing, so that nobody's work is done twice for it.
    fn admit(&self, connection: &Connection) -> Result<i64, SqliteError> {
        let workspace = Id(self.workspace.as_uuid());
        let files = self.files.len() as u64;
        let bytes = self.files.iter().map(|(upload, _)| upload.size_bytes).sum();
        let most_bytes = i64::try_from(self.quota.waiting_bytes).unwrap_or(i64::MAX);
        let within = params![
            workspace,
            signed(files)?,
            signed(bytes)?,
            self.quota.waiting_files,
            most_bytes
        ];
        let last = connection
            .prepare_cached(COUNT)?
            .query_row(within, |row| row.get(0))
            .optional()?;
        let last: i64 = match last {
            Some(last) => last,
            None => self.admit_anew(connection, files, bytes)?,
        };
        Ok(last + 1 - signed(files)?)
    }

    /// Answers the last number.
    fn admit_anew(
        &self,
        connection: &Connection,
        files: u64,
        bytes: u64,
    ) -> Result<i64, SqliteError> {
        let workspace = Id(self.workspace.as_uuid());
        let (waiting_files, waiting_bytes) = connection
            .prepare_cached(WAITING)?
            .query_row(params![workspace, Time(self.created_at)], |row| {
                Ok((byte_count(row, "files"), byte_count(row, "bytes")))
            })?;
        let (all_files, all_bytes) = (waiting_files? + files, waiting_bytes? + bytes);
        self.quota
            .check(all_files, all_bytes)
            .map_err(SqliteError::QuotaExceeded)?;
        let anew = params![
            workspace,
            signed(files)?,
            signed(all_files)?,
            signed(all_bytes)?
        ];
        connection
            .prepare_cached(COUNT_ANEW)?
            .query_row(anew, |row| row.get(0))
            .optional()?
            .ok_or(SqliteError::UnknownWorkspace)
    }
}

/// Inserts the record of a file, and its bytes where they belong into a row.
pub(crate) fn insert(
    connection: &Connection,
    upload: &PendingUpload,
    stored: Stored<'_>,
) -> Result<(), SqliteError> {
    let (word, slot) = match stored {
        Stored::Row(_) | Stored::Nowhere => ("row", None),
        Stored::File => ("file", None),
        Stored::Bundle(slot) => ("file", Some(slot)),
    };
    let bundle = slot.map(|slot| Id(slot.bundle.as_uuid()));
    let offset = slot.map(|slot| signed(slot.offset)).transpose()?;
    connection
        .prepare_cached(INSERT_UPLOAD)?
        .execute(named_params! {
            ":file_id": Id(upload.file_id.as_uuid()),
            ":workspace_id": Id(upload.workspace_id.as_uuid()),
            ":filename": upload.filename.as_str(),
            ":original_name": upload.filename.original(),
            ":mimetype": upload.mimetype.as_str(),
            ":size_bytes": signed(upload.size_bytes)?,
            ":sha256": upload.sha256.as_bytes(),
            ":placement": word,
            ":bundle_id": bundle,
            ":bundle_offset": offset,
            ":created_at": Time(upload.created_at),
            ":expires_at": Time(upload.expires_at),
            ":fetched_at": upload.fetched_at.map(Time),
            ":acked_at": upload.acked_at.map(Time),
        })?;
    if let Stored::Row(data) = stored {
        connection
            .prepare_cached(INSERT_BYTES)?
            .execute(params![Id(upload.file_id.as_uuid()), data])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use pending_uploads_core::{
        Error, FileId, Filename, ManualClock, Mimetype, Result, Storage, StorageConfig, StorageExt,
    };

    use super::*;
    use crate::{Database, SqliteStorage, testing};

    const QUOTA: Quota = Quota {
        waiting_bytes: 10,
        waiting_files: 3,
    };

    struct Scene {
        _folder: tempfile::TempDir,
        database: Database,
        clock: Arc<ManualClock>,
        files: SqliteStorage,
        workspace: WorkspaceId,
    }

    impl Scene {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let database = Database::open(folder.path()).unwrap();
            let clock = Arc::new(ManualClock::starting_at(Timestamp::from_micros(0)));
            let workspace = testing::workspace(&database, &clock).await;
            let config = StorageConfig {
                quota: QUOTA,
                ..StorageConfig::default()
            };
            Self {
                files: SqliteStorage::new(&database, config, clock.clone()),
                _folder: folder,
                database,
                clock,
                workspace,
            }
        }

        async fn publish(&self, data: &[u8]) -> Result<FileId> {
            let name = Filename::sanitize("report.pdf");
            let staged = self
                .files
                .stage(self.workspace, name, Mimetype::absent(), data);
            Ok(staged.await?.file_id)
        }

        /// The number of the newest row in the feed, and the bounds of what waits.
        async fn counter(&self) -> (i64, i64, i64) {
            let work = |connection: &Connection| {
                let sql = "SELECT last_seq, waiting_files, waiting_bytes FROM feed_counters";
                Ok(connection.query_row(sql, [], |row| row.try_into())?)
            };
            self.database.readers().read(work).await.unwrap()
        }
    }

    #[tokio::test]
    async fn what_waits_is_counted_only_when_its_bounds_would_pass_the_quota() {
        let scene = Scene::new().await;
        let acked = scene.publish(b"1234").await.unwrap();
        scene.files.ack(scene.workspace, acked).await.unwrap();
        scene.publish(b"1234").await.unwrap();
        // An ack leaves the bounds as they are.
        assert_eq!(scene.counter().await, (2, 2, 8));
        scene.publish(b"123").await.unwrap();
        assert_eq!(scene.counter().await, (3, 2, 7));
        scene.clock.advance(StorageConfig::default().ttl);
        scene.clock.advance(Duration::from_secs(1));
        scene.publish(b"123").await.unwrap();
        assert_eq!(scene.counter().await, (4, 3, 10));
        scene.publish(b"1").await.unwrap();
        assert_eq!(scene.counter().await, (5, 2, 4));
    }

    #[tokio::test]
    async fn a_publish_that_is_refused_takes_no_number_and_no_room() {
        let scene = Scene::new().await;
        scene.publish(b"1234567").await.unwrap();
        let refused = scene.publish(b"1234").await;
        assert!(
            matches!(refused, Err(Error::QuotaExceeded(_))),
            "{refused:?}"
        );
        assert_eq!(scene.counter().await, (1, 1, 7));
    }
}
