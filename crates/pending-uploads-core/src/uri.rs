//! `platform-pending:<workspace>/<file>`, the name by which messages mention a waiting file.

use std::fmt;
use std::str::FromStr;

use crate::{FileId, WorkspaceId};

const SCHEME: &str = "platform-pending:";

/// A URI (RFC 3986) that names a waiting file: `platform-pending:<workspace>/<file>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PendingUri {
    /// The workspace that the file waits for.
    pub workspace_id: WorkspaceId,
    /// The file.
    pub file_id: FileId,
}

/// The text was not a `platform-pending:` URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a platform-pending:<workspace>/<file> URI")]
pub struct InvalidPendingUri;

impl fmt::Display for PendingUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.workspace_id, self.file_id)
    }
}

/// Reads what [`Display`](fmt::Display) prints; the scheme in any case (RFC 3986, section 3.1).
impl FromStr for PendingUri {
    type Err = InvalidPendingUri;

    fn from_str(text: &str) -> Result<Self, InvalidPendingUri> {
        let (scheme, rest) = text
            .split_at_checked(SCHEME.len())
            .ok_or(InvalidPendingUri)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(InvalidPendingUri);
        }
        let (workspace, file) = rest.split_once('/').ok_or(InvalidPendingUri)?;
        Ok(Self {
            workspace_id: workspace.parse().map_err(|_| InvalidPendingUri)?,
            file_id: file.parse().map_err(|_| InvalidPendingUri)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_pending_uri_is_refused() {
        let id = WorkspaceId::generate();
        for text in [
            String::new(),
            "platform-pending:".to_owned(),
            format!("platform-pending:{id}"),
            format!("platform-pending:{id}/"),
            format!("platform-pending:{id}/x"),
            format!("platform-pending:{id}/{id}/"),
            format!("platform-pending://{id}/{id}"),
            format!("workspace:{id}/{id}"),
            "é".repeat(20),
        ] {
            assert_eq!(text.parse::<PendingUri>(), Err(InvalidPendingUri), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_uri_is_read_as_it_was_printed(workspace in any::<u128>(), file in any::<u128>()) {
            let uri = PendingUri {
                workspace_id: WorkspaceId::from_uuid(uuid::Uuid::from_u128(workspace)),
                file_id: FileId::from_uuid(uuid::Uuid::from_u128(file)),
            };
            prop_assert_eq!(uri.to_string().parse(), Ok(uri));
        }

        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _: Result<PendingUri, _> = text.parse();
        }
    }
}
