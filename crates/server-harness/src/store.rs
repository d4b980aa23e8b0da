//! The stores that servers under test keep everything in, and questions about what is in them that
//! have the same answer whichever it is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use pg_cluster::TestDatabase;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::database::{db_count, db_value, migrated};
use crate::{ServerBuilder, eventually, names_in};

/// Makes two tests of each `async fn name(store: Store)`: `on_postgres::name` and `on_sqlite::name`.
/// One that is not listed is dead code, which the compiler complains about.
///
/// The test's own crate needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! on_each_store {
    ($($name:ident),+ $(,)?) => {
        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::Store::postgres()).await;
                }
            )+
        }

        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::Store::sqlite()).await;
                }
            )+
        }
    };
}

/// How long SQLite waits for a lock that the server holds for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// A store of a test's own, which goes with this value.
#[derive(Debug)]
pub enum Store {
    /// A database with all tables.
    Postgres(TestDatabase),
    /// A data folder.
    Sqlite(DataFolder),
}

impl Store {
    /// A fresh database in the cluster that all tests share.
    pub fn postgres() -> Self {
        Self::Postgres(migrated())
    }

    /// A data folder that no server has opened yet.
    pub fn sqlite() -> Self {
        Self::Sqlite(DataFolder::create())
    }

    /// What `DATABASE_URL` calls it.
    pub fn url(&self) -> String {
        match self {
            Self::Postgres(database) => database.url(),
            Self::Sqlite(folder) => folder.url(),
        }
    }

    /// A server on it, on a free port, with nothing else set.
    pub fn server(&self) -> ServerBuilder {
        ServerBuilder::on(&self.url())
    }

    /// How a person is told where it is.
    pub fn place(&self) -> String {
        match self {
            Self::Postgres(database) => {
                let url = database.url();
                format!("PostgreSQL at {}", url.rsplit('@').next().unwrap())
            }
            Self::Sqlite(folder) => format!("SQLite in {}", folder.path().display()),
        }
    }

    /// How many files have a record: those that wait, and those that are not swept yet.
    pub async fn recorded_files(&self) -> i64 {
        match self {
            Self::Postgres(database) => db_count(&database.url(), "pending_uploads").await,
            Self::Sqlite(folder) => folder.value("SELECT count(*) FROM pending_uploads"),
        }
    }

    /// Whether there are bytes of uploads that are not published.
    pub async fn holds_staged_bytes(&self) -> bool {
        match self {
            Self::Postgres(database) => {
                let staged = "pending_upload_chunks WHERE file_id NOT IN \
                     (SELECT file_id FROM pending_uploads)";
                db_count(&database.url(), staged).await > 0
            }
            Self::Sqlite(folder) => !folder.files_without_record().is_empty(),
        }
    }

    /// Whether there are bytes of any file, published or not.
    pub async fn holds_bytes(&self) -> bool {
        match self {
            Self::Postgres(database) => {
                db_count(&database.url(), "pending_upload_chunks").await > 0
            }
            Self::Sqlite(folder) => {
                !folder.files().is_empty()
                    || folder.value::<i64>("SELECT count(*) FROM pending_upload_bytes") > 0
            }
        }
    }

    /// Whether uploads are noted that are on their way in: on SQLite the server keeps them in mind.
    async fn holds_intents(&self) -> bool {
        match self {
            Self::Postgres(database) => db_count(&database.url(), "staged_batches").await > 0,
            Self::Sqlite(_) => false,
        }
    }

    /// Waits until some bytes of an upload are stored.
    pub async fn wait_for_staged_bytes(&self) {
        eventually("bytes are staged", async || {
            self.holds_staged_bytes().await.then_some(())
        })
        .await;
    }

    /// Waits until nothing is left of uploads that were never published.
    pub async fn wait_until_nothing_is_staged(&self) {
        eventually("nothing is staged", async || {
            let something = self.holds_staged_bytes().await || self.holds_intents().await;
            (!something).then_some(())
        })
        .await;
    }

    /// Waits until there is no record, no byte and no intent of any file.
    pub async fn wait_until_it_holds_no_file(&self) {
        self.wait_until_nothing_is_staged().await;
        eventually("no file is left", async || {
            let something = self.holds_bytes().await || self.recorded_files().await > 0;
            (!something).then_some(())
        })
        .await;
    }

    /// Waits until the server has no transaction open.
    pub async fn wait_until_no_transaction_is_open(&self) {
        eventually("no transaction is open", async || {
            let open = match self {
                Self::Postgres(database) => {
                    let open = "SELECT count(*) FROM pg_stat_activity \
                         WHERE datname = current_database() AND pid <> pg_backend_pid() \
                         AND xact_start IS NOT NULL";
                    db_value::<i64>(&database.url(), open).await > 0
                }
                Self::Sqlite(folder) => folder.has_open_reader(),
            };
            (!open).then_some(())
        })
        .await;
    }
}

/// A data folder in a temporary folder.
#[derive(Debug)]
pub struct DataFolder {
    parent: TempDir,
}

impl DataFolder {
    /// The name of one that is not there yet.
    pub fn create() -> Self {
        let parent = tempfile::Builder::new().prefix("platform-").tempdir();
        Self {
            parent: parent.unwrap(),
        }
    }

    /// Where it is, or will be.
    pub fn path(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    /// What `DATABASE_URL` calls it.
    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    fn database(&self) -> PathBuf {
        self.path().join("pending-uploads.sqlite3")
    }

    /// The names of the files that hold bytes.
    pub fn files(&self) -> BTreeSet<String> {
        names_in(&self.path().join("files"))
    }

    /// Those of them that no record names. The records are asked last, so that a file that is being
    /// published is not taken for one that never will be.
    pub fn files_without_record(&self) -> BTreeSet<String> {
        let files = self.files();
        let list = "SELECT coalesce(group_concat(lower(hex(coalesce(bundle_id, file_id)))), '') \
             FROM pending_uploads WHERE placement = 'file'";
        let recorded: String = self.value(list);
        let recorded: BTreeSet<_> = recorded.split(',').collect();
        files
            .into_iter()
            .filter(|name| !recorded.contains(name.replace('-', "").as_str()))
            .collect()
    }

    /// Asks the database for one value, without changing anything.
    pub fn value<T: FromSql>(&self, query: &str) -> T {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.database(), flags).unwrap();
        connection.busy_timeout(LOCK_PATIENCE).unwrap();
        connection.query_one(query, [], |row| row.get(0)).unwrap()
    }

    /// Changes the database behind everybody's back; no server may run on it.
    pub fn execute(&self, statement: &str) {
        let connection = Connection::open(self.database()).unwrap();
        connection.execute_batch(statement).unwrap();
    }

    /// Whether a transaction still reads what was there before the last write: only then a
    /// checkpoint cannot get through the whole log.
    fn has_open_reader(&self) -> bool {
        let connection = Connection::open(self.database()).unwrap();
        let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
        let (busy, frames, done): (i64, i64, i64) = connection
            .query_one(checkpoint, [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        busy != 0 || done < frames
    }
}
