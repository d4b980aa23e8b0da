//! `platform-server migrate`: the database's tables, up or back.

use std::io::{self, Write};

use pending_uploads_pg::migrate::{self, MigrateError};
use pending_uploads_pg::{ConfigError, Database, DatabaseConfig};
use pending_uploads_sqlite::OpenError;

use crate::cli::{Direction, MigratePlan};
use crate::store::StoreSettings;

/// Why the database was not migrated, or not all the way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateFailure {
    /// There is no runtime to work on.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// The connection cannot be set up.
    #[error("cannot set up the database's connection")]
    Config(#[source] ConfigError),
    /// The database refused.
    #[error("cannot migrate {database}")]
    Migration {
        /// Where the database is.
        database: String,
        /// What went wrong.
        source: MigrateError,
    },
    /// The data folder cannot be opened.
    #[error(transparent)]
    Folder(OpenError),
    /// A data folder has no way back.
    #[error(
        "a data folder is not taken back to an earlier version by this command: restore a backup \
         that was taken before it was brought up to date"
    )]
    NoWayBack,
    /// What was done could not be printed.
    #[error("cannot print what was done")]
    Output(#[source] io::Error),
}

/// Migrates as planned and prints, a line each, which migrations were applied or undone.
pub(crate) fn run(plan: &MigratePlan) -> Result<(), MigrateFailure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(MigrateFailure::Runtime)?;
    let report = runtime.block_on(migrate(plan))?;
    io::stdout()
        .write_all(report.as_bytes())
        .map_err(MigrateFailure::Output)
}

async fn migrate(plan: &MigratePlan) -> Result<String, MigrateFailure> {
    match (&plan.store, plan.direction) {
        (StoreSettings::Postgres(config), direction) => migrate_postgres(config, direction).await,
        (StoreSettings::Sqlite(folder), Direction::Up) => {
            // Opening it brings it up to date.
            let database =
                pending_uploads_sqlite::Database::open(folder).map_err(MigrateFailure::Folder)?;
            let closed = database.closed();
            drop(database);
            closed.await;
            Ok("the data folder is up to date\n".to_owned())
        }
        (StoreSettings::Sqlite(_), Direction::DownTo(_)) => Err(MigrateFailure::NoWayBack),
    }
}

async fn migrate_postgres(
    config: &DatabaseConfig,
    direction: Direction,
) -> Result<String, MigrateFailure> {
    let database = Database::connect(config).map_err(MigrateFailure::Config)?;
    let (done, verb) = match direction {
        Direction::Up => (migrate::up(&database).await, "applied"),
        Direction::DownTo(version) => (migrate::down_to(&database, version).await, "undid"),
    };
    let done = done.map_err(|source| MigrateFailure::Migration {
        database: config.to_string(),
        source,
    })?;
    Ok(report(verb, &done))
}

fn report(verb: &str, done: &[String]) -> String {
    if done.is_empty() {
        return "nothing to do\n".to_owned();
    }
    let lines: Vec<_> = done.iter().map(|name| format!("{verb} {name}\n")).collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_migration_gets_its_line() {
        let names = ["V1__a", "V2__b"].map(str::to_owned);
        assert_eq!(report("applied", &names), "applied V1__a\napplied V2__b\n");
        assert_eq!(report("applied", &[]), "nothing to do\n");
    }
}
