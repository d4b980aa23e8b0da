//! Uploads for workspaces that poll: every row of the contract's table that needs no socket.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test crate fail its tests"
)]

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use actix_web::App;
use actix_web::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use mockall::Sequence;
use pending_uploads_core::memory::MemoryPlatform;
use pending_uploads_core::{
    ActivityLog, ActivityQuery, Delivery, Error, FeedStart, FileId, Limits, MockActivityLog,
    MockBatch, MockStorage, MockWorkspaces, PendingUpload, Quota, QuotaRefusal, Registrar,
    Registration, Sha256, StagedFile, Stats, Storage, StoreName, SystemClock, Workspace,
    WorkspaceId, Workspaces,
};
use serde_json::{Value, json};
use upload_http::{Platform, PlatformBuilder, Settings, configure};

const FORM: &str = "multipart/form-data; boundary=xyz";

/// Files of 100 bytes, requests of 5,000, 3 files.
fn settings() -> Settings {
    let bytes = |count| NonZeroU64::new(count).unwrap();
    let limits = Limits::new(bytes(100), bytes(5000), NonZeroU32::new(3).unwrap()).unwrap();
    Settings {
        limits,
        admin_token: Some("admin".parse().unwrap()),
        ..Settings::default()
    }
}

fn memory() -> MemoryPlatform {
    let ttl = Duration::from_hours(24);
    MemoryPlatform::new(Arc::new(SystemClock), ttl, Quota::default())
}

/// A platform in memory with one workspace that polls.
struct Fixture {
    memory: MemoryPlatform,
    workspace: WorkspaceId,
    token: String,
    platform: Platform,
}

impl Fixture {
    async fn new() -> Self {
        let memory = memory();
        let workspace = WorkspaceId::generate();
        let registration = Registration::polling(workspace);
        let registered = memory.register(registration, Registrar::Anonymous).await;
        let token = registered.unwrap().auth_token.unwrap();
        let shared = Arc::new(memory.clone());
        let platform = Platform::builder(shared.clone(), shared.clone()).staging(shared);
        Self {
            memory,
            workspace,
            token: token.expose().to_owned(),
            platform: platform.settings(settings()).build().unwrap(),
        }
    }

    async fn upload(&self, body: impl Into<Vec<u8>>) -> Answer {
        self.upload_as(FORM, body).await
    }

    async fn upload_as(&self, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        let path = format!("/workspaces/{}/chat/uploads", self.workspace);
        send(
            &self.platform,
            &path,
            &self.token,
            content_type,
            body.into(),
        )
        .await
    }

    async fn waiting(&self) -> Vec<PendingUpload> {
        Storage::list(&self.memory, self.workspace, None, 10)
            .await
            .unwrap()
    }

    /// The request bodies of the feed's rows, oldest first.
    async fn feed(&self) -> Vec<Value> {
        let query = ActivityQuery::from_start(FeedStart::Newest);
        let rows = ActivityLog::list(&self.memory, self.workspace, &query)
            .await
            .unwrap();
        rows.into_iter()
            .rev()
            .map(|row| row.content.request_body.unwrap())
            .collect()
    }

    /// Nothing is published, and nothing is left staged.
    async fn nothing_is_left(&self) -> bool {
        self.memory.stats().await.unwrap() == Stats::default() && self.feed().await.is_empty()
    }
}

/// An answer.
struct Answer {
    status: u16,
    retry_after: Option<String>,
    json: Value,
}

impl Answer {
    fn refusal(&self) -> (u16, &str) {
        assert!(self.json["error"].is_string());
        (self.status, self.json["code"].as_str().unwrap())
    }
}

async fn send(
    platform: &Platform,
    path: &str,
    token: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Answer {
    let app = init_service(App::new().configure(configure(platform))).await;
    let request = TestRequest::post()
        .uri(path)
        .insert_header((AUTHORIZATION, format!("Bearer {token}")))
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CONTENT_LENGTH, body.len()))
        .set_payload(body)
        .to_request();
    let answer = call_service(&app, request).await;
    let retry_after = answer.headers().get(RETRY_AFTER);
    Answer {
        status: answer.status().as_u16(),
        retry_after: retry_after.map(|value| value.to_str().unwrap().to_owned()),
        json: serde_json::from_slice(&read_body(answer).await).unwrap(),
    }
}

