//! The workers of closed loops: each does one thing on one connection.

use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem;
use serde_json::Value;

use crate::client::{Connection, Form, Request};
use crate::error::BenchError;
use crate::load::Worker;
use crate::site::Workspace;

/// How the address of a file begins; its workspace and its id follow.
const URI_PREFIX: &str = "platform-pending:";
const UUID_LENGTH: usize = 36;
/// The cursor before the first row (RFC 9562, section 5.9).
const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// Whatever is done over and over.
#[derive(Debug)]
pub(crate) enum Job {
    Upload(Upload),
    Fetch(Fetch),
    Ack(Ack),
    Poll(Poll),
    Cycle(Cycle),
}

impl Worker for Job {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        match self {
            Self::Upload(job) => job.turn().await,
            Self::Fetch(job) => job.turn().await,
            Self::Ack(job) => job.turn().await,
            Self::Poll(job) => job.turn().await,
            Self::Cycle(job) => job.turn().await,
        }
    }
}

/// Requests that are made one after the other, and then again.
#[derive(Debug)]
pub(crate) struct Round {
    requests: Arc<Vec<Request>>,
    next: usize,
}

impl Round {
    /// Begins with the request of that number.
    pub(crate) fn from(requests: &Arc<Vec<Request>>, first: usize) -> Self {
        Self {
            requests: Arc::clone(requests),
            next: first % requests.len(),
        }
    }

    fn advance(&mut self) -> usize {
        let now = self.next;
        self.next = (now + 1) % self.requests.len();
        now
    }
}

/// Uploads a form to one workspace after the other.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) connection: Connection,
    pub(crate) round: Round,
}

impl Upload {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        let now = self.round.advance();
        let request = &self.round.requests[now];
        upload(&mut self.connection, request).await?;
        Ok(request.form.as_ref().map_or(0, |form| form.content_bytes()))
    }
}

/// Uploads, and answers the ids of the files.
pub(crate) async fn upload(
    connection: &mut Connection,
    request: &Request,
) -> Result<Vec<String>, BenchError> {
    let files = request.form.as_ref().map_or(0, |form| form.files);
    let ids = file_ids(connection.call(request).await?);
    if ids.len() as u64 == files {
        Ok(ids)
    } else {
        Err(BenchError::Incomplete {
            request: request.title(),
            missing: "the address of each file",
        })
    }
}

/// The ids of the files whose addresses are in an answer.
pub(crate) fn file_ids(answer: &[u8]) -> Vec<String> {
    let found = memmem::find_iter(answer, URI_PREFIX);
    let ids = found.filter_map(|at| {
        let begin = at + URI_PREFIX.len() + UUID_LENGTH + 1;
        let id = answer.get(begin..begin + UUID_LENGTH)?;
        Some(String::from_utf8_lossy(id).into_owned())
    });
    ids.collect()
}

/// Fetches one file after the other.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) connection: Connection,
    pub(crate) round: Round,
    pub(crate) bytes: u64,
}

impl Fetch {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        let now = self.round.advance();
        let request = &self.round.requests[now];
        fetch(&mut self.connection, request, self.bytes).await
    }
}

/// Fetches a file, which must be of that length.
pub(crate) async fn fetch(
    connection: &mut Connection,
    request: &Request,
    bytes: u64,
) -> Result<u64, BenchError> {
    let length = connection.fetch(request).await?;
    if length == bytes {
        return Ok(length);
    }
    Err(BenchError::Incomplete {
        request: request.title(),
        missing: "the whole file",
    })
}

/// Acks that are made once each, by whoever comes first.
pub(crate) type Queue = Arc<Mutex<Vec<Request>>>;

/// Acks files that were not acked before.
#[derive(Debug)]
pub(crate) struct Ack {
    pub(crate) connection: Connection,
    pub(crate) queue: Queue,
}

impl Ack {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        let next = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let request = next.ok_or(BenchError::OutOfFiles)?;
        ack(&mut self.connection, &request).await?;
        Ok(0)
    }
}

/// Acks a file.
pub(crate) async fn ack(connection: &mut Connection, request: &Request) -> Result<(), BenchError> {
    if connection.call(request).await? == br#"{"acked":true}"# {
        return Ok(());
    }
    Err(BenchError::Incomplete {
        request: request.title(),
        missing: "the ack",
    })
}

/// Polls one workspace's feed after the other's.
#[derive(Debug)]
pub(crate) struct Poll {
    pub(crate) connection: Connection,
    pub(crate) round: Round,
    pub(crate) rows: usize,
}

