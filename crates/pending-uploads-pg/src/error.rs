//! What can go wrong between us and PostgreSQL, precisely; and what callers are told of it.

use std::error::Error as StdError;

use deadpool_postgres::PoolError;
use pending_uploads_core::{Error, QuotaRefusal, StoreName};
use tokio_postgres::error::SqlState;

/// The name of this store in errors and logs.
pub(crate) const POSTGRES: StoreName = StoreName("postgres");

/// Every way in which an operation on PostgreSQL can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PgError {
    /// No connection could be had: the server is away, or all are in use.
    #[error("no connection")]
    Pool(#[from] PoolError),
    /// A statement failed, or its connection did.
    #[error("a statement failed")]
    Statement(#[from] tokio_postgres::Error),
    /// The task that did the work is gone: its runtime is shutting down.
    #[error("the work was cut off")]
    CutOff(#[from] tokio::task::JoinError),
    /// The task that was to answer is gone: its runtime is shutting down.
    #[error("the work was stopped")]
    Stopped,
    /// A connection outside of the pool did not come about in time.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// A stored value is not what was once written.
    #[error("damaged data: {0}")]
    Damaged(&'static str),
    /// There is no such file for this workspace.
    #[error("no such file")]
    NotFound,
    /// The range ends after the file.
    #[error("the range ends after the file's {size_bytes} bytes")]
    RangeNotSatisfiable { size_bytes: u64 },
    /// There is no such workspace.
    #[error("no such workspace")]
    UnknownWorkspace,
    /// The publish would pass the workspace's quota.
    #[error("quota exceeded: {0}")]
    QuotaExceeded(QuotaRefusal),
    /// The database crashed, and forgot bytes of a batch that was not published yet.
    #[error("staged bytes were lost in a crash of the database")]
    StagingLost,
    /// The batch's lease was over, and its bytes were swept.
    #[error("the batch was abandoned")]
    BatchAbandoned,
}

impl PgError {
    /// Whether trying once more could help: the connection was lost or could not be made, the server
    /// is restarting, or two transactions stood in each other's way.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Pool(PoolError::Backend(error)) => is_transient(error),
            _ => self.is_lost(),
        }
    }

    /// Whether a connection that there had been was lost, or one that was coming about was ended by
    /// the server; one that is away cannot even be connected to.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Statement(error) => is_transient(error),
            Self::Pool(PoolError::Backend(error)) => {
                error.is_closed() || error.code().is_some_and(is_transient_state)
            }
            _ => false,
        }
    }

    /// Whether a row of one of these tables was there already, under an id that only we make: what
    /// was to be written had been written by an earlier try.
    pub(crate) fn is_repetition_in(&self, tables: &[&str]) -> bool {
        let Self::Statement(error) = self else {
            return false;
        };
        error.as_db_error().is_some_and(|error| {
            *error.code() == SqlState::UNIQUE_VIOLATION
                && error.table().is_some_and(|table| tables.contains(&table))
        })
    }

    fn is_unavailable(&self) -> bool {
        match self {
            Self::Pool(_)
            | Self::CutOff(_)
            | Self::Stopped
            | Self::StagingLost
            | Self::ConnectTimeout => true,
            Self::Statement(error) => {
                is_transient(error) || error.code().is_some_and(is_overload_state)
            }
            _ => false,
        }
    }
}

fn is_transient(error: &tokio_postgres::Error) -> bool {
    is_broken(error) || error.code().is_some_and(is_transient_state)
}

/// Whether the connection failed, and not what was said over it: a value that cannot be read or
/// written has no state either, and will never be better.
fn is_broken(error: &tokio_postgres::Error) -> bool {
    let mut cause = StdError::source(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    error.is_closed()
}

/// Class 08 is a lost connection, class 57P a server that is shutting down or starting.
fn is_transient_state(state: &SqlState) -> bool {
    let code = state.code();
    code.starts_with("08")
        || code.starts_with("57P")
        || *state == SqlState::T_R_SERIALIZATION_FAILURE
        || *state == SqlState::T_R_DEADLOCK_DETECTED
}

/// Class 53 is a server without room or connections; the others are its time-outs; a server that
/// lost its primary role (25006) will have it back, or another will.
fn is_overload_state(state: &SqlState) -> bool {
    state.code().starts_with("53")
        || [
            &SqlState::QUERY_CANCELED,
            &SqlState::LOCK_NOT_AVAILABLE,
            &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            &SqlState::READ_ONLY_SQL_TRANSACTION,
        ]
        .contains(&state)
}

impl From<PgError> for Error {
    fn from(error: PgError) -> Self {
        match error {
            PgError::Damaged(what) => Self::Integrity { what },
            PgError::NotFound => Self::NotFound,
            PgError::RangeNotSatisfiable { size_bytes } => Self::RangeNotSatisfiable { size_bytes },
            PgError::UnknownWorkspace => Self::UnknownWorkspace,
            PgError::QuotaExceeded(refusal) => Self::QuotaExceeded(refusal),
            PgError::BatchAbandoned => Self::BatchAbandoned,
            error if error.is_unavailable() => Self::Unavailable {
                store: POSTGRES,
                source: Box::new(error),
            },
            error => Self::Backend {
                store: POSTGRES,
                source: Box::new(error),
            },
        }
    }
}
