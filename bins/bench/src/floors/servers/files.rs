//! A plain file server: parts into files as they arrive, no fsync, and files out again.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use actix_files::NamedFile;
use actix_multipart::{Field, Multipart};
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Result};
use futures_util::TryStreamExt;
use serde_json::Value;
use uuid::Uuid;

use super::answers;

/// Where the files are.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn file(&self, id: Uuid) -> PathBuf {
        self.0.join(id.to_string())
    }
}

pub(super) fn mount(config: &mut ServiceConfig, folder: PathBuf) {
    config
        .app_data(Data::new(Folder(folder)))
        .route(answers::UPLOADS, web::post().to(upload))
        .route(answers::CONTENT, web::get().to(fetch))
        .route(answers::ACK, web::post().to(ack))
        .route(answers::ACTIVITY, web::get().to(answers::nothing_new));
}

async fn upload(
    workspace: Path<Uuid>,
    folder: Data<Folder>,
    mut parts: Multipart,
) -> Result<HttpResponse> {
    let mut files = Vec::new();
    while let Some(part) = parts.try_next().await? {
        files.push(store(*workspace, &folder, part).await?);
    }
    Ok(answers::uploaded(&files))
}

/// On the worker's own thread: writing into the system's cache takes less than handing it on.
async fn store(workspace: Uuid, folder: &Folder, mut part: Field) -> Result<Value> {
    let id = Uuid::now_v7();
    let mut file = File::create_new(folder.file(id))?;
    let mut size = 0;
    while let Some(piece) = part.try_next().await? {
        file.write_all(&piece)?;
        size += piece.len() as u64;
    }
    let name = part
        .content_disposition()
        .and_then(|named| named.get_filename());
    Ok(answers::file(workspace, id, name.unwrap_or_default(), size))
}

async fn fetch(
    path: Path<(Uuid, Uuid)>,
    folder: Data<Folder>,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let file = NamedFile::open(folder.file(path.1))?;
    Ok(file.into_response(&request))
}

/// What was taken is deleted.
async fn ack(path: Path<(Uuid, Uuid)>, folder: Data<Folder>) -> Result<HttpResponse> {
    fs::remove_file(folder.file(path.1))?;
    Ok(answers::acked())
}
