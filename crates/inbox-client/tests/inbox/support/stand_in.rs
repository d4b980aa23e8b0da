//! A platform in miniature over the scripted server: it lists, announces, hands over and forgets one
//! workspace's files, and goes wrong where a test tells it to.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use inbox_client::{
    Event, FileArrived, FileLost, FixedToken, Inbox, InboxBuilder, RetryPolicy, WaitingFile,
};
use pending_uploads_core::{ActivityId, FileId, WorkspaceId};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::scripted::{Answer, Request, Scripted};
use super::{PATIENT, TOKEN, said, token, waiting_file};

/// How long a poll waits that finds nothing.
const POLL_WAIT: Duration = Duration::from_millis(20);

/// Tries again at once, more or less.
pub(crate) const EAGER: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(5),
    longest: Duration::from_millis(20),
    longest_asked: Duration::from_millis(50),
};

/// One answer to a fetch that is not the file.
pub(crate) type Fault = Box<dyn FnMut(&Request, Answer) -> Answer + Send>;

struct Held {
    file: WaitingFile,
    bytes: Vec<u8>,
    waits: bool,
    faults: VecDeque<Fault>,
    fetches: usize,
}

#[derive(Default)]
struct Feed {
    rows: Vec<Value>,
    /// How many rows at the beginning are pruned.
    pruned: usize,
}

struct State {
    held: Vec<Held>,
    feed: Feed,
    acks: Vec<FileId>,
}

/// The platform in miniature.
pub(crate) struct StandIn {
    scripted: Scripted,
    workspace: WorkspaceId,
    state: Arc<Mutex<State>>,
}

impl StandIn {
    /// Starts one on which nothing waits.
    pub(crate) async fn start() -> Self {
        let stand_in = Self {
            scripted: Scripted::start().await,
            workspace: WorkspaceId::generate(),
            state: Arc::new(Mutex::new(State {
                held: Vec::new(),
                feed: Feed::default(),
                acks: Vec::new(),
            })),
        };
        stand_in.serve_list();
        stand_in.serve_feed();
        stand_in
    }

    /// The workspace.
    pub(crate) fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// What scripts its answers.
    pub(crate) fn scripted(&self) -> &Scripted {
        &self.scripted
    }

