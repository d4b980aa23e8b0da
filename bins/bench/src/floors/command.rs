//! One floor by hand, for whoever looks into a figure.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::postgres::{self, Commits, FloorDatabase, Form};
use super::sqlite::{self, FloorFolder, Grouping};
use super::{Feeds, disk};
use crate::cli::seconds;
use crate::error::BenchError;
use crate::load::{Extent, Yield};

/// One floor, alone.
#[derive(Debug, clap::Args)]
pub(crate) struct FloorArguments {
    #[command(subcommand)]
    floor: Floor,
    /// How large the files are, in bytes.
    #[arg(long, global = true, default_value_t = 1_000)]
    size: u64,
    /// How many are busy at once.
    #[arg(long, global = true, default_value_t = 4)]
    at_once: usize,
    // Not called `seconds`: clap hands global values up, and there is one of that name there.
    /// For how long, in seconds.
    #[arg(long = "seconds", value_name = "SECONDS", global = true, default_value = "3",
        value_parser = seconds)]
    window: Duration,
    /// How often at most.
    #[arg(long, global = true, default_value_t = 100_000)]
    turns: u64,
}

#[derive(Debug, clap::Subcommand)]
enum Floor {
    /// A bare loop on a PostgreSQL database, whose tables are emptied before and after.
    Postgres {
        /// The URL of the database.
        #[arg(long)]
        url: String,
        #[command(subcommand)]
        load: PostgresLoad,
    },
    /// A bare loop on a SQLite data folder.
    Sqlite {
        /// The folder.
        #[arg(long)]
        folder: PathBuf,
        #[command(subcommand)]
        load: SqliteLoad,
    },
    /// `dd` in a folder.
    Disk {
        /// The folder.
        #[arg(long)]
        folder: PathBuf,
        #[command(subcommand)]
        load: DiskLoad,
    },
}

#[derive(Debug, clap::Subcommand)]
enum PostgresLoad {
    /// Large uploads: chunk rows by COPY, and a publish.
    Copy {
        /// How often a file's bytes are committed.
        #[arg(long, value_enum, default_value_t = Commits::EachBurst)]
        commits: Commits,
    },
    /// Large fetches: windows of a file, read and dropped.
    Windows,
    /// Small uploads: the transaction that publishes one file.
    Publish {
        /// How it is put to the server.
        #[arg(long, value_enum, default_value_t = Form::Flight)]
        form: Form,
        /// Whose feeds it goes to.
        #[arg(long, value_enum, default_value_t = Feeds::OneEach)]
        feeds: Feeds,
    },
    /// The update that acks a file.
    Ack,
    /// The query of a poll with nothing new.
    Poll,
}

#[derive(Debug, clap::Subcommand)]
enum SqliteLoad {
    /// Uploads: the transaction that publishes one file, and the file where it is a large one.
    Publish {
        /// Whether those that come together share a commit.
        #[arg(long, value_enum, default_value_t = Grouping::Together)]
        grouping: Grouping,
        /// Whose feeds it goes to.
        #[arg(long, value_enum, default_value_t = Feeds::OneEach)]
        feeds: Feeds,
    },
    /// The update that acks a file.
    Ack {
        /// Whether those that come together share a commit.
        #[arg(long, value_enum, default_value_t = Grouping::Together)]
        grouping: Grouping,
    },
    /// The query of a poll with nothing new.
    Poll,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum DiskLoad {
    /// Writing and syncing.
    Write,
    /// Reading back.
    Read,
}

impl FloorArguments {
    /// Measures it.
    pub(crate) async fn run(&self) -> Result<Figures, BenchError> {
        let yielded = match &self.floor {
            Floor::Postgres { url, load } => self.postgres(url, load).await?,
            Floor::Sqlite { folder, load } => {
                let folder = FloorFolder::open(folder).await?;
                self.sqlite(&folder, load).await?
            }
            Floor::Disk { folder, load } => self.disk(folder, *load).await?,
        };
        Ok(Figures(yielded))
    }

    async fn disk(&self, folder: &Path, load: DiskLoad) -> Result<Yield, BenchError> {
        let own = tempfile::Builder::new()
            .prefix("floor-")
            .tempdir_in(folder)
            .map_err(BenchError::Setup)?;
        match load {
            DiskLoad::Write => {
                disk::write(own.path(), self.size, self.at_once, self.extent()).await
            }
            DiskLoad::Read => disk::read(own.path(), self.size, self.at_once, self.extent()).await,
        }
    }

    async fn postgres(&self, url: &str, load: &PostgresLoad) -> Result<Yield, BenchError> {
        let (size, at_once, extent) = (self.size, self.at_once, self.extent());
        let database = FloorDatabase::open(url).await?;
        database.clear().await?;
        let yielded = match *load {
            PostgresLoad::Copy { commits } => {
                postgres::copy(&database, size, commits, at_once, extent).await
            }
            PostgresLoad::Windows => postgres::windows(&database, size, at_once, extent).await,
            PostgresLoad::Publish { form, feeds } => {
                postgres::publish(&database, size, (form, feeds), at_once, extent).await
            }
            PostgresLoad::Ack => postgres::ack(&database, at_once, extent).await,
            PostgresLoad::Poll => postgres::poll(&database, at_once, extent).await,
        };
        database.clear().await?;
        yielded
    }

    async fn sqlite(&self, folder: &FloorFolder, load: &SqliteLoad) -> Result<Yield, BenchError> {
        let (size, at_once, extent) = (self.size, self.at_once, self.extent());
        match *load {
            SqliteLoad::Publish { grouping, feeds } => {
                sqlite::publish(folder, size, (grouping, feeds), at_once, extent).await
            }
            SqliteLoad::Ack { grouping } => sqlite::ack(folder, grouping, at_once, extent).await,
            SqliteLoad::Poll => sqlite::poll(folder, at_once, extent).await,
        }
    }

    fn extent(&self) -> Extent {
        Extent {
            duration: self.window,
            turns: self.turns,
        }
    }
}

/// What it yielded, as a line for a person.
#[derive(Debug)]
pub(crate) struct Figures(Yield);

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Yield {
            turns,
            bytes,
            elapsed,
            latencies,
        } = &self.0;
        let seconds = elapsed.as_secs_f64();
        let per_second = |count: u64| Duration::from_secs(count).as_secs_f64() / seconds;
        let at = |quantile| latencies.value_at_quantile(quantile);
        write!(
            f,
            "{turns} turns in {seconds:.2} s: {:.0}/s, {:.1} MB/s; p50 {} µs, p99 {} µs",
            per_second(*turns),
            per_second(*bytes) / 1e6,
            at(0.5),
            at(0.99),
        )
    }
}
