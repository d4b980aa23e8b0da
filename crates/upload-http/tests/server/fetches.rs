//! When a fetch counts as one: when the network has taken it, and not when it was put together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use pending_uploads_core::MockStorage;
use upload_http::Settings;

use crate::support::{Client, Member, TestServer, eventually, form};
use crate::wire::record;

/// A fetch of one byte, which the store gives when it is told to. Until then the server's only
/// thread is held, and sees nothing of what becomes of the connection.
struct Held {
    server: TestServer,
    client: Client,
    go: mpsc::Sender<()>,
    notes: Arc<AtomicUsize>,
}

impl Held {
    fn begin() -> Self {
        let member = Member::polling();
        let id = member.id;
        let notes = Arc::new(AtomicUsize::new(0));
        let (reached, is_reached) = mpsc::channel();
        let (go, told) = mpsc::channel();
        let told = Arc::new(Mutex::new(told));
        let mut storage = MockStorage::new();
        storage
            .expect_get()
            .returning(move |_, _| Ok(record(id, 1)));
        storage.expect_read().returning(move |_, _, _| {
            let (reached, told) = (reached.clone(), Arc::clone(&told));
            let hold = move |byte: &'static [u8]| {
                reached.send(()).unwrap();
                told.lock().unwrap().recv().unwrap();
                Ok(Bytes::from_static(byte))
            };
            Ok(stream::iter([&b"x"[..]]).map(hold).boxed())
        });
        let counted = Arc::clone(&notes);
        storage.expect_mark_fetched().returning(move |_, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        let platform = member.platform().staging(Arc::new(storage));
        let server = TestServer::start(platform, Settings::default());
        let mut client = server.connect();
        let file = record(id, 1).file_id;
        client.send(member.get(&format!("pending-uploads/{file}/content")));
        is_reached.recv().unwrap();
        Self {
            server,
            client,
            go,
            notes,
        }
    }
}

#[test]
fn a_small_file_whose_client_is_gone_before_its_first_byte_is_not_fetched() {
    let Held {
        server,
        client,
        go,
        notes,
    } = Held::begin();
    let stream = client.writer();
    let at_once = Some(Duration::ZERO);
    socket2::SockRef::from(&stream).set_linger(at_once).unwrap();
    drop((stream, client));
    go.send(()).unwrap();
    let mut other = server.connect();
    for _ in 0..2 {
        other.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(other.read_message().status(), 200);
    }
    assert_eq!(notes.load(Ordering::SeqCst), 0);
}

#[test]
fn a_small_file_that_its_client_gets_is_fetched() {
    let Held {
        server: _server,
        mut client,
        go,
        notes,
    } = Held::begin();
    go.send(()).unwrap();
    assert_eq!(client.read_message().body, b"x");
    eventually("it is noted", || notes.load(Ordering::SeqCst) == 1);
}

#[test]
fn whoever_offers_another_protocol_gets_an_answer_that_is_framed_as_it_says() {
    let member = Member::polling();
    let server = TestServer::start(member.platform(), Settings::default());
    let mut client = server.connect();
    client.send(member.upload(&form(&[b"hello"])));
    assert_eq!(client.read_message().status(), 200);
    let get = member.get("pending-uploads");
    let offer = "\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    client.send(get.replacen("\r\n\r\n", offer, 1));
    let list = client.read_message();
    assert_eq!(list.status(), 200);
    assert_eq!(list.json().as_array().unwrap().len(), 1);
}
