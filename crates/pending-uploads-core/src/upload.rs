//! The record of a published file.

use crate::{ByteRange, FileId, Filename, Mimetype, PendingUri, Sha256, Timestamp, WorkspaceId};

/// A published file: all that is known of it but its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingUpload {
    /// The file.
    pub file_id: FileId,
    /// The workspace that it waits for.
    pub workspace_id: WorkspaceId,
    /// Its names.
    pub filename: Filename,
    /// What its sender said that it is.
    pub mimetype: Mimetype,
    /// Its length, in bytes; never zero.
    pub size_bytes: u64,
    /// The digest of its bytes, taken as they arrived.
    pub sha256: Sha256,
    /// When it was published.
    pub created_at: Timestamp,
    /// From when on it is not served any more, acked or not.
    pub expires_at: Timestamp,
    /// When its last byte was last handed over, as far as anybody knows.
    pub fetched_at: Option<Timestamp>,
    /// When it was first acked. Never moves.
    pub acked_at: Option<Timestamp>,
}

impl PendingUpload {
    /// The name by which messages mention it.
    pub fn uri(&self) -> PendingUri {
        PendingUri {
            workspace_id: self.workspace_id,
            file_id: self.file_id,
        }
    }

    /// All its bytes; `None` only for a damaged record of no bytes.
    pub fn whole(&self) -> Option<ByteRange> {
        ByteRange::new(0, self.size_bytes)
    }

    /// Whether its bytes may still be handed over at `now`: neither acked nor expired.
    pub fn is_waiting_at(&self, now: Timestamp) -> bool {
        self.acked_at.is_none() && !self.is_expired_at(now)
    }

    /// Whether its time is over at `now`.
    pub fn is_expired_at(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }
}
