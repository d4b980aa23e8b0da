//! The statements of a request, one by one.

use std::fmt::Write;

use crate::meters::Statement;

/// How much of a statement is shown.
const SHOWN: usize = 150;

/// A list for each load: how often each statement is run for a turn that is alone.
pub(crate) fn statements(lists: &[(String, Vec<Statement>)]) -> String {
    let mut text = String::new();
    for (name, statements) in lists {
        // Writing to a string cannot fail.
        let _written = writeln!(text, "\nstatements of {name}");
        for statement in statements {
            let shown: String = statement.text.chars().take(SHOWN).collect();
            let _written = writeln!(text, "{:>8.2}  {shown}", statement.calls);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_statement_is_cut() {
        let statement = Statement {
            text: "x".repeat(1_000),
            calls: 1.5,
        };
        let text = statements(&[("an upload".to_owned(), vec![statement])]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "statements of an upload");
        assert_eq!(lines[2], format!("    1.50  {}", "x".repeat(SHOWN)));
    }
}
