//! The way to the control plane: mutual TLS, and every rpc that a verb uses. The only file that knows tonic and rustls.
//!
//! It trusts one authority and one name (the endpoint's host), offers one certificate, and never goes on without TLS.

use crate::failure::{Exit, Failure};
use agentgate_core::transparency::key::VerifierKey;
use agentgate_proto::v1::approvals_client::ApprovalsClient;
use agentgate_proto::v1::control_client::ControlClient;
use agentgate_proto::v1::evidence_client::EvidenceClient;
use agentgate_proto::v1::policy_client::PolicyClient;
use agentgate_proto::v1::retention_client::RetentionClient;
use agentgate_proto::v1::status_client::StatusClient;
use agentgate_proto::v1::trace_client::TraceClient;
use agentgate_proto::v1::transparency_client::TransparencyClient;
use agentgate_proto::{HALTED, LOG_STOPPED, v1};
use clap::Args;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status, Streaming};

/// A person waits at most so long for a connection, and for an answer on it.
const CONNECT_S_MAX: u64 = 5;
const ANSWER_S_MAX: u64 = 15;

/// A server of HTTP/2 speaks first, at once; one that does not is given its chance after this.
const GREETING_MS_MAX: u64 = 2_000;

/// A long reading says how far it is every second or so: one that is silent for so long is no reading any more.
const PROGRESS_S_MAX: u64 = 30;

/// A purge looks through all records of the time that it is about before it answers.
const PURGE_S_MAX: u64 = 600;

/// A page of 1,000 calls or one call with the largest body that a filter lets through, with room.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How soon a tail notices that nobody is there any more.
const KEEP_ALIVE_S: u64 = 20;

/// What a control plane says to an operator whom it knows and who may not ask this.
const ROLE_MISSING: &str = "has not the role";

/// What stands before the command that a control plane advises.
const NEXT: &str = "; next: ";

/// Where the control plane is, and who we are.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Reaching the control plane")]
pub struct Connection {
    /// The operators' listener of the control plane
    #[arg(long, global = true, env = "AGENTGATE_ENDPOINT", default_value = "https://127.0.0.1:9444", value_name = "URL")]
    pub endpoint: String,
    /// The authority's certificate, which must have signed the control plane's
    #[arg(long = "authority", id = "connection_authority", global = true, env = "AGENTGATE_AUTHORITY", value_name = "PEM")]
    pub authority: Option<PathBuf>,
    /// Our certificate; its SPIFFE ID must be one of the control plane's operators
    #[arg(long, global = true, env = "AGENTGATE_CERTIFICATE", value_name = "PEM")]
    pub certificate: Option<PathBuf>,
    /// The key of our certificate, for TLS; a log's verifier key is another `--key`, behind `verify` and `evidence list`
    #[arg(long, global = true, env = "AGENTGATE_KEY", value_name = "PEM")]
    pub key: Option<PathBuf>,
}

/// A connection to the operators' listener.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    endpoint: String,
}

/// Messages as they come, until either side leaves.
#[derive(Debug)]
pub struct Messages<T> {
    stream: Streaming<T>,
    endpoint: String,
    /// How long the next one may take; none: as long as it likes.
    patience: Option<Duration>,
}

/// What is needed to open one connection.
#[derive(Clone)]
struct Dialer {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: tokio_rustls::TlsConnector,
}

// === impl Client ===

impl Client {
    pub async fn connect(connection: &Connection) -> Result<Self, Failure> {
        let dialer = Dialer::new(connection)?;
        let endpoint = connection.endpoint.clone();
        let unusable = |error: tonic::transport::Error| unusable_endpoint(&endpoint).because(error);
        let origin: Uri = connection.endpoint.parse().map_err(|_| unusable_endpoint(&endpoint))?;
        // TLS is ours: for tonic this is a plain connection, so that its own TLS features never matter.
        let authority = origin.authority().map(ToString::to_string).unwrap_or_default();
        let channel = Endpoint::from_shared(format!("http://{authority}"))
            .map_err(unusable)?
            .origin(origin)
            .connect_timeout(Duration::from_secs(CONNECT_S_MAX))
            .http2_keep_alive_interval(Duration::from_secs(KEEP_ALIVE_S))
            .keep_alive_while_idle(true)
            .connect_with_connector(tower::service_fn(move |_: Uri| {
                let dialer = dialer.clone();
                async move { dialer.dial().await.map(TokioIo::new) }
            }))
            .await
            .map_err(|error| unreachable(&endpoint, error))?;
        Ok(Self { channel, endpoint })
    }

