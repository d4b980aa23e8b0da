//! `platform-server copy`: everything that a store holds, into an empty one.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use pending_uploads_core::{
    Archive, Clock, CopyError, CopyProgress, Restoration, StoreTotals, SystemClock, copy_store,
};
use pending_uploads_pg::{ArchiveError as PostgresRefusal, PgArchive, PgRestoration};
use pending_uploads_sqlite::{ArchiveError as SqliteRefusal, SqliteArchive, SqliteRestoration};

use crate::cli::CopyPlan;
use crate::store::StoreSettings;
use crate::tell;

/// How often is said how far the copy has come.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Why the store was not copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyFailure {
    /// There is no runtime to work on.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// The one store cannot be read.
    #[error("cannot copy from {store}")]
    From {
        /// Which.
        store: String,
        /// Why not.
        source: Refused,
    },
    /// The other cannot be filled.
    #[error("cannot copy to {store}")]
    To {
        /// Which.
        store: String,
        /// Why not.
        source: Refused,
    },
    /// The copy failed half-way.
    #[error("nothing was copied, and {to} is as empty as it was")]
    Cut {
        /// Where to.
        to: String,
        /// What went wrong.
        source: CopyError,
    },
    /// The copy failed at its very end.
    #[error("either nothing was copied or everything: see what {to} holds")]
    Finish {
        /// Where to.
        to: String,
        /// What went wrong.
        source: CopyError,
    },
    /// What was done could not be printed.
    #[error("cannot print what was done")]
    Output(#[source] io::Error),
}

/// Why a store cannot be opened for a copy; its message says what to do, where something can be done.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The database cannot.
    Postgres(PostgresRefusal),
    /// The data folder cannot.
    Sqlite(SqliteRefusal),
}

impl Refused {
    fn advice(&self) -> &'static str {
        match self {
            Self::Postgres(PostgresRefusal::NoTables) => {
                ": set DATABASE_URL to it and run `platform-server migrate` first"
            }
            Self::Postgres(PostgresRefusal::InUse { .. }) => ": stop it first",
            Self::Postgres(PostgresRefusal::NotEmpty) => {
                ": name another, or set DATABASE_URL to it and remove all that it holds with \
                 `platform-server migrate --down-to 0`, and then `platform-server migrate`"
            }
            Self::Sqlite(SqliteRefusal::NotEmpty { .. }) => {
                ": name another, or delete the folder with all that it holds"
            }
            _ => "",
        }
    }

    fn inner(&self) -> &(dyn Error + 'static) {
        match self {
            Self::Postgres(error) => error,
            Self::Sqlite(error) => error,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.inner(), self.advice())
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.inner().source()
    }
}

/// Copies as planned; says on stderr how far it has come, and on stdout, in one line, what was
/// copied.
pub(crate) fn run(plan: &CopyPlan) -> Result<(), CopyFailure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CopyFailure::Runtime)?;
    let copied = runtime.block_on(copy(plan))?;
    let line = format!(
        "copied {} from {} to {}\n",
        Amount(copied),
        plan.from,
        plan.to
    );
    io::stdout()
        .write_all(line.as_bytes())
        .map_err(CopyFailure::Output)
}

async fn copy(plan: &CopyPlan) -> Result<StoreTotals, CopyFailure> {
    let from = open(&plan.from).await.map_err(|source| CopyFailure::From {
        store: plan.from.to_string(),
        source,
    })?;
    let to = begin(&plan.to).await.map_err(|source| CopyFailure::To {
        store: plan.to.to_string(),
        source,
    })?;
    tell(&format!("copying from {} to {}", plan.from, plan.to));
    let mut told = Instant::now();
    let mut progress = |progress: CopyProgress| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tell(&Progress(progress).to_string());
        }
    };
    let copying = copy_store(&*from, to, SystemClock.now(), &mut progress);
    copying.await.map_err(|source| {
        let to = plan.to.to_string();
        match source {
            CopyError::Finish(_) => CopyFailure::Finish { to, source },
            _ => CopyFailure::Cut { to, source },
        }
    })
}

async fn open(store: &StoreSettings) -> Result<Box<dyn Archive>, Refused> {
    Ok(match store {
        StoreSettings::Postgres(config) => {
            Box::new(PgArchive::open(config).await.map_err(Refused::Postgres)?)
        }
        StoreSettings::Sqlite(folder) => {
            Box::new(SqliteArchive::open(folder).map_err(Refused::Sqlite)?)
        }
    })
}

async fn begin(store: &StoreSettings) -> Result<Box<dyn Restoration>, Refused> {
    Ok(match store {
        StoreSettings::Postgres(config) => {
            let begun = PgRestoration::begin(config).await;
            Box::new(begun.map_err(Refused::Postgres)?)
        }
        StoreSettings::Sqlite(folder) => {
            let begun = SqliteRestoration::begin(folder).await;
            Box::new(begun.map_err(Refused::Sqlite)?)
        }
    })
}

struct Amount(StoreTotals);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StoreTotals {
            workspaces,
            feed_rows,
            files,
            bytes,
        } = self.0;
        write!(
            f,
            "{workspaces} workspaces, {feed_rows} feed rows and {files} files with {bytes} waiting \
             bytes"
        )
    }
}

struct Progress(CopyProgress);

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CopyProgress { moved, total } = self.0;
        write!(
            f,
            "{} of {} feed rows, {} of {} files, {} of {} MiB",
            moved.feed_rows,
            total.feed_rows,
            moved.files,
            total.files,
            moved.bytes >> 20,
            total.bytes >> 20
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let busy = Refused::Postgres(PostgresRefusal::InUse { connections: 3 });
        assert_eq!(
            busy.to_string(),
            "a platform server is connected to it (3 connections): stop it first"
        );
        let path = "/srv/data".into();
        let full = Refused::Sqlite(SqliteRefusal::NotEmpty { path });
        assert_eq!(
            full.to_string(),
            "the data folder /srv/data is not empty: name another, or delete the folder with all \
             that it holds"
        );
    }

    #[test]
    fn progress_and_outcome_are_one_line_each() {
        let total = StoreTotals {
            workspaces: 2,
            feed_rows: 30,
            files: 4,
            bytes: 5 << 20,
        };
        let moved = StoreTotals {
            workspaces: 1,
            feed_rows: 10,
            files: 0,
            bytes: 0,
        };
        assert_eq!(
            Progress(CopyProgress { moved, total }).to_string(),
            "10 of 30 feed rows, 0 of 4 files, 0 of 5 MiB"
        );
        assert_eq!(
            Amount(total).to_string(),
            "2 workspaces, 30 feed rows and 4 files with 5242880 waiting bytes"
        );
    }
}
