//! Sends what a push workspace receives on to its URL, and its answer back.
//!
//! Nothing is buffered: the body goes on as it arrives, and the answer comes back as it arrives. The
//! answer's status, `Content-Type`, `Content-Encoding`, `Retry-After` and body are the workspace's.
//! No other header of it comes back, so that it can neither set a cookie nor send anybody elsewhere:
//! a redirect is not followed, and comes back without its `Location`. A browser is told to run
//! nothing of it, and everybody to keep nothing of it.
//!
//! Waiting is bounded: 10 seconds for the connection, the idle timeout for each step of an upload and
//! of an answer's body, and 5 minutes from the end of an upload to the head of its answer, because an
//! agent may think; a message, which is short, has those 5 minutes for all of it. Connections are not
//! kept: a name is resolved, and its addresses are checked, for each call.

use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderName, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, rt};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use log::warn;
use pending_uploads_core::{CallbackUrl, InboundSecret};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::mpsc;
use tokio::time::timeout;
use url::Url;

use crate::address::{CheckedResolver, check_callback};
use crate::error::{ApiError, BrokenOff, Cause};
use crate::events::{self, Site};
use crate::idle::IdleDeadline;
use crate::multipart::{BodyError, GuardedBody};
use crate::platform::{CallbackPolicy, Platform};

const INGEST_PATH: &str = "/internal/chat/uploads/ingest";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a workspace may think before it answers, from the end of the request.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);
/// How many pieces of a body may be between the client and the workspace. Each is what was read from
/// a socket at once.
const PIECES_UNDER_WAY: usize = 4;
/// What of an answer comes back beside its status, its length and its body.
const ANSWER_HEADERS: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, RETRY_AFTER];
/// The answers that have no body (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5).
const BODILESS: [StatusCode; 3] = [
    StatusCode::NO_CONTENT,
    StatusCode::RESET_CONTENT,
    StatusCode::NOT_MODIFIED,
];

/// Where the certificates of a TLS server are anchored: in the system's store, read once.
static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        warn!("the system has no root certificates: no https callback can be called");
    }
    Arc::new(roots)
});

/// Calls push workspaces. Clones share what they need.
#[derive(Debug, Clone)]
pub(crate) struct Forwarder {
    client: Client,
    policy: CallbackPolicy,
    idle_timeout: Duration,
}

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwarderError {
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[from] rustls::Error),
    /// The client could not be set up.
    #[error("the HTTP client could not be set up")]
    Client(#[from] reqwest::Error),
}

/// Whom to call, and what he knows us by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Callback<'a> {
    /// The workspace's URL.
    pub(crate) url: &'a CallbackUrl,
    /// What it knows us by.
    pub(crate) secret: &'a InboundSecret,
}

/// Sends a message, which is a JSON document, on to a workspace, and its answer back.
///
/// # Errors
/// [`ApiError::WorkspaceUnreachable`].
pub(crate) async fn forward_message(
    platform: &Platform,
    site: Site,
    url: &CallbackUrl,
    secret: &InboundSecret,
    json: Bytes,
) -> Result<HttpResponse, ApiError> {
    let callback = Callback { url, secret };
    platform.forwarder().message(callback, site, json).await
}

