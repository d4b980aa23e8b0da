//! What clients have tried to upload and what was answered, to be compared with what is there after
//! crashes: on the server, or in the folder of who took it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;

use crate::client::text;
use crate::{Answer, Client, Form, Part, Workspace, bytes, files_in, sha256};

/// What files are said to be, in turn; nothing is said of the first.
const MIMETYPES: [&str; 4] = ["", "application/pdf", "text/plain", "image/png"];

/// The uploads for one workspace.
#[derive(Debug)]
pub struct Ledger {
    workspace: Workspace,
    /// The first row of its feed, of a file of the ledger's own.
    start: Value,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// The digests of the files of each request, in their order; nothing for one that was refused.
    tried: Vec<Vec<String>>,
    /// What was answered 200, by the file's id.
    taken: BTreeMap<String, TakenFile>,
}

/// A file whose upload was answered 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenFile {
    /// The name that it was uploaded with.
    pub name: String,
    /// How many bytes it has.
    pub size: usize,
    /// Their SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// What was said that it is: a media type, or nothing.
    pub mimetype: String,
    /// What the answer called it: `platform-pending:…`.
    pub uri: String,
}

impl Ledger {
    /// Begins with one upload of a small file, which must be taken, to a workspace whose feed is
    /// empty.
    pub async fn begin(client: &Client, workspace: &Workspace) -> Self {
        let mut ledger = Self {
            workspace: workspace.clone(),
            start: Value::Null,
            entries: Mutex::default(),
        };
        let answer = ledger.upload(client, [bytes(0, 10)]).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        ledger.start = client.feed(workspace, "").await.remove(0);
        ledger
    }

    /// Whose uploads they are.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// How many files were taken so far.
    pub fn taken(&self) -> usize {
        self.entries().taken.len()
    }

    /// The files that were taken so far, by their ids.
    pub fn taken_files(&self) -> BTreeMap<String, TakenFile> {
        self.entries().taken.clone()
    }

    /// Uploads files in one request, and notes that it was tried and whether it was taken. They are
    /// named after the number of the request and their own.
    pub async fn upload(
        &self,
        client: &Client,
        files: impl IntoIterator<Item = Vec<u8>>,
    ) -> reqwest::Result<Answer> {
        let number = self.next_request();
        let files = files.into_iter().enumerate();
        let files = files.map(|(index, data)| (format!("{number}-{index}"), data));
        self.upload_as(number, client, files).await
    }

