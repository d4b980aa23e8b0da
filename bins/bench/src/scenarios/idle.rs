//! A server that was started and does nothing.

use std::time::Duration;

use crate::error::BenchError;
use crate::figures::{Figure, Figures};
use crate::meters::mebibytes;
use crate::site::Site;

/// How long a server has to come to rest.
const REST: Duration = Duration::from_secs(1);

/// What it has in memory a moment after its start.
pub(crate) async fn idle(site: &Site<'_>) -> Result<Figures, BenchError> {
    tokio::time::sleep(REST).await;
    let meters = site.meters();
    let mut figures = Figures::default();
    figures.set(Figure::MemoryMib, mebibytes(meters.server.memory()?));
    figures.set(
        Figure::ServerPeakMib,
        mebibytes(meters.server.peak_memory()?),
    );
    if let Some(database) = site.database() {
        let (open, in_use) = database.connections().await?;
        figures.set(Figure::ConnectionsOpen, open);
        figures.set(Figure::ConnectionsInUse, in_use);
    }
    Ok(figures)
}
