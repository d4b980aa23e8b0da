//! The traits of [`pending_uploads_core`] on PostgreSQL (14 or newer).
//!
//! What lies where, for operators:
//!
//! - `workspaces`, `feed_counters`, `activity`: who is registered, and what each feed says.
//! - `pending_uploads`: one narrow row for each published file.
//! - `pending_upload_chunks`: the files' bytes, 8,000 a row, or 64,000 of a file that came in one
//!   piece. A chunk whose file is in no row of `pending_uploads` belongs to an upload that is still
//!   arriving, or to one that never published; the latter is found through `staged_batches` and swept
//!   when its lease is over.
//!
//! Nothing else is stored. The database user needs no more than the rights to read and write these
//! tables; [`migrate`] needs the right to create them, a function and a trigger. The trigger tells all
//! processes of a workspace that was changed, which each of them remembers for some seconds.
//!
//! Bytes arrive in bursts of 192 kB, each of which borrows a connection for one statement. What is
//! small, and asked for while something else of its kind is under way, goes together in the next
//! statement. No connection and no transaction is ever held while a client sends or receives.

mod activity;
mod archive;
mod batch;
mod burst;
mod chunks;
mod config;
mod cuts;
mod database;
mod error;
mod feed_rows;
mod files;
mod group;
mod hints;
mod lanes;
pub mod migrate;
mod pace;
mod publish;
mod publisher;
mod restoration;
mod rows;
mod staged;
mod stats;
mod storage;
mod storing;
mod sweep;
mod workspaces;

pub use activity::PgActivityLog;
pub use archive::{ArchiveError, PgArchive};
pub use batch::PgBatch;
pub use config::{ConfigError, DatabaseConfig};
pub use database::{Database, Schema, SchemaPart, Server};
pub use pending_uploads_core::StorageConfig;
pub use restoration::PgRestoration;
pub use storage::PgStorage;
pub use workspaces::PgWorkspaces;

/// The examples of the document, compiled with the tests of this crate.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding-postgres.md")]
struct Document;
