//! A file's bytes on their way.

use bytes::Bytes;
use pending_uploads_core::Sha256;
use reqwest::header::{CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, RANGE};
use reqwest::{RequestBuilder, Response, StatusCode};

use super::answer::text_of;
use super::error::{CallError, malformed};
use super::meter::Meter;
use crate::{Timeouts, WaitingFile};

/// A file's bytes on their way. Dropping it ends the transfer.
#[derive(Debug)]
pub struct Content {
    response: Response,
    from: u64,
    /// How many of the file's bytes were handed out or skipped.
    position: u64,
    size: u64,
    meter: Meter,
}

/// Asks for the file's bytes from `from` on, if it still is that very file (RFC 9110, sections 13.1.5
/// and 14.2).
pub(super) fn ask_for(request: RequestBuilder, file: &WaitingFile, from: u64) -> RequestBuilder {
    if from == 0 {
        return request;
    }
    request
        .header(RANGE, format!("bytes={from}-"))
        .header(IF_RANGE, format!("\"{}\"", file.sha256))
}

impl Content {
    /// Takes the answer to a question for `file` from `from` on, if it is what was asked for.
    pub(super) fn of(
        response: Response,
        file: &WaitingFile,
        from: u64,
        timeouts: &Timeouts,
    ) -> Result<Self, CallError> {
        let size = file.size_bytes.get();
        let begin = beginning(response.status(), response.headers(), from, size)?;
        check_identity(response.headers(), file.sha256)?;
        if response
            .content_length()
            .is_some_and(|length| length > size - begin)
        {
            return Err(LONGER);
        }
        Ok(Self {
            response,
            from: begin,
            position: begin,
            size,
            meter: Meter::new(timeouts),
        })
    }

    /// At which byte of the file these begin: where it was asked for, or 0 when the platform sends the
    /// whole file all the same.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// The next piece, which is not empty; none when every byte of the file was handed out. There are
    /// never more of them than were announced.
    ///
    /// Only the time that is spent in here counts: a caller that takes long to write is not a slow
    /// platform. Dropping the future loses no byte.
    ///
    /// # Errors
    /// - [`CallError::TimedOut`]: no piece came within [`Timeouts::idle`].
    /// - [`CallError::TooSlow`]: fewer bytes came than [`Timeouts::slow`] asks for.
    /// - [`CallError::BrokenOff`]: the answer ended before the file.
    /// - [`CallError::Malformed`]: there are more bytes than were announced.
    ///
    /// After an error nothing more comes that could be used.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        let piece = self.meter.piece(&mut self.response).await;
        let left = self.size - self.position;
        if left == 0 {
            // The file is whole, and its digest will tell; how the answer ends is of no interest.
            return match piece {
                Ok(Some(_)) => Err(LONGER),
                Ok(None) | Err(_) => Ok(None),
            };
        }
        let piece = piece?.ok_or(CallError::BrokenOff)?;
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if length > left {
            return Err(LONGER);
        }
        self.position += length;
        Ok(Some(piece))
    }
}

const LONGER: CallError = malformed("the file is longer than announced");

/// At which byte the answer begins.
fn beginning(
    status: StatusCode,
    headers: &HeaderMap,
    from: u64,
    size: u64,
) -> Result<u64, CallError> {
    match status {
        StatusCode::OK => Ok(0),
        StatusCode::PARTIAL_CONTENT if from > 0 => {
            let range = text_of(headers, CONTENT_RANGE).and_then(content_range);
            if range == Some((from, size)) {
                Ok(from)
            } else {
                Err(malformed("it is another part of the file"))
            }
        }
        _ => Err(malformed("the status is neither 200 nor the asked-for 206")),
    }
}

/// Reads `bytes <first>-<last>/<size>` (RFC 9110, section 14.4): the first byte, and the size.
fn content_range(value: &str) -> Option<(u64, u64)> {
    let (unit, range) = value.split_once(' ')?;
    let (range, size) = range.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size) = (number(first)?, number(last)?, number(size)?);
    let well_formed = unit.eq_ignore_ascii_case("bytes") && first <= last && last < size;
    well_formed.then_some((first, size))
}

fn number(digits: &str) -> Option<u64> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

/// The bytes must be the file's own, and of the file that was announced, if the answer says so.
fn check_identity(headers: &HeaderMap, sha256: Sha256) -> Result<(), CallError> {
    let encoded = text_of(headers, CONTENT_ENCODING);
    if headers.contains_key(CONTENT_ENCODING) && encoded != Some("identity") {
        return Err(malformed("the file is encoded although that was refused"));
    }
    if !headers.contains_key(ETAG) {
        return Ok(());
    }
    let tag = text_of(headers, ETAG).unwrap_or_default();
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    let same = tag == format!("\"{sha256}\"");
    same.then_some(()).ok_or(CallError::Changed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_content_range_is_read() {
        for (value, read) in [
            ("bytes 5-9/10", Some((5, 10))),
            ("Bytes 0-0/1", Some((0, 1))),
            ("bytes 5-7/10", Some((5, 10))),
            ("bytes 5-9/*", None),
            ("bytes */10", None),
            ("bytes 5-10/10", None),
            ("bytes 9-5/10", None),
            ("bytes +5-9/10", None),
            ("bytes -9/10", None),
            ("items 5-9/10", None),
            ("bytes 5-9", None),
            ("bytes 5-99999999999999999999/999999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(content_range(value), read, "{value}");
        }
    }

    proptest! {
        #[test]
        fn reading_a_content_range_never_panics(value in any::<String>()) {
            content_range(&value);
        }
    }
}
