//! The name of a file, from the `Content-Disposition` of its part.

use percent_encoding::percent_decode_str;

/// The file's name as the person wrote it; empty when there is none.
///
/// `filename*` (RFC 8187) comes before `filename`, should a client send it although RFC 7578,
/// section 4.2, tells it not to. `filename` is UTF-8, with `%22`, `%0D` and `%0A` for `"`, CR and LF,
/// as browsers send it (WHATWG HTML, multipart/form-data encoding algorithm), or a quoted-string.
/// Bytes that are no UTF-8 become U+FFFD. Nothing is dropped here: that is for the sanitizer.
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

/// The value of a parameter of a header that the parser has found to be well-formed.
///
/// The parser's own reading drops every backslash, and with it the folders' ends of a Windows path;
/// here one is an escape only before `"` and `\`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let (_, mut rest) = header.split_once(';')?;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, next) = take_value(after.trim_start());
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = next?;
    }
}

/// Splits a parameter's value, without its quotes, from what follows the next `;`.
fn take_value(text: &str) -> (String, Option<&str>) {
    let Some(quoted) = text.strip_prefix('"') else {
        return match text.split_once(';') {
            Some((token, rest)) => (token.trim_end().to_owned(), Some(rest)),
            None => (text.trim_end().to_owned(), None),
        };
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => break,
            },
            _ => value.push(c),
        }
    }
    (value, chars.as_str().split_once(';').map(|(_, rest)| rest))
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
}
