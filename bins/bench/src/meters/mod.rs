//! What a load costs beside time: CPU, memory, statements, round trips, bytes written.

mod postgres;
mod process;
mod proxy;

pub(crate) use postgres::{Database, DatabaseReading, Statement, statements_between};
pub(crate) use process::Process;
pub(crate) use proxy::CountingProxy;

use crate::error::BenchError;
use crate::figures::{Figure, Figures};
use crate::load::Yield;

/// What costs are read from.
#[derive(Debug)]
pub(crate) struct Meters<'a> {
    pub(crate) server: Process,
    pub(crate) database: Option<&'a Database>,
}

/// The costs since the beginning of everything.
#[derive(Debug)]
pub(crate) struct Reading {
    server_cpu: f64,
    generator_cpu: f64,
    written: u64,
    database: Option<DatabaseReading>,
}

impl Meters<'_> {
    /// Reads them all, and forgets what the server's peak memory was.
    pub(crate) async fn begin(&self) -> Result<Reading, BenchError> {
        self.server.forget_peak_memory()?;
        self.read().await
    }

    async fn read(&self) -> Result<Reading, BenchError> {
        let database = match self.database {
            Some(database) => Some(database.read().await?),
            None => None,
        };
        Ok(Reading {
            server_cpu: self.server.cpu_seconds()?,
            generator_cpu: Process::own().cpu_seconds()?,
            written: self.server.written_bytes()?,
            database,
        })
    }

    /// What was spent since `begun`, for each turn and each byte of the yield.
    pub(crate) async fn end(
        &self,
        begun: &Reading,
        yielded: &Yield,
    ) -> Result<Figures, BenchError> {
        let now = self.read().await?;
        let mut figures = yielded.figures();
        let peak = self.server.peak_memory()?;
        figures.set(Figure::ServerPeakMib, mebibytes(peak));
        let spent = Spent {
            turns: yielded.turns,
            bytes: yielded.bytes,
        };
        spent.cpu(
            &mut figures,
            [Figure::ServerCpuPerTurn, Figure::ServerCpuPerMb],
            now.server_cpu - begun.server_cpu,
        );
        spent.cpu(
            &mut figures,
            [Figure::GeneratorCpuPerTurn, Figure::GeneratorCpuPerMb],
            now.generator_cpu - begun.generator_cpu,
        );
        match (&now.database, &begun.database) {
            (Some(now), Some(begun)) => spent.database(&mut figures, now, begun),
            _ => spent.written(&mut figures, now.written.saturating_sub(begun.written)),
        }
        Ok(figures)
    }
}

/// What costs are divided by.
#[derive(Debug, Clone, Copy)]
struct Spent {
    turns: u64,
    bytes: u64,
}

impl Spent {
    #[expect(
        clippy::cast_precision_loss,
        reason = "figures have few significant digits"
    )]
    fn each_turn(self, amount: f64) -> Option<f64> {
        (self.turns > 0).then(|| amount / self.turns as f64)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "figures have few significant digits"
    )]
    fn each_byte(self, amount: f64) -> Option<f64> {
        (self.bytes > 0).then(|| amount / self.bytes as f64)
    }

    /// CPU is shown in microseconds a turn, and in milliseconds a megabyte.
    fn cpu(self, figures: &mut Figures, names: [Figure; 2], seconds: f64) {
        figures.set_if(names[0], self.each_turn(seconds * 1e6));
        figures.set_if(names[1], self.each_byte(seconds * 1e3 * 1e6));
    }

    fn database(self, figures: &mut Figures, now: &DatabaseReading, begun: &DatabaseReading) {
        self.cpu(
            figures,
            [Figure::DatabaseCpuPerTurn, Figure::DatabaseCpuPerMb],
            now.cpu_seconds - begun.cpu_seconds,
        );
        figures.set_if(
            Figure::StatementsPerTurn,
            self.each_turn(now.statements - begun.statements),
        );
        self.written(figures, now.wal_bytes.saturating_sub(begun.wal_bytes));
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "figures have few significant digits"
    )]
    fn written(self, figures: &mut Figures, bytes: u64) {
        figures.set_if(Figure::WrittenPerByte, self.each_byte(bytes as f64));
        figures.set_if(Figure::WrittenPerTurn, self.each_turn(bytes as f64 / 1e3));
    }
}

/// Bytes as mebibytes.
#[expect(
    clippy::cast_precision_loss,
    reason = "figures have few significant digits"
)]
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
