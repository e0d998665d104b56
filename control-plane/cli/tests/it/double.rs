//! A control plane that knows its answers by heart. The transport is real: TCP, TLS with client certificates, HTTP/2.

use agentgate_cli::authority::{Init, Issue, Validity, init, issue};
use agentgate_cli::clock;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::approvals_server::{Approvals, ApprovalsServer};
use agentgate_proto::v1::control_server::{Control, ControlServer};
use agentgate_proto::v1::policy_server::{Policy, PolicyServer};
use agentgate_proto::v1::retention_server::{Retention, RetentionServer};
use agentgate_proto::v1::status_server::{Status, StatusServer};
use agentgate_proto::v1::trace_server::{Trace, TraceServer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use tokio::io::copy_bidirectional;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::{self, Stream, wrappers::ReceiverStream};
use tonic::{Request, Response};

/// What is asked of whom, and what the double answers.
#[derive(Clone, Default)]
pub(crate) struct Answers {
    pub(crate) traces: Vec<v1::CallTrace>,
    pub(crate) shown: Option<v1::ShowTraceResponse>,
    pub(crate) status: v1::ShowStatusResponse,
    /// A tail begins anew with its calls for ever, instead of ending after them.
    pub(crate) endless: bool,
    pub(crate) approvals: Vec<v1::Approval>,
    /// What is in force; an order is acknowledged with this epoch.
    pub(crate) orders: v1::ListOrdersResponse,
    pub(crate) ordered: v1::OrderResponse,
    pub(crate) explained: Option<v1::ExplainCallResponse>,
    /// If it says one: there is no other call.
    pub(crate) explained_only: String,
    pub(crate) learned: v1::LearnedTools,
    /// None: the reading ends before its answer.
    pub(crate) impact: Option<v1::Impact>,
    /// What was ordered, decided or asked for, as the wire had it.
    pub(crate) said: Arc<Mutex<Vec<Said>>>,
    /// Every rpc is refused with this.
    pub(crate) refusal: Option<(tonic::Code, &'static str)>,
    pub(crate) asked: Arc<Mutex<Vec<v1::ListTracesRequest>>>,
    pub(crate) followed: Arc<Mutex<Vec<v1::TailTracesRequest>>>,
    /// So many calls are told in one tail; none: all.
    pub(crate) told_at_once: Option<usize>,
}

/// One order, decision or question that came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Decided(v1::DecideApprovalRequest),
    Killed(v1::KillRequest),
    Resumed(v1::ResumeRequest),
    Mode(v1::SetModeRequest),
    Learn(v1::LearnToolsRequest),
    Impact(v1::ShowImpactRequest),
    Held(v1::PlaceHoldRequest),
    Lifted(v1::LiftHoldRequest),
    Purged(v1::PurgeRequest),
}

/// A running double, and the certificates of its world.
pub(crate) struct Double {
    pub(crate) endpoint: String,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) asked: Arc<Mutex<Vec<v1::ListTracesRequest>>>,
    pub(crate) followed: Arc<Mutex<Vec<v1::TailTracesRequest>>>,
    pub(crate) said: Arc<Mutex<Vec<Said>>>,
    _runtime: tokio::runtime::Runtime,
}

type Result<T> = std::result::Result<Response<T>, tonic::Status>;

pub(crate) fn certificates(directory: &Path) {
    let now = clock::now();
    let validity = Validity { not_before: now, not_after: now.plus_micros(3_600_000_000) };
    init(&Init { directory, trust_domain: "agentgate.local", validity, force: false }).expect("an authority");
    let ip = ["127.0.0.1".parse().expect("an address")];
    let leaf = Issue { directory, name: "control-plane", dns: &[], ip: &ip, validity, force: false };
    issue(&leaf).expect("a certificate");
    issue(&Issue { name: "operator/me", ip: &[], ..leaf.clone() }).expect("a certificate");
    let ago = |minutes: u64| Time::from_micros(now.micros() - minutes * 60_000_000);
    let past = Validity { not_before: ago(60), not_after: ago(5) };
    issue(&Issue { name: "operator/late", ip: &[], validity: past, ..leaf.clone() }).expect("a certificate");
    issue(&Issue { name: "elsewhere", ip: &[], dns: &["elsewhere.example".to_owned()], ..leaf }).expect("a certificate");
}

