//! The log: one line for each thing that happened, and no secret in any.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use log::kv::{Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use pending_uploads_core::{Acked, CallbackUrl, Delivery, FileId, InboundSecret, PendingUpload};
use serde_json::json;
use upload_http::CallbackPolicy;

use crate::harness::{
    Agent, CONTENT, Claiming, End, Fixture, WORKSPACE, now, path, pieces, settle, unavailable,
    upload,
};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps every line of the process; the tests look for those with their own file's id.
struct Keeper;

impl Log for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        struct Fields(String);
        impl<'kvs> VisitSource<'kvs> for Fields {
            fn visit_pair(
                &mut self,
                key: Key<'kvs>,
                value: Value<'kvs>,
            ) -> Result<(), log::kv::Error> {
                // A duration is different each time.
                if key.as_str() == "duration_ms" {
                    assert!(value.to_u64().is_some());
                    return Ok(write!(self.0, " {key}=…")?);
                }
                Ok(write!(self.0, " {key}={value}")?)
            }
        }
        let mut fields = Fields(format!("{} {}", record.level(), record.args()));
        record.key_values().visit(&mut fields).unwrap();
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(fields.0);
    }

    fn flush(&self) {}
}

/// A file of which no other test knows.
fn own_file() -> PendingUpload {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        log::set_logger(&Keeper).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
    PendingUpload {
        file_id: FileId::generate(),
        ..upload()
    }
}

/// The lines about the file, its id replaced by a word.
fn lines_about(file: &PendingUpload) -> String {
    let id = file.file_id.to_string();
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = lines.iter().filter(|line| line.contains(&id));
    let lines: Vec<_> = lines.map(|line| line.replace(&id, "[file]")).collect();
    lines.join("\n")
}

fn own_path(file: &PendingUpload, rest: &str) -> String {
    format!(
        "/workspaces/{WORKSPACE}/pending-uploads/{}/{rest}",
        file.file_id
    )
}

#[actix_web::test]
async fn a_fetch_and_an_ack_are_a_line_each_and_a_repeated_ack_is_none() {
    let file = own_file();
    let app = {
        let file = file.clone();
        Fixture::new().storing(|storage| {
            storage.expect_get().returning(move |_, _| Ok(file.clone()));
            storage
                .expect_read()
                .returning(|_, _, _| Ok(pieces(vec![Ok(CONTENT)])));
            storage.expect_mark_fetched().returning(|_, _| Ok(()));
            let mut acks = vec![Acked::Again { at: now() }, Acked::First { at: now() }];
            storage
                .expect_ack()
                .returning(move |_, _| Ok(acks.pop().unwrap()));
        })
    }
    .app();
    app.get(&Agent, &own_path(&file, "content")).await;
    app.post(&Agent, &own_path(&file, "ack"), "").await;
    app.post(&Agent, &own_path(&file, "ack"), "").await;
    insta::assert_snapshot!(lines_about(&file), @"
    INFO fetched workspace_id=11111111-1111-4111-8111-111111111111 file_id=[file] size_bytes=10 filename=mein_Bericht.pdf duration_ms=…
    INFO acked workspace_id=11111111-1111-4111-8111-111111111111 file_id=[file] size_bytes=10 filename=mein_Bericht.pdf duration_ms=…
    ");
}

#[actix_web::test]
async fn a_refusal_is_a_line_that_names_its_code_and_not_the_token() {
    let file = own_file();
    let app = Fixture::new().app();
    app.get(
        &Claiming("Bearer secret-token"),
        &own_path(&file, "content"),
    )
    .await;
    insta::assert_snapshot!(lines_about(&file), @"
    INFO rejected operation=fetch workspace_id=11111111-1111-4111-8111-111111111111 file_id=[file] code=unauthorized duration_ms=…
    ");
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(!lines.iter().any(|line| line.contains("secret-token")));
}

#[actix_web::test]
async fn a_failure_is_one_line_with_its_causes() {
    let file = own_file();
    let app = Fixture::new()
        .storing(|storage| {
            storage.expect_get().returning(|_, _| Err(unavailable()));
        })
        .app();
    app.get(&Agent, &own_path(&file, "content")).await;
    insta::assert_snapshot!(lines_about(&file), @"
    ERROR failed operation=fetch workspace_id=11111111-1111-4111-8111-111111111111 file_id=[file] code=platform_unavailable error=postgres is unavailable: connection refused (secret-host:5432) duration_ms=…
    ");
}

#[actix_web::test]
async fn a_failure_half_way_is_one_line() {
    let file = own_file();
    let known = file.clone();
    let app = Fixture::new()
        .storing(|storage| {
            storage
                .expect_get()
                .returning(move |_, _| Ok(known.clone()));
            storage
                .expect_read()
                .returning(|_, _, _| Ok(pieces(vec![Ok(b"01"), Err(unavailable())])));
        })
        .app();
    app.get(&Agent, &own_path(&file, "content")).await;
    insta::assert_snapshot!(lines_about(&file), @"
    ERROR failed operation=fetch workspace_id=11111111-1111-4111-8111-111111111111 file_id=[file] code=platform_unavailable error=postgres is unavailable: connection refused (secret-host:5432) duration_ms=…
    ");
}

#[actix_web::test]
async fn a_note_that_fails_is_one_line_beside_the_fetchs_own() {
    let file = own_file();
    let known = file.clone();
    let app = Fixture::new()
        .storing(|storage| {
            storage
                .expect_get()
                .returning(move |_, _| Ok(known.clone()));
            storage
                .expect_read()
                .returning(|_, _, _| Ok(pieces(vec![Ok(CONTENT)])));
            storage
                .expect_mark_fetched()
                .returning(|_, _| Err(unavailable()));
        })
        .app();
    app.get(&Agent, &own_path(&file, "content")).await;
    settle().await;
    insta::assert_snapshot!(lines_about(&file), @"
    INFO fetched workspace_id=11111111-1111-4111-8111-111111111111 file_id=[file] size_bytes=10 filename=mein_Bericht.pdf duration_ms=…
    ERROR failed operation=mark_fetched workspace_id=11111111-1111-4111-8111-111111111111 file_id=[file] error=postgres is unavailable: connection refused (secret-host:5432)
    ");
}

/// A workspace's server that breaks its answer off.
fn breaking_off() -> CallbackUrl {
    let agent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", agent.local_addr().unwrap());
    thread::spawn(move || {
        let (mut call, _) = agent.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut piece = [0; 1024];
            let count = call.read(&mut piece).unwrap();
            request.extend_from_slice(&piece[..count]);
        }
        call.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            .unwrap();
    });
    url.parse().unwrap()
}

#[actix_web::test]
async fn an_answer_of_a_workspace_that_breaks_off_is_one_line() {
    own_file();
    let mut fixture = Fixture::where_things_reach(&Delivery::Push {
        url: breaking_off(),
        secret: InboundSecret::restore("agents-secret".to_owned()),
    });
    fixture.settings.callbacks = CallbackPolicy::AllowPrivate;
    let body = json!({"jsonrpc": "2.0", "method": "message/send", "params": {}});
    let answer = fixture.app().post_json(&Agent, &path("a2a"), &body).await;
    assert_eq!((answer.status, answer.end), (200, End::BrokenOff));
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let told = |line: &&String| line.contains("workspace_unreachable");
    let lines: Vec<_> = lines.iter().filter(told).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let site = format!("ERROR failed operation=message workspace_id={WORKSPACE} ");
    assert!(lines[0].starts_with(&site), "{lines:?}");
    assert!(!lines[0].contains("agents-secret"), "{lines:?}");
}
