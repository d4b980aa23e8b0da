//! A process that is killed at any moment leaves whole uploads or nothing, and has kept its word.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pending_uploads_core::{
    Activity, ActivityId, Error, FileId, PendingUpload, Sha256, WorkspaceId,
};
use rusqlite::types::Value;
use uuid::Uuid;

use crate::bundles::bundles_in;
use crate::child::{Child, Said};
use crate::support::{Platform, close, inside, names, placed_in_files};

const KILLS: u64 = 20;
/// How long a process may work at most before it is killed.
const LONGEST: Duration = Duration::from_millis(600);

/// What all processes have said so far.
#[derive(Default)]
struct Promised {
    published: BTreeMap<FileId, Sha256>,
    /// Acked, or perhaps acked: the process may have been killed before it knew.
    acking: BTreeSet<FileId>,
    acked: BTreeSet<FileId>,
}

impl Promised {
    fn note(&mut self, said: Said) {
        match said {
            Said::Published { file_id, sha256 } => {
                self.published.insert(file_id, sha256);
            }
            Said::Acking { file_id } => {
                self.acking.insert(file_id);
            }
            Said::Acked { file_id } => {
                self.acked.insert(file_id);
            }
        }
    }
}

#[tokio::test]
async fn a_process_that_is_killed_leaves_whole_uploads_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let first = platform.message(workspace).await.id;
    close(platform).await;

    let mut promised = Promised::default();
    let mut checked = BTreeSet::new();
    let mut bundles = 0;
    for round in 0..KILLS {
        let child = Child::publishing(folder.path(), workspace, round);
        tokio::time::sleep(any_moment()).await;
        for said in child.kill() {
            promised.note(said);
        }
        let platform = Platform::open(folder.path()).await;
        assert_eq!(names(folder.path()), placed_in_files(folder.path()));
        check(&platform, workspace, first, &promised, &mut checked).await;
        bundles += bundles_in(folder.path());
        close(platform).await;
    }
    assert!(bundles > 0, "nothing was bundled");
    assert!(promised.published.len() > 100, "hardly anything was tried");
    assert!(promised.acked.len() > 20, "hardly anything was acked");

    let platform = Platform::open(folder.path()).await;
    check(&platform, workspace, first, &promised, &mut BTreeSet::new()).await;
}

#[tokio::test]
async fn a_process_that_is_killed_while_it_makes_a_folder_leaves_one_that_can_be_opened() {
    for _ in 0..KILLS {
        let folder = tempfile::tempdir().unwrap();
        let child = Child::holding(folder.path());
        // So soon that most of them have not opened the folder to the end.
        tokio::time::sleep(any_moment() / 10).await;
        child.kill();
        let platform = Platform::open(folder.path()).await;
        let workspace = platform.workspace().await;
        assert_eq!(platform.message(workspace).await.seq.0, 1);
        let inside = inside(folder.path());
        let ask = |what| inside.pragma_query_value(None, what, |row| row.get::<_, Value>(0));
        assert_eq!(ask("auto_vacuum").unwrap(), Value::Integer(2));
        assert_eq!(ask("journal_mode").unwrap(), Value::Text("wal".into()));
    }
}

/// Some time that nobody can foresee.
fn any_moment() -> Duration {
    let micros = Uuid::new_v4().as_u128() % LONGEST.as_micros();
    Duration::from_micros(u64::try_from(micros).unwrap())
}

/// Checks everything; but the bytes only of files that are not in `checked` yet.
async fn check(
    platform: &Platform,
    workspace: WorkspaceId,
    first: ActivityId,
    promised: &Promised,
    checked: &mut BTreeSet<FileId>,
) {
    let waiting: BTreeMap<FileId, PendingUpload> = platform
        .waiting(workspace)
        .await
        .into_iter()
        .map(|upload| (upload.file_id, upload))
        .collect();
    let feed = platform.feed_after(workspace, first).await;
    check_feed(&feed);
    let announced: BTreeSet<FileId> = feed.iter().map(file_of).collect();
    for file in &announced {
        let there = waiting.contains_key(file) || promised.acking.contains(file);
        assert!(there, "{file} is announced and not there");
    }
    for (file, sha256) in &promised.published {
        assert!(announced.contains(file), "{file} is not announced");
        if !promised.acking.contains(file) {
            assert_eq!(waiting[file].sha256, *sha256, "{file}");
        }
    }
    for file in promised.acked.iter().filter(|file| checked.insert(**file)) {
        let read = platform.read(workspace, *file).await;
        assert!(matches!(read, Err(Error::NotFound)), "{file}: {read:?}");
    }
    for (file, upload) in &waiting {
        if checked.insert(*file) {
            let bytes = platform.bytes(upload).await.unwrap();
            assert_eq!(Sha256::of(&bytes), upload.sha256, "{file}");
        }
    }
}

/// The rows are numbered without a gap, and those of one batch are all there, one after another.
fn check_feed(feed: &[Activity]) {
    for (row, seq) in feed.iter().zip(2..) {
        assert_eq!(row.seq.0, seq);
    }
    let mut rest = feed;
    while let Some(row) = rest.first() {
        let name = batch_of(row);
        let (_, count) = name.rsplit_once('-').unwrap();
        let (batch, after) = rest.split_at(count.parse().unwrap());
        assert!(batch.iter().all(|row| batch_of(row) == name), "{name}");
        rest = after;
    }
    let batches: BTreeSet<_> = feed.iter().map(file_of).collect();
    assert_eq!(batches.len(), feed.len(), "a file is announced twice");
}

fn batch_of(row: &Activity) -> &str {
    row.content.request_body.as_ref().unwrap()["name"]
        .as_str()
        .unwrap()
}

fn file_of(row: &Activity) -> FileId {
    row.content.request_body.as_ref().unwrap()["file_id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}
