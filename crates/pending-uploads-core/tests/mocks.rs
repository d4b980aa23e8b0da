//! The mocks and the in-memory platform stand where any store stands: behind `Arc<dyn Storage>`,
//! with the conveniences of [`StorageExt`] over them.
#![cfg(all(feature = "mock", feature = "memory"))]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail the test when they fail"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::iter;
use pending_uploads_core::memory::MemoryPlatform;
use pending_uploads_core::{
    Acked, Error, FileId, Filename, Mimetype, MockBatch, MockStorage, PendingUpload, Quota,
    Registrar, Registration, Sha256, StagedFile, Storage, StorageExt, StoreName, SystemClock,
    Timestamp, WorkspaceId, Workspaces,
};

fn record(workspace_id: WorkspaceId, data: &[u8]) -> PendingUpload {
    PendingUpload {
        file_id: FileId::generate(),
        workspace_id,
        filename: Filename::sanitize("notes.txt"),
        mimetype: Mimetype::parse("text/plain"),
        size_bytes: data.len() as u64,
        sha256: Sha256::of(data),
        created_at: Timestamp::from_micros(0),
        expires_at: Timestamp::from_micros(1),
        fetched_at: None,
        acked_at: None,
    }
}

/// A batch that expects `record` to be staged and published, once and in order.
fn batch_for(record: PendingUpload, data: &'static [u8]) -> MockBatch {
    let staged = StagedFile {
        file_id: record.file_id,
        size_bytes: record.size_bytes,
        sha256: record.sha256,
    };
    let mut order = mockall::Sequence::new();
    let mut batch = MockBatch::new();
    batch
        .expect_start_file()
        .once()
        .in_sequence(&mut order)
        .returning(move |_, _| Ok(staged.file_id));
    batch
        .expect_write()
        .withf(move |piece| piece == data)
        .once()
        .in_sequence(&mut order)
        .returning(|_| Ok(()));
    batch
        .expect_finish_file()
        .once()
        .in_sequence(&mut order)
        .returning(move || Ok(staged));
    batch
        .expect_publish()
        .once()
        .in_sequence(&mut order)
        .return_once(move || Ok(vec![record]));
    batch
}

/// A platform in memory with one workspace.
async fn memory() -> (Arc<dyn Storage>, WorkspaceId) {
    let day = Duration::from_hours(24);
    let platform = MemoryPlatform::new(Arc::new(SystemClock), day, Quota::default());
    let id = WorkspaceId::generate();
    let registration = Registration::polling(id);
    platform
        .register(registration, Registrar::Admin)
        .await
        .unwrap();
    (Arc::new(platform), id)
}

#[tokio::test]
async fn a_mock_stands_where_a_store_stands() {
    let (workspace, file) = (WorkspaceId::generate(), FileId::generate());
    let at = Timestamp::from_micros(7);
    let mut mock = MockStorage::new();
    mock.expect_ack()
        .withf(move |w, f| (*w, *f) == (workspace, file))
        .once()
        .returning(move |_, _| Ok(Acked::First { at }));
    mock.expect_get().returning(|_, _| Err(Error::NotFound));
    let storage: Arc<dyn Storage> = Arc::new(mock);
    let acked = storage.ack(workspace, file).await.unwrap();
    assert_eq!(acked, Acked::First { at });
    let found = storage.get(workspace, file).await;
    assert!(matches!(found, Err(Error::NotFound)), "{found:?}");
}

#[tokio::test]
async fn staging_in_one_call_goes_through_each_step_of_a_batch() {
    let data = b"hello";
    let record = record(WorkspaceId::generate(), data);
    let batch = batch_for(record.clone(), data);
    let mut mock = MockStorage::new();
    mock.expect_begin()
        .once()
        .return_once(move |_| Ok(Box::new(batch)));
    let storage: Arc<dyn Storage> = Arc::new(mock);
    let staged = storage
        .stage(
            record.workspace_id,
            record.filename.clone(),
            record.mimetype.clone(),
            data,
        )
        .await
        .unwrap();
    assert_eq!(staged, record);
}

#[tokio::test]
async fn reading_in_one_call_puts_the_pieces_together() {
    let record = record(WorkspaceId::generate(), b"hello, world");
    let whole = record.whole().unwrap();
    let (workspace, file) = (record.workspace_id, record.file_id);
    let mut mock = MockStorage::new();
    mock.expect_get().return_once(move |_, _| Ok(record));
    mock.expect_read()
        .withf(move |_, _, range| *range == whole)
        .once()
        .return_once(|_, _, _| {
            let pieces = ["hello", ", ", "world"].map(|piece| Ok(Bytes::from(piece)));
            Ok(iter(pieces).boxed())
        });
    let storage: Arc<dyn Storage> = Arc::new(mock);
    let read = storage.read_whole(workspace, file, 12).await.unwrap();
    assert_eq!(read, b"hello, world");
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_no_file() {
    let record = record(WorkspaceId::generate(), b"hello");
    let (workspace, file) = (record.workspace_id, record.file_id);
    let mut mock = MockStorage::new();
    mock.expect_get().return_once(move |_, _| Ok(record));
    mock.expect_read().return_once(|_, _, _| {
        let lost = Error::Unavailable {
            store: StoreName("mock"),
            source: "it went away".into(),
        };
        Ok(iter([Ok(Bytes::from("hel")), Err(lost)]).boxed())
    });
    let read = mock.read_whole(workspace, file, 5).await;
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
}

#[tokio::test]
async fn a_file_over_the_readers_cap_is_refused_before_its_bytes_are_asked_for() {
    let record = record(WorkspaceId::generate(), b"hello");
    let (workspace, file) = (record.workspace_id, record.file_id);
    let mut mock = MockStorage::new();
    mock.expect_get().return_once(move |_, _| Ok(record));
    mock.expect_read().never();
    let read = mock.read_whole(workspace, file, 4).await;
    assert!(
        matches!(read, Err(Error::TooLarge { max_bytes: 4 })),
        "{read:?}"
    );
}

#[tokio::test]
async fn what_is_staged_in_memory_is_read_back_up_to_the_readers_cap() {
    let (storage, workspace) = memory().await;
    let upload = storage
        .stage(
            workspace,
            Filename::sanitize("notes.txt"),
            Mimetype::absent(),
            b"hello",
        )
        .await
        .unwrap();
    let read = storage.read_whole(workspace, upload.file_id, 5).await;
    assert_eq!(read.unwrap(), b"hello");
    let read = storage.read_whole(workspace, upload.file_id, 4).await;
    assert!(
        matches!(read, Err(Error::TooLarge { max_bytes: 4 })),
        "{read:?}"
    );
}
