//! Uploads for workspaces that are called: streamed on to them, and their answers back.

use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use upload_http::{CallbackPolicy, Settings};

use crate::support::{Client, Member, Message, TestServer, filler, form, limits, part};

const MIB: usize = 1024 * 1024;

/// A workspace's own server, which does what its test says.
struct Agent(TcpListener);

impl Agent {
    fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.local_addr().unwrap())
    }

    fn member(&self) -> Member {
        Member::called_at(&self.url("/agent/"))
    }

    /// Takes the call that has been or will be made.
    fn answer_call(&self) -> Client {
        Client::new(self.0.accept().unwrap().0)
    }

    /// Nobody has called.
    fn was_not_called(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        self.0.accept().is_err()
    }
}

fn allowing_private() -> Settings {
    Settings {
        callbacks: CallbackPolicy::AllowPrivate,
        limits: limits(8 * MIB as u64, 16 * MIB as u64),
        ..Settings::default()
    }
}

fn start(member: &Member) -> TestServer {
    TestServer::start(member.platform(), allowing_private())
}

fn start_impatient(member: &Member) -> TestServer {
    let settings = Settings {
        idle_timeout: Duration::from_secs(1),
        ..allowing_private()
    };
    TestServer::start(member.platform(), settings)
}

fn assert_unreachable(answer: &Message) {
    assert_eq!(answer.refusal(), (502, "workspace_unreachable".to_owned()));
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(!text.contains("127.0.0.1"), "no internals: {text}");
}

#[test]
fn an_upload_reaches_the_workspace_whole_and_its_answer_comes_back() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start(&member);
    let body = form(&[b"hello", &filler(MIB)]);
    let mut client = server.connect();
    client.send(member.upload(&body));

    let mut call = agent.answer_call();
    let request = call.read_message();
    assert_eq!(
        request.line,
        "POST /agent/internal/chat/uploads/ingest HTTP/1.1"
    );
    assert_eq!(
        request.header("authorization"),
        format!("Bearer {}", member.secret)
    );
    assert_eq!(
        request.header("content-type"),
        "multipart/form-data; boundary=xyz"
    );
    assert_eq!(request.header("content-length"), body.len().to_string());
    assert!(request.body == body, "the body is the client's");
    call.send(
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\
        Set-Cookie: a=b\r\nLocation: http://evil.example/\r\nRetry-After: 7\r\n\r\n{\"a\":1}",
    );

    let answer = client.read_message();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.body, b"{\"a\":1}");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("retry-after"), "7");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("set-cookie"), "");
    assert_eq!(answer.header("location"), "");
    assert!(member.nothing_is_left(), "nothing was staged");
}

#[test]
fn bytes_go_on_as_they_arrive_and_the_answer_comes_back_as_it_arrives() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start(&member);
    let body = form(&[b"hello"]);
    let (first, rest) = body.split_at(20);
    let mut client = server.connect();
    client.send(member.upload_head("Transfer-Encoding: chunked\r\n"));
    client.send([b"14\r\n", first, b"\r\n"].concat());

    let mut call = agent.answer_call();
    let head = call.read_head();
    assert_eq!(head.header("transfer-encoding"), "chunked");
    assert_eq!(
        call.read_chunk().unwrap(),
        first,
        "before the client has sent the rest"
    );
    client.send(format!("{:x}\r\n", rest.len()));
    client.send([rest, b"\r\n0\r\n\r\n"].concat());
    assert_eq!(call.read_chunk().unwrap(), rest);
    assert_eq!(call.read_chunk(), None);

    call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    assert_eq!(client.read_head().status(), 200);
    assert_eq!(
        client.read_chunk().unwrap(),
        b"one",
        "before the workspace has sent the rest"
    );
    call.send("3\r\ntwo\r\n0\r\n\r\n");
    assert_eq!(client.read_chunk().unwrap(), b"two");
    assert_eq!(client.read_chunk(), None);
}

