//! An error with its causes, for a line of the log.

use std::error::Error;

/// `error` and what caused it, outermost first, with colons in between. A cause whose sentence ends
/// the one before is not said twice.
pub(crate) fn report(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let sentence = error.to_string();
        if !line.ends_with(&sentence) {
            line.push_str(": ");
            line.push_str(&sentence);
        }
        cause = error.source();
    }
    line
}
