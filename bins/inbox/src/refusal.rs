//! Why the command line is not followed, without a word of what might be secret.

use clap::error::{ContextKind, ErrorKind};

use crate::settings_error::SettingsError;

/// Why there is nothing to do.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A setting or an argument is wrong; one sentence says which, without any secret.
    Wrong(String),
    /// Help or the version was asked for.
    Information(clap::Error),
}

impl From<SettingsError> for Refusal {
    fn from(error: SettingsError) -> Self {
        Self::Wrong(error.to_string())
    }
}

/// What is wrong, and never the value that is: it may be a secret, or in a wrong place.
pub(crate) fn refusal(error: clap::Error) -> Refusal {
    let named = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Refusal::Information(error),
        ErrorKind::MissingSubcommand => {
            Refusal::Wrong("a command is expected; --help lists them all".to_owned())
        }
        ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument => {
            Refusal::Wrong(unknown_argument(named))
        }
        ErrorKind::MissingRequiredArgument => {
            Refusal::Wrong(format!("this is missing: {}", named.unwrap_or_default()))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let named = named.unwrap_or_default();
            let why = std::error::Error::source(&error).map(ToString::to_string);
            let why = why.unwrap_or_else(|| "a value is expected".to_owned());
            Refusal::Wrong(format!("{named} cannot be used: {why}"))
        }
        kind => {
            let why = kind.as_str().unwrap_or("it is not understood");
            Refusal::Wrong(format!(
                "{} cannot be used: {why}",
                named.unwrap_or_default()
            ))
        }
    }
}

fn unknown_argument(named: Option<String>) -> String {
    match named.filter(|argument| argument.starts_with('-')) {
        Some(option) => {
            let name = option.split('=').next().unwrap_or_default();
            format!("there is no option {name}; --help lists them all")
        }
        None => "an argument is unknown; --help lists them all".to_owned(),
    }
}
