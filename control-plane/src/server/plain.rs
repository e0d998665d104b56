//! The plain listeners: `/metrics`, `/healthz` (the process lives) and `/readyz` (calls can be decided) on one, the
//! transparency log's files on the other. They ask nobody who they are, so there are few connections at once, each is
//! answered once, in HTTP/1, and each is cut after a short time, whatever it is doing.

use super::{Place, accept, left};
use crate::clock::Clock;
use crate::config::Limits;
use crate::status::Status;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// What one plain listener serves, and to how many.
#[derive(Debug)]
pub struct Site {
    name: &'static str,
    router: Router,
    connections_max: usize,
    visit_max: Duration,
}

/// One connection, for as long as it may take.
struct Visit {
    name: &'static str,
    stream: TcpStream,
    /// None: it is over.
    time: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _place: Place,
}

/// Serves until this replica leaves.
pub async fn plain(listener: TcpListener, site: Site, clock: Clock, leaving: watch::Receiver<bool>) {
    let Site { name, router, connections_max, visit_max } = site;
    let places = Arc::new(Semaphore::new(connections_max));
    let mut visits = JoinSet::new();
    let accepting = async {
        // The semaphore is never closed: it lives as long as this.
        while let Ok(permit) = Arc::clone(&places).acquire_owned().await {
            let (stream, _) = accept(&listener, name, &clock).await;
            let visit = Visit::begin(name, stream, &clock, visit_max, Place::take(name, permit));
            while visits.try_join_next().is_some() {}
            visits.spawn(answer(visit, router.clone(), leaving.clone()));
        }
    };
    tokio::select! {
        () = accepting => {}
        () = left(leaving.clone()) => {}
    }
    drop(listener);
    while visits.join_next().await.is_some() {}
}

/// Answers one request, the only one of its connection. Who has sent nothing yet when this replica leaves is not waited for.
async fn answer(visit: Visit, router: Router, leaving: watch::Receiver<bool>) {
    let (service, name) = (TowerToHyperService::new(router), visit.name);
    let mut answering = pin!(http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(visit), service));
    let answered = tokio::select! {
        answered = answering.as_mut() => answered,
        () = left(leaving) => {
            answering.as_mut().graceful_shutdown();
            answering.await
        }
    };
    // Unreadable, gone or cut: nobody is left to be told.
    let _ = answered.inspect_err(|error| tracing::debug!(%error, listener = name, "a connection ended early"));
}

// === impl Site ===

impl Site {
    /// How this replica is, and what `beside` serves.
    #[must_use]
    pub fn metrics(status: Arc<Status>, beside: Router, limits: &Limits, leaving: watch::Receiver<bool>) -> Self {
        let ready = move || {
            let unready = if *leaving.borrow() { Some("this replica leaves".to_owned()) } else { status.unready() };
            std::future::ready(match unready {
                None => (StatusCode::OK, "ready\n".to_owned()),
                Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            })
        };
        let router = Router::new()
            .route("/metrics", get(|| std::future::ready(crate::telemetry::metrics().render())))
            .route("/healthz", get(|| std::future::ready("alive\n")))
            .route("/readyz", get(ready))
            .merge(beside);
        let visit_max = Duration::from_millis(limits.metrics_connection_ms_max.into());
        Self { name: "metrics", router, connections_max: limits.metrics_connections_max as usize, visit_max }
    }

    /// The transparency log's files.
    #[must_use]
    pub fn log(router: Router, limits: &Limits) -> Self {
        let visit_max = Duration::from_millis(limits.log_connection_ms_max.into());
        Self { name: "log", router, connections_max: limits.log_connections_max as usize, visit_max }
    }
}

// === impl Visit ===

impl Visit {
    fn begin(name: &'static str, stream: TcpStream, clock: &Clock, max: Duration, place: Place) -> Self {
        let (clock, deadline) = (clock.clone(), clock.elapsed() + max);
        let time = Some(Box::pin(async move { clock.sleep_until(deadline).await }) as _);
        Self { name, stream, time, _place: place }
    }

    /// The stream while there is time, and whoever waits is woken when there is none left.
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        if self.time.as_mut().is_some_and(|time| time.as_mut().poll(context).is_ready()) {
            metrics::counter!("agentgate_connections_cut_total", "listener" => self.name).increment(1);
            tracing::debug!(listener = self.name, "a connection took too long");
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
