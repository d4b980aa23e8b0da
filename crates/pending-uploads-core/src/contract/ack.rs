//! Taking a workspace's word that it has a file: invariant 3 (handed over once).

use std::time::Duration;

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{Acked, CheckedAck, Error, FileId, PendingUpload, Sha256};

async fn published(subject: &Subject) -> PendingUpload {
    let workspace = subject.workspace().await;
    subject.publish(workspace, b"hello").await
}

/// Invariant 3: the first ack is the first, and its time is now.
pub async fn the_first_ack_is_told_its_time(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject).await;
    subject.clock.advance(Duration::from_secs(7));
    let acked = subject.ack(&upload).await;
    assert_eq!(acked, Acked::First { at: subject.now() });
}

/// Invariant 3: an ack can be repeated, anywhere, and the first one's time never moves.
pub async fn a_repeated_ack_keeps_the_first_time(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject).await;
    let at = subject.ack(&upload).await.at();
    for number in 0..4 {
        subject.clock.advance(Duration::from_mins(1));
        let storage = subject.either(number).storage;
        let again = storage.ack(upload.workspace_id, upload.file_id).await;
        assert_eq!(again.unwrap(), Acked::Again { at });
    }
    let found = subject.storage.get(upload.workspace_id, upload.file_id);
    assert_eq!(found.await.unwrap().acked_at, Some(at));
}

/// `Storage::get`: an acked file is found until it is swept, and only its ack has changed.
pub async fn an_acked_file_is_found_until_it_is_swept(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject).await;
    let acked_at = Some(subject.ack(&upload).await.at());
    let found = subject.storage.get(upload.workspace_id, upload.file_id);
    assert_eq!(found.await.unwrap(), PendingUpload { acked_at, ..upload });
}

/// Invariant 3: the bytes of an acked file are never served again, on any instance.
pub async fn the_bytes_of_an_acked_file_are_never_served(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject).await;
    subject.ack(&upload).await;
    for number in 0..2 {
        let storage = subject.either(number).storage;
        let read = storage.read(upload.workspace_id, upload.file_id, span(0, 5));
        assert_error!(read.await, Error::NotFound);
    }
}

/// Invariant 3: a stream that was opened before the ack gives nothing that it had not read before
/// it.
pub async fn a_stream_opened_before_the_ack_ends_with_an_error(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let upload = subject.publish(workspace, &noise(6 * MIB, 1)).await;
    let whole = upload.whole().unwrap();
    let pieces = subject.storage.read(workspace, upload.file_id, whole);
    let pieces = pieces.await.unwrap();
    subject.ack(&upload).await;
    assert_error!(collected(pieces).await, Error::NotFound);
}

/// `Storage::ack_checked`: the file's own digest, or none, acks it, and the record comes along.
pub async fn a_checked_ack_answers_the_record(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    for claims in [true, false] {
        let upload = published(&subject).await;
        let claimed = claims.then_some(upload.sha256);
        let (workspace, file) = (upload.workspace_id, upload.file_id);
        subject.clock.advance(Duration::from_secs(7));
        let acked = subject.storage.ack_checked(workspace, file, claimed).await;
        let at = subject.now();
        let first = PendingUpload {
            acked_at: Some(at),
            ..upload
        };
        assert_eq!(acked.unwrap(), CheckedAck::First(first.clone()));
        assert_eq!(subject.storage.get(workspace, file).await.unwrap(), first);
        subject.clock.advance(Duration::from_secs(7));
        for number in 0..2 {
            let storage = subject.either(number).storage;
            let again = storage.ack_checked(workspace, file, claimed).await;
            assert_eq!(again.unwrap(), CheckedAck::Again { at });
        }
    }
}

/// `Storage::ack_checked`: another digest acks nothing, and changes nothing of what was acked.
pub async fn another_digest_acks_nothing(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject).await;
    let (workspace, file) = (upload.workspace_id, upload.file_id);
    let other = Some(Sha256::of(b"something else"));
    let acked = subject.storage.ack_checked(workspace, file, other).await;
    assert_eq!(acked.unwrap(), CheckedAck::Mismatch);
    assert_eq!(subject.waiting(workspace).await, [file]);
    let at = subject.ack(&upload).await.at();
    subject.clock.advance(Duration::from_secs(7));
    let acked = subject.storage.ack_checked(workspace, file, other).await;
    assert_eq!(acked.unwrap(), CheckedAck::Mismatch);
    assert_eq!(subject.ack(&upload).await, Acked::Again { at });
}

