//! A real server on a port of its own, and a client that writes and reads bytes as it likes.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use actix_server::ServerHandle;
use actix_web::rt::System;
use pending_uploads_core::memory::MemoryPlatform;
use pending_uploads_core::{
    CallbackUrl, DeliveryMode, Limits, PendingUpload, Quota, Registrar, Registration, Stats,
    Storage, SystemClock, WorkspaceId, Workspaces,
};
use serde_json::Value;
use upload_http::{Platform, PlatformBuilder, ServeOptions, Settings, serve};

/// Far beyond what any step of a test takes; a test that gets there has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs a future to its end on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    System::new().block_on(future)
}

/// Waits until `holds`, looking again and again.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Limits of a file's and a request's bytes, and 4 files.
pub fn limits(file: u64, request: u64) -> Limits {
    let bytes = |count| NonZeroU64::new(count).unwrap();
    Limits::new(bytes(file), bytes(request), NonZeroU32::new(4).unwrap()).unwrap()
}

/// A workspace of a [`MemoryPlatform`], and what opens it.
pub struct Member {
    pub memory: MemoryPlatform,
    pub id: WorkspaceId,
    pub token: String,
    /// What a push workspace knows the platform by.
    pub secret: String,
}

impl Member {
    /// A workspace that polls.
    pub fn polling() -> Self {
        Self::register(DeliveryMode::Poll, None)
    }

    /// A workspace that is called at `url`.
    pub fn called_at(url: &str) -> Self {
        Self::register(DeliveryMode::Push, Some(url.parse().unwrap()))
    }

    fn register(mode: DeliveryMode, url: Option<CallbackUrl>) -> Self {
        let ttl = Duration::from_hours(24);
        let memory = MemoryPlatform::new(Arc::new(SystemClock), ttl, Quota::default());
        let id = WorkspaceId::generate();
        let registration = Registration {
            id,
            delivery_mode: Some(mode),
            url,
            agent_card: None,
        };
        let registered = block_on(memory.register(registration, Registrar::Anonymous)).unwrap();
        let secret = registered.inbound_secret;
        Self {
            memory,
            id,
            token: registered.auth_token.unwrap().expose().to_owned(),
            secret: secret.map_or(String::new(), |secret| secret.expose().to_owned()),
        }
    }

    /// A platform that knows this workspace, and stages in the same memory.
    pub fn platform(&self) -> PlatformBuilder {
        let memory = Arc::new(self.memory.clone());
        Platform::builder(memory.clone(), memory.clone()).staging(memory)
    }

    pub fn stats(&self) -> Stats {
        block_on(self.memory.stats()).unwrap()
    }

    pub fn waiting(&self) -> Vec<PendingUpload> {
        block_on(self.memory.list(self.id, None, 1000)).unwrap()
    }

    /// Nothing is published, and nothing is left staged.
    pub fn nothing_is_left(&self) -> bool {
        self.stats() == Stats::default() && self.waiting().is_empty()
    }

    /// The head of an upload, with `more` header lines.
    pub fn upload_head(&self, more: &str) -> String {
        let Self { id, token, .. } = self;
        format!(
            "POST /workspaces/{id}/chat/uploads HTTP/1.1\r\nHost: x\r\n\
            Authorization: Bearer {token}\r\n\
            Content-Type: multipart/form-data; boundary=xyz\r\n{more}\r\n"
        )
    }

    /// The whole of an upload of `body`.
    pub fn upload(&self, body: &[u8]) -> Vec<u8> {
        let head = self.upload_head(&format!("Content-Length: {}\r\n", body.len()));
        [head.as_bytes(), body].concat()
    }

    /// The head of a GET of something of this workspace.
    pub fn get(&self, rest: &str) -> String {
        let Self { id, token, .. } = self;
        format!(
            "GET /workspaces/{id}/{rest} HTTP/1.1\r\nHost: x\r\n\
            Authorization: Bearer {token}\r\n\r\n"
        )
    }
}

