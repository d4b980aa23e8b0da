//! The plain baseline: a file is one bytea, whole in memory on its way in, on its way out and when
//! it is acked; one statement at a time, over a pool as it comes.

use actix_multipart::{Field, Multipart};
use actix_web::error::{ErrorInternalServerError, ErrorNotFound};
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use actix_web::{HttpResponse, Result};
use deadpool_postgres::{Manager, Object, Pool, Runtime};
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};
use uuid::Uuid;

use super::answers;
use crate::floors::FloorError;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS plain_uploads ( \
         id uuid PRIMARY KEY, workspace_id uuid NOT NULL, name text NOT NULL, \
         size_bytes bigint NOT NULL, data bytea NOT NULL, \
         created_at timestamptz NOT NULL DEFAULT now(), fetched_at timestamptz, \
         acked_at timestamptz); \
     CREATE TABLE IF NOT EXISTS plain_activity ( \
         seq bigserial PRIMARY KEY, id uuid NOT NULL UNIQUE, workspace_id uuid NOT NULL, \
         method text NOT NULL, request_body jsonb NOT NULL, \
         created_at timestamptz NOT NULL DEFAULT now()); \
     CREATE INDEX IF NOT EXISTS plain_activity_feed ON plain_activity (workspace_id, seq)";

const INSERT_FILE: &str = "INSERT INTO plain_uploads (id, workspace_id, name, size_bytes, data) \
     VALUES ($1, $2, $3, $4, $5)";
const INSERT_ROW: &str = "INSERT INTO plain_activity (id, workspace_id, method, request_body) \
     VALUES ($1, $2, 'chat_upload_receive', $3)";
const GET: &str = "SELECT id, workspace_id, name, size_bytes, data, created_at, fetched_at, acked_at \
     FROM plain_uploads WHERE id = $1 AND workspace_id = $2 AND acked_at IS NULL";
const MARK_FETCHED: &str = "UPDATE plain_uploads SET fetched_at = now() WHERE id = $1";
const ACK: &str = "UPDATE plain_uploads SET acked_at = now() WHERE id = $1";
const CURSOR: &str = "SELECT seq FROM plain_activity WHERE id = $1 AND workspace_id = $2";
const AFTER: &str = "SELECT seq, id, request_body FROM plain_activity \
     WHERE workspace_id = $1 AND seq > $2 ORDER BY seq LIMIT 100";
const NEWEST: &str = "SELECT seq, id, request_body FROM plain_activity \
     WHERE workspace_id = $1 ORDER BY seq DESC LIMIT 100";

/// Makes the tables, and a pool with all that it does by default.
pub(super) async fn open(url: &str) -> std::result::Result<Pool, FloorError> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It ends with the client, at the end of this function.
    tokio::spawn(connection);
    client.batch_execute(SCHEMA).await?;
    let manager = Manager::new(url.parse()?, NoTls);
    Ok(Pool::builder(manager).runtime(Runtime::Tokio1).build()?)
}

pub(super) fn mount(config: &mut ServiceConfig, pool: Pool) {
    config
        .app_data(Data::new(pool))
        .route(answers::UPLOADS, web::post().to(upload))
        .route(answers::CONTENT, web::get().to(fetch))
        .route(answers::ACK, web::post().to(ack))
        .route(answers::ACTIVITY, web::get().to(activity));
}

struct PlainFile {
    id: Uuid,
    name: String,
    data: Vec<u8>,
}

async fn upload(
    workspace: Path<Uuid>,
    pool: Data<Pool>,
    mut parts: Multipart,
) -> Result<HttpResponse> {
    let mut files = Vec::new();
    while let Some(part) = parts.try_next().await? {
        files.push(take(part).await?);
    }
    let client = borrow(&pool).await?;
    client.batch_execute("BEGIN").await.map_err(failed)?;
    let mut answer = Vec::new();
    for file in files {
        answer.push(store(&client, *workspace, &file).await?);
    }
    client.batch_execute("COMMIT").await.map_err(failed)?;
    Ok(answers::uploaded(&answer))
}

