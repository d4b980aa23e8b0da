//! A file on its way out: counts its bytes, and notes when the last one has been handed on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, stream};
use pending_uploads_core::{ByteRange, ByteStream, Opened, PendingUpload, Storage};

use crate::error::{ApiError, BrokenOff, Cause};
use crate::events::{self, InFlight, Site};

/// The bytes of a range of a file, as the body of an answer.
///
/// When the server has asked for more after the last byte of the *file*, and has come again, that
/// byte has been handed to the network, and the file counts as fetched. A range that ends earlier
/// and a body that is dropped half-way do not.
///
/// It has to come again because actix-http asks for more until it has 32 KiB to write, and so asks
/// a small file to its end before it writes any of it. A body that is not ready makes it write what
/// it has, and when nobody is there to take that, it drops the body.
pub(crate) struct Handover {
    pieces: ByteStream,
    storage: Arc<dyn Storage>,
    upload: PendingUpload,
    range: ByteRange,
    sent_bytes: u64,
    state: State,
    site: Site,
    started: Instant,
    _in_flight: InFlight,
}

/// A fetch that counts as under way from now on, whatever the store is asked for it.
pub(crate) struct Begun {
    at: Instant,
    in_flight: InFlight,
}

impl Begun {
    pub(crate) fn now() -> Self {
        Self {
            at: Instant::now(),
            in_flight: InFlight::fetch(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    UnderWay,
    /// The last byte has been given, and is to be written before there is an end.
    LastGiven,
    /// It has been written.
    Written,
    Over,
}

impl Handover {
    /// Opens the range for reading, unless all the bytes of the file are there already.
    ///
    /// # Errors
    /// Those of [`Storage::read`].
    pub(crate) async fn begin(
        storage: Arc<dyn Storage>,
        Opened { upload, bytes }: Opened,
        range: ByteRange,
        site: Site,
        Begun { at, in_flight }: Begun,
    ) -> Result<Self, ApiError> {
        let held = bytes.and_then(|bytes| part(&bytes, &upload, range));
        let pieces = match held {
            Some(bytes) => stream::iter([Ok(bytes)]).boxed(),
            None => {
                storage
                    .read(upload.workspace_id, upload.file_id, range)
                    .await?
            }
        };
        Ok(Self {
            pieces,
            storage,
            upload,
            range,
            sent_bytes: 0,
            state: State::UnderWay,
            site,
            started: at,
            _in_flight: in_flight,
        })
    }

    fn break_off(&mut self, error: &ApiError) -> BrokenOff {
        self.state = State::Over;
        events::refused(&self.site, error, self.started.elapsed());
        BrokenOff
    }

    /// The store has given all that it has.
    fn finish(&mut self) -> Result<(), BrokenOff> {
        if self.sent_bytes != self.range.byte_count() {
            let cause = Cause::new("the store gave another number of bytes than it was asked for");
            return Err(self.break_off(&ApiError::Internal(cause)));
        }
        self.state = State::Over;
        if self.range.end() == self.upload.size_bytes {
            events::fetched(&self.upload, self.sent_bytes, self.started.elapsed());
            tokio::spawn(mark_fetched(
                Arc::clone(&self.storage),
                self.upload.clone(),
                self.site.clone(),
            ));
        }
        Ok(())
    }
}

/// None when they are not what the record says.
fn part(bytes: &Bytes, upload: &PendingUpload, range: ByteRange) -> Option<Bytes> {
    let start = usize::try_from(range.start()).ok()?;
    let end = usize::try_from(range.end()).ok()?;
    let whole = bytes.len() as u64 == upload.size_bytes && end <= bytes.len();
    whole.then(|| bytes.slice(start..end))
}

/// Best effort: the file has been handed over, whether this is noted or not.
async fn mark_fetched(storage: Arc<dyn Storage>, upload: PendingUpload, site: Site) {
    let noted = storage
        .mark_fetched(upload.workspace_id, upload.file_id)
        .await;
    if let Err(error) = noted {
        events::failed_aside("mark_fetched", &site, &Cause::of(&error));
    }
}

impl Stream for Handover {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.state {
            State::Over => return Poll::Ready(None),
            State::LastGiven => {
                self.state = State::Written;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            State::UnderWay | State::Written => {}
        }
        Poll::Ready(match ready!(self.pieces.as_mut().poll_next(context)) {
            Some(Ok(piece)) => {
                self.sent_bytes += piece.len() as u64;
                if self.sent_bytes == self.range.byte_count() {
                    self.state = State::LastGiven;
                }
                Some(Ok(piece))
            }
            Some(Err(error)) => Some(Err(self.break_off(&error.into()))),
            None => self.finish().err().map(Err),
        })
    }
}
