//! Bytes of batches that have not been published.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::{Error, FileId, Result, SweepReason, SweptFile, Timestamp, WorkspaceId};

/// The bytes of a batch's files.
pub(super) type Contents = BTreeMap<FileId, Vec<u8>>;

/// Names a batch that has bytes in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BatchKey(u64);

#[derive(Default)]
pub(super) struct Staging {
    last: u64,
    batches: HashMap<BatchKey, StagedBatch>,
}

struct StagedBatch {
    workspace: WorkspaceId,
    /// When its last burst arrived.
    touched: Timestamp,
    contents: Contents,
}

impl Staging {
    /// Opens a place for a batch's bytes.
    pub(super) fn open(&mut self, workspace: WorkspaceId, now: Timestamp) -> BatchKey {
        self.last += 1;
        let batch = StagedBatch {
            workspace,
            touched: now,
            contents: Contents::new(),
        };
        let key = BatchKey(self.last);
        self.batches.insert(key, batch);
        key
    }

    /// Adds a burst to a batch's bytes, which renews its lease.
    ///
    /// # Errors
    /// [`Error::BatchAbandoned`] when it has been swept.
    pub(super) fn store(&mut self, key: BatchKey, burst: Contents, now: Timestamp) -> Result<()> {
        let batch = self.batches.get_mut(&key).ok_or(Error::BatchAbandoned)?;
        batch.touched = now;
        append(&mut batch.contents, burst);
        Ok(())
    }

    /// Takes a batch's bytes out.
    ///
    /// # Errors
    /// [`Error::BatchAbandoned`] when it has been swept.
    pub(super) fn take(&mut self, key: BatchKey) -> Result<Contents> {
        let batch = self.batches.remove(&key).ok_or(Error::BatchAbandoned)?;
        Ok(batch.contents)
    }

    /// Forgets a batch, if it is still there.
    pub(super) fn discard(&mut self, key: BatchKey) {
        self.batches.remove(&key);
    }

    /// How many files have bytes here.
    pub(super) fn file_count(&self) -> usize {
        self.batches
            .values()
            .map(|batch| batch.contents.len())
            .sum()
    }

    /// Deletes the batches that have been silent for longer than `lease`, whole, until `at_most`
    /// files have gone.
    pub(super) fn sweep(
        &mut self,
        now: Timestamp,
        lease: Duration,
        at_most: usize,
    ) -> Vec<SweptFile> {
        let mut swept = Vec::new();
        self.batches.retain(|_, batch| {
            let stays = swept.len() >= at_most || batch.touched.saturating_add(lease) >= now;
            if !stays {
                swept.extend(batch.as_swept());
            }
            stays
        });
        swept
    }
}

impl StagedBatch {
    fn as_swept(&self) -> impl Iterator<Item = SweptFile> {
        self.contents.iter().map(|(file, bytes)| SweptFile {
            file_id: *file,
            workspace_id: self.workspace,
            filename: None,
            size_bytes: bytes.len() as u64,
            reason: SweepReason::Abandoned,
        })
    }
}

/// Adds the bytes of `more` to those of the same files in `contents`.
pub(super) fn append(contents: &mut Contents, more: Contents) {
    for (file, mut bytes) in more {
        contents.entry(file).or_default().append(&mut bytes);
    }
}
