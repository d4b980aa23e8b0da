//! The workspace's side over a platform that does what a test tells it to.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where it stands"
)]

mod content;
mod feed;
mod platform;
mod support;
mod tokens;
mod upload;
