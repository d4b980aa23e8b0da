//! The header block of a part: what it says is kept as it was sent, and the parser gets a copy that
//! it can read.
//!
//! The parser refuses a control character in a header, and bytes that are no UTF-8 in a
//! `Content-Disposition`; but names and types are to be sanitized and not refused, and the sanitizer
//! must see them as they were sent. The parser also believes two headers that are of no use to it: a
//! `Content-Length` (see [`framing`](super::framing)), and a `Content-Type`, by which it would take a
//! file that happens to be multipart for a form in the form. So in place, and without changing the
//! block's length, those two are renamed and such characters of values become `_`. So does each
//! backslash of a `Content-Disposition` that escapes nothing by it, because to the parser it would.

use super::disposition::Backslash;
use super::framing::FramingError;

const LENGTH: &[u8] = b"content-length";
/// As long as the name that it replaces.
const GIVEN_LENGTH: &[u8; LENGTH.len()] = b"X-Given-Length";
const TYPE: &[u8] = b"content-type";
/// As long as the name that it replaces.
const GIVEN_TYPE: &[u8; TYPE.len()] = b"X-Given-Type";
const DISPOSITION: &[u8] = b"content-disposition";
/// What stands for a character that the parser would refuse.
const MENDED: u8 = b'_';

/// What the headers of a part say, as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GivenHeaders {
    /// The length that the part claims.
    pub(super) length: Option<u64>,
    /// The first `Content-Disposition`.
    pub(super) disposition: Option<Vec<u8>>,
    /// The first `Content-Type`.
    pub(super) content_type: Option<Vec<u8>>,
}

/// Reads a header block, and mends it for the parser.
///
/// A line begins after each `\n`, because the parser takes a bare one for a line's end.
///
/// # Errors
/// [`FramingError::UnreadableLength`].
pub(super) fn take_headers(block: &mut [u8]) -> Result<GivenHeaders, FramingError> {
    let mut given = GivenHeaders::default();
    for line in block.split_mut(|&byte| byte == b'\n') {
        given.take_line(line)?;
    }
    Ok(given)
}

impl GivenHeaders {
    fn take_line(&mut self, line: &mut [u8]) -> Result<(), FramingError> {
        if let Some(rest) = after_name(line, LENGTH) {
            let length = parse_length(rest)?;
            if self.length.is_some_and(|before| before != length) {
                return Err(FramingError::UnreadableLength);
            }
            self.length = Some(length);
            line[..LENGTH.len()].copy_from_slice(GIVEN_LENGTH);
        } else if let Some(rest) = after_name(line, TYPE) {
            let value = value(rest);
            self.content_type.get_or_insert(value);
            line[..TYPE.len()].copy_from_slice(GIVEN_TYPE);
        } else if let Some(rest) = after_name(line, DISPOSITION) {
            let value = value(rest);
            if Backslash::of(&String::from_utf8_lossy(&value)) == Backslash::Itself {
                mend_backslashes(line);
            }
            self.disposition.get_or_insert(value);
        }
        mend_value(line);
        Ok(())
    }
}

/// What follows the name, when the line's name is `name`.
fn after_name<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    let named = start.eq_ignore_ascii_case(name);
    let ends = !rest
        .first()
        .is_some_and(|&byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    (named && ends).then_some(rest)
}

fn parse_length(rest: &[u8]) -> Result<u64, FramingError> {
    rest.strip_prefix(b":")
        .map(<[u8]>::trim_ascii)
        .filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
        .and_then(|digits| str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok())
        .ok_or(FramingError::UnreadableLength)
}

/// The value that follows a name, without the white space around it (RFC 9110, section 5.5).
fn value(rest: &[u8]) -> Vec<u8> {
    let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
    let mut value = rest.strip_prefix(b":").unwrap_or(rest);
    while let [b' ' | b'\t', inner @ ..] | [inner @ .., b' ' | b'\t'] = value {
        value = inner;
    }
    value.to_vec()
}

fn mend_backslashes(line: &mut [u8]) {
    for byte in line {
        if *byte == b'\\' {
            *byte = MENDED;
        }
    }
}

/// Replaces what the parser would refuse in the line's value. A carriage return stays, and is
/// refused: it is no character of a name but the beginning of another line.
fn mend_value(line: &mut [u8]) {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return;
    };
    let mut rest = &mut line[colon + 1..];
    while let Err(error) = str::from_utf8(rest) {
        let start = error.valid_up_to();
        let end = error
            .error_len()
            .map_or(rest.len(), |length| start + length);
        rest[start..end].fill(MENDED);
        rest = &mut rest[end..];
    }
    for byte in &mut line[colon + 1..] {
        if byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r') {
            *byte = MENDED;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_kept_as_they_were_sent_and_mended_for_the_parser() {
        let mut block =
            b"content-DISPOSITION:\t form-data; filename=\"a\x01\x1b\x7f\0\tb\xe9\xc3\xa9\" \r\n\
            X-Other: \xff\x02\r\n\r\n"
                .to_vec();
        let given = take_headers(&mut block).unwrap();
        assert_eq!(
            given.disposition.unwrap(),
            b"form-data; filename=\"a\x01\x1b\x7f\0\tb\xe9\xc3\xa9\""
        );
        assert_eq!(
            String::from_utf8(block).unwrap(),
            "content-DISPOSITION:\t form-data; filename=\"a____\tb_\u{e9}\" \r\nX-Other: __\r\n\r\n"
        );
    }

    #[test]
    fn a_type_is_renamed_and_the_first_one_kept() {
        let mut block =
            b"Content-Type: multipart/mixed\nCONTENT-TYPE:b/c\r\nContent-Type-Of: x\r\n\r\n"
                .to_vec();
        let given = take_headers(&mut block).unwrap();
        assert_eq!(given.content_type.unwrap(), b"multipart/mixed");
        assert_eq!(
            String::from_utf8(block).unwrap(),
            "X-Given-Type: multipart/mixed\nX-Given-Type:b/c\r\nContent-Type-Of: x\r\n\r\n"
        );
    }

    #[test]
    fn a_carriage_return_stays_and_so_does_a_line_without_a_colon() {
        let sent = b"A: b\rc\r\nno \x01 header\r\n\r\n".to_vec();
        let mut block = sent.clone();
        assert_eq!(take_headers(&mut block), Ok(GivenHeaders::default()));
        assert_eq!(block, sent);
    }

    proptest! {
        #[test]
        fn a_mended_value_has_its_length_and_lines_and_is_readable(
            value in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let sent = [b"A: ", &value[..], b"\r\n\r\n"].concat();
            let mut block = sent.clone();
            take_headers(&mut block).unwrap();
            prop_assert_eq!(block.len(), sent.len());
            let lines = |bytes: &[u8]| -> Vec<usize> {
                let ends = bytes.iter().enumerate().filter(|(_, byte)| matches!(byte, b'\r' | b'\n'));
                ends.map(|(index, _)| index).collect()
            };
            prop_assert_eq!(lines(&block), lines(&sent));
            let first = block.split(|&byte| byte == b'\n').next().unwrap();
            prop_assert!(str::from_utf8(first).is_ok());
            prop_assert!(first.iter().all(|byte| !byte.is_ascii_control() || matches!(byte, b'\t' | b'\r')));
        }
    }
}
