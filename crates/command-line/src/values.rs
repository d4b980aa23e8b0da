//! Values of settings that both programs have.

use std::fmt;
use std::str::FromStr;

use log::LevelFilter;
use serde::de::{Deserialize, Deserializer, Error};

/// A text that must not be repeated in any message, help or log.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer).map(Self)
    }
}

/// Reads a text of a settings file. In an error there is nothing of what was there instead.
///
/// # Errors
/// When there is no text.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map_err(|_| D::Error::custom("a text in quotes is expected"))
}

/// What is logged, as `RUST_LOG` says it: `info`, `upload_http=debug,warn`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// The text names no levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("levels are expected, such as info or module=debug,warn")]
pub struct InvalidLogFilter;

impl LogFilter {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogFilter {
    type Err = InvalidLogFilter;

    fn from_str(text: &str) -> Result<Self, InvalidLogFilter> {
        // A word that is no level would be taken for a module, and all else be silent.
        let (levels, _) = text.split_once('/').unwrap_or((text, ""));
        let is_level = |word: &str| word.is_empty() || word.parse::<LevelFilter>().is_ok();
        let mut words = levels.split(',').map(str::trim);
        let all_are_levels = words.all(|word| word.contains('=') || is_level(word));
        match env_filter::Builder::new().try_parse(text) {
            Ok(_) if all_are_levels => Ok(Self(text.to_owned())),
            _ => Err(InvalidLogFilter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "Secret(…)");
    }

    #[test]
    fn a_log_filter_names_levels() {
        for good in ["info", "upload_http=debug,warn", "off"] {
            assert!(good.parse::<LogFilter>().is_ok(), "{good}");
        }
        for bad in ["upload_http=loud", "verbose", "info,upload_http", "warning"] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad}");
        }
    }
}
