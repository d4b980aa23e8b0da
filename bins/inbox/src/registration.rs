//! What is stored of a registered workspace: where, and its token. One file a workspace,
//! `<state folder>/<workspace id>/registration.json`, readable by its owner alone.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use inbox_client::PlatformUrl;
use pending_uploads_core::{Token, WorkspaceId};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const FILE_NAME: &str = "registration.json";
/// How much room is kept on the disk for a token before it is asked for, in bytes: for the longest
/// token and the longest URL.
const ROOM_BYTES: usize = 4096;

/// A workspace that was registered from here.
#[derive(Debug, Clone)]
pub(crate) struct StoredRegistration {
    /// The platform that gave the token.
    pub(crate) platform_url: PlatformUrl,
    /// The workspace's token.
    pub(crate) token: Token,
}

/// What is stored cannot be used. No token is in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistrationError {
    /// The system does not let it be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no registration.
    #[error(
        "{} is no registration: a JSON object with platform_url, workspace_id and token, and the \
         workspace_id of its folder, is expected",
        .0.display()
    )]
    Wrong(PathBuf),
}

/// The folder in which everything of a workspace is kept.
pub(crate) fn folder_of(state_folder: &Path, id: WorkspaceId) -> PathBuf {
    state_folder.join(id.to_string())
}

/// The file of a workspace's registration.
pub(crate) fn path_of(state_folder: &Path, id: WorkspaceId) -> PathBuf {
    folder_of(state_folder, id).join(FILE_NAME)
}

