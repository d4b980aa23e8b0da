//! What can go wrong between us and PostgreSQL, precisely; and what callers are told of it.

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

    /// Whether a connection that there had been was lost; a server that is away cannot even be
    /// connected to.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Statement(error) if is_transient(error))
    }

    /// Whether a row of this key is there already.
    pub(crate) fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Statement(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION))
    }

    fn is_unavailable(&self) -> bool {
        match self {
            Self::Pool(_) | Self::CutOff(_) => true,
            Self::Statement(error) => {
                error.is_closed()
                    || error
                        .code()
                        .is_none_or(|state| is_transient_state(state) || is_overload_state(state))
            }
            _ => false,
        }
    }
}

fn is_transient(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.code().is_none_or(is_transient_state)
}

/// An error without a state never reached the server, or its answer never reached us. Class 08 is
/// a lost connection, class 57P a server that is shutting down or starting.
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
