//! The errors that the traits answer with: few, and each one that a caller branches on.

use std::error::Error as StdError;
use std::fmt;

use crate::Filename;

/// What a call to a backend answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a backend did not do what it was asked.
///
/// Deliberately not `#[non_exhaustive]`: a variant that some caller has not mapped must not compile.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file for this workspace: it never was, it is another's, it expired, or it
    /// was swept. Nobody can tell which.
    #[error("no such file")]
    NotFound,

    /// No workspace of this id is registered.
    #[error("no such workspace")]
    UnknownWorkspace,

    /// The caller may not do this: the id that it registers is somebody's already.
    #[error("not authorized")]
    Unauthorized,

    /// The row that the cursor names is not in this workspace's feed: it never was, it is
    /// another's, or it was pruned.
    #[error("the cursor is not in the feed")]
    CursorGone,

    /// The range ends after the file does.
    #[error("the range ends after the file's {size_bytes} bytes")]
    RangeNotSatisfiable {
        /// The file's length, in bytes.
        size_bytes: u64,
    },

    /// More bytes than the caller said that it would take.
    #[error("over {max_bytes} bytes")]
    TooLarge {
        /// The cap that was passed, in bytes.
        max_bytes: u64,
    },

    /// A file of no bytes was finished.
    #[error("the file {filename} is empty")]
    EmptyFile {
        /// The file's names.
        filename: Filename,
    },

    /// The publish would have left more waiting than the workspace's quota allows.
    #[error("quota exceeded: {0}")]
    QuotaExceeded(QuotaRefusal),

    /// The batch's methods were called out of order, or after one of them had failed.
    #[error("the batch was misused: {0}")]
    BatchMisused(BatchMisuse),

    /// The batch was silent for so long that its staged bytes were swept. Nothing was published.
    #[error("the batch was abandoned and its bytes were swept")]
    BatchAbandoned,

    /// What is stored contradicts itself; the bytes cannot be trusted.
    #[error("damaged data: {what}")]
    Integrity {
        /// What contradicts what.
        what: &'static str,
    },

    /// The store cannot be reached or is overloaded. Trying again later may help.
    #[error("{store} is unavailable")]
    Unavailable {
        /// Which store.
        store: StoreName,
        /// What it said; for logs, never for clients.
        source: Box<dyn StdError + Send + Sync>,
    },

    /// The store failed in a way that nobody foresaw. Trying again will not help.
    #[error("{store} failed")]
    Backend {
        /// Which store.
        store: StoreName,
        /// What it said; for logs, never for clients.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// The error with all its causes, in one line: for logs, never for clients.
    pub fn report(&self) -> impl fmt::Display {
        Report(self)
    }
}

/// An error with all its causes, in one line: for logs and for people at a terminal, never for
/// clients. A cause that the error above it prints already is not said twice.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a>(pub &'a (dyn StdError + 'a));

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries print an error's cause with it.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            cause = error.source();
        }
        Ok(())
    }
}

/// The name of a store, for logs: `postgres`, `memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreName(pub &'static str);

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Which half of a workspace's quota refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuotaRefusal {
    /// Too many bytes would wait.
    #[error("at most {max} bytes may wait for a workspace")]
    WaitingBytes {
        /// The most bytes that may wait.
        max: u64,
    },
    /// Too many files would wait.
    #[error("at most {max} files may wait for a workspace")]
    WaitingFiles {
        /// The most files that may wait.
        max: u32,
    },
}

/// How a batch was misused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchMisuse {
    /// Bytes or an end without a file that had been started.
    #[error("no file is open")]
    NoFileOpen,
    /// A start or a publish while a file was open.
    #[error("a file is still open")]
    FileStillOpen,
    /// A publish of no files.
    #[error("it holds no files")]
    NoFiles,
    /// A call after one that had failed, or whose future had been dropped.
    #[error("an earlier call failed")]
    Broken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("refused: {0}")]
    struct Refused(#[source] std::io::Error);

    #[test]
    fn a_report_says_each_cause_once() {
        let cause = std::io::Error::other("no route");
        let error = Error::Unavailable {
            store: StoreName("store"),
            source: Box::new(Refused(cause)),
        };
        assert_eq!(
            error.report().to_string(),
            "store is unavailable: refused: no route"
        );
    }
}
