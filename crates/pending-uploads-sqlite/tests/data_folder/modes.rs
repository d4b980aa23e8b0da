//! Everything in the folder is for its owner's eyes only.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{KIB, Platform, bytes_file, noise};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn nobody_else_may_look_into_the_folder_or_any_file_of_it() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let platform = Platform::open(&folder).await;
    let workspace = platform.workspace().await;
    let large = platform.publish(workspace, &noise(300 * KIB, 1)).await;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("files")), 0o700);
    assert_eq!(mode(&bytes_file(&folder, large.file_id)), 0o600);
    for name in ["", "-wal", "-shm"] {
        let path = folder.join(format!("pending-uploads.sqlite3{name}"));
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert_eq!(mode(&folder.join("lock")), 0o600);
}

#[tokio::test]
async fn the_files_are_private_even_in_a_folder_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let _platform = Platform::open(folder.path()).await;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}
