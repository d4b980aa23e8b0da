//! The space of swept files is given back.

use std::time::Duration;

use pending_uploads_core::{Error, Storage, SweepPolicy};

use crate::support::{KIB, MIB, Platform, close, database_file, inside, length, log_file, noise};

/// How long the database is, in bytes, by its own account; and how much of that is free.
fn pages(platform: &Platform) -> (i64, i64) {
    let connection = inside(platform.database.path());
    let ask = |what| -> i64 {
        connection
            .pragma_query_value(None, what, |row| row.get(0))
            .unwrap()
    };
    let size = ask("page_size");
    (size * ask("page_count"), size * ask("freelist_count"))
}

/// Publishes 50 MB of files that are kept in rows.
async fn fill(platform: &Platform) {
    let workspace = platform.workspace().await;
    for batch in 0..100 {
        for file in 0..5 {
            let data = noise(100_000, batch * 5 + file);
            let upload = platform.publish(workspace, &data).await;
            platform.ack(&[upload]).await;
        }
    }
}

#[tokio::test]
async fn the_database_gives_the_space_of_swept_files_back() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    fill(&platform).await;
    assert!(pages(&platform).0 > 50_000_000);
    assert_eq!(platform.sweep_acked().await.len(), 500);
    let (length, free) = pages(&platform);
    assert!(length < 2_000_000, "{length} bytes, {free} of them free");
}

#[tokio::test]
async fn a_swept_folder_is_small_on_the_disk_when_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    fill(&platform).await;
    platform.sweep_acked().await;
    close(platform).await;
    let on_disk = length(&database_file(folder.path()));
    assert!(on_disk < 2_000_000, "{on_disk} bytes");
}

#[tokio::test]
async fn a_closed_folder_has_everything_in_the_database_and_nothing_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let platform = Platform::open(folder.path()).await;
        let workspace = platform.workspace().await;
        platform.publish(workspace, &noise(50 * KIB, round)).await;
        close(platform).await;
        assert_eq!(length(&log_file(folder.path())), 0, "round {round}");
    }
    assert!(length(&database_file(folder.path())) > MIB as u64);
}

#[tokio::test]
async fn what_was_swept_is_told_also_when_something_else_could_not_be() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let acked = platform.publish(workspace, b"acked").await;
    let expired = platform.publish(workspace, b"expired").await;
    platform.ack(std::slice::from_ref(&acked)).await;
    platform.clock.advance(Duration::from_hours(25));
    let within = inside(folder.path());
    within
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON activity \
             BEGIN SELECT raise(ABORT, 'no more rows'); END",
        )
        .unwrap();
    let policy = SweepPolicy::default();
    let swept = platform.storage.sweep(&policy).await.unwrap();
    let ids: Vec<_> = swept.files.iter().map(|file| file.file_id).collect();
    assert_eq!(ids, [acked.file_id]);
    let failed = platform.storage.sweep(&policy).await;
    assert!(matches!(failed, Err(Error::Backend { .. })), "{failed:?}");
    within.execute_batch("DROP TRIGGER refuse").unwrap();
    let swept = platform.sweep().await;
    assert_eq!(swept.len(), 1);
    assert_eq!(swept[0].file_id, expired.file_id);
}