#[test]
fn a_redirect_is_not_followed_and_comes_back_without_its_target() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start(&member);
    let mut client = server.connect();
    client.send(member.upload(&form(&[b"hello"])));
    let mut call = agent.answer_call();
    call.read_message();
    let target = agent.url("/elsewhere");
    call.send(format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
    ));
    let answer = client.read_message();
    assert_eq!(answer.status(), 307);
    assert_eq!(answer.header("location"), "");
    assert!(agent.was_not_called(), "a second time");
}

#[test]
fn an_answer_before_the_body_was_read_comes_back() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start(&member);
    let mut client = server.connect();
    client.send(member.upload_head("Content-Length: 1000000\r\n"));
    client.send(part("", b"the beginning"));
    let mut call = agent.answer_call();
    call.read_head();
    call.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let answer = client.read_message();
    assert_eq!((answer.status(), &answer.body[..]), (403, &b"no"[..]));
}

#[test]
fn an_upload_that_is_accepted_before_all_of_it_was_read_arrives_whole() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start(&member);
    let mut client = server.connect();
    let body = form(&[&vec![7; 300_000]]);
    let (beginning, rest) = body.split_at(1000);
    client.send(member.upload_head(&format!("Content-Length: {}\r\n", body.len())));
    client.send(beginning);
    let mut call = agent.answer_call();
    call.read_head();
    call.send("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok");
    client.send(rest);
    assert!(call.read_bytes(body.len()) == body);
    assert_eq!(client.read_message().status(), 202);
}

#[test]
fn an_address_that_is_not_public_is_not_called() {
    let agent = Agent::start();
    for url in [
        agent.url("/"),
        agent.url("/").replace("127.0.0.1", "localhost"),
    ] {
        let member = Member::called_at(&url);
        let server = TestServer::start(member.platform(), Settings::default());
        let mut client = server.connect();
        client.send(member.upload(&form(&[b"hello"])));
        assert_unreachable(&client.read_message());
        assert!(agent.was_not_called(), "{url}");
    }
}

#[test]
fn a_workspace_that_takes_no_call_is_unreachable() {
    let agent = Agent::start();
    let member = agent.member();
    drop(agent);
    let server = start(&member);
    let mut client = server.connect();
    client.send(member.upload(&form(&[b"hello"])));
    assert_unreachable(&client.read_message());
}

#[test]
fn a_workspace_that_hangs_up_is_unreachable() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start(&member);
    let mut client = server.connect();
    client.send(member.upload(&form(&[b"hello"])));
    let mut call = agent.answer_call();
    call.read_message();
    drop(call);
    assert_unreachable(&client.read_message());
}

#[test]
fn a_workspace_that_does_not_speak_tls_is_unreachable_at_an_https_url() {
    let agent = Agent::start();
    let member = Member::called_at(&agent.url("/").replace("http:", "https:"));
    let server = start(&member);
    let mut client = server.connect();
    client.send(member.upload(&form(&[b"hello"])));
    let mut call = agent.answer_call();
    assert_eq!(
        call.read_bytes(1),
        [22],
        "a TLS handshake record (RFC 8446, section 5.1)"
    );
    call.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_unreachable(&client.read_message());
}

#[test]
fn a_workspace_that_stops_reading_is_unreachable() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start_impatient(&member);
    let mut client = server.connect();
    client.send(member.upload_head(&format!("Content-Length: {}\r\n", 16 * MIB)));
    let mut writer = client.writer();
    let sender =
        std::thread::spawn(move || std::io::Write::write_all(&mut writer, &filler(16 * MIB)));
    let _call = agent.answer_call();
    assert_unreachable(&client.read_message());
    sender.join().unwrap().unwrap();
}

#[test]
fn a_body_that_ends_too_early_is_not_taken_for_whole() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start(&member);
    let body = form(&[b"hello"]);
    for head in ["Transfer-Encoding: chunked\r\n", "Content-Length: 1000\r\n"] {
        let mut client = server.connect();
        client.send(member.upload_head(head));
        if head.starts_with('T') {
            client.send(format!("{:x}\r\n", body.len()));
        }
        client.send(&body);
        let mut call = agent.answer_call();
        call.read_head();
        client.writer().shutdown(Shutdown::Write).unwrap();
        let answer = client.read_message();
        assert_eq!(answer.refusal(), (400, "malformed_multipart".to_owned()));
        let (received, _) = call.read_to_end();
        assert!(!received.ends_with(b"0\r\n\r\n"), "{head}");
        assert!(received.len() < 1000, "{head}");
    }
}

