//! The rows of every feed, numbered without a gap.

use std::collections::{HashMap, VecDeque};

use crate::{
    Activity, ActivityId, ActivityQuery, Error, FeedStart, NewActivity, PageSize, Result, Seq,
    Source, Timestamp, WorkspaceId,
};

#[derive(Default)]
pub(super) struct Feeds(HashMap<WorkspaceId, Feed>);

#[derive(Default)]
struct Feed {
    /// The number of the row that was appended last; it goes on counting when rows are pruned.
    last: i64,
    /// What is left of the feed, oldest first.
    rows: VecDeque<Activity>,
}

impl Feeds {
    /// Appends a row. The caller has checked that the workspace exists.
    pub(super) fn append(
        &mut self,
        workspace_id: WorkspaceId,
        content: NewActivity,
        created_at: Timestamp,
    ) -> Activity {
        let feed = self.0.entry(workspace_id).or_default();
        feed.last += 1;
        let row = Activity {
            id: ActivityId::generate(),
            workspace_id,
            seq: Seq(feed.last),
            created_at,
            content,
        };
        feed.rows.push_back(row.clone());
        row
    }

    /// Lists what `query` asks for.
    pub(super) fn list(
        &self,
        workspace: WorkspaceId,
        query: &ActivityQuery,
    ) -> Result<Vec<Activity>> {
        let feed = self.0.get(&workspace);
        let limit = usize::try_from(query.limit.get()).unwrap_or(usize::MAX);
        match query.start {
            FeedStart::Newest => Ok(take(
                feed.iter().flat_map(|feed| feed.rows.iter().rev()),
                query,
                limit,
            )),
            FeedStart::Oldest => Ok(take(feed.iter().flat_map(|feed| &feed.rows), query, limit)),
            FeedStart::After(cursor) => {
                let feed = feed.ok_or(Error::CursorGone)?;
                let seen = feed
                    .rows
                    .iter()
                    .position(|row| row.id == cursor)
                    .ok_or(Error::CursorGone)?;
                Ok(take(feed.rows.iter().skip(seen + 1), query, limit))
            }
        }
    }

    /// Deletes at most `at_most` rows that were appended before `horizon`, from the beginning of each
    /// feed up to the first that stays, and never the newest; answers how many.
    pub(super) fn prune(&mut self, horizon: Timestamp, at_most: u64) -> u64 {
        let mut pruned = 0;
        for feed in self.0.values_mut() {
            let newest = Seq(feed.last);
            let goes = |row: &Activity| row.created_at < horizon && row.seq != newest;
            let old = feed.rows.iter().take_while(|row| goes(row)).count();
            let most = usize::try_from(at_most.saturating_sub(pruned)).unwrap_or(usize::MAX);
            let gone = feed.rows.drain(..old.min(most)).count();
            pruned += gone as u64;
        }
        pruned
    }
}

fn take<'a>(
    rows: impl Iterator<Item = &'a Activity>,
    query: &ActivityQuery,
    limit: usize,
) -> Vec<Activity> {
    let mut body_bytes = 0;
    rows.filter(|row| matches_query(row, query))
        .take(limit)
        .take_while(|row| {
            let fits = body_bytes < PageSize::MAX_BODY_BYTES as usize;
            body_bytes += row.content.body_bytes();
            fits
        })
        .cloned()
        .collect()
}

fn matches_query(row: &Activity, query: &ActivityQuery) -> bool {
    let type_fits = query
        .activity_type
        .as_ref()
        .is_none_or(|wanted| *wanted == row.content.activity_type);
    let source_fits = match query.source {
        None => true,
        Some(Source::Canvas) => row.content.source_id.is_none(),
        Some(Source::Agent) => row.content.source_id.is_some(),
    };
    type_fits
        && source_fits
        && query
            .created_since
            .is_none_or(|since| since <= row.created_at)
        && query
            .created_before
            .is_none_or(|before| row.created_at < before)
}
