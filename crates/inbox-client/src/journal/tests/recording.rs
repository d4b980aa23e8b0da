//! What is written reads back, and what entries say together.

use super::*;

#[test]
fn what_was_appended_is_there_when_the_journal_is_opened_again() {
    let state = State::new();
    let (mut journal, before) = state.open().unwrap();
    assert_eq!(before, Records::default());
    let entries = [
        Entry::Arrived(arrived(1)),
        Entry::Acked(file_id(1)),
        Entry::Lost(lost(2)),
        Entry::Confirmed(file_id(2)),
        cursor(5),
    ];
    journal.append(&entries[..2]).unwrap();
    journal.append(&entries[2..]).unwrap();
    drop(journal);

    let (_journal, records) = state.open().unwrap();
    assert_eq!(records, all_told(&entries));
    assert_eq!(state.records(), records);
    let file = &records.files[&file_id(1)];
    assert_eq!(file.outcome, Outcome::Arrived(arrived(1)));
    assert_eq!((file.acked, file.confirmed), (Done::Yes, Done::NotYet));
}

#[test]
fn a_second_process_with_the_same_state_is_refused() {
    let state = State::new();
    let journal = state.journal();
    let refused = state.open();
    let Err(JournalError::InUse { path }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(path, state.path().parent().unwrap());
    drop(journal);
    assert!(state.open().is_ok());
}

#[test]
fn another_workspace_has_a_journal_of_its_own() {
    let state = State::new();
    let _one = state.journal();
    let other = WorkspaceId::generate();
    let (_other, records) = Journal::open(state.folder.path(), &platform(), other, NOW).unwrap();
    assert_eq!(records, Records::default());
}

#[test]
fn a_journal_is_read_while_it_is_written_and_is_not_made_by_that() {
    let state = State::new();
    let read = Journal::read(state.folder.path(), state.workspace).unwrap();
    assert_eq!(read, None);
    assert_eq!(fs::read_dir(state.folder.path()).unwrap().count(), 0);
    let mut journal = state.journal();
    journal.append(&[cursor(3)]).unwrap();
    assert_eq!(state.records(), all_told(&[cursor(3)]));
}

#[test]
fn nobody_else_may_read_what_a_journal_says() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let state = parent.path().join("a").join("state");
    let workspace = WorkspaceId::generate();
    let opened = Journal::open(&state, &platform(), workspace, NOW).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = state.join(workspace.to_string());
    for made in [&parent.path().join("a"), &state, &folder] {
        assert_eq!(mode(made), 0o700, "{}", made.display());
    }
    for made in ["journal", "lock"] {
        assert_eq!(mode(&folder.join(made)), 0o600, "{made}");
    }
    drop(opened);
}

#[test]
fn a_file_that_arrives_after_it_was_lost_has_arrived_and_is_yet_to_be_confirmed() {
    let records = all_told(&[
        Entry::Lost(lost(1)),
        Entry::Confirmed(file_id(1)),
        Entry::Arrived(arrived(1)),
    ]);
    let file = &records.files[&file_id(1)];
    assert_eq!(file.outcome, Outcome::Arrived(arrived(1)));
    assert_eq!((file.acked, file.confirmed), (Done::NotYet, Done::NotYet));
}

#[test]
fn a_file_that_has_arrived_cannot_be_lost() {
    let entries = [Entry::Arrived(arrived(1)), Entry::Lost(lost(1))];
    assert_eq!(all_told(&entries), all_told(&entries[..1]));
}

#[test]
fn a_file_is_lost_for_the_first_reason() {
    let again = LostFile {
        reason: LostReason::Gone,
        ..lost(1)
    };
    let records = all_told(&[Entry::Lost(lost(1)), Entry::Lost(again)]);
    assert_eq!(records.files[&file_id(1)].outcome, Outcome::Lost(lost(1)));
}

#[test]
fn a_file_that_arrives_again_stays_acked_and_confirmed() {
    let elsewhere = ArrivedFile {
        path: "/elsewhere".into(),
        ..arrived(1)
    };
    let records = all_told(&[
        Entry::Arrived(arrived(1)),
        Entry::Acked(file_id(1)),
        Entry::Confirmed(file_id(1)),
        Entry::Arrived(elsewhere.clone()),
    ]);
    let file = &records.files[&file_id(1)];
    assert_eq!(file.outcome, Outcome::Arrived(elsewhere));
    assert_eq!((file.acked, file.confirmed), (Done::Yes, Done::Yes));
}

