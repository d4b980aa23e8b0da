//! The connection: when a body is asked for, when it is closed, when it is waited for.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use pending_uploads_core::{
    ByteStream, FileId, Filename, Mimetype, MockStorage, PendingUpload, Sha256, Timestamp,
    WorkspaceId,
};
use upload_http::Settings;

use crate::support::{
    Client, Member, TestServer, block_on, eventually, filler, form, limits, part,
};

const MIB: usize = 1024 * 1024;

/// A server over the workspace's memory, where a file may have 64 KiB and a request 64 MiB.
fn start(member: &Member) -> TestServer {
    let settings = Settings {
        limits: limits(64 * 1024, 64 * MIB as u64),
        ..Settings::default()
    };
    TestServer::start(member.platform(), settings)
}

fn start_with_defaults(member: &Member) -> TestServer {
    TestServer::start(member.platform(), Settings::default())
}

fn start_impatient(member: &Member) -> TestServer {
    let settings = Settings {
        idle_timeout: Duration::from_millis(300),
        ..Settings::default()
    };
    TestServer::start(member.platform(), settings)
}

const EXPECT: &str = "Expect: 100-continue\r\n";

#[test]
fn a_body_is_not_asked_for_when_its_sender_may_not_upload() {
    let member = Member::polling();
    let server = start(&member);
    let stranger = Member {
        token: "another".to_owned(),
        ..Member::polling()
    };
    for (head, expected) in [
        (
            stranger.upload_head(&format!("{EXPECT}Content-Length: 10\r\n")),
            "unauthorized",
        ),
        (
            stranger.upload_head(&format!("{EXPECT}Transfer-Encoding: chunked\r\n")),
            "unauthorized",
        ),
    ] {
        let mut client = server.connect();
        client.send(head);
        let answer = client.read_message();
        assert_eq!(answer.refusal(), (401, expected.to_owned()));
        assert_eq!(answer.header("connection"), "close");
    }
}

#[test]
fn a_body_is_not_asked_for_when_it_announces_too_many_bytes() {
    let member = Member::polling();
    let server = start(&member);
    let mut client = server.connect();
    client.send(member.upload_head(&format!("{EXPECT}Content-Length: {}\r\n", 65 * MIB)));
    let answer = client.read_message();
    assert_eq!(answer.refusal(), (413, "request_too_large".to_owned()));
    assert_eq!(answer.json()["max"], 64 * MIB);
}

#[test]
fn a_body_is_not_asked_for_when_the_workspace_id_is_none() {
    let member = Member::polling();
    let server = start(&member);
    let mut client = server.connect();
    let head = member
        .upload_head(&format!("{EXPECT}Content-Length: 10\r\n"))
        .replace(&member.id.to_string(), "no-uuid");
    client.send(head);
    assert_eq!(
        client.read_message().refusal(),
        (400, "invalid_id".to_owned())
    );
}

#[test]
fn a_body_that_may_come_is_asked_for_and_taken() {
    let member = Member::polling();
    let server = start(&member);
    let body = form(&[b"hello"]);
    let mut client = server.connect();
    client.send(member.upload_head(&format!("{EXPECT}Content-Length: {}\r\n", body.len())));
    assert_eq!(client.read_head().status(), 100);
    client.send(body);
    let answer = client.read_message();
    assert_eq!(answer.status(), 200);
    assert_eq!(member.waiting()[0].sha256, Sha256::of(b"hello"));
}

#[test]
fn other_routes_ask_for_their_bodies_as_ever() {
    let member = Member::polling();
    let server = start(&member);
    let mut client = server.connect();
    client.send(format!(
        "POST /registry/register HTTP/1.1\r\nHost: x\r\n{EXPECT}Content-Length: 2\r\n\r\n"
    ));
    assert_eq!(client.read_head().status(), 100);
    client.send("{}");
    assert_eq!(client.read_message().status(), 400);
}

