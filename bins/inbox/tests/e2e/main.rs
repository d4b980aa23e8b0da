//! End to end: real servers on each store, the real inbox in a process of its own, real files.
//!
//! Run it with `cargo xtask test`, which starts the PostgreSQL cluster that the tests share. A test
//! with random moments prints its seed, and takes it again from the variable of that name.
//!
//! Each test ends with the same look at everything (`support::scene`): every file whose upload was
//! answered 200 lies in the folder once, with its bytes, under its name, for its owner alone; nothing
//! else lies there; the server has nothing left to take; each file was told of, as it was sent; and
//! each message was told of as it stands in the feed, in its order, after its files, with their paths
//! in the place of their URIs.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod absence;
mod endings;
mod exec;
mod fetch_once;
mod names;
mod quick_start;
mod restarts;
mod storms;
mod support;
mod tokens;
mod two_inboxes;
mod workspaces;