impl Forwarder {
    /// Makes the client; it calls nobody yet.
    ///
    /// # Errors
    /// [`ForwarderError`].
    pub(crate) fn new(
        policy: CallbackPolicy,
        idle_timeout: Duration,
    ) -> Result<Self, ForwarderError> {
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&ROOTS))
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(CheckedResolver(policy))
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self {
            client,
            policy,
            idle_timeout,
        })
    }

    /// Streams an upload on to the workspace, and its answer back. An answer that comes before the
    /// workspace has all of the upload ends that, unless it is a success: then the rest is sent on
    /// first.
    ///
    /// # Errors
    /// [`ApiError::WorkspaceUnreachable`], and what became of the client's own body when that is
    /// why the workspace did not get it whole.
    pub(crate) async fn upload(
        &self,
        callback: Callback<'_>,
        request: &HttpRequest,
        body: GuardedBody,
    ) -> Result<HttpResponse, ApiError> {
        let mut call = self.post(callback, callback.url.join_path(INGEST_PATH))?;
        for (name, value) in described_body(request) {
            call = call.header(name.as_str(), value.as_bytes());
        }
        let (sender, pieces) = mpsc::channel(PIECES_UNDER_WAY);
        let mut pump = rt::spawn(pump(body, sender, self.idle_timeout));
        let call = call.body(reqwest::Body::wrap_stream(ForwardedBody(pieces)));
        let mut answer = pin!(call.send());
        let answer = tokio::select! {
            biased;
            pumped = &mut pump => {
                whole(pumped)?;
                answer_of(answer.as_mut()).await?
            }
            early = answer.as_mut() => {
                let early = early.map_err(|error| not_reached(&error))?;
                // What was refused is not sent on. What was accepted is, before the client is told so.
                if early.status().is_success() {
                    whole(pump.await)?;
                }
                early
            }
        };
        self.give_back(answer, Site::of(request))
    }

    async fn message(
        &self,
        callback: Callback<'_>,
        site: Site,
        json: Bytes,
    ) -> Result<HttpResponse, ApiError> {
        let call = self
            .post(callback, callback.url.as_url().clone())?
            .header(CONTENT_TYPE.as_str(), "application/json")
            .body(json);
        self.give_back(answer_of(call.send()).await?, site)
    }

    fn post(&self, callback: Callback<'_>, url: Url) -> Result<RequestBuilder, ApiError> {
        check_callback(self.policy, callback.url)
            .map_err(|_| not_reached_because("its address is not called"))?;
        Ok(self.client.post(url).bearer_auth(callback.secret.expose()))
    }

    fn give_back(&self, answer: Response, site: Site) -> Result<HttpResponse, ApiError> {
        let status = status_of(&answer)?;
        let mut response = HttpResponse::build(status);
        for name in ANSWER_HEADERS {
            let value = answer.headers().get(name.as_str());
            if let Some(Ok(value)) = value.map(|value| HeaderValue::from_bytes(value.as_bytes())) {
                response.insert_header((name, value));
            }
        }
        response.insert_header((CACHE_CONTROL, "no-store"));
        response.insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
        response.insert_header((CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"));
        if BODILESS.contains(&status) {
            return Ok(response.finish());
        }
        let length = answer.content_length();
        let body = AnswerBody {
            pieces: answer.bytes_stream().boxed(),
            deadline: IdleDeadline::new(self.idle_timeout),
            site,
            started: Instant::now(),
        };
        Ok(match length {
            Some(length) => response.body(SizedStream::new(length, body)),
            None => response.streaming(body),
        })
    }
}

/// The headers that say what the body of `request` is. A length beside a transfer coding counts for
/// nothing (RFC 9112, section 6.3).
fn described_body(request: &HttpRequest) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
    let chunked = request.chunked().unwrap_or(true);
    [CONTENT_TYPE, CONTENT_LENGTH]
        .into_iter()
        .filter(move |name| *name == CONTENT_TYPE || !chunked)
        .filter_map(|name| request.headers().get(&name).map(|value| (name, value)))
}

/// Nothing, when the body has gone as far as the workspace wants it.
fn whole(pumped: Result<Pumped, rt::task::JoinError>) -> Result<(), ApiError> {
    pumped.map_err(|error| not_reached(&error))?.into_result()
}

/// Waits for the head of an answer, as long as a workspace may think.
async fn answer_of(
    answer: impl Future<Output = reqwest::Result<Response>>,
) -> Result<Response, ApiError> {
    timeout(ANSWER_TIMEOUT, answer)
        .await
        .map_err(|_| not_reached_because("it did not answer in time"))?
        .map_err(|error| not_reached(&error))
}