impl Poll {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        let now = self.round.advance();
        let request = &self.round.requests[now];
        let answer = self.connection.call(request).await?;
        // Each row has its number, and nothing else is called so.
        if memmem::find_iter(answer, "\"seq\":").count() != self.rows {
            return Err(BenchError::Incomplete {
                request: request.title(),
                missing: "as many rows as there are",
            });
        }
        Ok(0)
    }
}

/// The path of a poll that does not wait.
pub(crate) fn poll_path(workspace: &Workspace, cursor: Option<&str>) -> String {
    let cursor = cursor.unwrap_or(NIL);
    workspace.path(&format!("activity?since_id={cursor}&limit=100"))
}

/// Uploads a file to a workspace of its own, reads of it in the feed, fetches it and acks it.
#[derive(Debug)]
pub(crate) struct Cycle {
    connection: Connection,
    workspace: Workspace,
    upload: Request,
    bytes: u64,
    cursor: Option<String>,
}

impl Cycle {
    /// Prepares it. A first file gives the workspace a row to begin after.
    pub(crate) async fn begin(
        mut connection: Connection,
        workspace: &Workspace,
        form: Arc<Form>,
    ) -> Result<Self, BenchError> {
        let path = workspace.path("chat/uploads");
        let request = Request::upload(&path, Some(&workspace.token), Arc::clone(&form));
        upload(&mut connection, &request).await?;
        let cursor = newest_row(&mut connection, workspace).await?;
        Ok(Self {
            connection,
            upload: request,
            workspace: workspace.clone(),
            bytes: form.content_bytes(),
            cursor,
        })
    }

    async fn turn(&mut self) -> Result<u64, BenchError> {
        upload(&mut self.connection, &self.upload).await?;
        let poll = poll_path(&self.workspace, self.cursor.as_deref());
        let poll = Request::get(&poll, Some(&self.workspace.token));
        let answer = self.connection.call(&poll).await?;
        let ids = file_ids(answer);
        self.cursor = last_row(answer)?;
        for id in &ids {
            let content = content_request(&self.workspace, id);
            fetch(&mut self.connection, &content, self.bytes).await?;
            ack(&mut self.connection, &ack_request(&self.workspace, id)).await?;
        }
        if ids.len() == 1 {
            return Ok(self.bytes);
        }
        Err(BenchError::Incomplete {
            request: poll.title(),
            missing: "the one file that was uploaded",
        })
    }
}

/// The request for a file's bytes.
pub(crate) fn content_request(workspace: &Workspace, file_id: &str) -> Request {
    let path = workspace.path(&format!("pending-uploads/{file_id}/content"));
    Request::get(&path, Some(&workspace.token))
}

/// The request that acks a file.
pub(crate) fn ack_request(workspace: &Workspace, file_id: &str) -> Request {
    let path = workspace.path(&format!("pending-uploads/{file_id}/ack"));
    Request::post(&path, Some(&workspace.token), "")
}

/// The id of the newest row of a feed, which comes first; none when it is empty.
pub(crate) async fn newest_row(
    connection: &mut Connection,
    workspace: &Workspace,
) -> Result<Option<String>, BenchError> {
    let path = workspace.path("activity?limit=1");
    let request = Request::get(&path, Some(&workspace.token));
    let rows: Vec<Value> = serde_json::from_slice(connection.call(&request).await?)?;
    let id = rows.first().and_then(|row| row["id"].as_str());
    Ok(id.map(str::to_owned))
}

/// The id of the last row of an answer of the feed.
pub(crate) fn last_row(answer: &[u8]) -> Result<Option<String>, BenchError> {
    let rows: Vec<Value> = serde_json::from_slice(answer)?;
    let id = rows.last().and_then(|row| row["id"].as_str());
    Ok(id.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_files_are_found_in_an_answer() {
        let workspace = "01900000-0000-7000-8000-000000000001";
        let files = [
            "01900000-0000-7000-8000-00000000000a",
            "01900000-0000-7000-8000-00000000000b",
        ];
        let text = files.map(|file| format!("{{\"uri\":\"platform-pending:{workspace}/{file}\"}}"));
        assert_eq!(file_ids(text.join(",").as_bytes()), files);
        assert_eq!(file_ids(b"platform-pending:short"), [""; 0]);
    }

    #[test]
    fn the_cursor_is_the_last_row_of_an_answer() {
        let cursor = last_row(br#"[{"id":"a"},{"id":"b"}]"#).unwrap();
        assert_eq!(cursor.as_deref(), Some("b"));
        assert_eq!(last_row(b"[]").unwrap(), None);
    }
}
