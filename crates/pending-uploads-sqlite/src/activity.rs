//! The feed: numbered by the one writer, read by cursor, waited for without a connection.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pending_uploads_core::{
    Activity, ActivityId, ActivityLog, ActivityQuery, ActivityStatus, ActivityType, Clock,
    FeedStart, FeedText, NewActivity, PageSize, PassedOver, PruneMark, PrunePass, PruneStep,
    Result, Seq, Source, Timestamp, WorkspaceId,
};
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use uuid::Uuid;

use crate::bundle::Writing;
use crate::database::Database;
use crate::error::SqliteError;
use crate::feed_rows;
use crate::rows::{Id, Json, Time};
use crate::writer::Promise;

const CURSOR: &str = "SELECT seq FROM activity WHERE id = ?1 AND workspace_id = ?2";

/// The conditions of a query; a filter that is null lets every row pass. One bound on each side: of
/// two, the index would be searched for the first and not for the nearer one.
macro_rules! rows_where {
    ($order:literal) => {
        concat!(
            "SELECT * FROM activity WHERE workspace_id = :workspace_id \
                 AND (:activity_type IS NULL OR activity_type = :activity_type) \
                 AND (:from_canvas IS NULL OR (source_id IS NULL) = :from_canvas) \
                 AND (:created_since IS NULL OR created_at >= :created_since) \
                 AND (:created_before IS NULL OR created_at < :created_before) \
                 AND seq >= :first AND seq < :end ORDER BY seq ",
            $order,
            " LIMIT :limit"
        )
    };
}
const FORWARD: &str = rows_where!("ASC");
const BACKWARD: &str = rows_where!("DESC");

/// The numbers of a feed's oldest and newest rows.
const ENDS: &str = "SELECT (SELECT min(seq) FROM activity WHERE workspace_id = ?1), last_seq \
     FROM feed_counters WHERE workspace_id = ?1";
/// Whether the first row from a number on is from a time or later.
const IS_LATE: &str = "SELECT created_at >= ?3 FROM activity WHERE workspace_id = ?1 AND seq >= ?2 \
     ORDER BY seq LIMIT 1";

/// By how much the times of a feed's rows may be out of order, because a clock was set. A row that
/// is further out may be missing from a page that is bounded by time.
const DISORDER: Duration = Duration::from_hours(1);

/// One step of a pass over old rows, from where the one before ended. The newest row of each feed
/// stays, so that a quiet workspace keeps its cursor; a pass goes over such rows once.
const OLD_ROWS: &str = "SELECT row.id, row.created_at, row.seq, EXISTS ( \
         SELECT 1 FROM feed_counters AS counter WHERE counter.workspace_id = row.workspace_id \
             AND counter.last_seq <= row.seq) AS newest \
     FROM activity AS row WHERE row.created_at < ?1 AND (row.created_at, row.id) > (?2, ?3) \
     ORDER BY row.created_at, row.id LIMIT 1000";
/// Rows go from the beginning of a feed only: where a clock was set back, younger ones lie before
/// older ones, and no cursor may lead past rows that are gone.
const DELETE_ROW: &str = "DELETE FROM activity WHERE id = ?1 AND NOT EXISTS ( \
         SELECT 1 FROM activity AS earlier \
         WHERE earlier.workspace_id = activity.workspace_id AND earlier.seq < activity.seq)";

/// No row is from before this.
const BEFORE_ALL: Timestamp = Timestamp::from_micros(i64::MIN);

/// [`ActivityLog`] on SQLite. Clones share everything.
#[derive(Debug, Clone)]
pub struct SqliteActivityLog {
    database: Database,
    clock: Arc<dyn Clock>,
    pruning: PrunePass,
    passed_over: PassedOver,
}

impl SqliteActivityLog {
    /// The feeds in `database`.
    pub fn new(database: &Database, clock: Arc<dyn Clock>) -> Self {
        Self {
            database: database.clone(),
            clock,
            pruning: PrunePass::default(),
            passed_over: PassedOver::default(),
        }
    }
}

