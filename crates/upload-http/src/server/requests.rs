//! Which requests of a connection are under way, and how long the head of its next one may take.
//!
//! actix-http bounds the head of a connection's first request, and a connection that says nothing.
//! Once bytes of a later head have arrived it bounds nothing any more, and a connection with half a
//! head would be there for ever. So here a deadline runs from the first bytes of a head on, until
//! the request has begun. While one is under way nothing runs: its body and its answer have
//! deadlines of their own, and a poll may wait for minutes.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::idle::IdleDeadline;

/// The requests of one connection. Clones are of the same.
#[derive(Debug, Clone)]
pub(super) struct Requests(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    under_way: usize,
    /// Set while bytes have arrived that are of no request yet.
    head_awaited: bool,
    deadline: IdleDeadline,
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Requests);

impl Requests {
    /// Those of a connection on which a head may take `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        Self(Rc::new(RefCell::new(State {
            under_way: 0,
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

    /// Bytes have arrived. Those of a request that is under way, and what is sent behind it before
    /// its answer, bring no deadline: after the answer the connection is one that says nothing.
    pub(super) fn heard(&self) {
        let mut state = self.0.borrow_mut();
        if state.under_way == 0 {
            state.head_awaited = true;
        }
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

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.0.borrow_mut();
        state.under_way = state.under_way.saturating_sub(1);
        state.await_nothing();
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
            requests.heard();
            assert!(!is_late(&requests));
            advance(Duration::from_secs(1)).await;
        }
        assert!(is_late(&requests));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_not_late() {
        let requests = Requests::new(TIMEOUT);
        requests.heard();
        assert!(!is_late(&requests));
        drop(requests.begin());
        advance(TIMEOUT * 2).await;
        assert!(!is_late(&requests));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_late_while_a_request_is_under_way() {
        let requests = Requests::new(TIMEOUT);
        requests.heard();
        assert!(!is_late(&requests));
        let (first, second) = (requests.begin(), requests.begin());
        drop(first);
        requests.heard();
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
        requests.heard();
        assert!(!is_late(&requests));
        advance(NEARLY).await;
        drop(requests.begin());
        requests.heard();
        assert!(!is_late(&requests));
        advance(NEARLY).await;
        assert!(!is_late(&requests));
        advance(Duration::from_secs(1)).await;
        assert!(is_late(&requests));
    }
}
