//! One workspace, its inbox, and the look at everything at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pending_uploads_core::Filename;
use serde_json::Value;
use server_harness::{Client, Ledger, Process, TakenFile, Workspace, eventually, files_in, text};

use super::desk::{Desk, stop};
use super::history::History;
use super::messages::{check_messages, messages, say};

/// What was sent to a workspace, and what its inbox told of it.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) desk: Arc<Desk>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) history: History,
}

impl Scene {
    /// Begins with a small file, which `client` uploads; the inbox looks for the platform at `url`.
    pub(crate) async fn begin(client: &Client, workspace: &Workspace, url: &str) -> Self {
        let ledger = Ledger::begin(client, workspace).await;
        Self::of(Arc::new(ledger), Arc::new(Desk::new(url, workspace)))
    }

    /// Another inbox of the workspace.
    pub(crate) fn of(ledger: Arc<Ledger>, desk: Arc<Desk>) -> Self {
        Self {
            desk,
            ledger,
            history: History::default(),
        }
    }

    pub(crate) fn workspace(&self) -> &Workspace {
        self.ledger.workspace()
    }

    /// Uploads files, which must be taken, and answers their URIs.
    pub(crate) async fn upload(
        &self,
        client: &Client,
        files: impl IntoIterator<Item = Vec<u8>>,
    ) -> Vec<String> {
        let answer = self.ledger.upload(client, files).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        uris(&answer.json())
    }

    /// Sends a message that mentions those files.
    pub(crate) async fn say(&self, client: &Client, words: &str, uris: &[String]) {
        say(client, self.workspace(), words, uris).await;
    }

    /// Waits until `inbox` has nothing left to do.
    pub(crate) async fn settle(&self, client: &Client, inbox: &Process) {
        let feed = messages(client, self.workspace()).await;
        let feed: BTreeSet<_> = feed.iter().map(|row| text(row, "id")).collect();
        self.settle_files(client, inbox).await;
        eventually("every message is told of", async || {
            (self.history.and(inbox).messages() == feed).then_some(())
        })
        .await;
    }

    /// Waits until `inbox` has no file left to take.
    pub(crate) async fn settle_files(&self, client: &Client, inbox: &Process) {
        eventually("nothing is left to take", async || {
            let waiting = client.waiting(self.workspace()).await;
            waiting.is_empty().then_some(())
        })
        .await;
        eventually("every file is told of", async || {
            let history = self.history.and(inbox);
            let (arrived, lost) = (history.arrived(), history.lost());
            let taken = self.ledger.taken_files();
            let told =
                |file: &TakenFile| arrived.contains_key(&file.uri) || lost.contains_key(&file.uri);
            taken.values().all(told).then_some(())
        })
        .await;
    }

    /// Waits until `inbox` has nothing left to do, stops it, and keeps what it told.
    pub(crate) async fn finish(&mut self, client: &Client, mut inbox: Process) {
        self.settle(client, &inbox).await;
        stop(&mut inbox);
        self.history.note(&inbox);
    }

    /// Looks at everything: the folder, the events, the feed, and what is left to take.
    pub(crate) async fn check(&self, client: &Client) {
        self.check_files(client).await;
        check_messages(&messages(client, self.workspace()).await, &self.history);
    }

    /// Looks at all that is about files.
    pub(crate) async fn check_files(&self, client: &Client) {
        let files = self.desk.files();
        self.ledger.check_folder(&files);
        let arrived = self.history.arrived();
        let paths: BTreeSet<_> = arrived.values().map(path).collect();
        let there: BTreeSet<_> = files_in(&files).into_keys().collect();
        let there: BTreeSet<_> = there.iter().map(|name| files.join(name)).collect();
        assert_eq!(paths, there, "not all that lies there was told of, or more");
        self.check_events(&arrived);
        for file in self.ledger.taken_files().values() {
            assert!(arrived.contains_key(&file.uri), "{file:?} was not told of");
        }
        self.history.assert_no_process_repeats_itself();
        assert_eq!(client.waiting(self.workspace()).await, Vec::<Value>::new());
    }

    /// What was told of each file is what was sent, and what lies there.
    pub(crate) fn check_events(&self, arrived: &BTreeMap<String, Value>) {
        let files = self.desk.files();
        let digests = files_in(&files);
        let taken = self.ledger.taken_files();
        for (uri, event) in arrived {
            let (workspace_id, file_id) = parts_of(uri);
            assert_eq!(event["workspace_id"], workspace_id);
            let name = format!("{}-{}", file_id.replace('-', ""), text(event, "name"));
            assert_eq!(path(event), files.join(&name));
            assert_eq!(text(event, "sha256"), digests[Path::new(&name)]);
            let there = fs::symlink_metadata(path(event)).unwrap();
            assert_eq!(there.permissions().mode() & 0o7777, 0o600, "{name}");
            assert_eq!(event["size"], there.len());
            if let Some(file) = taken.get(file_id) {
                check_event(event, file);
            }
        }
    }
}

/// What was told of a file is what was sent.
fn check_event(event: &Value, file: &TakenFile) {
    assert_eq!(event["event"], "file_arrived");
    assert_eq!(event["original_name"], file.name);
    assert_eq!(event["name"], Filename::sanitize(&file.name).as_str());
    assert_eq!(event["mimetype"], file.mimetype);
    assert_eq!(event["size"], file.size);
    assert_eq!(event["sha256"], file.sha256);
    assert_eq!(event["uri"], file.uri);
}

/// The path in an event.
pub(crate) fn path(event: &Value) -> PathBuf {
    text(event, "path").into()
}

/// The workspace and the file that a URI names.
fn parts_of(uri: &str) -> (&str, &str) {
    let ids = uri.strip_prefix("platform-pending:").unwrap();
    ids.split_once('/').unwrap()
}

/// The URIs in an upload's answer.
pub(crate) fn uris(answer: &Value) -> Vec<String> {
    let files = answer["files"].as_array().unwrap().iter();
    files.map(|file| text(file, "uri")).collect()
}
