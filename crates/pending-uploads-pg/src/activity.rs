//! The feed: appended to, read by cursor, waited for without a connection.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pending_uploads_core::{
    Activity, ActivityId, ActivityLog, ActivityQuery, ActivityStatus, ActivityType, Clock, Error,
    FeedStart, FeedText, NewActivity, PageSize, PruneMark, PrunePass, PruneStep, Result, Seq,
    Source, Timestamp, WorkspaceId,
};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::database::Database;
use crate::error::PgError;
use crate::feed_rows::{self, FeedRows};
use crate::rows::{self, EARLIEST, stored_time};

/// The columns that [`activity`] reads.
macro_rules! activity_columns {
    () => {
        "row.id, row.workspace_id, row.seq, row.activity_type, row.source_id, row.target_id, \
         row.method, row.summary, row.request_body, row.response_body, row.duration_ms, \
         row.status, row.error_detail, row.created_at"
    };
}
pub(crate) use activity_columns;

/// The conditions of a query: $1 is the workspace, $2 to $5 the filters, each null for none; $8 and
/// $9 are the numbers between which all rows are that the times in $4 and $5 let pass.
macro_rules! matching_rows {
    () => {
        "row.workspace_id = $1 AND row.seq >= $8 AND row.seq < $9 \
         AND ($2::text IS NULL OR row.activity_type = $2) \
         AND ($3::bool IS NULL OR (row.source_id IS NULL) = $3) \
         AND ($4::timestamptz IS NULL OR row.created_at >= $4) \
         AND ($5::timestamptz IS NULL OR row.created_at < $5)"
    };
}

/// What is wanted of a page of rows: those before which its bodies were not too many bytes yet, so
/// that it has one row at least. Their lengths are told without reading them.
macro_rules! bounded_page {
    ($condition:literal, $order:literal) => {
        concat!(
            "(SELECT * FROM (SELECT page.*, sum(coalesce(pg_column_size(request_body), 0) \
                 + coalesce(pg_column_size(response_body), 0)) \
                 OVER (ORDER BY seq ",
            $order,
            " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before \
             FROM (SELECT * FROM activity AS row WHERE ",
            matching_rows!(),
            $condition,
            " ORDER BY row.seq ",
            $order,
            " LIMIT $6) AS page) AS sized WHERE coalesce(bytes_before, 0) < $7)"
        )
    };
}

/// The page after the row `start`, of which `seq`, `from` and `head` are known. What a reader with
/// the same cursor has passed over, up to the row `$passed`, is not read again: when a feed has
/// fewer rows than that, it is another feed.
macro_rules! page_after {
    ($start:literal, $passed:literal) => {
        concat!(
            "SELECT ",
            activity_columns!(),
            ", start.seq AS start, start.head FROM (SELECT seq, head, CASE WHEN ",
            $passed,
            " BETWEEN seq AND head THEN ",
            $passed,
            " ELSE seq END AS passed FROM (SELECT ",
            $start,
            ") AS named CROSS JOIN \
             (SELECT last_seq AS head FROM feed_counters WHERE workspace_id = $1) AS feed) AS start \
             LEFT JOIN LATERAL ",
            bounded_page!(" AND row.seq > start.passed", "ASC"),
            " AS row ON true ORDER BY row.seq"
        )
    };
}

/// No row at all when the cursor names none of this feed; one of nulls when nothing is after it.
const AFTER: &str = page_after!(
    "seq FROM activity WHERE id = $11 AND workspace_id = $1",
    "$10::int8"
);
/// No row at all when there is no such workspace. The numbers begin with 1.
const OLDEST: &str = page_after!("0::int8 AS seq", "$10::int8");
const NEWEST: &str = concat!(
    "SELECT ",
    activity_columns!(),
    " FROM ",
    bounded_page!("", "DESC"),
    " AS row ORDER BY row.seq DESC"
);

