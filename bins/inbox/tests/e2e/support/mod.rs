//! What the tests share.

pub mod desk;
pub mod history;
pub mod messages;
pub mod platform;
pub mod scene;
