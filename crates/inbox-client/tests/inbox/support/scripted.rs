//! A platform that does what a test tells it to: a small HTTP/1.1 server on the loopback address.
//!
//! A test scripts the answers to a method and a path, and looks at the requests that came. The server
//! ends with all of its connections when it is dropped.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// As the request line had it, up to the query.
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    /// With names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The only header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    /// The only query parameter of that name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut values = self.query.iter().filter(|(key, _)| key == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    /// The body, which is JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The first byte that a `Range: bytes=N-` asks for.
    fn range_start(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }
}

/// How a connection goes on after what was sent on it.
#[derive(Debug, Clone, Copy)]
enum End {
    /// With the next request.
    Kept,
    /// It is closed (FIN).
    Closed,
    /// It is reset (RST).
    Reset,
    /// It stays as it is, and nothing more is sent.
    Stalled,
}

/// How a body is framed.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length,
    ClaimedLength(usize),
    Chunks,
}

/// An answer, and how it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    framing: Framing,
    /// How much of the body is sent.
    sent: usize,
    /// How much of it goes at once, and how long after that nothing does.
    pace: Option<(usize, Duration)>,
    /// The body is sent again and again.
    endless: bool,
    /// How long nothing is sent at all.
    delay: Duration,
    /// How long nothing but the head is.
    body_delay: Duration,
    end: End,
}

impl Answer {
    /// An answer with these bytes.
    pub(crate) fn bytes(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            status,
            headers: Vec::new(),
            sent: body.len(),
            body,
            framing: Framing::Length,
            pace: None,
            endless: false,
            delay: Duration::ZERO,
            body_delay: Duration::ZERO,
            end: End::Kept,
        }
    }

    /// An answer with this JSON.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::bytes(status, body.to_string()).header("content-type", "application/json")
    }

    /// An error as the platform writes it.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::json(
            status,
            &serde_json::json!({"error": "a sentence", "code": code}),
        )
    }

    /// A file as the platform serves it: all of it, or what a `Range` asks for, with its entity tag.
    pub(crate) fn ranged(request: &Request, body: &[u8], etag: &str) -> Self {
        let whole = Self::bytes(200, body).header("etag", etag);
        let unchanged = request.header("if-range").is_none_or(|tag| tag == etag);
        match request.range_start().filter(|_| unchanged) {
            None => whole,
            Some(start) if start < body.len() => Self::bytes(206, &body[start..])
                .header("etag", etag)
                .header(
                    "content-range",
                    &format!("bytes {start}-{}/{}", body.len() - 1, body.len()),
                ),
            Some(_) => Self::error(416, "range_not_satisfiable")
                .header("content-range", &format!("bytes */{}", body.len())),
        }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends the body in chunks, without its length.
    pub(crate) fn chunked(mut self) -> Self {
        self.framing = Framing::Chunks;
        self
    }

    /// Says that the body has another length than it has.
    pub(crate) fn claiming(mut self, length: usize) -> Self {
        self.framing = Framing::ClaimedLength(length);
        self
    }

    /// Sends so many bytes of the body, and closes the connection.
    pub(crate) fn closed_after(self, bytes: usize) -> Self {
        self.ended_after(bytes, End::Closed)
    }

    /// Sends so many bytes of the body, and resets the connection.
    pub(crate) fn reset_after(self, bytes: usize) -> Self {
        self.ended_after(bytes, End::Reset)
    }

    /// Sends so many bytes of the body, and then nothing more.
    pub(crate) fn stalled_after(self, bytes: usize) -> Self {
        self.ended_after(bytes, End::Stalled)
    }

    fn ended_after(mut self, bytes: usize, end: End) -> Self {
        self.sent = bytes.min(self.body.len());
        self.end = end;
        self
    }

    /// Sends so many bytes of the body at once, and then nothing for a while.
    pub(crate) fn trickled(mut self, bytes: usize, every: Duration) -> Self {
        self.pace = Some((bytes, every));
        self
    }

    /// Sends the body again and again, in chunks, without end.
    pub(crate) fn endless(mut self) -> Self {
        self.framing = Framing::Chunks;
        self.endless = true;
        self
    }

    /// Sends nothing for that long.
    pub(crate) fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends nothing but the head for that long.
    pub(crate) fn body_delayed(mut self, delay: Duration) -> Self {
        self.body_delay = delay;
        self
    }

    fn head(&self) -> String {
        let framing = match self.framing {
            Framing::Length => format!("content-length: {}", self.body.len()),
            Framing::ClaimedLength(length) => format!("content-length: {length}"),
            Framing::Chunks => "transfer-encoding: chunked".to_owned(),
        };
        let mut head = format!("HTTP/1.1 {} Scripted\r\n{framing}\r\n", self.status);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head + "\r\n"
    }

    /// Sends the answer, and says whether the connection can take another request.
    async fn send(self, stream: &mut BufReader<TcpStream>) -> std::io::Result<bool> {
        sleep(self.delay).await;
        stream.write_all(self.head().as_bytes()).await?;
        sleep(self.body_delay).await;
        let (step, pause) = self
            .pace
            .unwrap_or((self.body.len().max(1), Duration::ZERO));
        loop {
            for piece in self.body[..self.sent].chunks(step) {
                self.send_piece(stream, piece).await?;
                sleep(pause).await;
            }
            if !self.endless {
                break;
            }
        }
        match self.end {
            End::Kept => {
                if matches!(self.framing, Framing::Chunks) {
                    stream.write_all(b"0\r\n\r\n").await?;
                }
                Ok(true)
            }
            End::Closed => Ok(false),
            End::Reset => stream.get_ref().set_zero_linger().map(|()| false),
            End::Stalled => {
                drain(stream).await;
                Ok(false)
            }
        }
    }

    async fn send_piece(
        &self,
        stream: &mut BufReader<TcpStream>,
        piece: &[u8],
    ) -> std::io::Result<()> {
        if let Framing::Chunks = self.framing {
            let size = format!("{:x}\r\n", piece.len());
            stream.write_all(size.as_bytes()).await?;
            stream.write_all(piece).await?;
            return stream.write_all(b"\r\n").await;
        }
        stream.write_all(piece).await
    }
}

