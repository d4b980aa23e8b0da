//! Which workspaces a command is about, and what is known of each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use inbox_client::PlatformUrl;
use pending_uploads_core::WorkspaceId;

use crate::config_file::WorkspaceTable;
use crate::registration::{self, StoredRegistration};
use crate::settings::{DEFAULT_PLATFORM, Settings, absolute};
use crate::settings_error::SettingsError;
use crate::tokens::TokenOrigin;
use command_line::Secret;

use crate::values::Parsed;

/// Where files lie by default.
const DEFAULT_FOLDER: &str = "inbox";

/// A workspace, and how it is reached.
#[derive(Debug, Clone)]
pub(crate) struct WorkspaceSettings {
    /// The workspace.
    pub(crate) id: WorkspaceId,
    /// Its platform.
    pub(crate) platform_url: PlatformUrl,
    /// Where its token comes from, if there is one.
    token: Option<TokenOrigin>,
    /// Where its files lie, as far as settings say so.
    folder: PathBuf,
}

/// How the workspaces were named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// One by one.
    Each,
    /// As all that are registered.
    Registered,
}

impl WorkspaceSettings {
    /// Where its token comes from.
    pub(crate) fn token(&self) -> Result<TokenOrigin, SettingsError> {
        self.token.clone().ok_or(SettingsError::NoToken(self.id))
    }

