//! What is wrong with the settings.

use std::io;
use std::path::PathBuf;

use inbox_client::PlatformUrl;
use pending_uploads_core::{InvalidToken, WorkspaceId};

use command_line::Refusal;

use crate::config_file::ConfigFileError;
use crate::registration::RegistrationError;

/// A setting that is wrong in itself or does not fit another. Its message is one sentence without
/// any secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The settings file is wrong.
    #[error(transparent)]
    File(#[from] ConfigFileError),
    /// A stored registration is wrong.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// A token is none.
    #[error("{name} cannot be used: {source}")]
    Token {
        /// The setting.
        name: &'static str,
        /// What a token is.
        source: InvalidToken,
    },
    /// There are two tokens.
    #[error("{0} says the token, and the file of a token as well: one of them is expected")]
    TwoTokens(&'static str),
    /// A token was given for several workspaces.
    #[error("{0} is the token of one workspace, and there are several: name one")]
    TokenOfOne(&'static str),
    /// The file names workspaces in both ways.
    #[error("the settings file has both a workspace_id and [[workspace]] tables: one is expected")]
    BothWays,
    /// The file names a workspace twice.
    #[error("the settings file has two [[workspace]] tables for {0}")]
    Twice(WorkspaceId),
    /// No workspace is known.
    #[error(
        "no workspace is named, and none is registered in {}: `inbox register` registers one",
        .0.display()
    )]
    NoWorkspace(PathBuf),
    /// Files can only be sent to one.
    #[error("there are several workspaces: name the one that is meant with --workspace-id")]
    SeveralWorkspaces,
    /// There is no token.
    #[error(
        "there is no token for workspace {0}: `inbox register` stores one, or INBOX_TOKEN or \
         INBOX_TOKEN_FILE says it"
    )]
    NoToken(WorkspaceId),
    /// A stored token would be shown to a platform that did not give it.
    #[error(
        "workspace {id} was registered at {registered}, not at {named}: name it with \
         --workspace-id to use it there, or name no platform"
    )]
    OtherPlatform {
        /// The workspace.
        id: WorkspaceId,
        /// Where it was registered.
        registered: Box<PlatformUrl>,
        /// Where it would be used.
        named: Box<PlatformUrl>,
    },
    /// No folder for the state can be worked out.
    #[error("there is no home folder to keep the state in: INBOX_STATE_DIR must name one")]
    NoHome,
    /// A folder cannot be used.
    #[error("{name} cannot be used: {source}")]
    Folder {
        /// The setting.
        name: &'static str,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A folder cannot be named in JSON.
    #[error("INBOX_DIR cannot be used: the folder's whole path must be UTF-8")]
    FolderName,
}

impl From<SettingsError> for Refusal {
    fn from(error: SettingsError) -> Self {
        Self::Wrong(error.to_string())
    }
}
