//! Uploads: a body comes in pieces as from a socket, and ends in a batch.

use bytes::Bytes;
use criterion::{Criterion, Throughput};

use crate::place::{Ask, Place};

/// What one read from a socket yields at most.
const SOCKET_BYTES: usize = 32 * 1024;
/// What each line of the hostile content begins like.
const BOUNDARY: &str = "x-and-more";

pub(crate) fn uploads(criterion: &mut Criterion, place: &Place) {
    let mut group = criterion.benchmark_group("upload");
    let ordinary = |length| (0..=250).cycle().take(length).collect::<Vec<u8>>();
    let hostile = b"\r\n--x".repeat(512 * 1024 / 5);
    for (what, files, content) in [
        ("1 KB", 1, ordinary(1_000)),
        ("64 files of 1 KB", 64, ordinary(1_000)),
        ("25 MB", 1, ordinary(25_000_000)),
        ("512 KiB that look like the boundary", 1, hostile),
    ] {
        let body = body(files, &content);
        group.throughput(Throughput::Bytes(body.len() as u64));
        let ask = Ask::post(place.path("chat/uploads"), pieces(&body))
            .header("content-length", body.len().to_string())
            .header(
                "content-type",
                format!("multipart/form-data; boundary={BOUNDARY}"),
            );
        group.bench_function(what, |bencher| place.time(bencher, &ask, 200));
    }
    group.finish();
}

/// A body with so many files of the same content.
fn body(files: usize, content: &[u8]) -> Bytes {
    let head = format!(
        "--{BOUNDARY}\r\n\
         Content-Disposition: form-data; name=\"files\"; filename=\"report (1).pdf\"\r\n\
         Content-Type: application/pdf\r\n\r\n"
    );
    let mut body = Vec::new();
    for _ in 0..files {
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body.into()
}

fn pieces(body: &Bytes) -> Vec<Bytes> {
    let starts = (0..body.len()).step_by(SOCKET_BYTES);
    starts
        .map(|start| body.slice(start..body.len().min(start + SOCKET_BYTES)))
        .collect()
}
