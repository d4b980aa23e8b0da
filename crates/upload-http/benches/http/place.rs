//! A platform over stores that store nothing, and requests to it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix_http::Request;
use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Payload, Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::rt::System;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, Error};
use async_trait::async_trait;
use bytes::Bytes;
use criterion::Bencher;
use futures_util::{StreamExt, stream};
use pending_uploads_core::{
    Activity, ActivityId, Batch, Delivery, FileId, Filename, Mimetype, MockActivityLog,
    MockStorage, MockWorkspaces, NewActivity, PendingUpload, Result, Seq, Sha256, StagedFile,
    Timestamp, Workspace, WorkspaceId,
};
use upload_http::{Platform, configure};

/// How long the file is that is fetched.
pub(crate) const CONTENT: &[u8] = b"0123456789";
/// How many rows a page of the feed has.
const ROWS: i64 = 100;

/// A platform, and the thread's own runtime to call it on.
pub(crate) struct Place {
    system: actix_web::rt::SystemRunner,
    platform: Platform,
    /// The file that is fetched.
    pub(crate) file: PendingUpload,
}

impl Place {
    pub(crate) fn new() -> Self {
        let file = upload(WorkspaceId::generate());
        let platform = Platform::builder(Arc::new(workspaces()), Arc::new(feed(&file)))
            .staging(Arc::new(storage(&file)))
            .build()
            .unwrap();
        Self {
            system: System::new(),
            platform,
            file,
        }
    }

    /// The path of something of the workspace's.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/workspaces/{}/{rest}", self.file.workspace_id)
    }

    /// Times a request that is answered with `status`, from its head to the last byte of the
    /// answer. Making it is not timed.
    pub(crate) fn time(&self, bencher: &mut Bencher<'_>, ask: &Ask, status: u16) {
        let app = App::new().configure(configure(&self.platform));
        let app = self.system.block_on(init_service(app));
        bencher.iter_custom(|times| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..times {
                let request = ask.request();
                let begun = Instant::now();
                self.system.block_on(answer(&app, request, status));
                elapsed += begun.elapsed();
            }
            elapsed
        });
    }
}

async fn answer<B: MessageBody>(
    app: &impl Service<Request, Response = ServiceResponse<B>, Error = Error>,
    request: Request,
    status: u16,
) -> Bytes {
    let response = app.call(request).await.unwrap();
    assert_eq!(response.status().as_u16(), status);
    to_bytes(response.into_body())
        .await
        .map_err(Into::into)
        .unwrap()
}

/// A request that is made again and again.
pub(crate) struct Ask {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    /// As they come from the socket.
    pieces: Vec<Bytes>,
}

impl Ask {
    pub(crate) fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            headers: vec![("authorization", "Bearer any".to_owned())],
            pieces: Vec::new(),
        }
    }

    pub(crate) fn post(path: String, pieces: Vec<Bytes>) -> Self {
        Self {
            method: Method::POST,
            pieces,
            ..Self::get(path)
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn request(&self) -> Request {
        let mut request = TestRequest::with_uri(&self.path).method(self.method.clone());
        for (name, value) in &self.headers {
            request = request.insert_header((*name, value.as_str()));
        }
        let pieces = stream::iter(self.pieces.clone()).map(Ok);
        let payload = Payload::Stream {
            payload: pieces.boxed_local(),
        };
        request.to_request().replace_payload(payload).0
    }
}

fn workspaces() -> MockWorkspaces {
    let mut workspaces = MockWorkspaces::new();
    workspaces.expect_authenticate().returning(|id, _| {
        let delivery = Delivery::Poll;
        Ok(Some(Workspace { id, delivery }))
    });
    workspaces
}

/// A feed whose every page is full.
fn feed(file: &PendingUpload) -> MockActivityLog {
    let row = |seq| Activity {
        id: ActivityId::generate(),
        workspace_id: file.workspace_id,
        seq: Seq(seq),
        created_at: file.created_at,
        content: NewActivity::announcement(file),
    };
    let rows: Vec<Activity> = (1..=ROWS).map(row).collect();
    let mut feed = MockActivityLog::new();
    feed.expect_list().returning(move |_, query| {
        let wanted = usize::try_from(query.limit.get()).unwrap();
        Ok(rows.iter().take(wanted).cloned().collect())
    });
    feed
}

fn storage(file: &PendingUpload) -> MockStorage {
    let file = file.clone();
    let mut storage = MockStorage::new();
    storage.expect_get().returning(move |_, _| Ok(file.clone()));
    storage.expect_read().returning(|_, _, range| {
        let ends = [range.start(), range.end()].map(|end| usize::try_from(end).unwrap());
        let piece = Bytes::from_static(CONTENT).slice(ends[0]..ends[1]);
        Ok(stream::iter([Ok(piece)]).boxed())
    });
    storage.expect_mark_fetched().returning(|_, _| Ok(()));
    storage
        .expect_begin()
        .returning(|workspace| Ok(Box::new(Nowhere::new(workspace))));
    storage
}

/// A batch whose bytes go nowhere.
struct Nowhere {
    workspace: WorkspaceId,
    open: u64,
    uploads: Vec<PendingUpload>,
}

impl Nowhere {
    fn new(workspace: WorkspaceId) -> Self {
        Self {
            workspace,
            open: 0,
            uploads: Vec::new(),
        }
    }
}

#[async_trait]
impl Batch for Nowhere {
    async fn start_file(&mut self, filename: Filename, mimetype: Mimetype) -> Result<FileId> {
        let file = PendingUpload {
            filename,
            mimetype,
            ..upload(self.workspace)
        };
        let file_id = file.file_id;
        self.uploads.push(file);
        Ok(file_id)
    }

    async fn write(&mut self, data: &[u8]) -> Result<()> {
        self.open += data.len() as u64;
        Ok(())
    }

    async fn finish_file(&mut self) -> Result<StagedFile> {
        let file = self.uploads.last_mut().unwrap();
        file.size_bytes = std::mem::take(&mut self.open);
        Ok(StagedFile {
            file_id: file.file_id,
            size_bytes: file.size_bytes,
            sha256: file.sha256,
        })
    }

    async fn publish(self: Box<Self>) -> Result<Vec<PendingUpload>> {
        Ok(self.uploads)
    }
}

/// A file of the workspace's, whose digest nobody has taken.
fn upload(workspace_id: WorkspaceId) -> PendingUpload {
    let created_at = Timestamp::from(SystemTime::now());
    PendingUpload {
        file_id: FileId::generate(),
        workspace_id,
        filename: Filename::sanitize("report (1).pdf"),
        mimetype: Mimetype::parse("application/pdf"),
        size_bytes: CONTENT.len() as u64,
        sha256: Sha256::from_bytes([0xA5; 32]),
        created_at,
        expires_at: created_at.saturating_add(Duration::from_hours(24)),
        fetched_at: None,
        acked_at: None,
    }
}