    /// The folder of its files; absolute.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The workspaces that `settings` name, or else all that are registered; at least one. Their files
/// lie in `folder`, if an option or a variable says so.
pub(crate) fn all(
    settings: &Settings,
    folder: Option<&Path>,
) -> Result<Vec<WorkspaceSettings>, SettingsError> {
    let (ids, named) = ids(settings)?;
    let several = ids.len() > 1;
    ids.into_iter()
        .map(|id| {
            let table = table(settings, id);
            let stored = StoredRegistration::read(&settings.state_folder, id)?;
            Ok(WorkspaceSettings {
                id,
                platform_url: platform_url(settings, id, table, stored.as_ref(), named)?,
                token: token(settings, id, table, stored.as_ref(), several)?,
                folder: folder_of(settings, id, table, folder, several)?,
            })
        })
        .collect()
}

/// The one workspace that `settings` name, or else the one that is registered.
pub(crate) fn one(settings: &Settings) -> Result<WorkspaceSettings, SettingsError> {
    let (ids, _) = ids(settings)?;
    if ids.len() > 1 {
        return Err(SettingsError::SeveralWorkspaces);
    }
    let mut all = all(settings, None)?;
    all.pop()
        .ok_or_else(|| SettingsError::NoWorkspace(settings.state_folder.clone()))
}

fn ids(settings: &Settings) -> Result<(Vec<WorkspaceId>, Named), SettingsError> {
    let file = &settings.file;
    let single = file.workspace_id.as_ref().map(|id| id.0);
    let tables: Vec<_> = file.workspaces.iter().map(|table| table.id.0).collect();
    let mut seen = BTreeSet::new();
    if let Some(twice) = tables.iter().find(|id| !seen.insert(**id)) {
        return Err(SettingsError::Twice(*twice));
    }
    if let Some(id) = settings.flags.workspace_id {
        return Ok((vec![id], Named::Each));
    }
    match (single, tables.is_empty()) {
        (Some(_), false) => Err(SettingsError::BothWays),
        (Some(id), true) => Ok((vec![id], Named::Each)),
        (None, false) => Ok((tables, Named::Each)),
        (None, true) => {
            let registered = registration::registered(&settings.state_folder)?;
            if registered.is_empty() {
                let state_folder = settings.state_folder.clone();
                return Err(SettingsError::NoWorkspace(state_folder));
            }
            Ok((registered, Named::Registered))
        }
    }
}

fn table(settings: &Settings, id: WorkspaceId) -> Option<&WorkspaceTable> {
    let mut tables = settings.file.workspaces.iter();
    tables.find(|table| table.id.0 == id)
}

/// The one workspace that an option, a variable or the file names.
pub(crate) fn named(settings: &Settings) -> Option<WorkspaceId> {
    let of_file = settings.file.workspace_id.as_ref();
    settings.flags.workspace_id.or(of_file.map(|id| id.0))
}

/// The token of the workspace `id` alone, if there is one.
pub(crate) fn token_of_one(
    settings: &Settings,
    id: WorkspaceId,
    stored: Option<&StoredRegistration>,
) -> Result<Option<TokenOrigin>, SettingsError> {
    token(settings, id, table(settings, id), stored, false)
}

/// Where a workspace that is to be registered anew, or again, is.
pub(crate) fn platform_to_register_at(
    settings: &Settings,
    id: WorkspaceId,
    stored: Option<&StoredRegistration>,
) -> Result<PlatformUrl, SettingsError> {
    platform_url(settings, id, table(settings, id), stored, Named::Each)
}

fn platform_url(
    settings: &Settings,
    id: WorkspaceId,
    table: Option<&WorkspaceTable>,
    stored: Option<&StoredRegistration>,
    named: Named,
) -> Result<PlatformUrl, SettingsError> {
    let file = settings.file.platform_url.as_ref();
    let file = table.and_then(|table| table.platform_url.as_ref()).or(file);
    let said = settings.flags.platform_url.clone();
    let said = said.or_else(|| file.map(|Parsed(url)| url.clone()));
    let registered = stored.map(|stored| stored.platform_url.clone());
    match (said, registered, named) {
        // Whoever names no workspace does not know whose token would be shown.
        (Some(said), Some(registered), Named::Registered) if said != registered => {
            Err(SettingsError::OtherPlatform {
                id,
                registered: Box::new(registered),
                named: Box::new(said),
            })
        }
        (Some(url), ..) | (None, Some(url), _) => Ok(url),
        (None, None, _) => Ok(default_platform()),
    }
}

fn default_platform() -> PlatformUrl {
    let parsed = DEFAULT_PLATFORM.parse();
    parsed.unwrap_or_else(|_| unreachable!("the default is a platform's URL"))
}

fn token(
    settings: &Settings,
    id: WorkspaceId,
    table: Option<&WorkspaceTable>,
    stored: Option<&StoredRegistration>,
    several: bool,
) -> Result<Option<TokenOrigin>, SettingsError> {
    let (flags, file) = (&settings.flags, &settings.file);
    let given = origin(
        "INBOX_TOKEN",
        flags.token.as_ref(),
        flags.token_file.as_ref(),
    )?;
    if given.is_some() && several {
        return Err(SettingsError::TokenOfOne("INBOX_TOKEN"));
    }
    let of_table = match table {
        Some(table) => origin(
            "[[workspace]]",
            table.token.as_ref(),
            table.token_file.as_ref(),
        )?,
        None => None,
    };
    let of_file = origin(
        "the settings file",
        file.token.as_ref(),
        file.token_file.as_ref(),
    )?;
    if of_file.is_some() && several {
        return Err(SettingsError::TokenOfOne("token in the settings file"));
    }
    let of_registration = stored.map(|_| TokenOrigin::Registration {
        state_folder: settings.state_folder.clone(),
        id,
    });
    Ok(given.or(of_table).or(of_file).or(of_registration))
}

fn origin(
    name: &'static str,
    token: Option<&Secret>,
    file: Option<&PathBuf>,
) -> Result<Option<TokenOrigin>, SettingsError> {
    match (token, file) {
        (Some(_), Some(_)) => Err(SettingsError::TwoTokens(name)),
        (Some(token), None) => {
            let token = token.expose().parse();
            let token = token.map_err(|source| SettingsError::Token { name, source })?;
            Ok(Some(TokenOrigin::Given(token)))
        }
        (None, file) => Ok(file.cloned().map(TokenOrigin::File)),
    }
}

fn folder_of(
    settings: &Settings,
    id: WorkspaceId,
    table: Option<&WorkspaceTable>,
    said: Option<&Path>,
    several: bool,
) -> Result<PathBuf, SettingsError> {
    let own = table.and_then(|table| table.dir.as_deref());
    let shared = said
        .or(settings.file.dir.as_deref())
        .unwrap_or(Path::new(DEFAULT_FOLDER));
    let folder = match (said, own) {
        (None, Some(own)) => own.to_owned(),
        _ if several => shared.join(id.to_string()),
        _ => shared.to_owned(),
    };
    let folder = absolute("INBOX_DIR", folder)?;
    // Events name files in JSON, which is UTF-8.
    match folder.to_str() {
        Some(_) => Ok(folder),
        None => Err(SettingsError::FolderName),
    }
}

#[cfg(test)]
mod tests;
