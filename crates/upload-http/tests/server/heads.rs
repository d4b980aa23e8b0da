//! The deadline of a request's head, on a connection that has been answered before.

use std::io::Write;
use std::thread;
use std::time::Duration;

use upload_http::{ServeOptions, Settings};

use crate::support::{Client, Member, TestServer, form};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// A server that gives a head little time.
fn start(member: &Member) -> TestServer {
    let options = ServeOptions {
        head_timeout: Duration::from_millis(500),
        ..ServeOptions::default()
    };
    TestServer::start_with(member.platform(), Settings::default(), options)
}

/// A connection that has been answered once.
fn answered(server: &TestServer) -> Client {
    let mut client = server.connect();
    client.send(HEALTH);
    assert_eq!(client.read_message().status(), 200);
    client
}

fn assert_ends_with_408(client: &mut Client) {
    let answer = client.read_message();
    assert_eq!((answer.status(), answer.body.len()), (408, 0));
    assert_eq!(answer.header("connection"), "close");
    assert!(!answer.header("date").is_empty());
    let (rest, end) = client.read_to_end();
    assert!(rest.is_empty() && end.is_ok(), "{end:?}");
}

/// Waits until a head that began after everything before was late.
fn wait_for_a_late_head(server: &TestServer) {
    let mut client = answered(server);
    client.send("G");
    assert_ends_with_408(&mut client);
}

#[test]
fn half_a_head_after_an_answer_ends_the_connection() {
    let member = Member::polling();
    let server = start(&member);
    for half in ["G", "\r\n", "GET /healthz HTTP/1.1\r\nHost: x\r\n"] {
        let mut client = answered(&server);
        client.send(half);
        assert_ends_with_408(&mut client);
    }
}

#[test]
fn half_a_head_that_came_with_the_request_before_ends_the_connection() {
    let member = Member::polling();
    let server = start(&member);
    let mut client = server.connect();
    client.send(format!("{HEALTH}G"));
    assert_eq!(client.read_message().status(), 200);
    client.send("E");
    assert_ends_with_408(&mut client);
}

#[test]
fn a_connection_that_says_nothing_is_kept_for_longer_than_a_head_may_take() {
    let member = Member::polling();
    let server = start(&member);
    let mut client = answered(&server);
    wait_for_a_late_head(&server);
    client.send(HEALTH);
    assert_eq!(client.read_message().status(), 200);
}

#[test]
fn a_poll_waits_for_longer_than_a_head_may_take_and_the_connection_goes_on() {
    let member = Member::polling();
    let server = start(&member);
    let nil = uuid::Uuid::nil();
    let mut waiting = answered(&server);
    waiting.send(member.get(&format!("activity?since_id={nil}&wait=60")));
    let mut piped = answered(&server);
    piped.send(member.get(&format!("activity?since_id={nil}&wait=60")) + HEALTH);
    wait_for_a_late_head(&server);

    let mut sender = server.connect();
    sender.send(member.upload(&form(&[b"hello"])));
    assert_eq!(sender.read_message().status(), 200);
    for client in [&mut waiting, &mut piped] {
        let answer = client.read_message();
        assert_eq!(answer.json()[0]["method"], "chat_upload_receive");
    }
    assert_eq!(piped.read_message().status(), 200);
    for client in [&mut waiting, &mut piped] {
        client.send(HEALTH);
        assert_eq!(client.read_message().status(), 200);
    }
}

#[test]
fn a_body_may_take_longer_than_a_head() {
    let member = Member::polling();
    let server = start(&member);
    let request = member.upload(&form(&[b"hello"]));
    let (first, rest) = request.split_at(request.len() - 20);
    let mut uploading = answered(&server);
    uploading.send(first);
    wait_for_a_late_head(&server);
    uploading.send(rest);
    assert_eq!(uploading.read_message().status(), 200);
    uploading.send(HEALTH);
    assert_eq!(uploading.read_message().status(), 200);
}

#[test]
fn what_is_piled_up_behind_a_poll_is_answered_after_it() {
    let member = Member::polling();
    let server = start(&member);
    let nil = uuid::Uuid::nil();
    let mut waiting = server.connect();
    waiting.send(member.get(&format!("activity?since_id={nil}&wait=60")));
    let mut writer = waiting.writer();
    // More than is read before the poll is over.
    let count = 20_000;
    let piling_up = thread::spawn(move || writer.write_all(HEALTH.repeat(count).as_bytes()));
    let mut sender = server.connect();
    sender.send(member.upload(&form(&[b"hello"])));
    assert_eq!(sender.read_message().status(), 200);
    let answer = waiting.read_message();
    assert_eq!(answer.json()[0]["method"], "chat_upload_receive");
    for _ in 0..count {
        assert_eq!(waiting.read_message().status(), 200);
    }
    piling_up.join().unwrap().unwrap();
}
