//! Forms of which bytes arrive for long that are of no file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pending_uploads_core::{FileId, MockBatch, MockStorage, Sha256, StagedFile};
use upload_http::Settings;

use crate::support::{Member, TestServer, eventually, part};
use crate::wire::record;

/// A store of one batch, which takes a file and counts its signs of life.
fn storage(member: &Member, signs: &Arc<AtomicUsize>) -> MockStorage {
    let (id, counted) = (member.id, Arc::clone(signs));
    let mut batch = MockBatch::new();
    batch
        .expect_start_file()
        .returning(|_, _| Ok(FileId::generate()));
    batch.expect_write().returning(|_| Ok(()));
    batch.expect_finish_file().returning(|| {
        Ok(StagedFile {
            file_id: FileId::generate(),
            size_bytes: 5,
            sha256: Sha256::of(b"hello"),
        })
    });
    batch.expect_show_life().returning(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    batch
        .expect_publish()
        .returning(move || Ok(vec![record(id, 5)]));
    let mut storage = MockStorage::new();
    storage.expect_begin().return_once(|_| Ok(Box::new(batch)));
    storage
}

#[test]
fn a_batch_shows_life_while_bytes_arrive_that_are_of_no_file() {
    let field = b"--xyz\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n";
    for (before, after) in [
        (&field[..], &b"\r\n--xyz--\r\n"[..]),
        (
            b"--xyz\r\nX-Slow: ",
            b"\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n\r\n--xyz--\r\n",
        ),
        (b"--xyz--\r\n", b""),
    ] {
        let member = Member::polling();
        let signs = Arc::new(AtomicUsize::new(0));
        let platform = member
            .platform()
            .staging(Arc::new(storage(&member, &signs)));
        let settings = Settings {
            idle_timeout: Duration::from_millis(300),
            ..Settings::default()
        };
        let server = TestServer::start(platform, settings);
        let mut client = server.connect();
        client.send(member.upload_head("Transfer-Encoding: chunked\r\n"));
        let mut send = |bytes: &[u8]| {
            client.send(format!("{:x}\r\n", bytes.len()));
            client.send(bytes);
            client.send("\r\n");
        };
        send(&part("", b"hello"));
        send(before);
        eventually("it has shown life twice", || {
            send(b"x");
            signs.load(Ordering::SeqCst) >= 2
        });
        if !after.is_empty() {
            send(after);
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.read_message().status(), 200);
    }
}