fn part(headers: &str, data: &[u8]) -> Vec<u8> {
    [b"--xyz\r\n", headers.as_bytes(), b"\r\n", data, b"\r\n"].concat()
}

fn file(name: &str, data: &[u8]) -> Vec<u8> {
    let disposition =
        format!("Content-Disposition: form-data; name=\"files\"; filename=\"{name}\"");
    part(
        &format!("{disposition}\r\nContent-Type: text/plain; a=b\r\n"),
        data,
    )
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], b"--xyz--\r\n"].concat()
}

#[actix_web::test]
async fn the_files_of_a_form_are_published_in_order_and_named() {
    let fixture = Fixture::new().await;
    let nameless = part("Content-Disposition: form-data; name=\"files\"\r\n", b"two");
    let other = part(
        "Content-Disposition: form-data; name=\"note\"\r\n",
        b"skipped",
    );
    let body = form(&[file("mein Büro/größe 1.txt", b"one"), other, nameless]);
    let answer = fixture.upload(body).await;
    assert_eq!(answer.status, 200);

    let waiting = fixture.waiting().await;
    let id = |index: usize| waiting[index].file_id;
    let uri = |index| format!("platform-pending:{}/{}", fixture.workspace, id(index));
    let sha256 = |data: &[u8]| Sha256::of(data).to_string();
    let one = json!({
        "uri": uri(0), "name": "gr__e_1.txt", "originalName": "mein Büro/größe 1.txt",
        "mimeType": "text/plain", "size": 3, "sha256": sha256(b"one"),
    });
    let two = json!({
        "uri": uri(1), "name": "file", "originalName": "",
        "mimeType": "", "size": 3, "sha256": sha256(b"two"),
    });
    assert_eq!(answer.json, json!({"files": [one, two]}));

    let mut rows = fixture.feed().await;
    for (index, row) in rows.iter_mut().enumerate() {
        let id = row.as_object_mut().unwrap().remove("file_id").unwrap();
        assert_eq!(id, waiting[index].file_id.to_string());
    }
    assert_eq!(rows, [one, two], "the feed says the same");
}

#[actix_web::test]
async fn a_file_of_exactly_the_cap_is_taken_and_one_byte_more_is_not() {
    let fixture = Fixture::new().await;
    assert_eq!(
        fixture
            .upload(form(&[file("a", &[b'x'; 100])]))
            .await
            .status,
        200
    );
    let answer = fixture
        .upload(form(&[file("b", b"x"), file("c d", &[b'x'; 101])]))
        .await;
    assert_eq!(answer.refusal(), (413, "file_too_large"));
    assert_eq!(answer.json["filename"], "c_d");
    assert_eq!(answer.json["max"], 100);
    assert_eq!(fixture.waiting().await.len(), 1);
    assert_eq!(fixture.memory.stats().await.unwrap().staged_files, 0);
}

#[actix_web::test]
async fn a_request_over_the_cap_is_refused_announced_or_not() {
    let fixture = Fixture::new().await;
    let body = form(&[part(
        "Content-Disposition: form-data; name=a\r\n",
        &[b'x'; 5000],
    )]);
    let announced = fixture.upload(body.clone()).await;
    assert_eq!(announced.refusal(), (413, "request_too_large"));
    assert_eq!(announced.json["max"], 5000);

    let app = init_service(App::new().configure(configure(&fixture.platform))).await;
    let request = TestRequest::post()
        .uri(&format!("/workspaces/{}/chat/uploads", fixture.workspace))
        .insert_header((AUTHORIZATION, format!("Bearer {}", fixture.token)))
        .insert_header((CONTENT_TYPE, FORM))
        .set_payload(body)
        .to_request();
    assert_eq!(call_service(&app, request).await.status(), 413);
    assert!(fixture.nothing_is_left().await);
}

