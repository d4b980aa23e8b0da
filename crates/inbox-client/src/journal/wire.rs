//! The JSON of a journal's entries.

use std::num::NonZeroU64;
use std::path::PathBuf;

use pending_uploads_core::{Filename, Mimetype, PendingUri, Seq};
use serde::{Deserialize, Serialize};

use super::records::{ArrivedFile, Entry, LostFile, Position};
use crate::{LostReason, WaitingFile};

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub(super) enum WireEntry {
    Cursor(WirePosition),
    Arrived(WireArrived),
    Lost(WireLost),
    Acked { file_id: String },
    Confirmed { file_id: String },
    LossConfirmed { file_id: String },
    MessageConfirmed { id: String, seq: i64 },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WirePosition {
    id: String,
    seq: i64,
    created_at: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireArrived {
    uri: String,
    name: String,
    original_name: String,
    mimetype: String,
    size: NonZeroU64,
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    path: PathBuf,
    arrived_at: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireLost {
    uri: String,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    lost_at: String,
}

impl From<&Entry> for WireEntry {
    fn from(entry: &Entry) -> Self {
        match entry {
            Entry::Cursor(position) => Self::Cursor(position.into()),
            Entry::Arrived(arrived) => Self::Arrived(arrived.into()),
            Entry::Lost(lost) => Self::Lost(lost.into()),
            Entry::Acked(file_id) => Self::Acked {
                file_id: file_id.to_string(),
            },
            Entry::Confirmed(file_id) => Self::Confirmed {
                file_id: file_id.to_string(),
            },
            Entry::LossConfirmed(file_id) => Self::LossConfirmed {
                file_id: file_id.to_string(),
            },
            Entry::MessageConfirmed(id, seq) => Self::MessageConfirmed {
                id: id.to_string(),
                seq: seq.0,
            },
        }
    }
}

impl From<&Position> for WirePosition {
    fn from(position: &Position) -> Self {
        Self {
            id: position.id.to_string(),
            seq: position.seq.0,
            created_at: position.created_at.to_string(),
        }
    }
}

impl From<&ArrivedFile> for WireArrived {
    fn from(arrived: &ArrivedFile) -> Self {
        let file = &arrived.file;
        Self {
            uri: file.uri().to_string(),
            name: file.filename.as_str().to_owned(),
            original_name: file.filename.original().to_owned(),
            mimetype: file.mimetype.to_string(),
            size: file.size_bytes,
            sha256: file.sha256.to_string(),
            expires_at: file.expires_at.map(|time| time.to_string()),
            path: arrived.path.clone(),
            arrived_at: arrived.arrived_at.to_string(),
        }
    }
}

impl From<&LostFile> for WireLost {
    fn from(lost: &LostFile) -> Self {
        Self {
            uri: lost.uri.to_string(),
            reason: lost.reason.as_str().to_owned(),
            name: lost.name.clone(),
            original_name: lost.original_name.clone(),
            size: lost.size,
            lost_at: lost.lost_at.to_string(),
        }
    }
}

impl WireEntry {
    /// None when a value in it is none that was ever written.
    pub(super) fn into_entry(self) -> Option<Entry> {
        Some(match self {
            Self::Cursor(position) => Entry::Cursor(position.into_position()?),
            Self::Arrived(arrived) => Entry::Arrived(arrived.into_file()?),
            Self::Lost(lost) => Entry::Lost(lost.into_file()?),
            Self::Acked { file_id } => Entry::Acked(file_id.parse().ok()?),
            Self::Confirmed { file_id } => Entry::Confirmed(file_id.parse().ok()?),
            Self::LossConfirmed { file_id } => Entry::LossConfirmed(file_id.parse().ok()?),
            Self::MessageConfirmed { id, seq } => {
                Entry::MessageConfirmed(id.parse().ok()?, Seq(seq))
            }
        })
    }
}

impl WirePosition {
    fn into_position(self) -> Option<Position> {
        Some(Position {
            id: self.id.parse().ok()?,
            seq: Seq(self.seq),
            created_at: self.created_at.parse().ok()?,
        })
    }
}

impl WireArrived {
    fn into_file(self) -> Option<ArrivedFile> {
        let uri: PendingUri = self.uri.parse().ok()?;
        let expires_at = self.expires_at.map(|time| time.parse()).transpose().ok()?;
        Some(ArrivedFile {
            file: WaitingFile {
                workspace_id: uri.workspace_id,
                file_id: uri.file_id,
                filename: filename(self.name, self.original_name),
                mimetype: Mimetype::parse(&self.mimetype),
                size_bytes: self.size,
                sha256: self.sha256.parse().ok()?,
                expires_at,
            },
            path: self.path,
            arrived_at: self.arrived_at.parse().ok()?,
        })
    }
}

impl WireLost {
    fn into_file(self) -> Option<LostFile> {
        let is_it = |reason: &LostReason| reason.as_str() == self.reason;
        Some(LostFile {
            uri: self.uri.parse().ok()?,
            reason: LostReason::ALL.into_iter().find(is_it)?,
            name: self.name,
            original_name: self.original_name,
            size: self.size,
            lost_at: self.lost_at.parse().ok()?,
        })
    }
}

/// The names as they were written; cleaned again, if they were written by other rules than today's.
fn filename(name: String, original: String) -> Filename {
    let again = Filename::sanitize(&original);
    Filename::restore(name, original).unwrap_or(again)
}