#[async_trait]
impl ActivityLog for SqliteActivityLog {
    async fn append(&self, workspace: WorkspaceId, activity: NewActivity) -> Result<Activity> {
        let created_at = self.clock.now();
        let content = Arc::new(activity);
        let appended = Arc::clone(&content);
        let work = move |writing: &Writing<'_>| {
            feed_rows::append(writing.connection(), workspace, &appended, created_at)
        };
        let writer = self.database.writer();
        let place = writer.place_for_rows(content.body_bytes()).await?;
        let written = self.database.write_to_feed(place, workspace, work);
        let (id, seq) = written.await?;
        Ok(Activity {
            id,
            workspace_id: workspace,
            seq,
            created_at,
            content: Arc::unwrap_or_clone(content),
        })
    }

    async fn list(&self, workspace: WorkspaceId, query: &ActivityQuery) -> Result<Vec<Activity>> {
        let (query, passed_over) = (query.clone(), self.passed_over.clone());
        let work = move |connection: &Connection| list(connection, workspace, &query, &passed_over);
        Ok(self.database.readers().read(work).await?)
    }

    async fn wait(
        &self,
        workspace: WorkspaceId,
        query: &ActivityQuery,
        patience: Duration,
    ) -> Result<Vec<Activity>> {
        let signals = self.database.signals();
        signals
            .wait_for_rows(self, workspace, query, patience)
            .await
    }

    async fn prune(&self, horizon: Timestamp) -> Result<u64> {
        let step = async |mark| {
            let work = move |connection: &Connection| prune_step(connection, horizon, mark);
            self.database.writer().write(Promise::Durable, work).await
        };
        Ok(self.pruning.advance(step).await?)
    }
}

/// None when the pass is at its end.
fn prune_step(
    connection: &Connection,
    horizon: Timestamp,
    after: Option<PruneMark>,
) -> Result<Option<PruneStep>, SqliteError> {
    let mut select = connection.prepare_cached(OLD_ROWS)?;
    let (created_at, id) = after.map_or((BEFORE_ALL, Uuid::nil()), |mark| {
        (mark.created_at, mark.id.as_uuid())
    });
    let mut old = select.query(params![Time(horizon), Time(created_at), Id(id)])?;
    let mut doomed = Vec::new();
    let mut last = None;
    while let Some(row) = old.next()? {
        let id: Id = row.get("id")?;
        last = Some(PruneMark {
            created_at: row.get::<_, Time>("created_at")?.0,
            id: ActivityId::from_uuid(id.0),
        });
        if !row.get::<_, bool>("newest")? {
            doomed.push((row.get::<_, i64>("seq")?, id));
        }
    }
    // Of each feed the first one first.
    doomed.sort_unstable_by_key(|(seq, _)| *seq);
    let mut deleted = 0;
    for (_, id) in &doomed {
        deleted += connection.prepare_cached(DELETE_ROW)?.execute([id])? as u64;
    }
    Ok(last.map(|mark| PruneStep { deleted, mark }))
}

fn list(
    connection: &Connection,
    workspace: WorkspaceId,
    query: &ActivityQuery,
    passed_over: &PassedOver,
) -> Result<Vec<Activity>, SqliteError> {
    let (sql, cursor) = match query.start {
        // The numbers begin with 1.
        FeedStart::Newest => (BACKWARD, 0),
        FeedStart::Oldest => (FORWARD, 0),
        FeedStart::After(cursor) => (FORWARD, seq_of(connection, workspace, cursor)?),
    };
    let Some(ends) = ends(connection, workspace)? else {
        return Ok(Vec::new());
    };
    // When a feed has fewer rows than were passed over, it is another feed.
    let passed = passed_over
        .until(workspace, query)
        .filter(|passed| passed.0 <= ends.newest)
        .map_or(0, |passed| passed.0);
    let bounds = bounds(connection, workspace, query, &ends)?;
    let mut select = connection.prepare_cached(sql)?;
    let mut found = select.query(named_params! {
        ":workspace_id": Id(workspace.as_uuid()),
        ":activity_type": query.activity_type.as_ref().map(ActivityType::as_str),
        ":from_canvas": query.source.map(|source| source == Source::Canvas),
        ":created_since": query.created_since.map(Time),
        ":created_before": query.created_before.map(Time),
        ":first": bounds.start.max(cursor.max(passed) + 1),
        ":end": bounds.end,
        ":limit": query.limit.get(),
    })?;
    let mut activities = Vec::new();
    let mut body_bytes = 0;
    while body_bytes < PageSize::MAX_BODY_BYTES as usize
        && let Some(row) = found.next()?
    {
        body_bytes += text_bytes(row, "request_body")? + text_bytes(row, "response_body")?;
        activities.push(activity(row)?);
    }
    if activities.is_empty() {
        passed_over.note(workspace, query, Seq(cursor), Seq(ends.newest));
    }
    Ok(activities)
}

/// Where a feed begins and ends.
struct Ends {
    oldest: i64,
    newest: i64,
}

