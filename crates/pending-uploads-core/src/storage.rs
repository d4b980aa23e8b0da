//! The store of files: the trait that a backend implements, and the words that it speaks.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use log::warn;

use crate::{
    ByteRange, Error, FileId, Filename, Mimetype, PendingUpload, Result, Sha256, Timestamp,
    WorkspaceId,
};

/// Bytes of a file in order, in pieces of any size, none of them empty. The first error is the end.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Keeps files from their upload until their ack or their end.
///
/// An implementation is shared by every request of a process, and its database by every instance
/// of the platform. It is told its clock, its [`Quota`](crate::Quota) and the files' time to live
/// when it is built.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Opens a batch: the files of one request, which will become visible together or not at all.
    ///
    /// Readers see nothing of it. Every call opens a batch of its own. It stores nothing yet, so a
    /// dropped future leaves nothing, and it may succeed while the store is down.
    ///
    /// # Errors
    /// [`Unavailable`](crate::Error::Unavailable), [`Backend`](crate::Error::Backend).
    ///
    /// The caller has checked that the workspace may receive files; whether it exists is checked
    /// again by [`Batch::publish`].
    async fn begin(&self, workspace: WorkspaceId) -> Result<Box<dyn Batch>>;

    /// Looks a published file up: its record, never its bytes.
    ///
    /// An acked file is found until it is swept; an expired one is not found from `expires_at` on,
    /// swept or not. It reads one state; a publish, an ack or a sweep that commits meanwhile is
    /// seen whole or not at all. Repeating it changes nothing; a dropped future leaves nothing.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound) when there is no such file *for this workspace*;
    /// [`Integrity`](crate::Error::Integrity), [`Unavailable`](crate::Error::Unavailable),
    /// [`Backend`](crate::Error::Backend).
    async fn get(&self, workspace: WorkspaceId, file: FileId) -> Result<PendingUpload>;

    /// Looks a published file up in order to hand it over: its record as [`get`](Self::get) finds it,
    /// and all its bytes with it where the file is small and waits.
    ///
    /// A store that can read a small file together with its record saves its caller a
    /// [`read`](Self::read). How small is for the store to say: never more than 128 KiB. The provided
    /// method asks `get`, and answers no bytes. Record and bytes are of one state; repeating it
    /// changes nothing; a dropped future leaves nothing.
    ///
    /// # Errors
    /// Those of [`get`](Self::get). Stored bytes that are missing are answered as none: a `read`
    /// finds out why.
    async fn open(&self, workspace: WorkspaceId, file: FileId) -> Result<Opened> {
        let upload = self.get(workspace, file).await?;
        Ok(Opened {
            upload,
            bytes: None,
        })
    }

    /// Reads a range of a waiting file's bytes.
    ///
    /// The stream owns all that it needs, holds about 1 MiB at most, and holds no connection and no
    /// lock between two windows, however slowly it is polled. A file that is acked, expires or is
    /// swept meanwhile ends the stream with [`NotFound`](crate::Error::NotFound) at the next
    /// window: a reader never sees a file cut short without an error. Repeating it reads the same
    /// bytes; dropping the future or the stream leaves nothing.
    ///
    /// # Errors
    /// Before the first byte: [`NotFound`](crate::Error::NotFound) when there is no such file for
    /// this workspace or it is acked or expired;
    /// [`RangeNotSatisfiable`](crate::Error::RangeNotSatisfiable) when the range ends after the
    /// file. From here and from the stream: [`Integrity`](crate::Error::Integrity) when stored
    /// bytes are missing, [`Unavailable`](crate::Error::Unavailable),
    /// [`Backend`](crate::Error::Backend).
    async fn read(
        &self,
        workspace: WorkspaceId,
        file: FileId,
        range: ByteRange,
    ) -> Result<ByteStream>;

    /// Notes that a waiting file has been handed over to its last byte.
    ///
    /// Best effort: it may become visible late, and a crash may lose it. A store may gather notes for
    /// a few milliseconds, so let nobody wait for the answer. A repeated call moves
    /// `fetched_at` on; an acked or expired file is left as it is, without an error. A dropped
    /// future leaves it noted or not.
    ///
    /// # Errors
    /// [`Unavailable`](crate::Error::Unavailable), [`Backend`](crate::Error::Backend); the caller
    /// logs them and goes on.
    async fn mark_fetched(&self, workspace: WorkspaceId, file: FileId) -> Result<()>;

    /// Takes the workspace's word that it has the file: from now on its bytes are never served.
    ///
    /// Durable when it answers. Of several calls at once exactly one answers [`Acked::First`]; all
    /// others, and all later ones, answer [`Acked::Again`] with the same time, which never moves. A
    /// dropped future leaves it acked or not.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound) when there is no such file for this workspace or it has
    /// expired, acked or not; [`Unavailable`](crate::Error::Unavailable) (it may have been acked:
    /// ask again), [`Backend`](crate::Error::Backend).
    async fn ack(&self, workspace: WorkspaceId, file: FileId) -> Result<Acked>;

    /// As [`ack`](Self::ack), unless the workspace claims a digest that is not the file's; a first ack
    /// is answered with the file's record.
    ///
    /// Of a file that was acked before, too, another digest is told, and changes nothing. The provided
    /// method asks [`get`](Self::get) and then `ack`; a store that does all of it in one step never
    /// answers [`CheckedAck::Vanished`].
    ///
    /// # Errors
    /// Those of [`ack`](Self::ack) and [`get`](Self::get).
    async fn ack_checked(
        &self,
        workspace: WorkspaceId,
        file: FileId,
        claimed: Option<Sha256>,
    ) -> Result<CheckedAck> {
        let upload = self.get(workspace, file).await?;
        // A store that answered another workspace's file would not be believed.
        if upload.workspace_id != workspace || upload.file_id != file {
            return Err(Error::NotFound);
        }
        if claimed.is_some_and(|digest| digest != upload.sha256) {
            return Ok(CheckedAck::Mismatch);
        }
        match self.ack(workspace, file).await {
            Ok(Acked::First { at }) => Ok(CheckedAck::First(PendingUpload {
                acked_at: Some(at),
                ..upload
            })),
            Ok(Acked::Again { at }) => Ok(CheckedAck::Again { at }),
            Err(Error::NotFound) => Ok(CheckedAck::Vanished),
            Err(error) => Err(error),
        }
    }

    /// Lists what the workspace has still to take, oldest first: by `created_at`, then by id.
    ///
    /// At most `limit` records after `after`; fewer than `limit` means that there are no more. One
    /// page is one state; pages read one after another may miss a file that was published between
    /// them, which the next listing has. A dropped future leaves nothing.
    ///
    /// # Errors
    /// [`Integrity`](crate::Error::Integrity), [`Unavailable`](crate::Error::Unavailable),
    /// [`Backend`](crate::Error::Backend). An unknown workspace has an empty list.
    async fn list(
        &self,
        workspace: WorkspaceId,
        after: Option<ListAfter>,
        limit: u32,
    ) -> Result<Vec<PendingUpload>>;

    /// Deletes one bounded step of what nobody will come for: acked files past their retention,
    /// files past `expires_at`, and staged bytes of batches that have been silent for longer than
    /// the lease.
    ///
    /// Record and bytes go together. A file that expired without an ack gets a row in its
    /// workspace's feed in the same transaction. It never waits for a file that a publish, an ack
    /// or another sweep is just working on: that one is left for the next step. Repeat it until
    /// [`Swept::is_dry`]. A dropped future leaves the step done or not.
    ///
    /// # Errors
    /// [`Unavailable`](crate::Error::Unavailable), [`Backend`](crate::Error::Backend).
    async fn sweep(&self, policy: &SweepPolicy) -> Result<Swept>;

    /// Counts what is stored, over all workspaces. Approximate while others write; of a large store
    /// a part may be counted and stand for the whole, so that the cost has a bound.
    ///
    /// # Errors
    /// [`Unavailable`](crate::Error::Unavailable), [`Backend`](crate::Error::Backend).
    async fn stats(&self) -> Result<Stats>;
}

