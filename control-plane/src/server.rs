//! The three listeners: filters and operators over mutual TLS, and beside them a plain one. Connections, handshakes, streams
//! and messages are bounded; a listener serves nobody whom its gate in `identity/rpc.rs` does not know.

mod plain;
mod streams;

use crate::approval::rpc::ApprovalsRpc;
use crate::clock::Clock;
use crate::config::Limits;
use crate::control::rpc::ControlRpc;
use crate::decide::authz::rpc::AuthzRpc;
use crate::decide::rpc::GateRpc;
use crate::evidence::rpc::EvidenceRpc;
use crate::history::{REQUEST_BYTES_MAX, rpc::PolicyRpc};
use crate::identity::{Identity, Peer, rpc as gate};
use crate::rarely::Rarely;
use crate::retention::rpc::RetentionRpc;
use crate::session::rpc::TraceRpc;
use crate::status::{Status, rpc::StatusRpc};
use crate::telemetry::Counted;
use crate::transparency::rpc::TransparencyRpc;
use agentgate_proto::v1::approvals_server::ApprovalsServer;
use agentgate_proto::v1::control_server::ControlServer;
use agentgate_proto::v1::evidence_server::EvidenceServer;
use agentgate_proto::v1::gate_server::GateServer;
use agentgate_proto::v1::policy_server::PolicyServer;
use agentgate_proto::v1::retention_server::RetentionServer;
use agentgate_proto::v1::status_server::StatusServer;
use agentgate_proto::v1::trace_server::TraceServer;
use agentgate_proto::v1::transparency_server::TransparencyServer;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use streams::Streams;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::InterceptorLayer;
use tonic::transport::server::Connected;
use tonic::transport::{Error, Server};

pub use plain::{Site, plain};

/// Windows large enough that one body of the largest size never waits for a window update.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// Headers of one request: a filter sends a handful.
const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// What all listeners share.
#[derive(Clone, Debug)]
pub struct Listening {
    pub identity: Arc<Identity>,
    pub clock: Clock,
    pub limits: Limits,
    pub connection_age_max: Duration,
    pub leaving: watch::Receiver<bool>,
    /// Handshakes that failed.
    pub failed: Arc<Rarely>,
}

/// What operators are served.
#[derive(Debug)]
pub struct Services {
    pub trace: TraceRpc,
    pub status: Arc<Status>,
    pub control: ControlRpc,
    pub approvals: ApprovalsRpc,
    pub policy: PolicyRpc,
    pub transparency: TransparencyRpc,
    pub evidence: EvidenceRpc,
    pub retention: RetentionRpc,
}

/// A connection whose other end was verified.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Arc<Peer>,
    /// Until the other end's certificate is outlived. None: it is.
    useful: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _place: Place,
}

/// A connection's share of its listener.
#[derive(Debug)]
struct Place {
    listener: &'static str,
    _permit: OwnedSemaphorePermit,
    _connection: Counted,
}

// === impl Listening ===

