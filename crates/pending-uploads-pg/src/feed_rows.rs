//! Appending to one feed: the statement through which every writer goes but a group of publishes,
//! which appends to many.

use std::time::SystemTime;

use pending_uploads_core::{Activity, ActivityId, NewActivity, Seq, Timestamp, WorkspaceId};
use serde_json::Value;
use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Statement};
use uuid::Uuid;

use crate::error::PgError;

/// Takes the numbers of all the rows from the workspace's counter, whose lock it keeps until the
/// transaction ends, and inserts the rows in order. No counter, no rows.
pub(crate) const APPEND: &str = "WITH counter AS ( \
         UPDATE feed_counters SET last_seq = last_seq + cardinality($2::uuid[]) \
         WHERE workspace_id = $1 RETURNING last_seq - cardinality($2::uuid[]) AS before \
     ) \
     INSERT INTO activity (workspace_id, seq, id, activity_type, source_id, target_id, method, \
         summary, request_body, response_body, duration_ms, status, error_detail, created_at) \
     SELECT $1, counter.before + fresh.ordinality, fresh.id, fresh.activity_type, \
         fresh.source_id, fresh.target_id, fresh.method, fresh.summary, fresh.request_body, \
         fresh.response_body, fresh.duration_ms, fresh.status, fresh.error_detail, $13 \
     FROM counter, unnest($2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], \
         $8::json[], $9::json[], $10::int8[], $11::text[], $12::text[]) WITH ORDINALITY \
         AS fresh (id, activity_type, source_id, target_id, method, summary, request_body, \
             response_body, duration_ms, status, error_detail, ordinality) \
     RETURNING seq";

/// Inserts rows that have their numbers and times, of a feed that is moved. The counters are left as
/// they are.
pub(crate) const RESTORE: &str = "INSERT INTO activity (workspace_id, seq, created_at, id, \
         activity_type, source_id, target_id, method, summary, request_body, response_body, \
         duration_ms, status, error_detail) \
     SELECT * FROM unnest($1::uuid[], $2::int8[], $3::timestamptz[], $4::uuid[], $5::text[], \
         $6::uuid[], $7::uuid[], $8::text[], $9::text[], $10::json[], $11::json[], $12::int8[], \
         $13::text[], $14::text[])";

/// Rows for one workspace's feed, laid out as the columns that [`APPEND`] takes.
#[derive(Debug, Default)]
pub(crate) struct FeedRows {
    ids: Vec<Uuid>,
    activity_types: Vec<String>,
    source_ids: Vec<Option<Uuid>>,
    target_ids: Vec<Option<Uuid>>,
    methods: Vec<Option<String>>,
    summaries: Vec<Option<String>>,
    request_bodies: Vec<Option<Value>>,
    response_bodies: Vec<Option<Value>>,
    durations_ms: Vec<Option<i64>>,
    statuses: Vec<&'static str>,
    error_details: Vec<Option<String>>,
}

impl FeedRows {
    /// Adds a row after the others.
    pub(crate) fn push(&mut self, id: ActivityId, row: NewActivity) {
        self.ids.push(id.as_uuid());
        self.activity_types
            .push(row.activity_type.as_str().to_owned());
        self.source_ids.push(row.source_id.map(|id| id.as_uuid()));
        self.target_ids.push(row.target_id.map(|id| id.as_uuid()));
        self.methods
            .push(row.method.map(|text| text.as_str().to_owned()));
        self.summaries
            .push(row.summary.map(|text| text.as_str().to_owned()));
        self.request_bodies.push(row.request_body);
        self.response_bodies.push(row.response_body);
        self.durations_ms.push(row.duration_ms);
        self.statuses.push(row.status.as_str());
        self.error_details
            .push(row.error_detail.map(|text| text.as_str().to_owned()));
    }

    /// Appends the rows and answers their numbers in order; nothing when the workspace is unknown.
    /// The caller commits soon after: it holds the counter's lock.
    pub(crate) async fn append(
        &self,
        client: &impl GenericClient,
        append: &Statement,
        workspace: WorkspaceId,
        created_at: Timestamp,
    ) -> Result<Vec<Seq>, tokio_postgres::Error> {
        let (workspace, created_at) = (workspace.as_uuid(), SystemTime::from(created_at));
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&workspace];
        params.extend(self.columns());
        params.push(&created_at);
        let rows = client.query(append, &params).await?;
        let mut seqs = rows
            .iter()
            .map(|row| row.try_get("seq").map(Seq))
            .collect::<Result<Vec<_>, _>>()?;
        seqs.sort_unstable();
        Ok(seqs)
    }

    /// The columns, in the order in which all statements have them.
    pub(crate) fn columns(&self) -> [&(dyn ToSql + Sync); 11] {
        [
            &self.ids,
            &self.activity_types,
            &self.source_ids,
            &self.target_ids,
            &self.methods,
            &self.summaries,
            &self.request_bodies,
            &self.response_bodies,
            &self.durations_ms,
            &self.statuses,
            &self.error_details,
        ]
    }
}

/// Inserts rows by [`RESTORE`], prepared.
pub(crate) async fn restore(
    client: &impl GenericClient,
    restore: &Statement,
    activities: Vec<Activity>,
) -> Result<(), tokio_postgres::Error> {
    let (mut workspaces, mut seqs, mut times) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows = FeedRows::default();
    for activity in activities {
        workspaces.push(activity.workspace_id.as_uuid());
        seqs.push(activity.seq.0);
        times.push(SystemTime::from(activity.created_at));
        rows.push(activity.id, activity.content);
    }
    let own: [&(dyn ToSql + Sync); 3] = [&workspaces, &seqs, &times];
    client
        .execute(restore, &[own.as_slice(), &rows.columns()].concat())
        .await?;
    Ok(())
}

/// The numbers, when there are any: a feed that nobody has is an unknown workspace's.
pub(crate) fn known(seqs: Vec<Seq>) -> Result<Vec<Seq>, PgError> {
    if seqs.is_empty() {
        Err(PgError::UnknownWorkspace)
    } else {
        Ok(seqs)
    }
}
