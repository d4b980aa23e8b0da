//! How a fetch ends: noted when the last byte of the file was handed on, and only then.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use async_trait::async_trait;
use bytes::Bytes;
use pending_uploads_core::{
    Acked, Batch, ByteRange, ByteStream, Error, FileId, ListAfter, MockStorage, Opened,
    PendingUpload, Result, Stats, Storage, SweepPolicy, Swept, WorkspaceId,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::harness::{
    Agent, Answer, Ask, End, Fixture, broken, file_path, pieces, settle, unavailable, upload,
};

/// What a store reads, piece by piece.
type Pieces = Vec<Result<&'static [u8]>>;

/// A store that reads `read`, and tells of each `mark_fetched`.
fn reading(read: Pieces, noted: fn() -> Result<()>) -> (Fixture, UnboundedReceiver<()>) {
    let (sender, receiver) = unbounded_channel();
    let fixture = Fixture::new().storing(|storage| {
        storage.expect_get().returning(|_, _| Ok(upload()));
        storage
            .expect_read()
            .return_once(|_, _, _| Ok(pieces(read)));
        storage.expect_mark_fetched().returning(move |_, file| {
            assert_eq!(file, upload().file_id);
            sender.send(()).unwrap();
            noted()
        });
    });
    (fixture, receiver)
}

async fn is_noted(marks: &mut UnboundedReceiver<()>) -> bool {
    timeout(Duration::from_secs(10), marks.recv()).await == Ok(Some(()))
}

async fn is_never_noted(marks: &mut UnboundedReceiver<()>) -> bool {
    settle().await;
    marks.try_recv().is_err()
}

fn whole_file() -> Pieces {
    vec![Ok(b"01234"), Ok(b"56789")]
}

fn ask() -> Ask {
    Ask::get(&file_path("content")).by(&Agent)
}

async fn fetched(fixture: Fixture, range: &str) -> Answer {
    fixture.app().send(ask().header("range", range)).await
}

#[actix_web::test]
async fn a_file_that_was_handed_over_is_noted_once() {
    let (fixture, mut marks) = reading(whole_file(), || Ok(()));
    assert_eq!(fixture.app().send(ask()).await.end, End::Whole);
    assert!(is_noted(&mut marks).await);
    assert!(is_never_noted(&mut marks).await);
}

#[actix_web::test]
async fn the_part_that_holds_the_last_byte_is_noted() {
    let (fixture, mut marks) = reading(vec![Ok(b"789")], || Ok(()));
    assert_eq!(fetched(fixture, "bytes=7-").await.status, 206);
    assert!(is_noted(&mut marks).await);
}

#[actix_web::test]
async fn a_part_that_ends_before_the_last_byte_is_not_noted() {
    let (fixture, mut marks) = reading(vec![Ok(b"012345678")], || Ok(()));
    assert_eq!(fetched(fixture, "bytes=0-8").await.status, 206);
    assert!(is_never_noted(&mut marks).await);
}

#[actix_web::test]
async fn a_fetch_that_was_cut_off_is_not_noted() {
    for read in [0, 1, 2] {
        let (fixture, mut marks) = reading(whole_file(), || Ok(()));
        let answer = fixture.app().send_and_read(ask(), read).await;
        assert_eq!((answer.status, answer.end), (200, End::Dropped));
        assert!(is_never_noted(&mut marks).await, "after {read} pieces");
    }
}

#[actix_web::test]
async fn a_note_that_fails_does_not_break_the_fetch() {
    for failure in [|| Err(unavailable()), || Err(broken())] {
        let (fixture, mut marks) = reading(whole_file(), failure);
        let answer = fixture.app().send(ask()).await;
        assert_eq!((answer.status, answer.end), (200, End::Whole));
        assert_eq!(answer.body, b"0123456789");
        assert!(is_noted(&mut marks).await);
    }
}

#[actix_web::test]
async fn a_store_that_fails_half_way_breaks_the_answer_off() {
    type Failure = fn() -> Error;
    for failure in [unavailable as Failure, || Error::NotFound] {
        let (fixture, mut marks) = reading(vec![Ok(b"01234"), Err(failure())], || Ok(()));
        let answer = fixture.app().send(ask()).await;
        assert_eq!((answer.status, answer.end), (200, End::BrokenOff));
        assert_eq!(answer.body, b"01234");
        assert!(is_never_noted(&mut marks).await);
    }
}

#[actix_web::test]
async fn a_store_that_gives_fewer_or_more_bytes_breaks_the_answer_off() {
    for read in [vec![Ok(&b"01234"[..])], vec![], vec![Ok(b"0123456789X")]] {
        let (fixture, mut marks) = reading(read, || Ok(()));
        let answer = fixture.app().send(ask()).await;
        assert_eq!((answer.status, answer.end), (200, End::BrokenOff));
        assert!(is_never_noted(&mut marks).await);
    }
}

/// A store that answers a file's bytes with its record, and whose other answers are a mock's.
struct Opening {
    bytes: &'static [u8],
    others: MockStorage,
}

#[async_trait]
impl Storage for Opening {
    async fn open(&self, _: WorkspaceId, _: FileId) -> Result<Opened> {
        Ok(Opened {
            upload: upload(),
            bytes: Some(Bytes::from_static(self.bytes)),
        })
    }

    async fn get(&self, workspace: WorkspaceId, file: FileId) -> Result<PendingUpload> {
        self.others.get(workspace, file).await
    }

    async fn read(
        &self,
        workspace: WorkspaceId,
        file: FileId,
        range: ByteRange,
    ) -> Result<ByteStream> {
        self.others.read(workspace, file, range).await
    }

    async fn mark_fetched(&self, workspace: WorkspaceId, file: FileId) -> Result<()> {
        self.others.mark_fetched(workspace, file).await
    }

    async fn begin(&self, workspace: WorkspaceId) -> Result<Box<dyn Batch>> {
        self.others.begin(workspace).await
    }

    async fn ack(&self, workspace: WorkspaceId, file: FileId) -> Result<Acked> {
        self.others.ack(workspace, file).await
    }

    async fn list(
        &self,
        workspace: WorkspaceId,
        after: Option<ListAfter>,
        limit: u32,
    ) -> Result<Vec<PendingUpload>> {
        self.others.list(workspace, after, limit).await
    }

    async fn sweep(&self, policy: &SweepPolicy) -> Result<Swept> {
        self.others.sweep(policy).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.others.stats().await
    }
}

fn opening(bytes: &'static [u8], expect: impl FnOnce(&mut MockStorage)) -> Fixture {
    let mut others = MockStorage::new();
    expect(&mut others);
    let mut fixture = Fixture::new();
    fixture.storage = Some(Arc::new(Opening { bytes, others }));
    fixture
}

#[actix_web::test]
async fn bytes_that_come_with_the_record_are_not_read_again() {
    let (sender, mut marks) = unbounded_channel();
    let fixture = opening(b"0123456789", |others| {
        others.expect_read().never();
        others
            .expect_mark_fetched()
            .times(1)
            .returning(move |_, _| {
                sender.send(()).unwrap();
                Ok(())
            });
    });
    let answer = fixture.app().send(ask()).await;
    assert_eq!((answer.status, answer.end), (200, End::Whole));
    assert_eq!(answer.body, b"0123456789");
    assert!(is_noted(&mut marks).await);
}

#[actix_web::test]
async fn bytes_that_are_not_all_of_the_file_are_not_believed() {
    for bytes in [&b"01234"[..], b"0123456789X", b""] {
        let fixture = opening(bytes, |others| {
            others
                .expect_read()
                .times(1)
                .return_once(|_, _, _| Ok(pieces(whole_file())));
            others.expect_mark_fetched().returning(|_, _| Ok(()));
        });
        let answer = fixture.app().send(ask()).await;
        assert_eq!((answer.status, answer.end), (200, End::Whole));
        assert_eq!(answer.body, b"0123456789");
    }
}

#[actix_web::test]
async fn whoever_may_want_less_than_all_has_only_what_is_sent_loaded() {
    let (tag, other) = (format!("\"{}\"", upload().sha256), "\"other\"");
    let asks = [
        (ask().header("range", "bytes=99-"), 416),
        (ask().header("if-none-match", &tag), 304),
        (ask().header("if-match", other), 412),
        (
            Ask::new(Method::HEAD, &file_path("content")).by(&Agent),
            200,
        ),
    ];
    for (ask, status) in asks {
        // Whoever opened it would be given these bytes, which are another file's.
        let fixture = opening(b"ABCDEFGHIJ", |others| {
            others.expect_get().times(1).returning(|_, _| Ok(upload()));
        });
        assert_eq!(fixture.app().send(ask).await.status, status);
    }
    let asks = [
        (ask().header("range", "bytes=5-"), 206, &b"56789"[..]),
        (ask().header("if-match", &tag), 200, b"0123456789"),
        (ask().header("if-none-match", other), 200, b"0123456789"),
    ];
    for (ask, status, body) in asks {
        let fixture = opening(b"ABCDEFGHIJ", |others| {
            others.expect_get().times(1).returning(|_, _| Ok(upload()));
            others
                .expect_read()
                .times(1)
                .return_once(move |_, _, _| Ok(pieces(vec![Ok(body)])));
            others.expect_mark_fetched().returning(|_, _| Ok(()));
        });
        let answer = fixture.app().send(ask).await;
        assert_eq!((answer.status, answer.body.as_slice()), (status, body));
    }
}
