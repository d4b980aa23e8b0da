//! Reading a waiting file: ranges, windows, readers that pause.

use futures_util::{StreamExt, TryStreamExt};

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{Error, FileId, PendingUpload, Result, Sha256, Storage, StorageExt};

/// A file that no reader holds in memory at once.
const LARGE: usize = 6 * MIB + 5;

async fn published(subject: &Subject, data: &[u8]) -> PendingUpload {
    let workspace = subject.workspace().await;
    subject.publish(workspace, data).await
}

/// Invariant 8: what is read is what the digest was taken of.
pub async fn what_is_read_has_the_digest_of_the_record(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject, &noise(LARGE, 1)).await;
    let read = subject.bytes(&upload).await;
    assert_eq!(read.len() as u64, upload.size_bytes);
    assert_eq!(Sha256::of(&read), upload.sha256);
}

/// `Storage::read`: repeating it reads the same bytes; a fetch is no ack (invariant 3).
pub async fn a_file_can_be_read_again_and_again(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let data = noise(100_001, 2);
    let upload = published(&subject, &data).await;
    for number in 0..4 {
        let storage = subject.either(number).storage;
        let read = read_all(&*storage, &upload).await.unwrap();
        assert!(read == data);
        let fetched = storage.mark_fetched(upload.workspace_id, upload.file_id);
        fetched.await.unwrap();
    }
    let waiting = subject.waiting(upload.workspace_id).await;
    assert_eq!(waiting, [upload.file_id]);
}

/// `Storage::read`: a range may begin and end anywhere, on and beside the borders of chunks and
/// windows.
pub async fn a_range_is_read_to_the_byte(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let data = noise(3 * MIB + 77, 3);
    let upload = published(&subject, &data).await;
    let end = data.len();
    let mut offsets = vec![0, 1, end - 1, end];
    let borders = [
        8_000,
        64_000,
        64 * 1024,
        128 * 1024,
        512_000,
        MIB,
        2 * MIB,
        3 * MIB,
    ];
    for border in borders {
        offsets.extend([border - 1, border, border + 1]);
    }
    for &start in &offsets {
        for &end in offsets.iter().filter(|end| start < **end) {
            let range = span(start as u64, end as u64);
            let read = subject
                .storage
                .read_range(upload.workspace_id, upload.file_id, range)
                .await
                .unwrap();
            assert!(read == data[start..end], "{start}..{end}");
        }
    }
}

/// `Storage::read`: each single byte of a small file can be read alone.
pub async fn every_byte_can_be_read_alone(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let data = noise(40, 4);
    let upload = published(&subject, &data).await;
    for (offset, byte) in (0..).zip(&data) {
        let range = span(offset, offset + 1);
        let read = subject
            .storage
            .read_range(upload.workspace_id, upload.file_id, range)
            .await;
        assert_eq!(read.unwrap(), [*byte]);
    }
}

/// `Storage::open`: the record as a look-up finds it, and with it either all the bytes or none; the
/// bytes of large files never.
pub async fn an_opened_file_comes_with_all_its_bytes_or_with_none(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let kib = 1024;
    for (number, length) in [
        1,
        1000,
        8_000,
        8_001,
        64_000,
        64_001,
        64 * kib,
        64 * kib + 1,
        100_000,
        128_000,
        128_001,
        128 * kib,
        128 * kib + 1,
        MIB,
    ]
    .into_iter()
    .enumerate()
    {
        let data = noise(length, number as u64);
        let upload = subject.publish(workspace, &data).await;
        let storage = subject.either(number).storage;
        let opened = storage.open(workspace, upload.file_id).await.unwrap();
        assert_eq!(opened.upload, upload);
        if let Some(bytes) = opened.bytes {
            assert!(length <= 128 * kib && bytes == data, "{length}");
        }
    }
}

/// `Storage::open`: those that are opened at once get their own bytes each.
pub async fn files_that_are_opened_at_once_are_not_mixed_up(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut published = Vec::new();
    for number in 0..20_u64 {
        let length = 1 + usize::try_from(number).unwrap() * 6_000;
        let data = noise(length, number);
        published.push((subject.publish(workspace, &data).await, data));
    }
    let opened = at_once(published.iter().enumerate().map(|(number, (upload, _))| {
        let (storage, file) = (subject.either(number).storage, upload.file_id);
        async move { storage.open(workspace, file).await }
    }))
    .await;
    for (opened, (upload, data)) in opened.into_iter().zip(published) {
        let opened = opened.unwrap();
        assert_eq!(opened.upload, upload);
        assert!(opened.bytes.is_none_or(|bytes| bytes == data));
    }
}

