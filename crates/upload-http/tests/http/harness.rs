//! A platform over mocks, callers as types, and answers as they came off the wire.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use actix_http::Request;
use actix_web::body::MessageBody;
use actix_web::dev::Payload;
use actix_web::dev::Service;
use actix_web::error::PayloadError;
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, web};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt;
use futures_util::stream;
use pending_uploads_core::{
    ActivityLog, ByteStream, Delivery, Error, FileId, Filename, ManualClock, Mimetype,
    MockActivityLog, MockStorage, MockWorkspaces, PendingUpload, Sha256, Storage, StoreName,
    Timestamp, Workspace, WorkspaceId,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use upload_http::{MetricsRenderer, Platform, Readiness, Settings, configure, unknown_route};

/// The workspace that most tests are about.
pub(crate) const WORKSPACE: &str = "11111111-1111-4111-8111-111111111111";
/// Another one.
pub(crate) const OTHER: &str = "22222222-2222-4222-8222-222222222222";
/// One that nobody registered.
pub(crate) const NOBODY: &str = "33333333-3333-4333-8333-333333333333";
/// A file of [`WORKSPACE`].
pub(crate) const FILE: &str = "0190f5fe-7c00-7a00-8000-0123456789ab";
/// A row of its feed.
pub(crate) const ROW: &str = "0190f5fe-7c00-7a00-8000-00000000000a";

/// Ten bytes.
pub(crate) const CONTENT: &[u8] = b"0123456789";
/// The time that every test starts at.
pub(crate) const NOW: &str = "2026-05-04T12:00:00Z";

/// Who sends a request.
pub(crate) trait Identity {
    /// His credentials.
    fn authorization(&self) -> Option<String>;
}

/// Nobody in particular.
pub(crate) struct Anonymous;
/// The agent behind [`WORKSPACE`].
pub(crate) struct Agent;
/// The agent behind [`OTHER`].
pub(crate) struct Stranger;
/// The admin, if the settings know one.
pub(crate) struct Admin;
/// Whoever sends this `Authorization` header.
pub(crate) struct Claiming(pub(crate) &'static str);

/// The admin's token.
pub(crate) const ADMIN_TOKEN: &str = "admin-token-of-the-tests";

impl Identity for Anonymous {
    fn authorization(&self) -> Option<String> {
        None
    }
}

impl Identity for Agent {
    fn authorization(&self) -> Option<String> {
        Some("Bearer agent-token".to_owned())
    }
}

impl Identity for Stranger {
    fn authorization(&self) -> Option<String> {
        Some("Bearer stranger-token".to_owned())
    }
}

impl Identity for Admin {
    fn authorization(&self) -> Option<String> {
        Some(format!("Bearer {ADMIN_TOKEN}"))
    }
}

impl Identity for Claiming {
    fn authorization(&self) -> Option<String> {
        Some(self.0.to_owned())
    }
}

/// Settings that know the admin.
pub(crate) fn with_admin() -> Settings {
    Settings {
        admin_token: Some(ADMIN_TOKEN.parse().unwrap()),
        ..Settings::default()
    }
}

/// The mocks that a platform is built over; a call that a test does not expect fails it.
pub(crate) struct Fixture {
    pub(crate) workspaces: MockWorkspaces,
    pub(crate) activity: MockActivityLog,
    /// Asked in place of `activity`, when it is there.
    pub(crate) feed: Option<Arc<dyn ActivityLog>>,
    pub(crate) storage: Option<Arc<dyn Storage>>,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) readiness: Option<Arc<dyn Readiness>>,
    pub(crate) metrics: Option<MetricsRenderer>,
    pub(crate) shutdown: CancellationToken,
}

impl Fixture {
    /// Knows two workspaces that poll, and expects nothing of the other mocks.
    pub(crate) fn new() -> Self {
        Self::where_things_reach(&Delivery::Poll)
    }

    /// Knows two workspaces that `delivery` reaches.
    pub(crate) fn where_things_reach(delivery: &Delivery) -> Self {
        Self {
            workspaces: knowing_two(delivery),
            ..Self::with_workspaces(MockWorkspaces::new())
        }
    }

    /// Asks `workspaces`, and expects nothing of the other mocks.
    pub(crate) fn with_workspaces(workspaces: MockWorkspaces) -> Self {
        Self {
            workspaces,
            activity: MockActivityLog::new(),
            feed: None,
            storage: Some(Arc::new(MockStorage::new())),
            settings: Settings::default(),
            clock: Arc::new(ManualClock::starting_at(now())),
            readiness: None,
            metrics: None,
            shutdown: CancellationToken::new(),
        }
    }

    /// Replaces the storage by one that `expect` has prepared.
    pub(crate) fn storing(mut self, expect: impl FnOnce(&mut MockStorage)) -> Self {
        let mut storage = MockStorage::new();
        expect(&mut storage);
        self.storage = Some(Arc::new(storage));
        self
    }

    /// The platform over these mocks.
    pub(crate) fn app(self) -> TestApp {
        let feed = self.feed.unwrap_or_else(|| Arc::new(self.activity));
        let mut builder = Platform::builder(Arc::new(self.workspaces), feed)
            .settings(self.settings)
            .clock(self.clock)
            .shutdown(self.shutdown);
        if let Some(storage) = self.storage {
            builder = builder.staging(storage);
        }
        if let Some(readiness) = self.readiness {
            builder = builder.readiness(readiness);
        }
        if let Some(metrics) = self.metrics {
            builder = builder.metrics(metrics);
        }
        TestApp(builder.build().unwrap())
    }
}

fn knowing_two(delivery: &Delivery) -> MockWorkspaces {
    let known = {
        let delivery = delivery.clone();
        move |id: &str| Workspace {
            id: id.parse().unwrap(),
            delivery: delivery.clone(),
        }
    };
    let mut workspaces = MockWorkspaces::new();
    let authenticated = known.clone();
    workspaces
        .expect_authenticate()
        .returning(move |id, token| {
            Ok(match (id.to_string().as_str(), token.expose()) {
                (WORKSPACE, "agent-token") => Some(authenticated(WORKSPACE)),
                (OTHER, "stranger-token") => Some(authenticated(OTHER)),
                _ => None,
            })
        });
    workspaces
        .expect_get()
        .returning(move |id| match id.to_string().as_str() {
            WORKSPACE => Ok(known(WORKSPACE)),
            _ => Err(Error::UnknownWorkspace),
        });
    workspaces
}

/// A platform that answers requests.
pub(crate) struct TestApp(Platform);

impl TestApp {
    pub(crate) async fn get(&self, who: &impl Identity, path: &str) -> Answer {
        self.send(Ask::new(Method::GET, path).by(who)).await
    }

    pub(crate) async fn head(&self, who: &impl Identity, path: &str) -> Answer {
        self.send(Ask::new(Method::HEAD, path).by(who)).await
    }

    pub(crate) async fn post(
        &self,
        who: &impl Identity,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Answer {
        let ask = Ask::new(Method::POST, path).by(who).body(body);
        self.send(ask).await
    }

    pub(crate) async fn post_json(&self, who: &impl Identity, path: &str, body: &Value) -> Answer {
        self.post(who, path, body.to_string()).await
    }

    /// Sends a request and reads its answer to the end.
    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        self.send_request(ask.0.to_request()).await
    }

    /// Sends a request whose body comes from `body`.
    pub(crate) async fn send_streaming(
        &self,
        ask: Ask,
        body: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
    ) -> Answer {
        let payload = Payload::Stream {
            payload: body.boxed_local(),
        };
        let (request, _) = ask.0.to_request().replace_payload(payload);
        self.send_request(request).await
    }

    async fn send_request(&self, request: Request) -> Answer {
        self.read(request, usize::MAX).await
    }

    /// Sends a request, reads `pieces` of the answer's body at most, and drops the rest.
    pub(crate) async fn send_and_read(&self, ask: Ask, pieces: usize) -> Answer {
        self.read(ask.0.to_request(), pieces).await
    }

    async fn read(&self, request: Request, pieces: usize) -> Answer {
        let app = App::new()
            .configure(configure(&self.0))
            .default_service(web::to(unknown_route));
        let service = init_service(app).await;
        let (_, response) = service.call(request).await.unwrap().into_parts();
        let (head, body) = response.into_parts();
        let (body, end) = read_body(body, pieces).await;
        Answer {
            status: head.status().as_u16(),
            headers: header_lines(head.headers()),
            body,
            end,
        }
    }
}

async fn read_body(body: impl MessageBody, pieces: usize) -> (Vec<u8>, End) {
    let mut body = pin!(body);
    let mut read = Vec::new();
    for _ in 0..pieces {
        match poll_fn(|context| body.as_mut().poll_next(context)).await {
            Some(Ok(piece)) => read.extend_from_slice(&piece),
            Some(Err(_)) => return (read, End::BrokenOff),
            None => return (read, End::Whole),
        }
    }
    (read, End::Dropped)
}

fn header_lines(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect()
}

/// A request that is being written.
pub(crate) struct Ask(TestRequest);

impl Ask {
    pub(crate) fn new(method: Method, path: &str) -> Self {
        Self(TestRequest::with_uri(path).method(method))
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn by(self, who: &impl Identity) -> Self {
        match who.authorization() {
            Some(credentials) => Self(self.0.insert_header((AUTHORIZATION, credentials))),
            None => self,
        }
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.append_header((name, value)))
    }

    pub(crate) fn body(self, body: impl Into<Bytes>) -> Self {
        Self(self.0.set_payload(body))
    }
}

/// How an answer's body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should.
    Whole,
    /// With an error: on the wire, the connection closes.
    BrokenOff,
    /// The test did not read on.
    Dropped,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status and the code of an error.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let code = self.json()["code"].as_str().unwrap().to_owned();
        assert_eq!(self.header("content-type"), "application/json");
        assert!(
            self.json()["error"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        (self.status, code)
    }

    /// All of it, for a snapshot: status, headers by name, body.
    pub(crate) fn whole(&self) -> String {
        let mut text = format!("{}\n", self.status);
        for (name, value) in &self.headers {
            writeln!(text, "{name}: {value}").unwrap();
        }
        let body = String::from_utf8(self.body.clone()).unwrap();
        format!("{text}\n{body}")
    }
}

/// The path of something of [`WORKSPACE`].
pub(crate) fn path(rest: &str) -> String {
    format!("/workspaces/{WORKSPACE}/{rest}")
}

/// The path of something of [`FILE`].
pub(crate) fn file_path(rest: &str) -> String {
    path(&format!("pending-uploads/{FILE}/{rest}"))
}

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(crate) fn workspace() -> WorkspaceId {
    WORKSPACE.parse().unwrap()
}

/// The record of [`FILE`], which holds [`CONTENT`] and waits.
pub(crate) fn upload() -> PendingUpload {
    PendingUpload {
        file_id: FILE.parse().unwrap(),
        workspace_id: workspace(),
        filename: Filename::sanitize("mein Bericht.pdf"),
        mimetype: Mimetype::parse("application/pdf"),
        size_bytes: CONTENT.len() as u64,
        sha256: Sha256::of(CONTENT),
        created_at: "2026-05-04T11:00:00Z".parse().unwrap(),
        expires_at: "2026-05-05T11:00:00Z".parse().unwrap(),
        fetched_at: None,
        acked_at: None,
    }
}

/// A file that was published after `index` others.
pub(crate) fn nth_upload(index: u32) -> PendingUpload {
    let id = format!("0190f5fe-7c00-7a00-8000-{index:012}");
    PendingUpload {
        file_id: id.parse::<FileId>().unwrap(),
        ..upload()
    }
}

/// Pieces of a file, as a store reads them.
pub(crate) fn pieces(pieces: Vec<Result<&'static [u8], Error>>) -> ByteStream {
    stream::iter(pieces)
        .map(|piece| piece.map(Bytes::from_static))
        .boxed()
}

/// What a store says whose database is down.
pub(crate) fn unavailable() -> Error {
    Error::Unavailable {
        store: StoreName("postgres"),
        source: "connection refused (secret-host:5432)".into(),
    }
}

/// What a store says that fails.
pub(crate) fn broken() -> Error {
    Error::Backend {
        store: StoreName("postgres"),
        source: "relation \"secret_table\" does not exist".into(),
    }
}

/// Lets every task that is ready run.
pub(crate) async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
