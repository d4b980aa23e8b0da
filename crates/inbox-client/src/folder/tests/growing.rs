//! A partial grows, whoever goes on with it.

use proptest::prelude::*;

use super::*;

#[test]
fn a_partial_is_gone_on_with_where_it_stopped() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    let mut partial = folder.partial(&file).unwrap();
    assert_eq!(partial.len(), 0);
    partial.append(&BYTES[..10]).unwrap();
    drop(partial);

    let mut partial = folder.partial(&file).unwrap();
    assert_eq!(partial.len(), 10);
    partial.append(&BYTES[10..]).unwrap();
    let path = partial.place().unwrap();
    assert_eq!(fs::read(path).unwrap(), BYTES);
}

/// A folder whose file system gives what `folder` makes to another user than it runs as.
fn foreign(folder: &Folder) -> Folder {
    let another = rustix::process::geteuid().as_raw() + 1;
    Folder {
        owner: Owner::of(another),
        ..folder.clone()
    }
}

#[test]
fn a_partial_is_gone_on_with_where_new_files_belong_to_another_user() {
    let (_parent, folder) = folder();
    let folder = foreign(&folder);
    let file = waiting(BYTES);
    folder.partial(&file).unwrap().append(&BYTES[..10]).unwrap();
    assert_eq!(folder.partial(&file).unwrap().len(), 10);
    assert_eq!(names_in(folder.path()), [partial_name(&file)]);
    folder.discard_partial(WORKSPACE, file.file_id).unwrap();
    assert!(names_in(folder.path()).is_empty());
}

#[test]
fn a_partial_that_is_neither_ours_nor_as_new_files_are_begins_anew() {
    let (_parent, folder) = folder();
    let foreign = foreign(&folder);
    let file = waiting(BYTES);
    folder.partial(&file).unwrap().append(&BYTES[..10]).unwrap();
    foreign.owner.knows(u32::MAX);
    foreign.discard_partial(WORKSPACE, file.file_id).unwrap();
    assert_eq!(names_in(folder.path()), [partial_name(&file)]);
    assert_eq!(foreign.partial(&file).unwrap().len(), 0);
}

#[test]
fn a_partial_that_somebody_has_open_is_busy() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    let partial = folder.partial(&file).unwrap();
    assert!(matches!(folder.partial(&file), Err(PartialError::Busy)));
    assert!(folder.partial(&waiting(BYTES)).is_ok());
    drop(partial);
    assert!(folder.partial(&file).is_ok());
}

#[test]
fn a_partial_never_grows_past_what_was_announced() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    let mut partial = folder.partial(&file).unwrap();
    partial.append(&BYTES[1..]).unwrap();
    let refused = partial.append(b"two");
    assert!(matches!(refused, Err(PartialError::TooLong)));
    assert_eq!(partial.len(), BYTES.len() as u64 - 1);
    assert_eq!(fs::read(partial_path(&folder, &file)).unwrap(), &BYTES[1..]);
}

#[test]
fn a_partial_that_is_longer_than_the_file_begins_anew() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    fs::write(partial_path(&folder, &file), [BYTES, b"!"].concat()).unwrap();
    let partial = folder.partial(&file).unwrap();
    assert_eq!(partial.len(), 0);
    assert_eq!(fs::read(partial_path(&folder, &file)).unwrap(), b"");
}

#[test]
fn a_folder_that_was_removed_is_made_again() {
    let (_parent, folder) = folder();
    fs::remove_dir(folder.path()).unwrap();
    let file = waiting(BYTES);
    let path = place(&folder, &file, BYTES).unwrap();
    assert_eq!(fs::read(path).unwrap(), BYTES);
    assert_eq!(mode(folder.path()), 0o700);
}

#[test]
fn nobody_else_may_read_a_file_whatever_the_umask() {
    if let Some((path, _)) = child::task() {
        let folder = Folder::open(&path).unwrap();
        let file = waiting(BYTES);
        let mut partial = folder.partial(&file).unwrap();
        assert_eq!(mode(&partial_path(&folder, &file)), 0o600);
        partial.append(BYTES).unwrap();
        assert_eq!(mode(&partial.place().unwrap()), 0o600);
        return;
    }
    let test = concat!(
        module_path!(),
        "::nobody_else_may_read_a_file_whatever_the_umask"
    );
    for umask in ["umask 000", "umask 077", "umask 777"] {
        let (_parent, folder) = folder();
        child::run_well(test, umask, folder.path(), "");
    }
}

#[test]
fn a_file_for_which_there_is_no_room_keeps_what_it_has() {
    if let Some((path, _)) = child::task() {
        let folder = Folder::open(&path).unwrap();
        let bytes = vec![7; 1024 * 1024];
        let file = waiting(&bytes);
        let mut partial = folder.partial(&file).unwrap();
        partial.append(&bytes[..1000]).unwrap();
        let refused = partial.append(&bytes[1000..]);
        assert!(
            matches!(refused, Err(PartialError::DiskFull(_))),
            "{refused:?}"
        );
        assert_eq!(partial.len(), 1000);
        assert_eq!(
            fs::metadata(partial_path(&folder, &file)).unwrap().len(),
            1000
        );
        partial.append(&bytes[1000..2000]).unwrap();
        return;
    }
    let test = concat!(
        module_path!(),
        "::a_file_for_which_there_is_no_room_keeps_what_it_has"
    );
    let (_parent, folder) = folder();
    child::run_well(test, "trap '' XFSZ; ulimit -f 64", folder.path(), "");
}

/// What happens to a partial between two pieces.
#[derive(Debug, Clone, Copy)]
enum Between {
    Nothing,
    Reopened,
    Restarted,
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        3 => Just(Between::Nothing),
        2 => Just(Between::Reopened),
        1 => Just(Between::Restarted),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_file_is_whole_however_its_bytes_came(
        bytes in proptest::collection::vec(any::<u8>(), 1..300_000),
        pieces in proptest::collection::vec((1..100_000_usize, between()), 0..12),
    ) {
        let (_parent, folder) = folder();
        let file = waiting(&bytes);
        let mut partial = folder.partial(&file).unwrap();
        for (piece, between) in pieces {
            let from = usize::try_from(partial.len()).unwrap();
            partial.append(&bytes[from..bytes.len().min(from + piece)]).unwrap();
            match between {
                Between::Nothing => {}
                Between::Reopened => {
                    drop(partial);
                    partial = folder.partial(&file).unwrap();
                }
                Between::Restarted => partial.restart().unwrap(),
            }
        }
        let from = usize::try_from(partial.len()).unwrap();
        partial.append(&bytes[from..]).unwrap();
        let path = partial.place().unwrap();
        prop_assert!(fs::read(&path).unwrap() == bytes);
        prop_assert_eq!(folder.find(&file).unwrap(), Some(path));
    }
}
