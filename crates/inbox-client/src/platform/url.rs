//! Where a platform is.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// The longest URL that is taken, in bytes.
const MAX_URL_BYTES: usize = 2048;

/// Where a platform is: an absolute `http` or `https` URL with a host, without credentials, query or
/// fragment. It may have a path, which then stands before the path of each route.
///
/// With `http` the token and the files go in clear, and anybody between here and there can read and
/// change them. It is allowed because a loopback address, a private network and a TLS proxy of one's
/// own need it; use `https` for everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformUrl(Url);

/// The text is no URL of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a platform is an absolute http or https URL of at most 2048 bytes, without credentials, \
     query or fragment"
)]
pub struct InvalidPlatformUrl;

impl PlatformUrl {
    /// The parsed URL.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// The URL of a route, whose path begins without `/`, below whatever path there is.
    pub(super) fn route(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }
}

impl fmt::Display for PlatformUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PlatformUrl {
    type Err = InvalidPlatformUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPlatformUrl> {
        if text.len() > MAX_URL_BYTES {
            return Err(InvalidPlatformUrl);
        }
        let url = Url::parse(text).map_err(|_| InvalidPlatformUrl)?;
        let usable = matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        usable.then_some(Self(url)).ok_or(InvalidPlatformUrl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_below_whatever_path_there_is() {
        for (url, route) in [
            ("https://platform.example", "https://platform.example/a/b"),
            ("https://platform.example/", "https://platform.example/a/b"),
            (
                "http://127.0.0.1:8000/x/y/",
                "http://127.0.0.1:8000/x/y/a/b",
            ),
        ] {
            let url: PlatformUrl = url.parse().unwrap();
            assert_eq!(url.route("a/b").as_str(), route);
        }
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in [
            "",
            "platform.example",
            "/x",
            "ftp://platform.example",
            "https://",
            "https://u@platform.example",
            "https://u:p@platform.example",
            "https://platform.example/#f",
            "https://platform.example/?q",
            &format!("https://platform.example/{}", "x".repeat(2048)),
        ] {
            assert_eq!(
                text.parse::<PlatformUrl>(),
                Err(InvalidPlatformUrl),
                "{text}"
            );
        }
    }
}
