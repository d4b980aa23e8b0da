//! That the ledger's comparison with a folder can fail.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use server_harness::{Client, Ledger, Store, bytes, on_each_store, sha256};
use tempfile::TempDir;

on_each_store! {
    every_file_that_was_taken_is_to_be_there_once_and_nothing_else,
}

fn is_fine(ledger: &Ledger, folder: &Path) -> bool {
    catch_unwind(AssertUnwindSafe(|| ledger.check_folder(folder))).is_ok()
}

/// A folder with all files that were taken.
async fn fetched(ledger: &Ledger, client: &Client) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (id, file) in ledger.taken_files() {
        let content = client.get(&ledger.workspace().content(&id)).await.body;
        assert_eq!((content.len(), sha256(&content)), (file.size, file.sha256));
        assert!(file.uri.ends_with(&id), "{}", file.uri);
        fs::write(folder.path().join(id), content).unwrap();
    }
    folder
}

async fn every_file_that_was_taken_is_to_be_there_once_and_nothing_else(store: Store) {
    let server = store.server().set("MAX_FILE_BYTES", 2000).start();
    let (workspace, client) = server.workspace().await;
    let ledger = Ledger::begin(&client, &workspace).await;
    let files = [
        ("a.txt".to_owned(), bytes(1, 1000)),
        ("b".to_owned(), bytes(2, 1000)),
    ];
    let answer = ledger.upload_named(&client, files).await.unwrap();
    assert_eq!((answer.status, ledger.taken()), (200, 3));
    let refused = ledger.upload(&client, [bytes(3, 2001)]).await.unwrap();
    assert_eq!((refused.status, ledger.taken()), (413, 3));
    let nobody = Client::new("http://127.0.0.1:1".to_owned(), None);
    assert!(ledger.upload(&nobody, [bytes(4, 10)]).await.is_err());
    ledger.check(&client).await;

    let folder = fetched(&ledger, &client).await;
    let folder = folder.path();
    assert!(is_fine(&ledger, folder));
    for (foreign, is_allowed) in [
        (bytes(3, 2001), false),
        (bytes(4, 10), true),
        (vec![1], false),
    ] {
        let path = folder.join("foreign");
        fs::write(&path, foreign).unwrap();
        assert_eq!(is_fine(&ledger, folder), is_allowed);
        fs::remove_file(&path).unwrap();
    }
    let (id, _) = ledger.taken_files().pop_first().unwrap();
    let (path, below) = (folder.join(&id), folder.join("below"));
    fs::create_dir(&below).unwrap();
    fs::copy(&path, below.join("a copy")).unwrap();
    assert!(!is_fine(&ledger, folder), "a file is there twice");
    fs::remove_file(&path).unwrap();
    assert!(is_fine(&ledger, folder), "it is there once, elsewhere");
    fs::remove_file(below.join("a copy")).unwrap();
    assert!(!is_fine(&ledger, folder), "a file is lost");
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    assert!(!is_fine(&ledger, folder), "a link is no file");
}
