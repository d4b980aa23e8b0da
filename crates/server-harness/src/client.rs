//! Clients of a server under test: each acts as one identity.

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Form;

/// Every secret that a server of this process handed out or was given: none may be in a log.
static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Remembers a secret that no log may hold.
pub fn remember_secret(secret: &str) {
    SECRETS.lock().unwrap().push(secret.to_owned());
}

/// Fails when `log` holds a secret.
pub fn assert_no_secret_in(log: &str) {
    for secret in SECRETS.lock().unwrap().iter() {
        assert!(
            !log.contains(secret.as_str()),
            "a secret is in the log:\n{log}"
        );
    }
}

static HTTP: LazyLock<()> = LazyLock::new(|| {
    let provider = rustls::crypto::ring::default_provider();
    provider.install_default().unwrap();
});

/// Everything that a request may take: a hanging server fails its test.
const PATIENCE: Duration = Duration::from_mins(2);

fn http() -> reqwest::Client {
    LazyLock::force(&HTTP);
    reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .build()
        .unwrap()
}

/// A registered workspace, and what it shows to be let in.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Its id, a UUID.
    pub id: String,
    /// Its bearer token.
    pub token: String,
}

impl Workspace {
    /// A path below the workspace.
    pub fn path(&self, rest: &str) -> String {
        format!("/workspaces/{}/{rest}", self.id)
    }

    /// The path of uploads.
    pub fn uploads(&self) -> String {
        self.path("chat/uploads")
    }

    /// The path of a file's bytes.
    pub fn content(&self, file_id: &str) -> String {
        self.path(&format!("pending-uploads/{file_id}/content"))
    }

    /// The path of a file's ack.
    pub fn ack(&self, file_id: &str) -> String {
        self.path(&format!("pending-uploads/{file_id}/ack"))
    }
}

/// A client that acts as one identity towards one server.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A client of the server at `base` that shows `token`, if it has one.
    pub fn new(base: String, token: Option<&str>) -> Self {
        let token = token.map(str::to_owned);
        Self {
            http: http(),
            base,
            token,
        }
    }

    /// A request as this identity.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    /// `GET path` with one header.
    pub async fn get_with(&self, path: &str, name: &str, value: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).header(name, value)).await
    }

    /// `POST path` without a body.
    pub async fn post(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::POST, path)).await
    }

    /// `POST path` with a body of that type.
    pub async fn post_body(&self, path: &str, kind: &str, body: Vec<u8>) -> Answer {
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, kind);
        Answer::of(request.body(body)).await
    }

    /// `POST path` with JSON.
    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post_body(path, "application/json", body.to_string().into_bytes())
            .await
    }

    /// As [`post_json`](Self::post_json), to a server that may end meanwhile.
    pub async fn try_post_json(&self, path: &str, body: &Value) -> reqwest::Result<Answer> {
        let request = self.request(Method::POST, path);
        let request = request.header(CONTENT_TYPE, "application/json");
        Answer::try_of(request.body(body.to_string())).await
    }

    /// Uploads a form for `workspace`.
    pub async fn upload(&self, workspace: &Workspace, form: &Form) -> Answer {
        self.post_body(&workspace.uploads(), &Form::content_type(), form.body())
            .await
    }

    /// As [`upload`](Self::upload), to a server that may end meanwhile.
    pub async fn try_upload(&self, workspace: &Workspace, form: &Form) -> reqwest::Result<Answer> {
        let request = self.request(Method::POST, &workspace.uploads());
        let request = request.header(CONTENT_TYPE, Form::content_type());
        Answer::try_of(request.body(form.body())).await
    }

    /// Uploads one file, which must be taken, and answers its id.
    pub async fn must_upload(&self, workspace: &Workspace, name: &str, data: &[u8]) -> String {
        let answer = self.upload(workspace, &Form::of_file(name, data)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.file_ids().remove(0)
    }

    /// The feed after a cursor, or from the newest row back.
    pub async fn feed(&self, workspace: &Workspace, query: &str) -> Vec<Value> {
        let answer = self
            .get(&workspace.path(&format!("activity?{query}")))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.array()
    }

    /// What the workspace has still to take.
    pub async fn waiting(&self, workspace: &Workspace) -> Vec<Value> {
        let answer = self.get(&workspace.path("pending-uploads")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.array()
    }

    /// Registers a fresh workspace that polls.
    pub async fn register_poll(&self) -> Workspace {
        let id = Uuid::new_v4().to_string();
        let card = json!({"name": "an agent"});
        let body = json!({"id": id, "delivery_mode": "poll", "agent_card": card});
        let answer = self.post_json("/registry/register", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Workspace {
            id,
            token: answer.secret("auth_token"),
        }
    }
}

/// An answer, read to its end.
#[derive(Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    headers: reqwest::header::HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Sends the request and reads its answer.
    pub async fn of(request: RequestBuilder) -> Self {
        Self::try_of(request).await.unwrap()
    }

    /// As [`of`](Self::of), for requests that may find nobody.
    pub async fn try_of(request: RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        Ok(Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await?.to_vec(),
        })
    }

    /// A header's value; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as a JSON array.
    pub fn array(&self) -> Vec<Value> {
        self.json().as_array().cloned().unwrap()
    }

    /// An error's stable word.
    pub fn code(&self) -> String {
        text(&self.json(), "code")
    }

    /// A field that is a secret, which is remembered as one.
    pub fn secret(&self, field: &str) -> String {
        let secret = text(&self.json(), field);
        assert_eq!(secret.len(), 64, "{field}");
        remember_secret(&secret);
        secret
    }

    /// The ids of the files that an upload's answer names.
    pub fn file_ids(&self) -> Vec<String> {
        let files = self.json()["files"].as_array().cloned().unwrap();
        files
            .iter()
            .map(|file| text(file, "uri").rsplit('/').next().unwrap().to_owned())
            .collect()
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.body[..self.body.len().min(500)];
        write!(
            f,
            "{} {:?} {}",
            self.status,
            self.headers,
            String::from_utf8_lossy(shown)
        )
    }
}

/// A text field of a JSON object.
pub fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}