impl Answers {
    pub(crate) fn serve(self) -> Double {
        self.serve_as("control-plane")
    }

    /// Serves with the certificate of that name.
    pub(crate) fn serve_as(self, name: &str) -> Double {
        let directory = tempfile::tempdir().expect("a directory");
        certificates(directory.path());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (asked, followed, said) = (self.asked.clone(), self.followed.clone(), self.said.clone());
        let config = tls(directory.path(), name);
        let address = runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let (sender, incoming) = mpsc::channel(8);
            tokio::spawn(accept(listener, config, sender));
            let server = tonic::transport::Server::builder()
                .add_service(TraceServer::new(self.clone()))
                .add_service(ApprovalsServer::new(self.clone()))
                .add_service(ControlServer::new(self.clone()))
                .add_service(PolicyServer::new(self.clone()))
                .add_service(RetentionServer::new(self.clone()))
                .add_service(StatusServer::new(self))
                .serve_with_incoming(ReceiverStream::new(incoming));
            tokio::spawn(server);
            address
        });
        Double { endpoint: format!("https://{address}"), directory, asked, followed, said, _runtime: runtime }
    }
}

/// A call that has its outcome is told twice: as it was decided, and as it ended.
fn news(trace: v1::CallTrace) -> impl Iterator<Item = v1::TailTracesResponse> {
    let ended = Some(trace.clone()).filter(|trace| trace.outcome() != v1::OutcomeKind::Unspecified);
    let sequence = trace.sequence;
    let decided = v1::CallTrace { outcome: 0, duration_us: None, ..trace };
    let ended = ended.map(|trace| v1::TailTracesResponse { trace: None, ended: Some(trace), sequence });
    [v1::TailTracesResponse { trace: Some(decided), ended: None, sequence }].into_iter().chain(ended)
}

fn tls(directory: &Path, name: &str) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(directory.join("authority.pem")).expect("a root")).expect("a root");
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().expect("roots");
    let chain = vec![CertificateDer::from_pem_file(directory.join(format!("{name}.pem"))).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).expect("a key");
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// tonic takes any stream that it knows, and a duplex is one; TLS ends here.
async fn accept(
    listener: tokio::net::TcpListener,
    config: rustls::ServerConfig,
    sender: mpsc::Sender<std::io::Result<tokio::io::DuplexStream>>,
) {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        tokio::spawn(async move {
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                let (near, mut far) = tokio::io::duplex(64 * 1024);
                let _ = sender.send(Ok(near)).await;
                let _ = copy_bidirectional(&mut tls, &mut far).await;
            }
        });
    }
}

impl Double {
    /// What was ordered, decided and asked for so far.
    pub(crate) fn said(&self) -> Vec<Said> {
        self.said.lock().expect("unpoisoned").clone()
    }

    /// Runs the binary as this operator: its output, with nothing of our own surroundings in it.
    pub(crate) fn agentgate(&self, arguments: &[&str]) -> Output {
        self.agentgate_as("operator-me", arguments)
    }

    pub(crate) fn agentgate_as(&self, name: &str, arguments: &[&str]) -> Output {
        self.command(name, arguments).output().expect("the binary runs")
    }

    pub(crate) fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let path = |file: String| self.directory.path().join(file);
        let mut command = command(arguments);
        command
            .env("AGENTGATE_ENDPOINT", &self.endpoint)
            .env("AGENTGATE_AUTHORITY", path("authority.pem".into()))
            .env("AGENTGATE_CERTIFICATE", path(format!("{name}.pem")))
            .env("AGENTGATE_KEY", path(format!("{name}.key")));
        command
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentgate"));
    command.args(arguments).env_clear().env("LC_ALL", "C.UTF-8").env("COLUMNS", "120");
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

pub(crate) fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("JSON: {output:?}"))
}

