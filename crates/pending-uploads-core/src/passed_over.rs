//! Stretches of feeds that a reader's filters pass over: what the backends' polls have in common.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{ActivityQuery, ActivityType, FeedStart, Seq, Source, WorkspaceId};

/// How many stretches are remembered; beyond that all are forgotten, and are found again.
const MOST: usize = 4096;
/// A stretch shorter than this is as quickly read as remembered.
const SHORTEST: i64 = 256;

/// Up to where feeds hold nothing for readers who ask again and again with the same cursor and the
/// same filters, so that such a poll reads what is new and not what it has read before.
///
/// A feed's rows never change, and a row with a lower number never appears later (invariant 2): what
/// matched nothing once never will. It is a hint all the same, kept in memory and forgotten at will.
/// Clones share it.
#[derive(Debug, Clone, Default)]
pub struct PassedOver {
    stretches: Arc<Mutex<HashMap<Filtered, Stretch>>>,
}

/// Whose question it is, but for the cursor.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Filtered {
    workspace: WorkspaceId,
    activity_type: Option<ActivityType>,
    source: Option<Source>,
}

#[derive(Debug, Clone, Copy)]
struct Stretch {
    after: FeedStart,
    until: Seq,
}

impl PassedOver {
    /// The number of the newest row of which it is known that neither it nor any between it and the
    /// query's start matches; none when nothing is known.
    pub fn until(&self, workspace: WorkspaceId, query: &ActivityQuery) -> Option<Seq> {
        let filtered = filtered(workspace, query)?;
        let stretch = *self.stretches().get(&filtered)?;
        (stretch.after == query.start).then_some(stretch.until)
    }

    /// Notes that `query`, which starts after the row `start`, matched no row up to `until`: the
    /// newest one when the feed was read.
    pub fn note(&self, workspace: WorkspaceId, query: &ActivityQuery, start: Seq, until: Seq) {
        let Some(filtered) = filtered(workspace, query) else {
            return;
        };
        if until.0.saturating_sub(start.0) < SHORTEST {
            return;
        }
        let after = query.start;
        let mut stretches = self.stretches();
        if stretches.len() >= MOST && !stretches.contains_key(&filtered) {
            stretches.clear();
        }
        stretches.insert(filtered, Stretch { after, until });
    }

    /// Forgets everything: the feeds may be others than they were, as after a restore of a backup.
    pub fn forget_all(&self) {
        self.stretches().clear();
    }

    /// A thread that panicked while it held the lock left the map whole: every use of it is one
    /// call.
    fn stretches(&self) -> MutexGuard<'_, HashMap<Filtered, Stretch>> {
        self.stretches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// None when nothing can be remembered for the query: it goes back from the newest row, it passes
/// nothing over, or its bounds move with the time.
fn filtered(workspace: WorkspaceId, query: &ActivityQuery) -> Option<Filtered> {
    let passes_over = query.activity_type.is_some() || query.source.is_some();
    let moves = query.created_since.is_some() || query.created_before.is_some();
    let goes_back = query.start == FeedStart::Newest;
    (passes_over && !moves && !goes_back).then(|| Filtered {
        workspace,
        activity_type: query.activity_type.clone(),
        source: query.source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ActivityId, Timestamp};

    fn filtering(start: FeedStart) -> ActivityQuery {
        ActivityQuery {
            source: Some(Source::Canvas),
            ..ActivityQuery::from_start(start)
        }
    }

    #[test]
    fn what_was_passed_over_is_known_for_the_same_question_alone() {
        let (known, workspace) = (PassedOver::default(), WorkspaceId::generate());
        let query = filtering(FeedStart::After(ActivityId::generate()));
        assert_eq!(known.until(workspace, &query), None);
        known.clone().note(workspace, &query, Seq(7), Seq(9000));
        assert_eq!(known.until(workspace, &query), Some(Seq(9000)));
        let others = [
            filtering(FeedStart::After(ActivityId::generate())),
            filtering(FeedStart::Oldest),
            ActivityQuery {
                activity_type: Some(ActivityType::A2A_RECEIVE),
                ..query.clone()
            },
            ActivityQuery {
                source: Some(Source::Agent),
                ..query.clone()
            },
        ];
        for other in others {
            assert_eq!(known.until(workspace, &other), None, "{other:?}");
        }
        assert_eq!(known.until(WorkspaceId::generate(), &query), None);
    }

    #[test]
    fn nothing_is_noted_of_what_moves_goes_back_passes_nothing_over_or_is_short() {
        let (known, workspace) = (PassedOver::default(), WorkspaceId::generate());
        let queries = [
            ActivityQuery::from_start(FeedStart::Oldest),
            filtering(FeedStart::Newest),
            ActivityQuery {
                created_since: Some(Timestamp::from_micros(0)),
                ..filtering(FeedStart::Oldest)
            },
        ];
        for query in queries {
            known.note(workspace, &query, Seq(0), Seq(9000));
            assert_eq!(known.until(workspace, &query), None, "{query:?}");
        }
        let query = filtering(FeedStart::Oldest);
        known.note(workspace, &query, Seq(0), Seq(SHORTEST - 1));
        assert_eq!(known.until(workspace, &query), None);
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let known = PassedOver::default();
        let query = filtering(FeedStart::Oldest);
        let mut last = WorkspaceId::generate();
        for _ in 0..=MOST {
            last = WorkspaceId::generate();
            known.note(last, &query, Seq(0), Seq(9000));
        }
        assert_eq!(known.stretches().len(), 1);
        assert_eq!(known.until(last, &query), Some(Seq(9000)));
    }
}
