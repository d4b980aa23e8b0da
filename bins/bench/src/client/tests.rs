//! What the client sends and understands.

use std::sync::Arc;

use super::answer::{Afterwards, Framing, Head};
use super::{Connection, Form, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server that reads a request of so many bytes and answers those.
async fn server(request_bytes: usize, answer: &'static [u8]) -> Connection {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; request_bytes];
        stream.read_exact(&mut request).await.unwrap();
        for byte in answer {
            stream.write_all(&[*byte]).await.unwrap();
        }
    });
    Connection::open(address).await.unwrap()
}

fn head(text: &[u8]) -> Head {
    Head::parse(text).unwrap().unwrap()
}

#[test]
fn a_head_says_how_the_end_of_its_body_is_found() {
    let with_length = head(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
    assert_eq!(with_length.framing, Framing::Length(12));
    assert_eq!(with_length.afterwards, Afterwards::Open);
    let chunked = b"HTTP/1.1 413 No\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let chunked = head(chunked);
    assert_eq!(chunked.framing, Framing::Chunked);
    assert_eq!(chunked.afterwards, Afterwards::Closed);
    assert_eq!(chunked.status, 413);
}

#[test]
fn a_head_that_is_not_whole_is_waited_for() {
    assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\nCont").unwrap(), None);
    assert!(Head::parse(b"SSH-2.0-x\r\n\r\n").is_err());
}

#[tokio::test]
async fn a_form_is_as_long_as_its_head_says() {
    for (files, bytes) in [(1, 1_000), (64, 1_000), (2, 3_000_000)] {
        let request = Request::upload("/x", None, Arc::new(Form::new(files, bytes)));
        let text = String::from_utf8(request.head.clone()).unwrap();
        let (_, after) = text.split_once("Content-Length: ").unwrap();
        let length: usize = after.split_once("\r\n").unwrap().0.parse().unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let mut connection = server(request.head.len() + length, answer).await;
        assert_eq!(connection.call(&request).await.unwrap(), b"ok");
    }
}

#[tokio::test]
async fn an_answer_in_chunks_is_put_together() {
    let request = Request::get("/x", Some("token"));
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
        3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
    let mut connection = server(request.head.len(), answer).await;
    assert_eq!(connection.call(&request).await.unwrap(), b"abc0123456789");
}

#[tokio::test]
async fn an_answer_that_was_not_expected_is_shown() {
    let request = Request::post("/y", None, "{}");
    let answer = b"HTTP/1.1 507 Full\r\ncontent-length: 4\r\n\r\nfull";
    let mut connection = server(request.head.len(), answer).await;
    let error = connection.fetch(&request).await.unwrap_err();
    assert_eq!(error.to_string(), "POST /y was answered with 507: full");
}
