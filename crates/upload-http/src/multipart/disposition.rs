//! The name of a file, from the `Content-Disposition` of its part.

use percent_encoding::percent_decode_str;

/// The file's name as the person wrote it; empty when there is none.
///
/// `filename*` (RFC 8187) comes before `filename`, should a client send it although RFC 7578,
/// section 4.2, tells it not to. `filename` is UTF-8, with `%22`, `%0D` and `%0A` for `"`, CR and LF,
/// as browsers send it (WHATWG HTML, multipart/form-data encoding algorithm), or a quoted-string; see
/// [`Backslash`]. Bytes that are no UTF-8 become U+FFFD. Nothing is dropped here: that is for the
/// sanitizer.
pub(super) fn original_name(header: &[u8]) -> String {
    let header = String::from_utf8_lossy(header);
    let extended = parameter(&header, "filename*").and_then(|value| decode_extended(&value));
    extended
        .or_else(|| Some(unescape_percent(&parameter(&header, "filename")?)))
        .unwrap_or_default()
}

/// Reads an `ext-value`: a charset, a language, and percent-encoded bytes (RFC 8187, section 3.2).
fn decode_extended(value: &str) -> Option<String> {
    let mut halves = value.splitn(3, '\'');
    let (charset, _language, encoded) = (halves.next()?, halves.next()?, halves.next()?);
    let bytes = percent_decode_str(encoded);
    if charset.eq_ignore_ascii_case("UTF-8") {
        bytes.decode_utf8().ok().map(Into::into)
    } else if charset.eq_ignore_ascii_case("ISO-8859-1") {
        Some(bytes.map(char::from).collect())
    } else {
        None
    }
}

/// What a backslash in a quoted value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backslash {
    /// The beginning of an escape, before `"` and `\`.
    Escape,
    /// A character as any other.
    Itself,
}

impl Backslash {
    /// How a header means its backslashes. Browsers do not escape them, so that the name `a\` comes
    /// as `"a\"`; a quoted-string does. So they are escapes, unless that leaves a value without an
    /// end, or with something behind it, and the other reading does not.
    pub(super) fn of(header: &str) -> Self {
        let differs = header.contains("\\\"");
        if differs && !Self::Escape.reads(header) && Self::Itself.reads(header) {
            Self::Itself
        } else {
            Self::Escape
        }
    }

    /// Whether each quoted value has an end, and nothing but the next parameter behind it.
    fn reads(self, header: &str) -> bool {
        let mut rest = header.split_once(';').map(|(_, rest)| rest);
        while let Some((_, value)) = rest.and_then(|rest| rest.split_once('=')) {
            let value = value.trim_start();
            if let Some(quoted) = value.strip_prefix('"') {
                let (_, after) = take_quoted(quoted, self);
                let after = after.map(str::trim_start);
                if !after.is_some_and(|after| after.is_empty() || after.starts_with(';')) {
                    return false;
                }
            }
            rest = take_value(value, self).1;
        }
        true
    }
}

/// The value of a parameter of a header that the parser has found to be well-formed.
///
/// The parser's own reading drops every backslash, and with it the folders' ends of a Windows path;
/// here one is an escape only before `"` and `\`, if at all.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let backslash = Backslash::of(header);
    let (_, mut rest) = header.split_once(';')?;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, next) = take_value(after.trim_start(), backslash);
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = next?;
    }
}

/// Splits a parameter's value, without its quotes, from what follows the next `;`.
fn take_value(text: &str, backslash: Backslash) -> (String, Option<&str>) {
    let Some(quoted) = text.strip_prefix('"') else {
        return match text.split_once(';') {
            Some((token, rest)) => (token.trim_end().to_owned(), Some(rest)),
            None => (text.trim_end().to_owned(), None),
        };
    };
    let (value, after) = take_quoted(quoted, backslash);
    let next = after.and_then(|after| after.split_once(';'));
    (value, next.map(|(_, rest)| rest))
}

/// Splits what a quote has opened from what follows the quote that closes it; from nothing, when
/// none does.
fn take_quoted(quoted: &str, backslash: Backslash) -> (String, Option<&str>) {
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return (value, Some(chars.as_str())),
            '\\' if backslash == Backslash::Escape => match chars.next() {
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => break,
            },
            _ => value.push(c),
        }
    }
    (value, None)
}

fn unescape_percent(name: &str) -> String {
    name.replace("%22", "\"")
        .replace("%0D", "\r")
        .replace("%0A", "\n")
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{ContentDisposition, HeaderValue};

    use super::*;

    #[test]
    fn a_name_is_read_as_the_person_wrote_it() {
        for (header, name) in [
            (r#"form-data; name="files"; filename="a b.txt""#, "a b.txt"),
            (
                r#"form-data; filename="résumé 中文.pdf"; name="files""#,
                "résumé 中文.pdf",
            ),
            ("form-data; name=files; filename=plain.txt", "plain.txt"),
            (r#"form-data; name="files""#, ""),
            (r#"form-data; name="files"; filename="""#, ""),
            (
                r#"form-data; name="filename=x"; FileName="y;z=.txt""#,
                "y;z=.txt",
            ),
            (
                r#"form-data; name="f"; filename="say %22hi%22%0D%0A 100%.txt""#,
                "say \"hi\"\r\n 100%.txt",
            ),
            (
                r#"form-data; name="f"; filename="say \"hi\" \\.txt""#,
                "say \"hi\" \\.txt",
            ),
            (
                r#"form-data; name="f"; filename="C:\dir\new.txt""#,
                r"C:\dir\new.txt",
            ),
            (
                r#"form-data; name="f"; filename="x.txt"; filename*=UTF-8''na%C3%AFve.txt"#,
                "naïve.txt",
            ),
            (
                r#"form-data; name="f"; filename*=iso-8859-1''na%EFve.txt"#,
                "naïve.txt",
            ),
            (
                r#"form-data; name="f"; filename="x.txt"; filename*=UTF-8''%FF"#,
                "x.txt",
            ),
        ] {
            let value = HeaderValue::from_bytes(header.as_bytes()).unwrap();
            assert!(ContentDisposition::from_raw(&value).is_ok(), "{header}");
            assert_eq!(original_name(header.as_bytes()), name, "{header}");
        }
    }

    /// The parser does not take these as they are.
    #[test]
    fn a_name_that_ends_in_a_backslash_is_read_to_its_end() {
        for (header, name) in [
            (r#"form-data; name="files"; filename="a\""#, r"a\"),
            (
                r#"form-data; name="files"; filename="C:\a;b\" "#,
                r"C:\a;b\",
            ),
            (r#"form-data; filename="a\"; name="files""#, r"a\"),
            (r#"form-data; name="a\"; filename="b\""#, r"b\"),
            (r#"form-data; name="files"; filename="\""#, r"\"),
        ] {
            assert_eq!(Backslash::of(header), Backslash::Itself, "{header}");
            assert_eq!(original_name(header.as_bytes()), name, "{header}");
        }
    }

    #[test]
    fn a_backslash_escapes_wherever_that_can_be_read() {
        for (header, name) in [
            (r#"form-data; name="files"; filename="a\\""#, r"a\"),
            (r#"form-data; name="files"; filename="a\"; b""#, "a\"; b"),
            (r#"form-data; name="files"; filename="a\""; x=y"#, "a\""),
            (r#"form-data; name="files"; filename="a\"b" c"#, "a\"b"),
        ] {
            assert_eq!(Backslash::of(header), Backslash::Escape, "{header}");
            assert_eq!(original_name(header.as_bytes()), name, "{header}");
        }
    }
}