/// Finds where in the feed of $1 the rows begin to be from $2 or later, by halving: a number such
/// that the row of it is, and the row before it is not; the one behind the newest when no row is.
/// The times of a feed's rows are almost in order, and an index of them would be paid for by every
/// publish.
const SEEK: &str = "WITH RECURSIVE search AS ( \
         SELECT coalesce((SELECT min(seq) FROM activity WHERE workspace_id = $1), 1) - 1 AS low, \
             last_seq + 1 AS high, last_seq FROM feed_counters WHERE workspace_id = $1 \
         UNION ALL \
         SELECT CASE WHEN late THEN low ELSE middle END, \
             CASE WHEN late THEN middle ELSE high END, last_seq \
         FROM (SELECT low, high, (low + high) / 2 AS middle, last_seq FROM search \
             WHERE high - low > 1) AS half \
         CROSS JOIN LATERAL (SELECT coalesce((SELECT created_at >= $2 FROM activity \
             WHERE workspace_id = $1 AND seq >= middle ORDER BY seq LIMIT 1), true) AS late) AS probe \
     ) \
     SELECT min(high) AS seq, max(last_seq) AS head FROM search";

/// One step of a pass over old rows, from where the one before ended. The newest row of each feed
/// stays, so that a quiet workspace keeps its cursor; a pass goes over such rows once. A row never
/// changes, and so is where it was found.
///
/// Rows go from the beginning of a feed only: where a clock was set back, younger ones lie before
/// older ones, and no cursor may lead past rows that are gone. The numbers of a feed have no gap, so
/// a row may go when as many of its feed are in the step before it as there are.
const PRUNE: &str = "WITH step AS ( \
         SELECT old.*, row_number() OVER (PARTITION BY workspace_id ORDER BY seq) AS nth FROM ( \
             SELECT ctid AS place, id, workspace_id, seq, created_at FROM activity \
             WHERE created_at < $1 AND (created_at, id) > ($2, $3) \
             ORDER BY created_at, id LIMIT 2000) AS old \
     ), gone AS ( \
         DELETE FROM activity USING step WHERE activity.ctid = step.place AND step.seq - step.nth < ( \
             SELECT first.seq FROM activity AS first \
             WHERE first.workspace_id = step.workspace_id ORDER BY first.seq LIMIT 1) \
         AND coalesce(( \
             SELECT counter.last_seq > step.seq FROM feed_counters AS counter \
             WHERE counter.workspace_id = step.workspace_id), true) \
         RETURNING activity.id \
     ) \
     SELECT created_at, id, (SELECT count(*) FROM gone) AS deleted FROM step \
     ORDER BY created_at DESC, id DESC LIMIT 1";

/// [`ActivityLog`] on PostgreSQL. Clones share everything.
#[derive(Debug, Clone)]
pub struct PgActivityLog {
    database: Database,
    clock: Arc<dyn Clock>,
    pruning: PrunePass,
}

impl PgActivityLog {
    /// The feeds in `database`.
    pub fn new(database: &Database, clock: Arc<dyn Clock>) -> Self {
        Self {
            database: database.clone(),
            clock,
            pruning: PrunePass::default(),
        }
    }
}

#[async_trait]
impl ActivityLog for PgActivityLog {
    async fn append(&self, workspace: WorkspaceId, activity: NewActivity) -> Result<Activity> {
        let (database, created_at) = (self.database.clone(), self.clock.now());
        let id = ActivityId::generate();
        let content = activity.clone();
        let work = async move { append(&database, workspace, id, content, created_at).await };
        let seq = self.database.run(work).await?;
        Ok(Activity {
            id,
            workspace_id: workspace,
            seq,
            created_at,
            content: activity,
        })
    }

