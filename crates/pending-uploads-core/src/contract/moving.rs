//! A store that was moved: what it holds before, and what must be found in the other one.
//!
//! Not a clause, because a backend is moved by means of its own. Its test fills a store, moves it,
//! and has the other one checked:
//!
//! 1. [`Stock::fill`] on a [`Subject`], which is then dropped;
//! 2. [`copy_store`](crate::copy_store), with the time of the same clock;
//! 3. [`Stock::check`] on a subject that was opened on the copy, with the same clock.

use std::time::Duration;

use serde_json::json;

use super::Subject;
use super::support::*;
use crate::{
    Acked, Activity, ActivityId, Archive, ArchivedWorkspace, DeliveryMode, Error, NewActivity,
    PendingUpload, Quota, Registrar, Registration, Seq, StorageExt, SweepReason, Timestamp, Token,
    Workspace, WorkspaceId,
};

/// What a store held before it was moved.
#[derive(Debug)]
pub struct Stock {
    workspaces: Vec<(Token, Workspace, Vec<Activity>)>,
    waiting: Vec<(PendingUpload, Vec<u8>)>,
    acked: PendingUpload,
    expired: PendingUpload,
    cursor: ActivityId,
}

impl Stock {
    /// Fills an empty store: workspaces of every kind, a feed that was pruned, and files that wait,
    /// were acked and have expired.
    pub async fn fill(subject: &Subject) -> Self {
        let (poll, token) = subject.workspace_with_token().await;
        let push = register_push(subject, Some("https://agent.example/a2a")).await;
        let unreachable = register_push(subject, None).await;
        subject.cursor(poll).await;
        subject.clock.advance(Duration::from_secs(1));
        subject.activity.prune(subject.now()).await.unwrap();
        let cursor = subject.cursor(poll).await;
        let pruned = subject.activity.prune(subject.now()).await.unwrap();
        assert_eq!(pruned, 1, "the first row goes, the newest stays");
        let row = subject
            .activity
            .append(poll, intricate(poll))
            .await
            .unwrap();
        assert_eq!(subject.feed(poll).await.last(), Some(&row));
        let expired = subject.publish(poll, b"too late").await;
        subject.clock.advance(subject.ttl);
        let acked = subject.publish(poll, &noise(MIB, 1)).await;
        let at = subject.ack(&acked).await.at();
        let acked = PendingUpload {
            acked_at: Some(at),
            ..acked
        };
        subject.clock.advance(Duration::from_secs(1));
        let waiting = publish_sizes(subject, poll).await;
        let mut workspaces = Vec::new();
        for (id, token) in [(poll, token), push, unreachable] {
            let workspace = subject.workspaces.get(id).await.unwrap();
            workspaces.push((token, workspace, subject.feed(id).await));
        }
        Self {
            workspaces,
            waiting,
            acked,
            expired,
            cursor,
        }
    }

    /// Checks that the store of `subject` serves everything as the one that was filled would, and
    /// goes on where that one stopped.
    pub async fn check(&self, subject: &Subject) {
        self.check_workspaces(subject).await;
        self.check_files(subject).await;
        self.check_that_the_feed_goes_on(subject).await;
    }

    /// A quota that what waits has used up.
    pub fn used_up_quota(&self) -> Quota {
        Quota {
            waiting_files: u32::try_from(self.waiting.len()).unwrap(),
            ..Quota::default()
        }
    }

    /// Checks that a store with that quota takes nothing more for the workspace.
    pub async fn check_used_up_quota(&self, subject: &Subject) {
        let workspace = self.acked.workspace_id;
        let storage = &subject.storage;
        let staged = storage.stage(workspace, named("a"), text_plain(), b"x");
        assert_error!(staged.await, Error::QuotaExceeded(_));
    }

    /// When the files in it still wait: the time to give to the copy.
    pub fn now(&self) -> Timestamp {
        self.waiting.last().unwrap().0.created_at
    }

    async fn check_workspaces(&self, subject: &Subject) {
        for (token, workspace, rows) in &self.workspaces {
            let found = subject.workspaces.authenticate(workspace.id, token).await;
            assert_eq!(found.unwrap().as_ref(), Some(workspace));
            let other = Token::generate().unwrap();
            let refused = subject.workspaces.authenticate(workspace.id, &other).await;
            assert_eq!(refused.unwrap(), None);
            assert_eq!(subject.feed(workspace.id).await, *rows);
        }
    }

