//! The bytes of a file on their way into a store, which cannot be others than its record says.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::{StreamExt, TryStreamExt, try_unfold};

use crate::{ByteStream, Error, PendingUpload, Result, Sha256, Sha256Hasher};

/// Bytes that end with [`Integrity`](Error::Integrity) unless they are, to the last one, those that
/// a record's length and digest were taken of.
pub struct CheckedBytes(ByteStream);

impl CheckedBytes {
    /// Checks `pieces`, as they pass, against the record of `upload`.
    pub fn new(upload: &PendingUpload, pieces: ByteStream) -> Self {
        let check = Check {
            pieces,
            missing: upload.size_bytes,
            hasher: Sha256Hasher::new(),
            expected: upload.sha256,
        };
        Self(try_unfold(check, Check::next).boxed())
    }
}

impl Stream for CheckedBytes {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for CheckedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedBytes").finish_non_exhaustive()
    }
}

struct Check {
    pieces: ByteStream,
    missing: u64,
    hasher: Sha256Hasher,
    expected: Sha256,
}

impl Check {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        let damaged = |what| Err(Error::Integrity { what });
        match self.pieces.try_next().await? {
            Some(piece) => match self.missing.checked_sub(piece.len() as u64) {
                Some(missing) => {
                    self.missing = missing;
                    self.hasher.update(&piece);
                    Ok(Some((piece, self)))
                }
                None => damaged("a file has more bytes than its record says"),
            },
            None if self.missing > 0 => damaged("bytes of a file are missing"),
            None if self.hasher.finish() != self.expected => {
                damaged("a file's bytes are not those that its digest was taken of")
            }
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::{FileId, Filename, Mimetype, Timestamp, WorkspaceId};

    async fn outcome(recorded: &[u8], pieces: &[&'static [u8]]) -> Result<Vec<u8>> {
        let upload = PendingUpload {
            file_id: FileId::generate(),
            workspace_id: WorkspaceId::generate(),
            filename: Filename::sanitize("a"),
            mimetype: Mimetype::absent(),
            size_bytes: recorded.len() as u64,
            sha256: Sha256::of(recorded),
            created_at: Timestamp::from_micros(0),
            expires_at: Timestamp::from_micros(1),
            fetched_at: None,
            acked_at: None,
        };
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Ok(Bytes::from_static(piece)))
            .collect();
        let checked = CheckedBytes::new(&upload, stream::iter(pieces).boxed());
        checked.map_ok(Vec::from).try_concat().await
    }

    #[tokio::test]
    async fn the_bytes_of_the_record_pass_however_they_are_cut() {
        for pieces in [&[b"abc".as_slice()][..], &[b"a", b"bc"]] {
            assert_eq!(outcome(b"abc", pieces).await.unwrap(), b"abc");
        }
    }

    #[tokio::test]
    async fn more_fewer_or_other_bytes_are_an_error() {
        for pieces in [&[b"abcd".as_slice()][..], &[b"ab"], &[], &[b"abd"]] {
            let outcome = outcome(b"abc", pieces).await;
            assert!(
                matches!(outcome, Err(Error::Integrity { .. })),
                "{pieces:?}"
            );
        }
    }
}
