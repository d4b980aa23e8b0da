//! What the embedder is told.

use std::path::PathBuf;

use pending_uploads_core::{Mimetype, PendingUri, Sha256};
use serde_json::Value;

use crate::journal::{ArrivedFile, LostFile};

/// Something that the embedder must know of. Each is handed over until it is confirmed: again after
/// a restart, so that the same one can be seen twice.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A file is on the disk, whole and checked.
    FileArrived(FileArrived),
    /// A file will not arrive.
    FileLost(FileLost),
    /// Somebody sent a message. Every file that it mentions has arrived or is lost.
    Message(Message),
}

/// A file is on the disk under its final name, whole, checked and synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileArrived {
    /// Where it is; absolute.
    pub path: PathBuf,
    /// Its safe name: 1 to 100 bytes of `A-Z a-z 0-9 . _ -`. The name on the disk has the file's id
    /// before it.
    pub name: String,
    /// Its name as the person wrote it; for display only, and maybe empty.
    pub original_name: String,
    /// What its sender said that it is.
    pub mimetype: Mimetype,
    /// Its length, in bytes.
    pub size: u64,
    /// The digest of its bytes, which was checked.
    pub sha256: Sha256,
    /// How messages mention it.
    pub uri: PendingUri,
}

impl From<&ArrivedFile> for FileArrived {
    fn from(arrived: &ArrivedFile) -> Self {
        let file = &arrived.file;
        Self {
            path: arrived.path.clone(),
            name: file.filename.as_str().to_owned(),
            original_name: file.filename.original().to_owned(),
            mimetype: file.mimetype.clone(),
            size: file.size_bytes.get(),
            sha256: file.sha256,
            uri: file.uri(),
        }
    }
}

/// A file will not arrive; messages keep its URI as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLost {
    /// Why.
    pub reason: LostReason,
    /// How messages mention it.
    pub uri: PendingUri,
    /// Its safe name, where it is known.
    pub name: Option<String>,
    /// Its name as the person wrote it, where it is known.
    pub original_name: Option<String>,
    /// Its length in bytes, where it is known.
    pub size: Option<u64>,
}

impl From<&LostFile> for FileLost {
    fn from(lost: &LostFile) -> Self {
        Self {
            reason: lost.reason,
            uri: lost.uri,
            name: lost.name.clone(),
            original_name: lost.original_name.clone(),
            size: lost.size,
        }
    }
}

/// Why a file will not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LostReason {
    /// Nobody fetched it while it was served.
    Expired,
    /// It is not there (any more): somebody else acked it, or it never was. Files that were gone before
    /// an inbox without a past began are not told as lost.
    Gone,
    /// It is larger than this inbox takes. When the limit is raised while it still waits, it arrives
    /// after a restart.
    TooLarge,
    /// The platform refuses to hand it over, or announced it in a way that cannot be read.
    Refused,
    /// Its bytes came whole again and again, and never had the digest that was announced.
    Damaged,
}

impl LostReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Expired,
        Self::Gone,
        Self::TooLarge,
        Self::Refused,
        Self::Damaged,
    ];

    /// The word for it in JSON, in logs and in the journal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Gone => "gone",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::Damaged => "damaged",
        }
    }
}

/// A row of the feed that is neither the announcement of a file nor about one.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The row as the platform sent it, with `workspace:<absolute path>` in place of the URI of each
    /// file that has arrived. The URI of a lost file stays.
    pub row: Value,
}
