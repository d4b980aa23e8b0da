//! What went wrong inside: told to the log, kept from clients.

use std::error::Error as StdError;
use std::fmt;

use pending_uploads_core::Report;

/// What went wrong inside, with its own causes: for the log, never for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    /// A cause that is told by one sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// `error` and all its causes, in one line.
    pub fn of(error: &dyn StdError) -> Self {
        Self(Report(error).to_string())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An answer that had begun cannot be finished; the connection is closed, so that nobody takes it
/// for whole. Why is in the log already.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct BrokenOff;

#[cfg(test)]
mod tests {
    use pending_uploads_core::{Error, StoreName};

    use super::*;

    #[test]
    fn a_cause_tells_of_all_its_causes() {
        let error = Error::Unavailable {
            store: StoreName("postgres"),
            source: "connection refused".into(),
        };
        assert_eq!(
            Cause::of(&error).to_string(),
            "postgres is unavailable: connection refused"
        );
    }
}
