//! What can go wrong with a benchmark.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use pg_cluster::ClusterError;

use crate::floors::FloorError;

/// A benchmark that could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The figures cannot be kept.
    #[error("a histogram of latencies cannot be made")]
    Histogram,
    /// A worker panicked.
    #[error("a worker of the load died")]
    WorkerDied,
    /// Nobody listens.
    #[error("cannot connect to {address}")]
    Connect {
        address: SocketAddr,
        source: io::Error,
    },
    /// The connection was lost in the middle of a request or its answer.
    #[error("the connection was lost: {request}")]
    Lost { request: String, source: io::Error },
    /// What came back is no HTTP.
    #[error("what was answered is no HTTP/1.1")]
    NoHttp,
    /// The server answered something else than what the load is about.
    #[error("{request} was answered with {status}: {answer}")]
    Unexpected {
        request: String,
        status: u16,
        answer: String,
    },
    /// A 200 that does not say what it should.
    #[error("{request} was answered with 200, and without {missing}")]
    Incomplete {
        request: String,
        missing: &'static str,
    },
    /// The private cluster.
    #[error("the private PostgreSQL cluster failed")]
    Cluster(#[from] ClusterError),
    /// Asking the database.
    #[error("the database cannot be asked")]
    Database(#[from] tokio_postgres::Error),
    /// A file could not be read or written.
    #[error("cannot use {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// What /proc says is not understood.
    #[error("cannot read what {} says", path.display())]
    Meter { path: PathBuf },
    /// A report of an earlier run is none.
    #[error("{} is no report of a benchmark", path.display())]
    Report {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// The report cannot be written down.
    #[error("the report cannot be put into JSON")]
    Json(#[from] serde_json::Error),
    /// The runtime, the signals or the limits of this process.
    #[error("this process cannot be set up")]
    Setup(#[source] io::Error),
    /// Nothing is to be measured.
    #[error("no cell has {0:?} in its name; `--list` names them all")]
    NoSuchCell(String),
    /// The inbox under measurement.
    #[error("the inbox failed: {0}")]
    Inbox(String),
    /// More turns than there is material for.
    #[error("there is no file left to be acked")]
    OutOfFiles,
    /// Files that were uploaded and announced, and did not come.
    #[error("not all files arrived within a minute of the last upload")]
    NotArrived,
    /// A floor could not be measured.
    #[error("a floor cannot be measured")]
    Floor(#[from] FloorError),
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}
