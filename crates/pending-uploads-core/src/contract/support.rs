//! What the clauses have in common.

use std::ops::AsyncFnMut;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::{join_all, poll_immediate};
use tokio::time::timeout;

use super::{Instance, Subject};
use crate::{
    Acked, Activity, ActivityId, ActivityQuery, ActivityType, Batch, ByteRange, ByteStream, Clock,
    FeedStart, FeedText, FileId, Filename, Mimetype, NewActivity, PageSize, PendingUpload,
    Registrar, Registration, Result, StagedFile, Storage, StorageExt, SweepPolicy, SweptFile,
    Timestamp, Token, WorkspaceId,
};

/// 1 MiB: the most that a batch collects before it asks the store, and that a stream may hold.
pub(super) const MIB: usize = 1024 * 1024;

/// Longer than a clause may take: a reader of the feed that waits so long was not woken.
pub(super) const PATIENCE: Duration = Duration::from_hours(1);

/// Asserts that a result is an error of one kind.
macro_rules! assert_error {
    ($result:expr, $pattern:pat) => {
        match $result.map(drop) {
            Err($pattern) => {}
            Err(error) => panic!("expected {}, got {error:?}", stringify!($pattern)),
            Ok(()) => panic!("expected {}, but it succeeded", stringify!($pattern)),
        }
    };
}

/// Bytes without a pattern (xorshift), so that a piece that is missing, doubled or out of its place
/// can't go unseen. The same each time for one `seed`.
pub(super) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(super) fn named(name: &str) -> Filename {
    Filename::sanitize(name)
}

