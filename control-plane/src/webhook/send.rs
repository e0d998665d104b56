//! One attempt: a connection, a signed POST, a status. Nothing of it is kept: it follows no redirect, asks no proxy, and an
//! answer's body is never read.

use super::message::Message;
use super::target::Target;
use agentgate_core::time::Time;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::pin;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// An answer's head beyond this is no answer.
const ANSWER_HEAD_BYTES_MAX: usize = 65_536;

#[derive(Debug, Error)]
pub(super) enum SendError {
    #[error("it cannot be reached")]
    Unreachable(#[source] io::Error),
    #[error("its TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("it gave no answer in HTTP/1.1")]
    Http(#[source] hyper::Error),
    #[error("the request cannot be written")]
    Request(#[source] hyper::http::Error),
}

/// The message as it is sent at `at`, signed over its own bytes.
pub(super) fn request(target: &Target, message: &Message, at: Time) -> Result<Request<String>, SendError> {
    let timestamp = at.micros() / 1_000_000;
    Request::post(target.path())
        .header(HOST, target.authority())
        .header(USER_AGENT, concat!("agentgate/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", &message.id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", target.secret().sign(&message.id, timestamp, &message.body))
        .body(message.body.clone())
        .map_err(SendError::Request)
}

pub(super) async fn post(target: &Target, request: Request<String>) -> Result<StatusCode, SendError> {
    let stream = TcpStream::connect((target.host(), target.port())).await.map_err(SendError::Unreachable)?;
    match target.tls() {
        None => exchange(stream, request).await,
        Some((connector, name)) => {
            let stream = connector.connect(name.clone(), stream).await.map_err(SendError::Tls)?;
            exchange(stream, request).await
        }
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: S, request: Request<String>) -> Result<StatusCode, SendError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(ANSWER_HEAD_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(SendError::Http)?;
    let mut answer = pin!(sender.send_request(request));
    let answered = tokio::select! {
        biased;
        answered = answer.as_mut() => answered,
        // A connection may end together with its answer.
        _ = connection => answer.await,
    };
    Ok(answered.map_err(SendError::Http)?.status())
}
