//! What clients have tried to upload and what was answered, to be compared with what is there after
//! crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;

use super::client::text;
use super::{Answer, Client, Form, Part, Workspace, bytes, sha256};

/// The uploads for one workspace.
#[derive(Debug)]
pub(crate) struct Ledger {
    workspace: Workspace,
    /// The first row of its feed, of a file of the ledger's own.
    start: Value,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// The digests of the files of each request, in their order.
    tried: Vec<Vec<String>>,
    /// The digest of each file that was taken, by its id.
    taken: BTreeMap<String, String>,
}

impl Ledger {
    /// Begins with one upload, which must be taken.
    pub(crate) async fn begin(client: &Client, workspace: &Workspace) -> Self {
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

    /// How many files were taken so far.
    pub(crate) fn taken(&self) -> usize {
        self.entries().taken.len()
    }

    /// Uploads files in one request, and notes that it was tried and whether it was taken.
    pub(crate) async fn upload(
        &self,
        client: &Client,
        files: impl IntoIterator<Item = Vec<u8>>,
    ) -> reqwest::Result<Answer> {
        let files: Vec<_> = files.into_iter().collect();
        let digests: Vec<_> = files.iter().map(|data| sha256(data)).collect();
        let number = {
            let tried = &mut self.entries().tried;
            tried.push(digests.clone());
            tried.len() - 1
        };
        let parts = files.into_iter().enumerate();
        let form =
            Form::of(parts.map(|(index, data)| Part::file(&format!("{number}-{index}"), data)));
        let answer = client.try_upload(&self.workspace, &form).await?;
        if answer.status == 200 {
            let ids = answer.file_ids();
            self.entries().taken.extend(ids.into_iter().zip(digests));
        }
        Ok(answer)
    }

    /// Each file that was taken is there; of each request all files are there or none; each has
    /// the bytes that were sent; and the feed announces exactly what is there, the files of a
    /// request one after another, without a gap.
    pub(crate) async fn check(&self, client: &Client) {
        let listed = client.waiting(&self.workspace).await;
        let mut there = BTreeMap::new();
        for file in &listed {
            let content = text(file, "file_id");
            let content = client.get(&self.workspace.content(&content)).await;
            let digest = sha256(&content.body);
            assert_eq!(digest, text(file, "sha256"), "{file} has other bytes");
            there.insert(text(file, "file_id"), digest);
        }
        for (id, digest) in &self.entries().taken {
            assert_eq!(there.get(id), Some(digest), "{id} was taken and is lost");
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

        let tried = &self.entries().tried;
        let mut rest = &*files;
        while let Some(file) = rest.first() {
            let name = text(file, "name");
            let request: usize = name.split('-').next().unwrap().parse().unwrap();
            let whole = &tried[request];
            assert!(
                rest.len() >= whole.len(),
                "only a part of {request} is there"
            );
            let (batch, after) = rest.split_at(whole.len());
            let digests: Vec<_> = batch.iter().map(|file| text(file, "sha256")).collect();
            assert_eq!(digests, *whole, "{request} is not there as it was sent");
            rest = after;
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

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap()
    }
}
