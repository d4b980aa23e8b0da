//! `inbox run` and `inbox fetch`: inboxes at work, and their events handed on.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use inbox_client::{Delivery, Ending, Inbox, OpenError, Scope};
use log::{error, info};
use pending_uploads_core::{Report, WorkspaceId};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Done;
use crate::exec::{Executor, Handled, Task};
use crate::output::{Output, event_line};
use crate::process_group::LiveGroups;
use crate::progress::{Bars, FetchBars};
use crate::settings::{ExecSettings, TakeSettings};
use crate::tokens::TokenOrigin;
use crate::workspaces::WorkspaceSettings;
use crate::{logging, signals};

/// How long a line that is being written has when it is time to stop. Its reader may have stopped
/// reading.
const LINE_PATIENCE: Duration = Duration::from_secs(1);
/// How long what is left of the background work may take at the very end.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(2);

/// What is to be run.
#[derive(Debug)]
pub(crate) struct RunPlan {
    /// The workspaces, with their tokens; at least one.
    pub(crate) workspaces: Vec<(WorkspaceSettings, TokenOrigin)>,
    /// The folder of the state.
    pub(crate) state_folder: PathBuf,
    /// What is taken of them.
    pub(crate) scope: Scope,
    /// How files are taken.
    pub(crate) take: TakeSettings,
    /// What is run for each event; without it, events go to stdout.
    pub(crate) exec: Option<ExecSettings>,
    /// What is logged.
    pub(crate) log: String,
}

