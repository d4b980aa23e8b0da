//! File names: the safe name that goes on the wire, and the person's own beside it.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// The longest safe name, in bytes.
const MAX_NAME_BYTES: usize = 100;
/// The longest extension, its dot included, that survives when a name is cut, in bytes.
const MAX_KEPT_EXTENSION_BYTES: usize = 16;
/// The longest original name that is kept, in bytes.
const MAX_ORIGINAL_BYTES: usize = 255;

/// A file's name: safe for a path, and as the person wrote it.
///
/// Only the sanitizer makes one, so [`as_str`](Self::as_str) is never empty, never `.` or `..`, at
/// most 100 bytes, and made of `[A-Za-z0-9._-]` alone. [`original`](Self::original) is for display
/// and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filename {
    name: String,
    original: String,
}

/// A stored name was not what the sanitizer makes of it: the record is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stored file name is not a sanitized one")]
pub struct NotSanitized;

impl Filename {
    /// Makes the safe name of `original`, by the rules that every implementation of the wire
    /// contract shares, and keeps a cleaned copy of `original` beside it.
    ///
    /// The safe name: what follows the last `/`; spaces become `_`; each character outside
    /// `[A-Za-z0-9._-]` becomes one `_`; over 100 bytes it is cut to 100, keeping an extension of
    /// up to 16 bytes with its dot; an empty result, `.` or `..` becomes `file`.
    ///
    /// The original: control and bidirectional-formatting characters dropped, then Unicode
    /// normalization form C (UAX #15), then cut at a character to at most 255 bytes. It may be
    /// empty.
    pub fn sanitize(original: &str) -> Self {
        Self {
            name: safe_name(original),
            original: display_name(original),
        }
    }

    /// Rebuilds a name from its two stored halves.
    ///
    /// # Errors
    /// [`NotSanitized`] when the sanitizer would not leave them as they are.
    pub fn restore(name: String, original: String) -> Result<Self, NotSanitized> {
        if safe_name(&name) == name && display_name(&original) == original {
            Ok(Self { name, original })
        } else {
            Err(NotSanitized)
        }
    }

    /// The safe name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The name as the person wrote it, cleaned; for display only.
    pub fn original(&self) -> &str {
        &self.original
    }
}

/// Prints the safe name.
impl fmt::Display for Filename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn safe_name(original: &str) -> String {
    let base = original.rsplit('/').next().unwrap_or_default();
    let safe: String = base.chars().map(safe_char).collect();
    match cut_name(&safe) {
        name if matches!(name.as_str(), "" | "." | "..") => "file".to_owned(),
        name => name,
    }
}

fn safe_char(c: char) -> char {
    if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
        c
    } else {
        '_'
    }
}

/// Cuts a name of single-byte characters to [`MAX_NAME_BYTES`].
fn cut_name(safe: &str) -> String {
    if safe.len() <= MAX_NAME_BYTES {
        return safe.to_owned();
    }
    let extension = match safe.rfind('.') {
        Some(dot) if safe.len() - dot <= MAX_KEPT_EXTENSION_BYTES => &safe[dot..],
        _ => "",
    };
    format!("{}{extension}", &safe[..MAX_NAME_BYTES - extension.len()])
}

/// Drops first and normalizes after: the other way round, dropping a character could bring two
/// together that form C would have joined.
fn display_name(original: &str) -> String {
    let mut name: String = original
        .chars()
        .filter(|c| !c.is_control() && !is_bidi_control(*c))
        .nfc()
        .collect();
    name.truncate(name.floor_char_boundary(MAX_ORIGINAL_BYTES));
    name
}

