//! Reads a multipart/form-data body (RFC 7578) as a stream, part by part, over actix-multipart.
//!
//! The request's payload passes first through [`GuardedBody`], which counts it and does not wait for
//! ever, and then through [`Framing`], which finds the parts' ends on its own. A [`Part`] is over only
//! when the parser and the framing agree on its length, and a [`Form`] only when the whole body has
//! arrived. A part's bytes are views into a buffer that all of them share: use each view and let it
//! go.

mod body;
mod disposition;
mod framing;
mod headers;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpMessage, HttpRequest};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use pending_uploads_core::{Filename, Mimetype};

use self::disposition::original_name;
use self::framing::Framing;
use self::headers::GivenHeaders;

pub(crate) use self::body::{BodyError, BodyLimits, GuardedBody, Malformed};

/// The most parts of one form, files and others. So no more files than that can be in one upload,
/// whatever [`Limits`](pending_uploads_core::Limits) allow.
pub const MAX_PARTS: u32 = 1000;
/// The name of the parts that are files.
const FILES: &str = "files";

/// A form that is being read.
pub(crate) struct Form {
    parser: Multipart,
    body: SharedBody,
    parts: u32,
}

/// A file in a form.
pub(crate) struct FilePart {
    /// Its names.
    pub(crate) filename: Filename,
    /// What its sender said that it is.
    pub(crate) mimetype: Mimetype,
    data: PartData,
}

impl Form {
    /// Starts to read the body of `request`.
    ///
    /// # Errors
    /// [`Malformed::ContentType`].
    pub(crate) fn open(
        request: &HttpRequest,
        payload: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
        limits: BodyLimits,
    ) -> Result<Self, BodyError> {
        let boundary = boundary(request).ok_or(Malformed::ContentType)?;
        let body = SharedBody::new(GuardedBody::new(payload, limits), Framing::new(&boundary));
        Ok(Self {
            parser: Multipart::new(request.headers(), body.clone()),
            body,
            parts: 0,
        })
    }

    /// Reads on to the next file, past all other parts. None is left once the whole body has
    /// arrived and was well-formed. The file before must have been read to its end.
    ///
    /// # Errors
    /// Those of [`BodyError`]; there is nothing to be read after one.
    pub(crate) async fn next(&mut self) -> Result<Option<FilePart>, BodyError> {
        while let Some(field) = self.parser.next().await {
            let field = field.map_err(|error| self.body.explain(&error))?;
            self.count_part()?;
            let given = self.body.next_begun().ok_or(Malformed::Ambiguous)?;
            if field.name() == Some(FILES) {
                return FilePart::of(field, &given, &self.body).map(Some);
            }
            let mut skipped = PartData::of(field, &self.body)?;
            while skipped.next().await?.is_some() {}
        }
        self.body.drain().await?;
        Ok(None)
    }

    fn count_part(&mut self) -> Result<(), Malformed> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(Malformed::TooManyParts { max: MAX_PARTS });
        }
        Ok(())
    }
}

/// The boundary, read as the parser reads it.
fn boundary(request: &HttpRequest) -> Option<String> {
    let content_type = request.mime_type().ok()??;
    let boundary = content_type.get_param("boundary")?.as_str();
    (content_type.essence_str() == "multipart/form-data" && !boundary.is_empty())
        .then(|| boundary.to_owned())
}

impl FilePart {
    fn of(field: Field, given: &GivenHeaders, body: &SharedBody) -> Result<Self, BodyError> {
        let disposition = given.disposition.as_ref().ok_or(Malformed::Disposition)?;
        Ok(Self {
            filename: Filename::sanitize(&original_name(disposition)),
            mimetype: mimetype(given),
            data: PartData::of(field, body)?,
        })
    }

    /// The next bytes of the file, never none of them; `None` at its end.
    ///
    /// # Errors
    /// Those of [`BodyError`].
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.data.next().await
    }
}

/// Reads the part's own `Content-Type`, whatever bytes it is made of.
fn mimetype(given: &GivenHeaders) -> Mimetype {
    match &given.content_type {
        Some(value) => Mimetype::parse(&String::from_utf8_lossy(value)),
        None => Mimetype::absent(),
    }
}

