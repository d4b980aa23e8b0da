//! Memory does not grow with the number of views that a parser cuts a file into. In a process of its
//! own, because the process is what is measured.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "the helpers of a test crate fail its tests, and nobody else sees them"
)]

#[path = "server/support.rs"]
#[expect(dead_code, reason = "the other test crate uses the rest")]
mod support;

use pending_uploads_core::Sha256;
use upload_http::Settings;

use support::{Member, TestServer, form};

const MIB: usize = 1024 * 1024;

/// The most memory that this process has had so far, in bytes (`VmHWM`, proc(5)).
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

/// Every five bytes of this file might be the beginning of a boundary, and actix-multipart hands
/// each of them out as a view of its own into a buffer of 64 KiB.
#[test]
fn a_file_that_is_read_in_views_of_five_bytes_takes_no_more_memory_than_another() {
    let member = Member::polling();
    let server = TestServer::start(member.platform(), Settings::default());
    let file = b"\r\n--x".repeat(4 * MIB / 5);
    let request = member.upload(&form(&[&file]));
    let before = peak_memory();
    let mut client = server.connect();
    client.send(request);
    assert_eq!(client.read_message().status(), 200);
    assert_eq!(member.waiting()[0].sha256, Sha256::of(&file));
    let grown = peak_memory() - before;
    assert!(grown < 32 * MIB, "{} MiB more than before", grown / MIB);
}
