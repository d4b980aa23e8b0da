//! Memory does not grow with the files. By itself, because cargo runs the tests of one file at a
//! time: 800 MiB at once would make the other tests wait for the disk, and they this one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(
    dead_code,
    unused_imports,
    reason = "the suite of the whole process uses the rest"
)]
#[path = "../suite/support/mod.rs"]
mod support;

use support::database::migrated;
use support::{Form, ServerBuilder, bytes, sha256};

const UPLOADS: u64 = 32;
const BYTES: usize = 25 * 1024 * 1024;
const CEILING: u64 = 128 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_uploads_of_25_mib_at_once_stay_under_128_mib() {
    let database = migrated();
    let server = ServerBuilder::on(&database.url()).start();
    let (workspace, client) = server.workspace().await;
    let data = bytes(7, BYTES);
    let form = Form::of_file("large.bin", &*data);
    let body: &'static [u8] = form.body().leak();

    let uploads: Vec<_> = (0..UPLOADS)
        .map(|_| {
            let request = client.request(reqwest::Method::POST, &workspace.uploads());
            let request = request
                .header("content-type", Form::content_type())
                .body(body);
            tokio::spawn(request.send())
        })
        .collect();
    for upload in uploads {
        assert_eq!(upload.await.unwrap().unwrap().status(), 200);
    }

    let waiting = client.waiting(&workspace).await;
    assert_eq!(waiting.len(), 32);
    assert!(waiting.iter().all(|file| file["sha256"] == sha256(&data)));
    let peak = server.peak_memory();
    assert!(
        peak < CEILING,
        "the server's memory peaked at {} MiB",
        peak >> 20
    );

    let file = waiting[0]["file_id"].as_str().unwrap();
    let downloads: Vec<_> = (0..8)
        .map(|_| {
            let (client, path) = (client.clone(), workspace.content(file));
            tokio::spawn(async move { client.get(&path).await })
        })
        .collect();
    for download in downloads {
        assert!(
            download.await.unwrap().body == data,
            "other bytes came back"
        );
    }
    let peak = server.peak_memory();
    assert!(
        peak < CEILING,
        "after downloads it peaked at {} MiB",
        peak >> 20
    );
}
