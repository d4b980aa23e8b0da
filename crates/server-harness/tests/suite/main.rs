//! The harness itself: that its proxy does what it says, and that its checks can fail.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ledger;
mod process;
mod proxy;
mod proxy_http;
mod upstream;
