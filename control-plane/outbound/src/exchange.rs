//! One attempt: a connection, a request, an answer. Nothing of it is kept, and no more of the answer is read than was asked for.

use super::Target;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// An answer's head beyond this is no answer.
const ANSWER_HEAD_BYTES_MAX: usize = 65_536;

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    /// Empty: it names none, or one that is no text.
    pub content_type: String,
    pub body: Bytes,
}

#[derive(Debug, Error)]
pub enum SendError {
    #[error("it cannot be reached")]
    Unreachable(#[source] io::Error),
    #[error("its TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("it gave no answer in HTTP/1.1")]
    Http(#[source] hyper::Error),
    #[error("its answer was cut short")]
    Cut(#[source] hyper::Error),
    #[error("its answer has more than {max} bytes")]
    Large { max: usize },
    #[error("the request cannot be written")]
    Request(#[source] hyper::http::Error),
}

/// What of the body is wanted.
#[derive(Clone, Copy)]
enum Wanted {
    Nothing,
    AtMost(usize),
}

/// What it answers, and never its words.
///
/// # Errors
/// When it gives no answer.
pub async fn status(target: &Target, request: Request<String>) -> Result<StatusCode, SendError> {
    Ok(ask(target, request, Wanted::Nothing).await?.status)
}

/// The whole answer, which has at most so many bytes.
///
/// # Errors
/// When it gives none, a longer one, or half of one.
pub async fn answer(target: &Target, request: Request<String>, body_bytes_max: usize) -> Result<Answer, SendError> {
    ask(target, request, Wanted::AtMost(body_bytes_max)).await
}

async fn ask(target: &Target, request: Request<String>, wanted: Wanted) -> Result<Answer, SendError> {
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(SendError::Unreachable)?;
    match &target.tls {
        None => exchange(stream, request, wanted).await,
        Some((connector, name)) => {
            let stream = connector.connect(name.clone(), stream).await.map_err(SendError::Tls)?;
            exchange(stream, request, wanted).await
        }
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<String>,
    wanted: Wanted,
) -> Result<Answer, SendError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(ANSWER_HEAD_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(SendError::Http)?;
    let mut answering = pin!(async {
        let response = sender.send_request(request).await.map_err(SendError::Http)?;
        read(response, wanted).await
    });
    tokio::select! {
        biased;
        answered = answering.as_mut() => answered,
        // A connection may end together with its answer.
        _ = connection => answering.await,
    }
}

async fn read(response: Response<Incoming>, wanted: Wanted) -> Result<Answer, SendError> {
    let (head, mut incoming) = response.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut body = Vec::new();
    if let Wanted::AtMost(max) = wanted {
        while let Some(frame) = poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await {
            let Ok(bytes) = frame.map_err(SendError::Cut)?.into_data() else { continue };
            if bytes.len() > max.saturating_sub(body.len()) {
                return Err(SendError::Large { max });
            }
            body.extend_from_slice(&bytes);
        }
    }
    Ok(Answer { status: head.status, content_type, body: body.into() })
}
