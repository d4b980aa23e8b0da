//! `inbox register`: a workspace gets its token, which is handed out once and must not be lost.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use command_line::StopSignals;
use inbox_client::{
    CallError, FeedCursor, FeedQuery, FixedToken, Platform, PlatformError, PlatformUrl,
    Registration, Timeouts, TokenError, TokenSource,
};
use log::warn;
use pending_uploads_core::{ActivityType, Report, Token, WorkspaceId};

use crate::Done;
use crate::logging;
use crate::output::print;
use crate::progress::Bars;
use crate::registration::{Place, Stored, StoredRegistration, folder_of, path_of};
use crate::tokens::TokenOrigin;

/// What is to be registered.
#[derive(Debug)]
pub(crate) struct RegisterPlan {
    /// The workspace.
    pub(crate) id: WorkspaceId,
    /// Who chose its id.
    pub(crate) chosen: Chosen,
    /// Where.
    pub(crate) platform_url: PlatformUrl,
    /// Its name for people; without one, one that is registered keeps what it has.
    pub(crate) agent_name: Option<String>,
    /// The workspace's token, where there is one already.
    pub(crate) token: Option<TokenOrigin>,
    /// The admin's token.
    pub(crate) admin_token: Option<Token>,
    /// What is stored of it.
    pub(crate) stored: Option<StoredRegistration>,
    /// The folder of the state.
    pub(crate) state_folder: PathBuf,
    /// How long the platform is waited for.
    pub(crate) timeouts: Timeouts,
    /// What is logged.
    pub(crate) log: String,
}

/// Who chose the id of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// Who registers it.
    ByHand,
    /// Nobody: it was made just now.
    AtRandom,
}

