//! Files that cut-off uploads left, and those that are nobody's business.

use std::collections::BTreeSet;
use std::fs;

use pending_uploads_core::{FileId, Mimetype, Storage, SweepPolicy, SweepReason};

use crate::support::{
    KIB, MIB, Platform, bytes_file, close, name, names, noise, placed_in_files, until,
};

#[tokio::test]
async fn what_a_cut_off_upload_left_is_deleted_when_the_folder_is_next_opened() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let kept = platform.publish(workspace, &noise(300 * KIB, 1)).await;
    close(platform).await;
    let left = bytes_file(folder.path(), FileId::generate());
    fs::write(&left, b"left").unwrap();
    let platform = Platform::open(folder.path()).await;
    assert!(!left.exists());
    assert_eq!(platform.bytes(&kept).await.unwrap(), noise(300 * KIB, 1));
}

#[tokio::test]
async fn a_file_whose_bytes_are_in_a_row_needs_none_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let small = platform.publish(workspace, b"small").await;
    close(platform).await;
    fs::write(bytes_file(folder.path(), small.file_id), b"left").unwrap();
    let platform = Platform::open(folder.path()).await;
    assert_eq!(names(folder.path()), BTreeSet::new());
    assert_eq!(platform.bytes(&small).await.unwrap(), b"small");
}

#[tokio::test]
async fn what_is_not_named_as_our_files_are_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    close(Platform::open(folder.path()).await).await;
    let foreign = [
        "notes.txt",
        ".nfs0001",
        "0190f5fe-7c00-7a00-8000-0123456789ab.part",
        "0190F5FE-7C00-7A00-8000-0123456789AC",
        "0190f5fe7c007a0080000123456789ad",
        "{0190f5fe-7c00-7a00-8000-0123456789ae}",
    ];
    for name in foreign {
        fs::write(folder.path().join("files").join(name), b"mine").unwrap();
    }
    let directory = bytes_file(folder.path(), FileId::generate());
    fs::create_dir(&directory).unwrap();
    close(Platform::open(folder.path()).await).await;
    fs::remove_dir(&directory).unwrap();
    assert_eq!(names(folder.path()), foreign.map(str::to_owned).into());
}

#[tokio::test]
async fn swept_files_are_gone_from_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let files: Vec<_> = (0..3).map(|seed| noise(300 * KIB, seed)).collect();
    let acked = platform.publish_all(workspace, &files).await;
    let kept = platform.publish(workspace, &noise(300 * KIB, 9)).await;
    platform.ack(&acked).await;
    let swept = platform.sweep_acked().await;
    assert_eq!(swept.len(), 3);
    assert!(swept.iter().all(|file| file.reason == SweepReason::Acked));
    assert_eq!(names(folder.path()), [kept.file_id.to_string()].into());
    platform
        .clock
        .advance(pending_uploads_sqlite::StorageConfig::default().ttl);
    assert_eq!(platform.sweep().await.len(), 1);
    assert_eq!(names(folder.path()), BTreeSet::new());
}

#[tokio::test]
async fn a_dropped_batch_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let mut batch = platform.storage.begin(workspace).await.unwrap();
    batch.start_file(name(), Mimetype::absent()).await.unwrap();
    batch.write(&noise(2 * MIB, 1)).await.unwrap();
    batch.finish_file().await.unwrap();
    batch.start_file(name(), Mimetype::absent()).await.unwrap();
    batch.write(&noise(2 * MIB, 2)).await.unwrap();
    assert_eq!(names(folder.path()).len(), 2);
    drop(batch);
    until("no file is left", async || names(folder.path()).is_empty()).await;
}

/// The file may be made by one thread while another one already deletes what the batch left.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_that_is_dropped_while_it_makes_its_file_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let data = noise(300 * KIB, 1);
    for _ in 0..2_000 {
        let mut batch = platform.storage.begin(workspace).await.unwrap();
        batch.start_file(name(), Mimetype::absent()).await.unwrap();
        // Polled once, it has just asked for the file to be made.
        drop(futures_util::future::poll_immediate(batch.write(&data)).await);
        drop(batch);
    }
    close(platform).await;
    assert_eq!(names(folder.path()), BTreeSet::new());
}

#[tokio::test]
async fn a_refused_publish_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let nobody = pending_uploads_core::WorkspaceId::generate();
    let mut batch = platform.storage.begin(nobody).await.unwrap();
    batch.start_file(name(), Mimetype::absent()).await.unwrap();
    batch.write(&noise(300 * KIB, 1)).await.unwrap();
    batch.finish_file().await.unwrap();
    assert!(batch.publish().await.is_err());
    assert_eq!(names(folder.path()), BTreeSet::new());
    assert_eq!(placed_in_files(folder.path()), BTreeSet::new());
}

#[tokio::test]
async fn an_abandoned_batch_is_swept_off_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let mut batch = platform.storage.begin(workspace).await.unwrap();
    batch.start_file(name(), Mimetype::absent()).await.unwrap();
    batch.write(&noise(2 * MIB, 1)).await.unwrap();
    platform.clock.advance(SweepPolicy::default().staging_lease);
    let swept = platform.sweep().await;
    assert_eq!(swept.len(), 1);
    assert_eq!(swept[0].reason, SweepReason::Abandoned);
    assert_eq!(names(folder.path()), BTreeSet::new());
    assert!(batch.write(&noise(2 * MIB, 2)).await.is_err());
    drop(batch);
    close(platform).await;
    assert_eq!(names(folder.path()), BTreeSet::new());
}