/// Reads a part to its end.
async fn take(mut part: Field) -> Result<PlainFile> {
    let mut data = Vec::new();
    while let Some(piece) = part.try_next().await? {
        data.extend_from_slice(&piece);
    }
    let name = part
        .content_disposition()
        .and_then(|named| named.get_filename());
    Ok(PlainFile {
        id: Uuid::now_v7(),
        name: name.unwrap_or_default().to_owned(),
        data,
    })
}

async fn store(client: &Object, workspace: Uuid, file: &PlainFile) -> Result<Value> {
    let size = file.data.len() as u64;
    let size_bytes = i64::try_from(size).map_err(failed)?;
    let row: [&(dyn ToSql + Sync); 5] = [&file.id, &workspace, &file.name, &size_bytes, &file.data];
    query(client, INSERT_FILE, &row).await?;
    let answer = answers::file(workspace, file.id, &file.name, size);
    let mut body = answer.clone();
    body["file_id"] = json!(file.id);
    query(client, INSERT_ROW, &[&Uuid::now_v7(), &workspace, &body]).await?;
    Ok(answer)
}

async fn fetch(path: Path<(Uuid, Uuid)>, pool: Data<Pool>) -> Result<HttpResponse> {
    let (client, (workspace, id)) = (borrow(&pool).await?, *path);
    let row = get(&client, workspace, id).await?;
    let data: Vec<u8> = row.try_get("data").map_err(failed)?;
    query(&client, MARK_FETCHED, &[&id]).await?;
    Ok(HttpResponse::Ok().body(data))
}

/// The whole row is loaded, its bytes as well.
async fn ack(path: Path<(Uuid, Uuid)>, pool: Data<Pool>) -> Result<HttpResponse> {
    let (client, (workspace, id)) = (borrow(&pool).await?, *path);
    let row = get(&client, workspace, id).await?;
    let _data: Vec<u8> = row.try_get("data").map_err(failed)?;
    query(&client, ACK, &[&id]).await?;
    Ok(answers::acked())
}

#[derive(Debug, Deserialize)]
struct Poll {
    since_id: Option<Uuid>,
}

async fn activity(
    workspace: Path<Uuid>,
    wanted: Query<Poll>,
    pool: Data<Pool>,
) -> Result<HttpResponse> {
    let (client, workspace) = (borrow(&pool).await?, *workspace);
    let rows = match wanted.since_id {
        None => query(&client, NEWEST, &[&workspace]).await?,
        Some(cursor) => {
            let found = query(&client, CURSOR, &[&cursor, &workspace]).await?;
            let row = found.first().ok_or_else(|| ErrorNotFound("no such row"))?;
            let seq: i64 = row.try_get("seq").map_err(failed)?;
            query(&client, AFTER, &[&workspace, &seq]).await?
        }
    };
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| listed(workspace, row))
        .collect::<std::result::Result<_, _>>()
        .map_err(failed)?;
    Ok(HttpResponse::Ok().json(rows))
}

fn listed(workspace: Uuid, row: &Row) -> std::result::Result<Value, tokio_postgres::Error> {
    Ok(json!({
        "id": row.try_get::<_, Uuid>("id")?,
        "workspace_id": workspace,
        "activity_type": "a2a_receive",
        "method": "chat_upload_receive",
        "request_body": row.try_get::<_, Value>("request_body")?,
        "status": "ok",
        "seq": row.try_get::<_, i64>("seq")?,
    }))
}

async fn get(client: &Object, workspace: Uuid, id: Uuid) -> Result<Row> {
    let rows = query(client, GET, &[&id, &workspace]).await?;
    rows.into_iter()
        .next()
        .ok_or_else(|| ErrorNotFound("no such file"))
}

async fn borrow(pool: &Pool) -> Result<Object> {
    pool.get().await.map_err(failed)
}

/// Sends one statement, and waits for its answer.
async fn query(client: &Object, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
    let statement = client.prepare_cached(sql).await.map_err(failed)?;
    client.query(&statement, params).await.map_err(failed)
}

fn failed(error: impl std::error::Error + 'static) -> actix_web::Error {
    ErrorInternalServerError(error)
}
