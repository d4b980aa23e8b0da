//! The whole process: the real binary, real sockets, a real PostgreSQL.
//!
//! Run it with `cargo xtask test`, which starts the cluster that the tests share.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod copy;
mod crashes;
mod expiry;
mod isolation;
mod lifecycle;
mod logs;
mod migrations;
mod push;
mod refusals;
mod settings;
mod slow_peers;
mod tls;
mod waiting;
mod walk;
