//! The workspace's side over a platform that does what a test tells it to.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where it stands"
)]

mod arrivals;
mod content;
mod crashes;
mod feed;
mod lists;
mod lists_wanted;
mod losses;
mod messages;
mod observer;
mod platform;
mod restarts;
mod storms;
mod support;
mod tokens;
mod troubles;
mod unreadable;
mod upload;
