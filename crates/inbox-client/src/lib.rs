//! The workspace's side of the platform: files arrive, whatever happens.
//!
//! An [`Inbox`] follows one workspace on one platform. It polls the workspace's feed, fetches every
//! file that waits there, checks its length and its SHA-256, writes it into a folder under a name of
//! its own, acks it, and hands messages on with `workspace:<absolute path>` where they said
//! `platform-pending:<workspace>/<file>`.
//!
//! The words: a file is *waiting* until it has *arrived* here or is *lost*. An event that was handed
//! to the embedder is *confirmed* by it; the *cursor* is the last row of the feed up to which
//! everything is done. What has arrived, what is lost and where the cursor is stands in the
//! *journal*, which outlives the process.
//!
//! - The state, not the cursor, is the truth: what waits is asked for at the start, after a cursor
//!   that is gone, after a failed fetch, and every few minutes.
//! - Each step can be repeated: a process that is killed anywhere leaves each file on the disk once.
//! - An event is handed over at least once: again after a restart, if it was not confirmed.
//!
//! `docs/embedding-inbox.md` says more.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use inbox_client::{Event, FixedToken, Inbox};
//!
//! # async fn run(token: pending_uploads_core::Token) -> Result<(), Box<dyn std::error::Error>> {
//! let mut inbox = Inbox::builder()
//!     .platform("https://platform.example".parse()?)
//!     .workspace("11111111-1111-4111-8111-111111111111".parse()?)
//!     .token(Arc::new(FixedToken(token)))
//!     .folder("inbox")
//!     .state_folder("state")
//!     .open()
//!     .await?;
//! while let Some(delivery) = inbox.next().await {
//!     if let Event::FileArrived(file) = delivery.event() {
//!         println!("{} is here", file.path.display());
//!     }
//!     delivery.confirm();
//! }
//! # Ok(())
//! # }
//! ```

mod builder;
mod condition;
mod credentials;
mod engine;
mod event;
mod file;
mod folder;
mod inbox;
mod journal;
mod lock;
mod observer;
mod platform;
mod retry;
mod rewrite;
mod settings;
mod status;
mod token;

pub use builder::{FolderFailure, InboxBuilder, OpenError, StateFailure};
pub use condition::Condition;
pub use engine::Ending;
pub use event::{Event, FileArrived, FileLost, LostReason, Message};
pub use file::WaitingFile;
pub use inbox::{Delivery, Inbox};
pub use observer::Observer;
pub use platform::{
    CallError, Content, FeedCursor, FeedQuery, FeedRow, InvalidPlatformUrl, Platform,
    PlatformError, PlatformUrl, PlatformWorkspace, Registration, RowContent, UploadFile,
    UploadedFile, WaitingList,
};
pub use settings::{FetchLimits, RetryPolicy, Scope, SlowPeer, Timeouts};
pub use status::{CursorPosition, Status, StatusError};
pub use token::{FixedToken, TokenError, TokenSource};

/// The examples of `docs/embedding-inbox.md`.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding-inbox.md")]
struct EmbeddingInbox;
