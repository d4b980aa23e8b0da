//! What lies in a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::sha256;

/// The names of what is in a folder.
pub fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The SHA-256 of each file in a folder and in the folders in it, by its path from there. Fails when
/// something there is neither a file nor a folder: no link is followed.
pub fn files_in(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(&inner).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                open.push(path);
                continue;
            }
            assert!(kind.is_file(), "{} is no file: {kind:?}", path.display());
            let digest = sha256(&fs::read(&path).unwrap());
            found.insert(path.strip_prefix(folder).unwrap().to_owned(), digest);
        }
    }
    found
}