/// The data of a part, counted.
struct PartData {
    field: Field,
    body: SharedBody,
    read: u64,
}

impl PartData {
    /// # Errors
    /// [`Malformed::Ambiguous`] when the parser is about to believe a `Content-Length` that the
    /// framing did not see.
    fn of(field: Field, body: &SharedBody) -> Result<Self, BodyError> {
        if field.headers().contains_key(CONTENT_LENGTH) {
            return Err(Malformed::Ambiguous.into());
        }
        Ok(Self {
            field,
            body: body.clone(),
            read: 0,
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        match self.field.next().await {
            Some(Ok(view)) => {
                self.read += view.len() as u64;
                Ok(Some(view))
            }
            Some(Err(error)) => Err(self.body.explain(&error)),
            None if self.body.next_ended() == Some(self.read) => Ok(None),
            None => Err(Malformed::Ambiguous.into()),
        }
    }
}

/// The framed body, between the parser, which owns a stream of it, and the form, which wants to know
/// why it ended.
#[derive(Clone)]
struct SharedBody(Rc<FramedBody>);

struct FramedBody {
    stream: RefCell<FramedStream>,
    /// Why there is nothing more, when that is not the end.
    failure: Cell<Option<BodyError>>,
}

struct FramedStream {
    guarded: GuardedBody,
    framing: Framing,
    /// Framed, and not yet handed to the parser.
    ready: VecDeque<Bytes>,
}

impl SharedBody {
    fn new(guarded: GuardedBody, framing: Framing) -> Self {
        Self(Rc::new(FramedBody {
            stream: RefCell::new(FramedStream {
                guarded,
                framing,
                ready: VecDeque::new(),
            }),
            failure: Cell::new(None),
        }))
    }

    fn next_begun(&self) -> Option<GivenHeaders> {
        self.0.stream.borrow_mut().framing.next_begun()
    }

    fn next_ended(&self) -> Option<u64> {
        self.0.stream.borrow_mut().framing.next_ended()
    }

    /// Why the parser failed: because the body did, or because of what it read.
    fn explain(&self, error: &MultipartError) -> BodyError {
        self.0
            .failure
            .get()
            .unwrap_or_else(|| malformed(error).into())
    }

    /// Reads what is left after the last boundary, which RFC 2046, section 5.1.1, tells to ignore.
    async fn drain(&self) -> Result<(), BodyError> {
        while poll_fn(|cx| self.poll_bytes(cx))
            .await
            .transpose()?
            .is_some()
        {}
        Ok(())
    }

    fn poll_bytes(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.0.failure.get().is_some() {
            return Poll::Ready(None);
        }
        let next = ready!(self.0.stream.borrow_mut().poll_framed(cx));
        if let Some(Err(failure)) = next {
            self.0.failure.set(Some(failure));
        }
        Poll::Ready(next)
    }
}

impl FramedStream {
    fn poll_framed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            match ready!(self.guarded.poll_next_unpin(cx)) {
                None => return Poll::Ready(None),
                Some(piece) => {
                    let framed =
                        piece.and_then(|piece| Ok(self.framing.push(piece, &mut self.ready)?));
                    if let Err(error) = framed {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        }
    }
}

/// What the parser reads. It learns only that there is an error; which one is kept beside.
impl Stream for SharedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_bytes(cx)
            .map(|next| next.map(|bytes| bytes.map_err(|_| PayloadError::Incomplete(None))))
    }
}

fn malformed(error: &MultipartError) -> Malformed {
    match error {
        MultipartError::ContentTypeMissing
        | MultipartError::ContentTypeParse
        | MultipartError::ContentTypeIncompatible => Malformed::ContentType,
        MultipartError::ContentDispositionMissing
        | MultipartError::ContentDispositionNameMissing => Malformed::Disposition,
        MultipartError::BoundaryMissing => Malformed::Boundary,
        MultipartError::Incomplete => Malformed::Truncated,
        MultipartError::Parse(_) => Malformed::Headers,
        _ => Malformed::Unreadable,
    }
}

#[cfg(test)]
mod tests;