#[test]
fn an_early_refusal_can_be_read_by_a_client_that_is_still_sending() {
    let member = Member::polling();
    let server = start(&member);
    let mut client = server.connect();
    client.send(member.upload_head(&format!("Content-Length: {}\r\n", 32 * MIB)));
    let mut writer = client.writer();
    let sender = thread::spawn(move || {
        let mut sent = writer.write_all(&part("", &filler(65 * 1024)));
        for _ in 0..31 {
            sent = sent.and_then(|()| writer.write_all(&filler(MIB)));
        }
        sent
    });
    let answer = client.read_message();
    assert_eq!(answer.refusal(), (413, "file_too_large".to_owned()));
    assert_eq!(answer.json()["filename"], "a.txt");
    assert_eq!(answer.json()["max"], 64 * 1024);
    assert_eq!(answer.header("connection"), "close");
    assert!(
        sender.join().unwrap().is_ok(),
        "what it was still sending was taken"
    );
    assert!(member.nothing_is_left());
}

/// actix-http would drain the rest of a chunked body for ever.
#[test]
fn a_refused_chunked_upload_closes_the_connection() {
    let member = Member::polling();
    let server = start(&member);
    let mut client = server.connect();
    client.send(member.upload_head("Transfer-Encoding: chunked\r\n"));
    let start = part("", &filler(65 * 1024));
    client.send(format!("{:x}\r\n", start.len()));
    client.send(start);
    client.send("\r\n");
    let answer = client.read_message();
    assert_eq!(answer.refusal(), (413, "file_too_large".to_owned()));
    assert_eq!(answer.header("connection"), "close");
    let (rest, end) = client.read_to_end();
    assert!(rest.is_empty() && end.is_ok(), "the server closes: {end:?}");
}

#[test]
fn an_answer_to_a_whole_request_keeps_the_connection() {
    let member = Member::polling();
    let server = start(&member);
    let mut client = server.connect();
    for _ in 0..2 {
        client.send(member.upload(&form(&[b"hello"])));
        assert_eq!(client.read_message().status(), 200);
        client.send(member.upload(&form(&[b""])));
        assert_eq!(
            client.read_message().refusal(),
            (400, "empty_file".to_owned())
        );
    }
}

#[test]
fn an_upload_that_falls_silent_is_ended_and_nothing_is_left() {
    let member = Member::polling();
    let server = start_impatient(&member);
    let body = form(&[&filler(2 * MIB)]);
    let mut client = server.connect();
    client.send(&member.upload(&body)[..body.len() - 100]);
    let answer = client.read_message();
    assert_eq!(answer.refusal(), (408, "idle_timeout".to_owned()));
    assert_eq!(answer.header("connection"), "close");
    eventually("nothing is left", || member.nothing_is_left());
}

#[test]
fn an_upload_whose_client_goes_away_leaves_nothing() {
    let member = Member::polling();
    let server = start_with_defaults(&member);
    let body = form(&[&filler(3 * MIB)]);
    let mut client = server.connect();
    client.send(&member.upload(&body)[..body.len() - 100]);
    eventually("the first bytes are staged", || {
        member.stats().staged_files == 1
    });
    drop(client);
    eventually("nothing is left", || member.nothing_is_left());
}

#[test]
fn an_upload_that_its_client_ends_too_early_is_malformed() {
    let member = Member::polling();
    let server = start(&member);
    let request = member.upload(&form(&[b"hello"]));
    let mut client = server.connect();
    client.send(&request[..request.len() - 5]);
    client.writer().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(
        client.read_message().refusal(),
        (400, "malformed_multipart".to_owned())
    );
    assert!(member.nothing_is_left());
}

#[test]
fn a_part_length_that_is_wrong_is_refused_and_one_that_is_right_passes() {
    let member = Member::polling();
    let server = start(&member);
    for (length, expected) in [(4, 400), (6, 400), (500, 400), (5, 200)] {
        let header = format!("Content-Length: {length}\r\n");
        let body = [&part(&header, b"hello")[..], b"--xyz--\r\n"].concat();
        let mut client = server.connect();
        client.send(member.upload(&body));
        let answer = client.read_message();
        assert_eq!(answer.status(), expected, "{length}");
        if expected == 400 {
            assert_eq!(answer.json()["code"], "malformed_multipart");
            assert!(member.nothing_is_left());
        }
    }
    assert_eq!(member.waiting()[0].sha256, Sha256::of(b"hello"));
}

