//! `inbox status`: what an inbox has done so far, and what waits for it.

use std::fmt::{self, Write as _};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use inbox_client::{
    CallError, CursorPosition, Platform, PlatformError, Status, StatusError, Timeouts, WaitingList,
};
use pending_uploads_core::WorkspaceId;
use serde::Serialize;

use crate::Done;
use crate::output::{json_line, print};
use crate::workspaces::WorkspaceSettings;
use crate::{logging, progress::Bars};

/// What is to be told.
#[derive(Debug)]
pub(crate) struct StatusPlan {
    /// The workspaces; at least one.
    pub(crate) workspaces: Vec<WorkspaceSettings>,
    /// The folder of the state.
    pub(crate) state_folder: PathBuf,
    /// How long the platform is waited for.
    pub(crate) timeouts: Timeouts,
    /// For whom it is told.
    pub(crate) format: Format,
    /// What is logged.
    pub(crate) log: String,
}

/// For whom it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusFailure {
    /// The process cannot get what every process needs.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// The journal of a workspace cannot be read.
    #[error("the journal of workspace {id} cannot be read")]
    Journal {
        /// The workspace.
        id: WorkspaceId,
        /// Why.
        source: StatusError,
    },
    /// What is told cannot be written.
    #[error("stdout cannot be written to")]
    Output(#[source] io::Error),
}

/// Why it is not known what waits.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("there is no token to ask the platform with")]
    NoToken,
    #[error(transparent)]
    Client(#[from] PlatformError),
    #[error(transparent)]
    Call(#[from] CallError),
}

/// What is told of one workspace.
#[derive(Debug, Serialize)]
struct Report {
    workspace_id: String,
    platform_url: String,
    cursor: Option<Cursor>,
    waiting: Option<Waiting>,
    waiting_error: Option<String>,
    arrived: u64,
    lost: u64,
    unacked: u64,
    unconfirmed: u64,
}

#[derive(Debug, Serialize)]
struct Cursor {
    id: String,
    seq: i64,
    created_at: String,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Waiting {
    /// All of them.
    files: u64,
    /// The bytes of those that can be read.
    bytes: u64,
    /// Those that are listed in a way that cannot be read.
    unreadable: u64,
}

/// Tells of each workspace, in turn. That the platform cannot be asked is told, too, and no failure.
pub(crate) fn run(plan: &StatusPlan) -> Result<Done, StatusFailure> {
    logging::start(&plan.log, &Bars::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StatusFailure::Runtime)?;
    runtime.block_on(tell(plan))?;
    Ok(Done::All)
}

async fn tell(plan: &StatusPlan) -> Result<(), StatusFailure> {
    for workspace in &plan.workspaces {
        let id = workspace.id;
        let status = Status::read(&plan.state_folder, id)
            .map_err(|source| StatusFailure::Journal { id, source })?;
        let waiting = waiting(workspace, plan.timeouts).await;
        let report = Report::of(workspace, status, waiting);
        let text = match plan.format {
            Format::Text => Ok(report.to_string()),
            Format::Json => json_line(&report),
        };
        text.and_then(|text| print(&text))
            .map_err(StatusFailure::Output)?;
    }
    Ok(())
}

async fn waiting(workspace: &WorkspaceSettings, timeouts: Timeouts) -> Result<Waiting, Unknown> {
    let token = workspace.token().map_err(|_| Unknown::NoToken)?;
    let platform = Platform::new(workspace.platform_url.clone(), timeouts)?;
    let list = platform
        .workspace(workspace.id, Arc::new(token))
        .waiting()
        .await?;
    Ok(Waiting::from(&list))
}

impl From<&WaitingList> for Waiting {
    fn from(list: &WaitingList) -> Self {
        let sizes = list.files.iter().map(|file| file.size_bytes.get());
        let (readable, unreadable) = (list.files.len() as u64, list.unreadable.len() as u64);
        Self {
            files: readable + unreadable,
            bytes: sizes.fold(0, u64::saturating_add),
            unreadable,
        }
    }
}

impl Report {
    fn of(
        workspace: &WorkspaceSettings,
        status: Option<Status>,
        waiting: Result<Waiting, Unknown>,
    ) -> Self {
        let count = |number: fn(&Status) -> u64| status.as_ref().map_or(0, number);
        Self {
            workspace_id: workspace.id.to_string(),
            platform_url: workspace.platform_url.to_string(),
            cursor: status.and_then(|status| status.cursor).map(Cursor::from),
            waiting: waiting.as_ref().ok().copied(),
            waiting_error: waiting
                .err()
                .map(|error| pending_uploads_core::Report(&error).to_string()),
            arrived: count(|status| status.arrived),
            lost: count(|status| status.lost),
            unacked: count(|status| status.unacked),
            unconfirmed: count(|status| status.unconfirmed),
        }
    }
}

impl From<CursorPosition> for Cursor {
    fn from(position: CursorPosition) -> Self {
        Self {
            id: position.id.to_string(),
            seq: position.seq.0,
            created_at: position.created_at.to_string(),
        }
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "workspace {}", self.workspace_id)?;
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<12}{value}");
        row("platform", self.platform_url.clone())?;
        row("cursor", self.cursor_text())?;
        row("waiting", self.waiting_text()?)?;
        row(
            "arrived",
            format!("{} (not acked yet: {})", files(self.arrived), self.unacked),
        )?;
        row("lost", files(self.lost))?;
        row(
            "unconfirmed",
            format!("{} events about files", self.unconfirmed),
        )
    }
}

impl Report {
    fn cursor_text(&self) -> String {
        match &self.cursor {
            Some(Cursor {
                id,
                seq,
                created_at,
            }) => format!("row {seq} of {created_at} ({id})"),
            None => "none yet".to_owned(),
        }
    }

    fn waiting_text(&self) -> Result<String, fmt::Error> {
        let mut text = match self.waiting {
            Some(Waiting {
                files: count,
                bytes,
                ..
            }) => {
                format!("{}, {bytes} bytes", files(count))
            }
            None => "unknown".to_owned(),
        };
        if let Some(Waiting {
            unreadable: unreadable @ 1..,
            ..
        }) = self.waiting
        {
            write!(text, " (cannot be read: {unreadable})")?;
        }
        if let Some(error) = &self.waiting_error {
            write!(text, ": {error}")?;
        }
        Ok(text)
    }
}

fn files(count: u64) -> String {
    match count {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use pending_uploads_core::FileId;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_counted_and_told() {
        let list = WaitingList {
            files: Vec::new(),
            unreadable: vec![FileId::generate(), FileId::generate()],
        };
        let id = WorkspaceId::generate();
        let mut report = Report {
            workspace_id: id.to_string(),
            platform_url: "http://127.0.0.1:8080/".to_owned(),
            cursor: None,
            waiting: Some(Waiting::from(&list)),
            waiting_error: None,
            arrived: 0,
            lost: 0,
            unacked: 0,
            unconfirmed: 0,
        };
        let told = "  waiting     2 files, 0 bytes (cannot be read: 2)\n";
        assert!(report.to_string().contains(told), "{report}");
        let line = serde_json::Value::from_str(&json_line(&report).unwrap()).unwrap();
        let said = serde_json::json!({"files": 2, "bytes": 0, "unreadable": 2});
        assert_eq!(line["waiting"], said);
        report.waiting = Some(Waiting::from(&WaitingList::default()));
        let told = "  waiting     0 files, 0 bytes\n";
        assert!(report.to_string().contains(told), "{report}");
    }
}
