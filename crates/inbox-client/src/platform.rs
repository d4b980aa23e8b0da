//! The platform: its routes as calls. All that comes from it is parsed and not believed.
//!
//! - Waiting is bounded. The head of an answer, and the whole of a small one, have [`Timeouts::answer`],
//!   on top of the time to connect and of what a poll is ready to wait; a file, a list and a page of the
//!   feed have [`Timeouts::idle`] for each piece, and must not be [slow](crate::SlowPeer), and the first
//!   piece of a list or a page has the head's time, if that is longer; an upload has
//!   [`Timeouts::idle`] for each piece that the network takes.
//! - So is memory: a list is at most 64 MiB, any other small answer 64 KiB; more is
//!   [`CallError::Malformed`].
//! - No redirect is followed: the token would go along.
//! - The token is neither logged nor printed.

mod answer;
mod client;
mod content;
mod deadline;
mod error;
mod feed;
mod form;
mod meter;
mod upload;
mod url;
mod waiting;

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use pending_uploads_core::{FileId, Limits, Sha256, Token, WorkspaceId};
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;
use serde_json::json;

pub use content::Content;
pub use error::{CallError, PlatformError};
pub use feed::{FeedCursor, FeedQuery, FeedRow, RowContent};
pub use form::UploadFile;
pub use upload::UploadedFile;
pub use url::{InvalidPlatformUrl, PlatformUrl};
pub use waiting::WaitingList;

use crate::credentials::Credentials;
use crate::{Timeouts, TokenSource, WaitingFile};
use answer::Answer;
use error::malformed;
use form::Form;

/// A platform, as anybody may call it. Clones share their connections.
#[derive(Clone)]
pub struct Platform {
    client: Client,
    url: PlatformUrl,
    timeouts: Timeouts,
}

/// What a workspace tells of itself when it registers. It then polls.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its id, which it chooses itself.
    pub id: WorkspaceId,
    /// Its name for people; without one, the platform keeps what it has.
    pub name: Option<String>,
    /// Its token, or the admin's. A first registration needs none, unless the platform lets only its
    /// admin register.
    pub token: Option<Token>,
}

/// A platform, as one workspace calls it. Clones share their connections and the token.
///
/// Each call asks the [`TokenSource`] for a token if there is none, or if the platform refused the
/// last one. A call that is answered with 401 asks at once, and is repeated once if the source has
/// another token; an upload alone is not repeated, because its bytes are gone.
#[derive(Debug, Clone)]
pub struct PlatformWorkspace {
    platform: Platform,
    id: WorkspaceId,
    credentials: Arc<Credentials>,
}

#[derive(Debug, Deserialize)]
struct RegisteredAnswer {
    delivery_mode: String,
    auth_token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct LimitsAnswer {
    per_file_bytes: NonZeroU64,
    per_request_bytes: NonZeroU64,
    max_attachments_per_message: NonZeroU32,
}

#[derive(Debug, Deserialize)]
struct AckAnswer {
    acked: bool,
}

impl Platform {
    /// The platform at `url`; nobody is called yet. The proxies of the environment (`HTTPS_PROXY`,
    /// `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`) are heeded, and https is checked against the system's
    /// root certificates.
    ///
    /// # Errors
    /// [`PlatformError`].
    pub fn new(url: PlatformUrl, timeouts: Timeouts) -> Result<Self, PlatformError> {
        let client = client::client(timeouts.connect)?;
        Ok(Self {
            client,
            url,
            timeouts,
        })
    }

    /// Registers a workspace that polls, or changes its registration. The token comes only with the
    /// first registration of an id, and cannot be asked for again: when the future is dropped, or the
    /// answer is lost, so may be the token.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::Unauthorized`] when the id exists and the token does not fit, or
    /// when only the admin may register.
    pub async fn register(&self, registration: &Registration) -> Result<Option<Token>, CallError> {
        let mut body = json!({"id": registration.id.to_string(), "delivery_mode": "poll"});
        if let Some(name) = &registration.name {
            body["agent_card"] = json!({"name": name});
        }
        let mut request = json_body(self.request(Method::POST, "registry/register"), &body);
        if let Some(token) = &registration.token {
            request = request.bearer_auth(token.expose());
        }
        let answer = Answer::to(request, self.patience()).await?;
        let said: RegisteredAnswer = answer.json("it is no answer to a registration").await?;
        if said.delivery_mode != "poll" {
            return Err(malformed(
                "the workspace was not registered as one that polls",
            ));
        }
        let token = said.auth_token.map(|token| token.parse()).transpose();
        token.map_err(|_| malformed("the token is none"))
    }

    /// What one upload may hold.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn limits(&self) -> Result<Limits, CallError> {
        let request = self.request(Method::GET, "uploads/limits");
        let answer = Answer::to(request, self.patience()).await?;
        let said: LimitsAnswer = answer.json("they are no limits").await?;
        Limits::new(
            said.per_file_bytes,
            said.per_request_bytes,
            said.max_attachments_per_message,
        )
        .map_err(|_| malformed("the limits contradict each other"))
    }

    /// The platform as the workspace `id` calls it, with the tokens of `token`; nobody is asked yet.
    pub fn workspace(&self, id: WorkspaceId, token: Arc<dyn TokenSource>) -> PlatformWorkspace {
        PlatformWorkspace {
            platform: self.clone(),
            id,
            credentials: Arc::new(Credentials::new(token, self.patience())),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url.route(path))
    }

