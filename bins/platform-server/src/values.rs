//! The values of settings: parsed once, right from then on.

use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;

/// The longest time that a setting takes: ten years, far from where arithmetic on times ends.
const MAX_SECONDS: u64 = 10 * 365 * 24 * 60 * 60;

/// Who may register new workspaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Registration {
    /// Anybody who reaches the server.
    Open,
    /// Only who shows the admin token.
    Admin,
}

/// Whether push workspaces may have callback URLs that lead to private addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AllowPrivate {
    /// They may.
    True,
    /// They may not.
    False,
}

/// Reads an address and a port.
pub(crate) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "an IP address and a port are expected, such as 127.0.0.1:8080 or [::1]:8080")
}

/// Reads a time in whole seconds, at least one.
pub(crate) fn seconds(text: &str) -> Result<Duration, &'static str> {
    bounded_seconds(text, 1).ok_or("whole seconds from 1 to 315360000 are expected")
}

/// Reads a time in whole seconds, which may be none.
pub(crate) fn seconds_or_none(text: &str) -> Result<Duration, &'static str> {
    bounded_seconds(text, 0).ok_or("whole seconds from 0 to 315360000 are expected")
}

fn bounded_seconds(text: &str, least: u64) -> Option<Duration> {
    let seconds = text.parse().ok()?;
    (least..=MAX_SECONDS)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_seconds_within_ten_years() {
        assert_eq!(seconds("1"), Ok(Duration::from_secs(1)));
        assert_eq!(seconds_or_none("0"), Ok(Duration::ZERO));
        assert_eq!(
            seconds("315360000").map(|time| time.as_secs()),
            Ok(MAX_SECONDS)
        );
        for text in [
            "0",
            "-1",
            "1.5",
            "1s",
            "",
            "315360001",
            "99999999999999999999",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
