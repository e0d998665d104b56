//! The log as files over plain HTTP (C2SP tlog-tiles): `/checkpoint`, `/checkpoint/witnessed`, `/tile/…`, `/tile/entries/…`. Whoever can reach the
//! listener may read them: they name nobody and quote nothing.

use super::Transparency;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

const NOTE: [(HeaderName, HeaderValue); 2] = [
    (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
    (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// Tiles never change: a full one, and a partial one of this width as well.
const TILE: [(HeaderName, HeaderValue); 2] = [
    (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
    (CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
];

pub fn router(log: Arc<Transparency>) -> Router {
    Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/checkpoint/witnessed", get(witnessed))
        .route("/tile/{*path}", get(tile))
        .with_state(log)
}

async fn checkpoint(State(log): State<Arc<Transparency>>) -> Response {
    match log.file("checkpoint") {
        Some(note) => (NOTE, note).into_response(),
        None => (StatusCode::NOT_FOUND, "nothing is signed as yet\n").into_response(),
    }
}

async fn witnessed(State(log): State<Arc<Transparency>>) -> Response {
    match log.file("checkpoint/witnessed") {
        Some(note) => (NOTE, note).into_response(),
        None => (StatusCode::NOT_FOUND, "no witness cosigned anything as yet\n").into_response(),
    }
}

async fn tile(State(log): State<Arc<Transparency>>, Path(path): Path<String>) -> Response {
    let read = tokio::task::spawn_blocking(move || log.file(&format!("tile/{path}"))).await;
    match read {
        Ok(Some(bytes)) => (TILE, bytes).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, "the log has no such file as yet\n").into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "reading it failed\n").into_response(),
    }
}
