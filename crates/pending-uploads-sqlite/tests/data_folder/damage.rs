//! Bytes that are missing are said to be: a file is never handed over short.

use std::fs::{self, OpenOptions};

use futures_util::TryStreamExt;
use pending_uploads_core::{Error, PendingUpload, Storage};

use crate::support::{KIB, MIB, Platform, bytes_file, inside, names, noise};

/// Reads a file to its end or its error; answers how many bytes came before that.
async fn read(platform: &Platform, upload: &PendingUpload) -> (usize, Option<Error>) {
    let whole = upload.whole().unwrap();
    let opened = platform
        .storage
        .read(upload.workspace_id, upload.file_id, whole);
    let mut pieces = match opened.await {
        Ok(pieces) => pieces,
        Err(error) => return (0, Some(error)),
    };
    let mut count = 0;
    loop {
        match pieces.try_next().await {
            Ok(Some(piece)) => count += piece.len(),
            Ok(None) => return (count, None),
            Err(error) => return (count, Some(error)),
        }
    }
}

#[tokio::test]
async fn what_lies_in_a_row_comes_with_the_record_unless_it_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let database = rusqlite::Connection::open(folder.path().join("pending-uploads.sqlite3"));
    let database = database.unwrap();
    let most = 128 * KIB;
    for length in [1, most / 2 + 1, most, most + 1] {
        let upload = platform.publish(workspace, &noise(length, 1)).await;
        let open = async || {
            let opened = platform.storage.open(workspace, upload.file_id).await;
            opened.unwrap().bytes.map(|bytes| bytes.len())
        };
        assert_eq!(open().await, (length <= most).then_some(length));
        database
            .execute("DELETE FROM pending_upload_bytes", [])
            .unwrap();
        assert_eq!(open().await, None);
    }
}

#[tokio::test]
async fn a_row_whose_file_is_missing_is_an_integrity_error() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let upload = platform.publish(workspace, &noise(300 * KIB, 1)).await;
    fs::remove_file(bytes_file(folder.path(), upload.file_id)).unwrap();
    let (count, error) = read(&platform, &upload).await;
    assert_eq!(count, 0);
    assert!(matches!(error, Some(Error::Integrity { .. })), "{error:?}");
}

#[tokio::test]
async fn a_truncated_file_is_an_integrity_error_wherever_it_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let upload = platform.publish(workspace, &noise(2 * MIB, 1)).await;
    let path = bytes_file(folder.path(), upload.file_id);
    for cut in [2 * MIB - 1, MIB + 1, MIB, 512 * KIB, 1, 0] {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(cut as u64).unwrap();
        let (count, error) = read(&platform, &upload).await;
        assert!(count <= cut, "{count} of {cut}");
        assert!(
            matches!(error, Some(Error::Integrity { .. })),
            "{cut}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_read_is_an_integrity_error() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let upload = platform.publish(workspace, &noise(4 * MIB, 1)).await;
    let whole = upload.whole().unwrap();
    let mut pieces = platform
        .storage
        .read(workspace, upload.file_id, whole)
        .await
        .unwrap();
    pieces.try_next().await.unwrap().unwrap();
    let path = bytes_file(folder.path(), upload.file_id);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(MIB as u64).unwrap();
    let rest: Result<Vec<_>, _> = pieces.try_collect().await;
    assert!(matches!(rest, Err(Error::Integrity { .. })), "{rest:?}");
}

#[tokio::test]
async fn bytes_that_are_missing_or_short_in_a_row_are_an_integrity_error() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let upload = platform.publish(workspace, &noise(90 * KIB, 1)).await;
    for damage in [
        "UPDATE pending_upload_bytes SET data = substr(data, 1, length(data) - 1)",
        "UPDATE pending_upload_bytes SET data = x''",
        "DELETE FROM pending_upload_bytes",
    ] {
        inside(folder.path()).execute_batch(damage).unwrap();
        let (count, error) = read(&platform, &upload).await;
        assert_eq!(count, 0, "{damage}");
        assert!(
            matches!(error, Some(Error::Integrity { .. })),
            "{damage}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_record_that_is_damaged_is_an_integrity_error() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let upload = platform.publish(workspace, b"bytes").await;
    for damage in [
        "UPDATE pending_uploads SET filename = '../up'",
        "UPDATE pending_uploads SET filename = 'a.txt', mimetype = 'a b'",
    ] {
        inside(folder.path()).execute_batch(damage).unwrap();
        let found = platform.storage.get(workspace, upload.file_id).await;
        assert!(matches!(found, Err(Error::Integrity { .. })), "{found:?}");
        let listed = platform.storage.list(workspace, None, 10).await;
        assert!(matches!(listed, Err(Error::Integrity { .. })), "{listed:?}");
    }
}

#[tokio::test]
async fn a_record_whose_file_is_missing_is_swept_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let files = [noise(300 * KIB, 1), noise(300 * KIB, 2)];
    let uploads = platform.publish_all(workspace, &files).await;
    fs::remove_file(bytes_file(folder.path(), uploads[0].file_id)).unwrap();
    platform.ack(&uploads).await;
    assert_eq!(platform.sweep_acked().await.len(), 2);
    assert!(names(folder.path()).is_empty());
}
