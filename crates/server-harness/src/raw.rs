//! Raw HTTP/1.1 connections, for what no well-behaved client does.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Form, Server, Workspace, eventually};

/// A connection whose bytes are written by hand.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl RawConnection {
    /// Connects to a server.
    pub async fn open(server: &Server) -> Self {
        Self::open_at(server.address()).await
    }

    /// Connects to `address` (`127.0.0.1:port`).
    pub async fn open_at(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Begins an upload whose body has `length` bytes.
    pub async fn begin_upload(server: &Server, workspace: &Workspace, length: usize) -> Self {
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

    /// Asks for `path` as `workspace` does; the connection ends with the answer.
    pub async fn begin_get(server: &Server, workspace: &Workspace, path: &str) -> Self {
        let mut connection = Self::open(server).await;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            workspace.token,
        );
        connection.send(head.as_bytes()).await;
        connection
    }

    /// Waits until the server has read all that was sent: until nothing lies in its socket's
    /// receive queue (`/proc/net/tcp`).
    pub async fn wait_until_read(&self) {
        let ours = hex_address(self.stream.local_addr().unwrap());
        let theirs = hex_address(self.stream.peer_addr().unwrap());
        eventually("the server has read what was sent", async || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let socket = table.lines().find(|line| {
                let fields: Vec<_> = line.split_whitespace().collect();
                fields[1] == theirs && fields[2] == ours
            });
            let queues = socket?.split_whitespace().nth(4)?;
            queues.ends_with(":00000000").then_some(())
        })
        .await;
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads until the head of an answer is there, and answers it.
    pub async fn read_head(&mut self) -> String {
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
    pub async fn read_more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.received.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// Reads until the server closes the connection, and answers everything.
    pub async fn read_to_end(mut self) -> Vec<u8> {
        while self.read_more().await {}
        self.received
    }
}

/// An address as `/proc/net/tcp` has it: the bytes of the address in the machine's order.
fn hex_address(address: SocketAddr) -> String {
    let IpAddr::V4(ip) = address.ip() else {
        unreachable!("servers under test listen on IPv4")
    };
    format!(
        "{:08X}:{:04X}",
        u32::from_ne_bytes(ip.octets()),
        address.port()
    )
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
