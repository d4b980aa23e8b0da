//! Uploads: how they are sent, and what comes back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use inbox_client::{
    CallError, FixedToken, Platform, PlatformWorkspace, Timeouts, UploadFile, UploadedFile,
};
use pending_uploads_core::{Mimetype, Sha256, WorkspaceId};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::scripted::{Answer, Scripted};
use crate::support::{HASTY, PATIENT, TOKEN, token, workspace};

/// More than any socket keeps.
const LARGE: u64 = 64 * 1024 * 1024;

fn file(name: &str, length: Option<u64>, bytes: &'static [u8]) -> UploadFile {
    UploadFile::from_reader(name, Mimetype::parse("text/plain"), length, bytes)
}

/// A file of zeros that never ends by itself.
fn large() -> UploadFile {
    let zeros = stream::repeat_with(|| Ok(Bytes::from(vec![0; 1024 * 1024])));
    UploadFile::from_stream("large", Mimetype::absent(), Some(LARGE), zeros)
}

/// What the platform says of a file.
fn taken(name: &str) -> Value {
    json!({"uri": "platform-pending:x/y", "name": name, "originalName": name, "size": 3,
           "mimeType": "text/plain", "sha256": Sha256::of(b"abc").to_string()})
}

fn takes(names: &[&str]) -> Answer {
    let files: Vec<_> = names.iter().map(|name| taken(name)).collect();
    Answer::json(200, &json!({ "files": files }))
}

async fn scripted(timeouts: Timeouts) -> (Scripted, PlatformWorkspace, String) {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace(&scripted, timeouts);
    (scripted, workspace, format!("{path}/chat/uploads"))
}

/// What becomes of an upload that is answered so.
async fn answered(answer: Answer) -> Result<Vec<UploadedFile>, CallError> {
    let (scripted, workspace, path) = scripted(PATIENT).await;
    scripted.on("POST", &path, [answer]);
    workspace.upload(vec![file("a", Some(3), b"abc")]).await
}

#[tokio::test]
async fn a_form_of_known_length_is_sent_with_it() {
    let (scripted, workspace, path) = scripted(PATIENT).await;
    scripted.on("POST", &path, [takes(&["a.txt", "b.txt"])]);
    let files = vec![
        file("a.txt", Some(3), b"abc"),
        file("中.txt", Some(2), b"de"),
    ];
    let uploaded = workspace.upload(files).await.unwrap();
    let request = scripted.request();
    let length = request.body.len().to_string();
    assert_eq!(request.header("content-length"), Some(length.as_str()));
    let kind = request.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let part = |name, bytes| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"files\"; \
             filename=\"{name}\"\r\nContent-Type: text/plain\r\n\r\n{bytes}\r\n"
        )
    };
    let form = part("a.txt", "abc") + &part("中.txt", "de") + &format!("--{boundary}--\r\n");
    assert_eq!(String::from_utf8(request.body).unwrap(), form);
    let names: Vec<_> = uploaded.iter().map(|f| f.filename.as_str()).collect();
    assert_eq!(names, ["a.txt", "b.txt"]);
    assert_eq!(uploaded[0].uri, "platform-pending:x/y");
    assert_eq!(uploaded[0].size_bytes, Some(3));
    assert_eq!(uploaded[0].sha256, Some(Sha256::of(b"abc")));
    assert_eq!(uploaded[0].mimetype, Mimetype::parse("text/plain"));
}

#[tokio::test]
async fn a_form_of_unknown_length_is_sent_in_chunks() {
    let (scripted, workspace, path) = scripted(PATIENT).await;
    scripted.on("POST", &path, [takes(&["a", "b"])]);
    let files = vec![file("a", Some(3), b"abc"), file("b", None, b"de")];
    workspace.upload(files).await.unwrap();
    let request = scripted.request();
    assert_eq!(request.header("content-length"), None);
    assert_eq!(request.header("transfer-encoding"), Some("chunked"));
    let form = String::from_utf8(request.body).unwrap();
    assert!(form.contains("\r\n\r\nde\r\n"), "{form}");
}

