//! The HTTP face of pending uploads: actix-web handlers over the traits of
//! [`pending_uploads_core`], and no backend.

mod address;
mod auth;
mod error;
mod events;
mod forward;
mod multipart;
mod platform;
mod routes;
mod server;
mod upload;
mod wire;

pub use error::{ApiError, Cause};
pub use platform::{
    AlwaysReady, BuildError, CallbackPolicy, MetricsRenderer, NotReady, Platform, PlatformBuilder,
    Readiness, RegistrationPolicy, Settings, Staging,
};
pub use routes::{configure, unknown_route};
