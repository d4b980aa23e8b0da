//! Real servers, clients and broken networks for whole-process tests; for tests and benchmarks
//! alone.
//!
//! - [`Store`] is a place that a server keeps everything in, PostgreSQL or SQLite, and
//!   [`on_each_store!`] makes a test of each.
//! - [`Store::server`] is a server that is not started yet; [`Server`] is one that listens, the real
//!   binary in a process of its own.
//! - [`Program`] and [`Process`] are the same for any other binary, and [`binary_of`] finds or
//!   builds it.
//! - [`Client`] and [`RawConnection`] speak with a server, well-behaved and not; [`Receiver`] is
//!   called by one.
//! - [`FaultProxy`] stands between a client and a server, and cuts, resets, delays, trickles and
//!   stalls what passes.
//! - [`Ledger`] notes what was uploaded, and compares it with what a server has or what lies in a
//!   folder.
//!
//! Everything here fails by panicking, with a sentence that says what was waited for or found, so
//! that a test need not look at results.

#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness fails its test by panicking"
)]

mod binary;
mod client;
mod data;
pub mod database;
mod folder;
mod ledger;
mod multipart;
mod process;
mod proxy;
mod random;
mod raw;
mod receiver;
mod server;
mod store;
mod wait;

pub use binary::binary_of;
pub use client::{Answer, Client, Workspace, assert_no_secret_in, remember_secret, text};
pub use data::{bytes, sha256};
pub use folder::{files_in, names_in};
pub use ledger::{Ledger, TakenFile};
pub use multipart::{Form, Part};
pub use process::{Process, Program};
pub use proxy::{Counts, Direction, Fault, FaultKind, FaultProxy, Moment, Plan, Storm, Weights};
pub use random::{Random, seed_of};
pub use raw::RawConnection;
pub use receiver::{Call, Receiver};
pub use server::{Server, ServerBuilder};
pub use store::{DataFolder, Store};
pub use wait::eventually;
