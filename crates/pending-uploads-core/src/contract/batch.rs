//! Staging and publishing: invariants 1 (all or nothing) and 8 (integrity).

use super::support::*;
use super::{Fixture, Terms};
use crate::Sha256;

/// Invariant 8: the digest is taken as the bytes arrive.
pub async fn finish_answers_the_length_and_the_digest(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    let file_id = batch
        .start_file(named("a.txt"), text_plain())
        .await
        .unwrap();
    batch.write(b"hello, ").await.unwrap();
    batch.write(b"world").await.unwrap();
    let staged = batch.finish_file().await.unwrap();
    assert_eq!(staged.file_id, file_id);
    assert_eq!(staged.size_bytes, 12);
    assert_eq!(staged.sha256, Sha256::of(b"hello, world"));
}
