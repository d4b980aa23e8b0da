//! Why a command line is not followed, without a word of what might be secret.

use std::error::Error;
use std::num::ParseIntError;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Why there is nothing to do.
#[derive(Debug)]
pub enum Refusal {
    /// A setting or an argument is wrong; one sentence says which, without any secret.
    Wrong(String),
    /// Help or the version was asked for.
    Information(clap::Error),
}

/// Says what is wrong, and never the value that is: it may be a secret, or in a wrong place.
impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        let named = error.get(ContextKind::InvalidArg).map(ToString::to_string);
        match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Self::Information(error),
            ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument => {
                Self::Wrong(unknown_argument(named))
            }
            ErrorKind::MissingRequiredArgument => {
                Self::Wrong(format!("this is missing: {}", named.unwrap_or_default()))
            }
            ErrorKind::MissingSubcommand => {
                Self::Wrong("a command is expected; --help lists them all".to_owned())
            }
            kind => {
                let why = error
                    .source()
                    .map(why_not_parsed)
                    .or_else(|| one_of(&error));
                let why = why.unwrap_or_else(|| without_a_cause(kind).to_owned());
                let named = named.unwrap_or_else(|| "an argument".to_owned());
                Self::Wrong(format!("{named} cannot be used: {why}"))
            }
        }
    }
}

fn why_not_parsed(cause: &(dyn Error + 'static)) -> String {
    if cause.is::<ParseIntError>() {
        return "a whole number is expected".to_owned();
    }
    cause.to_string()
}

/// What could have been said, where that is a choice.
fn one_of(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            Some(format!("{} is expected", values.join(" or ")))
        }
        _ => None,
    }
}

fn without_a_cause(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => "a value is expected",
        kind => kind.as_str().unwrap_or("it is not understood"),
    }
}

fn unknown_argument(named: Option<String>) -> String {
    match named.filter(|argument| argument.starts_with('-')) {
        Some(option) => {
            let name = option.split('=').next().unwrap_or_default();
            format!("there is no option {name} here; --help lists them all")
        }
        None => "an argument is unknown; --help lists them all".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn refused(arguments: &[&str]) -> String {
        let command = Command::new("program")
            .arg(
                Arg::new("count")
                    .long("count")
                    .value_parser(clap::value_parser!(u8)),
            )
            .arg(Arg::new("mode").long("mode").value_parser(["a", "b"]))
            .subcommand(Command::new("copy").arg(Arg::new("from").long("from").required(true)));
        let all = ["program"].iter().chain(arguments);
        match command.try_get_matches_from(all).unwrap_err().into() {
            Refusal::Wrong(sentence) => sentence,
            Refusal::Information(_) => panic!("no help was asked for"),
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_never_repeated() {
        for (arguments, sentence) in [
            (
                &["--count=hunter2"][..],
                "--count <count> cannot be used: a whole number is expected",
            ),
            (
                &["--mode=hunter2"],
                "--mode <mode> cannot be used: a or b is expected",
            ),
            (&["--cuont=hunter2"], "there is no option --cuont here; "),
            (&["hunter2"], "an argument is unknown; "),
            (&["copy"], "this is missing: --from <from>"),
        ] {
            let refused = refused(arguments);
            assert!(refused.starts_with(sentence), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn help_is_no_mistake() {
        let error = Command::new("program").try_get_matches_from(["program", "--help"]);
        let refusal = Refusal::from(error.unwrap_err());
        assert!(matches!(refusal, Refusal::Information(_)), "{refusal:?}");
    }
}