/// A record of a file of `size_bytes` that waits for `workspace`.
pub fn record(workspace: WorkspaceId, size_bytes: u64) -> PendingUpload {
    PendingUpload {
        file_id: FileId::from_uuid(uuid::Uuid::from_u128(1)),
        workspace_id: workspace,
        filename: Filename::sanitize("a.bin"),
        mimetype: Mimetype::absent(),
        size_bytes,
        sha256: Sha256::of(b""),
        created_at: Timestamp::from_micros(0),
        expires_at: Timestamp::from_micros(i64::MAX),
        fetched_at: None,
        acked_at: None,
    }
}

/// Counts the streams that are alive.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn endless(alive: &Arc<AtomicUsize>) -> ByteStream {
    alive.fetch_add(1, Ordering::SeqCst);
    let counted = Alive(Arc::clone(alive));
    stream::repeat(Bytes::from(vec![b'x'; MIB]))
        .map(move |piece| {
            let _ = &counted;
            Ok(piece)
        })
        .boxed()
}

#[cfg(target_os = "linux")]
#[test]
fn a_download_that_nobody_reads_ends() {
    let member = Member::polling();
    let alive = Arc::new(AtomicUsize::new(0));
    let mut storage = MockStorage::new();
    let id = member.id;
    storage
        .expect_get()
        .returning(move |_, _| Ok(record(id, u64::MAX / 2)));
    let counted = Arc::clone(&alive);
    storage
        .expect_read()
        .returning(move |_, _, _| Ok(endless(&counted)));
    let settings = Settings {
        idle_timeout: Duration::from_millis(500),
        ..Settings::default()
    };
    let server = TestServer::start(member.platform().staging(Arc::new(storage)), settings);
    let mut client = server.connect();
    let file = record(id, 1).file_id;
    client.send(member.get(&format!("pending-uploads/{file}/content")));
    assert_eq!(client.read_head().status(), 200);
    assert_eq!(alive.load(Ordering::SeqCst), 1, "the download is under way");
    eventually("the download ended", || alive.load(Ordering::SeqCst) == 0);
}

#[test]
fn a_server_that_is_told_to_stop_finishes_what_is_under_way() {
    let member = Member::polling();
    let server = start_with_defaults(&member);

    let body = form(&[&filler(3 * MIB)]);
    let request = member.upload(&body);
    let (first, rest) = request.split_at(request.len() - 100);
    let mut uploading = server.connect();
    uploading.send(first);
    eventually("the first bytes are staged", || {
        member.stats().staged_files == 1
    });

    let mut waiting = server.connect();
    waiting.send(member.upload(&form(&[b"first"])));
    assert_eq!(waiting.read_message().status(), 200);
    waiting.send(member.get("activity"));
    let newest = waiting.read_message().json()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    waiting.send(member.get(&format!("activity?since_id={newest}&wait=60")));
    let mut idle = server.connect();
    idle.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.read_message().status(), 200);
    assert!(waiting.is_silent());

    drop(server.handle.stop(true));
    let answer = waiting.read_message();
    assert_eq!((answer.status(), &answer.body[..]), (200, &b"[]"[..]));
    assert_closed(&mut idle);
    uploading.send(rest);
    let answer = uploading.read_message();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("connection"), "close");
    server.join();
    assert_eq!(member.waiting().len(), 2);
}

fn assert_closed(client: &mut Client) {
    let (rest, end) = client.read_to_end();
    assert!(rest.is_empty() && end.is_ok(), "{end:?}");
}