/// `Storage::ack_checked`: of those that arrive at once, whatever they claim, one is the first.
pub async fn of_many_checked_acks_at_once_one_is_the_first(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    for _ in 0..5 {
        let upload = subject.publish(workspace, b"hello").await;
        let claims = [None, Some(upload.sha256), Some(Sha256::of(b"other"))];
        let file = upload.file_id;
        let acks = at_once((0..15).map(|number| {
            let (storage, claimed) = (subject.either(number).storage, claims[number % 3]);
            async move { storage.ack_checked(workspace, file, claimed).await.unwrap() }
        }))
        .await;
        let count = |wanted: fn(&CheckedAck) -> bool| acks.iter().filter(|ack| wanted(ack)).count();
        assert_eq!(count(|ack| matches!(ack, CheckedAck::First(_))), 1);
        assert_eq!(count(|ack| matches!(ack, CheckedAck::Again { .. })), 9);
        assert_eq!(count(|ack| *ack == CheckedAck::Mismatch), 5);
    }
}

/// `Storage::ack_checked`: of files that are acked at once each is held to the digest that was claimed
/// for it.
pub async fn files_that_are_acked_at_once_are_held_to_their_own_digests(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let uploads = subject.publish_many(workspace, 30).await;
    let acks = at_once(uploads.iter().enumerate().map(|(number, upload)| {
        let neighbour = &uploads[(number + 1) % uploads.len()];
        let claimed = [None, Some(upload.sha256), Some(neighbour.sha256)][number % 3];
        let (storage, file) = (subject.either(number).storage, upload.file_id);
        async move { storage.ack_checked(workspace, file, claimed).await.unwrap() }
    }))
    .await;
    for (number, ack) in acks.iter().enumerate() {
        let is_first =
            matches!(ack, CheckedAck::First(upload) if upload.file_id == uploads[number].file_id);
        assert_eq!(is_first, number % 3 != 2, "{number}: {ack:?}");
        assert_eq!(
            *ack == CheckedAck::Mismatch,
            number % 3 == 2,
            "{number}: {ack:?}"
        );
    }
    let refused: Vec<_> = uploads
        .iter()
        .skip(2)
        .step_by(3)
        .map(|upload| upload.file_id)
        .collect();
    assert_eq!(subject.waiting(workspace).await, refused);
}

/// `Storage::ack_checked`: what is not there, is another's, or has expired is not found, whatever is
/// claimed.
pub async fn only_a_file_of_ones_own_can_be_acked_with_a_digest(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject).await;
    let others = subject.workspace().await;
    let (workspace, file) = (upload.workspace_id, upload.file_id);
    for claimed in [None, Some(upload.sha256), Some(Sha256::of(b"other"))] {
        for (workspace, file) in [(others, file), (workspace, FileId::generate())] {
            let acked = subject.storage.ack_checked(workspace, file, claimed).await;
            assert_error!(acked, Error::NotFound);
        }
    }
    assert_eq!(subject.waiting(workspace).await, [file]);
    subject.clock.advance(subject.ttl);
    for claimed in [None, Some(upload.sha256), Some(Sha256::of(b"other"))] {
        let acked = subject.storage.ack_checked(workspace, file, claimed).await;
        assert_error!(acked, Error::NotFound);
    }
}

/// `Storage::ack`: touches that one file; the others of its batch wait on.
pub async fn an_ack_touches_one_file_alone(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let uploads = subject.publish_many(workspace, 3).await;
    subject.ack(&uploads[1]).await;
    let left = [uploads[0].file_id, uploads[2].file_id];
    assert_eq!(subject.waiting(workspace).await, left);
    assert_eq!(subject.bytes(&uploads[0]).await, b"0.txt");
}

/// `Storage::ack`: an ack writes no row into the feed.
pub async fn an_ack_is_not_in_the_feed(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject).await;
    subject.ack(&upload).await;
    assert_eq!(subject.feed(upload.workspace_id).await.len(), 1);
}

/// `Storage::ack`: a file that never was cannot be acked.
pub async fn a_file_that_is_not_there_cannot_be_acked(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let acked = subject.storage.ack(workspace, FileId::generate()).await;
    assert_error!(acked, Error::NotFound);
}

/// `Storage::ack`: a file that was swept after its ack cannot be acked again.
pub async fn a_swept_file_cannot_be_acked(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let upload = published(&subject).await;
    subject.ack(&upload).await;
    subject.clock.advance(subject.ttl / 2);
    subject.sweep().await;
    let acked = subject.storage.ack(upload.workspace_id, upload.file_id);
    assert_error!(acked.await, Error::NotFound);
}
