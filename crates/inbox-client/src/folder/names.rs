//! The names that a file has in the folder, first as a partial and then for good.

use pending_uploads_core::{FileId, WorkspaceId};

use crate::WaitingFile;

/// How many names a file may have. It takes the next one when the one before is held by something
/// else: the agent has written to the file there, say, and it came again.
const MAX_FINALS: u32 = 99;

/// `.<32 hex>.<32 hex of the workspace>.part`. Inboxes of several workspaces may share a folder, and
/// each clears away its own partials alone.
pub(super) fn partial(workspace_id: WorkspaceId, file_id: FileId) -> String {
    let workspace = workspace_id.as_uuid().simple();
    format!(".{}.{workspace}.part", hex(file_id))
}

/// What stands before the safe name: `<32 hex>-`.
pub(super) fn final_prefix(file_id: FileId) -> String {
    format!("{}-", hex(file_id))
}

/// The names that the file may have for good, the likeliest first: `<32 hex>-<safe name>`, then
/// `<32 hex>-2-<safe name>`, `<32 hex>-3-<safe name>`, and so on.
pub(super) fn finals(file: &WaitingFile) -> impl Iterator<Item = String> + use<> {
    let id = hex(file.file_id);
    let name = file.filename.as_str().to_owned();
    (1..=MAX_FINALS).map(move |number| match number {
        1 => format!("{id}-{name}"),
        _ => format!("{id}-{number}-{name}"),
    })
}

/// Sorts the final names of one file in the order of [`finals`]: a number makes a name longer, and
/// they all end in the same safe name.
pub(super) fn order(name: &str) -> (usize, &str) {
    (name.len(), name)
}

/// The file whose partial has this name, if it is exactly such a name and the file is one of
/// `workspace_id`.
pub(super) fn partial_of(workspace_id: WorkspaceId, name: &str) -> Option<FileId> {
    let (digits, _) = name.strip_prefix('.')?.split_once('.')?;
    let file_id = digits.parse().ok()?;
    (partial(workspace_id, file_id) == name).then_some(file_id)
}

fn hex(file_id: FileId) -> String {
    file_id.as_uuid().simple().to_string()
}
