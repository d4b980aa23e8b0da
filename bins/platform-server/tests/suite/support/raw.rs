//! Raw HTTP/1.1 connections, for what no well-behaved client does.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Form, Server, Workspace};

/// A connection whose bytes are written by hand.
#[derive(Debug)]
pub(crate) struct RawConnection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl RawConnection {
    /// Connects to a server.
    pub(crate) async fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).await.unwrap();
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Begins an upload whose body has `length` bytes.
    pub(crate) async fn begin_upload(
        server: &Server,
        workspace: &Workspace,
        length: usize,
    ) -> Self {
        let mut connection = Self::open(server).await;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n",
            workspace.uploads(),
            workspace.token,
            Form::content_type(),
        );
        connection.send(head.as_bytes()).await;
        connection
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads until the head of an answer is there, and answers it.
    pub(crate) async fn read_head(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                let head: Vec<u8> = self.received.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(
                self.read_more().await,
                "the connection ended before an answer's head"
            );
        }
    }

    /// Reads once, and answers whether there was anything.
    pub(crate) async fn read_more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.received.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// Reads until the server closes the connection, and answers everything.
    pub(crate) async fn read_to_end(mut self) -> Vec<u8> {
        while self.read_more().await {}
        self.received
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
