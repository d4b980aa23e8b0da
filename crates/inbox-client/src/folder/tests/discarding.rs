//! What is left of files that nobody will go on with is removed, and nothing else.

use super::*;

/// Leaves a partial behind.
fn abandon(folder: &Folder) -> WaitingFile {
    let file = waiting(BYTES);
    folder.partial(&file).unwrap().append(&BYTES[..3]).unwrap();
    file
}

#[test]
fn partials_of_files_that_are_not_kept_are_removed() {
    let (_parent, folder) = folder();
    let (kept, _lost) = (abandon(&folder), abandon(&folder));
    folder
        .discard_partials(WORKSPACE, &HashSet::from([kept.file_id]))
        .unwrap();
    assert_eq!(names_in(folder.path()), [partial_name(&kept)]);
}

#[test]
fn a_partial_that_somebody_has_open_is_left() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    let mut partial = folder.partial(&file).unwrap();
    folder.discard_partials(WORKSPACE, &HashSet::new()).unwrap();
    partial.append(BYTES).unwrap();
    assert_eq!(fs::read(partial.place().unwrap()).unwrap(), BYTES);
}

#[test]
fn what_is_no_partial_of_ours_is_left() {
    let (_parent, folder) = folder();
    let file = waiting(BYTES);
    let others = [
        partial_name(&file).to_uppercase(),
        partial_name(&file).replace(&hex(&file), &file.file_id.to_string()),
        partial_name(&file).trim_start_matches('.').to_owned(),
        format!(".{}.part", hex(&file)),
        ".part".to_owned(),
        ".vimrc.part".to_owned(),
    ];
    for name in &others {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let placed = place(&folder, &file, BYTES).unwrap();
    std::os::unix::fs::symlink(&placed, partial_path(&folder, &file)).unwrap();
    fs::create_dir(partial_path(&folder, &waiting(BYTES))).unwrap();
    let before = names_in(folder.path());
    folder.discard_partials(WORKSPACE, &HashSet::new()).unwrap();
    assert_eq!(names_in(folder.path()), before);
}

#[test]
fn a_partial_of_another_workspace_that_shares_the_folder_is_left() {
    let (_parent, folder) = folder();
    let file = abandon(&folder);
    let another = WorkspaceId::generate();
    folder.discard_partials(another, &HashSet::new()).unwrap();
    folder.discard_partial(another, file.file_id).unwrap();
    assert_eq!(names_in(folder.path()), [partial_name(&file)]);
    folder.discard_partial(WORKSPACE, file.file_id).unwrap();
    assert!(names_in(folder.path()).is_empty());
    folder.discard_partial(WORKSPACE, file.file_id).unwrap();
}
