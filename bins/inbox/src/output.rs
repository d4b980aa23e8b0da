//! The lines on stdout: one JSON object each.

use std::io::{self, IsTerminal, Write};

use inbox_client::{Event, FileArrived, FileLost};
use log::warn;
use pending_uploads_core::WorkspaceId;
use serde::Serialize;
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::progress::Bars;

/// An event as others read it.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    FileArrived {
        workspace_id: String,
        path: String,
        name: &'a str,
        original_name: &'a str,
        mimetype: &'a str,
        size: u64,
        sha256: String,
        uri: String,
    },
    FileLost {
        workspace_id: String,
        reason: &'static str,
        uri: String,
        name: Option<&'a str>,
        original_name: Option<&'a str>,
        size: Option<u64>,
    },
    Message {
        workspace_id: String,
        row: &'a Value,
    },
}

/// The word for what happened, as in the field `event`.
pub(crate) const fn kind(event: &Event) -> &'static str {
    match event {
        Event::FileArrived(_) => "file_arrived",
        Event::FileLost(_) => "file_lost",
        Event::Message(_) => "message",
    }
}

/// The event as one line, with its line break.
pub(crate) fn event_line(workspace_id: WorkspaceId, event: &Event) -> io::Result<String> {
    let workspace_id = workspace_id.to_string();
    json_line(&match event {
        Event::FileArrived(file) => arrived(workspace_id, file),
        Event::FileLost(file) => lost(workspace_id, file),
        Event::Message(message) => Line::Message {
            workspace_id,
            row: &message.row,
        },
    })
}

fn arrived(workspace_id: String, file: &FileArrived) -> Line<'_> {
    Line::FileArrived {
        workspace_id,
        // It is UTF-8: the folder was checked, and the name is ASCII.
        path: file.path.to_string_lossy().into_owned(),
        name: &file.name,
        original_name: &file.original_name,
        mimetype: file.mimetype.as_str(),
        size: file.size,
        sha256: file.sha256.to_string(),
        uri: file.uri.to_string(),
    }
}

fn lost(workspace_id: String, file: &FileLost) -> Line<'_> {
    Line::FileLost {
        workspace_id,
        reason: file.reason.as_str(),
        uri: file.uri.to_string(),
        name: file.name.as_deref(),
        original_name: file.original_name.as_deref(),
        size: file.size,
    }
}

/// `value` as one line, with its line break.
pub(crate) fn json_line(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

/// Writes `text` to stdout at once.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Stdout, which several workspaces share, line by line.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// The bars that a line on the same terminal would tear.
    bars: Bars,
}

impl Output {
    /// Stdout, beside `bars`. Whoever reads a pipe slowly must not hold them up.
    pub(crate) fn beside(bars: &Bars) -> Self {
        let bars = if io::stdout().is_terminal() {
            bars.clone()
        } else {
            Bars::default()
        };
        Self { bars }
    }

    /// Writes `line`, which has its line break, and waits until the system has taken it. When the
    /// future is dropped, the line is written all the same, as long as the process lives.
    pub(crate) async fn print(&self, line: String) -> io::Result<()> {
        let bars = self.bars.clone();
        let written = spawn_blocking(move || bars.aside(|| print(&line)));
        written.await.unwrap_or_else(|error| {
            warn!(error:% = error; "a line could not be written");
            Err(io::ErrorKind::Other.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use inbox_client::{LostReason, Message};
    use pending_uploads_core::{FileId, Mimetype, PendingUri, Sha256};
    use serde_json::json;

    use super::*;

    const WORKSPACE: &str = "11111111-1111-4111-8111-111111111111";
    const FILE: &str = "22222222-2222-4222-8222-222222222222";

    fn workspace() -> WorkspaceId {
        WORKSPACE.parse().unwrap()
    }

    fn uri() -> PendingUri {
        let file_id: FileId = FILE.parse().unwrap();
        PendingUri {
            workspace_id: workspace(),
            file_id,
        }
    }

    #[test]
    fn a_file_that_arrived_is_told_with_all_that_is_known_of_it() {
        let event = Event::FileArrived(FileArrived {
            path: "/srv/a \"b\"\n/x-__.pdf".into(),
            name: "__.pdf".to_owned(),
            original_name: "中文.pdf".to_owned(),
            mimetype: Mimetype::parse("application/pdf"),
            size: 3,
            sha256: Sha256::of(b"abc"),
            uri: uri(),
        });
        let line = event_line(workspace(), &event).unwrap();
        let expected = format!(
            "{{\"event\":\"file_arrived\",\"workspace_id\":\"{WORKSPACE}\",\
             \"path\":\"/srv/a \\\"b\\\"\\n/x-__.pdf\",\"name\":\"__.pdf\",\
             \"original_name\":\"中文.pdf\",\"mimetype\":\"application/pdf\",\"size\":3,\
             \"sha256\":\"{}\",\"uri\":\"platform-pending:{WORKSPACE}/{FILE}\"}}\n",
            Sha256::of(b"abc")
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn what_is_not_known_of_a_lost_file_is_null() {
        for reason in LostReason::ALL {
            let event = Event::FileLost(FileLost {
                reason,
                uri: uri(),
                name: None,
                original_name: None,
                size: None,
            });
            let expected = format!(
                "{{\"event\":\"file_lost\",\"workspace_id\":\"{WORKSPACE}\",\"reason\":\"{}\",\
                 \"uri\":\"platform-pending:{WORKSPACE}/{FILE}\",\"name\":null,\
                 \"original_name\":null,\"size\":null}}\n",
                reason.as_str()
            );
            assert_eq!(event_line(workspace(), &event).unwrap(), expected);
        }
    }

    #[test]
    fn a_message_is_its_row_on_one_line() {
        let row = json!({"id": "x", "summary": "two\nlines", "request_body": {"b": 1, "a": null}});
        let event = Event::Message(Message { row });
        let expected = format!(
            "{{\"event\":\"message\",\"workspace_id\":\"{WORKSPACE}\",\"row\":{{\"id\":\"x\",\
             \"summary\":\"two\\nlines\",\"request_body\":{{\"b\":1,\"a\":null}}}}}}\n"
        );
        assert_eq!(event_line(workspace(), &event).unwrap(), expected);
    }

    #[test]
    fn the_kind_is_the_word_in_the_line() {
        let event = Event::Message(Message { row: json!({}) });
        let line: Value = serde_json::from_str(&event_line(workspace(), &event).unwrap()).unwrap();
        assert_eq!(line["event"], kind(&event));
    }
}
