//! Streams: counts the rpcs that are open, from the first byte of a request to the last of its answer. It changes nothing.

use crate::telemetry::Counted;
use axum::body::{Bytes, HttpBody};
use axum::http::{Request, Response};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Counts the streams of one listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams(pub(super) &'static str);

/// A service whose streams are counted.
#[derive(Clone, Debug)]
pub(super) struct Counting<S> {
    inner: S,
    listener: &'static str,
}

/// The body of an answer, which ends its stream.
#[derive(Debug)]
pub(super) struct Answer<B> {
    body: B,
    _stream: Counted,
}

// === impl Streams ===

impl<S> Layer<S> for Streams {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, listener: self.0 }
    }
}

// === impl Counting ===

impl<S, Q, B> Service<Request<Q>> for Counting<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let stream = Counted::by(metrics::gauge!("agentgate_streams", "listener" => self.listener));
        let answering = self.inner.call(request);
        Box::pin(async move { answering.await.map(|response| response.map(|body| Answer { body, _stream: stream })) })
    }
}

// === impl Answer ===

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
