//! Whatever somebody else puts in the way is not followed, not written through, and not overwritten.

use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// A file that is nobody's business, outside of the folder.
fn victim(parent: &TempDir) -> PathBuf {
    let path = parent.path().join("victim");
    fs::write(&path, "mine").unwrap();
    path
}

#[test]
fn what_is_planted_as_a_partial_is_replaced_and_never_written_through() {
    type Plant = fn(&Path, &Path);
    let plants: [Plant; 4] = [
        |victim, at| symlink(victim, at).unwrap(),
        |victim, at| fs::hard_link(victim, at).unwrap(),
        |victim, at| symlink(victim.with_file_name("nothing"), at).unwrap(),
        |_, at| make_fifo(at),
    ];
    for plant in plants {
        let (parent, folder) = folder();
        let victim = victim(&parent);
        let file = waiting(BYTES);
        plant(&victim, &partial_path(&folder, &file));
        let path = place(&folder, &file, BYTES).unwrap();
        assert!(path.symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read(&path).unwrap(), BYTES);
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
        assert_eq!(names_in(parent.path()), ["inbox", "victim"]);
        assert_eq!(names_in(folder.path()).len(), 1);
    }
}

#[test]
fn a_directory_that_is_planted_as_a_partial_is_an_error_and_stays() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    fs::create_dir(partial_path(&folder, &file)).unwrap();
    let opened = folder.partial(&file);
    assert!(matches!(opened, Err(PartialError::Io(_))), "{opened:?}");
    assert!(partial_path(&folder, &file).is_dir());
}

#[test]
fn what_is_planted_under_a_final_name_is_not_followed_and_not_touched() {
    type Plant = fn(&Path, &Path);
    let plants: [Plant; 5] = [
        |victim, at| symlink(victim, at).unwrap(),
        |victim, at| fs::hard_link(victim, at).unwrap(),
        |victim, at| symlink(victim.with_file_name("nothing"), at).unwrap(),
        |_, at| make_fifo(at),
        |_, at| fs::create_dir(at).unwrap(),
    ];
    for plant in plants {
        let (parent, folder) = folder();
        let victim = victim(&parent);
        let file = waiting(BYTES);
        let planted = final_path(&folder, &file, 1);
        plant(&victim, &planted);
        let kind = planted.symlink_metadata().unwrap().file_type();

        assert_eq!(folder.find(&file).unwrap(), None);
        let path = place(&folder, &file, BYTES).unwrap();
        assert_eq!(path, final_path(&folder, &file, 2));
        assert_eq!(folder.find_by_id(file.file_id).unwrap(), Some(path));
        assert_eq!(planted.symlink_metadata().unwrap().file_type(), kind);
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
        assert_eq!(names_in(parent.path()), ["inbox", "victim"]);
    }
}

#[test]
fn a_link_to_the_very_bytes_is_not_the_file() {
    let (parent, folder) = folder();
    let file = waiting(BYTES);
    let elsewhere = parent.path().join("elsewhere");
    fs::write(&elsewhere, BYTES).unwrap();
    symlink(&elsewhere, final_path(&folder, &file, 1)).unwrap();
    assert_eq!(folder.find(&file).unwrap(), None);
    assert_eq!(folder.find_by_id(file.file_id).unwrap(), None);
    let path = place(&folder, &file, BYTES).unwrap();
    assert_eq!(path, final_path(&folder, &file, 2));
}

#[test]
fn a_partial_that_already_has_its_final_name_too_loses_the_first_one() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    let path = place(&folder, &file, BYTES).unwrap();
    fs::hard_link(&path, partial_path(&folder, &file)).unwrap();
    let partial = folder.partial(&file).unwrap();
    assert_eq!(partial.len(), 0);
    assert_eq!(fs::read(&path).unwrap(), BYTES);
}
