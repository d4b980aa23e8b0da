//! Who may open a data folder, and which ones are refused.

use std::fs;
use std::path::Path;

use pending_uploads_sqlite::{Database, OpenError};
use rusqlite::Connection;

use crate::child::Child;
use crate::support::{Platform, close, database_file, inside, length, log_file, noise, reopened};

/// What stands in the way of opening this folder, as a sentence.
fn refusal(folder: &Path) -> (OpenError, String) {
    let error = Database::open(folder).unwrap_err();
    let sentence = error.to_string();
    assert!(!sentence.contains('\n'), "{sentence}");
    (error, sentence)
}

#[tokio::test]
async fn a_folder_that_is_open_is_refused_until_it_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let first = Database::open(folder.path()).unwrap();
    let (error, sentence) = refusal(folder.path());
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(sentence.contains("is in use by another process"));
    first.check().await.unwrap();
    drop(first);
    reopened(folder.path()).await.unwrap();
}

#[tokio::test]
async fn another_name_of_a_folder_that_is_open_is_refused_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let _first = Database::open(&path).unwrap();
    let detour = path.join("files").join("..");
    assert!(matches!(refusal(&detour).0, OpenError::InUse { .. }));
}

#[tokio::test]
async fn a_folder_stays_taken_while_anything_of_it_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let storage = platform.storage.clone();
    drop(platform);
    assert!(matches!(refusal(folder.path()).0, OpenError::InUse { .. }));
    drop(storage);
    reopened(folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_another_process_has_open_is_refused_until_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Child::holding(folder.path());
    child.wait_until_open();
    assert!(matches!(refusal(folder.path()).0, OpenError::InUse { .. }));
    child.kill();
    Database::open(folder.path()).unwrap();
}

#[tokio::test]
async fn a_folder_is_made_with_its_parents_and_opened_again_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not").join("there");
    let platform = Platform::open(&path).await;
    let workspace = platform.workspace().await;
    let upload = platform.publish(workspace, b"bytes").await;
    close(platform).await;
    let platform = Platform::open(&path).await;
    assert_eq!(
        platform.waiting(workspace).await,
        std::slice::from_ref(&upload)
    );
    assert_eq!(platform.bytes(&upload).await.unwrap(), b"bytes");
}

/// What a newer version would note of itself.
const NEWER: &str = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
     VALUES (900, 'later', '2030-01-01T00:00:00Z', '1')";

/// Says that the folder is of a newer version, and changes nothing in it.
fn refuse_as_newer(folder: &Path) {
    let orphan = folder.join("files/0190f5fe-7c00-7a00-8000-0123456789ab");
    fs::write(&orphan, b"known to the newer version").unwrap();
    let content = || {
        let files = [database_file(folder), log_file(folder), orphan.clone()];
        files.map(|path| fs::read(path).ok())
    };
    let before = content();
    let (error, sentence) = refusal(folder);
    assert!(
        matches!(error, OpenError::Newer { found: 900, known, .. } if known < 900),
        "{error:?}"
    );
    assert!(sentence.contains("newer version: its schema is 900, and this program knows"));
    assert!(before == content());
}

#[tokio::test]
async fn a_folder_of_a_newer_version_is_refused_and_left_untouched() {
    let folder = tempfile::tempdir().unwrap();
    close(Platform::open(folder.path()).await).await;
    let newer = inside(folder.path());
    newer.execute_batch(NEWER).unwrap();
    newer
        .execute_batch("PRAGMA journal_mode = DELETE; PRAGMA user_version = 7;")
        .unwrap();
    drop(newer);
    refuse_as_newer(folder.path());
}

#[tokio::test]
async fn a_folder_that_a_newer_version_left_in_a_crash_is_refused_and_left_untouched() {
    let folder = tempfile::tempdir().unwrap();
    close(Platform::open(folder.path()).await).await;
    let newer = inside(folder.path());
    newer.execute_batch(NEWER).unwrap();
    let crashed = tempfile::tempdir().unwrap();
    fs::create_dir(crashed.path().join("files")).unwrap();
    for file in [database_file, log_file] {
        fs::copy(file(folder.path()), file(crashed.path())).unwrap();
    }
    assert!(length(&log_file(crashed.path())) > 0);
    refuse_as_newer(crashed.path());
}

