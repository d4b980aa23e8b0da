//! `platform-server doctor`: looks whether a server could serve with these settings, and says what
//! to do where it could not. Nothing is changed.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use pending_uploads_core::{Clock, SystemClock, Timestamp};
use pending_uploads_pg::{Database, DatabaseConfig, SchemaPart};
use pending_uploads_sqlite::{FolderUse, Inspection, inspect};
use tokio::time::timeout;
use upload_http::RegistrationPolicy;

use crate::settings::ServeSettings;
use crate::store::StoreSettings;

/// How long the database may take to answer each question.
const PATIENCE: Duration = Duration::from_secs(10);
/// How far the clocks of a server and its database may be apart.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);
/// Under how many free bytes a disk is called nearly full: room for ten of the largest uploads.
const UPLOADS_OF_ROOM: u64 = 10;

/// Why the doctor is not content, or could not look.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoctorFailure {
    /// There is no runtime to work on.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// What was found could not be printed.
    #[error("cannot print what was found")]
    Output(#[source] io::Error),
    /// Something has to be done first.
    #[error("{0} of these checks found something that has to be put right")]
    Unfit(usize),
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    subject: &'static str,
    sentence: String,
}

/// Whether something has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Wrong,
}

impl Finding {
    fn good(subject: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Good,
            subject,
            sentence: sentence.into(),
        }
    }

    fn wrong(subject: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Wrong,
            subject,
            sentence: sentence.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Good => "ok",
            Verdict::Wrong => "WRONG",
        };
        write!(f, "{verdict:<6}{:<10}{}", self.subject, self.sentence)
    }
}

/// Checks everything, and prints a line for each thing.
pub(crate) fn run(settings: &ServeSettings) -> Result<(), DoctorFailure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DoctorFailure::Runtime)?;
    let findings = runtime.block_on(examine(settings));
    let mut out = io::stdout().lock();
    for finding in &findings {
        writeln!(out, "{finding}").map_err(DoctorFailure::Output)?;
    }
    match findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Wrong)
        .count()
    {
        0 => Ok(()),
        wrong => Err(DoctorFailure::Unfit(wrong)),
    }
}

async fn examine(settings: &ServeSettings) -> Vec<Finding> {
    let mut findings = vec![examine_settings(settings)];
    match &settings.store {
        StoreSettings::Postgres(config) => findings.extend(examine_postgres(config).await),
        StoreSettings::Sqlite(folder) => {
            findings.extend(examine_folder(folder));
            findings.push(examine_disk(
                folder,
                settings.http.limits.per_request_bytes(),
            ));
        }
    }
    findings
}

/// What is wrong in itself was refused before.
fn examine_settings(settings: &ServeSettings) -> Finding {
    let has_admin = settings.http.admin_token.is_some();
    let sentence = match (settings.http.registration, has_admin) {
        (RegistrationPolicy::AdminOnly, false) => {
            return Finding::wrong(
                "settings",
                "no new workspace can register: set ADMIN_TOKEN, or REGISTRATION=open where \
                 everybody who reaches the server is trusted",
            );
        }
        (RegistrationPolicy::AdminOnly, true) => "new workspaces register with the admin token",
        (RegistrationPolicy::Open, true) => "whoever reaches the server may register workspaces",
        (RegistrationPolicy::Open, false) => {
            "whoever reaches the server may register workspaces; without ADMIN_TOKEN no token opens \
             every workspace"
        }
    };
    Finding::good("settings", sentence)
}

async fn examine_postgres(config: &DatabaseConfig) -> Vec<Finding> {
    let database = match Database::connect(config) {
        Ok(database) => database,
        Err(error) => return vec![Finding::wrong("store", error.to_string())],
    };
    let server = match timeout(PATIENCE, database.server()).await {
        Ok(Ok(server)) => server,
        Ok(Err(error)) => {
            let sentence = format!(
                "PostgreSQL at {config} does not answer ({}): check DATABASE_URL, and whether the \
                 server runs and lets this user in",
                error.report()
            );
            return vec![Finding::wrong("store", sentence)];
        }
        Err(_) => {
            let sentence = format!(
                "PostgreSQL at {config} did not answer in {} s: check the network between",
                PATIENCE.as_secs()
            );
            return vec![Finding::wrong("store", sentence)];
        }
    };
    let store = format!("PostgreSQL {} at {config}", server.version);
    let disk = format!(
        "the database takes {} bytes; how much room its disk has can only be seen on its machine",
        server.database_bytes
    );
    vec![
        Finding::good("store", store),
        examine_tables(&database).await,
        Finding::good("disk", disk),
        examine_clock(SystemClock.now(), server.time),
    ]
}

async fn examine_tables(database: &Database) -> Finding {
    match database.schema().await {
        Ok(schema) => match (schema.base, schema.uploads) {
            (SchemaPart::Ready, SchemaPart::Ready) => Finding::good("tables", "all are there"),
            (SchemaPart::Ready, SchemaPart::Missing) => Finding::wrong(
                "tables",
                "those of waiting files are missing, and uploads for workspaces that poll would be \
                 refused: run `platform-server migrate`",
            ),
            (SchemaPart::Missing, _) => {
                Finding::wrong("tables", "they are missing: run `platform-server migrate`")
            }
        },
        Err(error) => Finding::wrong("tables", error.report().to_string()),
    }
}

