//! The schema's numbered steps, and the way back from each.
//!
//! The SQL lies in `migrations/postgres`, and can be applied by hand as well: the files in their
//! order, or from `down/` backwards. What was applied from here is noted in the table
//! `refinery_schema_history`. Several instances may migrate at once: they take turns.

use std::error::Error as StdError;

use pending_uploads_core::{Error, Report};
use refinery::{Migration, Runner, Target};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::database::Database;
use crate::error::PgError;

/// A step of the schema.
struct Step {
    version: i32,
    name: &'static str,
    up: &'static str,
    down: &'static str,
}

macro_rules! step {
    ($version:literal, $name:literal) => {
        Step {
            version: $version,
            name: concat!("V", $version, "__", $name),
            up: include_str!(concat!(
                "../../../migrations/postgres/V",
                $version,
                "__",
                $name,
                ".sql"
            )),
            down: include_str!(concat!(
                "../../../migrations/postgres/down/",
                $version,
                "__",
                $name,
                ".sql"
            )),
        }
    };
}

const STEPS: [Step; 5] = [
    step!(1, "workspaces_and_feed"),
    step!(2, "pending_uploads"),
    step!(3, "waiting_bounds"),
    step!(4, "expiry_indexes"),
    step!(5, "chunks_in_their_page"),
];

/// An arbitrary number that every instance locks while it migrates.
const LOCK: i64 = 0x7065_6e64_696e_6700;

/// Other migrations are waited for as long as they take. A table that somebody reads is not: whoever
/// asks for it meanwhile would have to wait behind us.
const TAKE_TURNS: &str = "SET statement_timeout = 0; SET lock_timeout = 0";
const WAIT_FOR_NO_TABLE: &str = "SET lock_timeout = '3s'";

/// Migrations did not run to their end. Steps up are applied all together or not at all; of steps
/// back, each is a transaction of its own, and those before the one that failed stay undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The database cannot be reached, or refused a statement.
    #[error("the database refused: {0}")]
    Database(#[source] Error),
    /// A step failed, or the history in the database is another than ours.
    #[error("a migration failed: {reason}")]
    Step {
        /// What the database said of it.
        reason: String,
    },
    /// Somebody has held a table for more than 3 seconds, such as a backup, or a long transaction. It
    /// is not waited for any longer, because all servers that ask for the table wait behind it.
    #[error("somebody holds a table that a migration needs, such as a backup; try again later")]
    Held,
    /// There is no such version.
    #[error("there is no version {version}: this program knows 0 to {newest}")]
    NoSuchVersion {
        /// The version that was asked for.
        version: u32,
        /// The newest version that is known.
        newest: u32,
    },
}

/// The newest version of the schema that this program knows.
pub fn newest_version() -> u32 {
    STEPS.last().map_or(0, |step| step.version.unsigned_abs())
}

/// Applies every step that is missing, and answers their names; none when the schema was up to date.
/// Repeating it does nothing. A dropped future leaves all of them applied or none.
///
/// # Errors
/// [`MigrateError::Database`], [`MigrateError::Step`] and [`MigrateError::Held`].
pub async fn up(database: &Database) -> Result<Vec<String>, MigrateError> {
    up_to(database, newest_version()).await
}

/// As [`up`], but no further than `version`.
///
/// # Errors
/// Those of [`up`], and [`MigrateError::NoSuchVersion`].
pub async fn up_to(database: &Database, version: u32) -> Result<Vec<String>, MigrateError> {
    let target = known_version(version)?;
    let mut client = locked_client(database).await?;
    let report = runner()?
        .set_target(Target::Version(target))
        .run_async(&mut client)
        .await
        .map_err(|error| step_failed(&error))?;
    Ok(report
        .applied_migrations()
        .iter()
        .map(ToString::to_string)
        .collect())
}

/// Undoes every applied step above `version`, newest first, and answers their names. **What the
/// tables held is gone.** Repeating it does nothing. A dropped future leaves the steps that were
/// undone.
///
/// # Errors
/// [`MigrateError::Database`], [`MigrateError::Step`], [`MigrateError::Held`] and
/// [`MigrateError::NoSuchVersion`].
pub async fn down_to(database: &Database, version: u32) -> Result<Vec<String>, MigrateError> {
    let target = known_version(version)?;
    let mut client = locked_client(database).await?;
    let applied = runner()?
        .get_applied_migrations_async(&mut client)
        .await
        .map_err(|error| step_failed(&error))?;
    let is_applied = |step: &&Step| {
        applied
            .iter()
            .any(|done| i64::from(done.version()) == i64::from(step.version))
    };
    let mut undone = Vec::new();
    for step in STEPS
        .iter()
        .rev()
        .filter(|step| step.version > target)
        .filter(is_applied)
    {
        undo(&mut client, step).await.map_err(refused)?;
        undone.push(step.name.to_owned());
    }
    Ok(undone)
}

async fn undo(client: &mut Client, step: &Step) -> Result<(), PgError> {
    let tx = client.transaction().await?;
    tx.batch_execute(step.down).await?;
    tx.execute(
        "DELETE FROM refinery_schema_history WHERE version = $1",
        &[&step.version],
    )
    .await?;
    Ok(tx.commit().await?)
}

/// A connection that holds the lock until it is dropped.
async fn locked_client(database: &Database) -> Result<Client, MigrateError> {
    let client = database.dedicated_client().await.map_err(refused)?;
    let locked = client
        .batch_execute(&format!(
            "{TAKE_TURNS}; SELECT pg_advisory_lock({LOCK}); {WAIT_FOR_NO_TABLE}"
        ))
        .await;
    locked.map_err(|error| refused(error.into()))?;
    Ok(client)
}

fn runner() -> Result<Runner, MigrateError> {
    let migrations = STEPS
        .iter()
        .map(|step| Migration::unapplied(step.name, step.up))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| step_failed(&error))?;
    // Otherwise a step and its note in the history would be two transactions, and a program that was
    // killed between them could never migrate again.
    Ok(Runner::new(&migrations).set_grouped(true))
}

fn known_version(version: u32) -> Result<i32, MigrateError> {
    let newest = newest_version();
    i32::try_from(version)
        .ok()
        .filter(|_| version <= newest)
        .ok_or(MigrateError::NoSuchVersion { version, newest })
}

fn refused(error: PgError) -> MigrateError {
    if is_held(&error) {
        return MigrateError::Held;
    }
    MigrateError::Database(error.into())
}

/// Whether a lock was not to be had in time.
fn is_held(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let error_of_postgres = error.downcast_ref::<tokio_postgres::Error>();
        if error_of_postgres.and_then(|error| error.code()) == Some(&SqlState::LOCK_NOT_AVAILABLE) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn step_failed(error: &refinery::Error) -> MigrateError {
    if is_held(error) {
        return MigrateError::Held;
    }
    let reason = Report(error).to_string();
    MigrateError::Step { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_a_step_and_has_its_way_back() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres");
        let names = |folder: &str| {
            let mut names: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.contains('.'))
                .collect();
            names.sort();
            names
        };
        let ups: Vec<String> = STEPS
            .iter()
            .map(|step| format!("{}.sql", step.name))
            .collect();
        assert_eq!(names(folder), ups);
        let downs: Vec<String> = ups.iter().map(|name| name[1..].to_owned()).collect();
        assert_eq!(names(&format!("{folder}/down")), downs);
    }

    #[test]
    fn versions_count_up_from_one() {
        assert!(
            STEPS
                .iter()
                .zip(1..)
                .all(|(step, version)| step.version == version)
        );
    }
}
