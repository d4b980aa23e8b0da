//! Follows the framing of a multipart body on its own, so that no part's `Content-Length` is
//! believed.
//!
//! actix-multipart frames a part by the part's own `Content-Length` when there is one: a length that
//! is too small cuts the file short, and one that is too large swallows the next boundary. RFC 7578,
//! section 4.8, says that such headers are to be ignored. So the body passes through here first: each
//! part's header block is [taken down and mended](super::headers), nothing else is changed, and what
//! the part claims is compared with the length that the boundaries give.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use memchr::memmem::{self, Finder};

use super::headers::{GivenHeaders, take_headers};

/// The longest header block of a part, in bytes, its blank line included.
const MAX_HEADER_BYTES: usize = 16 * 1024;
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// Why a body cannot be framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FramingError {
    /// The headers of a part do not end.
    #[error("the headers of a part are too long")]
    HeadersTooLong,
    /// A part's `Content-Length` is no number, or there are two that differ.
    #[error("the Content-Length of a part cannot be read")]
    UnreadableLength,
    /// A part's `Content-Length` is not its length.
    #[error("the Content-Length of a part is not its length")]
    WrongLength,
}

/// A machine that is fed a body in pieces of any size and hands it on unchanged, but for what is
/// mended in part headers, and for a part without a body. Only a header block waits until it is whole,
/// and data that begins like the boundary until it goes on otherwise.
pub(crate) struct Framing {
    /// `--boundary\r\n`: the line before the first part.
    first_line: Vec<u8>,
    /// `\r\n--boundary`: what ends a part's data.
    delimiter: Finder<'static>,
    state: State,
    /// The headers of parts that have begun, as they were sent, and that nobody has asked for yet.
    begun: VecDeque<GivenHeaders>,
    /// The lengths of parts that have ended and that nobody has asked for yet.
    ended: VecDeque<u64>,
}

enum State {
    /// Before the first boundary, which is a line of its own. So many bytes of the current line are
    /// as they would be in that one; none when it is another.
    Preamble(Option<usize>),
    /// In the headers of a part, which are these so far.
    Headers(BytesMut),
    /// At the beginning of a part's data, of which so many bytes are those of the boundary.
    DataBegin(usize, PartData),
    /// In the data of a part.
    Data(PartData),
    /// Right after `\r\n--boundary`.
    Delimited,
    /// Right after `\r\n--boundary\r`.
    DelimitedAndReturn,
    /// After the last boundary, or after something that is none; the parser judges what it is.
    Rest,
}

impl Framing {
    /// A machine for a body with this boundary, before its first byte.
    pub(crate) fn new(boundary: &str) -> Self {
        Self {
            first_line: format!("--{boundary}\r\n").into_bytes(),
            delimiter: Finder::new(&format!("\r\n--{boundary}")).into_owned(),
            state: State::Preamble(Some(0)),
            begun: VecDeque::new(),
            ended: VecDeque::new(),
        }
    }

    /// Takes the next piece of the body, and appends what can be handed on to `out`.
    ///
    /// # Errors
    /// Those of [`FramingError`]; the machine is of no use after one.
    pub(crate) fn push(
        &mut self,
        mut piece: Bytes,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), FramingError> {
        while !piece.is_empty() {
            if let State::Headers(block) = &mut self.state {
                if let Some(end) = collect_headers(block, &mut piece)? {
                    let mut whole = block.split_to(end);
                    let given = take_headers(&mut whole)?;
                    out.push_back(whole.freeze());
                    self.state = State::DataBegin(0, PartData::claiming(given.length));
                    self.begun.push_back(given);
                }
            } else if let State::DataBegin(matched, data) = &mut self.state {
                if let Some(next) = begin_data(&self.delimiter, matched, data, &mut piece, out)? {
                    if matches!(next, State::Delimited) {
                        self.ended.push_back(0);
                    }
                    self.state = next;
                }
            } else {
                let passed = self.pass(&piece)?;
                out.push_back(piece.split_to(passed));
            }
        }
        Ok(())
    }

    /// What the headers of the earliest part say that has begun and was not asked for yet.
    pub(super) fn next_begun(&mut self) -> Option<GivenHeaders> {
        self.begun.pop_front()
    }

    /// The length of the earliest part that has ended and was not asked for yet.
    pub(crate) fn next_ended(&mut self) -> Option<u64> {
        self.ended.pop_front()
    }