/// None for an unknown workspace.
fn ends(connection: &Connection, workspace: WorkspaceId) -> Result<Option<Ends>, SqliteError> {
    let ends = connection
        .prepare_cached(ENDS)?
        .query_row([Id(workspace.as_uuid())], |row| {
            Ok(Ends {
                oldest: row.get::<_, Option<i64>>(0)?.unwrap_or(1),
                newest: row.get(1)?,
            })
        })
        .optional()?;
    Ok(ends)
}

/// The numbers of a stretch of a feed.
struct Bounds {
    start: i64,
    /// The first one behind it.
    end: i64,
}

/// A stretch that has every row that the query's times let pass, and of others only those of an hour
/// or so.
fn bounds(
    connection: &Connection,
    workspace: WorkspaceId,
    query: &ActivityQuery,
    ends: &Ends,
) -> Result<Bounds, SqliteError> {
    let seek = |time| seek(connection, workspace, ends, time);
    let since = query.created_since.map(|at| at.saturating_sub(DISORDER));
    let before = query.created_before.map(|at| at.saturating_add(DISORDER));
    Ok(Bounds {
        start: since.map_or(Ok(0), seek)?,
        end: before.map_or(Ok(i64::MAX), seek)?,
    })
}

/// Finds where the rows begin to be from `time` or later, by halving: a number such that the row of
/// it is, and the row before it is not; the one behind the newest when no row is. The times of a
/// feed's rows are almost in order, and an index of them would be paid for by every publish.
fn seek(
    connection: &Connection,
    workspace: WorkspaceId,
    ends: &Ends,
    time: Timestamp,
) -> Result<i64, SqliteError> {
    let mut is_late = connection.prepare_cached(IS_LATE)?;
    let (mut low, mut high) = (ends.oldest - 1, ends.newest + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let late = is_late
            .query_row(
                params![Id(workspace.as_uuid()), middle, Time(time)],
                |row| row.get(0),
            )
            .optional()?;
        if late.unwrap_or(true) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

/// The length of a text that may be absent, in bytes.
fn text_bytes(row: &Row<'_>, name: &str) -> Result<usize, SqliteError> {
    Ok(row
        .get_ref(name)?
        .as_str_or_null()
        .map_err(rusqlite::Error::from)?
        .map_or(0, str::len))
}

fn seq_of(
    connection: &Connection,
    workspace: WorkspaceId,
    cursor: ActivityId,
) -> Result<i64, SqliteError> {
    connection
        .prepare_cached(CURSOR)?
        .query_row(
            params![Id(cursor.as_uuid()), Id(workspace.as_uuid())],
            |row| row.get(0),
        )
        .optional()?
        .ok_or(SqliteError::CursorGone)
}

/// Reads a row of `activity`.
pub(crate) fn activity(row: &Row<'_>) -> Result<Activity, SqliteError> {
    Ok(Activity {
        id: ActivityId::from_uuid(row.get::<_, Id>("id")?.0),
        workspace_id: WorkspaceId::from_uuid(row.get::<_, Id>("workspace_id")?.0),
        seq: Seq(row.get("seq")?),
        created_at: row.get::<_, Time>("created_at")?.0,
        content: content(row)?,
    })
}

fn content(row: &Row<'_>) -> Result<NewActivity, SqliteError> {
    let activity_type: ActivityType = word::<String>(row, "activity_type")?
        .parse()
        .map_err(|_| SqliteError::Damaged("an activity type is none"))?;
    let status: ActivityStatus = word::<String>(row, "status")?
        .parse()
        .map_err(|_| SqliteError::Damaged("an activity status is none"))?;
    let workspace = |name| -> Result<Option<WorkspaceId>, SqliteError> {
        Ok(word::<Option<Id>>(row, name)?.map(|id| WorkspaceId::from_uuid(id.0)))
    };
    let text = |name| -> Result<Option<FeedText>, SqliteError> {
        Ok(word::<Option<String>>(row, name)?.map(|text| FeedText::clean(&text)))
    };
    let json = |name| -> Result<_, SqliteError> {
        Ok(word::<Option<Json>>(row, name)?.map(|json| json.0))
    };
    Ok(NewActivity {
        activity_type,
        source_id: workspace("source_id")?,
        target_id: workspace("target_id")?,
        method: text("method")?,
        summary: text("summary")?,
        request_body: json("request_body")?,
        response_body: json("response_body")?,
        duration_ms: word(row, "duration_ms")?,
        status,
        error_detail: text("error_detail")?,
    })
}

fn word<T: FromSql>(row: &Row<'_>, name: &str) -> Result<T, SqliteError> {
    Ok(row.get(name)?)
}
