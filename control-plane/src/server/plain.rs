//! The plain listener: `/metrics`, `/healthz` (the process lives) and `/readyz` (calls can be decided). It asks nobody who
//! they are, so there are few connections at once, and each is cut after a short time, whatever it is doing.

use super::{Place, accept, left};
use crate::clock::Clock;
use crate::config::Limits;
use crate::status::Status;
use axum::Router;
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

const NAME: &str = "metrics";

#[derive(Debug)]
struct Plain {
    listener: TcpListener,
    clock: Clock,
    places: Arc<Semaphore>,
    visit_max: Duration,
}

/// One connection, for as long as it may take.
struct Visit {
    stream: TcpStream,
    /// None: it is over.
    time: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _place: Place,
}

/// Serves until this replica leaves.
///
/// # Errors
/// When the listener fails.
pub async fn plain(
    listener: TcpListener,
    status: Arc<Status>,
    limits: &Limits,
    clock: Clock,
    leaving: watch::Receiver<bool>,
) -> io::Result<()> {
    let also_leaving = leaving.clone();
    let ready = move || {
        let unready = if *also_leaving.borrow() { Some("this replica leaves".to_owned()) } else { status.unready() };
        std::future::ready(match unready {
            None => (StatusCode::OK, "ready\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        })
    };
    let router = Router::new()
        .route("/metrics", get(|| std::future::ready(crate::telemetry::metrics().render())))
        .route("/healthz", get(|| std::future::ready("alive\n")))
        .route("/readyz", get(ready))
        .layer(from_fn(one_request));
    let places = Arc::new(Semaphore::new(limits.metrics_connections_max as usize));
    let visit_max = Duration::from_millis(limits.metrics_connection_ms_max.into());
    axum::serve(Plain { listener, clock, places, visit_max }, router).with_graceful_shutdown(left(leaving)).await
}

/// Told to whoever would send the next request on a connection that is about to be cut.
async fn one_request(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

// === impl Plain ===

impl Listener for Plain {
    type Io = Visit;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit, SocketAddr) {
        // The semaphore is never closed: it lives as long as `self`.
        let Ok(permit) = Arc::clone(&self.places).acquire_owned().await else { return std::future::pending().await };
        let (stream, address) = accept(&self.listener, NAME, &self.clock).await;
        let (clock, deadline) = (self.clock.clone(), self.clock.elapsed() + self.visit_max);
        let time = Some(Box::pin(async move { clock.sleep_until(deadline).await }) as _);
        (Visit { stream, time, _place: Place::take(NAME, permit) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

// === impl Visit ===

impl Visit {
    /// The stream while there is time, and whoever waits is woken when there is none left.
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        if self.time.as_mut().is_some_and(|time| time.as_mut().poll(context).is_ready()) {
            metrics::counter!("agentgate_connections_cut_total", "listener" => NAME).increment(1);
            tracing::debug!(listener = NAME, "a connection took too long");
            self.time = None;
        }
        match self.time {
            Some(_) => Ok(Pin::new(&mut self.stream)),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl AsyncRead for Visit {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Visit {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(context)?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
