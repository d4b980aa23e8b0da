//! A journal that was cut off, or changed by somebody else, never says what was never written.

use super::*;

#[test]
fn what_a_crash_left_of_the_last_append_is_as_if_it_had_never_been_written() {
    let state = State::new();
    let mut journal = state.journal();
    journal.append(&[cursor(1)]).unwrap();
    let sound = state.bytes();
    journal
        .append(&[cursor(2), Entry::Arrived(arrived(1))])
        .unwrap();
    drop(journal);
    let whole = state.bytes();
    fs::write(state.path(), &whole[..whole.len() - 7]).unwrap();

    assert_eq!(state.records(), all_told(&[cursor(1)]));
    let (mut journal, records) = state.open().unwrap();
    assert_eq!(records, all_told(&[cursor(1)]));
    assert_eq!(state.bytes(), sound);
    journal.append(&[cursor(3)]).unwrap();
    assert_eq!(state.records(), all_told(&[cursor(3)]));
}

#[test]
fn a_damaged_line_with_sound_ones_after_it_is_an_error_that_says_what_to_do() {
    let state = State::new();
    let mut journal = state.journal();
    for seq in 1..4 {
        journal.append(&[cursor(seq)]).unwrap();
    }
    drop(journal);
    let text = String::from_utf8(state.bytes()).unwrap();
    fs::write(state.path(), text.replace("\"seq\":2", "\"seq\":9")).unwrap();
    let refused = state.open();
    assert!(
        matches!(&refused, Err(JournalError::Damaged { path, line: 3 }) if *path == state.path()),
        "{refused:?}"
    );
    let sentence = refused.unwrap_err().to_string();
    assert!(sentence.contains("Move that file away"), "{sentence}");

    fs::rename(state.path(), state.folder.path().join("away")).unwrap();
    assert_eq!(state.open().unwrap().1, Records::default());
}

#[test]
fn an_empty_journal_is_none() {
    let state = State::new();
    drop(state.journal());
    fs::write(state.path(), "").unwrap();
    let read = Journal::read(state.folder.path(), state.workspace).unwrap();
    assert_eq!(read, None);
    let (mut journal, records) = state.open().unwrap();
    assert_eq!(records, Records::default());
    journal.append(&[cursor(1)]).unwrap();
    assert_eq!(state.records(), all_told(&[cursor(1)]));
}

#[test]
fn a_journal_of_a_newer_version_is_refused_and_left_alone() {
    let state = State::new();
    drop(state.journal());
    let newer = Header {
        journal: 2,
        ..header()
    };
    let bytes = lines::whole(&newer, &Records::default()).unwrap();
    fs::write(state.path(), &bytes).unwrap();
    let refused = state.open();
    assert!(
        matches!(
            refused,
            Err(JournalError::Newer {
                found: 2,
                known: 1,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(state.bytes(), bytes);
}

#[test]
fn a_journal_of_another_workspace_is_refused() {
    let state = State::new();
    drop(state.journal());
    let other = Header::new(&platform(), WorkspaceId::generate(), NOW);
    fs::write(
        state.path(),
        lines::whole(&other, &Records::default()).unwrap(),
    )
    .unwrap();
    let refused = state.open();
    assert!(matches!(refused, Err(JournalError::OtherWorkspace { .. })));
}

#[test]
fn a_sound_line_that_says_nothing_known_is_damage() {
    let state = State::new();
    drop(state.journal());
    let json = r#"[{"entry":"forgotten"}]"#;
    let digest = Sha256::of(json.as_bytes()).to_string();
    let mut bytes = state.bytes();
    bytes.extend(format!("{} {json}\n", &digest[..16]).bytes());
    fs::write(state.path(), bytes).unwrap();
    let refused = state.open();
    assert!(matches!(
        refused,
        Err(JournalError::Damaged { line: 2, .. })
    ));
}

/// How many lines end in `bytes`.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

proptest! {
    #[test]
    fn a_journal_that_was_cut_at_any_byte_says_a_prefix(
        appends in any_appends(),
        at in any::<proptest::sample::Index>(),
    ) {
        let bytes = written(&appends);
        let at = at.index(bytes.len());
        let found = lines::read(&bytes[..at]).unwrap();
        let said = found.map(|found| found.records);
        let expected = prefixes(&appends);
        prop_assert_eq!(said.as_ref(), whole_lines(&bytes[..at]).checked_sub(1).map(|many| &expected[many]));
    }

    #[test]
    fn a_journal_of_which_any_byte_was_changed_is_damaged_or_says_a_prefix(
        appends in any_appends(),
        at in any::<proptest::sample::Index>(),
        flip in 1..=u8::MAX,
    ) {
        let mut bytes = written(&appends);
        let at = at.index(bytes.len());
        let touched = whole_lines(&bytes[..at]);
        bytes[at] ^= flip;
        match lines::read(&bytes) {
            Err(Unsound::Damaged(_)) => {}
            // Of the line that was changed, nothing is said.
            Ok(Some(found)) => {
                let expected = prefixes(&appends[..touched.saturating_sub(1)]);
                prop_assert_eq!(Some(&found.records), expected.last());
            }
            Ok(None) => prop_assert!(touched == 0 && appends.is_empty()),
            Err(error) => prop_assert!(false, "{:?}", error),
        }
    }

    #[test]
    fn whatever_bytes_a_journal_has_reading_it_ends(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        prop_assert!(!matches!(lines::read(&bytes), Ok(Some(_))));
    }
}
