//! One attempt at a file: from wherever it stands to its final name on the disk.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use log::warn;
use pending_uploads_core::{FileId, Report};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Engine;
use super::health::DiskState;
use super::room::Reserved;
use super::setback::{Progress, Setback};
use super::turn::Turn;
use crate::folder::Partial;
use crate::platform::{CallError, Content};
use crate::retry::Backoff;
use crate::{LostReason, WaitingFile};

/// How many bytes are gathered before they are written.
const GATHERED_BYTES: usize = 256 * 1024;

impl Engine {
    /// Brings the file to the disk, and answers where it is. Whatever happened before, to this
    /// process or to an earlier one, is built upon: a whole file is not fetched again, and what is
    /// there of a part of it is not either.
    pub(super) async fn attempt(
        &self,
        file: &WaitingFile,
        turn: &mut Turn<'_>,
    ) -> Result<PathBuf, Setback> {
        if let Some(path) = self.find(file).await? {
            // Another inbox that shares the folder was faster; what was begun here is of no use.
            self.discard_partial(file.file_id).await;
            return Ok(path);
        }
        if file.size_bytes > self.options.limits.max_file_bytes {
            return Err(Setback::Lost(LostReason::TooLarge));
        }
        let partial = self.partial(file).await?;
        let missing = file.size_bytes.get().saturating_sub(partial.len());
        let room = self.reserve(missing).await?;
        self.health.disk_is_no_longer(DiskState::Full);
        if !self.health.disk_is_full() {
            turn.found_room();
        }
        self.observer.started(file, partial.len());
        let fetched = self.fetch(file, partial, room, turn).await;
        self.observer.ended(file.file_id);
        let partial = fetched?;
        blocking(move || partial.place())
            .await?
            .map_err(Setback::from)
    }

    /// Where the file is, if it is on the disk already.
    pub(super) async fn find(&self, file: &WaitingFile) -> Result<Option<PathBuf>, Setback> {
        let (folder, file) = (self.folder.clone(), file.clone());
        blocking(move || folder.find(&file))
            .await?
            .map_err(Setback::Disk)
    }

    /// The same, of a folder that is tried again when it cannot be read.
    pub(super) async fn find_patiently(&self, file: &WaitingFile) -> Option<PathBuf> {
        let mut backoff = Backoff::new(self.options.retry);
        loop {
            match self.find(file).await {
                Ok(found) => return found,
                Err(setback) => {
                    warn!(workspace_id:% = self.workspace_id, file_id:% = file.file_id, error:% = Report(&setback); "the folder cannot be read");
                    sleep(backoff.next(None)).await;
                }
            }
        }
    }

    /// Where a file is of which nothing but the id is known, if it is on the disk.
    pub(super) async fn find_by_id(&self, file_id: FileId) -> Option<PathBuf> {
        let mut backoff = Backoff::new(self.options.retry);
        loop {
            let folder = self.folder.clone();
            match blocking(move || folder.find_by_id(file_id)).await {
                Ok(Ok(found)) => return found,
                Ok(Err(error)) => {
                    warn!(workspace_id:% = self.workspace_id, file_id:% = file_id, error:% = error; "the folder cannot be read");
                }
                Err(setback) => {
                    warn!(workspace_id:% = self.workspace_id, file_id:% = file_id, error:% = Report(&setback); "the folder cannot be read");
                }
            }
            sleep(backoff.next(None)).await;
        }
    }

    async fn partial(&self, file: &WaitingFile) -> Result<Partial, Setback> {
        let (folder, file) = (self.folder.clone(), file.clone());
        blocking(move || folder.partial(&file))
            .await?
            .map_err(Setback::from)
    }

    async fn reserve(&self, missing: u64) -> Result<Reserved<'_>, Setback> {
        let folder = self.folder.clone();
        let free = blocking(move || folder.free_bytes())
            .await?
            .map_err(Setback::Disk)?;
        let spare = self.options.limits.min_free_bytes;
        self.room
            .reserve(missing, free, spare)
            .ok_or(Setback::NoRoom)
    }

    /// Removes what is there of a file that will not arrive. What is left is removed after a list.
    pub(super) async fn discard_partial(&self, file_id: FileId) {
        let (folder, workspace_id) = (self.folder.clone(), self.workspace_id);
        let discarded = blocking(move || folder.discard_partial(workspace_id, file_id)).await;
        if let Ok(Err(error)) = discarded {
            warn!(workspace_id:% = self.workspace_id, file_id:% = file_id, error:% = error; "a partial could not be removed");
        }
    }

    /// Brings the rest of the file.
    async fn fetch(
        &self,
        file: &WaitingFile,
        partial: Partial,
        mut room: Reserved<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Partial, Setback> {
        if partial.len() == file.size_bytes.get() {
            return Ok(partial);
        }
        let before = partial.len();
        let mut content = match self.platform.content(file, before).await {
            Ok(content) => content,
            Err(error @ (CallError::Changed | CallError::RangeNotSatisfiable)) => {
                // What is here belongs to other bytes, so that it is of no use.
                restart(partial).await?;
                return Err(Setback::Call(error, Progress::None));
            }
            Err(error) => return Err(Setback::Call(error, Progress::None)),
        };
        let mut partial = if content.from() == before {
            partial
        } else {
            restart(partial).await?
        };
        loop {
            let (gathered, more) = gather(&mut content).await;
            let bytes = gathered.len() as u64;
            if bytes > 0 {
                partial = append(partial, gathered).await?;
                room.filled(bytes);
                self.health.disk_is_no_longer(DiskState::Refusing);
                turn.found_room();
                self.observer.advanced(file.file_id, bytes);
            }
            match more {
                Ok(More::Comes) => {}
                Ok(More::Over) => return Ok(partial),
                Err(error) => {
                    let progress = if partial.len() > before {
                        Progress::Some
                    } else {
                        Progress::None
                    };
                    return Err(Setback::Call(error, progress));
                }
            }
        }
    }
}

/// Whether a file's bytes are over.
enum More {
    Comes,
    Over,
}

/// Gathers what comes next, up to a bound. What came before something failed is answered, too.
async fn gather(content: &mut Content) -> (Bytes, Result<More, CallError>) {
    let mut gathered = BytesMut::new();
    loop {
        match content.next().await {
            Ok(Some(piece)) => gathered.extend_from_slice(&piece),
            Ok(None) => return (gathered.freeze(), Ok(More::Over)),
            Err(error) => return (gathered.freeze(), Err(error)),
        }
        if gathered.len() >= GATHERED_BYTES {
            return (gathered.freeze(), Ok(More::Comes));
        }
    }
}

async fn append(mut partial: Partial, bytes: Bytes) -> Result<Partial, Setback> {
    blocking(move || partial.append(&bytes).map(|()| partial))
        .await?
        .map_err(Setback::from)
}

async fn restart(mut partial: Partial) -> Result<Partial, Setback> {
    blocking(move || partial.restart().map(|()| partial))
        .await?
        .map_err(Setback::from)
}

/// Runs what waits for the disk on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Setback> {
    spawn_blocking(work)
        .await
        .map_err(|error| Setback::Disk(std::io::Error::other(error)))
}
