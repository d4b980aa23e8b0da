//! What is written when the disk may have lost something: nothing, until all of it is there again.

use super::*;

#[tokio::test]
async fn after_a_commit_that_failed_the_log_is_begun_anew_before_anything_is_promised() {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = in_folder(folder.path());
    let commits = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&commits);
    let second = move || counter.fetch_add(1, Ordering::SeqCst) == 1;
    connection.commit_hook(Some(second)).unwrap();
    let reader = Connection::open(folder.path().join("t.sqlite3")).unwrap();
    let writer = start(connection);
    writer
        .write(Promise::BestEffort, insert_of(1, 100_000))
        .await
        .unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    let failed = writer.write(Promise::Durable, insert(2)).await;
    assert!(matches!(failed, Err(SqliteError::Commit(..))), "{failed:?}");

    // As long as somebody reads an older state the log cannot begin anew.
    let copied = folder.path().join("t.sqlite3-wal");
    let refused = writer.write(Promise::Durable, insert(3)).await;
    assert!(
        matches!(refused, Err(SqliteError::Undone(..))),
        "{refused:?}"
    );
    assert!(copied.metadata().unwrap().len() > 100_000);
    reader.execute_batch("COMMIT").unwrap();
    writer.write(Promise::Durable, insert(4)).await.unwrap();
    assert!(copied.metadata().unwrap().len() < 100_000);
    assert_eq!(numbers(&writer).await, [1, 4]);
}

#[tokio::test]
async fn nothing_is_written_or_copied_after_the_database_could_not_be_synced() {
    let folder = tempfile::tempdir().unwrap();
    let place = tempfile::tempdir().unwrap();
    let (own, doubt) = (Folder::open(place.path()).unwrap(), Doubt::default());
    let (ended, mut ending) = tokio::sync::watch::channel(());
    let connection = in_folder(folder.path());
    let writer =
        Writer::start_with(connection, Arc::new(own), (place, ended), doubt.clone()).unwrap();
    writer.write(Promise::Durable, insert(1)).await.unwrap();
    let failed_sync = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    doubt.note(&rusqlite::Error::SqliteFailure(failed_sync, None));
    let refused = writer.write(Promise::Durable, insert(2)).await;
    let refused = Error::from(refused.unwrap_err());
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    drop(writer);
    while ending.changed().await.is_ok() {}
    let log = folder.path().join("t.sqlite3-wal");
    assert!(log.metadata().unwrap().len() > 0, "the log has all of it");
    let again = start(Connection::open(folder.path().join("t.sqlite3")).unwrap());
    again.write(Promise::Durable, insert(3)).await.unwrap();
    assert_eq!(numbers(&again).await, [1, 3]);
}
