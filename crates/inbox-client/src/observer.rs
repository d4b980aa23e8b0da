//! Watching fetches as they go on, for progress bars.

use pending_uploads_core::FileId;

use crate::WaitingFile;

/// Is told how fetches go on. Called from the tasks that fetch: an implementation returns at once, and
/// must not panic.
///
/// A fetch that broke off ends, and starts again later where it stopped.
///
/// A panic in here ends the task that takes the file, unless it ends the process anyway: the file stays
/// waiting until the inbox is opened again, and so does each message that mentions it and all that is
/// behind it. An inbox for what waits ends without the file, and its [`Ending`](crate::Ending) does not
/// say so. Other files go on.
pub trait Observer: Send + Sync {
    /// A fetch starts; `from` bytes of the file are here already.
    fn started(&self, file: &WaitingFile, from: u64);
    /// So many more bytes of the file are on the disk.
    fn advanced(&self, file_id: FileId, bytes: u64);
    /// The fetch ended, well or not.
    fn ended(&self, file_id: FileId);
}

/// Looks away.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NoObserver;

impl Observer for NoObserver {
    fn started(&self, _: &WaitingFile, _: u64) {}
    fn advanced(&self, _: FileId, _: u64) {}
    fn ended(&self, _: FileId) {}
}