    /// Reads on outside of headers, up to where the state changes, and answers how far that is.
    fn pass(&mut self, piece: &[u8]) -> Result<usize, FramingError> {
        let (passed, next) = match &mut self.state {
            State::Preamble(matched) => pass_preamble(&self.first_line, matched, piece),
            State::Data(data) => match data.pass(&self.delimiter, piece) {
                None => (piece.len(), None),
                Some(passed) => {
                    self.ended.push_back(data.length(&self.delimiter)?);
                    (passed, Some(State::Delimited))
                }
            },
            State::Delimited if piece[0] == b'\r' => (1, Some(State::DelimitedAndReturn)),
            State::DelimitedAndReturn if piece[0] == b'\n' => (1, Some(State::headers())),
            State::Delimited | State::DelimitedAndReturn => (1, Some(State::Rest)),
            State::Rest | State::Headers(_) | State::DataBegin(..) => (piece.len(), None),
        };
        if let Some(next) = next {
            self.state = next;
        }
        Ok(passed)
    }
}

impl State {
    fn headers() -> Self {
        Self::Headers(BytesMut::new())
    }
}

/// Looks for the line that is the first boundary.
fn pass_preamble(
    first_line: &[u8],
    matched: &mut Option<usize>,
    piece: &[u8],
) -> (usize, Option<State>) {
    for (index, &byte) in piece.iter().enumerate() {
        *matched = match *matched {
            Some(before) if first_line[before] == byte => Some(before + 1),
            _ if byte == b'\n' => Some(0),
            _ => None,
        };
        if *matched == Some(first_line.len()) {
            return (index + 1, Some(State::headers()));
        }
    }
    (piece.len(), None)
}

/// Moves bytes from `piece` to `block` until the blank line is there, and answers the block's length
/// when it is.
fn collect_headers(block: &mut BytesMut, piece: &mut Bytes) -> Result<Option<usize>, FramingError> {
    let searched = block.len().saturating_sub(BLANK_LINE.len() - 1);
    let held = block.len();
    let room = MAX_HEADER_BYTES - held;
    block.extend_from_slice(&piece[..piece.len().min(room)]);
    match memmem::find(&block[searched..], BLANK_LINE) {
        Some(at) => {
            let end = searched + at + BLANK_LINE.len();
            block.truncate(end);
            drop(piece.split_to(end - held));
            Ok(Some(end))
        }
        None if block.len() == MAX_HEADER_BYTES => Err(FramingError::HeadersTooLong),
        None => {
            piece.clear();
            Ok(None)
        }
    }
}

/// Looks whether the data begins with the boundary, of which so many bytes have been seen and held
/// back: then the part has no body at all, and the blank line before it is the delimiter's (RFC 2046,
/// section 5.1.1: `body-part := MIME-part-headers [CRLF *OCTET]`). The parser would take the boundary
/// for data, and the next part with it; it is given another line break. Answers the next state when
/// that is known.
fn begin_data(
    delimiter: &Finder<'_>,
    matched: &mut usize,
    data: &mut PartData,
    piece: &mut Bytes,
    out: &mut VecDeque<Bytes>,
) -> Result<Option<State>, FramingError> {
    let boundary = delimiter.needle().strip_prefix(b"\r\n").unwrap_or_default();
    let expected = boundary.iter().skip(*matched);
    let same = expected
        .zip(piece.iter())
        .take_while(|(a, b)| a == b)
        .count();
    drop(piece.split_to(same));
    *matched += same;
    if *matched == boundary.len() {
        data.seen = delimiter.needle().len() as u64;
        data.length(delimiter)?;
        out.push_back(Bytes::copy_from_slice(delimiter.needle()));
        return Ok(Some(State::Delimited));
    }
    if piece.is_empty() {
        return Ok(None);
    }
    let held = Bytes::copy_from_slice(boundary.get(..*matched).unwrap_or_default());
    if !held.is_empty() {
        data.pass(delimiter, &held);
        out.push_back(held);
    }
    let data = std::mem::replace(data, PartData::claiming(None));
    Ok(Some(State::Data(data)))
}

/// The data of one part, as far as it has been seen.
struct PartData {
    /// The length that the part claims.
    claimed: Option<u64>,
    /// How many bytes have been seen, those of the delimiter included.
    seen: u64,
    /// The last of them, one fewer than the delimiter has: it may have begun in there.
    tail: Vec<u8>,
}

