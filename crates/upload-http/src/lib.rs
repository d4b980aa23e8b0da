//! The HTTP face of pending uploads: actix-web handlers over the traits of
//! [`pending_uploads_core`], and no backend.
//!
//! A [`Platform`] is put together from implementations of the traits, and [`configure`] mounts its
//! routes on any actix-web `App`, beside whatever else it serves:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use actix_web::{App, test::{TestRequest, call_service, init_service}};
//! use pending_uploads_core::{Quota, SystemClock, memory::MemoryPlatform};
//! use upload_http::{Platform, configure};
//!
//! # #[actix_web::main]
//! # async fn main() -> Result<(), upload_http::BuildError> {
//! let day = Duration::from_hours(24);
//! let memory = Arc::new(MemoryPlatform::new(Arc::new(SystemClock), day, Quota::default()));
//! let platform = Platform::builder(memory.clone(), memory.clone())
//!     .staging(memory)
//!     .build()?;
//! let app = init_service(App::new().configure(configure(&platform))).await;
//! let limits = TestRequest::get().uri("/uploads/limits").to_request();
//! assert!(call_service(&app, limits).await.status().is_success());
//! # Ok(())
//! # }
//! ```
//!
//! A service of its own needs no more than [`serve`].
//!
//! # Testing handlers
//!
//! Every test of these handlers runs them over the mocks of [`pending_uploads_core`]'s `mock`
//! feature, and so can yours:
//!
//! ```
//! use std::sync::Arc;
//!
//! use actix_web::{App, test::{TestRequest, call_service, init_service}};
//! use pending_uploads_core::{
//!     Delivery, Error, MockActivityLog, MockStorage, MockWorkspaces, Workspace,
//! };
//! use upload_http::{Platform, configure};
//!
//! # #[actix_web::main]
//! # async fn main() -> Result<(), upload_http::BuildError> {
//! let mut workspaces = MockWorkspaces::new();
//! workspaces.expect_authenticate().returning(|id, _| {
//!     let delivery = Delivery::Poll;
//!     Ok(Some(Workspace { id, delivery }))
//! });
//! let mut storage = MockStorage::new();
//! storage.expect_get().returning(|_, _| Err(Error::NotFound));
//!
//! let platform = Platform::builder(Arc::new(workspaces), Arc::new(MockActivityLog::new()))
//!     .staging(Arc::new(storage))
//!     .build()?;
//! let app = init_service(App::new().configure(configure(&platform))).await;
//! let path = "/workspaces/11111111-1111-4111-8111-111111111111\
//!     /pending-uploads/22222222-2222-4222-8222-222222222222/content";
//! let fetch = TestRequest::get().uri(path).insert_header(("authorization", "Bearer x"));
//! assert_eq!(call_service(&app, fetch.to_request()).await.status(), 404);
//! # Ok(())
//! # }
//! ```
//!
//! # What is logged and counted
//!
//! Each change is one line with fields and the counters of the same word: `staged`, `fetched` and
//! `acked` tell of a file; `rejected` (`pending_uploads_rejected_total{code}`) and `failed`
//! (`pending_uploads_failed_total{operation}`) of a request that was answered with an error, or
//! whose answer broke off. The gauges `pending_uploads_uploads_in_flight` and
//! `pending_uploads_fetches_in_flight` count transfers under way. No token and no content is ever in
//! a line.

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
pub use multipart::MAX_PARTS;
pub use platform::{
    AlwaysReady, BuildError, CallbackPolicy, MetricsRenderer, NotReady, Platform, PlatformBuilder,
    Readiness, RegistrationPolicy, Settings, Staging,
};
pub use routes::{configure, unknown_route};
pub use server::{ServeOptions, serve};

/// The examples of the documents, compiled and run with the tests of this crate.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
#[doc = include_str!("../../../docs/embedding.md")]
struct Documents;
