//! `Content-Disposition` of a file (RFC 6266): saved, not shown, under its own name.

use pending_uploads_core::Filename;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but `attr-char` (RFC 8187, section 3.2.1).
const NOT_ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The header's value: the safe name in `filename`, which everybody can read, and the person's own
/// in `filename*` (RFC 8187), which those prefer who can.
pub(crate) fn attachment(filename: &Filename) -> String {
    let safe = filename.as_str();
    let own = utf8_percent_encode(own_name(filename), NOT_ATTR_CHAR);
    format!("attachment; filename=\"{safe}\"; filename*=UTF-8''{own}")
}

/// The last segment of the name as the person wrote it, on whatever system; the safe name when that
/// names no file.
fn own_name(filename: &Filename) -> &str {
    match filename.original().rsplit(['/', '\\']).next() {
        None | Some("" | "." | "..") => filename.as_str(),
        Some(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_written_for_old_and_for_new_readers() {
        for (original, safe, own) in [
            ("report.pdf", "report.pdf", "report.pdf"),
            ("hello world.pdf", "hello_world.pdf", "hello%20world.pdf"),
            ("中文.docx", "__.docx", "%E4%B8%AD%E6%96%87.docx"),
            ("a\"b\\c;.txt", "a_b_c_.txt", "c%3B.txt"),
            ("../../etc/passwd", "passwd", "passwd"),
            ("C:\\temp\\x.txt", "C__temp_x.txt", "x.txt"),
            ("it's 100%*.txt", "it_s_100__.txt", "it%27s%20100%25%2A.txt"),
            ("folder/", "file", "file"),
            ("..", "file", "file"),
            ("", "file", "file"),
        ] {
            assert_eq!(
                attachment(&Filename::sanitize(original)),
                format!("attachment; filename=\"{safe}\"; filename*=UTF-8''{own}"),
                "{original}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_value_is_ascii_and_nothing_in_a_name_can_break_out_of_it(original in any::<String>()) {
            let value = attachment(&Filename::sanitize(&original));
            prop_assert!(value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
            prop_assert_eq!(value.matches('"').count(), 2);
            prop_assert_eq!(value.matches(';').count(), 2);
            prop_assert_eq!(value.matches('\'').count(), 2);
        }

        #[test]
        fn the_persons_own_name_is_read_back_from_it(original in "[^/\\\\]{1,40}") {
            let filename = Filename::sanitize(&original);
            prop_assume!(!matches!(filename.original(), "" | "." | ".."));
            let value = attachment(&filename);
            let own = value.rsplit("''").next().unwrap();
            let decoded = percent_decode_str(own).decode_utf8().unwrap().into_owned();
            prop_assert_eq!(decoded, filename.original());
        }
    }
}
