//! The floor: what getting and keeping a file takes whoever does it.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use reqwest::Method;
use server_harness::{Client, Server, bytes};
use tempfile::TempDir;

use crate::place::folder_on_disk;

/// The parts of it, in their order.
pub(crate) const PARTS: [&str; 4] = ["got", "synced", "placed", "folder synced"];

/// How long each of the parts took.
pub(crate) type PartTimes = [Duration; PARTS.len()];

/// A file that waits for a workspace without an inbox, and is fetched again and again over one
/// connection.
#[derive(Debug)]
pub(crate) struct Floor {
    client: Client,
    path: String,
    length: usize,
    directory: File,
    folder: TempDir,
}

impl Floor {
    /// Uploads the file.
    pub(crate) async fn prepare(server: &Server, length: usize) -> Self {
        let (workspace, client) = server.workspace().await;
        let data = bytes(1, length);
        let file_id = client.must_upload(&workspace, "floor.bin", &data).await;
        let folder = folder_on_disk();
        Self {
            client,
            path: workspace.content(&file_id),
            length,
            directory: File::open(folder.path()).unwrap(),
            folder,
        }
    }

    /// Gets the bytes, writes them as they come, syncs the file, gives it its name, and syncs the
    /// folder. Nothing is checked and nothing is written down.
    pub(crate) async fn fetch(&mut self) -> PartTimes {
        let [partial, whole] = ["partial", "whole"].map(|name| self.folder.path().join(name));
        let mut times = [Instant::now(); PARTS.len() + 1];
        let request = self.client.request(Method::GET, &self.path);
        let mut response = request.send().await.unwrap();
        let mut file = File::create_new(&partial).unwrap();
        let mut length = 0;
        while let Some(piece) = response.chunk().await.unwrap() {
            file.write_all(&piece).unwrap();
            length += piece.len();
        }
        times[1] = Instant::now();
        file.sync_all().unwrap();
        times[2] = Instant::now();
        fs::rename(&partial, &whole).unwrap();
        times[3] = Instant::now();
        self.directory.sync_all().unwrap();
        times[4] = Instant::now();
        assert_eq!(length, self.length);
        fs::remove_file(&whole).unwrap();
        std::array::from_fn(|part| times[part + 1] - times[part])
    }
}