/// The files of one request, on their way in.
///
/// Call `start_file`, `write` any number of times, `finish_file`; again for each further file; then
/// `publish`; and `show_life` wherever the next call is long in coming. Nothing is visible before the
/// publish. Dropping a batch instead discards it: its bytes are deleted soon, or by the sweeper when
/// its lease is over.
///
/// After an error, or when one of its futures was dropped before it was done, the batch is broken:
/// each further call answers [`BatchMisused`](crate::Error::BatchMisused).
#[async_trait]
pub trait Batch: Send {
    /// Starts the next file and answers the id that it will be published under.
    ///
    /// # Errors
    /// [`BatchMisused`](crate::Error::BatchMisused) while a file is open.
    async fn start_file(&mut self, filename: Filename, mimetype: Mimetype) -> Result<FileId>;

    /// Adds bytes to the open file.
    ///
    /// They are copied, and no view of `data` is kept: a parser may hand in views of five bytes
    /// into a buffer of 64 KiB. Up to about 1 MiB is collected before the store is asked; then this
    /// waits until the store has it, or what was collected before it, so that a slow store slows its
    /// sender down. When a connection to the store is lost, it is asked again with the same bytes
    /// before this gives up.
    ///
    /// # Errors
    /// [`BatchMisused`](crate::Error::BatchMisused) without an open file;
    /// [`BatchAbandoned`](crate::Error::BatchAbandoned);
    /// [`Unavailable`](crate::Error::Unavailable), [`Backend`](crate::Error::Backend).
    ///
    /// The caller has checked that the file and the request stay within their
    /// [`Limits`](crate::Limits).
    async fn write(&mut self, data: &[u8]) -> Result<()>;

