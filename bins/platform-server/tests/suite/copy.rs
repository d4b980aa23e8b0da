//! `platform-server copy`: a store that was moved serves on, and a copy that fails leaves nothing.

use pg_cluster::TestDatabase;
use rustix::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use server_harness::database::db_value;
use server_harness::{
    Client, Form, Receiver, Server, ServerBuilder, Store, Workspace, bytes, eventually, sha256,
};
use server_harness::{remember_secret, text};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const TAKEN: &str = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\
     Content-Length: 14\r\nConnection: close\r\n\r\n{\"taken\":true}";

fn serve(store: &Store) -> Server {
    store.server().set("ALLOW_PRIVATE_CALLBACKS", true).start()
}

/// Waits until some of what is being copied is stored, seen or not.
async fn wait_for_bytes(store: &Store) {
    eventually("bytes arrive", async || {
        let some = match store {
            Store::Postgres(database) => {
                let size = "SELECT pg_total_relation_size('pending_upload_chunks')";
                let size: i64 = db_value(&database.url(), size).await;
                usize::try_from(size).unwrap() > MIB
            }
            Store::Sqlite(folder) => folder
                .path()
                .join("files")
                .read_dir()
                .is_ok_and(|mut files| files.next().is_some()),
        };
        some.then_some(())
    })
    .await;
}

fn begin_copy(from: &str, to: &str) -> ServerBuilder {
    ServerBuilder::bare()
        .arg("copy")
        .arg(&format!("--from={from}"))
        .arg(&format!("--to={to}"))
}

/// Copies, which must go well, and answers the line that it printed.
fn must_copy(from: &Store, to: &Store) -> String {
    let (status, process) = begin_copy(&from.url(), &to.url()).run();
    assert!(status.success(), "{status}:\n{}", process.log());
    let line = process.stdout();
    assert!(line.starts_with("copied "), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

/// Tries to copy, which must be refused, and answers the sentence that says why.
fn must_not_copy(from: &str, to: &str, code: i32) -> String {
    let (status, process) = begin_copy(from, to).run();
    assert_eq!(status.code(), Some(code), "{}", process.log());
    assert_eq!(process.stdout(), "");
    let log = process.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    log
}

/// What was there before the move, as its clients saw it.
struct Before {
    poll: Workspace,
    push: Workspace,
    secret: String,
    receiver: Receiver,
    files: Vec<(String, Vec<u8>)>,
    waiting: Vec<Value>,
    acked: String,
    cursor: String,
    rows: Vec<Value>,
}

impl Before {
    async fn fill(server: &Server) -> Self {
        let (poll, client) = server.workspace().await;
        let receiver = Receiver::answering(TAKEN).await;
        let (push, secret) = register_push(server, &receiver.url()).await;
        let acked = client
            .must_upload(&poll, "acked.bin", &bytes(1, 2 * MIB))
            .await;
        let cursor = newest(&client, &poll).await;
        assert_eq!(client.post(&poll.ack(&acked)).await.status, 200);
        let mut files = Vec::new();
        for (seed, length) in [(2, 1), (3, 100 * KIB), (4, 200 * KIB), (5, 3 * MIB + 1)] {
            let data = bytes(seed, length);
            let name = format!("{length}.bin");
            files.push((client.must_upload(&poll, &name, &data).await, data));
        }
        let (fetched, _) = files.last().unwrap();
        assert_eq!(client.get(&poll.content(fetched)).await.status, 200);
        let waiting = waiting_once(&client, &poll, |waiting| {
            waiting.last().unwrap()["fetched_at"].is_string()
        })
        .await;
        assert_eq!(send_message(&client, &poll).await, 200);
        Self {
            waiting,
            rows: client.feed(&poll, "limit=500").await,
            poll,
            push,
            secret,
            receiver,
            files,
            acked,
            cursor,
        }
    }

    /// Checks that `server` answers as the one before did, and goes on from there; what it answers
    /// then is what the next one is held to.
    async fn check(&mut self, server: &Server) {
        let client = server.client(&self.poll);
        assert_eq!(client.waiting(&self.poll).await, self.waiting);
        assert_eq!(client.feed(&self.poll, "limit=500").await, self.rows);
        for (file, data) in &self.files {
            let content = client.get(&self.poll.content(file)).await;
            assert_eq!(content.status, 200);
            assert_eq!(sha256(&content.body), sha256(data));
        }
        let gone = client.get(&self.poll.content(&self.acked)).await;
        assert_eq!(gone.status, 404);
        let again = client.post(&self.poll.ack(&self.acked)).await;
        assert_eq!((again.status, again.json()), (200, json!({"acked": true})));
        self.check_that_the_feed_goes_on(&client).await;
        self.check_push(server).await;
        self.waiting = waiting_once(&client, &self.poll, |waiting| {
            let mut files = waiting.iter().zip(&self.waiting);
            files.all(|(now, before)| now["fetched_at"] != before["fetched_at"])
        })
        .await;
    }

    async fn check_that_the_feed_goes_on(&mut self, client: &Client) {
        let last = self.rows.first().unwrap()["seq"].as_i64().unwrap();
        assert_eq!(send_message(client, &self.poll).await, 200);
        let after = format!("since_id={}&limit=500", self.cursor);
        let rows = client.feed(&self.poll, &after).await;
        let seqs: Vec<_> = rows
            .iter()
            .map(|row| row["seq"].as_i64().unwrap())
            .collect();
        assert_eq!(seqs, (2..=last + 1).collect::<Vec<_>>());
        self.rows = client.feed(&self.poll, "limit=500").await;
    }

    async fn check_push(&self, server: &Server) {
        let client = server.client(&self.push);
        let upload = client
            .upload(&self.push, &Form::of_file("a.txt", "a"))
            .await;
        assert_eq!(upload.status, 201, "{upload:?}");
        let call = self.receiver.calls().pop().unwrap();
        assert!(call.head.contains(&self.secret), "{}", call.head);
    }
}

async fn register_push(server: &Server, url: &str) -> (Workspace, String) {
    let id = Uuid::new_v4().to_string();
    let card = json!({"name": "an agent"});
    let body = json!({"id": id, "delivery_mode": "push", "url": url, "agent_card": card});
    let answer = server
        .anonymous()
        .post_json("/registry/register", &body)
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let secret = text(&answer.json(), "platform_inbound_secret");
    remember_secret(&secret);
    let token = answer.secret("auth_token");
    (Workspace { id, token }, secret)
}

async fn newest(client: &Client, workspace: &Workspace) -> String {
    let rows = client.feed(workspace, "limit=1").await;
    text(rows.first().unwrap(), "id")
}

/// What waits, once the fetches are noted in it, which no answer waits for.
async fn waiting_once(
    client: &Client,
    workspace: &Workspace,
    are_noted: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    eventually("the fetches are noted", async || {
        let waiting = client.waiting(workspace).await;
        are_noted(&waiting).then_some(waiting)
    })
    .await
}

async fn send_message(client: &Client, workspace: &Workspace) -> u16 {
    let message = json!({
        "jsonrpc": "2.0", "id": "1", "method": "message/send",
        "params": {"message": {"role": "user", "messageId": "m", "parts": [], "n": 0.1}},
    });
    let answer = client.post_json(&workspace.path("a2a"), &message).await;
    answer.status
}

#[tokio::test]
async fn a_store_serves_on_after_a_move_and_after_the_move_back() {
    let stores = [Store::postgres(), Store::sqlite(), Store::postgres()];
    let server = serve(&stores[0]);
    let mut before = Before::fill(&server).await;
    drop(server);
    for move_ in stores.windows(2) {
        let [from, to] = move_ else { unreachable!() };
        let line = must_copy(from, to);
        let rows = before.rows.len();
        let copied = format!("copied 2 workspaces, {rows} feed rows and 5 files with ");
        assert!(line.starts_with(&copied), "{line}");
        let server = serve(to);
        before.check(&server).await;
    }
}

#[tokio::test]
async fn a_store_that_holds_something_is_not_filled_and_not_changed() {
    let from = Store::sqlite();
    drop(serve(&from));
    for to in [Store::postgres(), Store::sqlite()] {
        let server = serve(&to);
        let mut before = Before::fill(&server).await;
        drop(server);
        let sentence = must_not_copy(&from.url(), &to.url(), 1);
        assert!(sentence.contains("is not empty"), "{sentence}");
        before.check(&serve(&to)).await;
    }
}

#[tokio::test]
async fn a_store_that_a_server_runs_on_is_neither_read_nor_filled() {
    let idle = Store::sqlite();
    drop(serve(&idle));
    for busy in [Store::postgres(), Store::sqlite()] {
        let server = serve(&busy);
        for sentence in [
            must_not_copy(&busy.url(), &idle.url(), 1),
            must_not_copy(&idle.url(), &busy.url(), 1),
        ] {
            let said = sentence.contains("server is connected") || sentence.contains("in use");
            assert!(said, "{sentence}");
        }
        server.workspace().await;
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_copied() {
    let to = Store::postgres();
    let parent = tempfile::tempdir().unwrap();
    let typo = parent.path().join("typo");
    let url = format!("sqlite://{}", typo.display());
    let sentence = must_not_copy(&url, &to.url(), 1);
    assert!(sentence.contains("there is no data"), "{sentence}");
    assert!(!typo.exists());

    let bare = TestDatabase::create();
    for sentence in [
        must_not_copy(&bare.url(), &to.url(), 1),
        must_not_copy(&to.url(), &bare.url(), 1),
    ] {
        assert!(sentence.contains("platform-server migrate"), "{sentence}");
    }

    let sentence = must_not_copy(&to.url(), &to.url(), 2);
    assert!(sentence.contains("are the same store"), "{sentence}");
}

/// Begins to copy into a fresh store and kills the copy on its way; answers the store. A copy that
/// was faster is no harm: there is another.
async fn killed_half_way(from: &Store, fresh: fn() -> Store) -> Store {
    for _ in 0..20 {
        let to = fresh();
        let mut process = begin_copy(&from.url(), &to.url()).spawn();
        wait_for_bytes(&to).await;
        process.signal(Signal::KILL);
        process.wait();
        if process.stdout().is_empty() {
            return to;
        }
    }
    unreachable!("every copy was done before it could be killed")
}

#[tokio::test]
async fn a_copy_that_is_killed_leaves_an_empty_store_that_can_be_filled() {
    let postgres = Store::postgres();
    let server = serve(&postgres);
    let (workspace, client) = server.workspace().await;
    let data = bytes(1, 16 * MIB);
    for _ in 0..4 {
        client.must_upload(&workspace, "large.bin", &data).await;
    }
    drop(server);

    let sqlite = killed_half_way(&postgres, Store::sqlite).await;
    must_copy(&postgres, &sqlite);
    let back = killed_half_way(&sqlite, Store::postgres).await;
    must_copy(&sqlite, &back);

    let server = serve(&back);
    let client = server.client(&workspace);
    let waiting = client.waiting(&workspace).await;
    assert_eq!(waiting.len(), 4);
    for file in waiting {
        let content = client
            .get(&workspace.content(&text(&file, "file_id")))
            .await;
        assert_eq!(sha256(&content.body), sha256(&data));
    }
}
