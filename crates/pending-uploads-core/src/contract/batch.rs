//! Staging and publishing: invariants 1 (all or nothing) and 8 (integrity).

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{
    Batch, Error, FileId, Mimetype, NewActivity, PendingUpload, Quota, Sha256, StorageExt,
    WorkspaceId,
};

/// Invariant 1: nothing of a batch is visible before its publish, and then all of it is.
pub async fn nothing_is_visible_before_publish(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    let large = add_file(&mut *batch, "large.bin", &noise(3 * MIB, 1)).await;
    let small = add_file(&mut *batch, "small.txt", b"small").await;
    for staged in [large, small] {
        assert_invisible(&subject, workspace, staged.file_id).await;
    }
    assert_eq!(subject.feed(workspace).await, []);
    batch.publish().await.unwrap();
    let files = [large.file_id, small.file_id];
    assert_eq!(subject.waiting(workspace).await, files);
    assert_eq!(subject.feed(workspace).await.len(), 2);
}

async fn assert_invisible(subject: &Subject, workspace: WorkspaceId, file: FileId) {
    let storage = &subject.storage;
    assert_error!(storage.get(workspace, file).await, Error::NotFound);
    assert_error!(
        storage.read(workspace, file, span(0, 1)).await,
        Error::NotFound
    );
    assert_error!(storage.ack(workspace, file).await, Error::NotFound);
    assert_eq!(subject.waiting(workspace).await, []);
}

/// `Batch::publish`: the records come in the order in which the files were started.
pub async fn publish_answers_the_records_in_the_order_of_the_files(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    let mut staged = Vec::new();
    for (number, length) in [2 * MIB + 1, 1, MIB, 70_000, 5].into_iter().enumerate() {
        let name = format!("{number}.bin");
        staged.push(add_file(&mut *batch, &name, &noise(length, 1)).await);
    }
    let published = batch.publish().await.unwrap();
    let seen: Vec<_> = published
        .iter()
        .map(|upload| (upload.file_id, upload.size_bytes, upload.sha256))
        .collect();
    let expected: Vec<_> = staged
        .iter()
        .map(|file| (file.file_id, file.size_bytes, file.sha256))
        .collect();
    assert_eq!(seen, expected);
    let names: Vec<_> = published.iter().map(|u| u.filename.as_str()).collect();
    assert_eq!(names, ["0.bin", "1.bin", "2.bin", "3.bin", "4.bin"]);
}

/// `Batch::publish`: the rows of the feed come in the order in which the files were started.
pub async fn publish_announces_the_files_in_their_order(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let published = subject.publish_many(workspace, 64).await;
    let rows = subject.feed(workspace).await;
    let announced: Vec<_> = rows.iter().map(|row| row.content.clone()).collect();
    let expected: Vec<_> = published.iter().map(NewActivity::announcement).collect();
    assert_eq!(announced, expected);
    assert_eq!(seqs(&rows), dense(64));
}

/// `PendingUpload`: a record carries what was staged, and the time of its publication.
pub async fn a_record_carries_what_was_staged(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    let filename = named("Grüße \u{202e}an 中文.PDF");
    let mimetype = Mimetype::parse("Application/PDF; x=y");
    let file_id = batch
        .start_file(filename.clone(), mimetype.clone())
        .await
        .unwrap();
    batch.write(b"%PDF").await.unwrap();
    batch.finish_file().await.unwrap();
    subject.clock.advance(subject.ttl / 2);
    let published = batch.publish().await.unwrap();
    let expected = PendingUpload {
        file_id,
        workspace_id: workspace,
        filename,
        mimetype,
        size_bytes: 4,
        sha256: Sha256::of(b"%PDF"),
        created_at: subject.now(),
        expires_at: subject.now().saturating_add(subject.ttl),
        fetched_at: None,
        acked_at: None,
    };
    assert_eq!(published, [expected]);
}

