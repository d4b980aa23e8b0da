//! The order in which a batch's methods are called, and what breaks it.

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{Batch, BatchMisuse, Error};

async fn fresh_batch(subject: &Subject) -> Box<dyn Batch> {
    let workspace = subject.workspace().await;
    subject.batch(workspace).await
}

/// `Batch::write`: needs an open file.
pub async fn bytes_without_an_open_file_are_refused(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let mut batch = fresh_batch(&subject).await;
    assert_error!(
        batch.write(b"x").await,
        Error::BatchMisused(BatchMisuse::NoFileOpen)
    );
}

/// `Batch::write`: needs an open file after an earlier one was finished, too.
pub async fn bytes_after_the_end_of_a_file_are_refused(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let mut batch = fresh_batch(&subject).await;
    add_file(&mut *batch, "a", b"a").await;
    assert_error!(
        batch.write(b"x").await,
        Error::BatchMisused(BatchMisuse::NoFileOpen)
    );
}

/// `Batch::finish_file`: needs an open file.
pub async fn an_end_without_an_open_file_is_refused(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let mut batch = fresh_batch(&subject).await;
    assert_error!(
        batch.finish_file().await,
        Error::BatchMisused(BatchMisuse::NoFileOpen)
    );
}

/// `Batch::start_file`: one file at a time.
pub async fn a_file_while_another_is_open_is_refused(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let mut batch = fresh_batch(&subject).await;
    batch.start_file(named("a"), text_plain()).await.unwrap();
    assert_error!(
        batch.start_file(named("b"), text_plain()).await,
        Error::BatchMisused(BatchMisuse::FileStillOpen)
    );
}

/// `Batch::publish`: not while a file is open; invariant 1.
pub async fn a_publish_while_a_file_is_open_is_refused(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    add_file(&mut *batch, "a", b"a").await;
    batch.start_file(named("b"), text_plain()).await.unwrap();
    batch.write(b"b").await.unwrap();
    assert_error!(
        batch.publish().await,
        Error::BatchMisused(BatchMisuse::FileStillOpen)
    );
    assert_eq!(subject.waiting(workspace).await, []);
}

/// `Batch::publish`: not without a file.
pub async fn a_publish_of_no_files_is_refused(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let batch = fresh_batch(&subject).await;
    assert_error!(
        batch.publish().await,
        Error::BatchMisused(BatchMisuse::NoFiles)
    );
}

/// `Batch::finish_file`: a file of no bytes is refused by its name.
pub async fn an_empty_file_is_refused_by_its_name(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let mut batch = fresh_batch(&subject).await;
    batch
        .start_file(named("hollow.txt"), text_plain())
        .await
        .unwrap();
    batch.write(b"").await.unwrap();
    match batch.finish_file().await {
        Err(Error::EmptyFile { filename }) => assert_eq!(filename, named("hollow.txt")),
        other => panic!("expected EmptyFile, got {other:?}"),
    }
}

/// Invariant 1: an empty file takes the other files of its batch with it.
pub async fn an_empty_file_breaks_its_batch(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    add_file(&mut *batch, "full", b"full").await;
    batch.start_file(named("e"), text_plain()).await.unwrap();
    assert_error!(batch.finish_file().await, Error::EmptyFile { .. });
    assert_error!(
        batch.publish().await,
        Error::BatchMisused(BatchMisuse::Broken)
    );
    assert_eq!(subject.waiting(workspace).await, []);
    assert_eq!(subject.feed(workspace).await, []);
}

/// `Batch`: after an error every further call answers that the batch is broken.
pub async fn a_batch_stays_broken_after_an_error(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let mut batch = fresh_batch(&subject).await;
    add_file(&mut *batch, "a", b"a").await;
    batch.write(b"misused").await.unwrap_err();
    for _ in 0..2 {
        assert_error!(
            batch.start_file(named("b"), text_plain()).await,
            Error::BatchMisused(BatchMisuse::Broken)
        );
        assert_error!(
            batch.write(b"x").await,
            Error::BatchMisused(BatchMisuse::Broken)
        );
        assert_error!(
            batch.finish_file().await,
            Error::BatchMisused(BatchMisuse::Broken)
        );
    }
    assert_error!(
        batch.publish().await,
        Error::BatchMisused(BatchMisuse::Broken)
    );
}
