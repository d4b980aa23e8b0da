//! The domain of pending uploads: files that wait on a platform until a workspace that can only
//! poll comes for them.
//!
//! This crate knows no HTTP and no SQL. It holds
//!
//! - the types that cannot hold a bad value: [`WorkspaceId`], [`FileId`], [`Filename`],
//!   [`Mimetype`], [`PendingUri`], [`Sha256`], [`Limits`], [`Quota`];
//! - the three traits that a backend implements: [`Storage`] (with [`Batch`]), [`ActivityLog`] and
//!   [`Workspaces`];
//! - [`StorageExt`], the conveniences over any [`Storage`];
//! - the [`Sweeper`], which forgets what nobody will come for;
//! - [`copy_store`], which moves a whole store from an [`Archive`] into a [`Restoration`];
//! - behind `mock`, mockall mocks of every trait; behind `memory`, an implementation that lives in
//!   memory; behind `contract`, the suite that every backend must pass.
//!
//! The words: a file is *staged* while its bytes arrive, *published* when it and its row in the
//! workspace's *feed* become visible, *fetched* when the workspace has read it, *acked* when the
//! workspace says that it has it, *expired* when its time is over, and *swept* when it is deleted.
//! A published file that is neither acked nor expired is *waiting*.

mod activity;
mod activity_log;
mod archive;
mod batch_files;
mod callback;
mod digest;
mod error;
mod filename;
mod ids;
mod known_workspaces;
mod limits;
mod mimetype;
mod passed_over;
mod prune;
mod range;
mod signals;
mod storage;
mod storage_ext;
mod sweeper;
mod time;
mod token;
mod upload;
mod uri;
mod workspaces;

#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "mock")]
mod mock;

pub use activity::{
    Activity, ActivityQuery, ActivityStatus, ActivityType, FeedStart, FeedText,
    InvalidActivityStatus, InvalidActivityType, InvalidPageSize, NewActivity, PageSize, Seq,
    Source,
};
pub use activity_log::ActivityLog;
pub use archive::{
    Archive, ArchivedWorkspace, CheckedBytes, CopyError, CopyProgress, Restoration, StoreTotals,
    copy_store,
};
pub use batch_files::BatchFiles;
pub use callback::{CallbackUrl, InvalidCallbackUrl};
pub use digest::{InvalidSha256, Sha256, Sha256Hasher};
pub use error::{BatchMisuse, Error, QuotaRefusal, Report, Result, StoreName};
pub use filename::{Filename, NotSanitized};
pub use ids::{ActivityId, FileId, InvalidId, WorkspaceId};
pub use known_workspaces::{Hearing, KnownWorkspace, KnownWorkspaces};
pub use limits::{InvalidLimits, Limits, Quota, StorageConfig};
pub use mimetype::Mimetype;
#[cfg(feature = "mock")]
pub use mock::{MockActivityLog, MockBatch, MockStorage, MockWorkspaces};
pub use passed_over::PassedOver;
pub use prune::{PruneMark, PrunePass, PruneStep};
pub use range::ByteRange;
pub use signals::{FeedSignals, FeedSubscription};
pub use storage::{
    Acked, Batch, ByteStream, CheckedAck, ListAfter, Opened, StagedFile, Stats, Storage,
    SweepPolicy, SweepReason, Swept, SweptFile,
};
pub use storage_ext::StorageExt;
pub use sweeper::{SweepSummary, Sweeper};
pub use time::{Clock, InvalidTimestamp, ManualClock, SystemClock, Timestamp};
pub use token::{InboundSecret, InvalidToken, Token, TokenDigest};
pub use upload::PendingUpload;
pub use uri::{InvalidPendingUri, PendingUri};
pub use workspaces::{
    Delivery, DeliveryMode, InvalidDeliveryMode, Registered, Registrar, Registration, Workspace,
    Workspaces,
};