#[test]
fn the_request_cap_and_the_idle_deadline_hold_for_a_body_that_goes_on() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start_impatient(&member);

    let mut client = server.connect();
    client.send(member.upload_head(&format!("Content-Length: {}\r\n", 17 * MIB)));
    assert_eq!(
        client.read_message().refusal(),
        (413, "request_too_large".to_owned())
    );
    assert!(agent.was_not_called());
    agent.0.set_nonblocking(false).unwrap();

    let mut client = server.connect();
    client.send(member.upload_head("Content-Length: 1000\r\n"));
    let mut call = agent.answer_call();
    call.read_head();
    assert_eq!(
        client.read_message().refusal(),
        (408, "idle_timeout".to_owned())
    );

    let mut client = server.connect();
    client.send(member.upload_head("Transfer-Encoding: chunked\r\n"));
    let mut writer = client.writer();
    let sender = std::thread::spawn(move || {
        let chunk = [format!("{MIB:x}\r\n").as_bytes(), &filler(MIB), b"\r\n"].concat();
        (0..17).try_for_each(|_| std::io::Write::write_all(&mut writer, &chunk))
    });
    let mut call = agent.answer_call();
    call.read_head();
    assert!(call.read_to_end().0.len() < 17 * MIB, "it was cut off");
    assert_eq!(
        client.read_message().refusal(),
        (413, "request_too_large".to_owned())
    );
    sender.join().unwrap().unwrap();
}

#[test]
fn an_answer_that_stops_arriving_is_broken_off() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start_impatient(&member);
    let mut client = server.connect();
    client.send(member.upload(&form(&[b"hello"])));
    let mut call = agent.answer_call();
    call.read_message();
    call.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    assert_eq!(client.read_head().header("content-length"), "100");
    assert_eq!(client.read_to_end().0, b"only this");
}

#[test]
fn an_answer_without_a_body_comes_back() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start(&member);
    let mut client = server.connect();
    client.send(member.upload(&form(&[b"hello"])));
    let mut call = agent.answer_call();
    call.read_message();
    call.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.read_head().status(), 204);
    assert_in_step(&mut client);

    client.send(member.upload(&form(&[b"hello"])));
    let mut call = agent.answer_call();
    call.read_message();
    call.send("HTTP/1.1 205 Reset Content\r\nContent-Length: 4\r\n\r\nbody");
    let answer = client.read_message();
    assert_eq!((answer.status(), answer.body), (205, Vec::new()));
    assert_in_step(&mut client);
}

fn assert_in_step(client: &mut Client) {
    client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.read_message();
    assert_eq!(answer.status(), 200, "the connection is in step");
}

#[test]
fn a_status_that_is_none_of_an_answer_is_no_answer() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start(&member);
    for status in ["101 Switching Protocols", "600 Beyond", "999 Far Beyond"] {
        let mut client = server.connect();
        client.send(member.upload(&form(&[b"hello"])));
        let mut call = agent.answer_call();
        call.read_message();
        call.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        assert_unreachable(&client.read_message());
    }
}

#[test]
fn a_message_goes_on_to_the_workspaces_url() {
    let agent = Agent::start();
    let member = agent.member();
    let server = start(&member);
    let message = r#"{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{}}}"#;
    let head = member
        .upload_head(&format!("Content-Length: {}\r\n", message.len()))
        .replace("chat/uploads", "a2a")
        .replace("multipart/form-data; boundary=xyz", "application/json");
    let mut client = server.connect();
    client.send(head + message);
    let mut call = agent.answer_call();
    let request = call.read_message();
    assert_eq!(request.line, "POST /agent/ HTTP/1.1");
    assert_eq!(
        request.header("authorization"),
        format!("Bearer {}", member.secret)
    );
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.body, message.as_bytes());
    call.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
    let answer = client.read_message();
    assert_eq!((answer.status(), &answer.body[..]), (200, &b"{}"[..]));
}
