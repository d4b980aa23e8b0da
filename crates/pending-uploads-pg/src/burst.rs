//! Bursts: what a batch collects in memory before it asks the store.

use bytes::{Bytes, BytesMut};
use pending_uploads_core::FileId;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::chunks::{CHUNK_BYTES, Chunk, PAGE_CHUNK_BYTES};
use crate::cuts::Cuts;
use crate::error::PgError;

/// How much is collected before it is sent, in bytes; as much or twice as much is on its way meanwhile.
pub(crate) const BURST_BYTES: usize = 3 * CHUNK_BYTES;
/// How many chunks of a page each a full burst has.
pub(crate) const FULL_CHUNKS: usize = BURST_BYTES / PAGE_CHUNK_BYTES;

/// Chunks on their way: full ones, and the one that is being filled.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    cuts: Cuts,
    full: Vec<Chunk>,
    full_bytes: usize,
    filling: BytesMut,
    next_seq: i32,
}

impl Burst {
    /// How many more bytes fit.
    pub(crate) fn room(&self) -> usize {
        BURST_BYTES.saturating_sub(self.full_bytes + self.filling.len())
    }

    /// Copies the beginning of `data`, as much as fits into the chunk that is being filled, and
    /// answers the rest.
    pub(crate) fn take<'a>(
        &mut self,
        file_id: FileId,
        data: &'a [u8],
    ) -> Result<&'a [u8], PgError> {
        if self.filling.is_empty() && self.next_seq > 0 {
            // The file is long: this chunk will be a full one, and shares no memory with the last.
            self.filling = BytesMut::with_capacity(CHUNK_BYTES);
        }
        let fits = data
            .len()
            .min(CHUNK_BYTES - self.filling.len())
            .min(self.room());
        let (taken, rest) = data.split_at_checked(fits).unwrap_or((data, &[]));
        self.filling.extend_from_slice(taken);
        if self.filling.len() == CHUNK_BYTES {
            self.close_chunk(file_id)?;
        }
        Ok(rest)
    }

    /// Ends the file: its last chunk is as short as it is, and the next file's begin at 0.
    pub(crate) fn end_file(&mut self, file_id: FileId) -> Result<(), PgError> {
        if !self.filling.is_empty() {
            self.close_chunk(file_id)?;
        }
        self.next_seq = 0;
        Ok(())
    }

    /// The full chunks, as they are stored; all of their files have ended.
    pub(crate) fn left(&self) -> Result<Vec<Chunk>, PgError> {
        self.cuts.cut(self.full.clone())
    }

    /// How the files are cut whose chunks were taken or closed.
    pub(crate) fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// Takes the full chunks out, as they are stored; the one that is being filled stays.
    pub(crate) fn take_full(&mut self) -> Result<Vec<Chunk>, PgError> {
        if self.next_seq > 0
            && let Some(last) = self.full.last()
        {
            // Its file is still arriving.
            self.cuts.cut_into_pages(last.file_id);
        }
        self.full_bytes = 0;
        self.cuts.cut(std::mem::take(&mut self.full))
    }

    fn close_chunk(&mut self, file_id: FileId) -> Result<(), PgError> {
        let data: Bytes = self.filling.split().freeze();
        self.full_bytes += data.len();
        self.full.push(Chunk {
            file_id,
            seq: self.next_seq,
            data,
        });
        self.next_seq = self
            .next_seq
            .checked_add(1)
            .ok_or(PgError::Damaged("a file has too many chunks"))?;
        Ok(())
    }
}

/// As many bytes of one file as a burst has, as a statement takes them: what nearly all bursts of a
/// large file are.
#[derive(Debug)]
pub(crate) struct FullBurst<'a> {
    file: Uuid,
    first_seq: i32,
    data: [&'a [u8]; FULL_CHUNKS],
}

impl<'a> FullBurst<'a> {
    /// None when these are other chunks: fewer, more, or of several files.
    pub(crate) fn of(chunks: &'a [Chunk]) -> Option<Self> {
        let chunks: &[Chunk; FULL_CHUNKS] = chunks.try_into().ok()?;
        let [first, ..] = chunks;
        let follows = |(chunk, place): (&Chunk, i32)| {
            chunk.file_id == first.file_id && chunk.seq.checked_sub(first.seq) == Some(place)
        };
        chunks.iter().zip(0..).all(follows).then(|| Self {
            file: first.file_id.as_uuid(),
            first_seq: first.seq,
            data: chunks.each_ref().map(|chunk| &*chunk.data),
        })
    }

