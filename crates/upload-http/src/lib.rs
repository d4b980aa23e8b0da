//! The HTTP face of pending uploads: actix-web handlers over the traits of
//! [`pending_uploads_core`], and no backend.

mod activity;
mod activity_query;
mod address;
mod auth;
mod body;
mod conditional;
mod content;
mod disposition;
mod error;
mod events;
mod forward;
mod handover;
mod health;
mod idle;
mod limits;
mod messages;
mod multipart;
mod pending;
mod platform;
mod range;
mod registry;
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
pub use server::{ServeOptions, serve};