/// Why nothing was registered. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterFailure {
    /// The process cannot get what every process needs.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// The HTTP client cannot be had.
    #[error(transparent)]
    Client(#[from] PlatformError),
    /// The workspace's own token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token could not be kept, so that it was not asked for.
    #[error("a token could not be stored in {}, so that the platform was not asked", .0.display())]
    NoPlace(PathBuf, #[source] io::Error),
    /// The workspace belongs to another platform.
    #[error(
        "workspace {id} is registered at {registered}: register another id, or, if the platform has \
         moved, change platform_url in {}",
        file.display()
    )]
    OtherPlatform {
        /// The workspace.
        id: WorkspaceId,
        /// Where it is registered.
        registered: Box<PlatformUrl>,
        /// Where that is stored.
        file: PathBuf,
    },
    /// Nobody knows whether somebody else has the id.
    #[error(
        "the platform was not asked to register workspace {id}, because it did not say whether it \
         knows it already"
    )]
    NotKnown {
        /// The workspace.
        id: WorkspaceId,
        /// What went wrong.
        source: CallError,
    },
    /// The platform answered with a refusal.
    #[error("the platform does not register workspace {id}{hint}")]
    Refused {
        /// The workspace.
        id: WorkspaceId,
        /// What to do.
        hint: &'static str,
        /// What it said.
        source: CallError,
    },
    /// The platform may have registered it, and the token is lost.
    #[error("{error}; {advice}")]
    AnswerLost {
        /// Why, with its causes.
        error: String,
        /// What to do.
        advice: String,
    },
    /// Somebody would not wait for the answer.
    #[error("stopped before the answer came: {0}")]
    Stopped(String),
    /// The platform knows the workspace, and hands its token out no more.
    #[error(
        "the platform knows workspace {0} already and hands a token out only once: give its token \
         with INBOX_TOKEN, or register another id"
    )]
    NoToken(WorkspaceId),
    /// The token came and could not be kept.
    #[error(
        "workspace {id} is registered, and its token could not be stored in {}: it is lost, so \
         register another id",
        folder.display()
    )]
    NotStored {
        /// The workspace.
        id: WorkspaceId,
        /// Where.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The id cannot be printed; it is stored.
    #[error("stdout cannot be written to; workspace {0} is registered, and its token is stored")]
    Output(WorkspaceId, #[source] io::Error),
}

/// Registers the workspace, stores its token, and prints its id.
pub(crate) fn run(plan: &RegisterPlan) -> Result<Done, RegisterFailure> {
    logging::start(&plan.log, &Bars::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RegisterFailure::Runtime)?;
    runtime.block_on(register(plan))?;
    print(&format!("{}\n", plan.id)).map_err(|error| RegisterFailure::Output(plan.id, error))?;
    Ok(Done::All)
}

async fn register(plan: &RegisterPlan) -> Result<(), RegisterFailure> {
    check_platform(plan)?;
    let platform = Platform::new(plan.platform_url.clone(), plan.timeouts)?;
    let own = match &plan.token {
        Some(origin) => Some(origin.token().await?),
        None => None,
    };
    if let (None, Some(admin), Chosen::ByHand) = (&own, &plan.admin_token, plan.chosen) {
        check_is_free(&platform, plan.id, admin).await?;
    }
    let folder = folder_of(&plan.state_folder, plan.id);
    // First the room for the answer, then the question.
    let place = Place::make(&plan.state_folder, plan.id)
        .map_err(|error| RegisterFailure::NoPlace(folder.clone(), error))?;
    let registration = Registration {
        id: plan.id,
        name: plan.name(),
        token: own.clone().or_else(|| plan.admin_token.clone()),
    };
    let answer = ask(plan, &platform, &registration).await;
    let token = answer.and_then(|new| new.or(own).ok_or(RegisterFailure::NoToken(plan.id)));
    let token = match token {
        Ok(token) => token,
        Err(failure) => {
            place.give_back();
            return Err(failure);
        }
    };
    let registration = StoredRegistration {
        platform_url: plan.platform_url.clone(),
        token,
    };
    match place.fill(&registration) {
        Ok(Stored::Durably) => Ok(()),
        Ok(Stored::UntilPowerIsLost(error)) => {
            warn!(
                workspace_id:% = plan.id, folder:% = folder.display(), error:% = error;
                "the token is stored, and may be lost with the power: its folder could not be synced"
            );
            Ok(())
        }
        Err(source) => Err(RegisterFailure::NotStored {
            id: plan.id,
            folder,
            source,
        }),
    }
}

/// A token is shown to the platform that gave it, and another must not take its place.
fn check_platform(plan: &RegisterPlan) -> Result<(), RegisterFailure> {
    match &plan.stored {
        Some(stored) if stored.platform_url != plan.platform_url => {
            Err(RegisterFailure::OtherPlatform {
                id: plan.id,
                registered: Box::new(stored.platform_url.clone()),
                file: path_of(&plan.state_folder, plan.id),
            })
        }
        _ => Ok(()),
    }
}

/// The admin's token would change a workspace of that id, whose own token does not come again: the
/// workspace must not be there yet.
async fn check_is_free(
    platform: &Platform,
    id: WorkspaceId,
    admin: &Token,
) -> Result<(), RegisterFailure> {
    let workspace = platform.workspace(id, Arc::new(FixedToken(admin.clone())));
    let query = FeedQuery {
        after: FeedCursor::Newest,
        kind: ActivityType::A2A_RECEIVE,
        wait: Duration::ZERO,
        limit: 1,
    };
    match workspace.feed(&query).await {
        // A token that is not the admin's changes nothing.
        Err(CallError::WorkspaceNotFound | CallError::Unauthorized) => Ok(()),
        Ok(_) => Err(RegisterFailure::NoToken(id)),
        Err(source) => Err(RegisterFailure::NotKnown { id, source }),
    }
}

/// Asks, and does not let go of the question at a first signal: the answer may hold the token.
async fn ask(
    plan: &RegisterPlan,
    platform: &Platform,
    registration: &Registration,
) -> Result<Option<Token>, RegisterFailure> {
    let mut signals = StopSignals::watch().map_err(RegisterFailure::Runtime)?;
    let stopped = async {
        let signal = signals.next().await;
        warn!(
            signal = signal;
            "the platform's answer is waited for, because it may hold the token; stop again not to"
        );
        signals.next_wish().await;
    };
    tokio::select! {
        biased;
        answer = platform.register(registration) => answer.map_err(|error| failed(plan, error)),
        () = stopped => Err(RegisterFailure::Stopped(advice(plan))),
    }
}

fn failed(plan: &RegisterPlan, error: CallError) -> RegisterFailure {
    match error {
        CallError::Unauthorized => RegisterFailure::Refused {
            id: plan.id,
            hint: refused_hint(plan),
            source: error,
        },
        CallError::Unreachable(_)
        | CallError::TimedOut
        | CallError::BrokenOff
        | CallError::Unavailable { .. }
        | CallError::Malformed { .. } => RegisterFailure::AnswerLost {
            error: Report(&error).to_string(),
            advice: advice(plan),
        },
        source => RegisterFailure::Refused {
            id: plan.id,
            hint: "",
            source,
        },
    }
}

fn refused_hint(plan: &RegisterPlan) -> &'static str {
    match (&plan.token, &plan.admin_token, plan.chosen) {
        (Some(_), ..) => " with its token",
        (None, Some(_), _) => " with the admin token",
        (None, None, Chosen::ByHand) => {
            ": only its admin may register (INBOX_ADMIN_TOKEN), or the id is taken"
        }
        (None, None, Chosen::AtRandom) => ": only its admin may register (INBOX_ADMIN_TOKEN)",
    }
}

/// What to do when nobody knows whether the platform did it.
fn advice(plan: &RegisterPlan) -> String {
    match (&plan.token, plan.chosen) {
        (Some(_), _) => "nothing is lost, so try again".to_owned(),
        (None, Chosen::AtRandom) => "nothing is stored, so try again".to_owned(),
        (None, Chosen::ByHand) => format!(
            "try again, and if workspace {} is then taken, its token was lost with the answer: \
             register another id",
            plan.id
        ),
    }
}

impl RegisterPlan {
    fn name(&self) -> Option<String> {
        let new = self.token.is_none();
        self.agent_name
            .clone()
            .or_else(|| new.then(|| env!("CARGO_PKG_NAME").to_owned()))
    }
}
