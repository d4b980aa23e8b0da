//! Copying a whole store into an empty one.

use super::{Archive, ArchivedWorkspace, CheckedBytes, Restoration, StoreTotals};
use crate::{Activity, Error, FileId, PendingUpload, Result, Seq, Timestamp};

/// How many rows of a feed are held at once; each may be as large as a message may be.
const FEED_PAGE: u32 = 64;
/// How many workspaces, or records of files, are held at once.
const PAGE: u32 = 500;

/// Why a store was not copied. The other one is as empty as it was, but for the one case that
/// nobody can know.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store that is copied failed, or contradicts itself.
    #[error("reading failed")]
    Source(#[source] Error),
    /// The store that is filled failed.
    #[error("writing failed")]
    Target(#[source] Error),
    /// The store that was filled failed while everything was to become visible: when it was lost in
    /// that moment, it may hold everything. It never holds a part.
    #[error("finishing failed")]
    Finish(#[source] Error),
    /// One file's bytes could not be read, or not be stored.
    #[error("moving the bytes of file {file_id} failed")]
    File {
        /// The file.
        file_id: FileId,
        /// What went wrong.
        source: Error,
    },
}

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// What was moved.
    pub moved: StoreTotals,
    /// What there is to be moved.
    pub total: StoreTotals,
}

/// Copies everything that `from` holds into `to`, and answers how much that was.
///
/// `now` decides which files wait: their bytes move, and of all others only the record. `progress`
/// is told after each page of rows and each file; it is called between two steps and holds the copy
/// up while it runs. A page of rows and about 2 MiB of bytes are held at most. A dropped future
/// leaves nothing in `to`, or, at the very end, everything.
///
/// # Errors
/// Every variant of [`CopyError`]; [`Integrity`](Error::Integrity) inside when what was read
/// contradicts itself.
pub async fn copy_store(
    from: &dyn Archive,
    to: Box<dyn Restoration>,
    now: Timestamp,
    progress: &mut (dyn FnMut(CopyProgress) + Send),
) -> Result<StoreTotals, CopyError> {
    let total = from.totals(now).await.map_err(CopyError::Source)?;
    let mut copying = Copying {
        from,
        now,
        progress,
        moved: StoreTotals::default(),
        total,
    };
    let to = copying.workspaces(to).await?;
    let to = copying.uploads(to).await?;
    // Asked once more: the answer says that the store has been held still until now.
    if from.totals(now).await.map_err(CopyError::Source)? != copying.moved {
        return Err(contradiction("what was read is not what the store holds"));
    }
    to.finish().await.map_err(CopyError::Finish)?;
    Ok(copying.moved)
}

struct Copying<'a> {
    from: &'a dyn Archive,
    now: Timestamp,
    progress: &'a mut (dyn FnMut(CopyProgress) + Send),
    moved: StoreTotals,
    total: StoreTotals,
}

type Target = Box<dyn Restoration>;

impl Copying<'_> {
    /// Copies the workspaces, each with its feed.
    async fn workspaces(&mut self, mut to: Target) -> Result<Target, CopyError> {
        let mut after = None;
        loop {
            let page = self.from.workspaces(after, PAGE).await;
            let page = page.map_err(CopyError::Source)?;
            let next = page.last().filter(|_| is_full(&page, PAGE));
            after = next.map(|last| last.id);
            for workspace in page {
                let putting = to.put_workspace(workspace.clone()).await;
                to = putting.map_err(CopyError::Target)?;
                self.moved.workspaces += 1;
                to = self.feed(&workspace, to).await?;
            }
            if after.is_none() {
                return Ok(to);
            }
        }
    }

    async fn feed(
        &mut self,
        workspace: &ArchivedWorkspace,
        mut to: Target,
    ) -> Result<Target, CopyError> {
        let mut after = Seq(0);
        loop {
            let page = self.from.activity(workspace.id, after, FEED_PAGE).await;
            let page = page.map_err(CopyError::Source)?;
            check_feed(workspace, after, &page)?;
            let rows = page.len() as u64;
            let next = page.last().filter(|_| is_full(&page, FEED_PAGE));
            let next = next.map(|last| last.seq);
            to = to.put_activity(page).await.map_err(CopyError::Target)?;
            self.moved.feed_rows += rows;
            self.tell();
            match next {
                Some(seq) => after = seq,
                None => return Ok(to),
            }
        }
    }

    async fn uploads(&mut self, mut to: Target) -> Result<Target, CopyError> {
        let mut after = None;
        loop {
            let page = self.from.uploads(after, PAGE).await;
            let page = page.map_err(CopyError::Source)?;
            let next = page.last().filter(|_| is_full(&page, PAGE));
            after = next.map(|last| last.file_id);
            for upload in page {
                to = self.upload(upload, to).await?;
                self.tell();
            }
            if after.is_none() {
                return Ok(to);
            }
        }
    }

    async fn upload(&mut self, upload: PendingUpload, to: Target) -> Result<Target, CopyError> {
        let file_id = upload.file_id;
        let failed = |source| CopyError::File { file_id, source };
        let (mut bytes, mut size_bytes) = (None, 0);
        if upload.is_waiting_at(self.now) {
            let pieces = self.from.read(&upload).await.map_err(failed)?;
            bytes = Some(CheckedBytes::new(&upload, pieces));
            size_bytes = upload.size_bytes;
        }
        let to = to.put_upload(upload, bytes).await.map_err(failed)?;
        self.moved.files += 1;
        self.moved.bytes += size_bytes;
        Ok(to)
    }

    fn tell(&mut self) {
        (self.progress)(CopyProgress {
            moved: self.moved,
            total: self.total,
        });
    }
}

/// Whether there may be more after this page.
fn is_full<T>(page: &[T], limit: u32) -> bool {
    page.len() as u64 >= u64::from(limit)
}

/// Cursors go on working only when the counter has seen every row.
fn check_feed(
    workspace: &ArchivedWorkspace,
    after: Seq,
    page: &[Activity],
) -> Result<(), CopyError> {
    let mut before = after;
    for row in page {
        if row.seq <= before || row.seq > workspace.last_seq || row.workspace_id != workspace.id {
            return Err(contradiction("a feed's rows contradict its counter"));
        }
        if row.id.as_uuid().is_nil() {
            return Err(contradiction("a feed's row has the nil id"));
        }
        before = row.seq;
    }
    Ok(())
}

fn contradiction(what: &'static str) -> CopyError {
    CopyError::Source(Error::Integrity { what })
}

#[cfg(test)]
mod tests;
