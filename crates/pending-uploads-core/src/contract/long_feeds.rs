//! Feeds that are long, of which a reader wants little: invariant 2 (no lost announcement), however
//! a backend finds it.

use std::time::Duration;

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{ActivityQuery, ActivityType, FeedStart, Source, WorkspaceId};

const QUIET_ROWS: i64 = 600;

/// Rows that no inbox asks for; answers a cursor before them.
async fn a_quiet_stretch(subject: &Subject, workspace: WorkspaceId) -> FeedStart {
    let cursor = subject.cursor(workspace).await;
    for _ in 0..QUIET_ROWS {
        let row = remark(workspace);
        subject.activity.append(workspace, row).await.unwrap();
    }
    FeedStart::After(cursor)
}

/// `ActivityLog::list`: a row that matches is seen, however often the rows before it, none of which
/// does, were asked for in vain; with every filter, from a cursor and from the oldest on.
pub async fn a_row_behind_a_quiet_stretch_is_seen(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let start = a_quiet_stretch(&subject, workspace).await;
    let of_a_type = ActivityQuery {
        activity_type: Some(ActivityType::CHAT_UPLOAD_EXPIRED),
        ..ActivityQuery::from_start(start)
    };
    let queries = [
        of_a_type.clone(),
        ActivityQuery {
            start: FeedStart::Oldest,
            ..of_a_type.clone()
        },
        ActivityQuery {
            source: Some(Source::Canvas),
            ..of_a_type
        },
    ];
    for query in &queries {
        for _ in 0..2 {
            let rows = subject.activity.list(workspace, query).await.unwrap();
            assert_eq!(rows, [], "{query:?}");
        }
    }
    subject.publish(workspace, b"nobody comes for it").await;
    subject.clock.advance(subject.ttl);
    subject.sweep().await;
    for query in &queries {
        let rows = subject.activity.list(workspace, query).await.unwrap();
        assert_eq!(seqs(&rows), [QUIET_ROWS + 3], "{query:?}");
    }
}

/// `ActivityQuery::created_since` and `created_before`: the rows between two times are found, also
/// when they are few among many, and when there are none.
pub async fn the_rows_of_an_hour_are_found(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let began = subject.now();
    for number in 0..300 {
        subject.clock.advance(Duration::from_mins(20));
        let row = message(workspace, number);
        subject.activity.append(workspace, row).await.unwrap();
    }
    let at = |hour: u64| began.saturating_add(Duration::from_hours(hour));
    for start in [FeedStart::Oldest, FeedStart::Newest] {
        for (since, before, expected) in [
            (40, 41, vec![120, 121, 122]),
            (0, 1, vec![1, 2]),
            (99, 101, vec![297, 298, 299, 300]),
            (101, 200, vec![]),
        ] {
            let query = ActivityQuery {
                created_since: Some(at(since)),
                created_before: Some(at(before)),
                ..ActivityQuery::from_start(start)
            };
            let rows = subject.activity.list(workspace, &query).await.unwrap();
            let mut found = seqs(&rows);
            found.sort_unstable();
            assert_eq!(found, expected, "{query:?}");
        }
    }
    let query = ActivityQuery {
        created_since: Some(at(99)),
        ..newest()
    };
    let rows = subject.activity.list(workspace, &query).await.unwrap();
    assert_eq!(seqs(&rows), [300, 299, 298, 297]);
}
