//! Small files are in rows or in bundles, large ones in files of their own, and a batch keeps little
//! in memory.

use std::collections::BTreeSet;

use pending_uploads_core::{Mimetype, Storage};

use crate::support::{
    KIB, MIB, Platform, bytes_file, inside, length, name, names, noise, placed_in_files, placement,
};

/// The largest file that is kept in a row.
const ROW: usize = 128 * KIB;
/// How much of small files a batch may keep in memory.
const MEMORY: usize = MIB;

#[tokio::test]
async fn files_of_up_to_128_kib_that_are_alone_are_in_rows_and_larger_ones_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    for (size, place) in [(1, "row"), (ROW, "row"), (ROW + 1, "file"), (MIB, "file")] {
        let data = noise(size, 1);
        let upload = platform.publish(workspace, &data).await;
        assert_eq!(placement(folder.path(), upload.file_id), place, "{size}");
        let beside = length(&bytes_file(folder.path(), upload.file_id));
        let expected = if place == "file" { size as u64 } else { 0 };
        assert_eq!(beside, expected, "{size}");
        assert!(platform.bytes(&upload).await.unwrap() == data, "{size}");
    }
    let rows: i64 = inside(folder.path())
        .query_row("SELECT count(*) FROM pending_upload_bytes", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn a_file_that_grows_past_the_border_moves_to_the_disk_whole() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let data = noise(ROW + 5, 1);
    let mut batch = platform.storage.begin(workspace).await.unwrap();
    batch.start_file(name(), Mimetype::absent()).await.unwrap();
    for piece in data.chunks(1000) {
        batch.write(piece).await.unwrap();
    }
    batch.finish_file().await.unwrap();
    let upload = batch.publish().await.unwrap().remove(0);
    assert_eq!(placement(folder.path(), upload.file_id), "file");
    assert!(platform.bytes(&upload).await.unwrap() == data);
}

#[tokio::test]
async fn a_batch_of_many_small_files_keeps_some_in_memory_and_puts_the_rest_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let files: Vec<_> = (0..40).map(|seed| noise(100 * KIB, seed)).collect();
    let uploads = platform.publish_all(workspace, &files).await;
    let in_bundle: u64 = uploads
        .iter()
        .filter(|upload| placement(folder.path(), upload.file_id) == "bundle")
        .map(|upload| upload.size_bytes)
        .sum();
    assert!(
        (1..=MEMORY as u64).contains(&in_bundle),
        "{in_bundle} bytes"
    );
    assert_eq!(names(folder.path()), placed_in_files(folder.path()));
    for (upload, data) in uploads.iter().zip(&files) {
        assert!(platform.bytes(upload).await.unwrap() == *data);
    }
}

#[tokio::test]
async fn nothing_small_is_on_the_disk_before_its_publish() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let mut batch = platform.storage.begin(workspace).await.unwrap();
    for seed in 0..4 {
        batch.start_file(name(), Mimetype::absent()).await.unwrap();
        batch.write(&noise(ROW, seed)).await.unwrap();
        batch.finish_file().await.unwrap();
    }
    assert_eq!(names(folder.path()), BTreeSet::new());
    let rows: i64 = inside(folder.path())
        .query_row("SELECT count(*) FROM pending_upload_bytes", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(rows, 0);
    assert_eq!(batch.publish().await.unwrap().len(), 4);
    // All four in one.
    assert_eq!(names(folder.path()).len(), 1);
}