/// `Storage::open`: invariant 4 (no byte of an acked file is served), though its record is found; what
/// has expired or is somebody else's is not found.
pub async fn only_the_bytes_of_what_waits_come_with_a_record(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (acked, waiting) = (
        subject.publish(workspace, b"acked").await,
        subject.publish(workspace, b"waiting").await,
    );
    let at = subject.ack(&acked).await.at();
    let opened = subject
        .storage
        .open(workspace, acked.file_id)
        .await
        .unwrap();
    assert_eq!(opened.upload.acked_at, Some(at));
    assert_eq!(opened.bytes, None);
    let others = subject.workspace().await;
    let refused = subject.storage.open(others, waiting.file_id).await;
    assert_error!(refused, Error::NotFound);
    subject.clock.advance(subject.ttl);
    for file in [acked, waiting] {
        let refused = subject.storage.open(workspace, file.file_id).await;
        assert_error!(refused, Error::NotFound);
    }
}

/// `Storage::read`: a range that ends after the file is refused before the first byte, and the
/// refusal names the file's length.
pub async fn a_range_past_the_end_is_refused(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject, b"hello").await;
    for range in [span(0, 6), span(5, 6), span(4, u64::MAX)] {
        let read = subject
            .storage
            .read(upload.workspace_id, upload.file_id, range)
            .await;
        assert_error!(read, Error::RangeNotSatisfiable { size_bytes: 5 });
    }
}

/// `Storage::read`: a file that is not there is said so before the first byte.
pub async fn a_file_that_is_not_there_cannot_be_read(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let read = subject
        .storage
        .read(workspace, FileId::generate(), span(0, 1))
        .await;
    assert_error!(read, Error::NotFound);
}

/// `ByteStream`: the pieces are not empty, and invariant 5: none is larger than about 1 MiB.
pub async fn the_pieces_are_neither_empty_nor_large(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject, &noise(LARGE, 5)).await;
    let whole = upload.whole().unwrap();
    let mut pieces = subject
        .storage
        .read(upload.workspace_id, upload.file_id, whole)
        .await
        .unwrap();
    while let Some(piece) = pieces.try_next().await.unwrap() {
        assert!((1..=2 * MIB).contains(&piece.len()), "{}", piece.len());
    }
}

/// `Storage::read`: the stream owns all that it needs: it outlives the call and its task.
pub async fn a_stream_can_be_read_by_another_task(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject, &noise(LARGE, 6)).await;
    let whole = upload.whole().unwrap();
    let pieces = subject
        .storage
        .read(upload.workspace_id, upload.file_id, whole)
        .await
        .unwrap();
    let read = tokio::spawn(collected(pieces)).await.unwrap();
    assert_eq!(Sha256::of(&read.unwrap()), upload.sha256);
}

/// Invariant 3: a file that is acked while it is read ends the stream with `NotFound` at the next
/// window.
pub async fn an_ack_ends_a_stream_with_an_error(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject, &noise(LARGE, 7)).await;
    assert_stream_ends(&subject, &upload, async || {
        subject.ack(&upload).await;
    })
    .await;
}

/// Invariant 7: a file that expires while it is read ends the stream with `NotFound`.
pub async fn an_expiry_ends_a_stream_with_an_error(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject, &noise(LARGE, 8)).await;
    assert_stream_ends(&subject, &upload, async || {
        subject.clock.advance(subject.ttl);
    })
    .await;
}

/// Invariant 7: a file that is swept while it is read ends the stream with `NotFound`.
pub async fn a_sweep_ends_a_stream_with_an_error(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject, &noise(LARGE, 9)).await;
    assert_stream_ends(&subject, &upload, async || {
        subject.clock.advance(subject.ttl);
        subject.sweep().await;
    })
    .await;
}

