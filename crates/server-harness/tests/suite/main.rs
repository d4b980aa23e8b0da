//! The harness itself: that its checks can fail.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ledger;
mod process;