/// The workspaces that are registered, in the order of their ids.
pub(crate) fn registered(state_folder: &Path) -> Result<Vec<WorkspaceId>, RegistrationError> {
    let unreadable = |source| RegistrationError::Unreadable {
        path: state_folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(state_folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name();
        let id = name.to_str().and_then(|name| name.parse().ok());
        // A folder of another spelling is not one of ours.
        ids.extend(id.filter(|id| path_of(state_folder, *id).exists() && *id.to_string() == *name));
    }
    ids.sort_unstable();
    Ok(ids)
}

impl StoredRegistration {
    /// The registration of a workspace, if there is one.
    pub(crate) fn read(
        state_folder: &Path,
        id: WorkspaceId,
    ) -> Result<Option<Self>, RegistrationError> {
        let path = path_of(state_folder, id);
        match fs::read(&path) {
            Ok(bytes) => parse(&bytes, id)
                .map(Some)
                .ok_or(RegistrationError::Wrong(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RegistrationError::Unreadable { path, source }),
        }
    }
}

fn parse(bytes: &[u8], id: WorkspaceId) -> Option<StoredRegistration> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let text = |key| value.get(key).and_then(Value::as_str);
    let named: WorkspaceId = text("workspace_id")?.parse().ok()?;
    (named == id).then_some(StoredRegistration {
        platform_url: text("platform_url")?.parse().ok()?,
        token: text("token")?.parse().ok()?,
    })
}

/// How well a registration is stored.
#[derive(Debug)]
pub(crate) enum Stored {
    /// Whatever happens.
    Durably,
    /// It is there, and a loss of power may take it away: its folder could not be synced.
    UntilPowerIsLost(io::Error),
}

/// A place on the disk that a registration can be put into, whatever happens: its room is taken, and
/// the folder is there. Dropped, it leaves nothing but the folder.
#[derive(Debug)]
pub(crate) struct Place {
    file: NamedTempFile,
    folder: PathBuf,
    id: WorkspaceId,
}

impl Place {
    /// Makes one for the workspace `id`, and the folders that are missing.
    pub(crate) fn make(state_folder: &Path, id: WorkspaceId) -> io::Result<Self> {
        let folder = folder_of(state_folder, id);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        // A file that only its owner may read: that is how they are made.
        let mut file = tempfile::Builder::new()
            .prefix(".registration-")
            .tempfile_in(&folder)?;
        file.write_all(&[b' '; ROOM_BYTES])?;
        file.as_file().sync_all()?;
        sync_folder(state_folder)?;
        if let Some(parent) = state_folder.parent() {
            // It may be closed to us, and then was there before.
            sync_folder(parent).ok();
        }
        Ok(Self { file, folder, id })
    }

    /// Gives the place back, and the workspace's folder with it if nothing else is in there.
    pub(crate) fn give_back(self) {
        drop(self.file);
        fs::remove_dir(&self.folder).ok();
    }

    /// Puts the registration there, in place of the one before: the whole of it or nothing, which is
    /// when this fails.
    pub(crate) fn fill(mut self, registration: &StoredRegistration) -> io::Result<Stored> {
        let text = format!(
            "{:#}\n",
            json!({
                "platform_url": registration.platform_url.to_string(),
                "workspace_id": self.id.to_string(),
                "token": registration.token.expose(),
            })
        );
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.as_file().set_len(text.len() as u64)?;
        self.file.as_file().sync_all()?;
        self.file.persist(self.folder.join(FILE_NAME))?;
        Ok(match sync_folder(&self.folder) {
            Ok(()) => Stored::Durably,
            Err(error) => Stored::UntilPowerIsLost(error),
        })
    }
}

/// Keeps what was made or renamed in `folder` through a loss of power. A file system that cannot be
/// asked to says so with `EINVAL`.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    fn registration() -> StoredRegistration {
        StoredRegistration {
            platform_url: "https://platform.example/".parse().unwrap(),
            token: Token::generate().unwrap(),
        }
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    fn fill(state: &Path, id: WorkspaceId, registration: &StoredRegistration) {
        let stored = Place::make(state, id).unwrap().fill(registration).unwrap();
        assert!(matches!(stored, Stored::Durably), "{stored:?}");
    }

    #[test]
    fn a_token_in_a_folder_that_cannot_be_synced_is_not_said_to_be_lost() {
        let state = TempDir::new().unwrap();
        let (id, kept) = (WorkspaceId::generate(), registration());
        let place = Place::make(state.path(), id).unwrap();
        let folder = folder_of(state.path(), id);
        // It can be written to, and not opened, unless the superuser runs the test.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o300)).unwrap();
        let stored = place.fill(&kept);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        drop(stored.unwrap());
        let read = StoredRegistration::read(state.path(), id).unwrap().unwrap();
        assert_eq!(read.token.expose(), kept.token.expose());
    }

    #[test]
    fn a_registration_is_kept_and_readable_by_its_owner_alone() {
        let parent = TempDir::new().unwrap();
        let state = parent.path().join("state");
        let (id, kept) = (WorkspaceId::generate(), registration());
        fill(&state, id, &kept);

        let read = StoredRegistration::read(&state, id).unwrap().unwrap();
        assert_eq!(read.platform_url, kept.platform_url);
        assert_eq!(read.token.expose(), kept.token.expose());
        assert_eq!(mode(&path_of(&state, id)), 0o600);
        assert_eq!(mode(&folder_of(&state, id)), 0o700);
        assert_eq!(mode(&state), 0o700);
        let names = fs::read_dir(folder_of(&state, id)).unwrap();
        assert_eq!(names.count(), 1, "nothing else is left");
    }

    #[test]
    fn a_place_that_was_not_needed_leaves_what_was_there() {
        let state = TempDir::new().unwrap();
        let (id, kept) = (WorkspaceId::generate(), registration());
        fill(state.path(), id, &kept);
        drop(Place::make(state.path(), id).unwrap());
        let read = StoredRegistration::read(state.path(), id).unwrap().unwrap();
        assert_eq!(read.token.expose(), kept.token.expose());
        let names = fs::read_dir(folder_of(state.path(), id)).unwrap();
        assert_eq!(names.count(), 1, "nothing else is left");
    }

    #[test]
    fn the_registered_are_those_with_a_registration() {
        let state = TempDir::new().unwrap();
        assert!(registered(&state.path().join("none")).unwrap().is_empty());
        let mut ids = [WorkspaceId::generate(), WorkspaceId::generate()];
        ids.sort_unstable();
        for id in ids {
            fill(state.path(), id, &registration());
        }
        fs::create_dir(folder_of(state.path(), WorkspaceId::generate())).unwrap();
        fs::create_dir(state.path().join("else")).unwrap();
        assert_eq!(registered(state.path()).unwrap(), ids);
    }

    #[test]
    fn what_is_no_registration_is_refused_without_a_word_of_it() {
        let state = TempDir::new().unwrap();
        let id = WorkspaceId::generate();
        fs::create_dir(folder_of(state.path(), id)).unwrap();
        for text in ["", "{}", "[\"hunter2\"]", "{\"token\":\"hunter2\"}"] {
            fs::write(path_of(state.path(), id), text).unwrap();
            let error = StoredRegistration::read(state.path(), id).unwrap_err();
            assert!(matches!(error, RegistrationError::Wrong(_)), "{text}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
