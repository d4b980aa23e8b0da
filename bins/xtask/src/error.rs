//! Why a task could not be done.

use std::path::PathBuf;

use pg_cluster::ClusterError;

/// Why a task could not be done. A task that was done and found something wrong is no error: it
/// has an exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// A program could not be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },

    /// Nobody could be asked to say when Ctrl-C is pressed.
    #[error("cannot watch for signals")]
    Signals(#[source] std::io::Error),

    /// The private cluster could not be had.
    #[error("no PostgreSQL cluster for the tests")]
    Cluster(#[from] ClusterError),

    /// PostgreSQL is missing and its installation failed.
    #[error("PostgreSQL's server is missing, and `{command}` did not install it")]
    Install {
        /// What was tried.
        command: String,
    },

    /// A file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
