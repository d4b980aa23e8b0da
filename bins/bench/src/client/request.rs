//! Requests that are put together once and sent often.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use server_harness::Random;

/// What files are made of, over and over: random bytes, which nobody can compress.
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random::from_seed(1);
    (0..CONTENT_BYTES / 8)
        .flat_map(|_| random.any().to_le_bytes())
        .collect()
});
const CONTENT_BYTES: usize = 1 << 20;
const BOUNDARY: &str = "----bench-7d31f0a94c5e";

/// The piece of a file's content that begins at `offset`, as long as it is at hand.
pub(crate) fn content_at(offset: u64, left: u64) -> &'static [u8] {
    let from = usize::try_from(offset % CONTENT_BYTES as u64).unwrap_or_default();
    let piece = &CONTENT[from..];
    match usize::try_from(left) {
        Ok(left) if left < piece.len() => &piece[..left],
        _ => piece,
    }
}

/// A multipart form of files of one size.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) files: u64,
    pub(crate) file_bytes: u64,
    opening: Vec<u8>,
    between: Vec<u8>,
    closing: Vec<u8>,
}

/// A stretch of a body: bytes of the form itself, or so many bytes of content.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stretch<'a> {
    Framing(&'a [u8]),
    Content(u64),
}

impl Form {
    /// So many files of that size, each in a part named `files`.
    pub(crate) fn new(files: u64, file_bytes: u64) -> Self {
        let part = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; \
             filename=\"report.pdf\"\r\nContent-Type: application/pdf\r\n\r\n"
        );
        Self {
            files,
            file_bytes,
            between: format!("\r\n{part}").into_bytes(),
            opening: part.into_bytes(),
            closing: format!("\r\n--{BOUNDARY}--\r\n").into_bytes(),
        }
    }

    /// How many bytes of content are in it.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.files * self.file_bytes
    }

    /// Its body, piece by piece.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = Stretch<'_>> {
        let files = (0..self.files).flat_map(|index| {
            let framing = if index == 0 {
                &self.opening
            } else {
                &self.between
            };
            [Stretch::Framing(framing), Stretch::Content(self.file_bytes)]
        });
        files.chain([Stretch::Framing(&self.closing)])
    }

    fn body_bytes(&self) -> u64 {
        let lengths = self.stretches().map(|stretch| match stretch {
            Stretch::Framing(bytes) => bytes.len() as u64,
            Stretch::Content(bytes) => bytes,
        });
        lengths.sum()
    }
}

/// A request: its head, as it goes over the wire, and its body.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) head: Vec<u8>,
    pub(crate) form: Option<Arc<Form>>,
}

impl Request {
    /// `GET path`, with a bearer token if there is one.
    pub(crate) fn get(path: &str, token: Option<&str>) -> Self {
        Self {
            head: head("GET", path, token, "").into_bytes(),
            form: None,
        }
    }

    /// `POST path` with a short body of JSON, which may be empty.
    pub(crate) fn post(path: &str, token: Option<&str>, json: &str) -> Self {
        let about = if json.is_empty() {
            "Content-Length: 0\r\n".to_owned()
        } else {
            format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                json.len()
            )
        };
        Self {
            head: (head("POST", path, token, &about) + json).into_bytes(),
            form: None,
        }
    }

    /// `POST path` with a form of files.
    pub(crate) fn upload(path: &str, token: Option<&str>, form: Arc<Form>) -> Self {
        let about = format!(
            "Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n",
            form.body_bytes()
        );
        Self {
            head: head("POST", path, token, &about).into_bytes(),
            form: Some(form),
        }
    }

    /// The method and the path, for whoever is told of a failure.
    pub(crate) fn title(&self) -> String {
        let end = self.head.windows(9).position(|at| at == b" HTTP/1.1");
        String::from_utf8_lossy(&self.head[..end.unwrap_or_default()]).into_owned()
    }
}

fn head(method: &str, path: &str, token: Option<&str>, about: &str) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{about}");
    if let Some(token) = token {
        // Writing to a string cannot fail.
        let _written = write!(head, "Authorization: Bearer {token}\r\n");
    }
    head + "\r\n"
}