#[test]
fn an_ack_of_a_file_that_is_not_known_says_nothing() {
    let entries = [Entry::Acked(file_id(1)), Entry::Confirmed(file_id(1))];
    assert_eq!(all_told(&entries), Records::default());
}

#[test]
fn a_journal_of_another_platform_is_gone_on_with_and_says_where_it_moved() {
    let state = State::new();
    state.journal().append(&[cursor(1)]).unwrap();
    let moved: Url = "https://elsewhere.example/".parse().unwrap();
    for _ in 0..2 {
        let opened = Journal::open(state.folder.path(), &moved, state.workspace, NOW);
        let (mut journal, records) = opened.unwrap();
        assert_eq!(records, all_told(&[cursor(1)]));
        assert_eq!(journal.header.platform, moved.as_str());
        journal.append(&[cursor(1)]).unwrap();
    }
    let text = String::from_utf8(state.bytes()).unwrap();
    assert!(text.contains(moved.as_str()) && !text.contains(platform().as_str()));
}

#[test]
fn what_cannot_be_written_down_leaves_the_journal_as_it_was() {
    use std::os::unix::ffi::OsStrExt;
    let state = State::new();
    let mut journal = state.journal();
    let odd = ArrivedFile {
        path: std::ffi::OsStr::from_bytes(b"/odd\xff").into(),
        ..arrived(1)
    };
    let refused = journal.append(&[cursor(1), Entry::Arrived(odd)]);
    assert!(matches!(refused, Err(JournalError::Io(_))), "{refused:?}");
    journal.append(&[cursor(2)]).unwrap();
    assert_eq!(state.records(), all_told(&[cursor(2)]));
}

#[test]
fn an_append_for_which_there_is_no_room_leaves_the_journal_as_it_was() {
    let test = concat!(
        module_path!(),
        "::an_append_for_which_there_is_no_room_leaves_the_journal_as_it_was"
    );
    let workspace = WorkspaceId::from_uuid(Uuid::from_u128(7));
    if let Some((folder, _)) = child::task() {
        let (mut journal, _) = Journal::open(&folder, &platform(), workspace, NOW).unwrap();
        let many: Vec<_> = (0..1000).map(|n| Entry::Arrived(arrived(n))).collect();
        let refused = journal.append(&many);
        assert!(
            matches!(refused, Err(JournalError::DiskFull(_))),
            "{refused:?}"
        );
        journal.append(&[cursor(9)]).unwrap();
        return;
    }
    let state = State::new();
    child::run_well(test, "trap '' XFSZ; ulimit -f 64", state.folder.path(), "");
    assert_eq!(state.records(), all_told(&[cursor(9)]));
}

#[test]
fn a_failure_that_cannot_be_taken_back_ends_all_writing() {
    let state = State::new();
    let mut journal = state.journal();
    journal.append(&[cursor(1)]).unwrap();
    // Neither written nor cut.
    journal.file = File::open(state.path()).unwrap();
    assert!(matches!(
        journal.append(&[cursor(2)]),
        Err(JournalError::Io(_))
    ));
    journal.file = File::options().write(true).open(state.path()).unwrap();
    assert!(matches!(
        journal.append(&[cursor(2)]),
        Err(JournalError::Broken)
    ));
    drop(journal);
    state.journal().append(&[cursor(3)]).unwrap();
    assert_eq!(state.records(), all_told(&[cursor(3)]));
}

proptest! {
    #[test]
    fn any_entries_read_back(appends in any_appends()) {
        let found = lines::read(&written(&appends)).unwrap().unwrap();
        prop_assert_eq!(found.records, all_told(appends.iter().flatten()));
        prop_assert_eq!(found.header, header());
        prop_assert_eq!(found.len, written(&appends).len() as u64);
    }

    #[test]
    fn each_entry_reads_back_as_it_was(entry in any_entry()) {
        let wire = serde_json::to_string(&wire::WireEntry::from(&entry)).unwrap();
        let read: wire::WireEntry = serde_json::from_str(&wire).unwrap();
        prop_assert_eq!(read.into_entry(), Some(entry));
    }
}
