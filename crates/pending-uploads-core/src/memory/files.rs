//! The published files.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::{
    Acked, ByteRange, Error, FileId, ListAfter, Opened, PendingUpload, Quota, Result, Stats,
    SweepReason, SweptFile, Timestamp, WorkspaceId,
};

/// The largest file whose bytes are answered with its record.
const OPENED_BYTES: usize = 128 * 1024;

#[derive(Default)]
pub(super) struct Files(BTreeMap<FileId, StoredFile>);

pub(super) struct StoredFile {
    pub(super) record: PendingUpload,
    pub(super) bytes: Bytes,
}

impl Files {
    /// Refuses `fresh` when they and what waits already would be over the quota.
    pub(super) fn check_quota(
        &self,
        workspace: WorkspaceId,
        fresh: &[StoredFile],
        quota: Quota,
        now: Timestamp,
    ) -> Result<()> {
        let (files, bytes) = self
            .waiting(workspace, now)
            .chain(fresh.iter().map(|file| &file.record))
            .fold((0, 0_u64), |(files, bytes), record| {
                (files + 1, bytes.saturating_add(record.size_bytes))
            });
        quota.check(files, bytes).map_err(Error::QuotaExceeded)
    }

    /// Makes the files visible.
    pub(super) fn insert(&mut self, files: Vec<StoredFile>) {
        self.0
            .extend(files.into_iter().map(|file| (file.record.file_id, file)));
    }

    /// The record of a file that has not expired.
    pub(super) fn get(
        &self,
        workspace: WorkspaceId,
        file: FileId,
        now: Timestamp,
    ) -> Result<&PendingUpload> {
        self.stored(workspace, file, now).map(|file| &file.record)
    }

    /// The record of a file that has not expired, and its bytes if it is a small one that waits.
    pub(super) fn open(
        &self,
        workspace: WorkspaceId,
        file: FileId,
        now: Timestamp,
    ) -> Result<Opened> {
        let StoredFile { record, bytes } = self.stored(workspace, file, now)?;
        let held = record.acked_at.is_none() && bytes.len() <= OPENED_BYTES;
        Ok(Opened {
            upload: record.clone(),
            bytes: held.then(|| bytes.clone()),
        })
    }

    /// Bytes of a waiting file.
    pub(super) fn window(
        &self,
        workspace: WorkspaceId,
        file: FileId,
        range: ByteRange,
        now: Timestamp,
    ) -> Result<Bytes> {
        let file = self.stored(workspace, file, now)?;
        if file.record.acked_at.is_some() {
            return Err(Error::NotFound);
        }
        let size_bytes = file.record.size_bytes;
        let range = as_indices(range)
            .filter(|range| range.end <= file.bytes.len())
            .ok_or(Error::RangeNotSatisfiable { size_bytes })?;
        Ok(file.bytes.slice(range))
    }

    /// Notes that a waiting file was handed over; leaves any other as it is.
    pub(super) fn mark_fetched(&mut self, workspace: WorkspaceId, file: FileId, now: Timestamp) {
        if let Ok(record) = self.get_mut(workspace, file, now)
            && record.acked_at.is_none()
        {
            record.fetched_at = Some(now);
        }
    }

    /// Acks a file that has not expired.
    pub(super) fn ack(
        &mut self,
        workspace: WorkspaceId,
        file: FileId,
        now: Timestamp,
    ) -> Result<Acked> {
        let record = self.get_mut(workspace, file, now)?;
        if let Some(at) = record.acked_at {
            return Ok(Acked::Again { at });
        }
        record.acked_at = Some(now);
        Ok(Acked::First { at: now })
    }

    /// A page of what waits.
    pub(super) fn list(
        &self,
        workspace: WorkspaceId,
        after: Option<ListAfter>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<PendingUpload> {
        let key = |record: &PendingUpload| (record.created_at, record.file_id);
        let mut page: Vec<_> = self
            .waiting(workspace, now)
            .filter(|record| {
                after.is_none_or(|after| (after.created_at, after.file_id) < key(record))
            })
            .cloned()
            .collect();
        page.sort_by_key(key);
        page.truncate(limit);
        page
    }

    /// Deletes at most `at_most` files that are past their time, or past `ack_retention` since
    /// their ack.
    pub(super) fn sweep(
        &mut self,
        now: Timestamp,
        ack_retention: Duration,
        at_most: usize,
    ) -> Vec<SweptFile> {
        let mut swept = Vec::new();
        self.0.retain(|_, file| {
            let reason = reason_to_sweep(&file.record, now, ack_retention);
            let Some(reason) = reason.filter(|_| swept.len() < at_most) else {
                return true;
            };
            swept.push(as_swept(&file.record, reason));
            false
        });
        swept
    }

    /// Counts the files; `staged_files` is left at zero.
    pub(super) fn stats(&self, now: Timestamp) -> Stats {
        let mut stats = Stats::default();
        for StoredFile { record, .. } in self.0.values() {
            if record.is_waiting_at(now) {
                stats.waiting_files += 1;
                stats.waiting_bytes += record.size_bytes;
                stats.oldest_waiting = match stats.oldest_waiting {
                    Some(oldest) => Some(oldest.min(record.created_at)),
                    None => Some(record.created_at),
                };
            } else {
                stats.unswept_files += 1;
                stats.unswept_bytes += record.size_bytes;
            }
        }
        stats
    }

    fn waiting(
        &self,
        workspace: WorkspaceId,
        now: Timestamp,
    ) -> impl Iterator<Item = &PendingUpload> {
        self.0
            .values()
            .map(|file| &file.record)
            .filter(move |record| record.workspace_id == workspace && record.is_waiting_at(now))
    }

    fn stored(&self, workspace: WorkspaceId, file: FileId, now: Timestamp) -> Result<&StoredFile> {
        self.0
            .get(&file)
            .filter(|file| is_there(&file.record, workspace, now))
            .ok_or(Error::NotFound)
    }

    fn get_mut(
        &mut self,
        workspace: WorkspaceId,
        file: FileId,
        now: Timestamp,
    ) -> Result<&mut PendingUpload> {
        self.0
            .get_mut(&file)
            .map(|file| &mut file.record)
            .filter(|record| is_there(record, workspace, now))
            .ok_or(Error::NotFound)
    }
}

/// Whether this workspace may know of the file at all.
fn is_there(record: &PendingUpload, workspace: WorkspaceId, now: Timestamp) -> bool {
    record.workspace_id == workspace && !record.is_expired_at(now)
}

fn reason_to_sweep(
    record: &PendingUpload,
    now: Timestamp,
    ack_retention: Duration,
) -> Option<SweepReason> {
    let expired = record.is_expired_at(now);
    match record.acked_at {
        Some(at) if expired || at.saturating_add(ack_retention) <= now => Some(SweepReason::Acked),
        None if expired => Some(SweepReason::Expired),
        _ => None,
    }
}

fn as_swept(record: &PendingUpload, reason: SweepReason) -> SweptFile {
    SweptFile {
        file_id: record.file_id,
        workspace_id: record.workspace_id,
        filename: Some(record.filename.clone()),
        size_bytes: record.size_bytes,
        reason,
    }
}

fn as_indices(range: ByteRange) -> Option<Range<usize>> {
    let start = usize::try_from(range.start()).ok()?;
    let end = usize::try_from(range.end()).ok()?;
    Some(start..end)
}
