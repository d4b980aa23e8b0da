//! `inbox send`: files go to a workspace, all together or not at all.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt;
use inbox_client::{
    CallError, Platform, PlatformError, PlatformWorkspace, Timeouts, UploadFile, UploadedFile,
};
use indicatif::ProgressBar;
use pending_uploads_core::{Limits, Mimetype, WorkspaceId};
use serde::Serialize;
use tokio::fs::File;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::Done;
use crate::logging;
use crate::output::{json_line, print};
use crate::progress::Bars;
use crate::tokens::TokenOrigin;
use crate::workspaces::WorkspaceSettings;

/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// What is to be sent.
#[derive(Debug)]
pub(crate) struct SendPlan {
    /// The workspace, with its token.
    pub(crate) workspace: (WorkspaceSettings, TokenOrigin),
    /// The files, in order; at least one.
    pub(crate) files: Vec<Source>,
    /// The media type of all of them; without one, what their names suggest.
    pub(crate) mimetype: Option<Mimetype>,
    /// How long the platform is waited for.
    pub(crate) timeouts: Timeouts,
    /// What is logged.
    pub(crate) log: String,
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// At this path.
    Path(PathBuf),
    /// On stdin.
    Stdin {
        /// What the file is called.
        name: String,
    },
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendFailure {
    /// The process cannot get what every process needs.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// The HTTP client cannot be had.
    #[error(transparent)]
    Client(#[from] PlatformError),
    /// A file cannot be read.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// A folder was named.
    #[error("{} is a folder", .0.display())]
    Folder(PathBuf),
    /// There is nothing in a file.
    #[error("{} is empty, and the platform takes no empty file", .0.display())]
    Empty(PathBuf),
    /// A file is larger than the platform takes.
    #[error("{} has {length} bytes, and the platform takes {max} at most", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length, in bytes.
        length: u64,
        /// The most that is taken.
        max: u64,
    },
    /// All files together are larger than the platform takes in one request.
    #[error(
        "the files have {length} bytes together, and the platform takes {max} at most in one \
         request, its framing included: send them one by one"
    )]
    TooLargeTogether {
        /// Their length, in bytes.
        length: u64,
        /// The most that is taken.
        max: u64,
    },
    /// There are more files than the platform takes in one request.
    #[error("these are {count} files, and the platform takes {max} at most in one request")]
    TooMany {
        /// How many.
        count: usize,
        /// The most that are taken.
        max: u32,
    },
    /// The limits could not be asked for.
    #[error("the platform could not be asked what it takes")]
    Limits(#[source] CallError),
    /// The upload failed.
    #[error("the files were not sent")]
    NotSent(#[source] CallError),
    /// Nobody knows whether the platform has the files.
    #[error("the platform did not say whether it took the files: look before you send them again")]
    Unknown(#[source] CallError),
    /// What was sent cannot be told.
    #[error("the files were sent, and stdout cannot be written to")]
    Output(#[source] io::Error),
}

/// A file that is ready to be read.
struct Ready {
    path: PathBuf,
    name: String,
    length: Option<u64>,
    bytes: Box<dyn AsyncRead + Send + Unpin>,
}

/// A file that was sent, as others read it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    workspace_id: String,
    path: String,
    uri: &'a str,
    name: &'a str,
    original_name: &'a str,
    mimetype: &'a str,
    size: Option<u64>,
    sha256: Option<String>,
}

/// Sends the files, and prints a line for each.
pub(crate) fn run(plan: SendPlan) -> Result<Done, SendFailure> {
    let bars = Bars::on_terminal();
    logging::start(&plan.log, &bars);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SendFailure::Runtime)?;
    let outcome = runtime.block_on(send(plan, &bars));
    // A read of a terminal that nobody types into would hold it up for ever.
    runtime.shutdown_background();
    outcome.map(|()| Done::All)
}

async fn send(plan: SendPlan, bars: &Bars) -> Result<(), SendFailure> {
    let (workspace, token) = plan.workspace;
    let platform = Platform::new(workspace.platform_url.clone(), plan.timeouts)?;
    let mut files = Vec::new();
    for source in plan.files {
        files.push(Ready::open(source).await?);
    }
    check(
        &files,
        &platform.limits().await.map_err(SendFailure::Limits)?,
    )?;
    let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
    let platform = platform.workspace(workspace.id, Arc::new(token));
    let uploaded = upload(&platform, files, plan.mimetype.as_ref(), bars).await?;
    let id = workspace.id;
    for (path, file) in paths.iter().zip(&uploaded) {
        let line = json_line(&Line::of(id, path, file));
        line.and_then(|line| print(&line))
            .map_err(SendFailure::Output)?;
    }
    Ok(())
}

/// Says before a byte is sent what the platform would say after all of them.
fn check(files: &[Ready], limits: &Limits) -> Result<(), SendFailure> {
    let max = limits.max_files();
    if files.len() > usize::try_from(max).unwrap_or(usize::MAX) {
        let count = files.len();
        return Err(SendFailure::TooMany { count, max });
    }
    let mut together: u64 = 0;
    for file in files {
        let length = file.length.unwrap_or_default();
        let max = limits.per_file_bytes();
        if length > max {
            return Err(SendFailure::TooLarge {
                path: file.path.clone(),
                length,
                max,
            });
        }
        together = together.saturating_add(length);
    }
    let max = limits.per_request_bytes();
    if together > max {
        let length = together;
        return Err(SendFailure::TooLargeTogether { length, max });
    }
    Ok(())
}

async fn upload(
    platform: &PlatformWorkspace,
    files: Vec<Ready>,
    mimetype: Option<&Mimetype>,
    bars: &Bars,
) -> Result<Vec<UploadedFile>, SendFailure> {
    let mut shown = Vec::new();
    let files = files.into_iter().map(|file| {
        let bar = bars.add(&file.name, file.length, 0);
        shown.push(bar.clone());
        file.into_upload(mimetype, bar)
    });
    let files: Vec<_> = files.collect();
    let uploaded = platform.upload(files).await;
    for bar in shown {
        bar.finish_and_clear();
    }
    uploaded.map_err(failed)
}

fn failed(error: CallError) -> SendFailure {
    match error {
        // The platform's store may have been lost after the commit, and a proxy in front of it knows
        // no better.
        CallError::Unavailable { .. }
        | CallError::Unanswered(_)
        | CallError::TimedOut
        | CallError::BrokenOff
        | CallError::Malformed { .. } => SendFailure::Unknown(error),
        error => SendFailure::NotSent(error),
    }
}

impl Ready {
    async fn open(source: Source) -> Result<Self, SendFailure> {
        match source {
            Source::Path(path) => Self::open_path(path).await,
            Source::Stdin { name } => Ok(Self {
                path: "-".into(),
                name,
                length: None,
                bytes: Box::new(tokio::io::stdin()),
            }),
        }
    }

    async fn open_path(path: PathBuf) -> Result<Self, SendFailure> {
        let unreadable = |error| SendFailure::Unreadable(path.clone(), error);
        let file = File::open(&path).await.map_err(unreadable)?;
        let kind = file.metadata().await.map_err(unreadable)?;
        if kind.is_dir() {
            return Err(SendFailure::Folder(path));
        }
        // A pipe has no length before its end.
        let length = kind.is_file().then_some(kind.len());
        if length == Some(0) {
            return Err(SendFailure::Empty(path));
        }
        Ok(Self {
            name: name_of(&path),
            path,
            length,
            bytes: Box::new(file),
        })
    }

    fn into_upload(self, mimetype: Option<&Mimetype>, bar: ProgressBar) -> UploadFile {
        let guessed = || guess(&self.name);
        let mimetype = mimetype.cloned().unwrap_or_else(guessed);
        let bytes = ReaderStream::with_capacity(self.bytes, PIECE_BYTES)
            .inspect_ok(move |piece| bar.inc(piece.len() as u64));
        UploadFile::from_stream(self.name, mimetype, self.length, bytes)
    }
}

/// The last part of the path, as it is shown to people.
fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// What the ending of a name suggests.
fn guess(name: &str) -> Mimetype {
    mime_guess::from_path(name)
        .first_raw()
        .map_or_else(Mimetype::absent, Mimetype::parse)
}

impl<'a> Line<'a> {
    fn of(workspace_id: WorkspaceId, path: &Path, file: &'a UploadedFile) -> Self {
        Self {
            workspace_id: workspace_id.to_string(),
            path: path.to_string_lossy().into_owned(),
            uri: &file.uri,
            name: file.filename.as_str(),
            original_name: file.filename.original(),
            mimetype: file.mimetype.as_str(),
            size: file.size_bytes,
            sha256: file.sha256.map(|digest| digest.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_knows_whether_files_were_sent_when_no_answer_says_so() {
        let broke = || Box::new(io::Error::from(io::ErrorKind::ConnectionReset));
        for error in [
            CallError::Unavailable { retry_after: None },
            CallError::Unanswered(broke()),
            CallError::TimedOut,
            CallError::BrokenOff,
            CallError::Malformed { what: "it is none" },
        ] {
            let failure = failed(error);
            assert!(matches!(failure, SendFailure::Unknown(_)), "{failure:?}");
        }
        let refused = CallError::Refused {
            status: 507,
            code: None,
            message: String::new(),
        };
        for error in [
            CallError::Unreachable(broke()),
            CallError::Unauthorized,
            refused,
        ] {
            let failure = failed(error);
            assert!(matches!(failure, SendFailure::NotSent(_)), "{failure:?}");
        }
    }
}
