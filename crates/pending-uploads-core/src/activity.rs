//! Rows of a workspace's feed, and how it is asked for them.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::{ActivityId, PendingUpload, SweptFile, Timestamp, WorkspaceId};

/// The longest [`FeedText`], in bytes.
const MAX_TEXT_BYTES: usize = 1024;
/// The longest [`ActivityType`], in bytes.
const MAX_TYPE_BYTES: usize = 64;

/// The number of a row in its workspace's feed: 1, 2, 3, … in commit order, without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub i64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What kind of thing a row tells of: `a2a_receive`, `chat_upload_expired`, or a caller's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ActivityType(Cow<'static, str>);

/// The text is no activity type: 1 to 64 characters of `a-z 0-9 _` are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an activity type is 1 to 64 characters of a-z, 0-9 and _")]
pub struct InvalidActivityType;

impl ActivityType {
    /// Something for the workspace: a message, or a file that waits.
    pub const A2A_RECEIVE: Self = Self(Cow::Borrowed("a2a_receive"));
    /// A file expired before it was acked.
    pub const CHAT_UPLOAD_EXPIRED: Self = Self(Cow::Borrowed("chat_upload_expired"));

    /// The type as it stands in JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ActivityType {
    type Err = InvalidActivityType;

    fn from_str(text: &str) -> Result<Self, InvalidActivityType> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if (1..=MAX_TYPE_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(Cow::Owned(text.to_owned())))
        } else {
            Err(InvalidActivityType)
        }
    }
}

/// A short text of a row: no control characters, at most 1,024 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeedText(String);

impl FeedText {
    /// Drops the control characters of `text` and cuts it, at a character, to 1,024 bytes.
    pub fn clean(text: &str) -> Self {
        let mut clean: String = text.chars().filter(|c| !c.is_control()).collect();
        clean.truncate(clean.floor_char_boundary(MAX_TEXT_BYTES));
        Self(clean)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether what the row tells of went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActivityStatus {
    /// It did.
    Ok,
    /// It did not; the row's `error_detail` says why.
    Error,
}

impl ActivityStatus {
    /// The word for it in JSON and in stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

/// The text is no status: `ok` or `error` is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a status is ok or error")]
pub struct InvalidActivityStatus;

/// Reads what [`ActivityStatus::as_str`] prints.
impl FromStr for ActivityStatus {
    type Err = InvalidActivityStatus;

    fn from_str(text: &str) -> Result<Self, InvalidActivityStatus> {
        match text {
            "ok" => Ok(Self::Ok),
            "error" => Ok(Self::Error),
            _ => Err(InvalidActivityStatus),
        }
    }
}

/// A row to be appended to a feed.
#[derive(Debug, Clone, PartialEq)]
pub struct NewActivity {
    /// What kind of thing it tells of.
    pub activity_type: ActivityType,
    /// The workspace that it comes from; none when a person at the canvas sent it.
    pub source_id: Option<WorkspaceId>,
    /// The workspace that it is for.
    pub target_id: Option<WorkspaceId>,
    /// The method that was called.
    pub method: Option<FeedText>,
    /// One line for a person.
    pub summary: Option<FeedText>,
    /// What was asked, as JSON.
    pub request_body: Option<Value>,
    /// What was answered, as JSON.
    pub response_body: Option<Value>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// Whether it went well.
    pub status: ActivityStatus,
    /// What went wrong.
    pub error_detail: Option<FeedText>,
}

impl NewActivity {
    /// How long its bodies are together, in bytes, as the text of their JSON.
    pub fn body_bytes(&self) -> usize {
        let bodies = [&self.request_body, &self.response_body];
        let lengths = bodies.into_iter().flatten().map(|body| {
            let mut length = Length(0);
            // Counting does not fail, nor does a value that has no key but texts.
            serde_json::to_writer(&mut length, body).ok();
            length.0
        });
        lengths.sum()
    }

    /// The method of a row that announces a file.
    pub const UPLOAD_RECEIVE: &str = "chat_upload_receive";
    /// The method of a row that says that a file expired without an ack.
    pub const UPLOAD_EXPIRED: &str = "chat_upload_expired";

    /// The row that announces `upload` to its workspace.
    pub fn announcement(upload: &PendingUpload) -> Self {
        let name = upload.filename.as_str();
        Self {
            request_body: Some(json!({
                "file_id": upload.file_id.to_string(),
                "name": name,
                "mimeType": upload.mimetype.as_str(),
                "size": upload.size_bytes,
                "uri": upload.uri().to_string(),
                "originalName": upload.filename.original(),
                "sha256": upload.sha256.to_string(),
            })),
            ..Self::about_file(
                ActivityType::A2A_RECEIVE,
                Self::UPLOAD_RECEIVE,
                upload.workspace_id,
                name,
            )
        }
    }

    /// The row that says that `file` expired before it was acked.
    pub fn expiry(file: &SweptFile) -> Self {
        let name = file
            .filename
            .as_ref()
            .map_or("", |filename| filename.as_str());
        Self {
            request_body: Some(json!({
                "file_id": file.file_id.to_string(),
                "name": name,
                "size": file.size_bytes,
            })),
            status: ActivityStatus::Error,
            error_detail: Some(FeedText::clean("the file expired before it was acked")),
            ..Self::about_file(
                ActivityType::CHAT_UPLOAD_EXPIRED,
                Self::UPLOAD_EXPIRED,
                file.workspace_id,
                name,
            )
        }
    }

    /// The row that hands the message `request` to `target` as `method`.
    pub fn message(target: WorkspaceId, method: &str, request: Value) -> Self {
        Self {
            activity_type: ActivityType::A2A_RECEIVE,
            source_id: None,
            target_id: Some(target),
            method: Some(FeedText::clean(method)),
            summary: Some(FeedText::clean(method)),
            request_body: Some(request),
            response_body: None,
            duration_ms: None,
            status: ActivityStatus::Ok,
            error_detail: None,
        }
    }

    fn about_file(kind: ActivityType, method: &str, target: WorkspaceId, name: &str) -> Self {
        Self {
            activity_type: kind,
            summary: Some(FeedText::clean(&format!("{method}: {name}"))),
            request_body: None,
            ..Self::message(target, method, Value::Null)
        }
    }
}

/// A row of a feed.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// The row's id: what a poller keeps as its cursor.
    pub id: ActivityId,
    /// The workspace whose feed it is in.
    pub workspace_id: WorkspaceId,
    /// Its number there.
    pub seq: Seq,
    /// When it was appended, by the clock of the instance that did.
    pub created_at: Timestamp,
    /// What it says.
    pub content: NewActivity,
}

/// Who sent what a row tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A person at the canvas: rows without a `source_id`.
    Canvas,
    /// Another workspace: rows with one.
    Agent,
}

/// Where a reading of the feed begins, and which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeedStart {
    /// After this row, oldest first.
    After(ActivityId),
    /// At the oldest row that was not pruned, oldest first: what a reader asks for who has no
    /// cursor yet, or whose cursor is gone.
    Oldest,
    /// At the newest row, newest first.
    Newest,
}

