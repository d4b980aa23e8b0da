//! A journal that is written anew says the same, and less of what nobody will ask for.

use super::*;

/// Makes most of a journal superseded.
fn move_the_cursor(journal: &mut Journal, to: i64) {
    let moves: Vec<_> = (0..to).map(cursor).chain([cursor(to)]).collect();
    for moves in moves.chunks(100) {
        journal.append(moves).unwrap();
    }
}

#[test]
fn a_journal_of_which_most_is_superseded_gets_short_and_says_the_same() {
    let state = State::new();
    let mut journal = state.journal();
    journal
        .append(&[Entry::Arrived(arrived(1)), Entry::Lost(lost(2))])
        .unwrap();
    move_the_cursor(&mut journal, 2000);
    let before = (state.records(), state.bytes().len());
    journal.compact_if_worthwhile(NOW).unwrap();
    assert_eq!(state.records(), before.0);
    assert!(
        state.bytes().len() < 2000,
        "{} of {}",
        state.bytes().len(),
        before.1
    );

    journal.append(&[cursor(7)]).unwrap();
    assert_eq!(state.records().cursor, all_told(&[cursor(7)]).cursor);
    drop(journal);
    assert_eq!(state.open().unwrap().1, state.records());
    assert_eq!(
        fs::read_dir(state.path().parent().unwrap())
            .unwrap()
            .count(),
        2
    );
}

#[test]
fn a_journal_of_which_most_counts_is_left_as_it_is() {
    let state = State::new();
    let mut journal = state.journal();
    let files: Vec<_> = (0..1000).map(|n| Entry::Arrived(arrived(n))).collect();
    journal.append(&files).unwrap();
    let before = state.bytes();
    assert!(before.len() as u64 > WORTHWHILE_BYTES);
    journal.compact_if_worthwhile(NOW).unwrap();
    assert!(state.bytes() == before);
    assert!(journal.next_look > journal.len);
}

#[test]
fn a_short_journal_is_left_as_it_is() {
    let state = State::new();
    let mut journal = state.journal();
    move_the_cursor(&mut journal, 20);
    let before = state.bytes();
    journal.compact_if_worthwhile(NOW).unwrap();
    assert_eq!(state.bytes(), before);
}

#[test]
fn a_journal_stays_locked_when_it_is_written_anew() {
    let state = State::new();
    let mut journal = state.journal();
    move_the_cursor(&mut journal, 2000);
    journal.compact_if_worthwhile(NOW).unwrap();
    assert!(matches!(state.open(), Err(JournalError::InUse { .. })));
}

#[test]
fn what_a_crash_left_of_a_new_journal_is_in_nobodys_way() {
    let state = State::new();
    let mut journal = state.journal();
    fs::write(state.path().with_file_name("journal.new"), "half of").unwrap();
    move_the_cursor(&mut journal, 2000);
    let before = state.records();
    journal.compact_if_worthwhile(NOW).unwrap();
    assert_eq!(state.records(), before);
}

/// The records of one file, with whatever else was done about it, as long after as `age`.
fn after(age: Duration, entries: &[Entry]) -> usize {
    let mut records = all_told(entries);
    records.forget_old(NOW.saturating_add(age));
    records.files.len()
}

#[test]
fn a_file_is_forgotten_when_it_is_gone_and_done_with_for_35_days() {
    let done = [Entry::Acked(file_id(1)), Entry::Confirmed(file_id(1))];
    let arrived = [Entry::Arrived(arrived(1))];
    let all = [&arrived[..], &done].concat();
    assert_eq!(after(35 * DAY, &all), 1);
    assert_eq!(after(36 * DAY, &all), 0);
    for missing in [
        [&arrived[..], &done[..1]].concat(),
        [&arrived[..], &done[1..]].concat(),
    ] {
        assert_eq!(after(36 * DAY, &missing), 1, "{missing:?}");
    }
}

#[test]
fn a_file_that_is_on_the_disk_is_never_forgotten() {
    let here = tempfile::NamedTempFile::new().unwrap();
    let arrived = ArrivedFile {
        path: here.path().to_owned(),
        ..arrived(1)
    };
    let entries = [
        Entry::Arrived(arrived),
        Entry::Acked(file_id(1)),
        Entry::Confirmed(file_id(1)),
    ];
    assert_eq!(after(1000 * DAY, &entries), 1);
    here.close().unwrap();
    assert_eq!(after(1000 * DAY, &entries), 0);
}

#[test]
fn a_lost_file_is_forgotten_35_days_after_its_event_can_be() {
    let entries = [Entry::Lost(lost(1)), Entry::Confirmed(file_id(1))];
    assert_eq!(after(35 * DAY, &entries), 1);
    assert_eq!(after(36 * DAY, &entries), 0);
    assert_eq!(after(36 * DAY, &entries[..1]), 1);
}

proptest! {
    #[test]
    fn writing_a_journal_anew_changes_nothing_that_counts(appends in any_appends()) {
        let records = all_told(appends.iter().flatten());
        let bytes = lines::whole(&header(), &records).unwrap();
        prop_assert_eq!(lines::read(&bytes).unwrap().unwrap().records, records);
    }
}