    pub async fn list_traces(&self, request: v1::ListTracesRequest) -> Result<v1::ListTracesResponse, Failure> {
        let mut client = self.traces();
        self.unary(client.list_traces(request)).await
    }

    pub async fn show_trace(&self, id: String) -> Result<v1::ShowTraceResponse, Failure> {
        let mut client = self.traces();
        self.unary(client.show_trace(v1::ShowTraceRequest { id })).await
    }

    pub async fn tail_traces(&self, request: v1::TailTracesRequest) -> Result<Messages<v1::TailTracesResponse>, Failure> {
        let mut client = self.traces();
        let stream = self.unary(client.tail_traces(request)).await?;
        Ok(Messages { stream, endpoint: self.endpoint.clone(), patience: None })
    }

    pub async fn show_status(&self) -> Result<v1::ShowStatusResponse, Failure> {
        let mut client = StatusClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        self.unary(client.show_status(v1::ShowStatusRequest {})).await
    }

    pub async fn list_approvals(&self, all: bool) -> Result<Vec<v1::Approval>, Failure> {
        let mut client = self.approvals();
        Ok(self.unary(client.list_approvals(v1::ListApprovalsRequest { all })).await?.approvals)
    }

    pub async fn show_approval(&self, id: String) -> Result<Option<v1::Approval>, Failure> {
        let mut client = self.approvals();
        Ok(self.unary(client.show_approval(v1::ShowApprovalRequest { id })).await?.approval)
    }

    pub async fn decide_approval(&self, request: v1::DecideApprovalRequest) -> Result<Option<v1::Approval>, Failure> {
        let mut client = self.approvals();
        Ok(self.unary(client.decide_approval(request)).await?.approval)
    }

    pub async fn kill(&self, request: v1::KillRequest) -> Result<v1::OrderResponse, Failure> {
        let mut client = self.control();
        self.unary(client.kill(request)).await
    }

    pub async fn resume(&self, request: v1::ResumeRequest) -> Result<v1::OrderResponse, Failure> {
        let mut client = self.control();
        self.unary(client.resume(request)).await
    }

    pub async fn set_mode(&self, request: v1::SetModeRequest) -> Result<v1::OrderResponse, Failure> {
        let mut client = self.control();
        self.unary(client.set_mode(request)).await
    }

    pub async fn list_orders(&self) -> Result<v1::ListOrdersResponse, Failure> {
        let mut client = self.control();
        self.unary(client.list_orders(v1::ListOrdersRequest {})).await
    }

    pub async fn explain_call(&self, id: String) -> Result<v1::ExplainCallResponse, Failure> {
        let mut client = self.policy();
        self.unary(client.explain_call(v1::ExplainCallRequest { id })).await
    }

    pub async fn learn_tools(&self, request: v1::LearnToolsRequest) -> Result<Messages<v1::LearnToolsResponse>, Failure> {
        let mut client = self.policy();
        let stream = self.unary(client.learn_tools(request)).await?;
        Ok(self.reading(stream))
    }

    pub async fn show_impact(&self, request: v1::ShowImpactRequest) -> Result<Messages<v1::ShowImpactResponse>, Failure> {
        let mut client = self.policy();
        let stream = self.unary(client.show_impact(request)).await?;
        Ok(self.reading(stream))
    }

    pub async fn show_log(&self) -> Result<v1::ShowLogResponse, Failure> {
        let mut client = TransparencyClient::new(self.channel.clone());
        self.unary(client.show_log(v1::ShowLogRequest {})).await
    }

    pub async fn prove_consistency(&self, old_size: u64, new_size: u64) -> Result<v1::ProveConsistencyResponse, Failure> {
        let mut client = TransparencyClient::new(self.channel.clone());
        self.unary(client.prove_consistency(v1::ProveConsistencyRequest { old_size, new_size })).await
    }

    pub async fn prove_record(&self, sequence: u64) -> Result<v1::ProveRecordResponse, Failure> {
        let mut client = self.evidence();
        self.unary(client.prove_record(v1::ProveRecordRequest { sequence })).await
    }

    pub async fn read_log_files(&self, paths: Vec<String>) -> Result<v1::ReadLogFilesResponse, Failure> {
        let mut client = self.evidence();
        self.unary(client.read_log_files(v1::ReadLogFilesRequest { paths })).await
    }

