//! From the answer to an upload until the inbox says that the file has arrived.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use inbox_client::{Event, FixedToken, Inbox};
use server_harness::Random;
use tokio::time::timeout;

use crate::cell::Cell;
use crate::client::{Connection, Form};
use crate::error::BenchError;
use crate::figures::Figures;
use crate::load::Yield;
use crate::scenarios::jobs;
use crate::scenarios::prepare::upload_request;
use crate::site::{Site, Workspace};

/// When a file counts as lost.
const PATIENCE: Duration = Duration::from_mins(1);
/// The pause before an upload, in which the inbox goes back to its poll: at least so long, and a
/// random time more.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const MORE_PAUSE_MICROS: u64 = 20_000;
/// Files that arrive before anything counts.
const WARM_UP: u64 = 3;

/// Uploads files one after the other, each after a pause. An arrival that overtook the answer to its
/// upload took no time.
pub(crate) async fn arrival(
    cell: Cell,
    site: &Site<'_>,
    window: Duration,
) -> Result<Figures, BenchError> {
    let workspaces = site.workspaces(1).await?;
    let workspace = &workspaces[0];
    let folder = tempfile::Builder::new().prefix("bench-inbox-").tempdir();
    let folder = folder.map_err(BenchError::Setup)?;
    let mut inbox = open(site, workspace, folder.path()).await?;
    let mut connection = Connection::open(site.address()?).await?;
    let request = upload_request(workspace, &Arc::new(Form::new(1, cell.bytes)));
    let mut random = Random::from_seed(cell.bytes);
    let meters = site.meters();
    let mut begun = meters.begin().await?;
    let mut yielded = Yield::nothing()?;
    let mut clock = Instant::now();
    let mut turns = 0;
    while turns < WARM_UP || clock.elapsed() < window {
        if turns == WARM_UP {
            begun = meters.begin().await?;
            clock = Instant::now();
        }
        let more = Duration::from_micros(random.below(MORE_PAUSE_MICROS));
        tokio::time::sleep(SHORTEST_PAUSE + more).await;
        let uploaded = async {
            let ids = jobs::upload(&mut connection, &request).await?;
            Ok((ids, Instant::now()))
        };
        let ((ids, answered), (arrived, at)) = tokio::try_join!(uploaded, next(&mut inbox))?;
        if ids != [arrived] {
            return Err(BenchError::Inbox("another file arrived".to_owned()));
        }
        if turns >= WARM_UP {
            yielded.note(cell.bytes, at.saturating_duration_since(answered));
        }
        turns += 1;
    }
    yielded.elapsed = clock.elapsed();
    let figures = meters.end(&begun, &yielded).await?;
    inbox.close().await;
    Ok(figures)
}

async fn open(site: &Site<'_>, workspace: &Workspace, folder: &Path) -> Result<Inbox, BenchError> {
    let token = workspace.token.parse().map_err(failed)?;
    Inbox::builder()
        .platform(site.url().parse().map_err(failed)?)
        .workspace(workspace.id.parse().map_err(failed)?)
        .token(Arc::new(FixedToken(token)))
        .folder(folder.join("files"))
        .state_folder(folder.join("state"))
        .open()
        .await
        .map_err(failed)
}

/// The id of the next file that arrives, and when that was said; the file is removed.
async fn next(inbox: &mut Inbox) -> Result<(String, Instant), BenchError> {
    let delivery = timeout(PATIENCE, inbox.next()).await;
    let now = Instant::now();
    let delivery = delivery
        .ok()
        .flatten()
        .ok_or_else(|| BenchError::Inbox("a file did not arrive".to_owned()))?;
    let file = match delivery.event() {
        Event::FileArrived(file) => file.clone(),
        other => return Err(BenchError::Inbox(format!("{other:?}"))),
    };
    delivery.confirm();
    std::fs::remove_file(&file.path).map_err(|source| BenchError::File {
        path: file.path.clone(),
        source,
    })?;
    Ok((file.uri.file_id.to_string(), now))
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::Inbox(error.to_string())
}
