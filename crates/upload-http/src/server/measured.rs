//! A connection of which no more is read at once than is needed to keep it busy, and which ends when
//! the head of a request takes too long.
//!
//! The HTTP/1 dispatcher reads a socket until it is empty or 128 KiB are at hand, in a buffer that
//! grows to twice that and of which the parts of a body are views. An upload under way then held
//! half a MiB there, which is more than all that we hold of it.
//!
//! A head that is late (see [`requests`](super::requests)) looks to the dispatcher like the end of
//! what the peer sends: it sends what it still has to send, and shuts the connection down.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use actix_web::http::header::HttpDate;
use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::requests::Requests;

/// How much is read before what was read is looked at, in bytes.
const READ_BYTES: usize = 32 * 1024;

/// The connection.
#[derive(Debug)]
pub(super) struct MeasuredStream {
    stream: TcpStream,
    /// How much may still be read before the reader is told to come again.
    left: usize,
    requests: Requests,
    head: Head,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    InTime,
    Late,
}

impl MeasuredStream {
    pub(super) fn new(stream: TcpStream, requests: Requests) -> Self {
        Self {
            stream,
            left: READ_BYTES,
            requests,
            head: Head::InTime,
        }
    }

    /// The requests of this connection.
    pub(super) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Nothing more is there to be read: ready, with nothing, when a head is late.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.requests.poll_late(context).map(|()| {
            self.head = Head::Late;
            Ok(())
        })
    }

    /// Says why the connection ends, as is said of a first head that is late. Tried once: there is
    /// room for it unless the peer does not read, and then it would not be read either.
    fn answer_late(&mut self) {
        let date = HttpDate::from(SystemTime::now());
        let answer = format!(
            "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\
            date: {date}\r\n\r\n"
        );
        if let Err(error) = self.stream.try_write(answer.as_bytes()) {
            log::debug!(error:% = error; "a late head could not be answered");
        }
    }
}

impl AsyncRead for MeasuredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.requests.poll_room(context));
        if self.left == 0 {
            self.left = READ_BYTES;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() {
            self.left = READ_BYTES;
            return self.poll_end(context);
        }
        let count = buffer.filled().len() - before;
        if count > 0 {
            self.requests.heard(count);
        }
        self.left = self.left.saturating_sub(count);
        read
    }
}

impl AsyncWrite for MeasuredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.head == Head::Late {
            self.head = Head::InTime;
            self.answer_late();
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
