//! Secrets: bearer tokens, how they are stored, and the secret that a push workspace knows us by.

use std::fmt;
use std::str::FromStr;

use subtle::{Choice, ConstantTimeEq};

use crate::{Error, Sha256, StoreName};

/// The longest token that is looked at, in bytes: an admin may choose one of his own.
const MAX_TOKEN_BYTES: usize = 1024;

/// A bearer token (RFC 6750, section 2.1). Never printed: its `Debug` shows nothing.
#[derive(Clone)]
pub struct Token(String);

/// The text cannot be a bearer token: it is empty, over 1,024 bytes, or holds a character that RFC
/// 6750 does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is 1 to 1024 characters of A-Z a-z 0-9 - . _ ~ + / =")]
pub struct InvalidToken;

impl Token {
    /// Makes one of 256 random bits, as 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::Backend`] when the system has no randomness to give.
    pub fn generate() -> Result<Self, Error> {
        random_hex().map(Self)
    }

    /// The token itself, for the one answer that hands it out.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored in its place.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(*Sha256::of(self.0.as_bytes()).as_bytes())
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if (1..=MAX_TOKEN_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidToken)
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The SHA-256 of a token: what is stored, and all that a thief of the database would have.
#[derive(Clone, Copy)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Wraps a stored digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `token` is the one that this was taken of; in constant time.
    pub fn is_of(&self, token: &Token) -> bool {
        self.0.ct_eq(&token.digest().0).into()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

/// Compares in constant time.
impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        let same: Choice = self.0.ct_eq(&other.0);
        same.into()
    }
}

impl Eq for TokenDigest {}

/// What the platform shows a push workspace, so that it knows who calls. Kept in clear, because it
/// must be sent; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct InboundSecret(String);

impl InboundSecret {
    /// Makes one of 256 random bits, as 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::Backend`] when the system has no randomness to give.
    pub fn generate() -> Result<Self, Error> {
        random_hex().map(Self)
    }

    /// Wraps a stored secret.
    pub fn restore(stored: String) -> Self {
        Self(stored)
    }

    /// The secret itself, for the request and the answer that carry it, and for the store.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InboundSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InboundSecret(…)")
    }
}

fn random_hex() -> Result<String, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|source| Error::Backend {
        store: StoreName("system randomness"),
        source: Box::new(source),
    })?;
    Ok(Sha256::from_bytes(bytes).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_digest_and_another_is_not() {
        let (mine, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert!(mine.digest().is_of(&mine));
        assert!(!mine.digest().is_of(&other));
        assert_eq!(mine.expose().len(), 64);
    }

    #[test]
    fn no_secret_is_ever_printed() {
        let token = Token::generate().unwrap();
        let secret = InboundSecret::generate().unwrap();
        let printed = format!("{token:?} {:?} {secret:?}", token.digest());
        assert_eq!(printed, "Token(…) TokenDigest(…) InboundSecret(…)");
    }

    #[test]
    fn what_no_header_could_carry_is_no_token() {
        for text in ["", " ", "a b", "a\n", "tökén", &"x".repeat(1025)] {
            assert!(text.parse::<Token>().is_err(), "{text:?}");
        }
    }
}
