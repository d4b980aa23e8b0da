//! A connection of which no more is read at once than is needed to keep it busy.
//!
//! The HTTP/1 dispatcher reads a socket until it is empty or 128 KiB are at hand, in a buffer that
//! grows to twice that and of which the parts of a body are views. An upload under way then held
//! half a MiB there, which is more than all that we hold of it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read before what was read is looked at, in bytes.
const READ_BYTES: usize = 32 * 1024;

/// The connection.
#[derive(Debug)]
pub(super) struct MeasuredStream {
    stream: TcpStream,
    /// How much may still be read before the reader is told to come again.
    left: usize,
}

impl MeasuredStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            left: READ_BYTES,
        }
    }
}

impl AsyncRead for MeasuredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            self.left = READ_BYTES;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.left = match &read {
            Poll::Ready(_) => self.left.saturating_sub(buffer.filled().len() - before),
            Poll::Pending => READ_BYTES,
        };
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
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
