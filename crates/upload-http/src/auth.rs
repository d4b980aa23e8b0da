//! Who calls, and which workspace is his: the bearer extractors (RFC 6750, section 2.1).

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::{FromRequest, HttpRequest, web};
use pending_uploads_core::{FileId, Opened, PendingUpload, Storage, Token, Workspace, WorkspaceId};

use crate::error::{ApiError, Cause};
use crate::platform::Platform;

/// A caller who may act for the workspace in the path: it itself, or the admin.
///
/// An id in the path that is no UUID is refused before the token is looked at; after that, whoever
/// has no token that fits gets one and the same answer, be the workspace there or not.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The workspace, as it is registered now.
    pub(crate) workspace: Workspace,
}

/// A [`Caller`] who asks for one of the workspace's files, which may not exist.
#[derive(Debug)]
pub(crate) struct FileCaller {
    /// The workspace, as it is registered now.
    pub(crate) workspace: WorkspaceId,
    /// The file in the path.
    pub(crate) file: FileId,
}

impl FileCaller {
    /// Looks the caller's file up. The row itself is asked again whose it is: a store that answered
    /// another workspace's file would not be believed.
    ///
    /// # Errors
    /// [`ApiError::FileNotFound`], and those of [`Storage::get`].
    pub(crate) async fn find(&self, storage: &dyn Storage) -> Result<PendingUpload, ApiError> {
        let upload = storage.get(self.workspace, self.file).await?;
        self.check(&upload)?;
        Ok(upload)
    }

    /// As [`find`](Self::find), and with the bytes of a small file that waits, if they came along.
    ///
    /// # Errors
    /// [`ApiError::FileNotFound`], and those of [`Storage::open`].
    pub(crate) async fn open(&self, storage: &dyn Storage) -> Result<Opened, ApiError> {
        let opened = storage.open(self.workspace, self.file).await?;
        self.check(&opened.upload)?;
        Ok(opened)
    }

    /// Refuses a record that is not the caller's, or is of another file.
    ///
    /// # Errors
    /// [`ApiError::FileNotFound`].
    pub(crate) fn check(&self, upload: &PendingUpload) -> Result<(), ApiError> {
        if upload.workspace_id == self.workspace && upload.file_id == self.file {
            Ok(())
        } else {
            Err(ApiError::FileNotFound)
        }
    }
}

/// The future of an extractor; it borrows nothing.
type Extraction<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            authorize(&request)
                .await
                .map(|workspace| Self { workspace })
        })
    }
}

impl FromRequest for FileCaller {
    type Error = ApiError;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            path_id::<WorkspaceId>(&request, WORKSPACE_ID)?;
            let file = path_id(&request, FILE_ID)?;
            let workspace = authorize(&request).await?.id;
            Ok(Self { workspace, file })
        })
    }
}

/// An id in the path: the name of its segment, and what it is called in an error.
#[derive(Debug, Clone, Copy)]
struct Segment {
    name: &'static str,
    what: &'static str,
}

const WORKSPACE_ID: Segment = Segment {
    name: "workspace_id",
    what: "workspace id",
};

const FILE_ID: Segment = Segment {
    name: "file_id",
    what: "file id",
};

fn path_id<T: FromStr>(request: &HttpRequest, segment: Segment) -> Result<T, ApiError> {
    let Segment { name, what } = segment;
    let text = request.match_info().get(name).unwrap_or_default();
    text.parse().map_err(|_| ApiError::InvalidId { what })
}

async fn authorize(request: &HttpRequest) -> Result<Workspace, ApiError> {
    let id = path_id(request, WORKSPACE_ID)?;
    authorize_for(platform(request)?, id, request.headers()).await
}

/// The workspace `id`, when the bearer token in `headers` opens it.
pub(crate) async fn authorize_for(
    platform: &Platform,
    id: WorkspaceId,
    headers: &HeaderMap,
) -> Result<Workspace, ApiError> {
    let token = bearer_in(headers).ok_or(ApiError::Unauthorized)?;
    if platform.is_admin(&token) {
        return Ok(platform.workspaces().get(id).await?);
    }
    let workspace = platform.workspaces().authenticate(id, &token).await?;
    workspace.ok_or(ApiError::Unauthorized)
}

/// The platform that [`configure`](crate::configure) put into the app.
pub(crate) fn platform(request: &HttpRequest) -> Result<&Platform, ApiError> {
    request
        .app_data::<web::Data<Platform>>()
        .map(web::Data::get_ref)
        .ok_or_else(|| ApiError::Internal(Cause::new("the app holds no platform")))
}

/// The request's bearer token, if it has exactly one that could be a token at all.
pub(crate) fn bearer(request: &HttpRequest) -> Option<Token> {
    bearer_in(request.headers())
}

fn bearer_in(headers: &HeaderMap) -> Option<Token> {
    let mut credentials = headers.get_all(AUTHORIZATION);
    let (Some(value), None) = (credentials.next(), credentials.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        token.parse().ok()
    } else {
        None
    }
}