/// What is done with a request.
enum Script {
    /// Its body is read, and it is answered so, one after the other; the last answer stays.
    Queue(VecDeque<Answer>),
    /// Its body is read, and this says how it is answered.
    Each(Box<dyn FnMut(&Request) -> Answer + Send>),
    /// It is answered so without a look at its body, which is taken and thrown away.
    Early(Answer),
    /// Its body is not even taken from the network.
    Ignored,
}

#[derive(Default)]
struct State {
    scripts: Mutex<HashMap<(String, String), Script>>,
    requests: watch::Sender<Vec<Request>>,
}

/// A platform that does what a test tells it to.
pub(crate) struct Scripted {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: JoinHandle<()>,
}

impl Scripted {
    /// Starts one that answers everything with 404 `route_not_found`.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            acceptor,
        }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers so, one after the other; the last answer stays.
    pub(crate) fn on(&self, method: &str, path: &str, answers: impl IntoIterator<Item = Answer>) {
        self.script(method, path, Script::Queue(answers.into_iter().collect()));
    }

    /// Answers as `answer` says.
    pub(crate) fn on_each(
        &self,
        method: &str,
        path: &str,
        answer: impl FnMut(&Request) -> Answer + Send + 'static,
    ) {
        self.script(method, path, Script::Each(Box::new(answer)));
    }

    /// Answers before the body has come.
    pub(crate) fn on_head(&self, method: &str, path: &str, answer: Answer) {
        self.script(method, path, Script::Early(answer));
    }

    /// Takes nothing of the body, and never answers.
    pub(crate) fn ignore(&self, method: &str, path: &str) {
        self.script(method, path, Script::Ignored);
    }

    fn script(&self, method: &str, path: &str, script: Script) {
        let key = (method.to_owned(), path.to_owned());
        self.state.scripts.lock().unwrap().insert(key, script);
    }

    /// The requests that came, in order: with their bodies, unless they were answered before.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.borrow().clone()
    }

    /// The only request that came.
    pub(crate) fn request(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// Waits until that many requests have come.
    pub(crate) async fn came(&self, count: usize) {
        let mut requests = self.state.requests.subscribe();
        let waited = requests.wait_for(|requests| requests.len() >= count);
        drop(waited.await.unwrap());
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// Takes connections; they end with it.
async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // Otherwise each answer takes 40 ms: its head and its body are written one after the other.
        stream.set_nodelay(true).unwrap();
        let state = Arc::clone(&state);
        connections.spawn(async move { serve(stream, &state).await });
        while connections.try_join_next().is_some() {}
    }
}

/// Serves a connection; how it ends is for the client to tell.
async fn serve(stream: TcpStream, state: &State) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_head(&mut stream).await {
        let Ok(true) = exchange(&mut stream, request, state).await else {
            return;
        };
    }
}

async fn exchange(
    stream: &mut BufReader<TcpStream>,
    mut request: Request,
    state: &State,
) -> std::io::Result<bool> {
    let key = (request.method.clone(), request.path.clone());
    let early = match state.scripts.lock().unwrap().get(&key) {
        Some(Script::Early(answer)) => Some(Some(answer.clone())),
        Some(Script::Ignored) => Some(None),
        _ => None,
    };
    if let Some(early) = early {
        state
            .requests
            .send_modify(|requests| requests.push(request));
        let Some(answer) = early else {
            return std::future::pending().await;
        };
        answer.send(stream).await?;
        drain(stream).await;
        return Ok(false);
    }
    request.body = read_body(stream, &request).await?;
    let answer = match state.scripts.lock().unwrap().get_mut(&key) {
        Some(Script::Queue(answers)) if answers.len() > 1 => answers.pop_front(),
        Some(Script::Queue(answers)) => answers.front().cloned(),
        Some(Script::Each(answer)) => Some(answer(&request)),
        _ => None,
    };
    state
        .requests
        .send_modify(|requests| requests.push(request));
    let answer = answer.unwrap_or_else(|| Answer::error(404, "route_not_found"));
    answer.send(stream).await
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let line = read_line(stream).await.ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned();
    let mut request = Request {
        method,
        path: path.to_owned(),
        query: query.collect(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let line = read_line(stream).await.ok()?;
        let Some((name, value)) = line.split_once(':') else {
            return Some(request);
        };
        let header = (name.to_ascii_lowercase(), value.trim().to_owned());
        request.headers.push(header);
    }
}

async fn read_body(
    stream: &mut BufReader<TcpStream>,
    request: &Request,
) -> std::io::Result<Vec<u8>> {
    if let Some(length) = request.header("content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await?;
        return Ok(body);
    }
    let mut body = Vec::new();
    if request.header("transfer-encoding").is_none() {
        return Ok(body);
    }
    loop {
        let size = read_line(stream).await?;
        let size = usize::from_str_radix(&size, 16).unwrap();
        let mut chunk = vec![0; size];
        stream.read_exact(&mut chunk).await?;
        body.append(&mut chunk);
        read_line(stream).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

/// Takes what comes until the peer ends the connection.
async fn drain(stream: &mut BufReader<TcpStream>) {
    let mut nowhere = tokio::io::sink();
    if tokio::io::copy_buf(stream, &mut nowhere).await.is_err() {
        // The peer has reset it: it is at its end all the same.
    }
}