impl Answers {
    fn hear(&self, said: Said) {
        self.said.lock().expect("unpoisoned").push(said);
    }

    fn refused<T>(&self, answer: T) -> Result<T> {
        match self.refusal {
            Some((code, message)) => Err(tonic::Status::new(code, message)),
            None => Ok(Response::new(answer)),
        }
    }
}

#[tonic::async_trait]
impl Trace for Answers {
    async fn list_traces(&self, request: Request<v1::ListTracesRequest>) -> Result<v1::ListTracesResponse> {
        let request = request.into_inner();
        let (size, from) = (request.page_size as usize, request.page_token.parse().unwrap_or(0));
        self.asked.lock().expect("unpoisoned").push(request);
        let traces: Vec<_> = self.traces.iter().skip(from).take(size).cloned().collect();
        let end = from + traces.len();
        let next_page_token = if end < self.traces.len() { end.to_string() } else { String::new() };
        self.refused(v1::ListTracesResponse { traces, next_page_token, indexed_from: 0 })
    }

    async fn show_trace(&self, request: Request<v1::ShowTraceRequest>) -> Result<v1::ShowTraceResponse> {
        let id = request.into_inner().id;
        match &self.shown {
            Some(shown) => self.refused(shown.clone()),
            None => Err(tonic::Status::not_found(format!("no call `{id}`; `agentgate trace list` shows which there are"))),
        }
    }

    type TailTracesStream = Pin<Box<dyn Stream<Item = std::result::Result<v1::TailTracesResponse, tonic::Status>> + Send>>;

    async fn tail_traces(&self, request: Request<v1::TailTracesRequest>) -> Result<Self::TailTracesStream> {
        let request = request.into_inner();
        let told = |trace: &v1::CallTrace| Some(trace.sequence) == request.after_sequence;
        let begin = self.traces.iter().position(told).map_or(0, |at| at + 1);
        self.followed.lock().expect("unpoisoned").push(request);
        let traces: Vec<_> = self.traces.iter().skip(begin).take(self.told_at_once.unwrap_or(usize::MAX)).cloned().collect();
        let answers = traces.into_iter().flat_map(news).map(Ok);
        let stream: Self::TailTracesStream = if self.endless {
            Box::pin(tokio_stream::iter(answers.collect::<Vec<_>>().into_iter().cycle()))
        } else {
            Box::pin(tokio_stream::iter(answers))
        };
        self.refused(stream)
    }
}

#[tonic::async_trait]
impl Status for Answers {
    async fn show_status(&self, _: Request<v1::ShowStatusRequest>) -> Result<v1::ShowStatusResponse> {
        self.refused(self.status.clone())
    }
}

#[tonic::async_trait]
impl Approvals for Answers {
    async fn list_approvals(&self, request: Request<v1::ListApprovalsRequest>) -> Result<v1::ListApprovalsResponse> {
        let all = request.into_inner().all;
        let wanted = |approval: &&v1::Approval| all || approval.state() == v1::ApprovalState::Pending;
        self.refused(v1::ListApprovalsResponse { approvals: self.approvals.iter().filter(wanted).cloned().collect() })
    }

    async fn show_approval(&self, request: Request<v1::ShowApprovalRequest>) -> Result<v1::ShowApprovalResponse> {
        let id = request.into_inner().id;
        let approval = self.approvals.iter().find(|approval| approval.id.starts_with(&id)).cloned();
        match approval {
            Some(approval) => self.refused(v1::ShowApprovalResponse { approval: Some(approval) }),
            None => Err(tonic::Status::not_found(format!("no approval `{id}`"))),
        }
    }

    async fn decide_approval(&self, request: Request<v1::DecideApprovalRequest>) -> Result<v1::DecideApprovalResponse> {
        let request = request.into_inner();
        let found = self.approvals.iter().find(|approval| approval.id == request.id).cloned();
        let mut approval = found.ok_or_else(|| tonic::Status::not_found("not by its whole id"))?;
        approval.set_state(if request.grant { v1::ApprovalState::Granted } else { v1::ApprovalState::Denied });
        self.hear(Said::Decided(request));
        self.refused(v1::DecideApprovalResponse { approval: Some(approval) })
    }
}

