//! `POST /workspaces/{id}/chat/uploads`.
