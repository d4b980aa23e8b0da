//! Slow peers hold nothing scarce: many of them, a pool of four, and others who are in a hurry.

use std::time::{Duration, Instant};

use server_harness::{
    Client, Form, RawConnection, Server, Store, Workspace, bytes, on_each_store, sha256,
};

on_each_store! {
    others_are_served_while_slow_peers_trickle,
    an_upload_that_trickles_past_the_idle_time_but_never_falls_silent_is_taken,
}

const MIB: usize = 1024 * 1024;
const SLOW_EACH_WAY: u64 = 8;
const LARGE: usize = 24 * MIB;

/// A slow upload: what it will have sent, and how far it is.
struct SlowUpload {
    connection: RawConnection,
    body: Vec<u8>,
    sent: usize,
}

impl SlowUpload {
    async fn begin(server: &Server, workspace: &Workspace, seed: u64) -> Self {
        let body = Form::of_file("slow.bin", bytes(seed, 3 * MIB)).body();
        let connection = RawConnection::begin_upload(server, workspace, body.len()).await;
        let mut upload = Self {
            connection,
            body,
            sent: 0,
        };
        upload.send(MIB + MIB / 2).await;
        upload
    }

    async fn send(&mut self, count: usize) {
        let end = (self.sent + count).min(self.body.len());
        self.connection.send(&self.body[self.sent..end]).await;
        self.sent = end;
    }

    async fn finish(mut self) -> String {
        self.send(usize::MAX / 2).await;
        String::from_utf8(self.connection.read_to_end().await).unwrap()
    }
}

async fn slow_download(server: &Server, workspace: &Workspace, file: &str) -> RawConnection {
    let path = workspace.content(file);
    let mut connection = RawConnection::begin_get(server, workspace, &path).await;
    let head = connection.read_head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    connection
}

async fn others_are_served_while_slow_peers_trickle(store: Store) {
    // What a data folder has no use for is no matter to it.
    let server = store.server().set("DATABASE_POOL_SIZE", 4).start();
    let (workspace, client) = server.workspace().await;
    let large = bytes(20, LARGE);
    let file = client.must_upload(&workspace, "large.bin", &large).await;

    let mut uploads = Vec::new();
    let mut downloads = Vec::new();
    for seed in 0..SLOW_EACH_WAY {
        uploads.push(SlowUpload::begin(&server, &workspace, 30 + seed).await);
        downloads.push(slow_download(&server, &workspace, &file).await);
    }
    let mut longest = Duration::ZERO;
    for round in 0..10 {
        for (upload, download) in uploads.iter_mut().zip(&mut downloads) {
            upload.send(1024).await;
            assert!(download.read_more().await);
        }
        longest = longest.max(hurry(&client, &workspace, round).await);
    }
    store.wait_until_no_transaction_is_open().await;
    // A pool that slow peers had emptied would have made everybody else wait for its time-out.
    assert!(
        longest < Duration::from_secs(9),
        "others waited for {longest:?}"
    );

    let peak = server.peak_memory();
    assert!(peak < 128 << 20, "slow peers filled {} MiB", peak >> 20);

    for upload in uploads {
        let answer = upload.finish().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    for download in downloads {
        assert_eq!(sha256(&download.read_to_end().await), sha256(&large));
    }
}

/// Does what a client in a hurry does, and answers how long it took.
async fn hurry(client: &Client, workspace: &Workspace, round: u64) -> Duration {
    let started = Instant::now();
    let data = bytes(50 + round, 2 * MIB);
    let file = client.must_upload(workspace, "quick.bin", &data).await;
    assert_eq!(client.feed(workspace, "limit=1").await.len(), 1);
    assert!(client.get(&workspace.content(&file)).await.body == data);
    assert_eq!(client.post(&workspace.ack(&file)).await.status, 200);
    started.elapsed()
}

async fn an_upload_that_trickles_past_the_idle_time_but_never_falls_silent_is_taken(store: Store) {
    let server = store.server().set("IDLE_TIMEOUT_SECS", 2).start();
    let (workspace, _) = server.workspace().await;
    let body = Form::of_file("trickle.txt", "a file that takes its time").body();
    let mut connection = RawConnection::begin_upload(&server, &workspace, body.len()).await;
    let started = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(500));
    for piece in body.chunks(body.len().div_ceil(7)) {
        pace.tick().await;
        connection.send(piece).await;
    }
    assert!(
        started.elapsed() > Duration::from_secs(2),
        "it was not slow"
    );
    let answer = String::from_utf8(connection.read_to_end().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