/// The characters with the Unicode property `Bidi_Control` (UAX #9): they can make `exe.txt` read
/// as `txt.exe`.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_contracts_table_holds_to_the_letter() {
        let long_extension = format!("{}.{}", "c".repeat(90), "x".repeat(36));
        let rows = [
            ("../../etc/passwd", "passwd".to_owned()),
            ("/etc/passwd", "passwd".to_owned()),
            ("a/b/c.txt", "c.txt".to_owned()),
            ("hello world.pdf", "hello_world.pdf".to_owned()),
            ("weird;chars!?.txt", "weird_chars__.txt".to_owned()),
            ("file (1).pdf", "file__1_.pdf".to_owned()),
            ("中文.docx", "__.docx".to_owned()),
            ("中文中文", "____".to_owned()),
            (
                "report-2026.05.04_v2.pdf",
                "report-2026.05.04_v2.pdf".to_owned(),
            ),
            (
                &format!("{}.pdf", "a".repeat(95)),
                format!("{}.pdf", "a".repeat(95)),
            ),
            (
                &format!("{}.pdf", "b".repeat(200)),
                format!("{}.pdf", "b".repeat(96)),
            ),
            (&long_extension, long_extension[..100].to_owned()),
            ("", "file".to_owned()),
            (".", "file".to_owned()),
            ("..", "file".to_owned()),
            ("folder/", "file".to_owned()),
        ];
        for (original, name) in rows {
            assert_eq!(Filename::sanitize(original).as_str(), name, "{original}");
        }
    }

    #[test]
    fn an_extension_of_sixteen_bytes_with_its_dot_is_kept_and_one_of_seventeen_is_not() {
        let sixteen = format!("{}.{}", "n".repeat(100), "e".repeat(15));
        let seventeen = format!("{}.{}", "n".repeat(100), "e".repeat(16));
        assert_eq!(
            Filename::sanitize(&sixteen).as_str(),
            format!("{}.{}", "n".repeat(84), "e".repeat(15))
        );
        assert_eq!(Filename::sanitize(&seventeen).as_str(), "n".repeat(100));
    }

    #[test]
    fn the_original_is_normalized_and_loses_what_could_deceive() {
        let name = Filename::sanitize("re\u{301}sume\u{0301}\u{202E}fdp\u{0007}.txt");
        assert_eq!(name.original(), "résuméfdp.txt");
    }

    #[test]
    fn what_is_dropped_from_between_a_letter_and_its_accent_does_not_keep_them_apart() {
        let name = Filename::sanitize("e\u{202E}\u{301}.txt");
        assert_eq!(name.original(), "é.txt");
    }

    #[test]
    fn the_original_is_cut_at_a_character() {
        let name = Filename::sanitize(&"é".repeat(200));
        assert_eq!(name.original(), "é".repeat(127));
    }

    #[test]
    fn a_name_that_the_sanitizer_would_change_is_not_restored() {
        for (name, original) in [("a b", "a b"), ("", ""), ("..", "x"), ("ok", "o\u{0}k")] {
            assert_eq!(
                Filename::restore(name.to_owned(), original.to_owned()),
                Err(NotSanitized),
                "{name}"
            );
        }
    }

    /// Any text, often with what is dropped beside what is normalized: `any::<String>()` has neither
    /// control nor format characters.
    fn text() -> impl Strategy<Value = String> {
        let telling = "e\u{301}\u{202E}\u{200F}\u{2066}\u{200B}\u{FEFF}\u{7F}\0\n/\\. é";
        let telling: Vec<char> = telling.chars().collect();
        let letter = prop_oneof![any::<char>(), prop::sample::select(telling)];
        let letters = prop::collection::vec(letter, 0..150);
        letters.prop_map(|letters| letters.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_safe_name_is_short_never_empty_and_of_safe_characters(original in text()) {
            let name = Filename::sanitize(&original);
            let safe = name.as_str();
            prop_assert!((1..=100).contains(&safe.len()));
            prop_assert!(safe.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)));
            prop_assert!(safe != "." && safe != "..");
        }

        #[test]
        fn sanitizing_twice_changes_nothing(original in text()) {
            let once = Filename::sanitize(&original);
            let twice = Filename::sanitize(once.as_str());
            prop_assert_eq!(twice.as_str(), once.as_str());
            let again = Filename::sanitize(once.original());
            prop_assert_eq!(again.original(), once.original());
        }

        #[test]
        fn what_the_sanitizer_made_can_be_restored(original in text()) {
            let made = Filename::sanitize(&original);
            let restored =
                Filename::restore(made.as_str().to_owned(), made.original().to_owned());
            prop_assert_eq!(restored, Ok(made));
        }

        #[test]
        fn an_original_is_at_most_255_bytes(original in ".{0,400}") {
            prop_assert!(Filename::sanitize(&original).original().len() <= 255);
        }
    }
}