#[tonic::async_trait]
impl Control for Answers {
    async fn kill(&self, request: Request<v1::KillRequest>) -> Result<v1::OrderResponse> {
        self.hear(Said::Killed(request.into_inner()));
        self.refused(self.ordered)
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Result<v1::OrderResponse> {
        self.hear(Said::Resumed(request.into_inner()));
        self.refused(self.ordered)
    }

    async fn set_mode(&self, request: Request<v1::SetModeRequest>) -> Result<v1::OrderResponse> {
        self.hear(Said::Mode(request.into_inner()));
        self.refused(self.ordered)
    }

    async fn list_orders(&self, _: Request<v1::ListOrdersRequest>) -> Result<v1::ListOrdersResponse> {
        self.refused(self.orders.clone())
    }
}

#[tonic::async_trait]
impl Retention for Answers {
    async fn place_hold(&self, request: Request<v1::PlaceHoldRequest>) -> Result<v1::HoldResponse> {
        self.hear(Said::Held(request.into_inner()));
        self.refused(v1::HoldResponse { hold: 17, changed: true, ..v1::HoldResponse::default() })
    }

    async fn lift_hold(&self, request: Request<v1::LiftHoldRequest>) -> Result<v1::HoldResponse> {
        self.hear(Said::Lifted(request.into_inner()));
        self.refused(v1::HoldResponse { hold: 17, changed: true, ..v1::HoldResponse::default() })
    }

    async fn list_holds(&self, _: Request<v1::ListHoldsRequest>) -> Result<v1::ListHoldsResponse> {
        self.refused(v1::ListHoldsResponse::default())
    }

    async fn purge(&self, request: Request<v1::PurgeRequest>) -> Result<v1::PurgeResponse> {
        self.hear(Said::Purged(request.into_inner()));
        self.refused(v1::PurgeResponse { sessions: 1, calls: 2, finished: true, ..v1::PurgeResponse::default() })
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, tonic::Status>> + Send>>;

fn messages<T: Send + 'static>(messages: impl IntoIterator<Item = T>) -> Messages<T> {
    let messages: Vec<_> = messages.into_iter().map(Ok).collect();
    Box::pin(tokio_stream::iter(messages))
}

#[tonic::async_trait]
impl Policy for Answers {
    type LearnToolsStream = Messages<v1::LearnToolsResponse>;

    async fn learn_tools(&self, request: Request<v1::LearnToolsRequest>) -> Result<Self::LearnToolsStream> {
        use v1::learn_tools_response::What;
        self.hear(Said::Learn(request.into_inner()));
        let progress = What::Progress(v1::Progress { records_read: 500, records: 1_000 });
        let answers = [progress, What::Tools(self.learned.clone())];
        self.refused(messages(answers.map(|what| v1::LearnToolsResponse { what: Some(what) })))
    }

    type ShowImpactStream = Messages<v1::ShowImpactResponse>;

    async fn show_impact(&self, request: Request<v1::ShowImpactRequest>) -> Result<Self::ShowImpactStream> {
        use v1::show_impact_response::What;
        self.hear(Said::Impact(request.into_inner()));
        let progress = What::Progress(v1::Progress { records_read: 500, records: 0 });
        let answers = [Some(progress), self.impact.clone().map(What::Impact)];
        self.refused(messages(answers.into_iter().flatten().map(|what| v1::ShowImpactResponse { what: Some(what) })))
    }

    async fn explain_call(&self, request: Request<v1::ExplainCallRequest>) -> Result<v1::ExplainCallResponse> {
        let id = request.into_inner().id;
        match self.explained.as_ref().filter(|_| self.explained_only.is_empty() || self.explained_only == id) {
            Some(explained) => self.refused(explained.clone()),
            None => Err(tonic::Status::not_found(format!("no call `{id}`"))),
        }
    }
}
