//! The floor of small uploads: the transaction that publishes one file, over and over.

use bytes::Bytes;
use tokio_postgres::Client;
use uuid::Uuid;

use super::FloorDatabase;
use super::rows::{self, FloorFile, Placement, PublishStatements};
use crate::error::BenchError;
use crate::floors::{Feeds, FloorError};
use crate::load::{Extent, Worker, Yield, drive};

/// How a publish is put to the server. Either way it is a transaction of one request alone, and one
/// round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// As one statement for each table, and the commit in the same flight.
    Flight,
    /// As one statement with everything in it.
    OneStatement,
}

/// Publishes files of `size` bytes, each by a transaction of its own, over `at_once` connections.
pub(crate) async fn publish(
    database: &FloorDatabase,
    size: u64,
    (form, feeds): (Form, Feeds),
    at_once: usize,
    extent: Extent,
) -> Result<Yield, BenchError> {
    let workspaces = database.workspaces(at_once).await?;
    let chunks: Vec<_> = rows::chunks(database.content(), size).collect();
    let mut workers = Vec::with_capacity(at_once);
    for (number, client) in database.connections(at_once).await?.into_iter().enumerate() {
        workers.push(Publisher {
            statements: PublishStatements::prepare(&client).await?,
            client,
            workspace: feeds
                .of(&workspaces, number)
                .ok_or(FloorError::Missing("a workspace"))?,
            size,
            chunks: chunks.clone(),
            form,
        });
    }
    drive(workers, extent).await
}

struct Publisher {
    client: Client,
    statements: PublishStatements,
    workspace: Uuid,
    size: u64,
    chunks: Vec<Bytes>,
    form: Form,
}

impl Worker for Publisher {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        let file = FloorFile::new(self.workspace, self.size);
        let (client, chunks) = (&self.client, self.chunks.as_slice());
        match self.form {
            Form::Flight => {
                let placement = Placement::Chunks(chunks);
                self.statements.publish(client, &file, placement).await?;
            }
            Form::OneStatement => {
                self.statements
                    .publish_at_once(client, &file, chunks)
                    .await?;
            }
        }
        Ok(self.size)
    }
}
