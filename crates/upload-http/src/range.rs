//! The `Range` header (RFC 9110, section 14.2) of a request for a file.

use pending_uploads_core::ByteRange;

/// What a `Range` header asks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requested {
    /// The whole file: the header is malformed, speaks of other units, or names several ranges,
    /// and is ignored as section 14.2 lets a server do.
    Whole,
    /// One stretch of it.
    Part(ByteRange),
    /// One stretch that holds none of its bytes.
    Unsatisfiable,
}

/// Reads the value of a `Range` header for a file of `size_bytes`.
pub(crate) fn requested(value: &str, size_bytes: u64) -> Requested {
    let Some((unit, set)) = value.split_once('=') else {
        return Requested::Whole;
    };
    let specs = set.split(',').map(|spec| spec.trim_matches([' ', '\t']));
    let mut specs = specs.filter(|spec| !spec.is_empty());
    match (specs.next(), specs.next()) {
        (Some(spec), None) if unit.eq_ignore_ascii_case("bytes") => one_range(spec, size_bytes),
        _ => Requested::Whole,
    }
}

/// Reads one `range-spec`: `first-`, `first-last` or `-suffix` (section 14.1.2).
fn one_range(spec: &str, size_bytes: u64) -> Requested {
    let Some((first, last)) = spec.split_once('-') else {
        return Requested::Whole;
    };
    let (start, end) = match (position(first), position(last)) {
        (Position::At(first), Position::None) => (first, size_bytes),
        (Position::At(first_byte), Position::At(last_byte)) if !is_reversed(first, last) => {
            (first_byte, last_byte.saturating_add(1).min(size_bytes))
        }
        (Position::None, Position::At(suffix)) => (size_bytes.saturating_sub(suffix), size_bytes),
        _ => return Requested::Whole,
    };
    ByteRange::new(start, end).map_or(Requested::Unsatisfiable, Requested::Part)
}

/// Whether the number `first` is above the number `last`, be they as long as they like.
fn is_reversed(first: &str, last: &str) -> bool {
    let [first, last] = [first, last].map(|digits| digits.trim_start_matches('0'));
    (first.len(), first) > (last.len(), last)
}

/// A half of a `range-spec`.
enum Position {
    /// Nothing is written there.
    None,
    /// This number.
    At(u64),
    /// Something that is no number.
    Malformed,
}

/// A number beyond what we can count is beyond the end of every file, and the largest one is too.
fn position(text: &str) -> Position {
    if text.is_empty() {
        Position::None
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Position::At(text.parse().unwrap_or(u64::MAX))
    } else {
        Position::Malformed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(start: u64, end: u64) -> Requested {
        Requested::Part(ByteRange::new(start, end).unwrap())
    }

    #[test]
    fn a_range_of_a_thousand_bytes_is_read_as_rfc_9110_has_it() {
        use Requested::{Unsatisfiable, Whole};
        for (value, read) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-499", part(0, 500)),
            ("bytes=500-999", part(500, 1000)),
            ("bytes=500-", part(500, 1000)),
            ("bytes=999-", part(999, 1000)),
            ("bytes=0-", part(0, 1000)),
            ("bytes=0-1000", part(0, 1000)),
            ("bytes=0-99999999999999999999999", part(0, 1000)),
            ("bytes=-1", part(999, 1000)),
            ("bytes=-1000", part(0, 1000)),
            ("bytes=-1001", part(0, 1000)),
            ("bytes=-99999999999999999999999", part(0, 1000)),
            ("BYTES=1-2", part(1, 3)),
            ("bytes= 1-2", part(1, 3)),
            ("bytes=,1-2 ,", part(1, 3)),
            ("bytes=1000-", Unsatisfiable),
            ("bytes=1000-1001", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=2-1", Whole),
            ("bytes=99999999999999999999999-5", Whole),
            (
                "bytes=99999999999999999999999-99999999999999999999998",
                Whole,
            ),
            (
                "bytes=99999999999999999999999-99999999999999999999999",
                Unsatisfiable,
            ),
            ("bytes=0002-10", part(2, 11)),
            ("bytes=10-0002", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes", Whole),
            ("", Whole),
            ("bytes=x-y", Whole),
            ("bytes=1-y", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=1 - 2", Whole),
            ("bytes=1-2-3", Whole),
            ("bytes=--1", Whole),
            ("bytes=0x1-2", Whole),
            ("lines=1-2", Whole),
            ("bytes =1-2", Whole),
            ("bytes=0-1,3-4", Whole),
        ] {
            assert_eq!(requested(value, 1000), read, "{value}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_lies_within_the_file(value in "(bytes=)?[-0-9, x]{0,12}", size in 1..5000_u64) {
            if let Requested::Part(range) = requested(&value, size) {
                prop_assert!(range.start() < range.end() && range.end() <= size);
            }
        }

        #[test]
        fn reading_never_panics(value in any::<String>(), size in any::<u64>()) {
            requested(&value, size);
        }

        #[test]
        fn a_range_within_the_file_is_read_as_it_was_written(first in 0..1000_u64, more in 0..1000_u64) {
            let last = first + more;
            prop_assert_eq!(
                requested(&format!("bytes={first}-{last}"), last + 1),
                part(first, last + 1)
            );
            prop_assert_eq!(
                requested(&format!("bytes=-{}", more + 1), last + 1),
                part(first, last + 1)
            );
        }
    }
}
