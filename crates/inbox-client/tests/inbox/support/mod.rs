//! What the tests share.

pub(crate) mod scripted;
pub(crate) mod stand_in;

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use inbox_client::{
    FixedToken, Platform, PlatformWorkspace, SlowPeer, Timeouts, TokenError, TokenSource,
    WaitingFile,
};
use pending_uploads_core::{FileId, Filename, Mimetype, Sha256, Token, WorkspaceId};
use serde_json::{Value, json};

use scripted::Scripted;

/// The token of the workspace in tests that are not about tokens.
pub(crate) const TOKEN: &str = "the-token-of-the-workspace";

/// Long enough for anything that is to happen.
pub(crate) const PATIENT: Timeouts = Timeouts {
    connect: Duration::from_secs(20),
    answer: Duration::from_secs(20),
    idle: Duration::from_secs(20),
    wait: Duration::from_secs(1),
    slow: SlowPeer {
        min_bytes: 1,
        window: Duration::from_secs(20),
    },
};

/// So short that a test can wait for what is not to happen.
pub(crate) const HASTY: Timeouts = Timeouts {
    connect: Duration::from_millis(500),
    answer: Duration::from_millis(500),
    idle: Duration::from_millis(500),
    ..PATIENT
};

/// The scripted platform, as anybody calls it.
pub(crate) fn platform(scripted: &Scripted, timeouts: Timeouts) -> Platform {
    Platform::new(scripted.url().parse().unwrap(), timeouts).unwrap()
}

/// A workspace on the scripted platform, with the path of its routes.
pub(crate) fn workspace(scripted: &Scripted, timeouts: Timeouts) -> (PlatformWorkspace, String) {
    workspace_with(scripted, timeouts, Arc::new(FixedToken(token(TOKEN))))
}

/// The same with tokens of one's own.
pub(crate) fn workspace_with(
    scripted: &Scripted,
    timeouts: Timeouts,
    source: Arc<dyn TokenSource>,
) -> (PlatformWorkspace, String) {
    let id = WorkspaceId::generate();
    let workspace = platform(scripted, timeouts).workspace(id, source);
    (workspace, format!("/workspaces/{id}"))
}

/// Reads a token.
pub(crate) fn token(text: &str) -> Token {
    text.parse().unwrap()
}

/// Gives one token after the other, the last one for ever, and counts how often it was asked.
pub(crate) struct Tokens(Mutex<(usize, Vec<&'static str>)>);

impl Tokens {
    /// A source of these; an empty one is none to be had.
    pub(crate) fn of(tokens: &[&'static str]) -> Arc<Self> {
        Arc::new(Self(Mutex::new((0, tokens.to_vec()))))
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.0.lock().unwrap().0
    }
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<Token, TokenError> {
        // Whoever else wants to ask has the time to.
        tokio::task::yield_now().await;
        let mut state = self.0.lock().unwrap();
        let next = state.1[state.0.min(state.1.len() - 1)];
        state.0 += 1;
        next.parse()
            .map_err(|_| TokenError("nobody is logged in".into()))
    }
}

/// A file of these bytes that waits for `workspace`.
pub(crate) fn waiting_file(workspace: WorkspaceId, bytes: &[u8]) -> WaitingFile {
    WaitingFile {
        workspace_id: workspace,
        file_id: FileId::generate(),
        filename: Filename::sanitize("report.pdf"),
        mimetype: Mimetype::parse("application/pdf"),
        size_bytes: NonZeroU64::new(u64::try_from(bytes.len()).unwrap()).unwrap(),
        sha256: Sha256::of(bytes),
        expires_at: None,
    }
}

/// What the platform says of `file`, in its list and in the file's row.
pub(crate) fn said(file: &WaitingFile) -> Value {
    json!({
        "file_id": file.file_id.to_string(), "name": file.filename.as_str(),
        "mimeType": file.mimetype.as_str(), "size": file.size_bytes, "uri": file.uri().to_string(),
        "originalName": file.filename.original(), "sha256": file.sha256.to_string(),
    })
}