#[actix_web::test]
async fn what_is_no_form_of_files_is_refused_and_leaves_nothing() {
    let fixture = Fixture::new().await;
    let note = part("Content-Disposition: form-data; name=\"note\"\r\n", b"x");
    let one = file("a", b"x");
    for (body, expected) in [
        (form(&[note]), "no_files"),
        (form(&[]), "no_files"),
        (form(&[one.clone(), file("e", b"")]), "empty_file"),
        (form(&vec![one.clone(); 4]), "too_many_files"),
        (one.clone(), "malformed_multipart"),
        (
            form(&[one.clone(), part("A: b\r\n", b"x")]),
            "malformed_multipart",
        ),
        (
            form(&[one.clone(), file("b", b"x\r\n--xyzX")]),
            "malformed_multipart",
        ),
        (b"{}".to_vec(), "malformed_multipart"),
        (Vec::new(), "malformed_multipart"),
    ] {
        let answer = fixture.upload(body).await;
        assert_eq!(answer.refusal(), (400, expected));
        assert!(fixture.nothing_is_left().await, "{expected}");
    }
    let json = fixture.upload_as("application/json", form(&[one])).await;
    assert_eq!(json.refusal(), (400, "malformed_multipart"));
}

#[actix_web::test]
async fn a_refusal_names_what_was_refused() {
    let fixture = Fixture::new().await;
    let empty = fixture.upload(form(&[file("my file", b"")])).await;
    assert_eq!(empty.json["filename"], "my_file");
    let many = fixture.upload(form(&vec![file("a", b"x"); 4])).await;
    assert_eq!(many.json["max"], 3);
    let broken = fixture.upload(form(&[part("A: b\r\n", b"x")])).await;
    assert!(
        broken.json["error"]
            .as_str()
            .unwrap()
            .contains("Content-Disposition")
    );
}

#[actix_web::test]
async fn a_workspace_id_that_is_none_is_refused_and_an_unknown_one_is_not_found() {
    let fixture = Fixture::new().await;
    let upload = async |id: &str, token: &str| {
        let path = format!("/workspaces/{id}/chat/uploads");
        send(
            &fixture.platform,
            &path,
            token,
            FORM,
            form(&[file("a", b"x")]),
        )
        .await
    };
    assert_eq!(upload("no-uuid", "admin").await.status, 400);
    let nobody = WorkspaceId::generate().to_string();
    assert_eq!(upload(&nobody, "admin").await.status, 404);
    assert_eq!(upload(&nobody, &fixture.token).await.status, 401);
    assert_eq!(
        upload(&fixture.workspace.to_string(), "another")
            .await
            .status,
        401
    );
    assert_eq!(
        upload(&fixture.workspace.to_string(), "admin").await.status,
        200
    );
}

/// A platform over mocks, whose every caller may act for a workspace that `delivery` reaches.
fn mocked(delivery: Delivery) -> PlatformBuilder {
    let mut workspaces = MockWorkspaces::new();
    workspaces.expect_authenticate().returning(move |id, _| {
        let delivery = delivery.clone();
        Ok(Some(Workspace { id, delivery }))
    });
    Platform::builder(Arc::new(workspaces), Arc::new(MockActivityLog::new())).settings(settings())
}

async fn upload_to(platform: PlatformBuilder, body: Vec<u8>) -> Answer {
    let path = format!("/workspaces/{}/chat/uploads", WorkspaceId::generate());
    send(&platform.build().unwrap(), &path, "token", FORM, body).await
}

#[actix_web::test]
async fn a_workspace_that_nothing_reaches_gets_the_answer_that_it_always_got() {
    let untouched = Arc::new(MockStorage::new());
    for platform in [
        mocked(Delivery::Poll),
        mocked(Delivery::Unreachable).staging(untouched),
        mocked(Delivery::Unreachable),
    ] {
        let answer = upload_to(platform, form(&[file("a", b"x")])).await;
        assert_eq!(answer.status, 422);
        let error = answer.json["error"].as_str().unwrap();
        assert!(
            error.starts_with("workspace has no callback URL"),
            "{error}"
        );
    }
}