    /// Ends the open file and answers its length and digest.
    ///
    /// # Errors
    /// [`BatchMisused`](crate::Error::BatchMisused) without an open file;
    /// [`EmptyFile`](crate::Error::EmptyFile) when no byte was written; those of
    /// [`write`](Self::write) of a store that writes or syncs the file here.
    async fn finish_file(&mut self) -> Result<StagedFile>;

    /// Renews the lease of what is staged when it is due, as bytes that are written do: for a request
    /// of which bytes arrive that are of no file, for however long. Between files, or in one.
    ///
    /// Provided for stand-ins whose batches are never swept. A [store](Storage) answers it: the
    /// contract has it sweep a batch that is alive and silent for longer than its lease.
    ///
    /// # Errors
    /// Those of [`write`](Self::write), but that no file needs to be open.
    async fn show_life(&mut self) -> Result<()> {
        Ok(())
    }

    /// Makes all the files visible, with one row for each in the workspace's feed, in the order in
    /// which they were started, at once and durably; answers their records in that order.
    ///
    /// The rows are numbered from the workspace's counter in commit order, without a gap. Whoever
    /// waits for the feed is woken. A store that is lost meanwhile is asked again: the ids make
    /// sure that nothing is published twice. A dropped future leaves all of it published or
    /// nothing.
    ///
    /// # Errors
    /// [`BatchMisused`](crate::Error::BatchMisused) while a file is open or when there is none;
    /// [`UnknownWorkspace`](crate::Error::UnknownWorkspace);
    /// [`QuotaExceeded`](crate::Error::QuotaExceeded);
    /// [`BatchAbandoned`](crate::Error::BatchAbandoned);
    /// [`Unavailable`](crate::Error::Unavailable), [`Backend`](crate::Error::Backend). After any of
    /// them nothing is visible; only after `Unavailable` may it be that the store was lost at the
    /// very end, and the files are there.
    async fn publish(self: Box<Self>) -> Result<Vec<PendingUpload>>;
}

/// A file whose bytes have all been written, before it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagedFile {
    /// The file.
    pub file_id: FileId,
    /// Its length, in bytes; never zero.
    pub size_bytes: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
}

/// A published file that somebody wants to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its record.
    pub upload: PendingUpload,
    /// All its bytes, if the store had them at hand. None says nothing of whether there are any.
    pub bytes: Option<Bytes>,
}

/// How an ack went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acked {
    /// This was the file's first ack.
    First {
        /// When it was acked: now.
        at: Timestamp,
    },
    /// It had been acked before.
    Again {
        /// When it was first acked.
        at: Timestamp,
    },
}

impl Acked {
    /// When the file was first acked.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::First { at } | Self::Again { at } => *at,
        }
    }
}