#[test]
fn a_stopped_server_does_not_stop_the_platform_of_another() {
    let member = Member::polling();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let platform = member.platform().shutdown(shutdown.clone());
    let server = TestServer::start(platform, Settings::default());
    let mut client = server.connect();
    client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.read_message().status(), 200);
    block_on(server.handle.stop(true));
    server.join();
    assert!(!shutdown.is_cancelled());
}

#[test]
fn a_broken_transfer_coding_is_not_called_an_early_end() {
    let member = Member::polling();
    let server = start_with_defaults(&member);
    let mut client = server.connect();
    client.send(member.upload_head("Transfer-Encoding: chunked\r\n"));
    let start = part("", &filler(2 * MIB));
    client.send([format!("{:x}\r\n", start.len()).as_bytes(), &start, b"\r\n"].concat());
    eventually("the first bytes are staged", || {
        member.stats().staged_files == 1
    });
    client.send("no size\r\n");
    let answer = client.read_message();
    assert_eq!(answer.refusal(), (400, "malformed_multipart".to_owned()));
    let sentence = answer.json()["error"].to_string();
    assert!(sentence.contains("transfer coding"), "{sentence}");
    eventually("nothing is left", || member.nothing_is_left());
}

/// actix-http encodes an answer by the last request that it has read.
#[test]
fn a_request_that_is_sent_right_after_a_head_gets_its_own_answer() {
    let member = Member::polling();
    let server = start(&member);
    let mut client = server.connect();
    client.send(member.upload(&form(&[b"hello"])));
    assert_eq!(client.read_message().status(), 200);
    let file = member.waiting()[0].file_id;
    for (rest, length) in [
        (format!("pending-uploads/{file}/content"), "5"),
        ("pending-uploads".to_owned(), ""),
        ("no-route".to_owned(), "67"),
    ] {
        let get = member.get(&rest);
        let head = get.replacen("GET", "HEAD", 1);
        client.send(format!("{head}{}", member.get("activity")));
        let answer = client.read_head();
        assert_eq!(answer.header("content-length"), length, "{rest}");
        assert_eq!(
            client.read_message().json()[0]["method"],
            "chat_upload_receive"
        );

        client.send(&head);
        assert_eq!(
            client.read_head().header("content-length"),
            length,
            "{rest}"
        );
        client.send(get);
        let whole = client.read_message();
        assert_eq!(whole.status(), answer.status(), "the connection is in step");
        assert!(length.is_empty() || whole.body.len().to_string() == length);
    }
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks() {
    let member = Member::polling();
    let server = start(&member);
    let mut client = server.connect();
    client.send(member.upload(&form(&[b"hello"])));
    assert_eq!(client.read_message().status(), 200);
    for more in ["", "Connection: keep-alive\r\n"] {
        let request = member.get("pending-uploads");
        let request = request.replace("HTTP/1.1\r\n", &format!("HTTP/1.0\r\n{more}"));
        let mut client = server.connect();
        client.send(request);
        let answer = client.read_message();
        assert_eq!(answer.header("transfer-encoding"), "");
        assert_eq!(answer.header("connection"), "", "it is not kept");
        assert_eq!(answer.json()[0]["name"], "a.txt");
    }
}

/// The route decodes a segment of the path, and so its id is the route's to judge.
#[test]
fn an_id_that_is_percent_encoded_is_one_with_and_without_an_expectation() {
    let member = Member::polling();
    let server = start(&member);
    let id = member.id.to_string();
    let encoded = id.replacen('-', "%2D", 1);
    let body = form(&[b"hello"]);
    let head = member.upload_head(&format!("{EXPECT}Content-Length: {}\r\n", body.len()));
    let mut client = server.connect();
    client.send(head.replace(&id, &encoded));
    assert_eq!(client.read_head().status(), 100);
    client.send(&body);
    assert_eq!(client.read_message().status(), 200);
    client.send(head.replace(&id, "no%2Duuid"));
    assert_eq!(client.read_head().status(), 100);
    client.send(&body);
    assert_eq!(
        client.read_message().refusal(),
        (400, "invalid_id".to_owned())
    );
}