/// The status of a final answer (RFC 9110, section 15): an interim one and one beyond the five
/// classes are none.
fn status_of(answer: &Response) -> Result<StatusCode, ApiError> {
    StatusCode::from_u16(answer.status().as_u16())
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or_else(|| not_reached_because("its answer has a status that none may have"))
}

fn not_reached(error: &dyn std::error::Error) -> ApiError {
    ApiError::WorkspaceUnreachable(Cause::of(error))
}

fn not_reached_because(sentence: &str) -> ApiError {
    ApiError::WorkspaceUnreachable(Cause::new(sentence))
}

/// How the way of a body to a workspace ended.
enum Pumped {
    /// All of it is on its way.
    Whole,
    /// The workspace wants no more of it: it is about to answer, or its connection is broken.
    Unwanted,
    /// The workspace took nothing for the idle timeout.
    Stalled,
    /// The client did not send all of it.
    Failed(BodyError),
}

impl Pumped {
    fn into_result(self) -> Result<(), ApiError> {
        match self {
            Self::Whole | Self::Unwanted => Ok(()),
            Self::Stalled => Err(not_reached_because("it stopped reading")),
            Self::Failed(error) => Err(error.into()),
        }
    }
}

/// A piece of a body on its way to the workspace. Without the last one, the body was cut off.
enum Piece {
    Data(Bytes),
    Last,
}

/// Moves the body, which cannot leave its thread, into a channel, whose other end can.
async fn pump(
    mut body: GuardedBody,
    pieces: mpsc::Sender<Piece>,
    idle_timeout: Duration,
) -> Pumped {
    loop {
        let next = tokio::select! {
            next = body.next() => next,
            () = pieces.closed() => return Pumped::Unwanted,
        };
        let piece = match next.transpose() {
            Ok(Some(data)) => Piece::Data(data),
            Ok(None) => Piece::Last,
            Err(error) => return Pumped::Failed(error),
        };
        let is_last = matches!(piece, Piece::Last);
        match timeout(idle_timeout, pieces.send(piece)).await {
            Ok(Ok(())) if is_last => return Pumped::Whole,
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Pumped::Unwanted,
            Err(_) => return Pumped::Stalled,
        }
    }
}

/// The body as the workspace gets it.
struct ForwardedBody(mpsc::Receiver<Piece>);

/// The client's body ended before its end, so the workspace must not take it for whole.
#[derive(Debug, thiserror::Error)]
#[error("the body was cut off by its sender")]
struct CutOff;

impl Stream for ForwardedBody {
    type Item = Result<Bytes, CutOff>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.0.poll_recv(cx)) {
            Some(Piece::Data(data)) => Some(Ok(data)),
            Some(Piece::Last) => None,
            None => Some(Err(CutOff)),
        })
    }
}

/// A workspace's answer as it arrives.
struct AnswerBody {
    pieces: futures_util::stream::BoxStream<'static, reqwest::Result<Bytes>>,
    deadline: IdleDeadline,
    site: Site,
    started: Instant,
}

impl AnswerBody {
    /// The client sees that the answer broke off, and the log is told why.
    fn break_off(&self, cause: Cause) -> BrokenOff {
        let error = ApiError::WorkspaceUnreachable(cause);
        events::refused(&self.site, &error, self.started.elapsed());
        BrokenOff
    }
}

impl Stream for AnswerBody {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.pieces.poll_next_unpin(cx) {
            Poll::Ready(piece) => {
                self.deadline.heard();
                Poll::Ready(
                    piece.map(|piece| piece.map_err(|error| self.break_off(Cause::of(&error)))),
                )
            }
            Poll::Pending => {
                ready!(self.deadline.poll_silence(cx));
                let cause = Cause::new("the workspace's answer stopped arriving");
                Poll::Ready(Some(Err(self.break_off(cause))))
            }
        }
    }
}
