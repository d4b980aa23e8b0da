//! What a journal says: one entry after the other, and all told.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pending_uploads_core::{ActivityId, FileId, PendingUri, Seq, Timestamp};

use crate::{LostReason, WaitingFile};

/// How long what became of a file is kept after the file itself is gone: longer than a feed keeps its
/// rows by default, so that a late message about it can still be understood.
const KEPT_FOR: Duration = Duration::from_hours(35 * 24);

/// A row of the feed up to which everything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) id: ActivityId,
    pub(crate) seq: Seq,
    pub(crate) created_at: Timestamp,
}

/// A file that is on the disk, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArrivedFile {
    pub(crate) file: WaitingFile,
    /// Absolute, and UTF-8.
    pub(crate) path: PathBuf,
    pub(crate) arrived_at: Timestamp,
}

/// A file that will not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LostFile {
    pub(crate) uri: PendingUri,
    pub(crate) reason: LostReason,
    pub(crate) name: Option<String>,
    pub(crate) original_name: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) lost_at: Timestamp,
}

/// One thing that a journal remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Everything up to this row is done.
    Cursor(Position),
    /// A file is on the disk, whole, checked and synced.
    Arrived(ArrivedFile),
    /// A file will not arrive.
    Lost(LostFile),
    /// The platform knows that the file has arrived.
    Acked(FileId),
    /// The embedder has confirmed the event about the file.
    Confirmed(FileId),
    /// The embedder has confirmed that the file is lost; that it arrived after all, it has not.
    LossConfirmed(FileId),
    /// The embedder has confirmed the message in this row of the feed, maybe ahead of the cursor.
    MessageConfirmed(ActivityId, Seq),
}

/// Whether something that is due about a file was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Done {
    #[default]
    NotYet,
    Yes,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Arrived(ArrivedFile),
    Lost(LostFile),
}

/// All that is known of a file that has arrived or is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileRecord {
    pub(crate) outcome: Outcome,
    /// Whether the platform was told that it has arrived.
    pub(crate) acked: Done,
    /// Whether the embedder has confirmed the event about it.
    pub(crate) confirmed: Done,
}

/// What a journal says, all told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Records {
    /// None before the first row of the feed is done.
    pub(crate) cursor: Option<Position>,
    pub(crate) files: HashMap<FileId, FileRecord>,
    /// The rows behind the cursor whose messages are confirmed.
    pub(crate) confirmed_ahead: HashMap<ActivityId, Seq>,
}

impl Records {
    /// Takes the next entry into account.
    ///
    /// A file that has arrived after it was lost (the limit was raised) has arrived, which is yet to be
    /// acked and confirmed; one that has arrived cannot be lost, and is lost for the first reason. An
    /// ack or a confirmation of a file that is not known changes nothing.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Cursor(position) => {
                self.cursor = Some(*position);
                self.confirmed_ahead.retain(|_, seq| *seq > position.seq);
            }
            Entry::MessageConfirmed(id, seq) => {
                self.confirmed_ahead.insert(*id, *seq);
            }
            Entry::Arrived(arrived) => self.arrive(arrived),
            Entry::Lost(lost) => {
                let record = || FileRecord::new(Outcome::Lost(lost.clone()));
                self.files.entry(lost.uri.file_id).or_insert_with(record);
            }
            Entry::Acked(file_id) => {
                if let Some(record) = self.files.get_mut(file_id) {
                    record.acked = Done::Yes;
                }
            }
            Entry::Confirmed(file_id) => {
                if let Some(record) = self.files.get_mut(file_id) {
                    record.confirmed = Done::Yes;
                }
            }
            Entry::LossConfirmed(file_id) => {
                let record = self.files.get_mut(file_id);
                let is_lost = |record: &&mut FileRecord| matches!(record.outcome, Outcome::Lost(_));
                if let Some(record) = record.filter(is_lost) {
                    record.confirmed = Done::Yes;
                }
            }
        }
    }

    fn arrive(&mut self, arrived: &ArrivedFile) {
        let outcome = Outcome::Arrived(arrived.clone());
        match self.files.get_mut(&arrived.file.file_id) {
            Some(record) if matches!(record.outcome, Outcome::Arrived(_)) => {
                record.outcome = outcome;
            }
            _ => {
                let record = FileRecord::new(outcome);
                self.files.insert(arrived.file.file_id, record);
            }
        }
    }

    /// Takes into account that files may have been moved with their folder: where `find` has one now
    /// that is gone from its path is its path from now on.
    pub(crate) fn relocate(&mut self, find: impl Fn(&ArrivedFile) -> Option<PathBuf>) {
        for record in self.files.values_mut() {
            if let Outcome::Arrived(arrived) = &mut record.outcome
                && is_gone(&arrived.path)
                && let Some(path) = find(arrived)
            {
                arrived.path = path;
            }
        }
    }

    /// Forgets the files about which nothing is left to do, that are not on the disk (any more), and
    /// that arrived or were lost more than 35 days ago.
    pub(super) fn forget_old(&mut self, now: Timestamp) {
        let before = now.saturating_sub(KEPT_FOR);
        self.files.retain(|_, record| record.is_needed(before));
    }

    /// As few entries as say the same: one list for the cursor, one for the messages that are confirmed
    /// ahead of it, and one for each file, in the order in which they came.
    pub(super) fn entries(&self) -> Vec<Vec<Entry>> {
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_unstable_by_key(|(file_id, record)| (record.since(), **file_id));
        let cursor = self.cursor.iter().map(|at| vec![Entry::Cursor(*at)]);
        let mut ahead: Vec<_> = self.confirmed_ahead.iter().collect();
        ahead.sort_unstable_by_key(|(id, seq)| (**seq, **id));
        let ahead: Vec<_> = ahead
            .into_iter()
            .map(|(id, seq)| Entry::MessageConfirmed(*id, *seq))
            .collect();
        let ahead = (!ahead.is_empty()).then_some(ahead);
        let files = files.into_iter().map(|(id, record)| record.entries(*id));
        cursor.chain(ahead).chain(files).collect()
    }
}

impl FileRecord {
    fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            acked: Done::NotYet,
            confirmed: Done::NotYet,
        }
    }

    /// When it arrived or was lost.
    fn since(&self) -> Timestamp {
        match &self.outcome {
            Outcome::Arrived(arrived) => arrived.arrived_at,
            Outcome::Lost(lost) => lost.lost_at,
        }
    }

    fn is_needed(&self, before: Timestamp) -> bool {
        if self.since() >= before || self.confirmed == Done::NotYet {
            return true;
        }
        match &self.outcome {
            Outcome::Arrived(arrived) => self.acked == Done::NotYet || !is_gone(&arrived.path),
            Outcome::Lost(_) => false,
        }
    }

    fn entries(&self, file_id: FileId) -> Vec<Entry> {
        let outcome = match &self.outcome {
            Outcome::Arrived(arrived) => Entry::Arrived(arrived.clone()),
            Outcome::Lost(lost) => Entry::Lost(lost.clone()),
        };
        let acked = (self.acked == Done::Yes).then_some(Entry::Acked(file_id));
        let confirmed = (self.confirmed == Done::Yes).then_some(Entry::Confirmed(file_id));
        [Some(outcome), acked, confirmed]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Whether nothing is there. Where that cannot be told, something may be.
fn is_gone(path: &std::path::Path) -> bool {
    path.symlink_metadata()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
