//! PostgreSQL behind the traits: the contract, what it leaves open, and the schema's steps.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod archive;
mod behaviour;
mod bursts;
mod chunks;
mod connections;
mod contract;
mod forgetting;
mod migrations;
mod plans;
mod remembering;
mod staged;
mod support;
mod sweeping;
