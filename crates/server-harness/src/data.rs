//! Bytes to upload, and their digests.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::Random;

/// Bytes of that length which no other seed gives, and which no compression shrinks much.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::from_seed(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.any().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The SHA-256 of `data`, in 64 hexadecimal digits.
pub fn sha256(data: &[u8]) -> String {
    Sha256::digest(data)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}
