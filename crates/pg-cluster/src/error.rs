//! Why a cluster could not be had.

use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a cluster could not be started, stopped or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// PostgreSQL's server programs are not on this machine.
    #[error(
        "found no folder with PostgreSQL's initdb, postgres and psql; install its server \
         (Debian: apt-get install postgresql), or name the folder in PG_BIN_DIR \
         (looked in: {looked_in})"
    )]
    ProgramsNotFound {
        /// The folders that were looked into.
        looked_in: String,
    },

    /// The process runs as root, and there is no user to run PostgreSQL as.
    #[error(
        "PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as"
    )]
    NoUnprivilegedUser,

    /// No port was free.
    #[error("no free port was found on 127.0.0.1")]
    NoFreePort,

    /// A file or a process could not be handled.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or program.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// `initdb` failed.
    #[error("initdb ended with {status}: {output}")]
    Initdb {
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },

    /// The server ended instead of accepting connections.
    #[error("postgres ended with {status}; the end of its log:\n{log}")]
    Died {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },

    /// The server did not accept connections in time.
    #[error("postgres accepts no connections; the end of its log:\n{log}")]
    NotReady {
        /// The end of its log.
        log: String,
    },

    /// The server does not run: it was killed or stopped.
    #[error("the cluster does not run")]
    NotRunning,

    /// A statement failed.
    #[error("psql ended with {status}: {output}")]
    Sql {
        /// How `psql` ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },

    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
}

/// Wraps an I/O error with what was tried on what.
pub(crate) fn io(
    what: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(std::io::Error) -> ClusterError {
    let path = path.into();
    move |source| ClusterError::Io { what, path, source }
}