/// How many rows are wanted: 1 to 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize(u32);

/// Zero rows were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at least one row must be asked for")]
pub struct InvalidPageSize;

impl PageSize {
    /// The most rows in one answer.
    pub const MAX: u32 = 500;
    /// From how many bytes of bodies on an answer ends, however few rows it has: a message may be
    /// large, and a page of the largest ones must not be.
    pub const MAX_BODY_BYTES: u32 = 1024 * 1024;

    /// That many rows; more than [`MAX`](Self::MAX) is taken as `MAX`.
    ///
    /// # Errors
    /// [`InvalidPageSize`] for zero.
    pub fn capped(rows: u64) -> Result<Self, InvalidPageSize> {
        match u32::try_from(rows) {
            Ok(0) => Err(InvalidPageSize),
            Ok(rows) => Ok(Self(rows.min(Self::MAX))),
            Err(_) => Ok(Self(Self::MAX)),
        }
    }

    /// The number of rows.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// 100 rows.
impl Default for PageSize {
    fn default() -> Self {
        Self(100)
    }
}

/// What is asked of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityQuery {
    /// Only rows of this type.
    pub activity_type: Option<ActivityType>,
    /// Only rows from there.
    pub source: Option<Source>,
    /// Where to begin, and which way to go.
    pub start: FeedStart,
    /// Only rows appended at or after this time. Where a clock was set by more than an hour, a store
    /// may leave out rows whose times are out of the feed's order by more than that; so it may with
    /// the other bound.
    pub created_since: Option<Timestamp>,
    /// Only rows appended strictly before this time.
    pub created_before: Option<Timestamp>,
    /// How many rows at most.
    pub limit: PageSize,
}

impl ActivityQuery {
    /// All rows from `start` on, 100 at most.
    pub fn from_start(start: FeedStart) -> Self {
        Self {
            activity_type: None,
            source: None,
            start,
            created_since: None,
            created_before: None,
            limit: PageSize::default(),
        }
    }
}

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_at_least_one_row_and_at_most_five_hundred() {
        assert_eq!(PageSize::capped(0), Err(InvalidPageSize));
        assert_eq!(PageSize::capped(1).map(PageSize::get), Ok(1));
        assert_eq!(PageSize::capped(501).map(PageSize::get), Ok(500));
        assert_eq!(PageSize::capped(u64::MAX).map(PageSize::get), Ok(500));
    }

    #[test]
    fn a_text_loses_its_control_characters_and_its_length() {
        assert_eq!(FeedText::clean("a\u{0}b\nc").as_str(), "abc");
        assert_eq!(FeedText::clean(&"é".repeat(600)).as_str().len(), 1024);
    }

    #[test]
    fn an_activity_type_is_a_lower_case_word() {
        assert_eq!("a2a_receive".parse(), Ok(ActivityType::A2A_RECEIVE));
        for text in ["", "A2A", "a b", "ü", &"a".repeat(65)] {
            assert_eq!(
                text.parse::<ActivityType>(),
                Err(InvalidActivityType),
                "{text}"
            );
        }
    }

    #[test]
    fn a_status_is_read_as_it_is_printed() {
        for status in [ActivityStatus::Ok, ActivityStatus::Error] {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert_eq!("x".parse::<ActivityStatus>(), Err(InvalidActivityStatus));
    }

    #[test]
    fn bodies_are_as_long_as_their_texts() {
        let body = serde_json::json!({"a": ["é\n\u{1}", 1.5, null, true], "b": {}});
        let workspace = WorkspaceId::generate();
        let mut row = NewActivity::message(workspace, "message/send", body.clone());
        assert_eq!(row.body_bytes(), body.to_string().len());
        row.response_body = Some(body.clone());
        assert_eq!(row.body_bytes(), 2 * body.to_string().len());
    }
}