    pub async fn gather_evidence(
        &self,
        request: v1::GatherEvidenceRequest,
    ) -> Result<Messages<v1::GatherEvidenceResponse>, Failure> {
        let mut client = self.evidence();
        let stream = self.unary(client.gather_evidence(request)).await?;
        Ok(self.reading(stream))
    }

    pub async fn open_evidence(&self, bodies: Vec<v1::SealedBody>) -> Result<v1::OpenEvidenceResponse, Failure> {
        let mut client = self.evidence();
        self.unary(client.open_evidence(v1::OpenEvidenceRequest { bodies })).await
    }

    pub async fn sign_evidence(&self, files: Vec<v1::EvidenceFile>) -> Result<v1::SignEvidenceResponse, Failure> {
        let mut client = self.evidence();
        self.unary(client.sign_evidence(v1::SignEvidenceRequest { files })).await
    }

    pub async fn place_hold(&self, request: v1::PlaceHoldRequest) -> Result<v1::HoldResponse, Failure> {
        let mut client = self.retention();
        self.unary(client.place_hold(request)).await
    }

    pub async fn lift_hold(&self, request: v1::LiftHoldRequest) -> Result<v1::HoldResponse, Failure> {
        let mut client = self.retention();
        self.unary(client.lift_hold(request)).await
    }

    pub async fn list_holds(&self) -> Result<Vec<v1::Hold>, Failure> {
        let mut client = self.retention();
        Ok(self.unary(client.list_holds(v1::ListHoldsRequest {})).await?.holds)
    }

    pub async fn purge(&self, request: v1::PurgeRequest) -> Result<v1::PurgeResponse, Failure> {
        let mut client = self.retention();
        self.within(PURGE_S_MAX, client.purge(request)).await
    }

    fn reading<T>(&self, stream: Streaming<T>) -> Messages<T> {
        Messages { stream, endpoint: self.endpoint.clone(), patience: Some(Duration::from_secs(PROGRESS_S_MAX)) }
    }

