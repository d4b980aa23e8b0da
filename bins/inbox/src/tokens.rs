//! Where the token of a workspace comes from: it is read anew when the platform refuses it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use async_trait::async_trait;
use inbox_client::{TokenError, TokenSource};
use pending_uploads_core::{InvalidToken, Token, WorkspaceId};

use crate::registration::{RegistrationError, StoredRegistration};

/// Where the token of a workspace comes from.
#[derive(Debug, Clone)]
pub(crate) enum TokenOrigin {
    /// A setting says it.
    Given(Token),
    /// It is all that stands in this file, but for white space around it.
    File(PathBuf),
    /// It was stored when the workspace was registered.
    Registration {
        /// The state folder.
        state_folder: PathBuf,
        /// The workspace.
        id: WorkspaceId,
    },
}

/// The token cannot be read. What is there instead is not in it.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    /// The system does not let the file be read.
    #[error("{} cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} holds no token: {source}", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
        /// What a token is.
        source: InvalidToken,
    },
    /// The registration cannot be read.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The registration is there no more.
    #[error("workspace {0} is not registered any more")]
    Unregistered(WorkspaceId),
}

#[async_trait]
impl TokenSource for TokenOrigin {
    async fn token(&self) -> Result<Token, TokenError> {
        // A small local file: no thread of its own is worth its while.
        self.read().map_err(|error| TokenError(Box::new(error)))
    }
}

impl TokenOrigin {
    fn read(&self) -> Result<Token, Unreadable> {
        match self {
            Self::Given(token) => Ok(token.clone()),
            Self::File(path) => read_file(path),
            Self::Registration { state_folder, id } => StoredRegistration::read(state_folder, *id)?
                .map(|registration| registration.token)
                .ok_or(Unreadable::Unregistered(*id)),
        }
    }
}

fn read_file(path: &Path) -> Result<Token, Unreadable> {
    let text = fs::read_to_string(path).map_err(|source| Unreadable::File {
        path: path.to_owned(),
        source,
    })?;
    text.trim().parse().map_err(|source| Unreadable::NoToken {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use tempfile::TempDir;

    use super::*;
    use crate::registration::Place;

    #[tokio::test]
    async fn a_token_file_is_read_anew_each_time() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("token");
        let origin = TokenOrigin::File(path.clone());
        for token in ["first", "second"] {
            fs::write(&path, format!("{token}\n")).unwrap();
            assert_eq!(origin.token().await.unwrap().expose(), token);
        }
        fs::write(&path, "no token").unwrap();
        let error = origin.token().await.unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("holds no token"), "{cause}");
        assert!(!cause.contains("no token\""), "{cause}");
    }

    #[tokio::test]
    async fn a_registration_is_read_anew_each_time() {
        let state = TempDir::new().unwrap();
        let id = WorkspaceId::generate();
        let origin = TokenOrigin::Registration {
            state_folder: state.path().to_owned(),
            id,
        };
        let error = origin.token().await.unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("not registered any more"), "{cause}");
        for token in ["first", "second"] {
            let registration = StoredRegistration {
                platform_url: "http://127.0.0.1:1".parse().unwrap(),
                token: token.parse().unwrap(),
            };
            Place::make(state.path(), id)
                .unwrap()
                .fill(&registration)
                .unwrap();
            assert_eq!(origin.token().await.unwrap().expose(), token);
        }
    }
}
