//! HTTP's own limit: a body is read and dropped, and as many bytes come back from memory.

use std::convert::Infallible;

use actix_web::body::SizedStream;
use actix_web::error::ErrorBadRequest;
use actix_web::web::{self, Data, Path, Payload, ServiceConfig};
use actix_web::{HttpResponse, Result};
use futures_util::{StreamExt, stream};
use uuid::Uuid;

use super::answers;
use crate::floors::Content;

/// How much is handed to the socket at once.
const PIECE_BYTES: usize = 64 * 1024;
/// The version of a UUID whose bits mean what we want (RFC 9562, section 5.8), and its variant.
const VERSION: u64 = 0x8000;
const VARIANT: u64 = 1 << 63;

pub(super) fn mount(config: &mut ServiceConfig, content: Content) {
    config
        .app_data(Data::new(content))
        .route(answers::UPLOADS, web::post().to(upload))
        .route(answers::CONTENT, web::get().to(fetch))
        .route(answers::ACK, web::post().to(ack))
        .route(answers::ACTIVITY, web::get().to(answers::nothing_new));
}

async fn upload(workspace: Path<Uuid>, mut body: Payload) -> Result<HttpResponse> {
    let (mut length, mut framing) = (0, None);
    while let Some(piece) = body.next().await {
        let piece = piece?;
        length += piece.len() as u64;
        framing = framing.or_else(|| framing_of(&piece));
    }
    let framing = framing.ok_or_else(|| ErrorBadRequest("the first piece has no part's head"))?;
    let size = length.saturating_sub(framing);
    let file = answers::file(*workspace, id_of(size), "dropped", size);
    Ok(answers::uploaded(&[file]))
}

/// How much of a multipart body with one part is not the part's content, told from its beginning:
/// the first delimiter and the head, and the last delimiter. Of a body with several parts, all but
/// that counts as the content of one.
fn framing_of(beginning: &[u8]) -> Option<u64> {
    let find = |what: &[u8]| beginning.windows(what.len()).position(|at| at == what);
    let (delimiter, head) = (find(b"\r\n")?, find(b"\r\n\r\n")? + 4);
    Some((head + 2 + delimiter + 4) as u64)
}

/// An id that says how long the file is.
fn id_of(size: u64) -> Uuid {
    Uuid::from_u64_pair(VERSION, VARIANT | size)
}

fn size_of(id: Uuid) -> u64 {
    id.as_u64_pair().1 & !VARIANT
}

async fn fetch(path: Path<(Uuid, Uuid)>, content: Data<Content>) -> HttpResponse {
    let size = size_of(path.1);
    let mut left = size;
    let pieces = std::iter::from_fn(move || {
        let piece = content.pieces(left, PIECE_BYTES).next()?;
        left -= piece.len() as u64;
        Some(Ok::<_, Infallible>(piece))
    });
    HttpResponse::Ok().body(SizedStream::new(size, stream::iter(pieces)))
}

async fn ack() -> HttpResponse {
    answers::acked()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framing_of_a_part_is_all_that_is_not_its_content() {
        let content = "0123456789";
        let body = format!("--x\r\ncontent-disposition: form-data\r\n\r\n{content}\r\n--x--\r\n");
        let framing = framing_of(body.as_bytes()).unwrap();
        assert_eq!(body.len() as u64 - framing, 10);
        assert_eq!(framing_of(b"--x\r\ncut"), None);
    }

    #[test]
    fn an_id_says_how_long_the_file_is() {
        for size in [0, 1_000, 1 << 40] {
            assert_eq!(size_of(id_of(size)), size);
            assert_eq!(id_of(size).get_version_num(), 8);
        }
    }
}