/// A part that is a file, with `more` header lines.
pub fn part(more: &str, data: &[u8]) -> Vec<u8> {
    let head = format!(
        "--xyz\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a.txt\"\r\n{more}\r\n"
    );
    [head.as_bytes(), data, b"\r\n"].concat()
}

/// So many bytes of a file.
pub fn filler(count: usize) -> Vec<u8> {
    vec![b'x'; count]
}

/// A form of files.
pub fn form(files: &[&[u8]]) -> Vec<u8> {
    let mut body: Vec<u8> = files.iter().flat_map(|data| part("", data)).collect();
    body.extend_from_slice(b"--xyz--\r\n");
    body
}

/// A server that runs until it is dropped or stopped.
pub struct TestServer {
    pub address: SocketAddr,
    pub handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    pub fn start(platform: PlatformBuilder, settings: Settings) -> Self {
        Self::start_with(platform, settings, ServeOptions::default())
    }

    /// A server of one worker that runs as `options` say.
    pub fn start_with(
        platform: PlatformBuilder,
        settings: Settings,
        options: ServeOptions,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (started, handle) = mpsc::channel();
        let thread = thread::spawn(move || {
            block_on(async move {
                let platform = platform.settings(settings).build().unwrap();
                let options = ServeOptions {
                    workers: NonZeroUsize::new(1).unwrap(),
                    ..options
                };
                let server = serve(listener, platform, options).unwrap();
                started.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self {
            address,
            handle: handle.recv().unwrap(),
            thread: Some(thread),
        }
    }

    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    /// Waits until a server that was told to stop has stopped.
    pub fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// One connection.
pub struct Client(BufReader<TcpStream>);

/// An answer, or a request, as it was read off the wire.
#[derive(Debug)]
pub struct Message {
    /// Its first line.
    pub line: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Another handle on the connection, for another thread.
    pub fn writer(&self) -> TcpStream {
        self.0.get_ref().try_clone().unwrap()
    }

    /// Whether there is nothing to be read now.
    pub fn is_silent(&mut self) -> bool {
        self.0.get_ref().set_nonblocking(true).unwrap();
        let peeked = self.0.get_ref().peek(&mut [0]);
        self.0.get_ref().set_nonblocking(false).unwrap();
        self.0.buffer().is_empty()
            && peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads a first line and headers.
    pub fn read_head(&mut self) -> Message {
        let line = self.read_line();
        let mut headers = HashMap::new();
        loop {
            let header = self.read_line();
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(':').unwrap();
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let body = Vec::new();
        Message {
            line,
            headers,
            body,
        }
    }

    /// Reads a whole message; one that does not say how long it is, to the end of the connection.
    pub fn read_message(&mut self) -> Message {
        let mut message = self.read_head();
        if message.headers.contains_key("transfer-encoding") {
            while let Some(chunk) = self.read_chunk() {
                message.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = message.headers.get("content-length") {
            message.body.resize(length.parse().unwrap(), 0);
            self.0.read_exact(&mut message.body).unwrap();
        } else {
            self.0.read_to_end(&mut message.body).unwrap();
        }
        message
    }

    /// Reads a chunk of a chunked body; none at its end.
    pub fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&self.read_line(), 16).unwrap();
        let mut chunk = vec![0; length];
        self.0.read_exact(&mut chunk).unwrap();
        assert_eq!(self.read_line(), "");
        (length > 0).then_some(chunk)
    }

    /// Reads so many bytes.
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads until the connection ends, properly or not, and answers what came.
    pub fn read_to_end(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let end = self.0.read_to_end(&mut bytes).map(|_| ());
        (bytes, end)
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.strip_suffix("\r\n")
            .unwrap_or_else(|| panic!("no line: {line:?}"))
            .to_owned()
    }
}

impl Message {
    pub fn status(&self) -> u16 {
        self.line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status and the code of an error.
    pub fn refusal(&self) -> (u16, String) {
        (
            self.status(),
            self.json()["code"].as_str().unwrap().to_owned(),
        )
    }
}
