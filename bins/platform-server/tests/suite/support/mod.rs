//! What the tests stand on: stores, servers, clients and raw sockets.

pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod ledger;
pub(crate) mod multipart;
pub(crate) mod random;
pub(crate) mod raw;
pub(crate) mod receiver;
pub(crate) mod server;
pub(crate) mod store;

use std::future::Future;
use std::time::Duration;

pub(crate) use client::{Answer, Client, Workspace};
pub(crate) use ledger::Ledger;
pub(crate) use multipart::{Form, Part};
pub(crate) use random::Random;
pub(crate) use raw::RawConnection;
pub(crate) use receiver::Receiver;
pub(crate) use server::{Server, ServerBuilder};
pub(crate) use store::{Store, on_each_store};

/// How often a condition is looked at, and how long in between: half a minute in all.
const LOOKS: u32 = 600;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Waits until `condition` answers something, and fails when it never does.
pub(crate) async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    for _ in 0..LOOKS {
        if let Some(found) = condition().await {
            return found;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    unreachable_condition(what)
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
fn unreachable_condition(what: &str) -> ! {
    panic!("never came true: {what}")
}

/// Bytes of that length which no other seed gives, and which no compression shrinks much.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::from_seed(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The SHA-256 of `data`, in hexadecimal digits.
pub(crate) fn sha256(data: &[u8]) -> String {
    use std::fmt::Write;

    use sha2::{Digest, Sha256};

    Sha256::digest(data)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}
