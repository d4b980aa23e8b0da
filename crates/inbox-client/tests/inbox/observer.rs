//! Who watches fetches: what is told, and what a panic in it costs.

use std::sync::{Arc, Mutex};

use inbox_client::{Ending, Observer, Scope, WaitingFile};
use pending_uploads_core::FileId;
use tempfile::TempDir;

use crate::support::stand_in::{StandIn, cut_after, next_arrived, until};

/// Writes down what it is told.
#[derive(Default)]
struct Clerk(Mutex<Vec<String>>);

impl Observer for Clerk {
    fn started(&self, _: &WaitingFile, from: u64) {
        self.0.lock().unwrap().push(format!("started at {from}"));
    }

    fn advanced(&self, _: FileId, bytes: u64) {
        self.0.lock().unwrap().push(format!("{bytes} more"));
    }

    fn ended(&self, _: FileId) {
        self.0.lock().unwrap().push("ended".to_owned());
    }
}

#[tokio::test]
async fn a_fetch_that_breaks_off_is_told_with_where_it_goes_on() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"0123456789");
    platform.break_fetches(&file, [cut_after(4)]);
    let clerk = Arc::new(Clerk::default());
    let builder = platform.inbox(folder.path()).observer(clerk.clone());
    let mut inbox = builder.open().await.unwrap();
    next_arrived(&mut inbox).await;
    inbox.close().await;
    let told = clerk.0.lock().unwrap().join(", ");
    let all = "started at 0, 4 more, ended, started at 4, 6 more, ended";
    assert_eq!(told, all);
}

/// Does what an observer must not, for one file.
struct Panics(FileId);

impl Observer for Panics {
    fn started(&self, file: &WaitingFile, _: u64) {
        assert!(file.file_id != self.0, "an observer must not");
    }

    fn advanced(&self, _: FileId, _: u64) {}
    fn ended(&self, _: FileId) {}
}

#[tokio::test]
async fn a_panic_leaves_its_file_to_the_next_inbox_and_the_other_files_alone() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let (unlucky, other) = (platform.hold(b"unlucky"), platform.hold(b"other"));
    let open = || platform.inbox(folder.path()).scope(Scope::WaitingFiles);
    let builder = open().observer(Arc::new(Panics(unlucky.file_id)));
    let mut inbox = builder.open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, other.uri());
    assert!(inbox.next().await.is_none());
    assert_eq!(inbox.close().await, Ending::AllTaken);
    assert_eq!(platform.fetches(&unlucky), 0);
    let mut inbox = open().open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, unlucky.uri());
    until(|| platform.is_empty()).await;
}