impl Listening {
    /// Serves filters until this replica leaves and the last conversation ended.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn filters(self, listener: TcpListener, rpc: GateRpc, authz: AuthzRpc) -> Result<(), Error> {
        let bytes = self.limits.message_bytes_max as usize;
        let gate = GateServer::new(rpc).max_decoding_message_size(bytes).max_encoding_message_size(bytes);
        let authz = AuthorizationServer::new(authz).max_decoding_message_size(bytes).max_encoding_message_size(bytes);
        let layer = InterceptorLayer::new(gate::filters_only(Arc::clone(&self.identity)));
        let (incoming, leaving) = (self.accept(listener, "filters"), self.leaving.clone());
        self.server()
            .layer(Streams("filters"))
            .layer(layer)
            .add_service(gate)
            .add_service(authz)
            .serve_with_incoming_shutdown(incoming, left(leaving))
            .await
    }

    /// Serves operators, with health and reflection.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn operators(self, listener: TcpListener, services: Services) -> Result<(), Error> {
        let (health, health_rpc) = tonic_health::server::health_reporter();
        health.set_serving::<TraceServer<TraceRpc>>().await;
        health.set_serving::<StatusServer<StatusRpc>>().await;
        health.set_serving::<ControlServer<ControlRpc>>().await;
        health.set_serving::<ApprovalsServer<ApprovalsRpc>>().await;
        health.set_serving::<PolicyServer<PolicyRpc>>().await;
        health.set_serving::<TransparencyServer<TransparencyRpc>>().await;
        health.set_serving::<EvidenceServer<EvidenceRpc>>().await;
        health.set_serving::<RetentionServer<RetentionRpc>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(agentgate_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .inspect_err(|error| tracing::warn!(%error, "there is no reflection"))
            .ok();
        let layer = InterceptorLayer::new(gate::operators_only(Arc::clone(&self.identity)));
        // Bodies come back to be opened, and each came in one message.
        let evidence_bytes_max = REQUEST_BYTES_MAX.saturating_add(self.limits.message_bytes_max as usize);
        let (incoming, leaving) = (self.accept(listener, "operators"), self.leaving.clone());
        self.server()
            .layer(Streams("operators"))
            .layer(layer)
            .add_service(TraceServer::new(services.trace))
            .add_service(StatusServer::new(StatusRpc(services.status)))
            .add_service(ControlServer::new(services.control))
            .add_service(ApprovalsServer::new(services.approvals))
            .add_service(PolicyServer::new(services.policy).max_decoding_message_size(REQUEST_BYTES_MAX))
            .add_service(TransparencyServer::new(services.transparency))
            .add_service(EvidenceServer::new(services.evidence).max_decoding_message_size(evidence_bytes_max))
            .add_service(RetentionServer::new(services.retention))
            .add_service(health_rpc)
            .add_optional_service(reflection)
            .serve_with_incoming_shutdown(incoming, left(leaving))
            .await
    }

    /// Age without tonic's grace, which would close connections without a GOAWAY first; conversations end themselves.
    fn server(&self) -> Server {
        let keepalive = Duration::from_secs(self.limits.keepalive_s.into());
        Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_max_header_list_size(HEADERS_BYTES_MAX)
            .max_concurrent_streams(self.limits.streams_per_connection_max)
            .http2_keepalive_interval(Some(keepalive))
            .http2_keepalive_timeout(Some(keepalive))
            .max_connection_age(self.connection_age_max)
    }

    /// Accepts connections one after the other and shakes hands with many at once.
    fn accept(&self, listener: TcpListener, name: &'static str) -> ReceiverStream<Result<Connection, io::Error>> {
        let (sender, receiver) = mpsc::channel(1);
        let (listening, places) = (self.clone(), Arc::new(Semaphore::new(self.limits.connections_max as usize)));
        tokio::spawn(async move {
            let mut leaving = listening.leaving.clone();
            loop {
                let Ok(permit) = Arc::clone(&places).acquire_owned().await else { return };
                let (stream, _) = tokio::select! {
                    accepted = accept(&listener, name, &listening.clock) => accepted,
                    _ = leaving.wait_for(|leaving| *leaving) => return,
                };
                let deadline = listening.clock.elapsed() + Duration::from_millis(listening.limits.handshake_ms_max.into());
                let (listening, sender, place) = (listening.clone(), sender.clone(), Place::take(name, permit));
                tokio::spawn(async move {
                    if let Some(connection) = listening.shake_hands(stream, place, deadline).await {
                        // The server is gone when nobody receives: the connection closes.
                        let _ = sender.send(Ok(connection)).await;
                    }
                });
            }
        });
        ReceiverStream::new(receiver)
    }

    async fn shake_hands(&self, stream: TcpStream, place: Place, deadline: Duration) -> Option<Connection> {
        let (server, generation) = self.identity.trust.server();
        let shaken = async {
            stream.set_nodelay(true)?;
            TlsAcceptor::from(server).accept(stream).await
        };
        let failed = match self.clock.before(deadline, shaken).await {
            Some(Ok(stream)) => {
                let peer = Arc::new(Peer::new(stream.get_ref().1.peer_certificates(), generation, self.clock.elapsed()));
                metrics::counter!("agentgate_connections_total", "listener" => place.listener).increment(1);
                let ending = Arc::clone(&peer);
                let useful = Some(Box::pin(async move { ending.ended().await }) as _);
                return Some(Connection { stream, peer, useful, _place: place });
            }
            Some(Err(error)) => error.to_string(),
            None => "it took too long".into(),
        };
        metrics::counter!("agentgate_handshakes_failed_total").increment(1);
        if let Some(more) = self.failed.told(self.clock.elapsed()) {
            tracing::warn!(why = failed, listener = place.listener, more, "a handshake failed");
        }
        None
    }
}

/// The next connection. One that cannot be accepted is logged, and then the next one is tried.
async fn accept(listener: &TcpListener, name: &'static str, clock: &Clock) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, listener = name, "cannot accept a connection");
                // Out of file descriptors, most likely: the next attempt would fail as fast as this one.
                clock.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn left(mut leaving: watch::Receiver<bool>) {
    // A sender that is gone means the same: nobody is left to serve for.
    let _ = leaving.wait_for(|leaving| *leaving).await;
}

// === impl Place ===

impl Place {
    fn take(listener: &'static str, permit: OwnedSemaphorePermit) -> Self {
        let connection = Counted::by(metrics::gauge!("agentgate_connections", "listener" => listener));
        Self { listener, _permit: permit, _connection: connection }
    }
}

// === impl Connection ===

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.useful.as_mut().is_some_and(|useful| useful.as_mut().poll(context).is_ready()) {
            self.useful = None;
        }
        match self.useful {
            Some(_) => Pin::new(&mut self.stream).poll_read(context, buffer),
            // As if the other side had left.
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
