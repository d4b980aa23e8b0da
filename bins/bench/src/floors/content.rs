//! What the files of the floors are made of.

use bytes::Bytes;

use super::FloorError;

/// How many random bytes there are; files repeat them.
const BYTES: usize = 1024 * 1024;

/// Bytes that nothing can compress, made once.
#[derive(Debug, Clone)]
pub(crate) struct Content(Bytes);

impl Content {
    /// Draws them.
    pub(crate) fn random() -> Result<Self, FloorError> {
        let mut drawn = vec![0; BYTES];
        getrandom::fill(&mut drawn)?;
        Ok(Self(drawn.into()))
    }

    /// A file of `size` bytes, cut into pieces of `piece` bytes and one rest. No byte is copied.
    pub(crate) fn pieces(&self, size: u64, piece: usize) -> impl Iterator<Item = Bytes> {
        let piece = piece.clamp(1, BYTES);
        let mut left = size;
        let mut at = 0;
        std::iter::from_fn(move || {
            let length = usize::try_from(left).map_or(piece, |left| left.min(piece));
            if length == 0 {
                return None;
            }
            if at + length > BYTES {
                at = 0;
            }
            let cut = self.0.slice(at..at + length);
            at += length;
            left -= length as u64;
            Some(cut)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_into_full_pieces_and_one_rest() {
        let content = Content::random().unwrap();
        let of = |size, piece| -> Vec<usize> {
            let pieces = content.pieces(size, piece);
            pieces.map(|piece| piece.len()).collect()
        };
        assert_eq!(of(0, 10), Vec::<usize>::new());
        assert_eq!(of(25, 10), [10, 10, 5]);
        let long = of(3_000_000, 64 * 1024);
        assert_eq!(long.iter().sum::<usize>(), 3_000_000);
        assert_eq!(long.len(), 46);
    }
}