/// The bytes from `start` up to `end`.
pub(super) fn span(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

/// The bytes of a stream, if it comes to its end.
pub(super) async fn collected(mut pieces: ByteStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = pieces.try_next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

pub(super) fn text_plain() -> Mimetype {
    Mimetype::parse("text/plain")
}

/// Puts a whole file into a batch.
pub(super) async fn add_file(batch: &mut dyn Batch, name: &str, data: &[u8]) -> StagedFile {
    batch.start_file(named(name), text_plain()).await.unwrap();
    batch.write(data).await.unwrap();
    batch.finish_file().await.unwrap()
}

/// A message for `workspace` that can be told from others by `number`.
pub(super) fn message(workspace: WorkspaceId, number: i64) -> NewActivity {
    let request = serde_json::json!({ "number": number });
    NewActivity::message(workspace, "message/send", request)
}

/// A row of another type than messages and announcements have.
pub(super) fn remark(workspace: WorkspaceId) -> NewActivity {
    NewActivity {
        activity_type: remark_type(),
        summary: Some(FeedText::clean("by the way")),
        ..message(workspace, 0)
    }
}

pub(super) fn remark_type() -> ActivityType {
    "remark".parse().unwrap()
}

/// All rows after `cursor`, as far as one page goes.
pub(super) fn after(cursor: ActivityId) -> ActivityQuery {
    ActivityQuery {
        limit: PageSize::capped(u64::MAX).unwrap(),
        ..ActivityQuery::from_start(FeedStart::After(cursor))
    }
}

/// The oldest rows, as far as one page goes.
pub(super) fn oldest() -> ActivityQuery {
    ActivityQuery {
        limit: PageSize::capped(u64::MAX).unwrap(),
        ..ActivityQuery::from_start(FeedStart::Oldest)
    }
}

/// The newest rows, as far as one page goes.
pub(super) fn newest() -> ActivityQuery {
    ActivityQuery {
        limit: PageSize::capped(u64::MAX).unwrap(),
        ..ActivityQuery::from_start(FeedStart::Newest)
    }
}

pub(super) fn ids<'a>(uploads: impl IntoIterator<Item = &'a PendingUpload>) -> Vec<FileId> {
    uploads.into_iter().map(|upload| upload.file_id).collect()
}

pub(super) fn seqs(rows: &[Activity]) -> Vec<i64> {
    rows.iter().map(|row| row.seq.0).collect()
}

/// The numbers of a feed of `count` rows.
pub(super) fn dense(count: usize) -> Vec<i64> {
    (1..).take(count).collect()
}

/// The file that a row of the feed tells of.
pub(super) fn file_of(row: &Activity) -> Option<FileId> {
    let body = row.content.request_body.as_ref()?;
    body.get("file_id")?.as_str()?.parse().ok()
}

/// Runs the futures as tasks of their own, all at once, and answers what they answer in order.
pub(super) async fn at_once<T, F>(futures: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    join_all(tasks)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

/// Lets a future run a little, the longer the higher the number: at first for some polls, and then
/// for some milliseconds, in which a store behind a network gets further.
pub(super) async fn run_a_little<F: Future + Unpin>(
    number: u32,
    future: &mut F,
) -> Option<F::Output> {
    let polls = match number.checked_sub(5) {
        Some(millis) => {
            let moment = Duration::from_millis(millis.into());
            return timeout(moment, future).await.ok();
        }
        None => number,
    };
    for _ in 0..polls {
        if let Some(answer) = poll_immediate(&mut *future).await {
            return Some(answer);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Looks until `condition` holds; panics when it does not after some seconds of looking.
pub(super) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it never came to this: {what}");
}

impl Subject {
    /// Registers a fresh workspace that polls.
    pub(super) async fn workspace(&self) -> WorkspaceId {
        self.workspace_with_token().await.0
    }

    /// Registers a fresh workspace that polls; answers its token as well.
    pub(super) async fn workspace_with_token(&self) -> (WorkspaceId, Token) {
        let id = WorkspaceId::generate();
        (id, self.register_polling(id).await)
    }

    /// Registers a workspace that polls for the first time; answers its token.
    pub(super) async fn register_polling(&self, id: WorkspaceId) -> Token {
        let registered = self
            .workspaces
            .register(Registration::polling(id), Registrar::Anonymous)
            .await
            .unwrap();
        registered.auth_token.unwrap()
    }

    /// The first instance for even numbers, the second for odd ones.
    pub(super) fn either(&self, number: usize) -> Instance {
        if number.is_multiple_of(2) {
            Instance {
                storage: Arc::clone(&self.storage),
                activity: Arc::clone(&self.activity),
                workspaces: Arc::clone(&self.workspaces),
            }
        } else {
            self.elsewhere.clone()
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) async fn batch(&self, workspace: WorkspaceId) -> Box<dyn Batch> {
        self.storage.begin(workspace).await.unwrap()
    }

    /// Publishes one file.
    pub(super) async fn publish(&self, workspace: WorkspaceId, data: &[u8]) -> PendingUpload {
        publish(&*self.storage, workspace, data).await
    }

    /// Publishes small files in one batch.
    pub(super) async fn publish_many(
        &self,
        workspace: WorkspaceId,
        count: usize,
    ) -> Vec<PendingUpload> {
        let mut batch = self.batch(workspace).await;
        for number in 0..count {
            let name = format!("{number}.txt");
            add_file(&mut *batch, &name, name.as_bytes()).await;
        }
        batch.publish().await.unwrap()
    }

    /// The bytes of a waiting file.
    pub(super) async fn bytes(&self, upload: &PendingUpload) -> Vec<u8> {
        self.storage
            .read_whole(upload.workspace_id, upload.file_id, u64::MAX)
            .await
            .unwrap()
    }

    pub(super) async fn ack(&self, upload: &PendingUpload) -> Acked {
        self.storage
            .ack(upload.workspace_id, upload.file_id)
            .await
            .unwrap()
    }

    /// What the workspace has still to take, as far as a page of 1,000 goes.
    pub(super) async fn waiting(&self, workspace: WorkspaceId) -> Vec<FileId> {
        let page = self.storage.list(workspace, None, 1000).await.unwrap();
        ids(&page)
    }

    /// The workspace's feed, oldest first, as far as one page goes.
    pub(super) async fn feed(&self, workspace: WorkspaceId) -> Vec<Activity> {
        let mut rows = self.activity.list(workspace, &newest()).await.unwrap();
        rows.reverse();
        rows
    }

    /// Appends a message and answers its id: a cursor to begin with.
    pub(super) async fn cursor(&self, workspace: WorkspaceId) -> ActivityId {
        let row = self.activity.append(workspace, message(workspace, 0));
        row.await.unwrap().id
    }

    /// Sweeps by the default policy until nothing is left to sweep.
    pub(super) async fn sweep(&self) -> Vec<SweptFile> {
        sweep(&*self.storage, &SweepPolicy::default()).await
    }

    /// Sweeps until nothing is staged any more: a store may be busy discarding a dropped batch.
    pub(super) async fn nothing_stays_staged(&self) {
        until("nothing is staged", async || {
            self.sweep().await;
            self.storage.stats().await.unwrap().staged_files == 0
        })
        .await;
    }

    /// Lets the lease of every silent batch run out, by the default policy.
    pub(super) fn let_leases_run_out(&self) {
        let lease = SweepPolicy::default().staging_lease;
        self.clock.advance(lease + Duration::from_secs(1));
    }
}

/// Publishes one file.
pub(super) async fn publish(
    storage: &dyn Storage,
    workspace: WorkspaceId,
    data: &[u8],
) -> PendingUpload {
    storage
        .stage(workspace, named("file.bin"), text_plain(), data)
        .await
        .unwrap()
}

/// Sweeps until nothing is left to sweep.
pub(super) async fn sweep(storage: &dyn Storage, policy: &SweepPolicy) -> Vec<SweptFile> {
    let mut files = Vec::new();
    loop {
        let step = storage.sweep(policy).await.unwrap();
        if step.is_dry() {
            return files;
        }
        files.extend(step.files);
    }
}
