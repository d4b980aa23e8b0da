//! Files that wait, as the platform tells of them: in its list, and in a row of the feed.

use std::num::NonZeroU64;

use log::warn;
use pending_uploads_core::{FileId, Filename, Mimetype, PendingUri, Sha256, WorkspaceId};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::{CallError, malformed};
use crate::WaitingFile;

/// What waits for a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WaitingList {
    /// The files of which all that is needed can be read, oldest first.
    pub files: Vec<WaitingFile>,
    /// The files that wait, too, but of which nothing more than the id can be used, in the order of
    /// the platform: they can be neither fetched nor checked.
    pub unreadable: Vec<FileId>,
}

/// What is said of a file, with the names of the wire.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    #[serde(rename = "file_id")]
    file_id: String,
    name: String,
    mime_type: Option<String>,
    size: NonZeroU64,
    uri: String,
    original_name: Option<String>,
    sha256: String,
    #[serde(rename = "expires_at")]
    expires_at: Option<String>,
}

/// No more of an entry than which file it is about, whatever the rest of it is.
#[derive(Debug, Deserialize)]
struct Named {
    file_id: String,
}

/// Reads a list. Entries that do not even tell which file they are about are only logged.
pub(super) fn list(workspace_id: WorkspaceId, body: &[u8]) -> Result<WaitingList, CallError> {
    let entries: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|_| malformed("what waits is no list of files"))?;
    let mut list = WaitingList::default();
    for entry in &entries {
        let said = serde_json::from_str(entry.get()).ok();
        match said.and_then(|said| waiting_file(workspace_id, &said)) {
            Some(file) => list.files.push(file),
            None => list.unreadable.extend(named(entry)),
        }
    }
    let skipped = entries.len() - list.files.len();
    if skipped > 0 {
        let unnamed = skipped - list.unreadable.len();
        warn!(workspace:% = workspace_id, files = skipped, unnamed; "files that wait cannot be read");
    }
    Ok(list)
}

fn named(entry: &RawValue) -> Option<FileId> {
    let named: Named = serde_json::from_str(entry.get()).ok()?;
    named.file_id.parse().ok()
}

/// Reads what is said of a file that waits for `workspace_id`. None when anything of it that is needed
/// is missing or is not what it should be, or when it is another workspace's.
pub(super) fn waiting_file(workspace_id: WorkspaceId, said: &Value) -> Option<WaitingFile> {
    let said = Said::deserialize(said).ok()?;
    let uri = PendingUri {
        workspace_id,
        file_id: said.file_id.parse().ok()?,
    };
    let named: PendingUri = said.uri.parse().ok()?;
    let expires_at = said.expires_at.map(|time| time.parse()).transpose().ok()?;
    (named == uri).then_some(())?;
    Some(WaitingFile {
        workspace_id,
        file_id: uri.file_id,
        filename: filename(&said.name, said.original_name.as_deref())?,
        mimetype: said
            .mime_type
            .map_or_else(Mimetype::absent, |value| Mimetype::parse(&value)),
        size_bytes: said.size,
        sha256: said.sha256.parse().ok()?,
        expires_at,
    })
}

/// The file that is spoken of, whatever else cannot be read.
pub(super) fn file_id(said: &Value) -> Option<FileId> {
    said.get("file_id")?.as_str()?.parse().ok()
}

/// Puts both names through the sanitizer again, each into its own half. Without an original name the
/// safe one stands for it.
pub(super) fn filename(name: &str, original: Option<&str>) -> Option<Filename> {
    let safe = Filename::sanitize(name);
    let original = Filename::sanitize(original.unwrap_or(safe.as_str()));
    Filename::restore(safe.as_str().to_owned(), original.original().to_owned()).ok()
}

/// Reads a digest.
pub(super) fn digest(text: &str) -> Option<Sha256> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn said(workspace: WorkspaceId, file: FileId) -> Value {
        json!({
            "file_id": file.to_string(), "name": "a.pdf", "mimeType": "application/pdf", "size": 3,
            "uri": format!("platform-pending:{workspace}/{file}"), "originalName": "ä.pdf",
            "sha256": Sha256::of(b"abc").to_string(), "expires_at": "2026-05-05T12:00:00Z",
        })
    }

    fn read_with(key: &str, value: Value) -> Option<WaitingFile> {
        let (workspace, file) = (WorkspaceId::generate(), FileId::generate());
        let mut said = said(workspace, file);
        said[key] = value;
        waiting_file(workspace, &said)
    }

    #[test]
    fn all_that_is_said_is_read() {
        let (workspace, file) = (WorkspaceId::generate(), FileId::generate());
        let read = waiting_file(workspace, &said(workspace, file)).unwrap();
        assert_eq!(read.uri().to_string(), said(workspace, file)["uri"]);
        assert_eq!(read.filename.as_str(), "a.pdf");
        assert_eq!(read.filename.original(), "ä.pdf");
        assert_eq!(read.mimetype.as_str(), "application/pdf");
        assert_eq!(read.size_bytes.get(), 3);
        assert_eq!(read.sha256, Sha256::of(b"abc"));
        assert_eq!(read.expires_at.unwrap().to_string(), "2026-05-05T12:00:00Z");
    }

    #[test]
    fn what_is_missing_or_wrong_makes_it_unreadable() {
        let other = PendingUri {
            workspace_id: WorkspaceId::generate(),
            file_id: FileId::generate(),
        };
        for (key, value) in [
            ("file_id", json!("../../etc/passwd")),
            ("file_id", json!(FileId::generate().to_string())),
            ("file_id", Value::Null),
            ("name", json!(7)),
            ("size", json!(0)),
            ("size", json!(-1)),
            ("size", json!(1.5)),
            ("size", json!("3")),
            ("uri", json!(other.to_string())),
            ("uri", json!("workspace:/etc/passwd")),
            ("sha256", json!("abc")),
            ("sha256", Value::Null),
            ("expires_at", json!("tomorrow")),
        ] {
            assert_eq!(read_with(key, value.clone()), None, "{key}: {value}");
        }
    }

    #[test]
    fn what_is_not_needed_may_be_missing() {
        let absent = read_with("mimeType", Value::Null).unwrap();
        assert_eq!(absent.mimetype, Mimetype::absent());
        let unnamed = read_with("originalName", Value::Null).unwrap();
        assert_eq!(unnamed.filename.original(), "a.pdf");
        assert_eq!(
            read_with("expires_at", Value::Null).unwrap().expires_at,
            None
        );
    }

    #[test]
    fn a_media_type_that_is_none_becomes_octet_stream() {
        let read = read_with("mimeType", json!("text/html\r\nX: y")).unwrap();
        assert_eq!(read.mimetype.as_str(), "application/octet-stream");
    }

    proptest! {
        #[test]
        fn both_names_are_made_safe(name in any::<String>(), original in prop::option::of(any::<String>())) {
            let read = filename(&name, original.as_deref()).unwrap();
            let safe = Filename::sanitize(&name);
            prop_assert_eq!(read.as_str(), safe.as_str());
            if let Some(original) = original {
                let shown = Filename::sanitize(&original);
                prop_assert_eq!(read.original(), shown.original());
            }
        }
    }
}
