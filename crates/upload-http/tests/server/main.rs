//! The server over real sockets: what only shows on the wire.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "the helpers of a test crate fail its tests, and nobody else sees them"
)]

mod fetches;
mod heads;
mod push;
mod slow_forms;
mod support;
mod wire;