    /// As [`upload`](Self::upload), with names.
    pub async fn upload_named(
        &self,
        client: &Client,
        files: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> reqwest::Result<Answer> {
        self.upload_as(self.next_request(), client, files).await
    }

    fn next_request(&self) -> usize {
        let tried = &mut self.entries().tried;
        tried.push(Vec::new());
        tried.len() - 1
    }

    async fn upload_as(
        &self,
        number: usize,
        client: &Client,
        files: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> reqwest::Result<Answer> {
        let (mut noted, mut parts) = (Vec::new(), Vec::new());
        for (name, data) in files {
            let mimetype = MIMETYPES[data.len() % MIMETYPES.len()];
            noted.push(TakenFile {
                name: name.clone(),
                size: data.len(),
                sha256: sha256(&data),
                mimetype: mimetype.to_owned(),
                uri: String::new(),
            });
            parts.push(part(&name, mimetype, data));
        }
        let digests = noted.iter().map(|file| file.sha256.clone()).collect();
        self.entries().tried[number] = digests;
        let form = Form::of(parts);
        let answer = client.try_upload(&self.workspace, &form).await?;
        match answer.status {
            200 => self.note(&answer, noted),
            400..500 => self.entries().tried[number].clear(),
            // Whether it was taken nobody knows.
            _ => {}
        }
        Ok(answer)
    }

    fn note(&self, answer: &Answer, files: Vec<TakenFile>) {
        let answered = answer.json()["files"].as_array().cloned().unwrap();
        assert_eq!(answered.len(), files.len(), "{answer:?}");
        let ids = answer.file_ids().into_iter();
        let named = files.into_iter().zip(&answered).map(|(file, answered)| {
            let uri = text(answered, "uri");
            TakenFile { uri, ..file }
        });
        self.entries().taken.extend(ids.zip(named));
    }

    /// Notes files, by their ids, that somebody else has uploaded in one request, which was answered
    /// 200.
    pub fn note_others(&self, files: BTreeMap<String, TakenFile>) {
        let digests = files.values().map(|file| file.sha256.clone()).collect();
        let mut entries = self.entries();
        entries.tried.push(digests);
        entries.taken.extend(files);
    }

    /// Each file that was taken is there; of each request all files are there or none; each has
    /// the bytes that were sent; and the feed announces exactly what is there, the files of a
    /// request one after another, without a gap.
    pub async fn check(&self, client: &Client) {
        let listed = client.waiting(&self.workspace).await;
        let mut there = BTreeMap::new();
        for file in &listed {
            let content = text(file, "file_id");
            let content = client.get(&self.workspace.content(&content)).await;
            let digest = sha256(&content.body);
            assert_eq!(digest, text(file, "sha256"), "{file} has other bytes");
            there.insert(text(file, "file_id"), digest);
        }
        for (id, file) in &self.entries().taken {
            assert_eq!(
                there.get(id),
                Some(&file.sha256),
                "{id} was taken and is lost"
            );
        }
        self.check_feed(client, &there).await;
    }

    async fn check_feed(&self, client: &Client, there: &BTreeMap<String, String>) {
        let rows = self.feed(client).await;
        for (row, seq) in rows.iter().zip(1_i64..) {
            assert_eq!(row["seq"], seq, "the feed has a gap");
        }
        let files: Vec<_> = rows.iter().map(|row| &row["request_body"]).collect();
        let announced: BTreeSet<_> = files.iter().map(|file| text(file, "file_id")).collect();
        assert_eq!(announced.len(), files.len(), "a file is announced twice");
        assert_eq!(announced, there.keys().cloned().collect());

        let digests: Vec<_> = files.iter().map(|file| text(file, "sha256")).collect();
        let tried = &self.entries().tried;
        let mut rest = &*digests;
        while !rest.is_empty() {
            let whole = tried.iter().filter(|request| rest.starts_with(request));
            // One that begins with all of another is the one that is meant.
            let longest = whole.map(Vec::len).max();
            let Some(length) = longest.filter(|length| *length > 0) else {
                panic!("no request is there as it was sent: {rest:?}");
            };
            rest = &rest[length..];
        }
    }

    /// The whole feed, oldest first.
    async fn feed(&self, client: &Client) -> Vec<Value> {
        let mut rows = vec![self.start.clone()];
        loop {
            let cursor = text(rows.last().unwrap(), "id");
            let query = format!("since_id={cursor}&limit=500");
            let page = client.feed(&self.workspace, &query).await;
            if page.is_empty() {
                return rows;
            }
            rows.extend(page);
        }
    }

    /// Each file that was taken lies in `folder` once, with the bytes that were sent; and nothing
    /// else lies there but, once each, whole files of requests of which nobody knows whether they
    /// were taken. Names may differ from those that were sent, and files may lie in folders of the
    /// folder.
    pub fn check_folder(&self, folder: &Path) {
        let mut there: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (path, digest) in files_in(folder) {
            there.entry(digest).or_default().push(path);
        }
        let expected = self.expected();
        for (digest, paths) in &there {
            let most = expected.get(digest).map_or(0, |expected| expected.tried);
            assert!(
                paths.len() <= most,
                "{paths:?}: there are {} of what was sent {most} times",
                paths.len()
            );
        }
        for file in self.entries().taken.values() {
            let found = there.get(&file.sha256).map_or(0, Vec::len);
            assert!(
                found >= expected[&file.sha256].taken,
                "{file:?} was taken and is not in {}: {there:?}",
                folder.display()
            );
        }
    }

    /// What is known of each digest.
    fn expected(&self) -> BTreeMap<String, Expected> {
        let entries = self.entries();
        let mut expected: BTreeMap<_, Expected> = BTreeMap::new();
        for file in entries.taken.values() {
            expected.entry(file.sha256.clone()).or_default().taken += 1;
        }
        for digest in entries.tried.iter().flatten() {
            expected.entry(digest.clone()).or_default().tried += 1;
        }
        expected
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap()
    }
}

fn part(name: &str, mimetype: &str, data: Vec<u8>) -> Part {
    let part = Part::file(name, data);
    match mimetype {
        "" => part,
        mimetype => part.header("Content-Type", mimetype),
    }
}

/// How many files of one digest were taken for sure, and how many may have been.
#[derive(Debug, Default)]
struct Expected {
    taken: usize,
    tried: usize,
}
