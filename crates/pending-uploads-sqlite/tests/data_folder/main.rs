//! What the contract leaves to SQLite: the data folder and who may open it, where bytes lie, what a
//! crash leaves, and how large it all becomes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bundles;
mod child;
mod crash;
mod damage;
mod log;
mod modes;
mod opening;
mod orphans;
mod placement;
mod space;
mod support;
