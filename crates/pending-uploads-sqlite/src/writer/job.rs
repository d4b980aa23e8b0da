//! A piece of work for the writing thread, and whoever waits to hear what becomes of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::{Place, Promise};
use crate::bundle::Writing;
use crate::error::SqliteError;

/// Work, its place in the queue, and what became of it when it was last run.
pub(super) struct Job {
    pub(super) promise: Promise,
    place: Place,
    repetition: Repetition,
    outcome: Outcome,
    work: Box<dyn Work>,
}

/// Whether work that was undone with others can be done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repetition {
    Possible,
    Impossible,
}

/// Whether what a piece of work did is to be committed with the others or undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Keep,
    Undo,
}

/// The work has panicked: whoever waits is told by its end of the channel being gone.
#[derive(Debug)]
pub(super) struct Panicked;

trait Work: Send {
    /// Does the work, and keeps what it answers.
    fn run(&mut self, writing: &Writing<'_>) -> Outcome;
    /// Tells whoever asked how it went: what the work answered, unless all of its transaction
    /// failed.
    fn tell(self: Box<Self>, failure: Option<SqliteError>);
}

impl Job {
    /// `then` is called before the answer is told, when all is well.
    pub(super) fn new<T, F, G>(
        place: Place,
        promise: Promise,
        repetition: Repetition,
        work: F,
        then: G,
        tell: oneshot::Sender<Result<T, SqliteError>>,
    ) -> Self
    where
        T: Send + 'static,
        F: FnMut(&Writing<'_>) -> Result<T, SqliteError> + Send + 'static,
        G: FnOnce() + Send + 'static,
    {
        Self {
            promise,
            place,
            repetition,
            outcome: Outcome::Undo,
            work: Box::new(Piece {
                work,
                worked: None,
                then,
                tell,
            }),
        }
    }

    /// How much it is to write, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.place.bytes
    }

    /// As much in KiB, and a little more.
    pub(super) fn kib(&self) -> u32 {
        self.place.kib
    }

    pub(super) fn is_repeatable(&self) -> bool {
        self.repetition == Repetition::Possible
    }

    /// Does the work.
    pub(super) fn run(&mut self, writing: &Writing<'_>) -> Result<Outcome, Panicked> {
        let work = &mut self.work;
        let ran = catch_unwind(AssertUnwindSafe(|| work.run(writing)));
        self.outcome = ran.map_err(|_| Panicked)?;
        Ok(self.outcome)
    }

    /// Tells whoever asked. What failed alone keeps its own reason.
    pub(super) fn tell(self, failure: Option<SqliteError>) {
        match self.outcome {
            Outcome::Keep => self.work.tell(failure),
            Outcome::Undo => self.work.tell(None),
        }
    }

    /// Tells whoever asked that nothing was done.
    pub(super) fn refuse(self, error: SqliteError) {
        self.work.tell(Some(error));
    }
}

struct Piece<T, F, G> {
    work: F,
    worked: Option<Result<T, SqliteError>>,
    then: G,
    tell: oneshot::Sender<Result<T, SqliteError>>,
}

impl<T, F, G> Work for Piece<T, F, G>
where
    T: Send,
    F: FnMut(&Writing<'_>) -> Result<T, SqliteError> + Send,
    G: FnOnce() + Send,
{
    fn run(&mut self, writing: &Writing<'_>) -> Outcome {
        let worked = (self.work)(writing);
        let outcome = if worked.is_ok() {
            Outcome::Keep
        } else {
            Outcome::Undo
        };
        self.worked = Some(worked);
        outcome
    }

    fn tell(self: Box<Self>, failure: Option<SqliteError>) {
        let Self {
            work,
            worked,
            then,
            tell,
        } = *self;
        // What it shares with whoever asked is theirs alone again.
        drop(work);
        let written = match failure {
            Some(error) => Err(error),
            None => worked.unwrap_or(Err(SqliteError::Closed)),
        };
        if written.is_ok() {
            then();
        }
        // Nobody listens any more: the caller's future was dropped.
        drop(tell.send(written));
    }
}
