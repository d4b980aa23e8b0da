//! How the files of a batch are cut into rows.
//!
//! A file that is sent in one piece has few long rows, which come with its record. One that is sent
//! while it still arrives has many that fit into a page of the database each, which costs a fifth less
//! to store.

use std::collections::HashSet;

use pending_uploads_core::FileId;

use crate::chunks::{CHUNK_BYTES_I32, Chunk, PAGE_CHUNK_BYTES, PAGE_CHUNK_BYTES_I32};
use crate::error::PgError;

/// How many chunks of a page each a long one is cut into.
const PAGES: i32 = CHUNK_BYTES_I32 / PAGE_CHUNK_BYTES_I32;
const _: () = assert!(CHUNK_BYTES_I32 == PAGES * PAGE_CHUNK_BYTES_I32);

/// Which files of a batch are cut into pages. A file must be known for one before its first chunk is
/// sent, and is one from then on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cuts {
    in_pages: HashSet<FileId>,
}

impl Cuts {
    /// This file is still arriving while its first chunk is sent.
    pub(crate) fn cut_into_pages(&mut self, file: FileId) {
        self.in_pages.insert(file);
    }

    /// How long each chunk of the file is but its last, in bytes as the database counts them.
    pub(crate) fn chunk_bytes(&self, file: FileId) -> i32 {
        if self.in_pages.contains(&file) {
            PAGE_CHUNK_BYTES_I32
        } else {
            CHUNK_BYTES_I32
        }
    }

    /// The chunks as they are stored. Their bytes are not copied.
    pub(crate) fn cut(&self, chunks: Vec<Chunk>) -> Result<Vec<Chunk>, PgError> {
        if self.in_pages.is_empty() {
            return Ok(chunks);
        }
        let mut cut = Vec::new();
        for chunk in chunks {
            if self.in_pages.contains(&chunk.file_id) {
                push_pages(chunk, &mut cut)?;
            } else {
                cut.push(chunk);
            }
        }
        Ok(cut)
    }
}

fn push_pages(chunk: Chunk, cut: &mut Vec<Chunk>) -> Result<(), PgError> {
    let first = chunk.seq.checked_mul(PAGES);
    let mut seqs = first.into_iter().flat_map(|first| first..=i32::MAX);
    let mut rest = chunk.data;
    while !rest.is_empty() {
        let seq = seqs.next();
        cut.push(Chunk {
            file_id: chunk.file_id,
            seq: seq.ok_or(PgError::Damaged("a file has too many chunks"))?,
            data: rest.split_to(rest.len().min(PAGE_CHUNK_BYTES)),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn chunk(file_id: FileId, seq: i32, length: usize) -> Chunk {
        Chunk {
            file_id,
            seq,
            data: (0..=250).cycle().take(length).collect(),
        }
    }

    fn shape(chunks: &[Chunk]) -> Vec<(FileId, i32, usize)> {
        let of = |chunk: &Chunk| (chunk.file_id, chunk.seq, chunk.data.len());
        chunks.iter().map(of).collect()
    }

    #[test]
    fn the_chunks_of_one_file_are_cut_into_pages_and_those_of_another_stay_whole() {
        let (paged, whole) = (FileId::generate(), FileId::generate());
        let mut cuts = Cuts::default();
        cuts.cut_into_pages(paged);
        let chunks = vec![chunk(whole, 0, 64_000), chunk(paged, 2, 17_000)];
        let cut = cuts.cut(chunks.clone()).unwrap();
        let expected = [
            (whole, 0, 64_000),
            (paged, 16, 8_000),
            (paged, 17, 8_000),
            (paged, 18, 1_000),
        ];
        assert_eq!(shape(&cut), expected);
        let bytes = |chunks: &[Chunk]| -> Vec<Bytes> {
            chunks.iter().map(|chunk| chunk.data.clone()).collect()
        };
        assert_eq!(bytes(&cut).concat(), bytes(&chunks).concat());
        assert_eq!(cuts.chunk_bytes(paged), 8_000);
        assert_eq!(cuts.chunk_bytes(whole), 64_000);
    }

    #[test]
    fn a_file_with_more_chunks_than_can_be_counted_is_an_error() {
        let file = FileId::generate();
        let mut cuts = Cuts::default();
        cuts.cut_into_pages(file);
        assert!(cuts.cut(vec![chunk(file, i32::MAX / 8, 64_000)]).is_ok());
        let damaged = cuts.cut(vec![chunk(file, i32::MAX / 8 + 1, 1)]);
        assert!(matches!(damaged, Err(PgError::Damaged(_))));
    }
}
