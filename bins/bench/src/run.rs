//! All runs: first each cell once, then each cell once more.

use std::time::Duration;

use tokio::time::sleep;

use crate::beside::Beside;
use crate::cell::{Cell, MB, Scale};
use crate::cli::{Plan, Wanted};
use crate::error::BenchError;
use crate::measure::{Count, Effort, count, measure, prepare};
use crate::meters::Statement;
use crate::output::progress;
use crate::report::Report;
use crate::site::Host;

/// Files of this size and larger leave much memory behind.
const MUCH: u64 = 4 * MB;
const REST: Duration = Duration::from_secs(5);

/// What was measured, and the statements of each load that has some.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) report: Report,
    pub(crate) statements: Vec<(String, Vec<Statement>)>,
}

/// Measures everything that is planned.
pub(crate) async fn run(plan: &Plan, about: Vec<String>) -> Result<Outcome, BenchError> {
    let cells = plan.selection.cells();
    if cells.is_empty() {
        return Err(BenchError::NoSuchCell(plan.selection.only.join(", ")));
    }
    let backends: Vec<_> = cells.iter().map(|cell| cell.backend).collect();
    let host = Host::start(&backends, plan.way, plan.settings.clone())?;
    let mut outcome = Outcome {
        report: Report {
            about,
            rows: Vec::new(),
        },
        statements: Vec::new(),
    };
    for run in 1..=plan.runs {
        let mut beside = Beside::begin(&host, plan.effort);
        for group in cells.chunk_by(Cell::shares_site_with) {
            progress(&format!("run {run} of {}: {}", plan.runs, group[0]));
            measure_group(plan, &host, group, &mut beside, &mut outcome).await?;
            rest(plan.effort, group[0]).await;
        }
    }
    Ok(outcome)
}

/// Waits until memory that was just freed is like other memory, where much was: a hypervisor that
/// takes it back has done so then. Until that the next cell would be faster than what stands beside
/// it.
async fn rest(effort: Effort, group: Cell) {
    if effort.scale == Scale::Full && group.bytes >= MUCH {
        sleep(REST).await;
    }
}

/// Measures cells that share a server.
async fn measure_group(
    plan: &Plan,
    host: &Host,
    group: &[Cell],
    beside: &mut Beside<'_>,
    outcome: &mut Outcome,
) -> Result<(), BenchError> {
    let first = group[0];
    let site = host.open(first.backend).await?;
    let prepared = prepare(first, &site, plan.effort).await?;
    let alone = match &prepared {
        Some(prepared) => count(first, &site, prepared).await?,
        None => Count::default(),
    };
    let is_new = !outcome
        .statements
        .iter()
        .any(|(name, _)| *name == first.to_string());
    if plan.statements == Wanted::Yes && is_new && !alone.statements.is_empty() {
        let list = (first.to_string(), alone.statements);
        outcome.statements.push(list);
    }
    for cell in group {
        for (kind, mut figures) in measure(*cell, &site, prepared.as_ref(), plan.effort).await? {
            figures.extend(alone.figures.clone());
            if plan.floors == Wanted::Yes {
                figures.extend(beside.ratios(*cell, &figures).await?);
            }
            let name = match kind {
                Some(kind) => format!("{cell}: {kind}"),
                None => cell.to_string(),
            };
            outcome
                .report
                .add(&cell.scenario.to_string(), &name, figures);
        }
    }
    beside.end_group();
    site.end();
    Ok(())
}