    fn approvals(&self) -> ApprovalsClient<Channel> {
        ApprovalsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn evidence(&self) -> EvidenceClient<Channel> {
        EvidenceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn policy(&self) -> PolicyClient<Channel> {
        PolicyClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn retention(&self) -> RetentionClient<Channel> {
        RetentionClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn traces(&self) -> TraceClient<Channel> {
        TraceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    async fn unary<T>(&self, answer: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Failure> {
        self.within(ANSWER_S_MAX, answer).await
    }

    async fn within<T>(
        &self,
        seconds: u64,
        answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Failure> {
        let late = |_| Status::deadline_exceeded(format!("no answer within {seconds} s"));
        let answer = tokio::time::timeout(Duration::from_secs(seconds), answer).await.map_err(late);
        match answer.and_then(|answer| answer) {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(refused(&self.endpoint, status)),
        }
    }
}

// === impl Messages ===

impl<T> Messages<T> {
    /// The next one; none when the control plane ends the stream.
    pub async fn next(&mut self) -> Result<Option<T>, Failure> {
        let message = match self.patience {
            None => self.stream.message().await,
            Some(patience) => {
                let late = |_| Err(Status::deadline_exceeded(format!("it said nothing for {} s", patience.as_secs())));
                tokio::time::timeout(patience, self.stream.message()).await.unwrap_or_else(late)
            }
        };
        message.map_err(|status| refused(&self.endpoint, status))
    }
}

// === impl Dialer ===

impl Dialer {
    fn new(connection: &Connection) -> Result<Self, Failure> {
        let unusable = || unusable_endpoint(&connection.endpoint);
        let uri: Uri = connection.endpoint.parse().map_err(|_| unusable())?;
        if uri.scheme_str() != Some("https") {
            return Err(unusable());
        }
        let host = uri.host().ok_or_else(unusable)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| unusable())?;
        let port = uri.port_u16().unwrap_or(443);
        Ok(Self { host, port, name, tls: tokio_rustls::TlsConnector::from(Arc::new(tls(connection)?)) })
    }

    /// With TLS 1.3 the other side judges our certificate only after our handshake is over. Its first bytes are its yes, so
    /// they are waited for: a request that was already sent could lose the reason of a no.
    async fn dial(&self) -> io::Result<BufReader<TlsStream<TcpStream>>> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let mut stream = BufReader::new(self.tls.connect(self.name.clone(), tcp).await?);
        match tokio::time::timeout(Duration::from_millis(GREETING_MS_MAX), stream.fill_buf()).await {
            Ok(Err(refused)) => Err(refused),
            Ok(Ok(_)) | Err(_) => Ok(stream),
        }
    }
}

fn tls(connection: &Connection) -> Result<ClientConfig, Failure> {
    let authority = given(connection.authority.as_deref(), "authority", "AGENTGATE_AUTHORITY")?;
    let certificate = given(connection.certificate.as_deref(), "certificate", "AGENTGATE_CERTIFICATE")?;
    let key = given(connection.key.as_deref(), "key", "AGENTGATE_KEY")?;
    let mut roots = RootCertStore::empty();
    for root in certificates(authority)? {
        roots.add(root).map_err(|error| unreadable(authority, error))?;
    }
    let chain = certificates(certificate)?;
    if key.to_str().is_some_and(|text| VerifierKey::parse(text).is_ok()) && !key.exists() {
        let said = format!("`--key` is the TLS key of an operator here, and `{}` is a log's verifier key", key.display());
        return Err(Failure::new(Exit::Usage, said)
            .then("a verifier key goes to `agentgate verify PATH --key`, `agentgate evidence list DIR --key` or `agentgate evidence open PACK --log-key`")
            .then("leave `--key` out where AGENTGATE_KEY names the TLS key, or write --key PEM"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable_pem(key, "key", error))?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(Exit::Local, error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, secret)
        .map_err(|error| {
            let pair = format!("{} and {} do not belong together", certificate.display(), key.display());
            Failure::new(Exit::Local, pair).because(error)
        })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn given<'a>(path: Option<&'a Path>, option: &str, variable: &str) -> Result<&'a Path, Failure> {
    path.ok_or_else(|| {
        Failure::new(Exit::Usage, format!("the control plane speaks mutual TLS, and --{option} is not given"))
            .then(format!("pass --{option} PEM, or set {variable}"))
            .then("no certificate yet? `agentgate authority issue operator/me --directory DIR`")
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let read: Vec<_> = read.map_err(|error| unreadable_pem(path, "certificate", error))?;
    if read.is_empty() {
        return Err(unreadable_pem(path, "certificate", pem::Error::NoItemsFound));
    }
    Ok(read)
}

fn unreadable_pem(path: &Path, what: &str, error: pem::Error) -> Failure {
    if matches!(error, pem::Error::NoItemsFound) {
        return unreadable(path, io::Error::other(format!("there is no {what} in it")));
    }
    unreadable(path, error)
}

fn unreadable(path: &Path, error: impl Error + Send + Sync + 'static) -> Failure {
    Failure::new(Exit::Local, format!("cannot read {}", path.display())).because(error)
}

fn unusable_endpoint(endpoint: &str) -> Failure {
    Failure::new(Exit::Usage, format!("`{endpoint}` is no endpoint"))
        .then("write it like `https://127.0.0.1:9444`, with --endpoint or in AGENTGATE_ENDPOINT")
}

/// No connection came about: nobody there, or one of both sides did not trust the other.
fn unreachable(endpoint: &str, error: impl Error + Send + Sync + 'static) -> Failure {
    match tls_trouble(&error) {
        Some(trouble) => untrusted(endpoint, &trouble).because(io::Error::other(trouble)),
        None => Failure::new(Exit::Unreachable, format!("cannot reach the control plane at {endpoint}"))
            .because(io::Error::other(root(&error)))
            .then("is it running? `agentgate-control-plane --config FILE`")
            .then("is this the operators' listener? set --endpoint or AGENTGATE_ENDPOINT"),
    }
}

/// The words of the innermost cause: those around it only say that there was one.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

/// What rustls says below all that is wrapped around it.
fn tls_trouble(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = error.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()));
        match tls {
            // What answers speaks no TLS at all: it is the wrong listener, and no certificate of anybody's is in question.
            Some(rustls::Error::InvalidMessage(_)) => return None,
            Some(tls) => return Some(tls.to_string()),
            None => {}
        }
        // With TLS 1.3 the other side says no only after the handshake; HTTP/2 then keeps the words alone.
        let said = error.to_string();
        if said.contains("received fatal alert") {
            return Some(said);
        }
        cause = error.source();
    }
    None
}

fn untrusted(endpoint: &str, trouble: &str) -> Failure {
    if trouble.contains("received fatal alert") {
        return Failure::new(Exit::NotPermitted, format!("the control plane at {endpoint} does not accept our certificate"))
            .then(
                "is it expired, or by another authority? issue one with `agentgate authority issue operator/me --directory DIR`",
            );
    }
    Failure::new(Exit::NotPermitted, format!("the certificate of the control plane at {endpoint} is not accepted"))
        .then("is --authority the one that issued it? is it expired?")
        .then("it must name the endpoint's host: `agentgate authority issue control-plane --dns HOST --ip ADDRESS …`")
}

/// The log has nothing to give until a person has seen to it.
pub(crate) fn log_stopped(why: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("{LOG_STOPPED}{why}"))
        .then("agentgate log show says what was signed, and who remembers it")
        .then("docs/operating.md says what to do, under The transparency log")
}

/// What is lost, or was never there.
fn lost(said: String) -> Failure {
    if let Some(why) = said.strip_prefix(LOG_STOPPED) {
        return log_stopped(why);
    }
    match said.split_once(HALTED) {
        Some((_, why)) => halted(why),
        None => at_fault(said),
    }
}

fn at_fault(said: String) -> Failure {
    Failure::new(Exit::Unreachable, said).then("the fault is the control plane's: look into its log")
}

/// It answered: it stopped by itself, and stays so until a person has seen to it.
fn halted(why: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("the control plane stopped itself, and takes no order: {why}"))
        .then(
            "trying again does not help: every call is refused until a person has seen to it; `agentgate status` says how it is",
        )
        .then("docs/operating.md says what to do, under The transparency log")
}

/// An rpc ended without an answer.
fn refused(endpoint: &str, status: Status) -> Failure {
    if tls_trouble(&status).is_some() {
        return unreachable(endpoint, status);
    }
    let said = match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    };
    let (said, next) = advised(said);
    let failure = named(endpoint, &status, said);
    next.into_iter().fold(failure, Failure::then)
}

/// What a control plane said, and what it said to do next.
fn advised(said: String) -> (String, Option<String>) {
    match said.rsplit_once(NEXT) {
        Some((said, next)) => (said.to_owned(), Some(next.to_owned())),
        None => (said, None),
    }
}

fn named(endpoint: &str, status: &Status, said: String) -> Failure {
    match status.code() {
        // It knows us, and says itself what is missing.
        Code::PermissionDenied if said.contains(ROLE_MISSING) => Failure::new(Exit::NotPermitted, said),
        Code::Unauthenticated | Code::PermissionDenied => Failure::new(Exit::NotPermitted, said)
            .then("our certificate's SPIFFE ID must stand under [[operator]] in the control plane's configuration, with the role")
            .then(format!("is {endpoint} the operators' listener, and not the filters'?")),
        Code::NotFound => Failure::new(Exit::Refused, said),
        Code::InvalidArgument | Code::OutOfRange => Failure::new(Exit::Usage, said),
        Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => Failure::new(Exit::Refused, said),
        Code::Unimplemented => Failure::new(Exit::Unreachable, format!("{endpoint} does not know this question"))
            .then("is this the operators' listener, and of the same version? see `agentgate --version`"),
        Code::ResourceExhausted => Failure::new(Exit::Unreachable, said).then("it is overloaded; try again"),
        Code::Ok | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded | Code::Unavailable => {
            Failure::new(Exit::Unreachable, format!("the control plane at {endpoint} did not answer"))
                .because(io::Error::other(said))
                .then("try again; `agentgate status` says how it is")
        }
        Code::DataLoss => lost(said),
        Code::Internal => at_fault(said),
    }
}

#[cfg(test)]
mod tests {
    use super::{HALTED, Status, refused};

    #[test]
    fn who_stopped_itself_is_not_said_not_to_answer() {
        let why = "the journal contradicts what was signed";
        let said = format!("the order cannot be recorded, and is not in force: {HALTED}{why}");
        for (status, headline, is_to_be_tried) in [
            (Status::data_loss(said), format!("the control plane stopped itself, and takes no order: {why}"), false),
            (Status::data_loss("x"), "x".to_owned(), false),
            (Status::unavailable("x"), "the control plane at https://here did not answer".to_owned(), true),
        ] {
            let failure = refused("https://here", status);
            assert_eq!(failure.chain().first(), Some(&headline));
            assert_eq!(failure.next().iter().any(|next| next.starts_with("try again")), is_to_be_tried, "{failure:?}");
            assert!(!failure.next().is_empty());
        }
    }
}
