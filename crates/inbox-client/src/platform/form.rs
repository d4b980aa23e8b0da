//! The form of an upload (RFC 7578), which is sent as its files are read.

use std::fmt;
use std::io;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use pending_uploads_core::Mimetype;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

/// How much of a file is read at once, and sent at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;
const LINE_END: &str = "\r\n";

/// The pieces of a form, in order.
pub(super) type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// A file that is to be sent. Its bytes are read as they are sent, once.
pub struct UploadFile {
    name: String,
    mimetype: Mimetype,
    length: Option<u64>,
    bytes: Pieces,
}

impl UploadFile {
    /// A file whose bytes come from `reader`. `length` is how many they are, if that is known before;
    /// then fewer or more are an error.
    pub fn from_reader(
        name: impl Into<String>,
        mimetype: Mimetype,
        length: Option<u64>,
        reader: impl AsyncRead + Send + 'static,
    ) -> Self {
        let bytes = ReaderStream::with_capacity(reader, PIECE_BYTES);
        Self::from_stream(name, mimetype, length, bytes)
    }

    /// A file whose bytes come from `bytes`. `length` is how many they are, if that is known before;
    /// then fewer or more are an error.
    pub fn from_stream(
        name: impl Into<String>,
        mimetype: Mimetype,
        length: Option<u64>,
        bytes: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            mimetype,
            length,
            bytes: bytes.map_ok(cut).try_flatten().boxed(),
        }
    }

    /// The lines before the file's bytes, with the boundary before them.
    fn head(&self, boundary: &str) -> String {
        let mut name = String::new();
        self.name.chars().for_each(|c| quote(&mut name, c));
        let kind = if self.mimetype == Mimetype::absent() {
            String::new()
        } else {
            format!("Content-Type: {}\r\n", self.mimetype)
        };
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"files\"; \
             filename=\"{name}\"\r\n{kind}\r\n"
        )
    }
}

/// Shows what is known of the file, and none of its bytes.
impl fmt::Debug for UploadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadFile")
            .field("name", &self.name)
            .field("mimetype", &self.mimetype)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// A character as it stands in a quoted name: as browsers write it (WHATWG HTML, multipart/form-data
/// encoding algorithm), but for a backslash, which would otherwise hide what follows it from those who
/// read a quoted-string (RFC 9110, section 5.6.4). The other control characters, which no header may
/// hold and the platform would drop as well, are left out.
fn quote(quoted: &mut String, c: char) {
    match c {
        '"' => quoted.push_str("%22"),
        '\r' => quoted.push_str("%0D"),
        '\n' => quoted.push_str("%0A"),
        '\\' => quoted.push_str(r"\\"),
        c if c.is_control() => {}
        c => quoted.push(c),
    }
}

/// Cuts what was read at once into pieces that a slow network takes one of in good time.
fn cut(mut read: Bytes) -> impl Stream<Item = io::Result<Bytes>> {
    stream::iter(std::iter::from_fn(move || {
        let piece = read.split_to(read.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some(Ok(piece))
    }))
}

/// A form of files.
pub(super) struct Form {
    boundary: String,
    files: Vec<UploadFile>,
}

impl Form {
    pub(super) fn of(files: Vec<UploadFile>) -> Self {
        let boundary = Uuid::new_v4().simple().to_string();
        Self { boundary, files }
    }

    /// How many files it holds.
    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// How many bytes it is, when that is known of each file.
    pub(super) fn length(&self) -> Option<u64> {
        let end = bytes_of(&self.end())?;
        self.files.iter().try_fold(end, |sum, file| {
            let framing = bytes_of(&file.head(&self.boundary))?.checked_add(bytes_of(LINE_END)?)?;
            sum.checked_add(framing)?.checked_add(file.length?)
        })
    }

    /// The form's bytes.
    pub(super) fn into_pieces(self) -> Pieces {
        let end = self.end();
        let files = stream::iter(self.files).flat_map(move |file| {
            let head = file.head(&self.boundary);
            let bytes = exactly(file.length, file.bytes);
            text(head).chain(bytes).chain(text(LINE_END.to_owned()))
        });
        files.chain(text(end)).boxed()
    }

    fn end(&self) -> String {
        format!("--{}--\r\n", self.boundary)
    }
}

fn bytes_of(text: &str) -> Option<u64> {
    u64::try_from(text.len()).ok()
}

fn text(text: String) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::iter([Ok(Bytes::from(text))])
}

/// Passes `bytes` on, and fails when they are not as many as was said.
fn exactly(length: Option<u64>, bytes: Pieces) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let Some(length) = length else {
        return bytes;
    };
    stream::try_unfold((bytes, length), |(mut bytes, left)| async move {
        match bytes.try_next().await? {
            None if left == 0 => Ok(None),
            None => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file is shorter than was said",
            )),
            Some(piece) => {
                let taken = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                let left = left.checked_sub(taken).ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the file is longer than was said",
                    )
                })?;
                Ok(Some((piece, (bytes, left))))
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, length: Option<u64>, bytes: &'static [u8]) -> UploadFile {
        UploadFile::from_reader(name, Mimetype::parse("text/plain"), length, bytes)
    }

    async fn whole(form: Form) -> io::Result<Vec<u8>> {
        let pieces: Vec<Bytes> = form.into_pieces().try_collect().await?;
        Ok(pieces.concat())
    }

    #[tokio::test]
    async fn a_form_is_as_long_as_it_says() {
        let form = Form::of(vec![
            file("a.txt", Some(3), b"abc"),
            file("中 \"x\"\r\n\\.txt", Some(0), b""),
        ]);
        let length = form.length();
        let written = whole(form).await.unwrap();
        assert_eq!(length, bytes_of(&String::from_utf8(written).unwrap()));
    }

    #[tokio::test]
    async fn a_form_is_written_as_browsers_write_it() {
        let mut form = Form::of(vec![file("中 \"b\"\r\n\t\\c\\.txt", None, b"abc")]);
        form.boundary = "xyz".to_owned();
        assert_eq!(form.length(), None);
        let written = whole(form).await.unwrap();
        assert_eq!(
            String::from_utf8(written).unwrap(),
            "--xyz\r\nContent-Disposition: form-data; name=\"files\"; \
             filename=\"中 %22b%22%0D%0A\\\\c\\\\.txt\"\r\nContent-Type: text/plain\r\n\r\nabc\r\n\
             --xyz--\r\n"
        );
    }

    #[tokio::test]
    async fn a_file_that_is_not_as_long_as_was_said_is_an_error() {
        for (length, kind) in [
            (2, io::ErrorKind::InvalidData),
            (4, io::ErrorKind::UnexpectedEof),
        ] {
            let form = Form::of(vec![file("a", Some(length), b"abc")]);
            assert_eq!(whole(form).await.unwrap_err().kind(), kind);
        }
    }

    #[tokio::test]
    async fn a_large_piece_is_cut() {
        let large = Bytes::from(vec![7; 3 * PIECE_BYTES + 1]);
        let bytes = stream::iter([Ok(large.clone())]);
        let file = UploadFile::from_stream("a", Mimetype::absent(), None, bytes);
        let pieces: Vec<Bytes> = file.bytes.try_collect().await.unwrap();
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces.concat(), large);
    }
}
