//! The whole process: the real binary, real sockets, and each store that it can keep everything in.
//!
//! Run it with `cargo xtask test`, which starts the PostgreSQL cluster that the tests share.
//!
//! A test that is listed in `on_each_store!` runs on PostgreSQL and on SQLite: `on_postgres::name`
//! and `on_sqlite::name`. What truly differs runs on one of them, and is in the table of backends in
//! `docs/operations.md`:
//!
//! - on PostgreSQL alone: several servers on one store, where a poll on one is woken by an upload
//!   through another (`waiting`); the server waits for its database at the start (`lifecycle`) and
//!   outlives its death (`postgres_death`); TLS (`tls`); tables that are made, brought up to date
//!   and taken back by `migrate`, and a server whose database lacks those of waiting files
//!   (`migrations`); a pool of connections, which slow peers must not empty (`slow_peers` on SQLite
//!   is the same test without one);
//! - on SQLite alone: the folder that is made where nothing is set, belongs to one process, is
//!   brought up to date when it is opened, has no way back, and is refused when a newer version has
//!   written it (`data_folder`);
//! - what a crash cut off is swept on PostgreSQL after the lease, and deleted on SQLite at the next
//!   start (`crashes`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copy;
mod crashes;
mod data_folder;
mod doctor;
mod expiry;
mod isolation;
mod kills;
mod lifecycle;
mod logs;
mod migrations;
mod postgres_death;
mod push;
mod refusals;
mod settings;
mod slow_peers;
mod tls;
mod waiting;
mod walk;