#[tokio::test]
async fn an_answer_that_does_not_speak_of_each_file_is_malformed() {
    for answer in [
        takes(&[]),
        takes(&["a", "b"]),
        Answer::json(200, &json!({"files": [{"name": "a"}]})),
        Answer::bytes(200, "<html>"),
    ] {
        let error = answered(answer).await.unwrap_err();
        assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_platform_may_say_less_of_a_file() {
    let said = json!({"files": [{"uri": "workspace:/a\u{1b}", "name": "../a b"}]});
    let uploaded = answered(Answer::json(200, &said)).await.unwrap().remove(0);
    assert_eq!(uploaded.uri, "workspace:/a");
    assert_eq!(uploaded.filename.as_str(), "a_b");
    assert_eq!((uploaded.size_bytes, uploaded.sha256), (None, None));
}

#[tokio::test]
async fn a_quota_that_is_full_is_a_refusal_with_its_code() {
    let error = answered(Answer::error(507, "quota_exceeded")).await;
    let Err(CallError::Refused { status, code, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!((status, code.as_deref()), (507, Some("quota_exceeded")));
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_is_heard() {
    let (scripted, workspace, path) = scripted(PATIENT).await;
    scripted.on_head("POST", &path, Answer::error(413, "file_too_large"));
    let error = workspace.upload(vec![large()]).await.unwrap_err();
    let refused = matches!(error, CallError::Refused { status: 413, .. });
    assert!(refused, "{error:?}");
}

#[tokio::test]
async fn a_platform_that_stops_reading_is_not_waited_for() {
    let (scripted, workspace, path) = scripted(HASTY).await;
    scripted.ignore("POST", &path);
    let error = workspace.upload(vec![large()]).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut), "{error:?}");
}

#[tokio::test]
async fn a_platform_that_does_not_answer_to_an_upload_is_not_waited_for() {
    let (scripted, workspace, path) = scripted(HASTY).await;
    scripted.ignore("POST", &path);
    let files = vec![file("a", Some(3), b"abc")];
    let error = workspace.upload(files).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut), "{error:?}");
}

#[tokio::test]
async fn an_upload_that_was_sent_whole_and_not_answered_may_have_been_taken() {
    for length in [Some(3), None] {
        let (scripted, workspace, path) = scripted(PATIENT).await;
        scripted.on("POST", &path, [takes(&["a"]).delayed(PATIENT.answer)]);
        let breaks = async {
            scripted.came(1).await;
            drop(scripted);
        };
        let upload = workspace.upload(vec![file("a", length, b"abc")]);
        let (uploaded, ()) = tokio::join!(upload, breaks);
        let error = uploaded.unwrap_err();
        assert!(matches!(error, CallError::Unanswered(_)), "{error:?}");
    }
}

#[tokio::test]
async fn an_upload_whose_connection_breaks_before_its_end_was_not_taken() {
    let (scripted, workspace, path) = scripted(PATIENT).await;
    scripted.ignore("POST", &path);
    let breaks = async {
        scripted.came(1).await;
        drop(scripted);
    };
    let (uploaded, ()) = tokio::join!(workspace.upload(vec![large()]), breaks);
    let error = uploaded.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn an_upload_to_nobody_was_not_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let platform = Platform::new(url.parse().unwrap(), PATIENT).unwrap();
    let token = Arc::new(FixedToken(token(TOKEN)));
    let workspace = platform.workspace(WorkspaceId::generate(), token);
    let files = vec![file("a", Some(3), b"abc")];
    let error = workspace.upload(files).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_slow_to_read_may_take_its_time() {
    let (scripted, workspace, path) = scripted(HASTY).await;
    scripted.on("POST", &path, [takes(&["a"])]);
    let (mut writer, reader) = tokio::io::duplex(16);
    let write = async {
        writer.write_all(b"ab").await.unwrap();
        tokio::time::sleep(3 * (HASTY.idle + HASTY.answer)).await;
        writer.write_all(b"c").await.unwrap();
        drop(writer);
    };
    let slow = UploadFile::from_reader("a", Mimetype::absent(), None, reader);
    let (uploaded, ()) = tokio::join!(workspace.upload(vec![slow]), write);
    assert_eq!(uploaded.unwrap().len(), 1);
    let form = String::from_utf8(scripted.request().body).unwrap();
    assert!(form.contains("\r\n\r\nabc\r\n"), "{form}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_whole_is_not_sent() {
    let (scripted, workspace, path) = scripted(PATIENT).await;
    scripted.on("POST", &path, [takes(&["a"])]);
    let broken = stream::iter([
        Ok(Bytes::from_static(b"ab")),
        Err(io::Error::from(io::ErrorKind::PermissionDenied)),
    ]);
    let broken = UploadFile::from_stream("a", Mimetype::absent(), None, broken);
    for (file, kind) in [
        (broken, io::ErrorKind::PermissionDenied),
        (file("a", Some(4), b"abc"), io::ErrorKind::UnexpectedEof),
        (file("a", Some(2), b"abc"), io::ErrorKind::InvalidData),
    ] {
        let error = workspace.upload(vec![file]).await.unwrap_err();
        let CallError::Unreadable(error) = error else {
            panic!("{error:?}");
        };
        assert_eq!(error.kind(), kind);
    }
    assert!(scripted.requests().is_empty(), "nothing came whole");
}

#[tokio::test]
async fn a_large_file_is_sent_whole() {
    let (scripted, workspace, path) = scripted(PATIENT).await;
    scripted.on("POST", &path, [takes(&["a"])]);
    let length = 8 * 1024 * 1024 + 7;
    let bytes = vec![7; length];
    let digest = Sha256::of(&bytes);
    let length = u64::try_from(length).unwrap();
    let reader = io::Cursor::new(bytes);
    let large = UploadFile::from_reader("a", Mimetype::absent(), Some(length), reader);
    workspace.upload(vec![large]).await.unwrap();
    let body = scripted.request().body;
    let start = body
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let end = start + usize::try_from(length).unwrap();
    assert_eq!(Sha256::of(&body[start..end]), digest);
    let within = tokio::time::timeout(Duration::ZERO, scripted.came(1)).await;
    within.unwrap();
}
