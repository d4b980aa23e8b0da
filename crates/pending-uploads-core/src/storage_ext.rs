//! Conveniences over any store.

use async_trait::async_trait;
use futures_util::TryStreamExt;

use crate::{
    ByteRange, Error, FileId, Filename, Mimetype, PendingUpload, Result, Storage, WorkspaceId,
};

/// What every [`Storage`] can do because of what it must do. Nobody implements this.
#[async_trait]
pub trait StorageExt: Storage {
    /// Stages and publishes one file whose bytes are at hand.
    ///
    /// # Errors
    /// Those of [`Storage::begin`] and of each method of [`Batch`](crate::Batch).
    async fn stage(
        &self,
        workspace: WorkspaceId,
        filename: Filename,
        mimetype: Mimetype,
        data: &[u8],
    ) -> Result<PendingUpload> {
        let mut batch = self.begin(workspace).await?;
        batch.start_file(filename, mimetype).await?;
        batch.write(data).await?;
        batch.finish_file().await?;
        let published = batch.publish().await?;
        published.into_iter().next().ok_or(Error::Integrity {
            what: "a published batch answered no record",
        })
    }

    /// Reads a whole waiting file of at most `max_bytes` into memory.
    ///
    /// # Errors
    /// [`TooLarge`](Error::TooLarge), before any byte is read, and those of [`Storage::get`] and
    /// [`Storage::read`].
    async fn read_whole(
        &self,
        workspace: WorkspaceId,
        file: FileId,
        max_bytes: u64,
    ) -> Result<Vec<u8>> {
        let upload = self.get(workspace, file).await?;
        if upload.size_bytes > max_bytes {
            return Err(Error::TooLarge { max_bytes });
        }
        let whole = upload.whole().ok_or(Error::Integrity {
            what: "a file of no bytes",
        })?;
        self.read_range(workspace, file, whole).await
    }

    /// Reads a range of a waiting file into memory; the caller has bounded it.
    ///
    /// # Errors
    /// Those of [`Storage::read`].
    async fn read_range(
        &self,
        workspace: WorkspaceId,
        file: FileId,
        range: ByteRange,
    ) -> Result<Vec<u8>> {
        let pieces = self.read(workspace, file, range).await?;
        pieces
            .try_fold(Vec::new(), async |mut all, piece| {
                all.extend_from_slice(&piece);
                Ok(all)
            })
            .await
    }
}

impl<S: Storage + ?Sized> StorageExt for S {}
