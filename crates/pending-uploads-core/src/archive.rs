//! Whole stores, for moving them: one that is held still and read, and one that is filled and comes
//! into being all at once.
//!
//! Ids, numbers and times are kept exactly, so that tokens, cursors and URIs go on working in the
//! store that was filled. Bytes that were staged and not published do not move, nor do those of
//! files that were acked or have expired: of these the record moves, so that a repeated ack is
//! still answered and an expiry still announced.

mod bytes;
mod copy;

use async_trait::async_trait;
use serde_json::Value;

pub use self::bytes::CheckedBytes;
pub use self::copy::{CopyError, CopyProgress, copy_store};
use crate::{
    Activity, ByteStream, CallbackUrl, DeliveryMode, FileId, InboundSecret, PendingUpload, Result,
    Seq, Timestamp, TokenDigest, WorkspaceId,
};

/// A whole store, open to be read from its beginning to its end.
///
/// Nobody writes to it while this lives: a backend sees to that when it opens one. All that is
/// listed is thus of one state, whatever order it is asked for. Nothing here changes anything;
/// repeating a call answers the same, and a dropped future leaves nothing.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Counts what there is to be moved, the bytes of files that wait at `now` included.
    ///
    /// # Errors
    /// [`Unavailable`](crate::Error::Unavailable), also when the store is not held still any more;
    /// [`Backend`](crate::Error::Backend).
    async fn totals(&self, now: Timestamp) -> Result<StoreTotals>;

    /// Lists at most `limit` workspaces after `after`, by id; fewer than `limit` means that there
    /// are no more.
    ///
    /// # Errors
    /// [`Integrity`](crate::Error::Integrity), [`Unavailable`](crate::Error::Unavailable),
    /// [`Backend`](crate::Error::Backend).
    async fn workspaces(
        &self,
        after: Option<WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<ArchivedWorkspace>>;

    /// Lists at most `limit` rows of a workspace's feed after number `after`, by number; fewer than
    /// `limit` means that there are no more. Rows that were pruned are a gap.
    ///
    /// # Errors
    /// Those of [`workspaces`](Self::workspaces). The feed of an unknown workspace is empty.
    async fn activity(
        &self,
        workspace: WorkspaceId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Activity>>;

    /// Lists at most `limit` published files after `after`, by id, those that were acked or have
    /// expired included; fewer than `limit` means that there are no more.
    ///
    /// # Errors
    /// Those of [`workspaces`](Self::workspaces).
    async fn uploads(&self, after: Option<FileId>, limit: u32) -> Result<Vec<PendingUpload>>;

    /// Reads the bytes of a file that was not acked. An expired one has them until it is swept,
    /// and they may be incomplete.
    ///
    /// # Errors
    /// As [`Storage::read`](crate::Storage::read), from here and from the stream.
    async fn read(&self, upload: &PendingUpload) -> Result<ByteStream>;
}

/// A store that is being filled. All that is put becomes visible, durably, by
/// [`finish`](Self::finish), and nothing before: a restoration that is dropped, or whose process
/// dies, leaves the store as empty as it was.
///
/// A backend begins one on an empty store only, and nobody else writes to the store until it ends.
/// Each method takes the restoration and gives it back only when all went well: one that failed,
/// or whose future was dropped, is over.
#[async_trait]
pub trait Restoration: Send {
    /// Puts a workspace and the counter of its feed.
    ///
    /// # Errors
    /// [`Unavailable`](crate::Error::Unavailable); [`Backend`](crate::Error::Backend), also for
    /// one that was put before.
    async fn put_workspace(
        self: Box<Self>,
        workspace: ArchivedWorkspace,
    ) -> Result<Box<dyn Restoration>>;

    /// Puts rows into feeds of workspaces that were put before; the counters are left as they are.
    ///
    /// # Errors
    /// [`Unavailable`](crate::Error::Unavailable); [`Backend`](crate::Error::Backend), also for
    /// rows that were put before.
    async fn put_activity(self: Box<Self>, rows: Vec<Activity>) -> Result<Box<dyn Restoration>>;

    /// Puts a file: its record, with its bytes or without. It holds about 1 MiB of them at most.
    ///
    /// # Errors
    /// Those of `bytes`; [`Unavailable`](crate::Error::Unavailable);
    /// [`Backend`](crate::Error::Backend), also for one that was put before.
    async fn put_upload(
        self: Box<Self>,
        upload: PendingUpload,
        bytes: Option<CheckedBytes>,
    ) -> Result<Box<dyn Restoration>>;

    /// Makes everything that was put visible, at once and durably. A dropped future leaves all of it
    /// or nothing.
    ///
    /// # Errors
    /// [`Unavailable`](crate::Error::Unavailable), [`Backend`](crate::Error::Backend): the store is
    /// empty, unless it was lost at the very end.
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// A workspace, with all that is stored of it but its feed and its files.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchivedWorkspace {
    /// Its id.
    pub id: WorkspaceId,
    /// How it receives.
    pub delivery_mode: DeliveryMode,
    /// Where it takes calls, if it ever said so.
    pub callback: Option<CallbackUrl>,
    /// What it knows us by; there is one in either mode.
    pub inbound_secret: InboundSecret,
    /// What is stored of its token.
    pub token_digest: TokenDigest,
    /// Its A2A agent card.
    pub agent_card: Option<Value>,
    /// When it first registered.
    pub created_at: Timestamp,
    /// When it last registered.
    pub updated_at: Timestamp,
    /// The number of the newest row that its feed ever had; zero before the first.
    pub last_seq: Seq,
}

/// How much a store holds, or how much of it was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreTotals {
    /// Workspaces.
    pub workspaces: u64,
    /// Rows in their feeds.
    pub feed_rows: u64,
    /// Published files, waiting or not.
    pub files: u64,
    /// The bytes of those that wait.
    pub bytes: u64,
}