#[tokio::test]
async fn a_database_without_tables_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(database_file(folder.path()), b"").unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let upload = platform.publish(workspace, b"bytes").await;
    assert_eq!(platform.bytes(&upload).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn a_database_of_an_older_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    close(Platform::open(folder.path()).await).await;
    let down = concat!(
        include_str!("../../../../migrations/sqlite/down/4__bundles.sql"),
        include_str!("../../../../migrations/sqlite/down/3__waiting_bounds.sql"),
        include_str!("../../../../migrations/sqlite/down/2__expiry_indexes.sql"),
        include_str!("../../../../migrations/sqlite/down/1__everything.sql"),
    );
    let older = inside(folder.path());
    older.execute_batch(down).unwrap();
    older
        .execute_batch("DELETE FROM refinery_schema_history")
        .unwrap();
    drop(older);
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    assert_eq!(platform.message(workspace).await.seq.0, 1);
}

#[tokio::test]
async fn a_file_is_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"mine").unwrap();
    for path in [file.clone(), file.join("below")] {
        let (error, sentence) = refusal(&path);
        assert!(matches!(error, OpenError::Folder { .. }), "{error:?}");
        assert!(sentence.starts_with("cannot use the data folder"));
        assert!(sentence.contains(path.to_str().unwrap()), "{sentence}");
    }
    assert_eq!(fs::read(file).unwrap(), b"mine");
}

#[tokio::test]
async fn a_folder_whose_parts_are_something_else_is_refused() {
    for part in ["lock", "pending-uploads.sqlite3"] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(part)).unwrap();
        assert!(refusal(folder.path()).1.starts_with("cannot "), "{part}");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("files"), b"mine").unwrap();
    assert!(matches!(refusal(folder.path()).0, OpenError::Folder { .. }));
}

#[tokio::test]
async fn a_database_that_is_garbage_is_refused_and_left_as_it_is() {
    let mut torn = real_database().await;
    torn[16..4096].fill(0xA5);
    let mut headless = real_database().await;
    headless[..100].fill(0);
    let shapes = [
        noise(10, 1),
        noise(5_000, 2),
        noise(1_000_000, 3),
        torn,
        headless,
    ];
    for (number, garbage) in shapes.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(database_file(folder.path()), &garbage).unwrap();
        let (error, sentence) = refusal(folder.path());
        assert!(
            matches!(error, OpenError::Database { .. }),
            "{number}: {error:?}"
        );
        assert!(sentence.starts_with("cannot open the database in"));
        let after = fs::read(database_file(folder.path())).unwrap();
        assert!(garbage == after, "{number}");
    }
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_keeps_its_tables() {
    for table in ["refinery_schema_history", "workspaces", "activity"] {
        let folder = tempfile::tempdir().unwrap();
        let theirs = Connection::open(database_file(folder.path())).unwrap();
        theirs
            .execute_batch(&format!("CREATE TABLE {table} (what TEXT)"))
            .unwrap();
        let (error, sentence) = refusal(folder.path());
        assert!(matches!(error, OpenError::Database { .. }), "{error:?}");
        assert!(sentence.len() < 300, "{sentence}");
        let tables = tables(&theirs);
        assert!(tables.contains(&table.to_owned()), "{tables:?}");
        assert!(
            !tables.contains(&"pending_uploads".to_owned()),
            "{tables:?}"
        );
    }
}

fn tables(connection: &Connection) -> Vec<String> {
    let mut select = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .unwrap();
    let names = select.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_refused_folder_can_be_opened_once_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(database_file(folder.path()), noise(5_000, 4)).unwrap();
    refusal(folder.path());
    fs::remove_file(database_file(folder.path())).unwrap();
    Database::open(folder.path()).unwrap();
}

async fn real_database() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    close(Platform::open(folder.path()).await).await;
    fs::read(database_file(folder.path())).unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_folder_whose_path_is_not_utf_8_is_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let parent = tempfile::tempdir().unwrap();
    let (error, sentence) = refusal(&parent.path().join(OsStr::from_bytes(b"data\xff")));
    assert!(matches!(error, OpenError::Folder { .. }), "{error:?}");
    assert!(sentence.contains("UTF-8"), "{sentence}");
}
