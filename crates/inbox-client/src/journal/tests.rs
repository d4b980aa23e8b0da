//! What a journal says after whatever happens to it.

mod compacting;
mod damaged;
mod measuring;
mod recording;
pub(crate) mod writing;

use std::fs;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use pending_uploads_core::{ActivityId, FileId, Filename, Mimetype, PendingUri, Seq, Sha256};
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::folder::tests::child;
use crate::{LostReason, WaitingFile};

/// 2026-05-04T12:00:00Z.
const NOW: Timestamp = Timestamp::from_micros(1_777_896_000_000_000);
const DAY: Duration = Duration::from_hours(24);

/// A state folder, and one workspace.
struct State {
    folder: TempDir,
    workspace: WorkspaceId,
}

impl State {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            workspace: WorkspaceId::from_uuid(Uuid::from_u128(7)),
        }
    }

    fn open(&self) -> Result<(Journal, Records), JournalError> {
        Journal::open(self.folder.path(), &platform(), self.workspace, NOW)
    }

    fn journal(&self) -> Journal {
        self.open().unwrap().0
    }

    /// What the journal says, without opening it.
    fn records(&self) -> Records {
        let read = Journal::read(self.folder.path(), self.workspace);
        read.unwrap().unwrap()
    }

    /// A journal on a disk that is full.
    fn without_room(&self) -> Journal {
        let mut journal = self.journal();
        let mut options = File::options();
        let full = options.read(true).write(true).open("/dev/full");
        journal.file = full.unwrap();
        journal
    }

    fn path(&self) -> PathBuf {
        self.folder
            .path()
            .join(self.workspace.to_string())
            .join("journal")
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }
}

fn platform() -> Url {
    "https://platform.example/".parse().unwrap()
}

fn file_id(number: u128) -> FileId {
    FileId::from_uuid(Uuid::from_u128(number))
}

fn arrived(number: u128) -> ArrivedFile {
    ArrivedFile {
        file: WaitingFile {
            workspace_id: WorkspaceId::from_uuid(Uuid::from_u128(7)),
            file_id: file_id(number),
            filename: Filename::sanitize("Résumé 中文.pdf"),
            mimetype: Mimetype::parse("application/pdf"),
            size_bytes: NonZeroU64::MIN,
            sha256: Sha256::of(b"x"),
            expires_at: Some(NOW),
        },
        path: format!("/nowhere/{number}").into(),
        arrived_at: NOW,
    }
}

fn lost(number: u128) -> LostFile {
    LostFile {
        uri: arrived(number).file.uri(),
        reason: LostReason::TooLarge,
        name: Some("a.pdf".to_owned()),
        original_name: None,
        size: Some(u64::MAX),
        lost_at: NOW,
    }
}

fn cursor(seq: i64) -> Entry {
    Entry::Cursor(Position {
        id: ActivityId::from_uuid(Uuid::from_u128(1)),
        seq: Seq(seq),
        created_at: NOW,
    })
}

/// What those entries say, all told.
fn all_told<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Records {
    let mut records = Records::default();
    for entry in entries {
        records.apply(entry);
    }
    records
}

/// Any time that RFC 3339 can tell.
fn any_time() -> impl Strategy<Value = Timestamp> {
    (-62_000_000_000_000_000..250_000_000_000_000_000_i64).prop_map(Timestamp::from_micros)
}

/// One of a few files, so that entries meet.
fn any_file() -> impl Strategy<Value = FileId> {
    (1..6_u128).prop_map(file_id)
}

fn any_waiting() -> impl Strategy<Value = WaitingFile> {
    let names = (any::<String>(), any::<String>());
    let sizes = (any::<NonZeroU64>(), any::<[u8; 32]>());
    let times = proptest::option::of(any_time());
    (any::<u128>(), any_file(), names, sizes, times).prop_map(
        |(workspace, file_id, (name, mimetype), (size_bytes, sha256), expires_at)| WaitingFile {
            workspace_id: WorkspaceId::from_uuid(Uuid::from_u128(workspace)),
            file_id,
            filename: Filename::sanitize(&name),
            mimetype: Mimetype::parse(&mimetype),
            size_bytes,
            sha256: Sha256::from_bytes(sha256),
            expires_at,
        },
    )
}

fn any_arrived() -> impl Strategy<Value = ArrivedFile> {
    (any_waiting(), any::<String>(), any_time()).prop_map(|(file, path, arrived_at)| ArrivedFile {
        file,
        path: format!("/nowhere/{path}").into(),
        arrived_at,
    })
}

fn any_lost() -> impl Strategy<Value = LostFile> {
    let reason = proptest::sample::select(&LostReason::ALL[..]);
    let names = (any::<Option<String>>(), any::<Option<String>>());
    (
        any::<u128>(),
        any_file(),
        reason,
        names,
        any::<Option<u64>>(),
        any_time(),
    )
        .prop_map(
            |(workspace, file_id, reason, (name, original_name), size, lost_at)| LostFile {
                uri: PendingUri {
                    workspace_id: WorkspaceId::from_uuid(Uuid::from_u128(workspace)),
                    file_id,
                },
                reason,
                name,
                original_name,
                size,
                lost_at,
            },
        )
}

fn any_entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        (any::<u128>(), any::<i64>(), any_time()).prop_map(|(id, seq, created_at)| {
            let id = ActivityId::from_uuid(Uuid::from_u128(id));
            Entry::Cursor(Position {
                id,
                seq: Seq(seq),
                created_at,
            })
        }),
        any_arrived().prop_map(Entry::Arrived),
        any_lost().prop_map(Entry::Lost),
        any_file().prop_map(Entry::Acked),
        any_file().prop_map(Entry::Confirmed),
        any_file().prop_map(Entry::LossConfirmed),
        (any_file(), 1..9_i64).prop_map(|(id, seq)| {
            Entry::MessageConfirmed(ActivityId::from_uuid(id.as_uuid()), Seq(seq))
        }),
    ]
}

/// What some appends wrote.
fn any_appends() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    let entries = proptest::collection::vec(any_entry(), 1..4);
    proptest::collection::vec(entries, 0..6)
}

fn header() -> Header {
    Header::new(&platform(), WorkspaceId::from_uuid(Uuid::from_u128(7)), NOW)
}

/// The bytes of a journal with those appends.
fn written(appends: &[Vec<Entry>]) -> Vec<u8> {
    let mut bytes = lines::whole(&header(), &Records::default()).unwrap();
    for entries in appends {
        bytes.extend(lines::line(entries).unwrap());
    }
    bytes
}

/// What is said after each number of those appends.
fn prefixes(appends: &[Vec<Entry>]) -> Vec<Records> {
    (0..=appends.len())
        .map(|many| all_told(appends[..many].iter().flatten()))
        .collect()
}