fn examine_clock(ours: Timestamp, theirs: Timestamp) -> Finding {
    let apart = Duration::from_micros(ours.as_micros().abs_diff(theirs.as_micros()));
    if apart <= CLOCK_TOLERANCE {
        return Finding::good("clock", "as the database's, within a few seconds");
    }
    let sentence = format!(
        "this machine's shows {ours}, the database's {theirs}: let both be set by NTP, or files \
         expire early or late"
    );
    Finding::wrong("clock", sentence)
}

fn examine_folder(folder: &Path) -> Vec<Finding> {
    let place = folder.display();
    match inspect(folder) {
        Inspection::Missing => vec![Finding::good(
            "store",
            format!("SQLite in {place}, which is made when the server first starts"),
        )],
        Inspection::Unreadable { path, reason } => vec![Finding::wrong(
            "store",
            format!(
                "cannot read {} ({reason}): check DATA_DIR and its owner",
                path.display()
            ),
        )],
        Inspection::Readable {
            folder_use,
            schema,
            known,
            newest_row,
        } => {
            let sentence = match folder_use {
                FolderUse::Open => format!("SQLite in {place}, open by a running server"),
                FolderUse::Idle => format!("SQLite in {place}, not in use"),
            };
            vec![
                Finding::good("store", sentence),
                examine_version(schema, known),
                examine_newest_row(SystemClock.now(), newest_row),
            ]
        }
    }
}

fn examine_version(found: i64, known: i64) -> Finding {
    if found > known {
        let sentence = format!(
            "the folder was written by a newer version (schema {found}, and this program knows \
             {known}): use that version"
        );
        return Finding::wrong("tables", sentence);
    }
    let sentence = if found == known {
        "all are there".to_owned()
    } else {
        format!("schema {found}, which the next start brings to {known}")
    };
    Finding::good("tables", sentence)
}

/// A machine whose clock was set back would keep files that have expired, and expire new ones late.
fn examine_newest_row(now: Timestamp, newest_row: Option<Timestamp>) -> Finding {
    match newest_row {
        Some(newest) if newest > now.saturating_add(CLOCK_TOLERANCE) => Finding::wrong(
            "clock",
            format!(
                "it shows {now}, and the newest row is of {newest}: let it be set by NTP, or files \
                 expire late"
            ),
        ),
        _ => Finding::good("clock", format!("it shows {now}")),
    }
}

/// A folder that is not there yet will be on the disk of the nearest one above it.
fn examine_disk(folder: &Path, upload_bytes: u64) -> Finding {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let found = absolute
        .ancestors()
        .find_map(|above| rustix::fs::statvfs(above).ok());
    let Some(disk) = found else {
        return Finding::wrong("disk", "its free room cannot be read: check DATA_DIR");
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let wanted = upload_bytes.saturating_mul(UPLOADS_OF_ROOM);
    if free < wanted {
        let sentence = format!(
            "{free} bytes are free, which is less than {UPLOADS_OF_ROOM} uploads of the largest \
             kind: make room, or move DATA_DIR to a larger disk"
        );
        return Finding::wrong("disk", sentence);
    }
    Finding::good("disk", format!("{free} bytes are free"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_aligned_line() {
        assert_eq!(
            Finding::good("disk", "fine").to_string(),
            "ok    disk      fine"
        );
        assert_eq!(
            Finding::wrong("tables", "run it").to_string(),
            "WRONG tables    run it"
        );
    }

    #[test]
    fn clocks_that_are_apart_are_said_so() {
        let now = Timestamp::from_micros(1_777_896_000_000_000);
        let far = now.saturating_add(Duration::from_secs(6));
        assert_eq!(examine_clock(now, now).verdict, Verdict::Good);
        assert_eq!(examine_clock(now, far).verdict, Verdict::Wrong);
        assert_eq!(examine_clock(far, now).verdict, Verdict::Wrong);
        assert_eq!(examine_newest_row(now, Some(far)).verdict, Verdict::Wrong);
        assert_eq!(examine_newest_row(far, Some(now)).verdict, Verdict::Good);
        assert_eq!(examine_newest_row(now, None).verdict, Verdict::Good);
    }

    #[test]
    fn a_disk_without_room_for_ten_uploads_is_nearly_full() {
        let here = Path::new("not/there/yet");
        assert_eq!(examine_disk(here, 1).verdict, Verdict::Good);
        assert_eq!(examine_disk(here, u64::MAX).verdict, Verdict::Wrong);
    }

    #[test]
    fn a_folder_of_a_newer_version_is_left_to_it() {
        assert_eq!(examine_version(2, 1).verdict, Verdict::Wrong);
        assert_eq!(examine_version(1, 1).verdict, Verdict::Good);
        assert_eq!(examine_version(0, 1).verdict, Verdict::Good);
    }
}