    /// How long the head of an answer, and the whole of a small one, may take: files, lists and pages of
    /// the feed may take longer.
    fn patience(&self) -> Duration {
        let Timeouts {
            connect, answer, ..
        } = self.timeouts;
        connect.saturating_add(answer)
    }
}

/// Shows where it is; a proxy of the environment may have a password.
impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform")
            .field("url", &self.url.as_url().as_str())
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl PlatformWorkspace {
    /// The workspace.
    pub fn id(&self) -> WorkspaceId {
        self.id
    }

    /// Every file that is neither acked nor expired. Of one that is listed in a way that cannot be read
    /// there is only the id; an entry that does not even tell that is logged, and left out.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn waiting(&self) -> Result<WaitingList, CallError> {
        let request = self.request(Method::GET, "pending-uploads");
        let answer = self.call(request, Duration::ZERO).await?;
        waiting::list(self.id, &answer.list(&self.platform.timeouts).await?)
    }

    /// Rows of the feed. One that has no readable id, number or time is logged, and left out.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::CursorGone`] when the cursor's row is not in the feed, and
    /// [`CallError::Malformed`] also when there are rows and none of them can be read.
    pub async fn feed(&self, query: &FeedQuery) -> Result<Vec<FeedRow>, CallError> {
        let url = query.on(self.url("activity"));
        let request = self.platform.client.get(url);
        let answer = self.call(request, query.patience()).await?;
        feed::rows(self.id, &answer.list(&self.platform.timeouts).await?)
    }

    /// The bytes of `file` from the byte `from` on; from 0 when the platform prefers that:
    /// [`Content::from`] tells.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::NotFound`], [`CallError::Changed`] when it is not the file that was
    /// announced, and [`CallError::RangeNotSatisfiable`] when it has no byte from there on.
    pub async fn content(&self, file: &WaitingFile, from: u64) -> Result<Content, CallError> {
        let path = format!("pending-uploads/{}/content", file.file_id);
        let request = content::ask_for(self.request(Method::GET, &path), file, from);
        let answer = self.call(request, Duration::ZERO).await?;
        Content::of(answer.response, file, from, &self.platform.timeouts)
    }

    /// Says that the file is here and has this digest. It may be said again and again.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::NotFound`], and [`CallError::DigestMismatch`] when the platform has
    /// another file.
    pub async fn ack(&self, file_id: FileId, sha256: Sha256) -> Result<(), CallError> {
        let path = format!("pending-uploads/{file_id}/ack");
        let body = json!({"sha256": sha256.to_string()});
        let request = json_body(self.request(Method::POST, &path), &body);
        let answer = self.call(request, Duration::ZERO).await?;
        let said: AckAnswer = answer.json("it is no answer to an ack").await?;
        said.acked
            .then_some(())
            .ok_or(malformed("the file was not acked"))
    }

    /// Sends files to the workspace, in one request, as they are read: with its length when that of
    /// each file is known. They are taken all together or not at all; when the future is dropped, or
    /// the answer is lost, it is either. A repeated upload makes new files.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::Refused`] with the platform's code when the files are not taken,
    /// [`CallError::Unreadable`] when a file cannot be read or is not as long as was said, and
    /// [`CallError::Unreachable`] when the connection was not made or broke before all was sent.
    /// After [`CallError::Unanswered`], [`CallError::Unavailable`], [`CallError::TimedOut`],
    /// [`CallError::BrokenOff`] and [`CallError::Malformed`] the platform may have the files.
    pub async fn upload(&self, files: Vec<UploadFile>) -> Result<Vec<UploadedFile>, CallError> {
        let held = self.credentials.current().await?;
        let request = self.request(Method::POST, "chat/uploads");
        let request = request.bearer_auth(held.token.expose());
        let uploaded = upload::upload(request, Form::of(files), &self.platform.timeouts).await;
        if let Err(CallError::Unauthorized) = uploaded {
            self.credentials.refused(&held).await;
        }
        uploaded
    }

    /// Sends `request`, whose body can be sent again, with the token, and once more with a fresh one.
    async fn call(&self, request: RequestBuilder, wait: Duration) -> Result<Answer, CallError> {
        let patience = self.platform.patience().saturating_add(wait);
        let held = self.credentials.current().await?;
        let again = request.try_clone();
        let first = Answer::to(request.bearer_auth(held.token.expose()), patience).await;
        let (Err(CallError::Unauthorized), Some(again)) = (&first, again) else {
            return first;
        };
        let Some(other) = self.credentials.other_than(&held).await? else {
            return first;
        };
        let second = Answer::to(again.bearer_auth(other.token.expose()), patience).await;
        if let Err(CallError::Unauthorized) = second {
            self.credentials.refused(&other).await;
        }
        second
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.platform.client.request(method, self.url(path))
    }

    fn url(&self, path: &str) -> ::url::Url {
        self.platform
            .url
            .route(&format!("workspaces/{}/{path}", self.id))
    }
}

fn json_body(request: RequestBuilder, body: &serde_json::Value) -> RequestBuilder {
    request
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .body(body.to_string())
}
