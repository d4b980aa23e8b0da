//! Memory does not grow with the files. By itself, because cargo runs the tests of one file at a
//! time: 800 MiB at once would make the other tests wait for the disk, and they these.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use server_harness::{
    Answer, Client, Form, Server, Store, Workspace, bytes, on_each_store, sha256,
};
use tokio::sync::Mutex;

const UPLOADS: usize = 32;
const DOWNLOADS: usize = 8;
const BYTES: usize = 25 * 1024 * 1024;
const CEILING: u64 = 128 * 1024 * 1024;

/// One store after the other, for the same reason.
static TURN: Mutex<()> = Mutex::const_new(());

on_each_store! {
    thirty_two_uploads_of_25_mib_at_once_stay_under_128_mib,
}

async fn thirty_two_uploads_of_25_mib_at_once_stay_under_128_mib(store: Store) {
    let _turn = TURN.lock().await;
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let data = bytes(7, BYTES);

    upload_at_once(&client, &workspace, &data).await;
    let waiting = client.waiting(&workspace).await;
    assert_eq!(waiting.len(), UPLOADS);
    assert!(waiting.iter().all(|file| file["sha256"] == sha256(&data)));
    assert_below_ceiling(&server, "uploads");

    let file = waiting[0]["file_id"].as_str().unwrap();
    let downloads: Vec<_> = (0..DOWNLOADS)
        .map(|_| {
            let (client, path) = (client.clone(), workspace.content(file));
            tokio::spawn(async move { client.get(&path).await })
        })
        .collect();
    for download in downloads {
        let body = download.await.unwrap().body;
        assert!(body == data, "other bytes came back");
    }
    assert_below_ceiling(&server, "downloads");
}

async fn upload_at_once(client: &Client, workspace: &Workspace, data: &[u8]) {
    let body: &'static [u8] = Form::of_file("large.bin", data).body().leak();
    let uploads: Vec<_> = (0..UPLOADS)
        .map(|_| {
            let request = client.request(reqwest::Method::POST, &workspace.uploads());
            let request = request.header("content-type", Form::content_type());
            tokio::spawn(Answer::try_of(request.body(body)))
        })
        .collect();
    let mut failures = Vec::new();
    for upload in uploads {
        match upload.await.unwrap() {
            Ok(answer) if answer.status == 200 => {}
            other => failures.push(other),
        }
    }
    // The server's log is shown with it.
    assert!(failures.is_empty(), "{failures:#?}");
}

fn assert_below_ceiling(server: &Server, what: &str) {
    let peak = server.peak_memory();
    assert!(
        peak < CEILING,
        "after {what} the server's memory had peaked at {} MiB",
        peak >> 20
    );
}
