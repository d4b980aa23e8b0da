//! Copies between stores that are only ever moved.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::*;
use crate::{
    ActivityId, ByteStream, DeliveryMode, Filename, InboundSecret, Mimetype, NewActivity, Sha256,
    Token, WorkspaceId,
};

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

/// A store that is only ever moved.
#[derive(Debug, Clone, Default, PartialEq)]
struct Shelf {
    workspaces: Vec<ArchivedWorkspace>,
    rows: Vec<Activity>,
    uploads: Vec<PendingUpload>,
    bytes: HashMap<FileId, Vec<u8>>,
    /// How many more rows are counted than there are.
    miscounted: u64,
}

impl Shelf {
    fn with_workspaces(count: usize) -> Self {
        let mut shelf = Self::default();
        for _ in 0..count {
            let token = Token::generate().unwrap();
            shelf.workspaces.push(ArchivedWorkspace {
                id: WorkspaceId::generate(),
                delivery_mode: DeliveryMode::Poll,
                callback: None,
                inbound_secret: InboundSecret::generate().unwrap(),
                token_digest: token.digest(),
                agent_card: None,
                created_at: NOW,
                updated_at: NOW,
                last_seq: Seq(0),
            });
        }
        shelf.workspaces.sort_by_key(|workspace| workspace.id);
        shelf
    }

    fn add_row(&mut self) {
        let workspace = self.workspaces.first_mut().unwrap();
        workspace.last_seq = Seq(workspace.last_seq.0 + 1);
        self.rows.push(Activity {
            id: ActivityId::generate(),
            workspace_id: workspace.id,
            seq: workspace.last_seq,
            created_at: NOW,
            content: NewActivity::message(workspace.id, "message/send", serde_json::json!({})),
        });
    }

    fn add_file(&mut self, data: &[u8]) -> &mut PendingUpload {
        let upload = PendingUpload {
            file_id: FileId::generate(),
            workspace_id: self.workspaces.first().unwrap().id,
            filename: Filename::sanitize("a.txt"),
            mimetype: Mimetype::absent(),
            size_bytes: data.len() as u64,
            sha256: Sha256::of(data),
            created_at: NOW,
            expires_at: NOW.saturating_add(Duration::from_secs(1)),
            fetched_at: None,
            acked_at: None,
        };
        self.bytes.insert(upload.file_id, data.to_vec());
        self.uploads.push(upload);
        self.uploads.last_mut().unwrap()
    }
}

fn page<T: Clone>(items: &[T], limit: u32, is_after: impl Fn(&T) -> bool) -> Vec<T> {
    let after = items.iter().filter(|item| is_after(item));
    after.take(limit as usize).cloned().collect()
}

#[async_trait]
impl Archive for Shelf {
    async fn totals(&self, now: Timestamp) -> Result<StoreTotals> {
        let waiting = self.uploads.iter().filter(|file| file.is_waiting_at(now));
        Ok(StoreTotals {
            workspaces: self.workspaces.len() as u64,
            feed_rows: self.rows.len() as u64 + self.miscounted,
            files: self.uploads.len() as u64,
            bytes: waiting.map(|file| file.size_bytes).sum(),
        })
    }

