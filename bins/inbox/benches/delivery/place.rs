//! Where the server under measurement keeps everything: on a disk that is really written to.

use pg_cluster::{Cluster, ClusterOptions, Durability};
use server_harness::database::migrate;
use server_harness::{Server, ServerBuilder};
use tempfile::TempDir;

/// What keeps the files.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// A store that is as durable as one in production.
#[derive(Debug)]
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres {
        cluster: Box<Cluster>,
        database: String,
    },
}

/// A folder below cargo's target folder, which is seldom in memory, as `/tmp` may be.
pub(crate) fn folder_on_disk() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

impl Place {
    /// A fresh one.
    pub(crate) fn of(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => Self::Sqlite(folder_on_disk()),
            Backend::Postgres => Self::postgres(),
        }
    }

    /// A database in a cluster of its own, which forces its writes to the disk.
    fn postgres() -> Self {
        let options = ClusterOptions::default().durability(Durability::Fsync);
        let cluster = Cluster::start(options).unwrap();
        let database = cluster.create_database().unwrap();
        migrate(&cluster.url(&database), &[]);
        Self::Postgres {
            cluster: Box::new(cluster),
            database,
        }
    }

    /// A server on it.
    pub(crate) fn server(&self) -> Server {
        let url = match self {
            Self::Sqlite(folder) => format!("sqlite://{}/data", folder.path().display()),
            Self::Postgres { cluster, database } => cluster.url(database),
        };
        ServerBuilder::on(&url).start()
    }
}
