//! A pass over the old rows of the feeds, step by step: what the backends' pruning has in common.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{ActivityId, Timestamp};

/// How far a pass over the rows that are old enough to be pruned has come.
///
/// A pass goes over them in the order of their times, and of their ids where the times are equal,
/// so that the newest row of each feed, which stays however old it is, is gone over once a pass and
/// not once a step. Clones share the pass.
#[derive(Debug, Clone, Default)]
pub struct PrunePass {
    /// None before the first step of a pass.
    mark: Arc<Mutex<Option<PruneMark>>>,
}

/// The last row that a step went over, whether it was deleted or stayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneMark {
    /// When it was appended.
    pub created_at: Timestamp,
    /// Its id.
    pub id: ActivityId,
}

/// What a step of a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneStep {
    /// How many rows it deleted.
    pub deleted: u64,
    /// Where it ended.
    pub mark: PruneMark,
}

impl PrunePass {
    /// Takes one step after the other until one has deleted something, and answers how much; zero
    /// at the end of the pass, and the next call begins another one.
    ///
    /// `step` is told the row after which it begins, none for the oldest, and answers none when
    /// there are no more. Calls at once may go over rows twice, or leave some to the next pass. A
    /// dropped future leaves the pass where the last step that it saw ended.
    ///
    /// # Errors
    /// Those of `step`, at once; the pass stays where it was.
    pub async fn advance<F, E>(
        &self,
        mut step: impl FnMut(Option<PruneMark>) -> F,
    ) -> Result<u64, E>
    where
        F: Future<Output = Result<Option<PruneStep>, E>>,
    {
        loop {
            let done = step(self.mark()).await?;
            self.set_mark(done.map(|done| done.mark));
            match done {
                None => return Ok(0),
                Some(PruneStep { deleted: 0, .. }) => {}
                Some(PruneStep { deleted, .. }) => return Ok(deleted),
            }
        }
    }

    fn mark(&self) -> Option<PruneMark> {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_mark(&self, mark: Option<PruneMark>) {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(deleted: u64) -> PruneStep {
        PruneStep {
            deleted,
            mark: PruneMark {
                created_at: Timestamp::from_micros(1),
                id: ActivityId::generate(),
            },
        }
    }

    #[tokio::test]
    async fn a_pass_goes_on_where_it_was_over_rows_that_stay_and_then_begins_again() {
        let pass = PrunePass::default();
        let steps = [Some(step(2)), Some(step(0)), Some(step(1)), None, None];
        let (mut told, mut left) = (Vec::new(), steps.into_iter());
        for deleted in [2, 1, 0, 0] {
            let clone = pass.clone();
            let answer = clone.advance(|mark| {
                told.push(mark);
                let next = left.next().unwrap();
                async move { Ok::<_, ()>(next) }
            });
            assert_eq!(answer.await, Ok(deleted));
        }
        let marks = steps.map(|step| step.map(|step| step.mark));
        assert_eq!(told, [&[None][..], &marks[..4]].concat());
    }

    #[tokio::test]
    async fn a_step_that_fails_is_taken_again() {
        let pass = PrunePass::default();
        let first = step(1);
        assert_eq!(
            pass.advance(async |_| Ok::<_, ()>(Some(first))).await,
            Ok(1)
        );
        assert_eq!(pass.advance(async |_| Err("away")).await, Err("away"));
        let again = pass.advance(async |mark| {
            assert_eq!(mark, Some(first.mark));
            Ok::<_, ()>(None)
        });
        assert_eq!(again.await, Ok(0));
    }
}