    /// The file, the place of the first chunk in it, and the bytes of each chunk, in this order.
    pub(crate) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&self.file, &self.first_seq];
        params.extend(self.data.iter().map(|data| data as &(dyn ToSql + Sync)));
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(burst: &mut Burst, file: FileId, mut data: &[u8]) -> Vec<Chunk> {
        let mut sent = Vec::new();
        while !data.is_empty() {
            data = burst.take(file, data).unwrap();
            if burst.room() == 0 {
                sent.extend(burst.take_full().unwrap());
            }
        }
        burst.end_file(file).unwrap();
        sent.extend(burst.take_full().unwrap());
        sent
    }

    #[test]
    fn a_file_is_cut_into_full_chunks_and_one_rest_numbered_from_zero() {
        let data: Vec<u8> = (0..=250).cycle().take(3 * BURST_BYTES + 5).collect();
        let mut burst = Burst::default();
        for file in [FileId::generate(), FileId::generate()] {
            let chunks = fill(&mut burst, file, &data);
            let (last, others) = chunks.split_last().unwrap();
            assert_eq!(last.data.len(), 5);
            let is_full = |chunk: &Chunk| chunk.data.len() == PAGE_CHUNK_BYTES;
            assert!(others.iter().all(is_full));
            assert!(chunks.iter().zip(0..).all(|(chunk, seq)| chunk.seq == seq));
            assert_eq!(
                chunks
                    .iter()
                    .flat_map(|chunk| chunk.data.to_vec())
                    .collect::<Vec<_>>(),
                data
            );
        }
    }

    #[test]
    fn a_file_that_ends_before_it_is_sent_keeps_its_long_chunks() {
        let mut burst = Burst::default();
        let [whole, arriving] = [FileId::generate(), FileId::generate()];
        assert!(
            burst
                .take(whole, &vec![1; 64_010])
                .is_ok_and(|rest| rest.len() == 10)
        );
        assert!(burst.take(whole, &[1; 10]).unwrap().is_empty());
        burst.end_file(whole).unwrap();
        assert!(burst.take(arriving, &vec![2; 64_000]).unwrap().is_empty());
        let lengths = |chunks: Vec<Chunk>, file| -> Vec<usize> {
            let its = chunks.iter().filter(|chunk| chunk.file_id == file);
            its.map(|chunk| chunk.data.len()).collect()
        };
        let taken = burst.take_full().unwrap();
        assert_eq!(lengths(taken.clone(), whole), [64_000, 10]);
        assert_eq!(lengths(taken, arriving), [8_000; 8]);
        assert!(burst.take(arriving, &[2; 9_000]).unwrap().is_empty());
        burst.end_file(arriving).unwrap();
        let left = burst.left().unwrap();
        assert_eq!(
            left.iter().map(|chunk| chunk.seq).collect::<Vec<_>>(),
            [8, 9]
        );
        assert_eq!(lengths(left, arriving), [8_000, 1_000]);
    }

    #[test]
    fn a_burst_never_holds_more_than_its_size() {
        let mut burst = Burst::default();
        let file = FileId::generate();
        let data = vec![7; BURST_BYTES * 2];
        let mut rest = data.as_slice();
        while burst.room() > 0 {
            rest = burst.take(file, rest).unwrap();
        }
        let held: usize = burst
            .take_full()
            .unwrap()
            .iter()
            .map(|chunk| chunk.data.len())
            .sum();
        assert_eq!(held, BURST_BYTES);
        assert_eq!(rest.len(), BURST_BYTES);
    }

    #[test]
    fn as_many_chunks_of_one_file_that_follow_each_other_are_a_full_burst() {
        let (file, other) = (FileId::generate(), FileId::generate());
        let chunk = |file_id, seq| Chunk {
            file_id,
            seq,
            data: Bytes::from_static(b"x"),
        };
        let chunks = |count| -> Vec<Chunk> { (3..3 + count).map(|seq| chunk(file, seq)).collect() };
        let is_full = |chunks: &[Chunk]| FullBurst::of(chunks).is_some();
        assert!(is_full(&chunks(24)));
        assert!(!is_full(&chunks(23)));
        assert!(!is_full(&chunks(25)));
        let mut of_two_files = chunks(24);
        of_two_files[23] = chunk(other, 0);
        assert!(!is_full(&of_two_files));
        let mut in_another_order = chunks(24);
        in_another_order.swap(7, 8);
        assert!(!is_full(&in_another_order));
    }
}
