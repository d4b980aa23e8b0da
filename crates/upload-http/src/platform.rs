//! What the handlers work on: the traits, the settings, and how they are put together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pending_uploads_core::{
    ActivityLog, Clock, Limits, Storage, SystemClock, Token, TokenDigest, Workspaces,
};
use tokio_util::sync::CancellationToken;

use crate::forward::Forwarder;

/// Everything that the handlers need. Clones are cheap and share it.
#[derive(Clone)]
pub struct Platform {
    parts: Arc<Parts>,
    forwarder: Forwarder,
    shutdown: CancellationToken,
}

struct Parts {
    workspaces: Arc<dyn Workspaces>,
    activity: Arc<dyn ActivityLog>,
    staging: Staging,
    readiness: Arc<dyn Readiness>,
    clock: Arc<dyn Clock>,
    metrics: Option<MetricsRenderer>,
    shutdown: CancellationToken,
    admin: Option<TokenDigest>,
    settings: Settings,
}

/// Where uploads for poll-mode workspaces are staged.
#[derive(Clone)]
pub enum Staging {
    /// Here.
    Wired(Arc<dyn Storage>),
    /// Nowhere: an upload for a poll-mode workspace is answered with 422, no file is ever waiting,
    /// and everything else works.
    Absent,
}

impl Staging {
    /// The storage, if there is one.
    pub fn wired(&self) -> Option<&Arc<dyn Storage>> {
        match self {
            Self::Wired(storage) => Some(storage),
            Self::Absent => None,
        }
    }
}

/// Prints the process's metrics in Prometheus' text format.
pub type MetricsRenderer = Arc<dyn Fn() -> String + Send + Sync>;

/// How the platform behaves. Build one from [`Settings::default`]:
///
/// ```
/// use upload_http::{CallbackPolicy, Settings};
///
/// let settings = Settings {
///     callbacks: CallbackPolicy::AllowPrivate,
///     ..Settings::default()
/// };
/// # assert!(settings.admin_token.is_none());
/// ```
#[derive(Debug, Clone)]
pub struct Settings {
    /// What one upload request may hold.
    pub limits: Limits,
    /// How long a peer may be silent in the middle of a body before its request is ended. Counted
    /// for each read, never for a whole body.
    pub idle_timeout: Duration,
    /// The token that opens every workspace; none by default.
    pub admin_token: Option<Token>,
    /// Who may register a new workspace.
    pub registration: RegistrationPolicy,
    /// Which callback addresses may be called.
    pub callbacks: CallbackPolicy,
}

/// The default limits, 60 seconds of silence, no admin token, open registration, public callback
/// addresses only.
impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            idle_timeout: Duration::from_mins(1),
            admin_token: None,
            registration: RegistrationPolicy::Open,
            callbacks: CallbackPolicy::PublicOnly,
        }
    }
}

/// Who may register a new workspace. A workspace that is registered may always change its own
/// registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationPolicy {
    /// Anybody.
    Open,
    /// The admin.
    AdminOnly,
}

/// Which addresses the callback URL of a push workspace may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackPolicy {
    /// Public ones: no loopback, private or link-local address is called.
    PublicOnly,
    /// Any.
    AllowPrivate,
}

/// Knows whether the platform can serve.
#[async_trait]
pub trait Readiness: Send + Sync {
    /// Answers whether requests can be served now. It is asked by every probe of `/readyz`, so it
    /// should answer within a second or so.
    ///
    /// # Errors
    /// [`NotReady`], whose reason is logged and not shown to the prober.
    async fn check(&self) -> Result<(), NotReady>;
}

/// The platform cannot serve now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not ready: {reason}")]
pub struct NotReady {
    /// Why, for the log.
    pub reason: String,
}

/// The readiness of a platform whose backends are always there.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlwaysReady;

#[async_trait]
impl Readiness for AlwaysReady {
    async fn check(&self) -> Result<(), NotReady> {
        Ok(())
    }
}

/// The platform could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The HTTP client that calls push workspaces could not be made.
    #[error("the HTTP client for callbacks could not be made")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Puts a [`Platform`] together.
