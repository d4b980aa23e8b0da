//! A file that waits on the platform, as the workspace knows it.

use std::num::NonZeroU64;

use pending_uploads_core::{
    FileId, Filename, Mimetype, PendingUri, Sha256, Timestamp, WorkspaceId,
};

/// What is known of a file before its bytes are here: from its row in the feed, or from the list of
/// what waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingFile {
    /// The workspace that it waits for.
    pub workspace_id: WorkspaceId,
    /// The file.
    pub file_id: FileId,
    /// Its names. The safe one went through the sanitizer here again: nobody's word is taken for it.
    pub filename: Filename,
    /// What its sender said that it is.
    pub mimetype: Mimetype,
    /// Its length, in bytes.
    pub size_bytes: NonZeroU64,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// From when on the platform does not serve it any more, by the platform's clock; the feed does
    /// not say so, the list does.
    pub expires_at: Option<Timestamp>,
}

impl WaitingFile {
    /// The name by which messages mention it.
    pub fn uri(&self) -> PendingUri {
        PendingUri {
            workspace_id: self.workspace_id,
            file_id: self.file_id,
        }
    }
}
