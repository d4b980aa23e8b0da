//! The handlers over mocks: every status of the contract.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where it stands"
)]

mod ack;
mod activity;
mod auth;
mod content;
mod content_end;
mod harness;
mod logs;
mod messages;
mod pending;
mod registry;
mod service;
