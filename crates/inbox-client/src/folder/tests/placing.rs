//! A file gets its name when it is whole, and one copy of it is there.

use super::*;

#[test]
fn a_file_of_another_folder_is_found_by_its_name_and_its_length() {
    let (parent, folder) = folder();
    let file = waiting(BYTES);
    let found = |name: &str| folder.find_by_name(name.as_ref(), &file).unwrap();
    let path = place(&folder, &file, BYTES).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(found(&name), Some(path.clone()));
    assert_eq!(found("another"), None);
    fs::write(&path, "another").unwrap();
    assert_eq!(found(&name), None);
    let elsewhere = parent.path().join("elsewhere");
    fs::write(&elsewhere, BYTES).unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_eq!(found(&name), None);
}

#[test]
fn a_file_has_its_name_when_it_is_whole_and_not_before() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    let mut partial = folder.partial(&file).unwrap();
    partial.append(BYTES).unwrap();
    assert_eq!(names_in(folder.path()), [partial_name(&file)]);
    assert_eq!(folder.find(&file).unwrap(), None);
    assert_eq!(folder.find_by_id(file.file_id).unwrap(), None);

    let path = partial.place().unwrap();
    assert_eq!(path, final_path(&folder, &file, 1));
    assert_eq!(fs::read(&path).unwrap(), BYTES);
    assert_eq!(names_in(folder.path()).len(), 1);
    assert_eq!(folder.find(&file).unwrap(), Some(path.clone()));
    assert_eq!(folder.find_by_id(file.file_id).unwrap(), Some(path));
}

#[test]
fn a_file_that_is_too_short_is_not_placed_and_can_be_gone_on_with() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    let mut partial = folder.partial(&file).unwrap();
    partial.append(&BYTES[1..]).unwrap();
    assert!(matches!(partial.place(), Err(PartialError::TooShort)));
    let kept = folder.partial(&file).unwrap().len();
    assert_eq!(kept, BYTES.len() as u64 - 1);
}

#[test]
fn a_file_with_another_digest_is_removed() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    let placed = place(&folder, &file, &[b'x'; BYTES.len()]);
    assert!(matches!(placed, Err(PartialError::Damaged)));
    assert!(names_in(folder.path()).is_empty());
}

#[test]
fn a_file_that_comes_again_is_there_once() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    let first = place(&folder, &file, BYTES).unwrap();
    let second = place(&folder, &file, BYTES).unwrap();
    assert_eq!(first, second);
    assert_eq!(names_in(folder.path()).len(), 1);
}

#[test]
fn what_the_agent_wrote_into_a_file_is_not_touched_when_it_comes_again() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    for number in 1..=3 {
        assert_eq!(folder.find(&file).unwrap(), None);
        let path = place(&folder, &file, BYTES).unwrap();
        assert_eq!(path, final_path(&folder, &file, number));
        assert_eq!(folder.find(&file).unwrap(), Some(path.clone()));
        assert_eq!(folder.find_by_id(file.file_id).unwrap(), Some(path.clone()));
        fs::write(&path, format!("notes {number}")).unwrap();
    }
    assert_eq!(fs::read(final_path(&folder, &file, 1)).unwrap(), b"notes 1");
}

#[test]
fn a_file_of_which_every_name_is_taken_is_an_error_and_its_partial_stays() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    for name in names::finals(&file) {
        fs::write(folder.path().join(name), "taken").unwrap();
    }
    let placed = place(&folder, &file, BYTES);
    assert!(
        matches!(&placed, Err(PartialError::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists),
        "{placed:?}"
    );
    assert_eq!(folder.partial(&file).unwrap().len(), BYTES.len() as u64);
}

#[test]
fn an_id_finds_the_file_that_was_placed_last_and_nothing_else() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    let id = file.file_id;
    for number in [9, 11, 10, 1] {
        fs::write(final_path(&folder, &file, number), "").unwrap();
    }
    let found = folder.find_by_id(id).unwrap();
    assert_eq!(found, Some(final_path(&folder, &file, 11)));
    assert_eq!(folder.find_by_id(FileId::generate()).unwrap(), None);
}

#[test]
fn a_file_whose_folder_was_moved_away_is_not_said_to_be_there() {
    let (parent, folder) = folder();
    let file = waiting(BYTES);
    let mut partial = folder.partial(&file).unwrap();
    partial.append(BYTES).unwrap();
    fs::rename(folder.path(), parent.path().join("elsewhere")).unwrap();
    fs::create_dir(folder.path()).unwrap();
    let placed = partial.place();
    assert!(
        matches!(&placed, Err(PartialError::Io(error)) if error.kind() == io::ErrorKind::NotFound),
        "{placed:?}"
    );
}

#[test]
fn a_name_is_given_by_a_link_where_it_cannot_be_given_in_one_step() {
    let (_parent, folder) = folder();
    let directory = folder.directory().unwrap();
    for name in ["a", "b"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    assert_eq!(directory.link("a", "b"), Err(rustix::io::Errno::EXIST));
    directory.link("a", "c").unwrap();
    assert_eq!(names_in(folder.path()), ["b", "c"]);
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"b");
    assert_eq!(fs::read(folder.path().join("c")).unwrap(), b"a");
}

#[test]
fn inboxes_that_fetch_the_same_files_at_once_leave_each_there_once() {
    let (_parent, folder) = folder();
    let files: Vec<_> = (0..50).map(|_| waiting(BYTES)).collect();
    let fetch = |file: &WaitingFile| loop {
        match place(&folder, file, BYTES) {
            Ok(path) => break path,
            Err(PartialError::Busy) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for file in &files {
                    assert_eq!(fetch(file), final_path(&folder, file, 1));
                }
            });
        }
    });
    let names: Vec<_> = files
        .iter()
        .map(|file| format!("{}-report.pdf", hex(file)))
        .collect();
    assert_eq!(names_in(folder.path()), names);
}