#[derive(Clone)]
pub struct PlatformBuilder(Parts);

impl Clone for Parts {
    fn clone(&self) -> Self {
        Self {
            workspaces: Arc::clone(&self.workspaces),
            activity: Arc::clone(&self.activity),
            staging: self.staging.clone(),
            readiness: Arc::clone(&self.readiness),
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.clone(),
            shutdown: self.shutdown.clone(),
            admin: self.admin,
            settings: self.settings.clone(),
        }
    }
}

impl Platform {
    /// Starts with the two traits that every platform needs; nothing is staged, the settings are
    /// the default ones, the clock is the machine's, and there are no metrics.
    pub fn builder(
        workspaces: Arc<dyn Workspaces>,
        activity: Arc<dyn ActivityLog>,
    ) -> PlatformBuilder {
        PlatformBuilder(Parts {
            workspaces,
            activity,
            staging: Staging::Absent,
            readiness: Arc::new(AlwaysReady),
            clock: Arc::new(SystemClock),
            metrics: None,
            shutdown: CancellationToken::new(),
            admin: None,
            settings: Settings::default(),
        })
    }

    /// The registered workspaces.
    pub fn workspaces(&self) -> &Arc<dyn Workspaces> {
        &self.parts.workspaces
    }

    /// The feeds.
    pub fn activity(&self) -> &Arc<dyn ActivityLog> {
        &self.parts.activity
    }

    /// Where uploads are staged.
    pub fn staging(&self) -> &Staging {
        &self.parts.staging
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    /// Is cancelled when the platform stops: whoever waits for a feed is then answered at once.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    pub(crate) fn readiness(&self) -> &dyn Readiness {
        &*self.parts.readiness
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.parts.clock
    }

    pub(crate) fn metrics(&self) -> Option<&MetricsRenderer> {
        self.parts.metrics.as_ref()
    }

    /// Whether `token` is the admin's; compared in constant time.
    pub(crate) fn is_admin(&self, token: &Token) -> bool {
        self.parts.admin.is_some_and(|admin| admin.is_of(token))
    }

    /// Calls push workspaces.
    pub(crate) fn forwarder(&self) -> &Forwarder {
        &self.forwarder
    }

    /// The same platform, stopped by `shutdown`.
    pub(crate) fn stopped_by(self, shutdown: CancellationToken) -> Self {
        Self { shutdown, ..self }
    }
}

impl PlatformBuilder {
    /// Stages uploads for poll-mode workspaces in `storage`.
    #[must_use]
    pub fn staging(mut self, storage: Arc<dyn Storage>) -> Self {
        self.0.staging = Staging::Wired(storage);
        self
    }

    /// Replaces the settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.0.settings = settings;
        self
    }

    /// Lets `/readyz` ask `readiness`.
    #[must_use]
    pub fn readiness(mut self, readiness: Arc<dyn Readiness>) -> Self {
        self.0.readiness = readiness;
        self
    }

    /// Lets `/metrics` answer what `renderer` prints.
    #[must_use]
    pub fn metrics(mut self, renderer: MetricsRenderer) -> Self {
        self.0.metrics = Some(renderer);
        self
    }

    /// Asks `clock` for the time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.0.clock = clock;
        self
    }

    /// Stops waiting when `token` is cancelled.
    #[must_use]
    pub fn shutdown(mut self, token: CancellationToken) -> Self {
        self.0.shutdown = token;
        self
    }

    /// Puts the platform together.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(mut self) -> Result<Platform, BuildError> {
        self.0.admin = self.0.settings.admin_token.as_ref().map(Token::digest);
        let settings = &self.0.settings;
        let forwarder = Forwarder::new(settings.callbacks, settings.idle_timeout)
            .map_err(|error| BuildError::Client(error.into()))?;
        Ok(Platform {
            forwarder,
            shutdown: self.0.shutdown.clone(),
            parts: Arc::new(self.0),
        })
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platform")
            .field("staging", &self.parts.staging)
            .field("settings", &self.parts.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PlatformBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlatformBuilder")
            .field("staging", &self.0.staging)
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wired(_) => "Wired",
            Self::Absent => "Absent",
        })
    }
}
