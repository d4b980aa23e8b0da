//! Private, throw-away PostgreSQL clusters for tests and benchmarks.
//!
//! - [`Cluster`] is a cluster of its own in a temporary folder, on a free port of 127.0.0.1, which
//!   can be killed and started again.
//! - [`TestDatabase`] is a fresh database in the cluster that `cargo xtask test` has started for
//!   all tests.
//!
//! Nothing here touches a cluster that was on the machine before. PostgreSQL refuses to run as
//! root, so root's clusters run as the user `postgres`, or `nobody`. When the process that started
//! a cluster dies without a chance to stop it, Linux stops the cluster (where `setpriv` of
//! util-linux is installed); its folder then stays in the temporary directory.

mod cluster;
mod error;
mod launch;
mod options;
mod port;
mod programs;
mod sql;
mod test_database;
mod tls;
mod user;

pub use cluster::Cluster;
pub use error::ClusterError;
pub use options::{ClusterOptions, Durability, Tls};
pub use programs::Programs;
pub use test_database::{TEST_URL_VARIABLE, TestDatabase};
