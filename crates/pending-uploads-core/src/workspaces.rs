//! Workspaces: who they are, how files reach them, and the trait that knows them.

use std::str::FromStr;

use async_trait::async_trait;
use serde_json::Value;

use crate::{CallbackUrl, InboundSecret, Result, Token, WorkspaceId};

/// How a workspace receives: it is called, or it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryMode {
    /// It has a URL and is called.
    Push,
    /// It has none and asks.
    Poll,
}

/// The text is no delivery mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("delivery_mode must be push or poll")]
pub struct InvalidDeliveryMode;

impl DeliveryMode {
    /// The word for it in JSON and in stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Poll => "poll",
        }
    }
}

/// Reads what [`DeliveryMode::as_str`] prints.
impl FromStr for DeliveryMode {
    type Err = InvalidDeliveryMode;

    fn from_str(text: &str) -> Result<Self, InvalidDeliveryMode> {
        match text {
            "push" => Ok(Self::Push),
            "poll" => Ok(Self::Poll),
            _ => Err(InvalidDeliveryMode),
        }
    }
}

/// How files and messages reach a workspace, with what is needed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// They wait until it asks.
    Poll,
    /// They are sent on to its URL.
    Push {
        /// Where it takes calls.
        url: CallbackUrl,
        /// What it knows us by.
        secret: InboundSecret,
    },
    /// Not at all: it is in push mode and has no URL.
    Unreachable,
}

impl Delivery {
    /// How a workspace of that mode is reached that has, or has not, said where it takes calls.
    pub fn new(mode: DeliveryMode, url: Option<CallbackUrl>, secret: InboundSecret) -> Self {
        match (mode, url) {
            (DeliveryMode::Poll, _) => Self::Poll,
            (DeliveryMode::Push, Some(url)) => Self::Push { url, secret },
            (DeliveryMode::Push, None) => Self::Unreachable,
        }
    }
}

/// A registered workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// How things reach it.
    pub delivery: Delivery,
}

/// What a workspace says of itself when it registers.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// The id that it chose.
    pub id: WorkspaceId,
    /// How it wants to receive; none keeps what is stored, and is push the first time.
    pub delivery_mode: Option<DeliveryMode>,
    /// Where it takes calls; none keeps what is stored.
    pub url: Option<CallbackUrl>,
    /// Its A2A agent card; none keeps what is stored.
    pub agent_card: Option<Value>,
}

impl Registration {
    /// That of a workspace which polls, and says no more of itself.
    pub fn polling(id: WorkspaceId) -> Self {
        Self {
            id,
            delivery_mode: Some(DeliveryMode::Poll),
            url: None,
            agent_card: None,
        }
    }
}

/// Who asks for a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registrar {
    /// Somebody without a credential that fits.
    Anonymous,
    /// A workspace that has shown its own token.
    Workspace(WorkspaceId),
    /// The admin.
    Admin,
}

impl Registrar {
    /// Whether he may change the registration of `id`, which exists.
    pub fn may_update(&self, id: WorkspaceId) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Workspace(own) => *own == id,
            Self::Admin => true,
        }
    }
}

/// How a registration went.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The mode that is stored now.
    pub delivery_mode: DeliveryMode,
    /// The workspace's token: only when this was its first registration. It is stored nowhere.
    pub auth_token: Option<Token>,
    /// What the workspace knows us by: only in push mode. The same each time.
    pub inbound_secret: Option<InboundSecret>,
}

impl Registered {
    /// The answer to a registration after which the workspace has that mode. Its secret, which is
    /// stored in either mode, is told in push mode alone; a token, when it was made just now.
    pub fn new(
        delivery_mode: DeliveryMode,
        auth_token: Option<Token>,
        secret: InboundSecret,
    ) -> Self {
        Self {
            delivery_mode,
            auth_token,
            inbound_secret: match delivery_mode {
                DeliveryMode::Push => Some(secret),
                DeliveryMode::Poll => None,
            },
        }
    }
}

/// The registered workspaces.
#[async_trait]
pub trait Workspaces: Send + Sync {
    /// Registers a workspace, or changes its registration.
    ///
    /// Of two first registrations of one id at once, one creates it and gets its token; the other
    /// finds it existing. Durable when it answers. Repeating it with the same words changes
    /// nothing. A dropped future leaves it registered or not; a token that was made and not
    /// received can be replaced by nobody, so an id whose answer was lost is lost with it.
    ///
    /// # Errors
    /// [`Unauthorized`](crate::Error::Unauthorized) when the id exists and `registrar` may not
    /// change it; [`Integrity`](crate::Error::Integrity) when what is stored of it is damaged;
    /// [`Unavailable`](crate::Error::Unavailable), [`Backend`](crate::Error::Backend).
    ///
    /// The caller has checked whether new ids are taken from this registrar at all, and that the
    /// URL's address may be called.
    async fn register(
        &self,
        registration: Registration,
        registrar: Registrar,
    ) -> Result<Registered>;

    /// Answers the workspace when `token` is the one of `workspace`; none when it is not, or when
    /// there is no such workspace, which nobody can tell apart.
    ///
    /// Tokens are compared in constant time. A change of the registration is seen by the next call
    /// in the process that made it, and in every other soon: within 5 seconds, should a store keep
    /// what it looked up for that long. What never was is never kept.
    ///
    /// # Errors
    /// [`Integrity`](crate::Error::Integrity), [`Unavailable`](crate::Error::Unavailable),
    /// [`Backend`](crate::Error::Backend): none of them is a pass.
    async fn authenticate(
        &self,
        workspace: WorkspaceId,
        token: &Token,
    ) -> Result<Option<Workspace>>;

    /// Looks a workspace up for a caller who may see every one. A change is seen as
    /// [`authenticate`](Self::authenticate) sees it.
    ///
    /// # Errors
    /// [`UnknownWorkspace`](crate::Error::UnknownWorkspace);
    /// [`Integrity`](crate::Error::Integrity), [`Unavailable`](crate::Error::Unavailable),
    /// [`Backend`](crate::Error::Backend).
    async fn get(&self, workspace: WorkspaceId) -> Result<Workspace>;
}