/// `Storage::get`: the record is the one that the publish answered, on every instance.
pub async fn get_answers_the_record_that_was_published(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    batch
        .start_file(named("ünnamed"), Mimetype::absent())
        .await
        .unwrap();
    batch.write(b"no type").await.unwrap();
    batch.finish_file().await.unwrap();
    let published = batch.publish().await.unwrap().remove(0);
    for number in 0..2 {
        let storage = subject.either(number).storage;
        let found = storage.get(workspace, published.file_id).await.unwrap();
        assert_eq!(found, published);
    }
}

/// Invariant 8: the digest is taken as the bytes arrive.
pub async fn finish_answers_the_length_and_the_digest(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    let file_id = batch
        .start_file(named("a.txt"), text_plain())
        .await
        .unwrap();
    batch.write(b"hello, ").await.unwrap();
    batch.write(b"world").await.unwrap();
    let staged = batch.finish_file().await.unwrap();
    assert_eq!(staged.file_id, file_id);
    assert_eq!(staged.size_bytes, 12);
    assert_eq!(staged.sha256, Sha256::of(b"hello, world"));
}

/// Invariant 8: a file of many bursts, written in pieces of odd lengths, is stored as it was sent.
pub async fn a_file_of_many_bursts_is_stored_whole(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let data = noise(3 * MIB + 17, 2);
    let mut batch = subject.batch(workspace).await;
    batch
        .start_file(named("a.bin"), text_plain())
        .await
        .unwrap();
    for piece in data.chunks(65_521) {
        batch.write(piece).await.unwrap();
    }
    let staged = batch.finish_file().await.unwrap();
    assert_eq!(staged.sha256, Sha256::of(&data));
    let published = batch.publish().await.unwrap().remove(0);
    assert!(subject.bytes(&published).await == data);
}

/// `Batch::write`: one piece may be larger than everything that a batch collects.
pub async fn a_file_written_in_one_piece_is_stored_whole(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let data = noise(5 * MIB + 1, 3);
    let published = subject.publish(workspace, &data).await;
    assert_eq!(published.sha256, Sha256::of(&data));
    assert!(subject.bytes(&published).await == data);
}

/// `Batch::write`: a parser may hand in views of five bytes, across the border of a burst.
pub async fn a_file_written_five_bytes_at_a_time_is_stored_whole(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let data = noise(MIB + 3, 4);
    let mut batch = subject.batch(workspace).await;
    batch
        .start_file(named("a.bin"), text_plain())
        .await
        .unwrap();
    for piece in data.chunks(5) {
        batch.write(piece).await.unwrap();
    }
    batch.finish_file().await.unwrap();
    let published = batch.publish().await.unwrap().remove(0);
    assert!(subject.bytes(&published).await == data);
}

/// Invariant 8: files whose lengths lie on and beside the borders of chunks and bursts are stored
/// whole, alone in their batch or with others.
pub async fn files_of_border_lengths_are_stored_whole(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    let mut sent = Vec::new();
    for border in [8_000, 64 * 1024, 192_000, MIB, 2 * MIB] {
        for length in [border - 1, border, border + 1] {
            let data = noise(length, length as u64);
            add_file(&mut *batch, "a.bin", &data).await;
            let alone = subject.publish(workspace, &data).await;
            assert!(subject.bytes(&alone).await == data, "alone: {length}");
            sent.push(data);
        }
    }
    let published = batch.publish().await.unwrap();
    for (upload, data) in published.iter().zip(&sent) {
        assert!(subject.bytes(upload).await == *data, "{}", data.len());
    }
}

/// `Batch::write`: a piece of no bytes adds nothing.
pub async fn an_empty_piece_adds_nothing(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    batch
        .start_file(named("a.txt"), text_plain())
        .await
        .unwrap();
    for piece in [&b""[..], b"a", b"", b"b", b""] {
        batch.write(piece).await.unwrap();
    }
    batch.finish_file().await.unwrap();
    let published = batch.publish().await.unwrap().remove(0);
    assert_eq!(subject.bytes(&published).await, b"ab");
}