/// How an ack went that may have claimed a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckedAck {
    /// This was the file's first ack: its record, with the time of it.
    First(PendingUpload),
    /// It had been acked before.
    Again {
        /// When it was first acked.
        at: Timestamp,
    },
    /// The digest is not the file's: nothing was acked.
    Mismatch,
    /// The file was there, and expired or was swept before it was acked.
    Vanished,
}

impl CheckedAck {
    /// How an ack went that claimed nothing; none when nothing is acked.
    pub fn acked(&self) -> Option<Acked> {
        match self {
            Self::First(upload) => upload.acked_at.map(|at| Acked::First { at }),
            Self::Again { at } => Some(Acked::Again { at: *at }),
            Self::Mismatch | Self::Vanished => None,
        }
    }
}

/// Where a page of [`Storage::list`] begins: after this record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListAfter {
    /// The record's publication.
    pub created_at: Timestamp,
    /// The record's id.
    pub file_id: FileId,
}

impl From<&PendingUpload> for ListAfter {
    fn from(upload: &PendingUpload) -> Self {
        Self {
            created_at: upload.created_at,
            file_id: upload.file_id,
        }
    }
}

/// When things are old enough to be swept. [`Duration::MAX`] is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepPolicy {
    /// How long the record of an acked file is kept, counted from the ack.
    pub ack_retention: Duration,
    /// How long a batch may be silent before its staged bytes are taken to be abandoned. Longer
    /// than any pause between two writes that the server tolerates.
    pub staging_lease: Duration,
    /// How long rows stay in a feed. The newest row of each workspace always stays. It is for
    /// [`ActivityLog::prune`](crate::ActivityLog::prune), which the sweeper calls with it, and nothing to
    /// [`Storage::sweep`].
    pub feed_retention: Duration,
}

/// An hour after the ack, an hour of silence, thirty days of feed.
impl Default for SweepPolicy {
    fn default() -> Self {
        Self {
            ack_retention: Duration::from_hours(1),
            staging_lease: Duration::from_hours(1),
            feed_retention: Duration::from_hours(30 * 24),
        }
    }
}

/// Why a file was swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SweepReason {
    /// It was acked, and its retention is over.
    Acked,
    /// It expired, and nobody had acked it.
    Expired,
    /// It was staged and never published.
    Abandoned,
}

impl SweepReason {
    /// The word for it in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Expired => "expired",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A file that a sweep deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptFile {
    /// The file.
    pub file_id: FileId,
    /// The workspace that it was for.
    pub workspace_id: WorkspaceId,
    /// Its names; none for one that was never published.
    pub filename: Option<Filename>,
    /// Its length, in bytes; for one that was never published, what had been stored of it.
    pub size_bytes: u64,
    /// Why.
    pub reason: SweepReason,
}

/// What one step of a sweep deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// The files.
    pub files: Vec<SweptFile>,
}

impl Swept {
    /// Whether the step found nothing to delete, so that there is nothing left for now.
    pub fn is_dry(&self) -> bool {
        self.files.is_empty()
    }

    /// A step of several parts, each of which is a transaction of its own, for those who implement
    /// [`Storage::sweep`]. What was deleted is gone and must be told, also when another part failed:
    /// that is logged then.
    ///
    /// # Errors
    /// The first of the parts' errors when nothing was deleted at all.
    pub fn of_parts(parts: impl IntoIterator<Item = Result<Vec<SweptFile>>>) -> Result<Self> {
        let (mut files, mut failure) = (Vec::new(), None);
        for part in parts {
            match part {
                Ok(deleted) => files.extend(deleted),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error) if files.is_empty() => Err(error),
            Some(error) => {
                warn!(error:% = error.report(); "a part of a sweep failed");
                Ok(Self { files })
            }
            None => Ok(Self { files }),
        }
    }
}

/// What is stored, over all workspaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Files that wait: neither acked nor expired.
    pub waiting_files: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Files that were acked or have expired and are not swept yet.
    pub unswept_files: u64,
    /// Their bytes.
    pub unswept_bytes: u64,
    /// Files that were staged in the store and are not published yet.
    pub staged_files: u64,
    /// When the file that waits longest was published: the one whose end is nearest.
    pub oldest_waiting: Option<Timestamp>,
}