    async fn check_files(&self, subject: &Subject) {
        let workspace = self.acked.workspace_id;
        let waiting = ids(self.waiting.iter().map(|(upload, _)| upload));
        assert_eq!(subject.waiting(workspace).await, waiting);
        for (upload, bytes) in &self.waiting {
            let found = subject.storage.get(workspace, upload.file_id).await;
            assert_eq!(found.unwrap(), *upload);
            assert!(subject.bytes(upload).await == *bytes, "other bytes");
        }
        let acked = &self.acked;
        let found = subject.storage.get(workspace, acked.file_id).await;
        assert_eq!(found.unwrap(), *acked);
        let at = acked.acked_at.unwrap();
        assert_eq!(subject.ack(acked).await, Acked::Again { at });
        let whole = acked.whole().unwrap();
        let read = subject.storage.read(workspace, acked.file_id, whole);
        assert_error!(read.await, Error::NotFound);
    }

    async fn check_that_the_feed_goes_on(&self, subject: &Subject) {
        let workspace = self.expired.workspace_id;
        let swept = subject.sweep().await;
        let swept: Vec<_> = swept
            .iter()
            .map(|file| (file.file_id, file.reason))
            .collect();
        assert_eq!(swept, [(self.expired.file_id, SweepReason::Expired)]);
        let (_, _, rows) = self.workspaces.first().unwrap();
        let next = rows.last().unwrap().seq.0 + 1;
        let rows = subject.activity.list(workspace, &after(self.cursor)).await;
        let newest = rows.unwrap().pop().unwrap();
        assert_eq!(
            (newest.seq.0, file_of(&newest)),
            (next, Some(self.expired.file_id))
        );
    }
}

impl Stock {
    /// Checks that the pages of an archive, however small, are the whole of it in order and nothing
    /// twice.
    pub async fn pages_make_the_whole(archive: &dyn Archive) {
        let mut workspaces = Vec::new();
        loop {
            let after = workspaces.last().map(|last: &ArchivedWorkspace| last.id);
            let page = archive.workspaces(after, 1).await.unwrap();
            if page.is_empty() {
                break;
            }
            workspaces.extend(page);
        }
        assert_eq!(workspaces, archive.workspaces(None, 1000).await.unwrap());
        assert!(workspaces.len() > 1 && workspaces.is_sorted_by_key(|workspace| workspace.id));
        let mut uploads = Vec::new();
        loop {
            let after = uploads.last().map(|last: &PendingUpload| last.file_id);
            let page = archive.uploads(after, 1).await.unwrap();
            if page.is_empty() {
                break;
            }
            uploads.extend(page);
        }
        assert_eq!(uploads, archive.uploads(None, 1000).await.unwrap());
        assert!(uploads.len() > 1 && uploads.is_sorted_by_key(|upload| upload.file_id));
        for workspace in workspaces {
            let whole = archive.activity(workspace.id, Seq(0), 1000).await.unwrap();
            for pair in whole.windows(2) {
                let [row, next] = pair else { unreachable!() };
                let page = archive.activity(workspace.id, row.seq, 1).await.unwrap();
                assert_eq!(page.as_slice(), std::slice::from_ref(next));
            }
        }
    }
}

async fn register_push(subject: &Subject, url: Option<&str>) -> (WorkspaceId, Token) {
    let registration = Registration {
        id: WorkspaceId::generate(),
        delivery_mode: Some(DeliveryMode::Push),
        url: url.map(|url| url.parse().unwrap()),
        agent_card: Some(json!({"name": "an agent", "version": 1.5})),
    };
    let id = registration.id;
    let registered = subject
        .workspaces
        .register(registration, Registrar::Anonymous)
        .await
        .unwrap();
    (id, registered.auth_token.unwrap())
}

/// A row whose body is easily changed on its way.
fn intricate(workspace: WorkspaceId) -> NewActivity {
    let body = json!({
        "text": "中文 \u{0} \u{1f600} \" \\",
        "numbers": [0.1, 3_040.900_993_826_735_4, 1e300, -0.0, u64::MAX, i64::MIN],
        "nothing": null,
    });
    NewActivity {
        source_id: Some(WorkspaceId::generate()),
        response_body: Some(body.clone()),
        duration_ms: Some(i64::MAX),
        ..NewActivity::message(workspace, "message/send", body)
    }
}

/// Files of one byte up to some bursts; the last one was fetched before.
async fn publish_sizes(subject: &Subject, workspace: WorkspaceId) -> Vec<(PendingUpload, Vec<u8>)> {
    let mut files = Vec::new();
    for (length, seed) in [(1, 2), (64 * 1024, 3), (200 * 1024, 4), (2 * MIB + 1, 5)] {
        let bytes = noise(length, seed);
        files.push((subject.publish(workspace, &bytes).await, bytes));
    }
    let (fetched, _) = files.last_mut().unwrap();
    let noted = subject.storage.mark_fetched(workspace, fetched.file_id);
    noted.await.unwrap();
    fetched.fetched_at = Some(subject.now());
    files
}