/// `Storage::begin`: every call opens a batch of its own; two of one workspace do not mix.
pub async fn two_batches_of_one_workspace_do_not_mix(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let data = [noise(2 * MIB, 5), noise(2 * MIB, 6)];
    let mut one = subject.batch(workspace).await;
    let mut two = subject.elsewhere.storage.begin(workspace).await.unwrap();
    one.start_file(named("a"), text_plain()).await.unwrap();
    two.start_file(named("a"), text_plain()).await.unwrap();
    for (left, right) in data[0].chunks(99_991).zip(data[1].chunks(99_991)) {
        one.write(left).await.unwrap();
        two.write(right).await.unwrap();
    }
    one.finish_file().await.unwrap();
    two.finish_file().await.unwrap();
    let second = two.publish().await.unwrap().remove(0);
    let first = one.publish().await.unwrap().remove(0);
    assert_ne!(first.file_id, second.file_id);
    assert!(subject.bytes(&first).await == data[0]);
    assert!(subject.bytes(&second).await == data[1]);
}

/// Invariant 1: of a batch that is dropped, however far it had come, nothing is ever visible.
pub async fn a_batch_dropped_half_way_leaves_nothing_visible(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    for steps in 0..5 {
        let mut batch = subject.batch(workspace).await;
        go_some_steps(&mut *batch, steps).await;
        drop(batch);
        assert_eq!(subject.waiting(workspace).await, [], "after {steps} steps");
        assert_eq!(subject.feed(workspace).await, [], "after {steps} steps");
    }
    let upload = subject.publish(workspace, b"another").await;
    assert_eq!(subject.waiting(workspace).await, [upload.file_id]);
    assert_eq!(seqs(&subject.feed(workspace).await), [1]);
}

async fn go_some_steps(batch: &mut dyn Batch, steps: usize) {
    for step in 0..steps {
        match step {
            0 => drop(batch.start_file(named("a"), text_plain()).await.unwrap()),
            1 => batch.write(&noise(2 * MIB + 9, 7)).await.unwrap(),
            2 => drop(batch.finish_file().await.unwrap()),
            _ => drop(add_file(batch, "b", b"small").await),
        }
    }
}

/// Invariant 1: a batch for a workspace that does not exist is refused, and leaves nothing even
/// when the workspace is registered later.
pub async fn a_batch_for_an_unknown_workspace_is_refused(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = WorkspaceId::generate();
    let mut batch = subject.batch(workspace).await;
    add_file(&mut *batch, "a", &noise(2 * MIB, 9)).await;
    assert_error!(batch.publish().await, Error::UnknownWorkspace);
    subject.register_polling(workspace).await;
    assert_eq!(subject.waiting(workspace).await, []);
    assert_eq!(subject.feed(workspace).await, []);
}

/// Invariant 1: a publish that the quota refuses leaves nothing, neither files nor rows nor bytes
/// nor a gap in the feed.
pub async fn a_refused_publish_leaves_nothing(fixture: &dyn Fixture) {
    let quota = Quota {
        waiting_files: 2,
        ..Quota::default()
    };
    let subject = fixture.subject(Terms::with_quota(quota)).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    for name in ["a", "b", "c"] {
        add_file(&mut *batch, name, &noise(MIB, 10)).await;
    }
    assert_error!(batch.publish().await, Error::QuotaExceeded(_));
    assert_eq!(subject.waiting(workspace).await, []);
    subject.publish(workspace, b"small").await;
    assert_eq!(seqs(&subject.feed(workspace).await), [1]);
    subject.let_leases_run_out();
    subject.nothing_stays_staged().await;
}

/// `StorageExt::stage` and `StorageExt::read_whole`: what goes in comes out.
pub async fn what_was_staged_in_one_call_is_read_in_one_call(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (storage, data) = (&subject.storage, noise(MIB + 1, 11));
    let upload = storage
        .stage(workspace, named("a.bin"), text_plain(), &data)
        .await
        .unwrap();
    let cap = upload.size_bytes;
    let read = storage.read_whole(workspace, upload.file_id, cap).await;
    assert!(read.unwrap() == data);
    let read = storage.read_whole(workspace, upload.file_id, cap - 1).await;
    assert_error!(read, Error::TooLarge { .. });
}
