//! What the folder holds after whatever happens to it.

pub(crate) mod child;
mod discarding;
mod growing;
mod killed;
mod placing;
mod planted;

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use pending_uploads_core::{FileId, Filename, Mimetype, Sha256, WorkspaceId};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

const WORKSPACE: WorkspaceId = WorkspaceId::from_uuid(Uuid::from_u128(0xA));
const BYTES: &[u8] = b"every byte of a file that was sent";

/// A folder of its own, in which nothing is yet.
fn folder() -> (TempDir, Folder) {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::open(&parent.path().join("inbox")).unwrap();
    (parent, folder)
}

/// The announcement of a file `report.pdf` of these bytes.
fn waiting(bytes: &[u8]) -> WaitingFile {
    WaitingFile {
        workspace_id: WORKSPACE,
        file_id: FileId::generate(),
        filename: Filename::sanitize("report.pdf"),
        mimetype: Mimetype::parse("application/pdf"),
        size_bytes: NonZeroU64::new(bytes.len() as u64).unwrap(),
        sha256: Sha256::of(bytes),
        expires_at: None,
    }
}

fn hex(file: &WaitingFile) -> String {
    file.file_id.as_uuid().simple().to_string()
}

/// The path of the file under its number: `<32 hex>-report.pdf`, then `<32 hex>-2-report.pdf`.
fn final_path(folder: &Folder, file: &WaitingFile, number: u32) -> PathBuf {
    let name = match number {
        1 => format!("{}-report.pdf", hex(file)),
        _ => format!("{}-{number}-report.pdf", hex(file)),
    };
    folder.path().join(name)
}

fn partial_name(file: &WaitingFile) -> String {
    format!(
        ".{}.{}.part",
        hex(file),
        file.workspace_id.as_uuid().simple()
    )
}

fn partial_path(folder: &Folder, file: &WaitingFile) -> PathBuf {
    folder.path().join(partial_name(file))
}

/// Brings all the bytes and places the file.
fn place(folder: &Folder, file: &WaitingFile, bytes: &[u8]) -> Result<PathBuf, PartialError> {
    let mut partial = folder.partial(file)?;
    partial.restart()?;
    partial.append(bytes)?;
    partial.place()
}

/// The names in the folder, in order.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_missing_folder_is_made_for_its_owner_alone_with_its_parents() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a").join("b");
    let folder = Folder::open(&path).unwrap();
    assert_eq!(folder.path(), path.canonicalize().unwrap());
    assert_eq!(
        (mode(&parent.path().join("a")), mode(&path)),
        (0o700, 0o700)
    );
}

#[test]
fn a_folder_that_is_there_stays_as_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Folder::open(parent.path()).unwrap();
    assert_eq!(mode(parent.path()), 0o755);
}

#[test]
fn the_path_of_a_folder_is_absolute_and_without_links() {
    let parent = tempfile::tempdir().unwrap();
    let link = parent.path().join("link");
    std::os::unix::fs::symlink(parent.path(), &link).unwrap();
    let folder = Folder::open(&link).unwrap();
    assert_eq!(folder.path(), parent.path().canonicalize().unwrap());
}

#[test]
fn what_cannot_be_a_folder_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = Folder::open(&file);
    assert!(matches!(refused, Err(FolderError::Unusable { .. })));
    let odd = parent.path().join(OsStr::from_bytes(b"odd\xff"));
    assert!(matches!(
        Folder::open(&odd),
        Err(FolderError::NotUtf8 { .. })
    ));
}

#[test]
fn the_free_bytes_are_those_of_the_folders_disk() {
    let (_parent, folder) = folder();
    let disk = rustix::fs::statvfs(folder.path()).unwrap();
    let free = folder.free_bytes().unwrap();
    assert!(
        (1..=disk.f_blocks * disk.f_frsize).contains(&free),
        "{free}"
    );
}