    async fn list(&self, workspace: WorkspaceId, query: &ActivityQuery) -> Result<Vec<Activity>> {
        let filters = Filters::of(query);
        let limit = i64::from(query.limit.get());
        let max_body_bytes = i64::from(PageSize::MAX_BODY_BYTES);
        let bounds = self.bounds(workspace, query).await?;
        let id = workspace.as_uuid();
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![
            &id,
            &filters.activity_type,
            &filters.from_canvas,
            &filters.created_since,
            &filters.created_before,
            &limit,
            &max_body_bytes,
            &bounds.start,
            &bounds.end,
        ];
        let passed = self
            .database
            .passed_over()
            .until(workspace, query)
            .map_or(0, |seq| seq.0);
        let cursor;
        let rows = match query.start {
            FeedStart::Newest => self.database.query(NEWEST, &params).await?,
            FeedStart::Oldest => {
                params.push(&passed);
                self.database.query(OLDEST, &params).await?
            }
            FeedStart::After(after) => {
                cursor = after.as_uuid();
                params.extend([&passed as &(dyn ToSql + Sync), &cursor]);
                let rows = self.database.query(AFTER, &params).await?;
                if rows.is_empty() {
                    return Err(Error::CursorGone);
                }
                rows
            }
        };
        let page = rows
            .iter()
            .filter_map(|row| activity(row).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        if let (FeedStart::Oldest | FeedStart::After(_), [], [row]) =
            (query.start, page.as_slice(), rows.as_slice())
        {
            let seq = |name| rows::column(row, name).map(Seq);
            self.database
                .passed_over()
                .note(workspace, query, seq("start")?, seq("head")?);
        }
        Ok(page)
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
        let step = |mark| prune_step(&self.database, horizon, mark);
        Ok(self.pruning.advance(step).await?)
    }
}

/// By how much the times of a feed's rows may be out of order: the difference of two instances'
/// clocks, and what a publish waits for its feed. A row that is further out may be missing from a
/// page that is bounded by time.
const DISORDER: Duration = Duration::from_hours(1);

/// The numbers of a stretch of a feed.
struct Bounds {
    start: i64,
    /// The first one behind it.
    end: i64,
}

impl PgActivityLog {
    /// A stretch that has every row that the query's times let pass, and of others only those of an
    /// hour or so.
    async fn bounds(&self, workspace: WorkspaceId, query: &ActivityQuery) -> Result<Bounds> {
        let since = query.created_since.map(|at| at.saturating_sub(DISORDER));
        let before = query.created_before.map(|at| at.saturating_add(DISORDER));
        let start = match since {
            Some(since) => self.seek(workspace, since).await?.seq,
            None => 0,
        };
        let end = match before {
            Some(before) => self.seek(workspace, before).await?.seq_if_any(),
            None => i64::MAX,
        };
        Ok(Bounds { start, end })
    }

