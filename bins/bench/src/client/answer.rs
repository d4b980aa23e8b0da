//! The heads of answers, parsed as far as is needed to find their ends.

use crate::error::BenchError;

/// The most header fields that a server under measurement sends.
const MAX_FIELDS: usize = 32;

/// How the end of a body is found (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

/// Whether the connection goes on after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    Open,
    Closed,
}

/// What the head of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) afterwards: Afterwards,
    /// How many bytes the head is long.
    pub(crate) bytes: usize,
}

impl Head {
    /// Reads a head at the beginning of `bytes`; none while it is not whole.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, BenchError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut fields);
        let length = match parsed.parse(bytes).map_err(|_| BenchError::NoHttp)? {
            httparse::Status::Partial => return Ok(None),
            httparse::Status::Complete(length) => length,
        };
        let mut head = Self {
            status: parsed.code.ok_or(BenchError::NoHttp)?,
            framing: Framing::Length(0),
            afterwards: Afterwards::Open,
            bytes: length,
        };
        for field in &*parsed.headers {
            head.heed(field.name, field.value)?;
        }
        Ok(Some(head))
    }

    fn heed(&mut self, name: &str, value: &[u8]) -> Result<(), BenchError> {
        if name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(value).map_err(|_| BenchError::NoHttp)?;
            let length = text.trim().parse().map_err(|_| BenchError::NoHttp)?;
            self.framing = Framing::Length(length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case(b"close") {
            self.afterwards = Afterwards::Closed;
        }
        Ok(())
    }
}
