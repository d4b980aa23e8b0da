//! Answers that are sent otherwise than actix-http would: those that are made before their request's
//! body has arrived, and those to HEAD.
//!
//! actix-http closes the connection after such an answer, but for one case: the rest of a chunked
//! body whose reader is gone is drained, however long it is and however slowly it comes. So here
//! the reader stays until the answer has been sent, and the connection is closed in every case.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::header::{CONTENT_LENGTH, HeaderValue};
use actix_http::{Method, Payload, Request, Response};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_core::Stream;

use super::requests::{OpenBody, Requests, UnderWay};

/// The body of an answer, and the payload of its request, which is under way until it has been
/// sent.
pub(super) struct HeldBody {
    body: BoxBody,
    _payload: Option<SharedPayload>,
    _under_way: Option<UnderWay>,
}

impl HeldBody {
    /// Keeps `payload` until `body` has been sent.
    pub(super) fn new(body: BoxBody, payload: Payload, under_way: Option<UnderWay>) -> Self {
        Self {
            body,
            _payload: Some(SharedPayload::new(payload, None)),
            _under_way: under_way,
        }
    }
}

/// A payload that has a reader, and that its answer keeps as well.
#[derive(Clone)]
struct SharedPayload(Rc<RefCell<OpenPayload>>);

struct OpenPayload {
    payload: Payload,
    /// None when it is over.
    open: Option<OpenBody>,
}

impl SharedPayload {
    fn new(payload: Payload, open: Option<OpenBody>) -> Self {
        Self(Rc::new(RefCell::new(OpenPayload { payload, open })))
    }
}

/// Calls the app with a request whose payload its answer keeps.
pub(super) fn hold_payload<S>(
    mut request: Request,
    app: &S,
) -> impl Future<Output = Result<Response<HeldBody>, actix_web::Error>> + use<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = actix_web::Error>,
{
    let is_head = request.method() == Method::HEAD;
    let under_way = under_way(&request);
    let held = share_payload(&mut request);
    let answer = app.call(request);
    async move {
        let mut answer: Response<BoxBody> = answer.await?.into();
        if is_head {
            answer = without_body(answer);
        }
        Ok(answer.map_body(|_, body| HeldBody {
            body,
            _payload: held,
            _under_way: under_way,
        }))
    }
}

/// Notes that a request has begun on its connection.
pub(super) fn under_way(request: &Request) -> Option<UnderWay> {
    request.conn_data().map(Requests::begin)
}

/// Takes the body from an answer to HEAD, and leaves its length.
///
/// actix-http would leave the body out by itself, unless the client has sent another request
/// already: then it would take the answer for that one's.
fn without_body(mut answer: Response<BoxBody>) -> Response<BoxBody> {
    if let BodySize::Sized(length) = answer.body().size() {
        let headers = answer.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    answer.head_mut().no_chunking(true);
    answer.map_body(|_, _| BoxBody::new(NoBody))
}

/// A body that is not sent, and whose length stands in the headers.
struct NoBody;

impl MessageBody for NoBody {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}

/// Shares the payload of a request that has one.
fn share_payload(request: &mut Request) -> Option<SharedPayload> {
    match request.take_payload() {
        Payload::None => None,
        payload => {
            let open = request.conn_data().map(Requests::begin_body);
            let shared = SharedPayload::new(payload, open);
            *request.payload() = Payload::Stream {
                payload: Box::pin(shared.clone()),
            };
            Some(shared)
        }
    }
}

impl Stream for SharedPayload {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut shared = self.0.borrow_mut();
        let next = ready!(Pin::new(&mut shared.payload).poll_next(cx));
        if next.is_none() {
            shared.open = None;
        }
        Poll::Ready(next)
    }
}

impl MessageBody for HeldBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
