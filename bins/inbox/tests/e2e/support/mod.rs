//! What the tests share.

pub(crate) mod desk;
pub(crate) mod history;
pub(crate) mod messages;
pub(crate) mod platform;
pub(crate) mod scene;
