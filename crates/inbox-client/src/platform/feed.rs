//! The feed: what is asked of it, and how its rows are read.

use std::fmt;
use std::time::Duration;

use log::warn;
use pending_uploads_core::{
    ActivityId, ActivityType, FileId, NewActivity, Seq, Timestamp, WorkspaceId,
};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

use super::error::{CallError, malformed};
use super::waiting::{file_id, waiting_file};
use crate::WaitingFile;

/// Where a reading of the feed begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeedCursor {
    /// Before the first row; the rows come oldest first.
    Beginning,
    /// After this row; the rows come oldest first.
    After(ActivityId),
    /// At the newest row; the rows come newest first, and nobody waits for any.
    Newest,
}

/// What is asked of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedQuery {
    /// Where to begin.
    pub after: FeedCursor,
    /// Only rows of this type.
    pub kind: ActivityType,
    /// How long the platform shall wait when there is no row: in whole seconds, less than one is none.
    /// The platform waits for 60 seconds at the most.
    pub wait: Duration,
    /// The most rows, 1 to 500. The platform may send fewer, although it has more.
    pub limit: u32,
}

/// A row of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedRow {
    /// The row's id: the cursor, once the row is done.
    pub id: ActivityId,
    /// Its number in the feed.
    pub seq: Seq,
    /// When it was written down, by the platform's clock.
    pub created_at: Timestamp,
    /// What it says.
    pub content: RowContent,
    /// The row as the platform sent it. A field that is too deeply nested to be read (about 128
    /// levels) is there as a string, which is the JSON text of it.
    pub raw: Value,
}

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowContent {
    /// A file waits.
    Announcement(Box<WaitingFile>),
    /// A file waits, but what is said of it cannot be read: maybe not even which one it is.
    UnreadableAnnouncement(Option<FileId>),
    /// A file expired before it was acked.
    Expiry(FileId),
    /// Anything else.
    Message,
}

impl FeedQuery {
    /// Adds the parameters to the feed's URL.
    pub(super) fn on(&self, mut url: Url) -> Url {
        let mut pairs = url.query_pairs_mut();
        pairs.append_pair("type", self.kind.as_str());
        pairs.append_pair("limit", &self.limit.to_string());
        let cursor = match self.after {
            FeedCursor::Beginning => Some(Uuid::nil()),
            FeedCursor::After(row) => Some(row.as_uuid()),
            FeedCursor::Newest => None,
        };
        if let Some(cursor) = cursor {
            pairs.append_pair("since_id", &cursor.to_string());
            pairs.append_pair("wait", &self.patience().as_secs().to_string());
        }
        drop(pairs);
        url
    }

    /// How long the platform may wait before it answers.
    pub(super) fn patience(&self) -> Duration {
        match self.after {
            FeedCursor::Newest => Duration::ZERO,
            FeedCursor::Beginning | FeedCursor::After(_) => {
                Duration::from_secs(self.wait.as_secs().min(60))
            }
        }
    }
}

/// Reads the rows of an answer. A row without an id, a number and a time, and one of another feed, is
/// skipped; but when not one of several can be read, that is no answer at all, because a cursor would
/// never get past them.
pub(super) fn rows(workspace_id: WorkspaceId, body: &[u8]) -> Result<Vec<FeedRow>, CallError> {
    let rows: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|_| malformed("the feed is no list of rows"))?;
    let read: Vec<_> = rows
        .iter()
        .filter_map(|row| read_row(workspace_id, row))
        .collect();
    let skipped = rows.len() - read.len();
    if skipped == 0 {
        return Ok(read);
    }
    warn!(workspace:% = workspace_id, rows = skipped; "rows of the feed cannot be read");
    if read.is_empty() {
        return Err(malformed("no row of the feed can be read"));
    }
    Ok(read)
}

fn read_row(workspace_id: WorkspaceId, row: &RawValue) -> Option<FeedRow> {
    let Fields(fields) = serde_json::from_str(row.get()).ok()?;
    let text = |key| fields.get(key).and_then(Value::as_str);
    let feed = text("workspace_id").map(str::parse).transpose().ok()?;
    if feed.is_some_and(|feed: WorkspaceId| feed != workspace_id) {
        return None;
    }
    let (id, created_at) = (text("id")?.parse().ok()?, text("created_at")?.parse().ok()?);
    let seq = Seq(fields.get("seq")?.as_i64()?);
    let body = fields.get("request_body").unwrap_or(&Value::Null);
    let content = content(workspace_id, text("method").unwrap_or_default(), body);
    Some(FeedRow {
        id,
        seq,
        created_at,
        content,
        raw: Value::Object(fields),
    })
}

fn content(workspace_id: WorkspaceId, method: &str, body: &Value) -> RowContent {
    match method {
        NewActivity::UPLOAD_RECEIVE => waiting_file(workspace_id, body).map_or_else(
            || RowContent::UnreadableAnnouncement(file_id(body)),
            |file| RowContent::Announcement(Box::new(file)),
        ),
        NewActivity::UPLOAD_EXPIRED => {
            file_id(body).map_or(RowContent::Message, RowContent::Expiry)
        }
        _ => RowContent::Message,
    }
}

/// The value, or its text if it is too deeply nested. The platform took it with the same bound, but as
/// a document of its own: within a list of rows it lies deeper.
fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| Value::String(raw.get().to_owned()))
}

/// The fields of an object, each read as a document of its own.
struct Fields(Map<String, Value>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Map::new();
                while let Some((key, raw)) = map.next_entry::<String, &RawValue>()? {
                    fields.insert(key, value(raw));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}