fn unavailable<T>() -> Result<T, Error> {
    Err(Error::Unavailable {
        store: StoreName("postgres"),
        source: "secret host".into(),
    })
}

/// A batch that takes one file, up to where `fail` has it fail.
fn batch(fail: impl FnOnce(&mut MockBatch)) -> MockBatch {
    let mut batch = MockBatch::new();
    fail(&mut batch);
    batch
        .expect_start_file()
        .returning(|_, _| Ok(FileId::generate()));
    batch.expect_write().returning(|_| Ok(()));
    batch.expect_finish_file().returning(|| {
        Ok(StagedFile {
            file_id: FileId::generate(),
            size_bytes: 1,
            sha256: Sha256::of(b"x"),
        })
    });
    batch
}

async fn upload_into(batch: MockBatch) -> Answer {
    let mut storage = MockStorage::new();
    storage.expect_begin().return_once(|_| Ok(Box::new(batch)));
    let platform = mocked(Delivery::Poll).staging(Arc::new(storage));
    upload_to(platform, form(&[file("a", b"x")])).await
}

#[actix_web::test]
async fn a_store_that_is_down_at_any_step_is_a_503_that_says_when_to_come_again() {
    let mut down = MockStorage::new();
    down.expect_begin().returning(|_| unavailable());
    let platform = mocked(Delivery::Poll).staging(Arc::new(down));
    let answers = [
        upload_to(platform, form(&[file("a", b"x")])).await,
        upload_into(batch(|batch| {
            batch.expect_start_file().returning(|_, _| unavailable());
        }))
        .await,
        upload_into(batch(|batch| {
            batch.expect_write().returning(|_| unavailable());
        }))
        .await,
        upload_into(batch(|batch| {
            batch.expect_finish_file().returning(unavailable);
        }))
        .await,
        upload_into(batch(|batch| {
            batch.expect_publish().returning(unavailable);
        }))
        .await,
    ];
    for answer in answers {
        assert_eq!(answer.refusal(), (503, "platform_unavailable"));
        assert!(answer.retry_after.unwrap().parse::<u32>().unwrap() > 0);
        assert!(!answer.json.to_string().contains("secret"));
    }
}

#[actix_web::test]
async fn what_a_publish_refuses_is_said() {
    let max = 5;
    for (error, expected) in [
        (
            Error::QuotaExceeded(QuotaRefusal::WaitingBytes { max }),
            (507, "quota_exceeded"),
        ),
        (Error::BatchAbandoned, (408, "upload_abandoned")),
        (Error::UnknownWorkspace, (404, "workspace_not_found")),
        (Error::Integrity { what: "x" }, (500, "internal_error")),
    ] {
        let answer = upload_into(batch(|batch| {
            batch.expect_publish().return_once(|| Err(error));
        }))
        .await;
        assert_eq!(answer.refusal(), expected);
        if expected.0 == 507 {
            assert_eq!(answer.json["limit"], "waiting_bytes");
            assert_eq!(answer.json["max"], max);
        }
    }
}

#[actix_web::test]
async fn nothing_is_published_before_the_whole_body_was_well_formed() {
    let mut order = Sequence::new();
    let mut batch = MockBatch::new();
    let started = batch.expect_start_file().times(1).in_sequence(&mut order);
    started.returning(|_, _| Ok(FileId::generate()));
    batch
        .expect_write()
        .times(1)
        .in_sequence(&mut order)
        .returning(|_| Ok(()));
    let finished = batch.expect_finish_file().times(1).in_sequence(&mut order);
    finished.returning(|| {
        Ok(StagedFile {
            file_id: FileId::generate(),
            size_bytes: 1,
            sha256: Sha256::of(b"x"),
        })
    });
    batch.expect_publish().times(0);
    let mut storage = MockStorage::new();
    storage.expect_begin().return_once(|_| Ok(Box::new(batch)));
    let platform = mocked(Delivery::Poll).staging(Arc::new(storage));
    let truncated = [&file("a", b"x")[..], b"--xyz"].concat();
    let answer = upload_to(platform, truncated).await;
    assert_eq!(answer.refusal(), (400, "malformed_multipart"));
}