/// Reads one piece, lets `end` happen, and reads on: the bytes that come are right, and then comes
/// one error.
async fn assert_stream_ends(subject: &Subject, upload: &PendingUpload, end: impl AsyncFnOnce()) {
    let whole = upload.whole().unwrap();
    let mut pieces = subject
        .storage
        .read(upload.workspace_id, upload.file_id, whole)
        .await
        .unwrap();
    let mut length = pieces.try_next().await.unwrap().unwrap().len();
    end().await;
    let ending = loop {
        match pieces.next().await {
            Some(Ok(piece)) => length += piece.len(),
            ending => break ending,
        }
    };
    assert!(
        matches!(ending, Some(Err(Error::NotFound))),
        "the stream ended with {ending:?}"
    );
    assert!(length < LARGE);
    assert!(pieces.next().await.is_none(), "the first error is the end");
}

/// Invariant 6: readers that have stopped reading hold nothing that others need.
pub async fn readers_that_pause_keep_nobody_waiting(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let data = noise(LARGE, 10);
    let upload = published(&subject, &data).await;
    let mut paused = Vec::new();
    for _ in 0..40 {
        let mut pieces = subject
            .storage
            .read(upload.workspace_id, upload.file_id, upload.whole().unwrap())
            .await
            .unwrap();
        let first = pieces.try_next().await.unwrap().unwrap();
        paused.push((first, pieces));
    }
    let other = published(&subject, b"another").await;
    assert_eq!(subject.bytes(&other).await, b"another");
    subject.ack(&other).await;
    let (first, rest) = paused.pop().unwrap();
    let rest = collected(rest).await.unwrap();
    assert!(data == [&first[..], &rest].concat());
}

/// Invariant 6: uploads that have stopped sending hold nothing that others need.
pub async fn writers_that_pause_keep_nobody_waiting(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut paused = Vec::new();
    for _ in 0..20 {
        let mut batch = subject.batch(workspace).await;
        batch.start_file(named("a"), text_plain()).await.unwrap();
        batch.write(&noise(MIB + MIB / 2, 11)).await.unwrap();
        paused.push(batch);
    }
    let upload = subject.publish(workspace, b"another").await;
    assert_eq!(subject.bytes(&upload).await, b"another");
    let mut batch = paused.pop().unwrap();
    batch.write(b"and on").await.unwrap();
    batch.finish_file().await.unwrap();
    batch.publish().await.unwrap();
    assert_eq!(subject.waiting(workspace).await.len(), 2);
}

/// `Storage::mark_fetched`: stamps the file, and a repeated call moves the stamp on.
pub async fn a_fetch_is_stamped_each_time(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject, b"x").await;
    for _ in 0..2 {
        subject.clock.advance(std::time::Duration::from_secs(5));
        mark_fetched(&subject, &upload).await;
        until("the fetch is stamped", async || {
            fetched_at(&subject, &upload).await == Some(subject.now())
        })
        .await;
    }
}

/// Invariant 3: a fetch that was cut off is not a fetch; only `mark_fetched` stamps.
pub async fn reading_alone_stamps_nothing(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject, b"x").await;
    subject.bytes(&upload).await;
    assert_eq!(fetched_at(&subject, &upload).await, None);
}

/// `Storage::mark_fetched`: leaves an acked file as it is, without an error.
pub async fn a_fetch_of_an_acked_file_is_not_stamped(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject, b"x").await;
    subject.ack(&upload).await;
    mark_fetched(&subject, &upload).await;
    assert_eq!(fetched_at(&subject, &upload).await, None);
}

/// `Storage::mark_fetched`: leaves an expired file as it is, and one that is not there, without an
/// error.
pub async fn a_fetch_of_a_file_that_is_gone_is_no_error(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject, b"x").await;
    subject.clock.advance(subject.ttl);
    mark_fetched(&subject, &upload).await;
    subject.sweep().await;
    mark_fetched(&subject, &upload).await;
}

async fn mark_fetched(subject: &Subject, upload: &PendingUpload) {
    let storage = &subject.storage;
    let marked = storage.mark_fetched(upload.workspace_id, upload.file_id);
    marked.await.unwrap();
}

async fn fetched_at(subject: &Subject, upload: &PendingUpload) -> Option<crate::Timestamp> {
    let storage = &subject.storage;
    let found = storage.get(upload.workspace_id, upload.file_id).await;
    found.unwrap().fetched_at
}

async fn read_all(storage: &dyn Storage, upload: &PendingUpload) -> Result<Vec<u8>> {
    storage
        .read_whole(upload.workspace_id, upload.file_id, u64::MAX)
        .await
}