    /// Where the rows from `time` on begin.
    async fn seek(&self, workspace: WorkspaceId, time: Timestamp) -> Result<Found, PgError> {
        let params: [&(dyn ToSql + Sync); 2] = [&workspace.as_uuid(), &stored_time(time)];
        let rows = self.database.query(SEEK, &params).await?;
        let row = rows.first().ok_or(PgError::Damaged("no numbers"))?;
        let (seq, head): (Option<i64>, Option<i64>) =
            (rows::column(row, "seq")?, rows::column(row, "head")?);
        // An unknown workspace has neither.
        Ok(Found {
            seq: seq.unwrap_or(0),
            head: head.unwrap_or(0),
        })
    }
}

/// The first row from a time on.
struct Found {
    /// The next number that the feed will have when there is none.
    seq: i64,
    /// The newest row's number.
    head: i64,
}

impl Found {
    /// Its number; when there is none, one that no row has.
    fn seq_if_any(&self) -> i64 {
        if self.seq > self.head {
            i64::MAX
        } else {
            self.seq
        }
    }
}

async fn prune_step(
    database: &Database,
    horizon: Timestamp,
    after: Option<PruneMark>,
) -> Result<Option<PruneStep>, PgError> {
    let (created_at, id) = after.map_or((EARLIEST, Uuid::nil()), |mark| {
        (mark.created_at, mark.id.as_uuid())
    });
    let (horizon, created_at) = (stored_time(horizon), stored_time(created_at));
    let rows = database.query(PRUNE, &[&horizon, &created_at, &id]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(PruneStep {
        deleted: rows::byte_count(row, "deleted")?,
        mark: PruneMark {
            created_at: rows::time(row, "created_at")?,
            id: ActivityId::from_uuid(rows::uuid(row, "id")?),
        },
    }))
}

/// One statement, and so a transaction of its own.
async fn append(
    database: &Database,
    workspace: WorkspaceId,
    id: ActivityId,
    content: NewActivity,
    created_at: Timestamp,
) -> Result<Seq, PgError> {
    let mut rows = FeedRows::default();
    rows.push(id, content);
    let (client, _at_a_feed) = database.client_for_a_feed().await?;
    let append = client.prepare_cached(feed_rows::APPEND).await?;
    let seqs = feed_rows::known(
        rows.append(&**client, &append, workspace, created_at)
            .await?,
    )?;
    // Here, so that readers are woken even when the caller has gone away.
    database.announce(workspace);
    seqs.first().copied().ok_or(PgError::UnknownWorkspace)
}

/// The filters of a query, as the statements take them.
struct Filters {
    activity_type: Option<String>,
    from_canvas: Option<bool>,
    created_since: Option<SystemTime>,
    created_before: Option<SystemTime>,
}

impl Filters {
    fn of(query: &ActivityQuery) -> Self {
        Self {
            activity_type: query
                .activity_type
                .as_ref()
                .map(|kind| kind.as_str().to_owned()),
            from_canvas: query.source.map(|source| source == Source::Canvas),
            created_since: query.created_since.map(stored_time),
            created_before: query.created_before.map(stored_time),
        }
    }
}

/// Reads a row; none when it is the one of nulls that stands for a cursor with nothing after it.
fn activity(row: &Row) -> Result<Option<Activity>, PgError> {
    match rows::column::<Option<Uuid>>(row, "id")? {
        Some(_) => stored_activity(row).map(Some),
        None => Ok(None),
    }
}

/// Reads a row of `activity`.
pub(crate) fn stored_activity(row: &Row) -> Result<Activity, PgError> {
    Ok(Activity {
        id: ActivityId::from_uuid(rows::uuid(row, "id")?),
        workspace_id: WorkspaceId::from_uuid(rows::uuid(row, "workspace_id")?),
        seq: Seq(rows::column(row, "seq")?),
        created_at: rows::time(row, "created_at")?,
        content: content(row)?,
    })
}

fn content(row: &Row) -> Result<NewActivity, PgError> {
    let workspace = |name| -> Result<Option<WorkspaceId>, PgError> {
        Ok(rows::column::<Option<Uuid>>(row, name)?.map(WorkspaceId::from_uuid))
    };
    let text = |name| -> Result<Option<FeedText>, PgError> {
        Ok(rows::column::<Option<&str>>(row, name)?.map(FeedText::clean))
    };
    let word = |name| rows::column::<&str>(row, name);
    Ok(NewActivity {
        activity_type: word("activity_type")?
            .parse::<ActivityType>()
            .map_err(|_| PgError::Damaged("an activity type is none"))?,
        source_id: workspace("source_id")?,
        target_id: workspace("target_id")?,
        method: text("method")?,
        summary: text("summary")?,
        request_body: rows::column(row, "request_body")?,
        response_body: rows::column(row, "response_body")?,
        duration_ms: rows::column(row, "duration_ms")?,
        status: word("status")?
            .parse::<ActivityStatus>()
            .map_err(|_| PgError::Damaged("an activity status is none"))?,
        error_detail: text("error_detail")?,
    })
}
