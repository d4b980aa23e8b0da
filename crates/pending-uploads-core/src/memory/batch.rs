//! The files of one request on their way in: [`Batch`] in memory.

use std::mem;

use async_trait::async_trait;
use bytes::Bytes;

use super::files::StoredFile;
use super::staging::{BatchKey, Contents, append};
use super::{MemoryPlatform, State, give_way};
use crate::{
    Batch, BatchMisuse, Error, FileId, Filename, Mimetype, NewActivity, PendingUpload, Result,
    Sha256Hasher, StagedFile, Timestamp, WorkspaceId,
};

/// How much a batch collects before it goes into the store, in bytes.
const BURST_BYTES: usize = 1024 * 1024;

pub(super) struct MemoryBatch {
    platform: MemoryPlatform,
    workspace: WorkspaceId,
    health: Health,
    /// Where its bytes lie in the store; none as long as they are all in `unsaved`.
    staged: Option<BatchKey>,
    unsaved: Contents,
    unsaved_bytes: usize,
    open: Option<OpenFile>,
    finished: Vec<FinishedFile>,
}

/// A method breaks the batch when it begins and mends it when it has succeeded, so that an error
/// and a dropped future both leave it broken.
enum Health {
    Whole,
    Broken,
}

struct OpenFile {
    file_id: FileId,
    filename: Filename,
    mimetype: Mimetype,
    hasher: Sha256Hasher,
    size_bytes: u64,
}

struct FinishedFile {
    filename: Filename,
    mimetype: Mimetype,
    staged: StagedFile,
}

impl MemoryBatch {
    pub(super) fn new(platform: MemoryPlatform, workspace: WorkspaceId) -> Self {
        Self {
            platform,
            workspace,
            health: Health::Whole,
            staged: None,
            unsaved: Contents::new(),
            unsaved_bytes: 0,
            open: None,
            finished: Vec::new(),
        }
    }

    fn enter(&mut self) -> Result<()> {
        match mem::replace(&mut self.health, Health::Broken) {
            Health::Whole => Ok(()),
            Health::Broken => Err(Error::BatchMisused(BatchMisuse::Broken)),
        }
    }

    fn leave(&mut self) {
        self.health = Health::Whole;
    }

    /// Takes the file that must be open.
    fn open_file(&mut self) -> Result<&mut OpenFile> {
        self.open
            .as_mut()
            .ok_or(Error::BatchMisused(BatchMisuse::NoFileOpen))
    }

    fn refuse_open_file(&self) -> Result<()> {
        match self.open {
            None => Ok(()),
            Some(_) => Err(Error::BatchMisused(BatchMisuse::FileStillOpen)),
        }
    }

    /// Adds what is left of `data` up to the end of the burst; answers the rest.
    fn collect<'a>(&mut self, data: &'a [u8]) -> Result<&'a [u8]> {
        let room = BURST_BYTES - self.unsaved_bytes;
        let (now, later) = data.split_at(room.min(data.len()));
        let file = self.open_file()?;
        file.hasher.update(now);
        file.size_bytes += now.len() as u64;
        let file_id = file.file_id;
        self.unsaved
            .entry(file_id)
            .or_default()
            .extend_from_slice(now);
        self.unsaved_bytes += now.len();
        Ok(later)
    }

    /// Moves what was collected into the store.
    async fn flush(&mut self) -> Result<()> {
        give_way().await;
        let burst = self.take_unsaved();
        let mut state = self.platform.state();
        let now = self.platform.now();
        let key = *self
            .staged
            .get_or_insert_with(|| state.staging.open(self.workspace, now));
        state.staging.store(key, burst, now)
    }

    fn take_unsaved(&mut self) -> Contents {
        self.unsaved_bytes = 0;
        mem::take(&mut self.unsaved)
    }

    /// Publishes everything or nothing, under one lock.
    fn publish_into(&mut self, state: &mut State) -> Result<Vec<PendingUpload>> {
        if !state.members.contains(self.workspace) {
            return Err(Error::UnknownWorkspace);
        }
        let mut contents = match self.staged.take() {
            Some(key) => state.staging.take(key)?,
            None => Contents::new(),
        };
        append(&mut contents, self.take_unsaved());
        let now = self.platform.now();
        let files: Vec<_> = mem::take(&mut self.finished)
            .into_iter()
            .map(|file| self.as_stored(file, &mut contents, now))
            .collect();
        let quota = self.platform.shared.quota;
        state
            .files
            .check_quota(self.workspace, &files, quota, now)?;
        let records: Vec<_> = files.iter().map(|file| file.record.clone()).collect();
        state.files.insert(files);
        for record in &records {
            let row = NewActivity::announcement(record);
            state.feeds.append(self.workspace, row, now);
        }
        Ok(records)
    }

    fn as_stored(&self, file: FinishedFile, contents: &mut Contents, now: Timestamp) -> StoredFile {
        let staged = file.staged;
        StoredFile {
            bytes: Bytes::from(contents.remove(&staged.file_id).unwrap_or_default()),
            record: PendingUpload {
                file_id: staged.file_id,
                workspace_id: self.workspace,
                filename: file.filename,
                mimetype: file.mimetype,
                size_bytes: staged.size_bytes,
                sha256: staged.sha256,
                created_at: now,
                expires_at: now.saturating_add(self.platform.shared.ttl),
                fetched_at: None,
                acked_at: None,
            },
        }
    }
}

#[async_trait]
impl Batch for MemoryBatch {
    async fn start_file(&mut self, filename: Filename, mimetype: Mimetype) -> Result<FileId> {
        self.enter()?;
        self.refuse_open_file()?;
        let file_id = FileId::generate();
        self.open = Some(OpenFile {
            file_id,
            filename,
            mimetype,
            hasher: Sha256Hasher::new(),
            size_bytes: 0,
        });
        self.leave();
        Ok(file_id)
    }

    async fn write(&mut self, data: &[u8]) -> Result<()> {
        self.enter()?;
        let mut left = self.collect(data)?;
        while self.unsaved_bytes == BURST_BYTES {
            self.flush().await?;
            left = self.collect(left)?;
        }
        self.leave();
        Ok(())
    }

    async fn finish_file(&mut self) -> Result<StagedFile> {
        self.enter()?;
        let file = self
            .open
            .take()
            .ok_or(Error::BatchMisused(BatchMisuse::NoFileOpen))?;
        if file.size_bytes == 0 {
            return Err(Error::EmptyFile {
                filename: file.filename,
            });
        }
        let staged = StagedFile {
            file_id: file.file_id,
            size_bytes: file.size_bytes,
            sha256: file.hasher.finish(),
        };
        self.finished.push(FinishedFile {
            filename: file.filename,
            mimetype: file.mimetype,
            staged,
        });
        self.leave();
        Ok(staged)
    }

    async fn publish(mut self: Box<Self>) -> Result<Vec<PendingUpload>> {
        self.enter()?;
        self.refuse_open_file()?;
        if self.finished.is_empty() {
            return Err(Error::BatchMisused(BatchMisuse::NoFiles));
        }
        give_way().await;
        let platform = self.platform.clone();
        let published = self.publish_into(&mut platform.state())?;
        platform.signal(self.workspace);
        Ok(published)
    }
}

/// Discards what was staged and not published.
impl Drop for MemoryBatch {
    fn drop(&mut self) {
        if let Some(key) = self.staged {
            self.platform.state().staging.discard(key);
        }
    }
}