    /// The path of one of the workspace's routes.
    pub(crate) fn path(&self, route: &str) -> String {
        format!("/workspaces/{}/{route}", self.workspace)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// An inbox for it, with its files in `folder/files` and its state in `folder/state`.
    pub(crate) fn inbox(&self, folder: &Path) -> InboxBuilder {
        Inbox::builder()
            .platform(self.scripted.url().parse().unwrap())
            .workspace(self.workspace)
            .token(Arc::new(FixedToken(token(TOKEN))))
            .folder(folder.join("files"))
            .state_folder(folder.join("state"))
            .timeouts(PATIENT)
            .retry(EAGER)
            .reconcile_every(Duration::from_millis(100))
            .limits(inbox_client::FetchLimits {
                min_free_bytes: 0,
                ..Default::default()
            })
    }

    /// Has a file of these bytes wait, and announces it.
    pub(crate) fn upload(&self, bytes: &[u8]) -> WaitingFile {
        let file = self.hold(bytes);
        self.append("chat_upload_receive", &said(&file));
        file
    }

    /// Has a file wait that the feed does not announce.
    pub(crate) fn hold(&self, bytes: &[u8]) -> WaitingFile {
        let file = waiting_file(self.workspace, bytes);
        self.lock().held.push(Held {
            file: file.clone(),
            bytes: bytes.to_vec(),
            waits: true,
            faults: VecDeque::new(),
            fetches: 0,
        });
        self.serve_file(file.file_id);
        file
    }

    /// Announces a file that does not wait any more.
    pub(crate) fn announce_gone(&self, bytes: &[u8]) -> WaitingFile {
        let file = self.upload(bytes);
        self.forget(&file);
        file
    }

    /// Announces a file with this body.
    pub(crate) fn announce(&self, body: &Value) {
        self.append("chat_upload_receive", body);
    }

    /// Announces a file that waits already.
    pub(crate) fn announce_late(&self, file: &WaitingFile) {
        self.announce(&said(file));
    }

    /// Gives each row of the feed another id, so that every cursor is gone.
    pub(crate) fn replace_cursors(&self) {
        for row in &mut self.lock().feed.rows {
            row["id"] = json!(ActivityId::generate().to_string());
        }
    }

    /// Says in the feed that a file expired.
    pub(crate) fn announce_expiry(&self, file: &WaitingFile) {
        let body = json!({"file_id": file.file_id.to_string(), "name": "x", "size": 1});
        self.append("chat_upload_expired", &body);
    }

    /// Sends a message with this request.
    pub(crate) fn send(&self, request: &Value) {
        self.append("message/send", request);
    }

    /// Sends a message that mentions files, in the shape of A2A 0.3.
    pub(crate) fn send_about(&self, text: &str, files: &[&WaitingFile]) {
        let mut parts = vec![json!({"kind": "text", "text": text})];
        let mention =
            |file: &&WaitingFile| json!({"kind": "file", "file": {"uri": file.uri().to_string()}});
        parts.extend(files.iter().map(mention));
        self.send(&json!({"params": {"message": {"role": "user", "parts": parts}}}));
    }

    fn append(&self, method: &str, body: &Value) {
        let kind = if method == "chat_upload_expired" {
            method
        } else {
            "a2a_receive"
        };
        let rows = &mut self.lock().feed.rows;
        let seq = rows.len() + 1;
        rows.push(json!({
            "id": ActivityId::generate().to_string(), "seq": seq,
            "workspace_id": self.workspace.to_string(), "activity_type": kind, "method": method,
            "request_body": body,
            "created_at": format!("2026-05-04T12:00:00.{seq:06}Z"),
        }));
    }

    /// Prunes the first rows of the feed: cursors that name them are gone.
    pub(crate) fn prune(&self, rows: usize) {
        self.lock().feed.pruned = rows;
    }

    /// Waits until an inbox has read the feed to its end.
    pub(crate) async fn is_followed(&self) {
        let feed = self.path("activity");
        let polls = || {
            let requests = self.scripted.requests();
            requests
                .iter()
                .filter(|request| request.path == feed)
                .count()
        };
        let before = polls();
        // The last but one of these was answered when everything had been read.
        until(|| polls() > before + 2).await;
    }

    /// Has the next fetches of a file go wrong, one after the other.
    pub(crate) fn break_fetches(
        &self,
        file: &WaitingFile,
        faults: impl IntoIterator<Item = Fault>,
    ) {
        let mut state = self.lock();
        find(&mut state, file.file_id).faults.extend(faults);
    }

    /// Does not hold a file any more, as after its time or another inbox's ack.
    pub(crate) fn forget(&self, file: &WaitingFile) {
        find(&mut self.lock(), file.file_id).waits = false;
    }

    /// Lists a file again that was acked, as a platform that was restored from a copy does.
    pub(crate) fn remember(&self, file: &WaitingFile) {
        find(&mut self.lock(), file.file_id).waits = true;
    }

    /// How often a file was asked for.
    pub(crate) fn fetches(&self, file: &WaitingFile) -> usize {
        find(&mut self.lock(), file.file_id).fetches
    }

    /// The acks that were answered.
    pub(crate) fn acks(&self) -> Vec<FileId> {
        self.lock().acks.clone()
    }

    /// Whether nothing is left to take.
    pub(crate) fn is_empty(&self) -> bool {
        !self.lock().held.iter().any(|held| held.waits)
    }

    /// Serves the list (again).
    pub(crate) fn serve_list(&self) {
        let state = Arc::clone(&self.state);
        let list = self.path("pending-uploads");
        self.scripted.on_each("GET", &list, move |_| {
            let state = state.lock().unwrap();
            let waiting = state.held.iter().filter(|held| held.waits);
            let files: Vec<_> = waiting.map(|held| said(&held.file)).collect();
            Answer::json(200, &json!(files))
        });
    }

    /// Serves the feed (again).
    pub(crate) fn serve_feed(&self) {
        let state = Arc::clone(&self.state);
        let activity = self.path("activity");
        self.scripted.on_each("GET", &activity, move |request| {
            page(&state.lock().unwrap().feed, request)
        });
    }

    /// Serves a file (again), and takes its ack.
    pub(crate) fn serve_file(&self, file_id: FileId) {
        let route = self.path(&format!("pending-uploads/{file_id}"));
        let state = Arc::clone(&self.state);
        let content = format!("{route}/content");
        self.scripted.on_each("GET", &content, move |request| {
            let mut state = state.lock().unwrap();
            let held = find(&mut state, file_id);
            held.fetches += 1;
            if !held.waits {
                return Answer::error(404, "not_found");
            }
            let etag = format!("\"{}\"", held.file.sha256);
            let answer = Answer::ranged(request, &held.bytes, &etag);
            match held.faults.pop_front() {
                Some(mut fault) => fault(request, answer),
                None => answer,
            }
        });
        let state = Arc::clone(&self.state);
        self.scripted
            .on_each("POST", &format!("{route}/ack"), move |request| {
                let mut state = state.lock().unwrap();
                let held = find(&mut state, file_id);
                let sha256 = held.file.sha256.to_string();
                if request.json()["sha256"] != json!(sha256) {
                    return Answer::error(409, "digest_mismatch");
                }
                held.waits = false;
                state.acks.push(file_id);
                Answer::json(200, &json!({"acked": true}))
            });
    }
}

fn find(state: &mut State, file_id: FileId) -> &mut Held {
    let mut held = state.held.iter_mut();
    held.find(|held| held.file.file_id == file_id).unwrap()
}

/// A page of the feed, as the platform answers it.
fn page(feed: &Feed, request: &Request) -> Answer {
    let limit: usize = request.parameter("limit").unwrap().parse().unwrap();
    let kind = request.parameter("type").unwrap();
    let of_kind = |row: &&Value| row["activity_type"] == kind;
    let kept = &feed.rows[feed.pruned..];
    let Some(cursor) = request.parameter("since_id") else {
        let rows: Vec<_> = kept.iter().rev().filter(of_kind).take(limit).collect();
        return Answer::json(200, &json!(rows));
    };
    let after = if cursor == uuid::Uuid::nil().to_string() {
        0
    } else {
        match kept.iter().position(|row| row["id"] == cursor) {
            Some(position) => position + 1,
            None => return Answer::error(410, "cursor_gone"),
        }
    };
    let rows: Vec<_> = kept[after..].iter().filter(of_kind).take(limit).collect();
    let answer = Answer::json(200, &json!(rows));
    if rows.is_empty() {
        answer.delayed(POLL_WAIT)
    } else {
        answer
    }
}

/// The next event, which must come; confirmed.
pub(crate) async fn next_event(inbox: &mut Inbox) -> Event {
    let delivery = inbox.next().await.unwrap();
    let event = delivery.event().clone();
    delivery.confirm();
    event
}

/// The next event, which is about a file that arrived; confirmed.
#[expect(clippy::panic, reason = "a test fails by panicking")]
pub(crate) async fn next_arrived(inbox: &mut Inbox) -> FileArrived {
    match next_event(inbox).await {
        Event::FileArrived(arrived) => arrived,
        other => panic!("a file should have arrived: {other:?}"),
    }
}

/// The next event, which is about a lost file; confirmed.
#[expect(clippy::panic, reason = "a test fails by panicking")]
pub(crate) async fn next_lost(inbox: &mut Inbox) -> FileLost {
    match next_event(inbox).await {
        Event::FileLost(lost) => lost,
        other => panic!("a file should be lost: {other:?}"),
    }
}

/// The request of the next event, which is a message; confirmed.
#[expect(clippy::panic, reason = "a test fails by panicking")]
pub(crate) async fn next_request(inbox: &mut Inbox) -> Value {
    match next_event(inbox).await {
        Event::Message(message) => message.row["request_body"].clone(),
        other => panic!("a message should have come: {other:?}"),
    }
}

/// The text of a message of [`StandIn::send_about`], and the URIs in it.
pub(crate) fn text_and_uris(request: &Value) -> (String, Vec<String>) {
    let parts = request["params"]["message"]["parts"].as_array().unwrap();
    let uris = parts[1..]
        .iter()
        .map(|part| part["file"]["uri"].as_str().unwrap().to_owned());
    (
        parts[0]["text"].as_str().unwrap().to_owned(),
        uris.collect(),
    )
}

/// What lies in the folder of files: names and bytes. A partial counts, too; one that is gone before it
/// could be read does not.
pub(crate) fn lying_in(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder.join("files")).unwrap();
    entries
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            match fs::read(entry.path()) {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                read => Some((name, read.unwrap())),
            }
        })
        .collect()
}

/// The name that a file has in the folder.
pub(crate) fn final_name(file: &WaitingFile) -> String {
    let id = file.file_id.as_uuid().simple();
    format!("{id}-{}", file.filename)
}

/// Looks until it is so, for twenty seconds at most.
pub(crate) async fn until(so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if so() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!(so(), "it never came to be so");
}

/// Answers with something else, once.
pub(crate) fn instead(answer: Answer) -> Fault {
    Box::new(move |_, _| answer.clone())
}

/// Cuts the answer off after so many bytes, once.
pub(crate) fn cut_after(bytes: usize) -> Fault {
    Box::new(move |_, answer| answer.closed_after(bytes))
}