    async fn workspaces(
        &self,
        after: Option<WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<ArchivedWorkspace>> {
        Ok(page(&self.workspaces, limit, |workspace| {
            Some(workspace.id) > after
        }))
    }

    async fn activity(
        &self,
        workspace: WorkspaceId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Activity>> {
        Ok(page(&self.rows, limit, |row| {
            row.workspace_id == workspace && row.seq > after
        }))
    }

    async fn uploads(&self, after: Option<FileId>, limit: u32) -> Result<Vec<PendingUpload>> {
        Ok(page(&self.uploads, limit, |upload| {
            Some(upload.file_id) > after
        }))
    }

    async fn read(&self, upload: &PendingUpload) -> Result<ByteStream> {
        let bytes = self.bytes.get(&upload.file_id).ok_or(Error::NotFound)?;
        let pieces: Vec<_> = bytes
            .chunks(3)
            .map(Bytes::copy_from_slice)
            .map(Ok)
            .collect();
        Ok(stream::iter(pieces).boxed())
    }
}

struct Filling {
    shelf: Shelf,
    finished: Arc<Mutex<Option<Shelf>>>,
}

#[async_trait]
impl Restoration for Filling {
    async fn put_workspace(
        mut self: Box<Self>,
        workspace: ArchivedWorkspace,
    ) -> Result<Box<dyn Restoration>> {
        self.shelf.workspaces.push(workspace);
        Ok(self)
    }

    async fn put_activity(
        mut self: Box<Self>,
        rows: Vec<Activity>,
    ) -> Result<Box<dyn Restoration>> {
        self.shelf.rows.extend(rows);
        Ok(self)
    }

    async fn put_upload(
        mut self: Box<Self>,
        upload: PendingUpload,
        bytes: Option<CheckedBytes>,
    ) -> Result<Box<dyn Restoration>> {
        if let Some(bytes) = bytes {
            let data = bytes.map_ok(Vec::from).try_concat().await?;
            self.shelf.bytes.insert(upload.file_id, data);
        }
        self.shelf.uploads.push(upload);
        Ok(self)
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        *self.finished.lock().unwrap() = Some(self.shelf);
        Ok(())
    }
}

/// Copies `from`; answers how it went, and what is visible of the copy.
async fn copied(from: &Shelf) -> (Result<StoreTotals, CopyError>, Option<Shelf>) {
    let finished = Arc::default();
    let filling = Box::new(Filling {
        shelf: Shelf::default(),
        finished: Arc::clone(&finished),
    });
    let mut told = Vec::new();
    let outcome = copy_store(from, filling, NOW, &mut |progress| told.push(progress)).await;
    if let Ok(total) = outcome {
        assert_eq!(told.last().unwrap().moved, total);
        assert!(told.iter().all(|progress| progress.total == total));
    }
    let shelf = finished.lock().unwrap().take();
    (outcome, shelf)
}

#[tokio::test]
async fn everything_arrives_as_it_was_however_many_pages_it_fills() {
    let mut shelf = Shelf::with_workspaces(PAGE as usize + 1);
    (0..2 * FEED_PAGE).for_each(|_| shelf.add_row());
    for number in 0..=PAGE {
        shelf.add_file(&number.to_be_bytes());
    }
    let (outcome, copy) = copied(&shelf).await;
    let expected = StoreTotals {
        workspaces: u64::from(PAGE) + 1,
        feed_rows: 2 * u64::from(FEED_PAGE),
        files: u64::from(PAGE) + 1,
        bytes: 4 * (u64::from(PAGE) + 1),
    };
    assert_eq!(outcome.unwrap(), expected);
    assert_eq!(copy, Some(shelf));
}

#[tokio::test]
async fn only_the_records_of_acked_and_expired_files_move() {
    let mut shelf = Shelf::with_workspaces(1);
    shelf.add_file(b"acked").acked_at = Some(NOW);
    shelf.add_file(b"expired").expires_at = NOW;
    shelf.add_file(b"waiting").fetched_at = Some(NOW);
    let (outcome, copy) = copied(&shelf).await;
    assert_eq!(outcome.unwrap().bytes, 7);
    let copy = copy.unwrap();
    assert_eq!(copy.uploads, shelf.uploads);
    assert_eq!(copy.bytes.into_values().collect::<Vec<_>>(), [b"waiting"]);
}

#[tokio::test]
async fn damaged_bytes_are_named_and_nothing_becomes_visible() {
    let mut shelf = Shelf::with_workspaces(1);
    let damaged = shelf.add_file(b"damaged").file_id;
    shelf.bytes.insert(damaged, b"dAmaged".to_vec());
    let (outcome, copy) = copied(&shelf).await;
    let error = outcome.unwrap_err();
    assert!(
        matches!(error, CopyError::File { file_id, source: Error::Integrity { .. } } if file_id == damaged),
        "{error:?}"
    );
    assert_eq!(copy, None);
}

#[tokio::test]
async fn a_store_that_contradicts_itself_is_not_copied() {
    let mut miscounted = Shelf::with_workspaces(1);
    miscounted.miscounted = 1;
    let mut beyond_its_counter = Shelf::with_workspaces(1);
    beyond_its_counter.add_row();
    beyond_its_counter.workspaces.first_mut().unwrap().last_seq = Seq(0);
    let mut nameless_row = Shelf::with_workspaces(1);
    nameless_row.add_row();
    nameless_row.rows.first_mut().unwrap().id = ActivityId::from_uuid(uuid::Uuid::nil());
    for shelf in [miscounted, beyond_its_counter, nameless_row] {
        let (outcome, copy) = copied(&shelf).await;
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, CopyError::Source(Error::Integrity { .. })),
            "{error:?}"
        );
        assert_eq!(copy, None);
    }
}