/// Why the inboxes did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunFailure {
    /// The process cannot get what every process needs.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// An inbox cannot be opened.
    #[error("the inbox of workspace {id} cannot be opened")]
    Open {
        /// The workspace.
        id: WorkspaceId,
        /// Why.
        source: OpenError,
    },
    /// An event cannot be handed on.
    #[error("stdout cannot be written to")]
    Output(#[source] io::Error),
    /// The journal could not be written; why was logged.
    #[error("the journal of workspace {0} could not be written")]
    Broken(WorkspaceId),
    /// A workspace's task panicked.
    #[error("an inbox ended in an unforeseen way")]
    Panicked(#[source] JoinError),
}

/// Where events go.
#[derive(Debug, Clone)]
enum Handler {
    Print(Output),
    Execute(Executor),
}

/// Runs the inboxes until they are told to stop, or have nothing left to do.
pub(crate) fn run(plan: RunPlan) -> Result<Done, RunFailure> {
    // What a command prints would tear them.
    let bars = match plan.exec {
        Some(_) => Bars::default(),
        None => Bars::on_terminal(),
    };
    logging::start(&plan.log, &bars);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("inbox")
        .build()
        .map_err(RunFailure::Runtime)?;
    let outcome = runtime.block_on(work(plan, bars));
    runtime.shutdown_timeout(RUNTIME_PATIENCE);
    outcome
}

async fn work(plan: RunPlan, bars: Bars) -> Result<Done, RunFailure> {
    let commands = LiveGroups::default();
    let stop = signals::stop_when_told(commands.clone()).map_err(RunFailure::Runtime)?;
    let handler = match &plan.exec {
        Some(settings) => {
            Handler::Execute(Executor::new(settings.clone(), plan.take.retry, commands))
        }
        None => Handler::Print(Output::beside(&bars)),
    };
    let observer = Arc::new(FetchBars::new(bars));
    let mut inboxes = JoinSet::new();
    let mut failure = None;
    for workspace in &plan.workspaces {
        match open(&plan, workspace, &observer).await {
            Ok(inbox) => {
                inboxes.spawn(follow(inbox, handler.clone(), stop.clone()));
            }
            Err(error) => {
                failure = Some(error);
                stop.cancel();
                break;
            }
        }
    }
    let endings = together(inboxes, &stop).await;
    match failure {
        Some(failure) => Err(failure),
        None => Ok(done(&endings?, plan.scope)),
    }
}

async fn open(
    plan: &RunPlan,
    (workspace, token): &(WorkspaceSettings, TokenOrigin),
    observer: &Arc<FetchBars>,
) -> Result<Inbox, RunFailure> {
    let (id, url) = (workspace.id, workspace.platform_url.clone());
    let folder = workspace.folder();
    info!(
        workspace_id:% = id, platform:% = url, folder:% = folder.display(); "opening the inbox"
    );
    Inbox::builder()
        .platform(url)
        .workspace(id)
        .token(Arc::new(token.clone()))
        .folder(folder)
        .state_folder(&plan.state_folder)
        .scope(plan.scope)
        .parallel_fetches(plan.take.parallel_fetches)
        .limits(plan.take.limits)
        .timeouts(plan.take.timeouts)
        .retry(plan.take.retry)
        .reconcile_every(plan.take.reconcile_every)
        .observer(Arc::<FetchBars>::clone(observer))
        .open()
        .await
        .map_err(|source| RunFailure::Open { id, source })
}

/// Waits until all inboxes have ended. When one fails, the others are stopped; the first failure
/// counts, and each further one is logged.
async fn together(
    mut inboxes: JoinSet<Result<Ending, RunFailure>>,
    stop: &CancellationToken,
) -> Result<Vec<Ending>, RunFailure> {
    let mut endings = Vec::new();
    let mut failure = None;
    while let Some(ended) = inboxes.join_next().await {
        match ended.unwrap_or_else(|error| Err(RunFailure::Panicked(error))) {
            Ok(ending) => endings.push(ending),
            Err(error) if failure.is_none() => {
                failure = Some(error);
                stop.cancel();
            }
            Err(error) => error!(error:% = Report(&error); "another inbox failed, too"),
        }
    }
    failure.map_or(Ok(endings), Err)
}

fn done(endings: &[Ending], scope: Scope) -> Done {
    let all_taken = endings.iter().all(|ending| *ending == Ending::AllTaken);
    match scope {
        Scope::WaitingFiles if !all_taken => Done::LeftWaiting,
        _ => Done::All,
    }
}

/// Hands the events of one inbox on, one after the other, until there are no more.
async fn follow(
    mut inbox: Inbox,
    handler: Handler,
    stop: CancellationToken,
) -> Result<Ending, RunFailure> {
    let handed_on = hand_on(&mut inbox, &handler, &stop).await;
    let id = inbox.workspace_id();
    let ending = inbox.close().await;
    handed_on?;
    match ending {
        Ending::Broken => Err(RunFailure::Broken(id)),
        ending => Ok(ending),
    }
}

async fn hand_on(
    inbox: &mut Inbox,
    handler: &Handler,
    stop: &CancellationToken,
) -> Result<(), RunFailure> {
    loop {
        let delivery = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            delivery = inbox.next() => delivery,
        };
        let Some(delivery) = delivery else {
            return Ok(());
        };
        match handler.handle(&delivery, stop).await? {
            Handled::Yes => delivery.confirm(),
            Handled::NotYet => return Ok(()),
        }
    }
}

impl Handler {
    async fn handle(
        &self,
        delivery: &Delivery,
        stop: &CancellationToken,
    ) -> Result<Handled, RunFailure> {
        let (id, event) = (delivery.workspace_id(), delivery.event());
        let line = event_line(id, event).map_err(RunFailure::Output)?;
        match self {
            Self::Print(output) => print(output, line, stop).await.map_err(RunFailure::Output),
            Self::Execute(executor) => {
                let task = Task::of(id, event, line);
                Ok(executor.handle(&task, stop).await)
            }
        }
    }
}

/// Writes the line, and does not wait for long any more when it is time to stop.
async fn print(output: &Output, line: String, stop: &CancellationToken) -> io::Result<Handled> {
    let mut written = std::pin::pin!(output.print(line));
    let stopped = tokio::select! {
        biased;
        written = &mut written => return written.map(|()| Handled::Yes),
        () = stop.cancelled() => timeout(LINE_PATIENCE, written).await,
    };
    match stopped {
        Ok(written) => written.map(|()| Handled::Yes),
        Err(_) => Ok(Handled::NotYet),
    }
}
