//! Multipart bodies, written by hand so that they can also be wrong.

use std::fmt::Write;

const BOUNDARY: &str = "----a-boundary-of-the-tests";

/// A part of a form.
#[derive(Debug, Clone)]
pub struct Part {
    headers: String,
    data: Vec<u8>,
}

impl Part {
    /// A file in a part named `files`.
    pub fn file(name: &str, data: impl Into<Vec<u8>>) -> Self {
        Self::named("files", name, data)
    }

    /// A file in a part of another name.
    pub fn named(field: &str, name: &str, data: impl Into<Vec<u8>>) -> Self {
        Self {
            headers: format!(
                "Content-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n"
            ),
            data: data.into(),
        }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        write!(self.headers, "{name}: {value}\r\n").unwrap();
        self
    }
}

/// A body of `multipart/form-data` (RFC 7578).
#[derive(Debug, Clone, Default)]
pub struct Form {
    parts: Vec<Part>,
}

impl Form {
    /// One file.
    pub fn of_file(name: &str, data: impl Into<Vec<u8>>) -> Self {
        Self::of([Part::file(name, data)])
    }

    /// These parts, in their order.
    pub fn of(parts: impl IntoIterator<Item = Part>) -> Self {
        Self {
            parts: parts.into_iter().collect(),
        }
    }

    /// The value of the request's `Content-Type`.
    pub fn content_type() -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    /// The body.
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for part in &self.parts {
            body.extend_from_slice(format!("--{BOUNDARY}\r\n{}\r\n", part.headers).as_bytes());
            body.extend_from_slice(&part.data);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        body
    }

    /// The body without its last `missing` bytes.
    pub fn truncated_body(&self, missing: usize) -> Vec<u8> {
        let mut body = self.body();
        body.truncate(body.len() - missing);
        body
    }
}
