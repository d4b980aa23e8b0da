//! One connection, which is kept alive from request to request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::answer::{Afterwards, Framing, Head};
use crate::client::request::{Request, Stretch, content_at};
use crate::error::BenchError;

/// Requests up to this many bytes are sent with one call of the system.
const ONE_WRITE_BYTES: u64 = 256 * 1024;
/// What is read into at first: enough for small answers, and for a thousand connections.
const SMALL_BUFFER: usize = 8 * 1024;
/// What is read into by whoever fetches.
const LARGE_BUFFER: usize = 256 * 1024;
/// How much of an answer that was not expected is shown.
const SHOWN_BYTES: usize = 500;

/// What is done with the body of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Kept,
    Dropped,
}

/// A connection to a server at an address, which is opened again when the server has closed it.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    output: Vec<u8>,
    input: Vec<u8>,
    begin: usize,
    end: usize,
    body: Vec<u8>,
    moved: Arc<AtomicU64>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, BenchError> {
        let mut connection = Self {
            address,
            stream: None,
            output: Vec::new(),
            input: vec![0; SMALL_BUFFER],
            begin: 0,
            end: 0,
            body: Vec::new(),
            moved: Arc::default(),
        };
        connection.connect().await?;
        Ok(connection)
    }

    /// Counts each byte of content that is sent or received in `moved`, from now on.
    #[must_use]
    pub(crate) fn counted_in(mut self, moved: &Arc<AtomicU64>) -> Self {
        self.moved = Arc::clone(moved);
        self
    }

    /// Sends a request that must be answered with 200, and answers the body of the answer.
    pub(crate) async fn call(&mut self, request: &Request) -> Result<&[u8], BenchError> {
        self.exchange(request, Body::Kept).await?;
        Ok(&self.body)
    }

    /// Sends a request that must be answered with 200, and answers how long the body was, which is
    /// forgotten.
    pub(crate) async fn fetch(&mut self, request: &Request) -> Result<u64, BenchError> {
        if self.input.len() < LARGE_BUFFER {
            self.input.resize(LARGE_BUFFER, 0);
        }
        self.exchange(request, Body::Dropped).await
    }

    /// Sends a request, reads at least so many bytes of the body, and hangs up.
    pub(crate) async fn fetch_and_cut_off(
        &mut self,
        request: &Request,
        bytes: u64,
    ) -> Result<(), BenchError> {
        self.send(request).await.map_err(lost(request))?;
        let head = self.read_head().await.map_err(lost(request))?;
        let Framing::Length(length) = head.framing else {
            return Err(BenchError::NoHttp);
        };
        let wanted = self.take(bytes.min(length), Body::Dropped).await;
        wanted.map_err(lost(request))?;
        self.stream = None;
        Ok(())
    }

    async fn exchange(&mut self, request: &Request, body: Body) -> Result<u64, BenchError> {
        self.body.clear();
        let sent = self.send(request).await;
        // A server that does not want the body may have answered nevertheless.
        let head = match self.read_head().await {
            Ok(head) => head,
            Err(error) => return Err(lost(request)(sent.err().unwrap_or(error))),
        };
        let body = if head.status == 200 { body } else { Body::Kept };
        let length = self.read_body(head.framing, body).await;
        let length = length.map_err(lost(request))?;
        if head.afterwards == Afterwards::Closed {
            self.stream = None;
        }
        if head.status != 200 {
            return Err(self.unexpected(request, head.status));
        }
        Ok(length)
    }

    fn unexpected(&self, request: &Request, status: u16) -> BenchError {
        let shown = &self.body[..self.body.len().min(SHOWN_BYTES)];
        BenchError::Unexpected {
            request: request.title(),
            status,
            answer: String::from_utf8_lossy(shown).into_owned(),
        }
    }

    async fn connect(&mut self) -> Result<(), BenchError> {
        let connect_failed = |source| BenchError::Connect {
            address: self.address,
            source,
        };
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(connect_failed)?;
        stream.set_nodelay(true).map_err(connect_failed)?;
        self.stream = Some(stream);
        (self.begin, self.end) = (0, 0);
        Ok(())
    }

    async fn send(&mut self, request: &Request) -> io::Result<()> {
        if self.stream.is_none() {
            self.connect().await.map_err(io::Error::other)?;
        }
        self.output.clear();
        self.output.extend_from_slice(&request.head);
        let Some(form) = &request.form else {
            return self.flush().await;
        };
        for stretch in form.stretches() {
            match stretch {
                Stretch::Framing(bytes) => self.output.extend_from_slice(bytes),
                Stretch::Content(bytes) => self.put_content(bytes).await?,
            }
        }
        self.flush().await
    }

    /// Small content waits for what comes after it; large content goes out from where it lies.
    async fn put_content(&mut self, bytes: u64) -> io::Result<()> {
        let alone = bytes > ONE_WRITE_BYTES;
        if alone {
            self.flush().await?;
        }
        let mut offset = 0;
        while offset < bytes {
            let piece = content_at(offset, bytes - offset);
            offset += piece.len() as u64;
            if alone {
                self.write(piece).await?;
                self.moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
            } else {
                self.output.extend_from_slice(piece);
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let output = std::mem::take(&mut self.output);
        let written = self.write(&output).await;
        self.output = output;
        self.output.clear();
        written
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Some(stream) => stream.write_all(bytes).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn read_head(&mut self) -> io::Result<Head> {
        loop {
            let so_far = &self.input[self.begin..self.end];
            if let Some(head) = Head::parse(so_far).map_err(io::Error::other)? {
                self.begin += head.bytes;
                return Ok(head);
            }
            self.fill().await?;
        }
    }

    async fn read_body(&mut self, framing: Framing, body: Body) -> io::Result<u64> {
        match framing {
            Framing::Length(length) => {
                self.take(length, body).await?;
                Ok(length)
            }
            Framing::Chunked => self.read_chunks(body).await,
        }
    }

    async fn read_chunks(&mut self, body: Body) -> io::Result<u64> {
        let mut length = 0;
        loop {
            let chunk = self.read_chunk_size().await?;
            self.take(chunk, body).await?;
            // The line break after a chunk; after the last one, the end of no trailers.
            self.take(2, Body::Dropped).await?;
            if chunk == 0 {
                return Ok(length);
            }
            length += chunk;
        }
    }

    async fn read_chunk_size(&mut self) -> io::Result<u64> {
        loop {
            let so_far = &self.input[self.begin..self.end];
            let parsed = httparse::parse_chunk_size(so_far);
            if let httparse::Status::Complete((bytes, size)) =
                parsed.map_err(|_| io::Error::other(BenchError::NoHttp))?
            {
                self.begin += bytes;
                return Ok(size);
            }
            self.fill().await?;
        }
    }

    /// Takes so many bytes off the stream.
    async fn take(&mut self, mut left: u64, body: Body) -> io::Result<()> {
        while left > 0 {
            if self.begin == self.end {
                self.fill().await?;
            }
            let here = self.end - self.begin;
            let taken = usize::try_from(left).map_or(here, |left| left.min(here));
            let bytes = &self.input[self.begin..self.begin + taken];
            match body {
                Body::Kept => self.body.extend_from_slice(bytes),
                Body::Dropped => {
                    self.moved.fetch_add(taken as u64, Ordering::Relaxed);
                }
            }
            self.begin += taken;
            left -= taken as u64;
        }
        Ok(())
    }

    /// Reads more, behind what was read and not taken.
    async fn fill(&mut self) -> io::Result<()> {
        self.input.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        if self.end == self.input.len() {
            self.input.resize(self.end * 2, 0);
        }
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let read = stream.read(&mut self.input[self.end..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += read;
        Ok(())
    }
}

fn lost(request: &Request) -> impl FnOnce(io::Error) -> BenchError {
    let request = request.title();
    move |source| BenchError::Lost { request, source }
}
