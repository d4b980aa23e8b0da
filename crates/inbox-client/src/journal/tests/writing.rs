//! The thread that writes: what is answered is durable, and everybody hears of a failure.

use std::task::{Context, Poll, Waker};

use pending_uploads_core::ManualClock;

use super::*;

/// A writer to a disk that is full, with the folder that it writes to.
pub(crate) fn writer_without_room() -> (TempDir, JournalWriter) {
    let state = State::new();
    let writer = JournalWriter::start(state.without_room(), clock()).unwrap();
    (state.folder, writer)
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::starting_at(NOW))
}

#[tokio::test]
async fn what_was_answered_is_in_the_journal() {
    let state = State::new();
    let writer = JournalWriter::start(state.journal(), clock()).unwrap();
    writer
        .write(vec![cursor(1), Entry::Lost(lost(1))])
        .await
        .unwrap();
    assert_eq!(
        state.records(),
        all_told(&[cursor(1), Entry::Lost(lost(1))])
    );
    writer.write(Vec::new()).await.unwrap();
    writer.close().await;
}

#[tokio::test]
async fn when_a_writer_is_closed_everything_is_written_and_the_lock_is_free() {
    let state = State::new();
    let writer = JournalWriter::start(state.journal(), clock()).unwrap();
    let written: Vec<_> = (1..=300).map(|n| Entry::Arrived(arrived(n))).collect();
    let mut asked: Vec<_> = written
        .iter()
        .map(|entry| Box::pin(writer.write(vec![entry.clone()])))
        .collect();
    // Each is asked for, and nobody waits for it.
    for each in &mut asked {
        let polled = each.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending | Poll::Ready(Ok(()))));
    }
    drop(asked);
    writer.close().await;
    let (_journal, records) = state.open().unwrap();
    assert_eq!(records, all_told(&written));
}

#[tokio::test]
async fn closing_waits_for_the_other_writers() {
    let state = State::new();
    let writer = JournalWriter::start(state.journal(), clock()).unwrap();
    let other = writer.clone();
    let mut closing = Box::pin(writer.close());
    let polled = closing
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Pending);
    other.write(vec![cursor(1)]).await.unwrap();
    drop(other);
    closing.await;
    assert_eq!(state.open().unwrap().1, all_told(&[cursor(1)]));
}

#[tokio::test]
async fn everybody_hears_of_a_failure_and_of_its_kind() {
    let state = State::new();
    let writer = JournalWriter::start(state.without_room(), clock()).unwrap();
    let asked = (0..10).map(|seq| writer.write(vec![cursor(seq)]));
    let answers = futures_util::future::join_all(asked).await;
    // There is no room in that device, and nothing can be cut off from it either.
    assert!(answers.iter().all(Result::is_err));
    assert!(
        matches!(&answers[0], Err(WriteError::DiskFull(_))),
        "{answers:?}"
    );
    let later = writer.write(vec![cursor(11)]).await;
    let Err(WriteError::Failed(error)) = later else {
        panic!("{later:?}");
    };
    assert!(matches!(*error, JournalError::Broken));
}

#[tokio::test]
async fn writers_make_the_journal_short_by_themselves() {
    let state = State::new();
    let writer = JournalWriter::start(state.journal(), clock()).unwrap();
    for from in (0..4000).step_by(100) {
        writer
            .write((from..from + 100).map(cursor).collect())
            .await
            .unwrap();
    }
    writer.close().await;
    assert!(state.bytes().len() as u64 <= 2 * WORTHWHILE_BYTES);
    assert_eq!(state.records(), all_told(&[cursor(3999)]));
}
