//! The floors' servers, in their own processes: what a load puts to ours is answered by them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Once;

use pg_cluster::TestDatabase;
use reqwest::Client;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

const WORKSPACE: &str = "11111111-1111-4111-8111-111111111111";

/// An HTTP client, which wants to know who would do its cryptography.
fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let provider = rustls::crypto::ring::default_provider();
        provider.install_default().unwrap();
    });
    Client::new()
}

/// A floor's server, which ends when it is dropped.
struct Floor {
    child: Child,
    base: String,
}

impl Floor {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bench"))
            .arg("floor-server")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let base = format!("http://{}", line.trim());
        Self { child, base }
    }

    fn path(&self, rest: &str) -> String {
        format!("{}/workspaces/{WORKSPACE}/{rest}", self.base)
    }

    /// Uploads files, and answers what is said of them.
    async fn upload(&self, files: &[Vec<u8>]) -> Vec<Value> {
        let mut form = Form::new();
        for data in files {
            let part = Part::bytes(data.clone()).file_name("one.bin");
            form = form.part("files", part);
        }
        let request = client().post(self.path("chat/uploads")).multipart(form);
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        answer["files"].as_array().unwrap().clone()
    }

    async fn fetch(&self, file: &Value) -> reqwest::Response {
        let path = self.path(&format!("pending-uploads/{}/content", id(file)));
        client().get(path).send().await.unwrap()
    }

    async fn ack(&self, file: &Value) -> Value {
        let path = self.path(&format!("pending-uploads/{}/ack", id(file)));
        let answer = client().post(path).send().await.unwrap();
        let answer = answer.error_for_status().unwrap().bytes().await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    async fn feed(&self, query: &str) -> Vec<Value> {
        let path = self.path(&format!("activity{query}"));
        let answer = client().get(path).send().await.unwrap();
        let answer = answer.error_for_status().unwrap().bytes().await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

fn id(file: &Value) -> &str {
    let uri = file["uri"].as_str().unwrap();
    uri.strip_prefix(&format!("platform-pending:{WORKSPACE}/"))
        .unwrap()
}

fn data(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

#[tokio::test]
async fn the_server_that_drops_serves_as_many_bytes_as_it_was_given() {
    let floor = Floor::start(&["drop"]);
    for length in [1_000, 3_000_000] {
        let files = floor.upload(&[data(length)]).await;
        assert_eq!(files[0]["size"], length);
        let fetched = floor.fetch(&files[0]).await;
        assert_eq!(fetched.content_length(), Some(length as u64));
        assert_eq!(fetched.bytes().await.unwrap().len(), length);
        assert_eq!(floor.ack(&files[0]).await, json!({"acked": true}));
    }
    assert_eq!(floor.feed("?since_id=x").await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_file_server_gives_back_what_it_got_until_it_is_acked() {
    let folder = tempfile::tempdir().unwrap();
    let floor = Floor::start(&["files", "--folder", folder.path().to_str().unwrap()]);
    let sent = [data(1_000), data(3_000_000)];
    let files = floor.upload(&sent).await;
    for (file, sent) in files.iter().zip(&sent) {
        assert_eq!(file["size"], sent.len());
        let fetched = floor.fetch(file).await;
        assert_eq!(fetched.status(), 200);
        assert_eq!(fetched.bytes().await.unwrap(), sent);
        assert_eq!(floor.ack(file).await, json!({"acked": true}));
        assert_eq!(floor.fetch(file).await.status(), 404);
    }
}

#[tokio::test]
async fn the_plain_baseline_gives_back_what_it_got_until_it_is_acked_and_has_a_feed() {
    let database = TestDatabase::create();
    let floor = Floor::start(&["plain", "--postgres", &database.url()]);
    let sent = [data(1_000), data(3_000_000)];
    let files = floor.upload(&sent).await;
    let rows = floor.feed("").await;
    assert_eq!(rows.len(), 2);
    let (newest, oldest) = (
        rows[0]["id"].as_str().unwrap(),
        rows[1]["id"].as_str().unwrap(),
    );
    assert_eq!(floor.feed(&format!("?since_id={newest}")).await.len(), 0);
    let after = floor.feed(&format!("?since_id={oldest}")).await;
    assert_eq!(after[0]["request_body"]["file_id"], id(&files[1]));
    for (file, sent) in files.iter().zip(&sent) {
        assert_eq!(floor.fetch(file).await.bytes().await.unwrap(), sent);
        assert_eq!(floor.ack(file).await, json!({"acked": true}));
        assert_eq!(floor.fetch(file).await.status(), 404);
    }
}

#[tokio::test]
async fn everybody_is_registered_by_a_floor() {
    let floor = Floor::start(&["drop"]);
    let path = format!("{}/registry/register", floor.base);
    let answer = client().post(path).body("{}").send().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(answer["delivery_mode"], "poll");
}

/// As a benchmark that was killed leaves it.
#[test]
fn a_floor_ends_when_nobody_holds_its_stdin() {
    drop(Floor::start(&["drop"]));
}
