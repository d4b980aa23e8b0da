//! A stretch of a file's bytes.

use std::ops::Range;

/// A half-open stretch of bytes, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// The bytes from `start` up to, not including, `end`; `None` when there are none.
    pub const fn new(start: u64, end: u64) -> Option<Self> {
        if start < end {
            Some(Self { start, end })
        } else {
            None
        }
    }

    /// The offset of the first byte.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The offset after the last byte.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes; at least one.
    pub const fn byte_count(&self) -> u64 {
        self.end - self.start
    }

    /// The same stretch as the standard library writes it.
    pub const fn as_range(&self) -> Range<u64> {
        self.start..self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_or_backward_stretch_cannot_be_built() {
        assert_eq!(ByteRange::new(3, 3), None);
        assert_eq!(ByteRange::new(4, 3), None);
        assert_eq!(
            ByteRange::new(3, 4).map(|range| range.byte_count()),
            Some(1)
        );
    }
}
