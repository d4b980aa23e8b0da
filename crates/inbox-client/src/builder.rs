//! Putting an inbox together.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use pending_uploads_core::{Clock, SystemClock, WorkspaceId};
use tokio::task::{JoinError, spawn_blocking};

use crate::engine::{Options, Parts, Running};
use crate::folder::{Folder, FolderError};
use crate::journal::{ArrivedFile, Journal, JournalError, JournalWriter, Records};
use crate::observer::{NoObserver, Observer};
use crate::platform::{Platform, PlatformError, PlatformUrl};
use crate::{FetchLimits, Inbox, RetryPolicy, Scope, Timeouts, TokenSource};

/// What an inbox is made with. The platform, the workspace, the token and both folders must be given;
/// everything else has a default.
pub struct InboxBuilder {
    platform: Option<PlatformUrl>,
    workspace: Option<WorkspaceId>,
    token: Option<Arc<dyn TokenSource>>,
    folder: Option<PathBuf>,
    state_folder: Option<PathBuf>,
    parallel_fetches: NonZeroUsize,
    limits: FetchLimits,
    timeouts: Timeouts,
    retry: RetryPolicy,
    reconcile_every: Duration,
    scope: Scope,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
}

/// An inbox could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something that has no default was not given.
    #[error("the inbox was not told its {0}")]
    Missing(&'static str),
    /// The HTTP client could not be set up.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// The folder for the files cannot be used.
    #[error("files cannot arrive in {}", .0.display())]
    Folder(PathBuf, #[source] FolderFailure),
    /// The folder for the state cannot be used: another inbox uses it, it is damaged, or it cannot be
    /// written.
    #[error("the state cannot be kept in {}", .0.display())]
    State(PathBuf, #[source] StateFailure),
    /// The runtime is shutting down.
    #[error("the inbox was interrupted while it was opened")]
    Interrupted(#[from] JoinError),
}

/// Why a folder for files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct FolderFailure(FolderError);

/// Why a folder for the state cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StateFailure(JournalError);

impl Default for InboxBuilder {
    fn default() -> Self {
        Self {
            platform: None,
            workspace: None,
            token: None,
            folder: None,
            state_folder: None,
            parallel_fetches: const { NonZeroUsize::new(4).unwrap() },
            limits: FetchLimits::default(),
            timeouts: Timeouts::default(),
            retry: RetryPolicy::default(),
            reconcile_every: Duration::from_mins(5),
            scope: Scope::default(),
            clock: Arc::new(SystemClock),
            observer: Arc::new(NoObserver),
        }
    }
}

impl InboxBuilder {
    /// The platform.
    #[must_use]
    pub fn platform(mut self, url: PlatformUrl) -> Self {
        self.platform = Some(url);
        self
    }

    /// The workspace on it.
    #[must_use]
    pub fn workspace(mut self, id: WorkspaceId) -> Self {
        self.workspace = Some(id);
        self
    }

    /// Where the workspace's token comes from: [`FixedToken`](crate::FixedToken), or whatever can get
    /// a fresh one.
    #[must_use]
    pub fn token(mut self, source: Arc<dyn TokenSource>) -> Self {
        self.token = Some(source);
        self
    }

    /// The folder that files arrive in. It is made when it is missing; its path must be UTF-8, because
    /// it goes into messages. Inboxes of other workspaces, and of the same, may share it.
    #[must_use]
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folder = Some(path.into());
        self
    }

    /// The folder for what must outlive the process, made when it is missing: below it, each workspace
    /// has a folder of its own, which one inbox at a time uses.
    #[must_use]
    pub fn state_folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_folder = Some(path.into());
        self
    }

    /// How many files are fetched at once; 4 by default.
    #[must_use]
    pub fn parallel_fetches(mut self, count: NonZeroUsize) -> Self {
        self.parallel_fetches = count;
        self
    }

    /// What it takes.
    #[must_use]
    pub fn limits(mut self, limits: FetchLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How long it waits for the platform.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How it tries again.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How often the platform is asked what waits, when nothing else is a reason to; every 5 minutes
    /// by default.
    #[must_use]
    pub fn reconcile_every(mut self, interval: Duration) -> Self {
        self.reconcile_every = interval;
        self
    }

    /// What it takes care of.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// The clock that tells when something arrived or was lost, and whether it had expired.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Who watches the fetches.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Opens the inbox, which is at work from then on. Must be awaited within a tokio runtime.
    ///
    /// The platform is not asked: an inbox can be opened while it is away. A second inbox on the same
    /// state is refused as long as the first is open. Dropping the future leaves at most folders that
    /// were made.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(self) -> Result<Inbox, OpenError> {
        let platform_url = given(self.platform, "platform")?;
        let workspace_id = given(self.workspace, "workspace")?;
        let token = given(self.token, "token")?;
        let folder = given(self.folder, "folder")?;
        let state_folder = given(self.state_folder, "state folder")?;
        let platform = Platform::new(platform_url.clone(), self.timeouts)?;
        let clock = Arc::clone(&self.clock);
        let opened = spawn_blocking(move || -> Result<_, OpenError> {
            let folder = open_folder(&folder)?;
            let (journal, mut records) =
                open_state(&state_folder, &platform_url, workspace_id, clock)?;
            records.relocate(|arrived| find_moved(&folder, arrived));
            Ok((folder, (journal, records)))
        });
        let (folder, (journal, records)) = opened.await??;
        let running = Running::start(Parts {
            workspace_id,
            platform: platform.workspace(workspace_id, token),
            folder,
            journal,
            records,
            clock: self.clock,
            observer: self.observer,
            options: Options {
                limits: self.limits,
                parallel_fetches: self.parallel_fetches,
                retry: self.retry,
                reconcile_every: self.reconcile_every,
                wait: self.timeouts.wait,
                scope: self.scope,
            },
        });
        Ok(Inbox::new(workspace_id, running))
    }
}

fn given<T>(part: Option<T>, name: &'static str) -> Result<T, OpenError> {
    part.ok_or(OpenError::Missing(name))
}

fn open_folder(path: &Path) -> Result<Folder, OpenError> {
    Folder::open(path).map_err(|error| OpenError::Folder(path.to_owned(), FolderFailure(error)))
}

/// Where a file is now that is gone from where it arrived.
fn find_moved(folder: &Folder, arrived: &ArrivedFile) -> Option<PathBuf> {
    let name = arrived.path.file_name()?;
    match folder.find_by_name(name, &arrived.file) {
        Ok(found) => found,
        Err(error) => {
            let file = &arrived.file;
            warn!(workspace_id:% = file.workspace_id, file_id:% = file.file_id, error:% = error; "the folder cannot be read");
            None
        }
    }
}

fn open_state(
    path: &Path,
    platform: &PlatformUrl,
    workspace_id: WorkspaceId,
    clock: Arc<dyn Clock>,
) -> Result<(JournalWriter, Records), OpenError> {
    let refused = |error| OpenError::State(path.to_owned(), StateFailure(error));
    let opened = Journal::open(path, platform.as_url(), workspace_id, clock.now());
    let (journal, records) = opened.map_err(refused)?;
    let writer = JournalWriter::start(journal, clock).map_err(|error| refused(error.into()))?;
    Ok((writer, records))
}

impl fmt::Debug for InboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxBuilder")
            .field("platform", &self.platform)
            .field("workspace", &self.workspace)
            .field("folder", &self.folder)
            .field("state_folder", &self.state_folder)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