impl PartData {
    fn claiming(claimed: Option<u64>) -> Self {
        Self {
            claimed,
            seen: 0,
            tail: Vec::new(),
        }
    }

    /// Reads on, and answers where in `piece` the delimiter ends, if it does.
    fn pass(&mut self, delimiter: &Finder<'_>, piece: &[u8]) -> Option<usize> {
        let overlap = delimiter.needle().len() - 1;
        let before = self.tail.len();
        self.tail
            .extend_from_slice(&piece[..piece.len().min(overlap)]);
        let straddling = delimiter
            .find(&self.tail)
            .map(|at| at + delimiter.needle().len() - before);
        let end = straddling.or_else(|| {
            let at = delimiter.find(piece)?;
            Some(at + delimiter.needle().len())
        });
        self.seen += end.unwrap_or(piece.len()) as u64;
        self.keep_tail(overlap, piece);
        end
    }

    /// Keeps the last `overlap` bytes of what has been seen.
    fn keep_tail(&mut self, overlap: usize, piece: &[u8]) {
        if piece.len() >= overlap {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - overlap..]);
        } else {
            let surplus = self.tail.len().saturating_sub(overlap);
            drop(self.tail.drain(..surplus));
        }
    }

    /// The length of the data, once the delimiter has been seen.
    fn length(&self, delimiter: &Finder<'_>) -> Result<u64, FramingError> {
        let length = self.seen - delimiter.needle().len() as u64;
        match self.claimed {
            Some(claimed) if claimed != length => Err(FramingError::WrongLength),
            _ => Ok(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `body` in pieces of the given sizes, over and over, and answers what came out.
    fn run(
        boundary: &str,
        body: &[u8],
        sizes: &[usize],
    ) -> Result<(Vec<u8>, Vec<u64>), FramingError> {
        let mut framing = Framing::new(boundary);
        let mut out = VecDeque::new();
        let mut rest = Bytes::copy_from_slice(body);
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            framing.push(rest.split_to(rest.len().min(*size)), &mut out)?;
        }
        let ended = std::iter::from_fn(|| framing.next_ended()).collect();
        Ok((out.into_iter().flatten().collect(), ended))
    }

    fn part(headers: &str, data: &[u8]) -> Vec<u8> {
        [b"--xyz\r\n", headers.as_bytes(), b"\r\n", data, b"\r\n"].concat()
    }

    fn body(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut all: Vec<u8> = parts
            .iter()
            .flat_map(|(headers, data)| part(headers, data))
            .collect();
        all.extend_from_slice(b"--xyz--\r\n");
        all
    }

    const SIZES: [&[usize]; 4] = [&[1], &[2, 3], &[7], &[100_000]];

    #[test]
    fn a_length_is_renamed_in_headers_and_left_alone_in_data() {
        let sent = part("A: b\r\ncontent-LENGTH: 20\r\n", b"\nContent-Length: 5\r\n");
        let sent = [&sent[..], b"--xyz--\r\n"].concat();
        let expected = String::from_utf8(sent.clone())
            .unwrap()
            .replace("content-LENGTH", "X-Given-Length");
        for sizes in SIZES {
            let (out, ended) = run("xyz", &sent, sizes).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            assert_eq!(ended, [20]);
        }
    }

    #[test]
    fn a_length_that_is_not_the_parts_is_refused_and_the_right_one_passes() {
        let long = "9".repeat(30);
        let rows: [(&str, Result<(), FramingError>); 12] = [
            ("Content-Length: 4\r\n", Ok(())),
            ("content-length:4\r\n", Ok(())),
            ("Content-Length: 4 \nA: b\r\n", Ok(())),
            ("Content-Length: 4\r\nContent-Length: 4\r\n", Ok(())),
            ("Content-Length-Of-Nothing: 5\r\n", Ok(())),
            ("Content-Length: 3\r\n", Err(FramingError::WrongLength)),
            (
                "A: b\nContent-Length: 5\r\n",
                Err(FramingError::WrongLength),
            ),
            (
                "Content-Length : 4\r\n",
                Err(FramingError::UnreadableLength),
            ),
            (
                "Content-Length: +4\r\n",
                Err(FramingError::UnreadableLength),
            ),
            ("Content-Length:\r\n", Err(FramingError::UnreadableLength)),
            (
                "Content-Length: 4\r\nContent-Length: 5\r\n",
                Err(FramingError::UnreadableLength),
            ),
            (
                &format!("Content-Length: {long}\r\n"),
                Err(FramingError::UnreadableLength),
            ),
        ];
        for (headers, expected) in rows {
            for sizes in SIZES {
                let sent = [&part(headers, b"data")[..], b"--xyz--"].concat();
                let result = run("xyz", &sent, sizes).map(|_| ());
                assert_eq!(result, expected, "{headers:?}");
            }
        }
    }

    #[test]
    fn headers_without_an_end_are_refused_before_they_fill_the_memory() {
        let endless = format!("--xyz\r\nA: {}", "b".repeat(20_000));
        for sizes in SIZES {
            assert_eq!(
                run("xyz", endless.as_bytes(), sizes),
                Err(FramingError::HeadersTooLong)
            );
        }
    }

    #[test]
    fn a_preamble_and_an_epilogue_pass_untouched() {
        let sent = b"Content-Length: 7\r\n\r\n--xyzz\r\n --xyz\r\n--xyz\r\nContent-Length: 1\r\n\r\nd\r\n--xyz--\r\nContent-Length: 9\r\n\r\n";
        for sizes in SIZES {
            let (out, ended) = run("xyz", sent, sizes).unwrap();
            assert_eq!(ended, [1]);
            assert_eq!(out.len(), sent.len());
            assert_eq!(memmem::find_iter(&out, "X-Given-Length").count(), 1);
        }
    }

    #[test]
    fn what_only_looks_like_a_boundary_is_data() {
        let data = b"--xy\r\n-\r\n--xy\r\n-\n--xyz\r--xyz\r\n\r\n--xy";
        let claim = format!("Content-Length: {}\r\n", data.len());
        let sent = body(&[(claim, data.to_vec())]);
        for sizes in SIZES {
            let (_, ended) = run("xyz", &sent, sizes).unwrap();
            assert_eq!(ended, [data.len() as u64]);
        }
    }

    /// Bytes that are often those of a boundary.
    fn tricky_data() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\r\n--xy".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"Content-Length: 1\r\n".to_vec()),
            Just(b"\r\n\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..20),
        ];
        prop::collection::vec(piece, 0..12)
            .prop_map(|pieces| pieces.concat())
            .prop_filter("holds the boundary", |data| {
                memmem::find(data, b"\r\n--xyz").is_none()
            })
    }

    proptest! {
        #[test]
        fn every_part_is_measured_and_nothing_but_its_claims_is_changed(
            files in prop::collection::vec(tricky_data(), 0..5),
            claims in prop::collection::vec(any::<bool>(), 5),
            sizes in prop::collection::vec(1..60_usize, 1..8),
        ) {
            let parts: Vec<_> = files
                .iter()
                .zip(claims)
                .map(|(data, claims)| {
                    let claim = format!("Content-Length: {}\r\n", data.len());
                    (format!("A: b\r\n{}", if claims { &claim } else { "" }), data.clone())
                })
                .collect();
            let sent = body(&parts);
            let (out, ended) = run("xyz", &sent, &sizes).unwrap();
            let lengths: Vec<_> = files.iter().map(|data| data.len() as u64).collect();
            prop_assert_eq!(ended, lengths);
            let renamed: Vec<_> = parts
                .iter()
                .map(|(headers, data)| {
                    (headers.replace("Content-Length", "X-Given-Length"), data.clone())
                })
                .collect();
            prop_assert_eq!(out, body(&renamed));
        }

        #[test]
        fn a_wrong_claim_never_passes(
            data in tricky_data(),
            claim in 0..400_u64,
            sizes in prop::collection::vec(1..60_usize, 1..8),
        ) {
            prop_assume!(claim != data.len() as u64);
            let sent = body(&[(format!("Content-Length: {claim}\r\n"), data)]);
            prop_assert_eq!(run("xyz", &sent, &sizes), Err(FramingError::WrongLength));
        }

        #[test]
        fn whatever_is_sent_keeps_its_length(
            sent in prop::collection::vec(any::<u8>(), 0..300),
            sizes in prop::collection::vec(1..60_usize, 1..8),
        ) {
            let (out, _) = run("xyz", &sent, &sizes).unwrap();
            prop_assert_eq!(out.len(), sent.len());
        }
    }
}
