//! Small files that are published together lie in one file, and leave it one by one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use pending_uploads_core::{ByteRange, Error, FileId, PendingUpload, Storage, StorageConfig};

use crate::support::{KIB, Platform, bytes_file, close, inside, names, noise, placement};

const SIZES: [usize; 6] = [KIB, 90 * KIB, 128 * KIB, 15 * KIB, 20_001, 110 * KIB];

async fn publish_some(platform: &Platform) -> (Vec<PendingUpload>, Vec<Vec<u8>>) {
    let workspace = platform.workspace().await;
    let files: Vec<_> = SIZES
        .into_iter()
        .zip(1..)
        .map(|(size, seed)| noise(size, seed))
        .collect();
    (platform.publish_all(workspace, &files).await, files)
}

/// How many bundles there are, by the database.
pub(crate) fn bundles_in(folder: &Path) -> i64 {
    let count = "SELECT count(*) FROM bundles";
    inside(folder)
        .query_row(count, [], |row| row.get(0))
        .unwrap()
}

/// The one file that there is beside the database.
fn bundle_file(folder: &Path) -> PathBuf {
    let mut names = names(folder);
    let bundle = names.pop_first().unwrap();
    assert_eq!(names, BTreeSet::new());
    folder.join("files").join(bundle)
}

#[tokio::test]
async fn of_files_that_make_a_bundle_those_under_16_kib_stay_in_rows() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let (uploads, _) = publish_some(&platform).await;
    let placed = uploads
        .iter()
        .map(|upload| placement(folder.path(), upload.file_id));
    let placed: Vec<_> = placed.collect();
    assert_eq!(
        placed,
        ["row", "bundle", "bundle", "row", "bundle", "bundle"]
    );
    assert_eq!(names(folder.path()).len(), 1);
    assert_eq!(bundles_in(folder.path()), 1);
}

#[tokio::test]
async fn what_lies_in_a_bundle_is_opened_and_read_as_any_other_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let (uploads, files) = publish_some(&platform).await;
    for (upload, data) in uploads.iter().zip(&files) {
        let (workspace, file) = (upload.workspace_id, upload.file_id);
        assert!(platform.bytes(upload).await.unwrap() == *data);
        let opened = platform.storage.open(workspace, file).await.unwrap();
        assert!(opened.bytes.unwrap() == *data);
        let last = ByteRange::new(upload.size_bytes - 700, upload.size_bytes).unwrap();
        let read = platform.storage.read(workspace, file, last).await.unwrap();
        let pieces: Vec<_> = read.try_collect().await.unwrap();
        assert!(pieces.concat() == data[data.len() - 700..]);
    }
}

#[tokio::test]
async fn a_folder_that_is_opened_again_has_its_bundles_and_none_that_a_crash_left() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let (uploads, files) = publish_some(&platform).await;
    close(platform).await;
    let left = bytes_file(folder.path(), FileId::generate());
    fs::write(&left, noise(400 * KIB, 1)).unwrap();
    // The bytes of this one are in the bundle, and not in a file of its name.
    fs::write(bytes_file(folder.path(), uploads[1].file_id), b"left").unwrap();

    let platform = Platform::open(folder.path()).await;
    assert_eq!(names(folder.path()).len(), 1);
    for (upload, data) in uploads.iter().zip(&files) {
        assert!(platform.bytes(upload).await.unwrap() == *data);
    }
}

#[tokio::test]
async fn a_file_that_is_swept_leaves_its_bundle_to_the_others_until_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let (uploads, files) = publish_some(&platform).await;
    let bundle = bundle_file(folder.path());
    let whole = on_disk(&bundle);
    let (first, rest) = uploads.split_at(3);
    platform.ack(first).await;
    assert_eq!(platform.sweep_acked().await.len(), 3);
    let gone = 90 * KIB + 128 * KIB;
    let left = on_disk(&bundle);
    // Elsewhere all of the room is given back with the last file.
    if cfg!(target_os = "linux") {
        assert!(left + gone as u64 <= whole, "{left} of {whole} bytes");
    }
    for (upload, data) in rest.iter().zip(&files[3..]) {
        assert!(platform.bytes(upload).await.unwrap() == *data);
    }
    for upload in first {
        let read = platform.bytes(upload).await;
        assert!(matches!(read, Err(Error::NotFound)), "{read:?}");
    }

    platform.ack(rest).await;
    assert_eq!(platform.sweep_acked().await.len(), 3);
    assert_eq!(names(folder.path()), BTreeSet::new());
    assert_eq!(bundles_in(folder.path()), 0);
}

/// How much room a file takes, in bytes.
fn on_disk(file: &Path) -> u64 {
    file.metadata().unwrap().blocks() * 512
}

#[tokio::test]
async fn a_bundle_whose_files_have_all_expired_is_deleted_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let (uploads, _) = publish_some(&platform).await;
    platform.clock.advance(StorageConfig::default().ttl);
    assert_eq!(platform.sweep().await.len(), uploads.len());
    assert_eq!(names(folder.path()), BTreeSet::new());
    assert_eq!(bundles_in(folder.path()), 0);
}

#[tokio::test]
async fn a_bundle_that_cannot_be_made_leaves_its_files_in_rows() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    fs::remove_dir(folder.path().join("files")).unwrap();
    let (uploads, files) = publish_some(&platform).await;
    for (upload, data) in uploads.iter().zip(&files) {
        assert_eq!(placement(folder.path(), upload.file_id), "row");
        assert!(platform.bytes(upload).await.unwrap() == *data);
    }
    assert_eq!(bundles_in(folder.path()), 0);
}

#[tokio::test]
async fn zeros_in_the_place_of_a_file_are_damage_unless_they_are_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let files = [
        vec![0; 100_000],
        noise(100_000, 1),
        noise(100_000, 2),
        noise(100_000, 3),
    ];
    let uploads = platform.publish_all(workspace, &files).await;
    let bundle = bundle_file(folder.path());
    let length = bundle.metadata().unwrap().len();
    fs::write(&bundle, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let open = async |upload: &PendingUpload| {
        let (workspace, file) = (upload.workspace_id, upload.file_id);
        platform.storage.open(workspace, file).await
    };
    assert!(open(&uploads[0]).await.unwrap().bytes.unwrap() == files[0]);
    let opened = open(&uploads[1]).await;
    assert!(matches!(opened, Err(Error::Integrity { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_bundle_that_is_gone_is_damage_and_its_files_can_be_swept() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let (uploads, _) = publish_some(&platform).await;
    fs::remove_file(bundle_file(folder.path())).unwrap();
    let read = platform.bytes(&uploads[1]).await;
    assert!(matches!(read, Err(Error::Integrity { .. })), "{read:?}");
    // Its record is lost, too.
    inside(folder.path())
        .execute("DELETE FROM bundles", [])
        .unwrap();
    platform.ack(&uploads).await;
    assert_eq!(platform.sweep_acked().await.len(), uploads.len());
}
