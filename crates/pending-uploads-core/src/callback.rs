//! The URL at which a push workspace takes calls.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// The longest URL that is taken, in bytes.
const MAX_URL_BYTES: usize = 2048;

/// Where a push workspace takes calls: an absolute `http` or `https` URL with a host, without
/// credentials, query or fragment.
///
/// Whether its address may be called is another question, which is asked when it is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackUrl(Url);

/// The text is no URL that could be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("url must be an absolute http or https URL without credentials, query or fragment")]
pub struct InvalidCallbackUrl;

impl CallbackUrl {
    /// The parsed URL.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// The URL with `path` (which begins with `/`) after whatever path it has.
    pub fn join_path(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        url
    }
}

impl fmt::Display for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CallbackUrl {
    type Err = InvalidCallbackUrl;

    fn from_str(text: &str) -> Result<Self, InvalidCallbackUrl> {
        if text.len() > MAX_URL_BYTES {
            return Err(InvalidCallbackUrl);
        }
        let url = Url::parse(text).map_err(|_| InvalidCallbackUrl)?;
        // What is escaped in it is longer then, and what is stored must be read again.
        let callable = url.as_str().len() <= MAX_URL_BYTES
            && matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if callable {
            Ok(Self(url))
        } else {
            Err(InvalidCallbackUrl)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_added_to_whatever_path_there_is() {
        for (url, joined) in [
            ("https://agent.example", "https://agent.example/in"),
            ("https://agent.example/", "https://agent.example/in"),
            (
                "http://agent.example:8000/a/b/",
                "http://agent.example:8000/a/b/in",
            ),
        ] {
            let url: CallbackUrl = url.parse().unwrap();
            assert_eq!(url.join_path("/in").as_str(), joined);
        }
    }

    #[test]
    fn a_url_that_is_too_long_when_it_is_escaped_is_refused() {
        let of = |path: String| format!("https://agent.example/{path}").parse::<CallbackUrl>();
        assert!(of("a".repeat(2_000)).is_ok());
        assert!(of("é".repeat(300)).is_ok());
        assert_eq!(of("é".repeat(800)), Err(InvalidCallbackUrl));
        assert_eq!(of("a".repeat(2_100)), Err(InvalidCallbackUrl));
    }

    proptest! {
        #[test]
        fn what_was_taken_is_read_as_it_was_printed(
            path in prop_oneof!["[a-z/%é \\\\.?#]{0,40}", "é{300,400}"],
        ) {
            if let Ok(url) = format!("http://agent.example/{path}").parse::<CallbackUrl>() {
                prop_assert_eq!(url.to_string().parse(), Ok(url));
            }
        }
    }

    #[test]
    fn what_could_not_be_called_is_refused() {
        for text in [
            "",
            "agent.example",
            "/x",
            "ftp://agent.example",
            "file:///etc/passwd",
            "https://",
            "https://u@agent.example",
            "https://u:p@agent.example",
            "https://agent.example/#f",
            "https://agent.example/?q",
        ] {
            assert_eq!(
                text.parse::<CallbackUrl>(),
                Err(InvalidCallbackUrl),
                "{text}"
            );
        }
    }
}
