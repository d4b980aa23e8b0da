//! How a journal is written down: lines, each with a checksum of its own.
//!
//! A line is the first 16 hexadecimal digits of the SHA-256 of its JSON, a space, the JSON, and a line
//! feed, of which JSON has none inside. The first line is the header; each other line is what one
//! append wrote, as an array, so that it counts as a whole or not at all.

use pending_uploads_core::{Sha256, Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};
use url::Url;

use super::records::{Entry, Records};
use super::wire::WireEntry;

/// The format that this program writes, and the newest that it reads.
pub(super) const VERSION: u32 = 1;
const CHECKSUM_DIGITS: usize = 16;

/// What a journal is, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// The version of the format.
    pub(super) journal: u32,
    pub(super) platform: String,
    pub(super) workspace_id: String,
    pub(super) made_at: String,
}

impl Header {
    pub(super) fn new(platform: &Url, workspace: WorkspaceId, now: Timestamp) -> Self {
        Self {
            journal: VERSION,
            platform: platform.to_string(),
            workspace_id: workspace.to_string(),
            made_at: now.to_string(),
        }
    }

    pub(super) fn is_for(&self, workspace: WorkspaceId) -> bool {
        self.workspace_id.parse() == Ok(workspace)
    }
}

/// The sound part of a journal.
#[derive(Debug)]
pub(super) struct Sound {
    pub(super) header: Header,
    pub(super) records: Records,
    /// Where its last line ends, in bytes.
    pub(super) len: u64,
}

/// What is wrong with the bytes of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsound {
    /// The header is of a format that is not known.
    Newer(u32),
    /// This line, counted from one, is not as it was written, although lines after it are.
    Damaged(usize),
}

/// The line that says all of `entries`; fails when a path is not UTF-8.
pub(super) fn line(entries: &[Entry]) -> Result<Vec<u8>, serde_json::Error> {
    let wire: Vec<_> = entries.iter().map(WireEntry::from).collect();
    Ok(checked(&serde_json::to_string(&wire)?))
}

/// A whole journal that says what `records` say.
pub(super) fn whole(header: &Header, records: &Records) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = checked(&serde_json::to_string(header)?);
    for entries in records.entries() {
        bytes.extend(line(&entries)?);
    }
    Ok(bytes)
}

fn checked(json: &str) -> Vec<u8> {
    format!("{} {json}\n", checksum(json.as_bytes())).into_bytes()
}

/// Reads the bytes of a journal.
///
/// What an append leaves when the process or the machine is stopped in it is one line that is not
/// sound and has no sound one after it: it counts as never written. The header cannot be left like
/// that, since a journal gets its name when it is whole; only a file without any whole line is none.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Sound>, Unsound> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    if !first.ends_with(b"\n") {
        return Ok(None);
    }
    let mut found = Sound {
        header: read_header(sound(first).ok_or(Unsound::Damaged(1))?)?,
        records: Records::default(),
        len: first.len() as u64,
    };
    for number in 2.. {
        let Some(line) = lines.next() else {
            break;
        };
        let Some(json) = sound(line) else {
            if lines.any(|later| sound(later).is_some()) {
                return Err(Unsound::Damaged(number));
            }
            break;
        };
        let entries = read_entries(json).ok_or(Unsound::Damaged(number))?;
        for entry in &entries {
            found.records.apply(entry);
        }
        found.len += line.len() as u64;
    }
    Ok(Some(found))
}

/// The JSON of a line that is as it was written.
fn sound(line: &[u8]) -> Option<&[u8]> {
    let (digits, rest) = line.split_at_checked(CHECKSUM_DIGITS)?;
    let json = rest.strip_prefix(b" ")?.strip_suffix(b"\n")?;
    (checksum(json).as_bytes() == digits).then_some(json)
}

fn read_header(json: &[u8]) -> Result<Header, Unsound> {
    #[derive(Deserialize)]
    struct Version {
        journal: u32,
    }
    let version: Version = serde_json::from_slice(json).map_err(|_| Unsound::Damaged(1))?;
    if version.journal != VERSION {
        return Err(Unsound::Newer(version.journal));
    }
    serde_json::from_slice(json).map_err(|_| Unsound::Damaged(1))
}

fn read_entries(json: &[u8]) -> Option<Vec<Entry>> {
    let wire: Vec<WireEntry> = serde_json::from_slice(json).ok()?;
    wire.into_iter().map(WireEntry::into_entry).collect()
}

fn checksum(json: &[u8]) -> String {
    let mut digits = Sha256::of(json).to_string();
    digits.truncate(CHECKSUM_DIGITS);
    digits
}
