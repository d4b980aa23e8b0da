//! Media types, as a client claimed them and as it is safe to repeat them.

use std::fmt;

/// The longest type, and the longest subtype, in bytes (RFC 6838, section 4.2).
const MAX_HALF_BYTES: usize = 127;
const OCTET_STREAM: &str = "application/octet-stream";

/// A media type without parameters, safe to send as a header: `type/subtype`, or absent.
///
/// Only the safe parser makes one. It says what the sender claimed; nobody has looked at the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mimetype(String);

impl Mimetype {
    /// Reads the value of a part's `Content-Type`.
    ///
    /// Parameters are dropped, with the white space before them (RFC 9110, section 8.3.1). What is
    /// left must be a token, a `/` and a token (RFC 9110, section 5.6.2) of at most 127 bytes each;
    /// anything else, a control character and a space among it, becomes
    /// `application/octet-stream`. Empty stays empty. The case is kept as the sender wrote it.
    pub fn parse(value: &str) -> Self {
        let essence = value.split(';').next().unwrap_or_default();
        let essence = essence.trim_matches([' ', '\t']);
        if value.is_empty() || is_type_and_subtype(essence) {
            Self(essence.to_owned())
        } else {
            Self(OCTET_STREAM.to_owned())
        }
    }

    /// The media type of a part that named none.
    pub fn absent() -> Self {
        Self(String::new())
    }

    /// The type as it stands in JSON: empty when absent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The type as it stands in a `Content-Type` header: `application/octet-stream` when absent.
    pub fn or_octet_stream(&self) -> &str {
        if self.0.is_empty() {
            OCTET_STREAM
        } else {
            &self.0
        }
    }
}

/// Prints [`Mimetype::as_str`].
impl fmt::Display for Mimetype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_type_and_subtype(essence: &str) -> bool {
    essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_short_token(kind) && is_short_token(subtype))
}

fn is_short_token(text: &str) -> bool {
    (1..=MAX_HALF_BYTES).contains(&text.len()) && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_media_type_keeps_its_type_and_loses_its_parameters() {
        for (value, read) in [
            ("text/plain", "text/plain"),
            ("text/plain; charset=utf-8", "text/plain"),
            ("text/plain ;charset=utf-8", "text/plain"),
            ("image/svg+xml", "image/svg+xml"),
            ("application/vnd.ms-excel;x", "application/vnd.ms-excel"),
            ("Text/HTML", "Text/HTML"),
            ("", ""),
        ] {
            assert_eq!(Mimetype::parse(value).as_str(), read, "{value}");
        }
    }

    #[test]
    fn anything_else_becomes_octet_stream() {
        let long = format!("text/{}", "x".repeat(128));
        for value in [
            "text",
            "text/",
            "/plain",
            "text/plain/x",
            "te xt/plain",
            "text/pl ain",
            "text/pl\nain",
            "text/pl\u{0}ain",
            "text/pläin",
            ";charset=utf-8",
            " ",
            "a,b/c",
            &long,
        ] {
            assert_eq!(Mimetype::parse(value).as_str(), OCTET_STREAM, "{value:?}");
        }
    }

    #[test]
    fn an_absent_type_is_empty_in_json_and_octet_stream_in_a_header() {
        assert_eq!(Mimetype::absent().as_str(), "");
        assert_eq!(Mimetype::absent().or_octet_stream(), OCTET_STREAM);
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_a_legal_header_value(value in any::<String>()) {
            let read = Mimetype::parse(&value);
            prop_assert!(read.as_str().bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(Mimetype::parse(read.as_str()), read);
        }
    }
}
