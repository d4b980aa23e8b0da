//! The identifiers: of a workspace, of a file, of a row in a feed.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The text was not a UUID (RFC 9562).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID")]
pub struct InvalidId;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that is already known to be one of these.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID inside.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        /// Prints the hyphenated, lower-case form of RFC 9562, section 4.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        /// Reads any of the usual forms of a UUID, in either case.
        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }
    };
}

uuid_id! {
    /// Names a workspace: an agent's runtime. The workspace chose it when it registered.
    WorkspaceId
}

uuid_id! {
    /// Names one pending file. Made by the application before the first byte is stored, so that a
    /// publish whose outcome was lost can be asked about again.
    FileId
}

uuid_id! {
    /// Names one row of a workspace's feed; it is what a poller keeps as its cursor. No row has the
    /// nil UUID (RFC 9562, section 5.9), so that it is free to stand for the place before them all.
    ActivityId
}

impl FileId {
    /// Makes a new one: a UUID version 7 (RFC 9562, section 5.7), which sorts after every one that
    /// this process has made before it.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl ActivityId {
    /// Makes a new one: a UUID version 7 (RFC 9562, section 5.7).
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl WorkspaceId {
    /// Makes a random one (UUID version 4), for tests and for tools that register workspaces.
    pub fn generate() -> Self {
        Self(Uuid::new_v4())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_as_it_was_read_but_in_lower_case() {
        let id: FileId = "0190F5FE-7C00-7A00-8000-0123456789AB".parse().unwrap();
        assert_eq!(id.to_string(), "0190f5fe-7c00-7a00-8000-0123456789ab");
    }

    #[test]
    fn what_is_no_uuid_is_refused() {
        for text in ["", "x", "0190f5fe-7c00-7a00-8000-0123456789a", "../../etc"] {
            assert_eq!(text.parse::<WorkspaceId>(), Err(InvalidId), "{text}");
        }
    }

    #[test]
    fn file_ids_made_later_sort_later() {
        let ids: Vec<_> = (0..1000).map(|_| FileId::generate()).collect();
        assert!(ids.is_sorted());
    }
}
