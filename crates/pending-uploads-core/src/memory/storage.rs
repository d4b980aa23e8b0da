//! The store of files: [`Storage`] in memory.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::try_unfold;

use super::batch::MemoryBatch;
use super::{MemoryPlatform, give_way};
use crate::{
    Acked, Batch, ByteRange, ByteStream, FileId, ListAfter, NewActivity, Opened, PendingUpload,
    Result, Stats, Storage, SweepPolicy, SweepReason, Swept, WorkspaceId,
};

/// How much a stream reads before it looks again whether the file still waits, in bytes.
const WINDOW_BYTES: u64 = 256 * 1024;
/// After how many files a step of a sweep ends.
const SWEEP_STEP_FILES: usize = 100;

#[async_trait]
impl Storage for MemoryPlatform {
    async fn begin(&self, workspace: WorkspaceId) -> Result<Box<dyn Batch>> {
        give_way().await;
        Ok(Box::new(MemoryBatch::new(self.clone(), workspace)))
    }

    async fn get(&self, workspace: WorkspaceId, file: FileId) -> Result<PendingUpload> {
        give_way().await;
        self.state().files.get(workspace, file, self.now()).cloned()
    }

    async fn open(&self, workspace: WorkspaceId, file: FileId) -> Result<Opened> {
        give_way().await;
        self.state().files.open(workspace, file, self.now())
    }

    async fn read(
        &self,
        workspace: WorkspaceId,
        file: FileId,
        range: ByteRange,
    ) -> Result<ByteStream> {
        give_way().await;
        // The answer tells of a file that is gone or too short before the first byte.
        self.state()
            .files
            .window(workspace, file, range, self.now())?;
        let reader = Reader {
            platform: self.clone(),
            workspace,
            file,
        };
        let windows = try_unfold((reader, Some(range)), async |(reader, left)| {
            let Some(left) = left else { return Ok(None) };
            let (window, rest) = split_window(left);
            let bytes = reader.next(window).await?;
            Ok(Some((bytes, (reader, rest))))
        });
        Ok(windows.boxed())
    }

    async fn mark_fetched(&self, workspace: WorkspaceId, file: FileId) -> Result<()> {
        give_way().await;
        let now = self.now();
        self.state().files.mark_fetched(workspace, file, now);
        Ok(())
    }

    async fn ack(&self, workspace: WorkspaceId, file: FileId) -> Result<Acked> {
        give_way().await;
        let mut state = self.state();
        state.files.ack(workspace, file, self.now())
    }

    async fn list(
        &self,
        workspace: WorkspaceId,
        after: Option<ListAfter>,
        limit: u32,
    ) -> Result<Vec<PendingUpload>> {
        give_way().await;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let state = self.state();
        Ok(state.files.list(workspace, after, limit, self.now()))
    }

    async fn sweep(&self, policy: &SweepPolicy) -> Result<Swept> {
        give_way().await;
        let swept = self.sweep_step(policy);
        for file in &swept.files {
            if file.reason == SweepReason::Expired {
                self.signal(file.workspace_id);
            }
        }
        Ok(swept)
    }

    async fn stats(&self) -> Result<Stats> {
        give_way().await;
        let state = self.state();
        Ok(Stats {
            staged_files: state.staging.file_count() as u64,
            ..state.files.stats(self.now())
        })
    }
}

impl MemoryPlatform {
    fn sweep_step(&self, policy: &SweepPolicy) -> Swept {
        let mut state = self.state();
        let now = self.now();
        let mut files = state
            .files
            .sweep(now, policy.ack_retention, SWEEP_STEP_FILES);
        for file in &files {
            if file.reason == SweepReason::Expired {
                let row = NewActivity::expiry(file);
                state.feeds.append(file.workspace_id, row, now);
            }
        }
        let room = SWEEP_STEP_FILES.saturating_sub(files.len());
        files.extend(state.staging.sweep(now, policy.staging_lease, room));
        Swept { files }
    }
}

/// What a stream owns: it looks at the file again for each window.
struct Reader {
    platform: MemoryPlatform,
    workspace: WorkspaceId,
    file: FileId,
}

impl Reader {
    async fn next(&self, window: ByteRange) -> Result<Bytes> {
        give_way().await;
        let now = self.platform.now();
        self.platform
            .state()
            .files
            .window(self.workspace, self.file, window, now)
    }
}

/// The next window of `range`, and what is left after it.
fn split_window(range: ByteRange) -> (ByteRange, Option<ByteRange>) {
    let border = range.start().saturating_add(WINDOW_BYTES).min(range.end());
    let window = ByteRange::new(range.start(), border).unwrap_or(range);
    (window, ByteRange::new(border, range.end()))
}
