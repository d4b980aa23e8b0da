//! The publish step: files and their feed rows become visible together, in the writer's transaction.

use pending_uploads_core::{NewActivity, PendingUpload, Quota, Timestamp, WorkspaceId};
use rusqlite::{Connection, named_params, params};

use crate::error::SqliteError;
use crate::feed_rows;
use crate::rows::{Id, Time, byte_count, signed};

const INSERT_UPLOAD: &str = "INSERT INTO pending_uploads (file_id, workspace_id, filename, \
         original_name, mimetype, size_bytes, sha256, placement, created_at, expires_at, \
         fetched_at, acked_at) \
     VALUES (:file_id, :workspace_id, :filename, :original_name, :mimetype, :size_bytes, \
         :sha256, :placement, :created_at, :expires_at, :fetched_at, :acked_at)";
const INSERT_BYTES: &str = "INSERT INTO pending_upload_bytes (file_id, data) VALUES (?1, ?2)";
const WAITING: &str = "SELECT count(*) AS files, coalesce(sum(size_bytes), 0) AS bytes \
     FROM pending_uploads WHERE workspace_id = ?1 AND acked_at IS NULL AND expires_at > ?2";

/// Where a file's bytes are.
#[derive(Debug)]
pub(crate) enum Placement {
    /// In a row of the database, from its publish on.
    Row(Vec<u8>),
    /// In a file beside it, already on the disk.
    File,
    /// Nowhere: it was moved here when it had been acked or had expired, and only its record came.
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
    pub(crate) fn write(self, connection: &Connection) -> Result<Vec<PendingUpload>, SqliteError> {
        let mut uploads = Vec::with_capacity(self.files.len());
        for (upload, placement) in self.files {
            insert(connection, &upload, &placement)?;
            let announcement = NewActivity::announcement(&upload);
            feed_rows::append(connection, self.workspace, announcement, self.created_at)?;
            uploads.push(upload);
        }
        check_quota(connection, self.workspace, self.created_at, &self.quota)?;
        Ok(uploads)
    }
}

/// Inserts the record of a file, and its bytes where they belong into a row.
pub(crate) fn insert(
    connection: &Connection,
    upload: &PendingUpload,
    placement: &Placement,
) -> Result<(), SqliteError> {
    let word = match placement {
        Placement::Row(_) | Placement::Nowhere => "row",
        Placement::File => "file",
    };
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
            ":created_at": Time(upload.created_at),
            ":expires_at": Time(upload.expires_at),
            ":fetched_at": upload.fetched_at.map(Time),
            ":acked_at": upload.acked_at.map(Time),
        })?;
    if let Placement::Row(data) = placement {
        connection
            .prepare_cached(INSERT_BYTES)?
            .execute(params![Id(upload.file_id.as_uuid()), data])?;
    }
    Ok(())
}

/// There is one writer, and every earlier publish is in what it sees: the count is exact. The
/// publish's own rows count.
fn check_quota(
    connection: &Connection,
    workspace: WorkspaceId,
    now: Timestamp,
    quota: &Quota,
) -> Result<(), SqliteError> {
    let (files, bytes) = connection
        .prepare_cached(WAITING)?
        .query_row(params![Id(workspace.as_uuid()), Time(now)], |row| {
            Ok((byte_count(row, "files"), byte_count(row, "bytes")))
        })?;
    quota
        .check(files?, bytes?)
        .map_err(SqliteError::QuotaExceeded)
}
