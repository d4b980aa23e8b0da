//! What is done over and over, scenario by scenario.

mod arrival;
mod idle;
mod jobs;
mod mixed;
mod prepare;
mod waiters;

pub(crate) use arrival::arrival;
pub(crate) use idle::idle;
pub(crate) use jobs::Job;
pub(crate) use mixed::mixed;
pub(crate) use prepare::{Prepared, Stock, files_to_fetch};
pub(crate) use waiters::waiters;

/// A row of the report that a scenario yields beside others, and what is added to the cell's name.
pub(crate) type Rows = Vec<(Option<&'static str>, crate::figures::Figures)>;
