//! The feed: appended through the one statement, read by cursor, waited for without a connection.

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
use crate::rows;

/// The columns that [`activity`] reads.
macro_rules! activity_columns {
    () => {
        "row.id, row.workspace_id, row.seq, row.activity_type, row.source_id, row.target_id, \
         row.method, row.summary, row.request_body, row.response_body, row.duration_ms, \
         row.status, row.error_detail, row.created_at"
    };
}
pub(crate) use activity_columns;

/// The conditions of a query: $1 is the workspace, $2 to $5 the filters, each null for none.
macro_rules! matching_rows {
    () => {
        "row.workspace_id = $1 AND ($2::text IS NULL OR row.activity_type = $2) \
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

/// No row at all when the cursor names none of this feed; one of nulls when nothing is after it.
const AFTER: &str = concat!(
    "SELECT ",
    activity_columns!(),
    " FROM (SELECT seq FROM activity WHERE id = $8 AND workspace_id = $1) AS cursor \
     LEFT JOIN LATERAL ",
    bounded_page!(" AND row.seq > cursor.seq", "ASC"),
    " AS row ON true ORDER BY row.seq"
);
const OLDEST: &str = concat!(
    "SELECT ",
    activity_columns!(),
    " FROM ",
    bounded_page!("", "ASC"),
    " AS row ORDER BY row.seq"
);
const NEWEST: &str = concat!(
    "SELECT ",
    activity_columns!(),
    " FROM ",
    bounded_page!("", "DESC"),
    " AS row ORDER BY row.seq DESC"
);

/// One step of a pass over old rows, from where the one before ended. The newest row of each feed
/// stays, so that a quiet workspace keeps its cursor; a pass goes over such rows once.
const PRUNE: &str = "WITH step AS ( \
         SELECT id, workspace_id, seq, created_at FROM activity \
         WHERE created_at < $1 AND (created_at, id) > ($2, $3) \
         ORDER BY created_at, id LIMIT 2000 \
     ), gone AS ( \
         DELETE FROM activity USING step WHERE activity.id = step.id AND NOT EXISTS ( \
             SELECT FROM feed_counters AS counter WHERE counter.workspace_id = step.workspace_id \
                 AND counter.last_seq <= step.seq) \
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
        let workspace = workspace.as_uuid();
        let shared = [
            &workspace as &(dyn ToSql + Sync),
            &filters.activity_type,
            &filters.from_canvas,
            &filters.created_since,
            &filters.created_before,
            &limit,
            &max_body_bytes,
        ];
        let rows = match query.start {
            FeedStart::Newest => self.database.query(NEWEST, &shared).await?,
            FeedStart::Oldest => self.database.query(OLDEST, &shared).await?,
            FeedStart::After(cursor) => {
                let cursor = cursor.as_uuid();
                let mut params = shared.to_vec();
                params.push(&cursor);
                let rows = self.database.query(AFTER, &params).await?;
                if rows.is_empty() {
                    return Err(Error::CursorGone);
                }
                rows
            }
        };
        Ok(rows
            .iter()
            .filter_map(|row| activity(row).transpose())
            .collect::<Result<_, _>>()?)
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

/// The first day of the year 1: the store knows no earlier times than 4713 BC, and no row is from
/// before either.
const EARLIEST: Timestamp = Timestamp::from_micros(-62_135_596_800_000_000);

async fn prune_step(
    database: &Database,
    horizon: Timestamp,
    after: Option<PruneMark>,
) -> Result<Option<PruneStep>, PgError> {
    let (created_at, id) = after.map_or((EARLIEST, Uuid::nil()), |mark| {
        (mark.created_at, mark.id.as_uuid())
    });
    let (horizon, created_at) = (SystemTime::from(horizon), SystemTime::from(created_at));
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
    let client = database.client().await?;
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

/// A time that the store can compare with; one from before all rows is as good as another.
fn stored_time(time: Timestamp) -> SystemTime {
    time.max(EARLIEST).into()
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
