//! The floors of PostgreSQL: bare loops on tokio-postgres, a connection each, on our own schema.

mod copy;
mod publish;
mod rows;
mod statements;
mod windows;

use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;
use pending_uploads_pg::{Database, DatabaseConfig, migrate};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::{Content, FloorError};
use crate::error::BenchError;

pub(crate) use copy::{Commits, copy};
pub(crate) use publish::{Form, publish};
pub(crate) use statements::{ack, poll};
pub(crate) use windows::windows;

/// How long a file may wait, as in production.
const TTL: Duration = Duration::from_hours(24);

const REGISTER: &str = "WITH created AS ( \
         INSERT INTO workspaces (id, delivery_mode, inbound_secret, token_sha256, created_at, \
             updated_at) \
         SELECT id, 'poll', '', decode(repeat('00', 32), 'hex'), $2, $2 \
         FROM unnest($1::uuid[]) AS id RETURNING id) \
     INSERT INTO feed_counters (workspace_id) SELECT id FROM created";

const CLEAR: &str = "TRUNCATE workspaces, feed_counters, activity, pending_uploads, \
     pending_upload_chunks, staged_batches";

/// A database with our schema, which the bare loops have for themselves. Clones share its content.
#[derive(Debug, Clone)]
pub(crate) struct FloorDatabase {
    url: String,
    content: Content,
}

impl FloorDatabase {
    /// Brings the schema of the database up to date.
    pub(crate) async fn open(url: &str) -> Result<Self, BenchError> {
        let content = Content::random()?;
        migrate(url).await?;
        let url = url.to_owned();
        Ok(Self { url, content })
    }

    /// Empties every table, and gives their room on the disk back.
    pub(crate) async fn clear(&self) -> Result<(), BenchError> {
        Ok(self
            .connect()
            .await?
            .batch_execute(CLEAR)
            .await
            .map_err(FloorError::from)?)
    }

    fn content(&self) -> &Content {
        &self.content
    }

    /// A connection of its own, which ends with the client.
    async fn connect(&self) -> Result<Client, FloorError> {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        // What goes wrong on it is told to whoever waits for an answer.
        tokio::spawn(connection);
        Ok(client)
    }

    /// So many connections, made at once.
    async fn connections(&self, count: usize) -> Result<Vec<Client>, FloorError> {
        try_join_all((0..count).map(|_| self.connect())).await
    }

    /// Registers so many fresh workspaces.
    async fn workspaces(&self, count: usize) -> Result<Vec<Uuid>, FloorError> {
        let ids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
        let client = self.connect().await?;
        client
            .execute(REGISTER, &[&ids, &SystemTime::now()])
            .await?;
        Ok(ids)
    }
}

async fn migrate(url: &str) -> Result<(), FloorError> {
    let database = Database::connect(&DatabaseConfig::parse(url)?)?;
    migrate::up(&database).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
