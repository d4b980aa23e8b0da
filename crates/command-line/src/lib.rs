//! What both programs do at their command line, so that they do it alike: how they refuse arguments
//! without repeating what may be secret, how their log lines look, how they tell a person how they ended,
//! and how they are told to stop.

mod log_lines;
mod refusal;
mod signals;
mod telling;
mod values;

pub use log_lines::log_lines;
pub use refusal::Refusal;
pub use signals::StopSignals;
pub use telling::tell;
pub use values::{InvalidLogFilter, LogFilter, Secret, text};
