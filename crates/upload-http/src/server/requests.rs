//! Which requests of a connection are under way, and how long the head of its next one may take.
//!
//! actix-http bounds the head of a connection's first request, and a connection that says nothing.
//! Once bytes of a later head have arrived it bounds nothing any more, and a connection with half a
//! head would be there for ever. So here a deadline runs from the first bytes of a head on, until
//! the request has begun. While one is under way nothing runs: its body and its answer have
//! deadlines of their own, and a poll may wait for minutes.
//!
//! What is sent behind such a request, once its body is over, piles up. actix-http takes sixteen
//! further requests and 128 KiB, and then looks again and again whether there is room. So here no more
//! is read when a little has piled up, until the requests have been answered.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::idle::IdleDeadline;

/// How much may pile up behind a request that is under way, in bytes; a read that is begun is ended.
const PILE_BYTES: usize = 16 * 1024;

/// The requests of one connection. Clones are of the same.
#[derive(Debug, Clone)]
pub(super) struct Requests(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    under_way: usize,
    /// How many of them have a body that is not over.
    open_bodies: usize,
    /// How much has been read behind them.
    piled: usize,
    /// Whoever would read more.
    reader: Option<Waker>,
    /// Set while bytes have arrived that are of no request yet.
    head_awaited: bool,
    deadline: IdleDeadline,
}

/// A body that is not over until this is dropped.
#[derive(Debug)]
pub(super) struct OpenBody(Requests);

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Requests);

impl Requests {
    /// Those of a connection on which a head may take `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        Self(Rc::new(RefCell::new(State {
            under_way: 0,
            open_bodies: 0,
            piled: 0,
            reader: None,
            head_awaited: false,
            deadline: IdleDeadline::new(timeout),
        })))
    }

    /// The head of a request has arrived.
    pub(super) fn begin(&self) -> UnderWay {
        let mut state = self.0.borrow_mut();
        state.under_way += 1;
        state.await_nothing();
        UnderWay(self.clone())
    }

    /// A request that has begun has a body.
    pub(super) fn begin_body(&self) -> OpenBody {
        self.0.borrow_mut().open_bodies += 1;
        OpenBody(self.clone())
    }

    /// So many bytes have arrived. Those of a request that is under way, and what is sent behind it
    /// before its answer, bring no deadline: after the answer the connection is one that says nothing.
    pub(super) fn heard(&self, bytes: usize) {
        let mut state = self.0.borrow_mut();
        if state.under_way == 0 {
            state.piled = 0;
            state.head_awaited = true;
        } else if state.open_bodies == 0 {
            state.piled = state.piled.saturating_add(bytes);
        }
    }

    /// Ready when more may be read; pending while enough has piled up.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        if state.under_way > 0 && state.open_bodies == 0 && state.piled >= PILE_BYTES {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Nothing more has arrived: ready once a head has taken too long. More of the same head does
    /// not start the deadline anew.
    pub(super) fn poll_late(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        if state.head_awaited {
            state.deadline.poll_silence(context)
        } else {
            Poll::Pending
        }
    }
}

impl State {
    fn await_nothing(&mut self) {
        self.head_awaited = false;
        self.deadline.heard();
    }
}

impl Drop for OpenBody {
    fn drop(&mut self) {
        let mut state = self.0.0.borrow_mut();
        state.open_bodies = state.open_bodies.saturating_sub(1);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.0.borrow_mut();
        state.under_way = state.under_way.saturating_sub(1);
        state.await_nothing();
        let reader = mem::take(&mut state.reader);
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;
    use tokio::time::{Instant, advance};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);
    const NEARLY: Duration = Duration::from_secs(9);

    fn is_late(requests: &Requests) -> bool {
        poll_fn(|context| requests.poll_late(context))
            .now_or_never()
            .is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_is_late_after_the_timeout() {
        let requests = Requests::new(TIMEOUT);
        assert!(!is_late(&requests));
        let start = Instant::now();
        while start.elapsed() < TIMEOUT {
            requests.heard(1);
            assert!(!is_late(&requests));
            advance(Duration::from_secs(1)).await;
        }
        assert!(is_late(&requests));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_not_late() {
        let requests = Requests::new(TIMEOUT);
        requests.heard(1);
        assert!(!is_late(&requests));
        drop(requests.begin());
        advance(TIMEOUT * 2).await;
        assert!(!is_late(&requests));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_late_while_a_request_is_under_way() {
        let requests = Requests::new(TIMEOUT);
        requests.heard(1);
        assert!(!is_late(&requests));
        let (first, second) = (requests.begin(), requests.begin());
        drop(first);
        requests.heard(1);
        advance(TIMEOUT * 2).await;
        assert!(!is_late(&requests));
        drop(second);
        assert!(
            !is_late(&requests),
            "what came before its answer counts not"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_has_the_whole_timeout() {
        let requests = Requests::new(TIMEOUT);
        requests.heard(1);
        assert!(!is_late(&requests));
        advance(NEARLY).await;
        drop(requests.begin());
        requests.heard(1);
        assert!(!is_late(&requests));
        advance(NEARLY).await;
        assert!(!is_late(&requests));
        advance(Duration::from_secs(1)).await;
        assert!(is_late(&requests));
    }

    fn has_room(requests: &Requests) -> bool {
        poll_fn(|context| requests.poll_room(context))
            .now_or_never()
            .is_some()
    }

    #[tokio::test]
    async fn no_more_is_read_when_enough_has_piled_up_behind_a_request() {
        let requests = Requests::new(TIMEOUT);
        let first = requests.begin();
        requests.heard(PILE_BYTES - 1);
        assert!(has_room(&requests));
        requests.heard(1);
        assert!(!has_room(&requests));
        // The next has been read already, and what is behind it, too.
        drop(first);
        let second = requests.begin();
        assert!(!has_room(&requests));
        drop(second);
        assert!(has_room(&requests));
        requests.heard(1);
        let _third = requests.begin();
        requests.heard(PILE_BYTES - 1);
        assert!(has_room(&requests));
    }

    #[tokio::test]
    async fn whoever_would_read_more_is_woken_by_the_answer() {
        let requests = Requests::new(TIMEOUT);
        let first = requests.begin();
        requests.heard(PILE_BYTES);
        let room = poll_fn(|context| requests.poll_room(context));
        let answered = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        tokio::join!(room, answered);
    }

    #[tokio::test]
    async fn a_body_may_be_of_any_length() {
        let requests = Requests::new(TIMEOUT);
        let _upload = requests.begin();
        let body = requests.begin_body();
        requests.heard(100 * PILE_BYTES);
        assert!(has_room(&requests));
        drop(body);
        requests.heard(PILE_BYTES);
        assert!(!has_room(&requests));
    }
}
