//! A push workspace: takes calls at a URL, and keeps what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A call as it arrived: the head, and the body in whatever framing it had.
#[derive(Debug, Clone)]
pub struct Call {
    /// The request line and the headers, in lower case.
    pub head: String,
    /// The body, as it was framed.
    pub body: Vec<u8>,
}

/// An HTTP server that answers every call with the same bytes.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Receiver {
    /// Starts one on a free port of 127.0.0.1, which answers `answer`, head and all.
    pub async fn answering(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(call) = read_call(&mut stream).await else {
                    continue;
                };
                kept.lock().unwrap().push(call);
                // Whoever has called may be gone.
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        Self { address, calls }
    }

    /// Where it takes calls.
    pub fn url(&self) -> String {
        format!("http://{}/agent", self.address)
    }

    /// What it was sent so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

/// Reads a call; there is none when it is cut off.
async fn read_call(stream: &mut TcpStream) -> Option<Call> {
    let mut received = Vec::new();
    loop {
        if let Some(call) = whole_call(&received) {
            return Some(call);
        }
        let mut buffer = vec![0; 16 * 1024];
        let count = stream.read(&mut buffer).await.ok()?;
        if count == 0 {
            return None;
        }
        received.extend_from_slice(&buffer[..count]);
    }
}

/// The call, once its body is complete, by its length or by its last chunk.
fn whole_call(received: &[u8]) -> Option<Call> {
    let end = received
        .windows(4)
        .position(|window| window == b"\r\n\r\n")?
        + 4;
    let head = String::from_utf8(received[..end].to_vec())
        .unwrap()
        .to_lowercase();
    let body = &received[end..];
    let length: Option<usize> = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.trim().parse().ok());
    let complete = match length {
        Some(length) => body.len() >= length,
        None => body.ends_with(b"0\r\n\r\n"),
    };
    complete.then(|| Call {
        head,
        body: body.to_vec(),
    })
}
