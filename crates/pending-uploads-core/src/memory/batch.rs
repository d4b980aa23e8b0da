//! The files of one request on their way in: [`Batch`] in memory.

use std::mem;

use async_trait::async_trait;
use bytes::Bytes;

use super::files::StoredFile;
use super::staging::{BatchKey, Contents, append};
use super::{MemoryPlatform, State, give_way};
use crate::{
    Batch, BatchFiles, Error, FileId, Filename, Mimetype, NewActivity, PendingUpload, Result,
    StagedFile, WorkspaceId,
};

/// How much a batch collects before it goes into the store, in bytes.
const BURST_BYTES: usize = 1024 * 1024;

pub(super) struct MemoryBatch {
    platform: MemoryPlatform,
    files: BatchFiles,
    /// Where its bytes lie in the store; none as long as they are all in `unsaved`.
    staged: Option<BatchKey>,
    unsaved: Contents,
    unsaved_bytes: usize,
}

impl MemoryBatch {
    pub(super) fn new(platform: MemoryPlatform, workspace: WorkspaceId) -> Self {
        Self {
            platform,
            files: BatchFiles::new(workspace),
            staged: None,
            unsaved: Contents::new(),
            unsaved_bytes: 0,
        }
    }

    /// Adds what is left of `data` up to the end of the burst; answers the rest.
    fn collect<'a>(&mut self, file_id: FileId, data: &'a [u8]) -> &'a [u8] {
        let room = BURST_BYTES - self.unsaved_bytes;
        let (now, later) = data.split_at(room.min(data.len()));
        self.unsaved
            .entry(file_id)
            .or_default()
            .extend_from_slice(now);
        self.unsaved_bytes += now.len();
        later
    }

    /// Moves what was collected into the store.
    async fn flush(&mut self) -> Result<()> {
        give_way().await;
        let burst = self.take_unsaved();
        let mut state = self.platform.state();
        let now = self.platform.now();
        let key = *self
            .staged
            .get_or_insert_with(|| state.staging.open(self.files.workspace(), now));
        state.staging.store(key, burst, now)
    }

    fn take_unsaved(&mut self) -> Contents {
        self.unsaved_bytes = 0;
        mem::take(&mut self.unsaved)
    }

    /// Publishes everything or nothing, under one lock.
    fn publish_into(&mut self, state: &mut State) -> Result<Vec<PendingUpload>> {
        let workspace = self.files.workspace();
        if !state.members.contains(workspace) {
            return Err(Error::UnknownWorkspace);
        }
        let mut contents = match self.staged.take() {
            Some(key) => state.staging.take(key)?,
            None => Contents::new(),
        };
        append(&mut contents, self.take_unsaved());
        let (now, shared) = (self.platform.now(), &self.platform.shared);
        let records = self.files.records(now, shared.ttl)?;
        let files: Vec<_> = records
            .iter()
            .map(|record| StoredFile {
                bytes: Bytes::from(contents.remove(&record.file_id).unwrap_or_default()),
                record: record.clone(),
            })
            .collect();
        state
            .files
            .check_quota(workspace, &files, shared.quota, now)?;
        state.files.insert(files);
        for record in &records {
            let row = NewActivity::announcement(record);
            state.feeds.append(workspace, row, now);
        }
        Ok(records)
    }
}

#[async_trait]
impl Batch for MemoryBatch {
    async fn start_file(&mut self, filename: Filename, mimetype: Mimetype) -> Result<FileId> {
        self.files.start(filename, mimetype)
    }

    async fn write(&mut self, data: &[u8]) -> Result<()> {
        let file_id = self.files.take(data)?;
        let mut left = self.collect(file_id, data);
        while self.unsaved_bytes == BURST_BYTES {
            self.flush().await?;
            left = self.collect(file_id, left);
        }
        self.files.done();
        Ok(())
    }

    async fn finish_file(&mut self) -> Result<StagedFile> {
        let staged = self.files.finish()?;
        self.files.done();
        Ok(staged)
    }

    async fn show_life(&mut self) -> Result<()> {
        self.files.show_life()?;
        if let Some(key) = self.staged {
            let now = self.platform.now();
            let mut state = self.platform.state();
            state.staging.store(key, Contents::new(), now)?;
        }
        self.files.done();
        Ok(())
    }

    async fn publish(mut self: Box<Self>) -> Result<Vec<PendingUpload>> {
        self.files.check_publishable()?;
        give_way().await;
        let platform = self.platform.clone();
        let published = self.publish_into(&mut platform.state())?;
        platform.signal(self.files.workspace());
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
