//! The floors: bare loops that do what the database, the disk or the web framework must do at the
//! least for a piece of our work, and nothing else.
//!
//! A figure of ours means little by itself: it is put beside the floor that was measured in the
//! same run, on the same machine. So a floor is honest (what it stores is as durable as ours, in
//! the same tables), and it is as fast as we know to make it: no hashing, no parsing, no HTTP, no
//! retries and no limits.

pub(crate) mod command;
mod content;
pub(crate) mod disk;
mod error;
pub(crate) mod postgres;
pub(crate) mod servers;
pub(crate) mod sqlite;

pub(crate) use content::Content;
pub(crate) use error::FloorError;

/// Which workspaces the workers of a load work for: writers of one feed take turns, those of
/// several do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Feeds {
    /// Each worker has a workspace of its own.
    OneEach,
    /// All of them share one.
    OneForAll,
}

impl Feeds {
    /// The worker of each number's workspace, out of those that were made.
    fn of<T: Copy>(self, workspaces: &[T], worker: usize) -> Option<T> {
        match self {
            Self::OneEach => workspaces.get(worker).copied(),
            Self::OneForAll => workspaces.first().copied(),
        }
    }
}
