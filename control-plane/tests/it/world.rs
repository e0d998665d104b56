//! A control plane with its certificates, its policy folder and its journal in a directory of their own, and its clients.

use agentgate_cli::authority::{Init, Issue, Validity, init, issue};
use agentgate_control_plane::body::{DataKey, system_keys};
use agentgate_control_plane::clock::{Clock, Manual};
use agentgate_control_plane::config::{Config, Limits};
use agentgate_control_plane::journal::Journal;
use agentgate_control_plane::journal::embedded::{Embedded, Settings};
use agentgate_control_plane::journal::memory::Memory;
use agentgate_control_plane::run::{Given, RunError, Running, start};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::converse_request::Message as Said;
use agentgate_proto::v1::converse_response::Message as Heard;
use agentgate_proto::v1::gate_client::GateClient;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status, Streaming};

/// Nothing here takes so long; a test that would wait for ever fails instead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const FILTER: &str = "spiffe://agentgate.local/filter/laptop";
pub(crate) const EPOCH: [u8; 16] = [7; 16];

/// A control plane and everything that it stands on.
pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) clock: Clock,
    pub(crate) hands: Arc<Manual>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) running: Running,
}

pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) embedded: bool,
    /// Others may write the journal too.
    pub(crate) shared: bool,
    pub(crate) connection_age_max: Duration,
    pub(crate) replica: &'static str,
    /// More of the configuration.
    pub(crate) configured: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            embedded: false,
            shared: false,
            connection_age_max: DAY * 30,
            replica: "test",
            configured: String::new(),
        }
    }
}

/// One filter VM's conversation.
pub(crate) struct Vm {
    say: mpsc::Sender<v1::ConverseRequest>,
    hear: Streaming<v1::ConverseResponse>,
}

// === impl World ===

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        Self::over(setup, |directory, setup| {
            if setup.embedded {
                Arc::new(Embedded::open(Settings::new(directory.join("journal"))).unwrap())
            } else if setup.shared {
                Arc::new(Memory::shared())
            } else {
                Arc::new(Memory::new())
            }
        })
        .await
    }

    /// On a journal that is made for it.
    pub(crate) async fn over(setup: Setup, journal: impl FnOnce(&Path, &Setup) -> Arc<dyn Journal>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (clock, hands) = Clock::manual(Clock::system().now());
        authority(directory.path(), clock.now());
        for name in ["control-plane", "filter/laptop", "filter/other", "operator/me", "operator/viewer", "agent/laptop"] {
            certificate(directory.path(), name, clock.now(), DAY);
        }
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/default"), &directory.path().join("policies"));
        let journal = journal(directory.path(), &setup);
        let running = run(directory.path(), &setup, &clock, &journal).await;
        Self { directory, clock, hands, journal, running }
    }

    /// Another replica: on the same journal, with a folder and a clock of its own.
    pub(crate) async fn beside(&self, setup: &Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy(self.path(), directory.path());
        let (clock, hands) = Clock::manual(self.clock.now());
        Self::on(directory, clock, hands, Arc::clone(&self.journal), setup).await
    }

    /// The process is gone at once, and a new one opens the same journal.
    pub(crate) async fn killed_and_restarted(self, setup: &Setup) -> Self {
        let Self { directory, clock, hands, journal, running } = self;
        drop(running);
        let embedded = setup.embedded;
        let journal = if embedded {
            // Tasks that die with the process let go of the journal one after the other.
            drop(journal);
            let open = async || Embedded::open(Settings::new(directory.path().join("journal"))).ok();
            Arc::new(eventually("the journal is let go", open).await)
        } else {
            journal
        };
        Self::on(directory, clock, hands, journal, setup).await
    }

    /// A control plane on what is there already.
    pub(crate) async fn on(
        directory: TempDir,
        clock: Clock,
        hands: Arc<Manual>,
        journal: Arc<dyn Journal>,
        setup: &Setup,
    ) -> Self {
        let running = run(directory.path(), setup, &clock, &journal).await;
        Self { directory, clock, hands, journal, running }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) async fn channel(&self, to: SocketAddr, name: &str) -> Result<Channel, String> {
        connect(to, Some((self.path(), name)), self.path()).await
    }

    pub(crate) async fn vm(&self) -> Vm {
        self.vm_of("filter-laptop", EPOCH).await
    }

    pub(crate) async fn vm_of(&self, name: &str, epoch: [u8; 16]) -> Vm {
        let mut vm = Vm::open(self.channel(self.running.filters, name).await.unwrap()).await.unwrap();
        vm.say(Said::Hello(hello(epoch))).await;
        let welcome = vm.hear().await.unwrap();
        assert!(matches!(welcome, Heard::Welcome(_)), "{welcome:?}");
        vm.stood().await;
        vm
    }

    pub(crate) async fn operator<T>(&self, client: impl FnOnce(Channel) -> T) -> T {
        client(self.channel(self.running.operators, "operator-me").await.unwrap())
    }

    pub(crate) fn head(&self) -> u64 {
        self.journal.health().head
    }
}

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn hello(epoch: [u8; 16]) -> v1::Hello {
    v1::Hello {
        epoch: epoch.to_vec().into(),
        contract: agentgate_proto::CONTRACT,
        filter_version: "test".into(),
        node: "node".into(),
        served: Vec::new(),
    }
}

async fn run(directory: &Path, setup: &Setup, clock: &Clock, journal: &Arc<dyn Journal>) -> Running {
    tried(directory, setup, clock, journal).await.unwrap()
}

/// A start that may fail.
pub(crate) async fn tried(
    directory: &Path,
    setup: &Setup,
    clock: &Clock,
    journal: &Arc<dyn Journal>,
) -> Result<Running, RunError> {
    let text = format!(
        r#"
        filters.listen = "127.0.0.1:0"
        operators.listen = "127.0.0.1:0"
        metrics.listen = "127.0.0.1:0"
        [[filter]]
        identity = "{FILTER}"
        tenant = "default"
        servers = ["notes"]
        principal = "spiffe://agentgate.local/agent/laptop"
        [[filter]]
        identity = "spiffe://agentgate.local/filter/other"
        tenant = "default"
        servers = ["notes"]
        peers = "agentgate.local"
        [[operator]]
        identity = "spiffe://agentgate.local/operator/me"
        roles = ["admin"]
        [[operator]]
        identity = "spiffe://agentgate.local/operator/viewer"
        "#
    );
    let file = directory.join("control-plane.toml");
    fs::write(&file, text + &setup.configured).unwrap();
    let mut config = Config::read(&file).unwrap();
    config.limits = setup.limits.clone();
    config.tls.connection_age_max = setup.connection_age_max;
    let (clock, journal) = (clock.clone(), Arc::clone(journal));
    let data_key = DataKey::new(&[1; 32]);
    start(Given { config, clock, journal, keys: system_keys, data_key, replica: setup.replica.into() }).await
}

pub(crate) fn authority(directory: &Path, now: Time) {
    let validity = validity(now, DAY * 30);
    init(&Init { directory, trust_domain: "agentgate.local", validity, force: true }).unwrap();
}

pub(crate) fn certificate(directory: &Path, name: &str, now: Time, valid_for: Duration) {
    let (dns, ip) = (["localhost".to_owned()], ["127.0.0.1".parse().unwrap()]);
    let validity = validity(now, valid_for);
    issue(&Issue { directory, name, dns: &dns, ip: &ip, validity, force: true }).unwrap();
}

/// A minute back: certificates count in whole seconds.
fn validity(now: Time, valid_for: Duration) -> Validity {
    let not_before = Time::from_micros(now.micros() - 60_000_000);
    Validity { not_before, not_after: now.plus_micros(u64::try_from(valid_for.as_micros()).unwrap()) }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A GET over plain HTTP: the status and the body.
pub(crate) async fn visit(to: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.lines().next().unwrap().trim_start_matches("HTTP/1.1 ");
    (status.to_owned(), body.to_owned())
}

/// TLS with the certificate `name` of a directory (none: without one), trusting the authority of `trusted`.
pub(crate) fn tls(identity: Option<(&Path, &str)>, trusted: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted.join("authority.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        Some((directory, name)) => {
            let chain = CertificateDer::pem_file_iter(directory.join(format!("{name}.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    tokio_rustls::TlsConnector::from(Arc::new(config))
}

/// A TLS connection on what is connected already.
pub(crate) async fn shake_hands(tls: &TlsConnector, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    tls.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// A channel with the certificate `name` of a directory (none: without one), trusting the authority of `trusted`.
pub(crate) async fn connect(to: SocketAddr, identity: Option<(&Path, &str)>, trusted: &Path) -> Result<Channel, String> {
    let tls = tls(identity, trusted);
    let dial = move |_: Uri| {
        let tls = tls.clone();
        async move { shake_hands(&tls, TcpStream::connect(to).await?).await.map(TokioIo::new) }
    };
    let endpoint = Endpoint::from_shared(format!("http://{to}")).unwrap();
    endpoint.connect_with_connector(tower::service_fn(dial)).await.map_err(|error| format!("{error:?}"))
}

/// Asks until there is an answer; fails when patience ends. The manual clock stands still meanwhile.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

// === impl Vm ===

impl Vm {
    pub(crate) async fn open(channel: Channel) -> Result<Self, Status> {
        let (say, said) = mpsc::channel(4_096);
        let hear = GateClient::new(channel).converse(ReceiverStream::new(said)).await?.into_inner();
        Ok(Self { say, hear })
    }

    pub(crate) async fn say(&self, message: Said) {
        self.say.send(v1::ConverseRequest { message: Some(message) }).await.unwrap();
    }

    /// What comes next, but for standings: an order, or a policy that came into force, is told in between.
    pub(crate) async fn hear(&mut self) -> Result<Heard, Status> {
        loop {
            match self.hear_any().await? {
                Heard::Standing(_) => {}
                other => return Ok(other),
            }
        }
    }

    /// The next standing.
    pub(crate) async fn stood(&mut self) -> v1::Standing {
        match self.hear_any().await.unwrap() {
            Heard::Standing(standing) => standing,
            other => panic!("not a standing: {other:?}"),
        }
    }

    async fn hear_any(&mut self) -> Result<Heard, Status> {
        let message = tokio::time::timeout(PATIENCE, self.hear.message()).await.expect("an answer in time")?;
        message.and_then(|message| message.message).ok_or_else(|| Status::new(Code::Ok, "the stream ended"))
    }

    pub(crate) async fn ask(&mut self, ask: v1::Ask) -> v1::answer::Result {
        let counter = ask.counter;
        self.say(Said::Ask(ask)).await;
        match self.hear().await.unwrap() {
            Heard::Answer(answer) => {
                assert_eq!(answer.counter, counter);
                answer.result.unwrap()
            }
            other => panic!("not an answer: {other:?}"),
        }
    }

    pub(crate) async fn decided(&mut self, ask: v1::Ask) -> v1::Decided {
        match self.ask(ask).await {
            v1::answer::Result::Decided(decided) => decided,
            v1::answer::Result::Undecided(undecided) => panic!("undecided: {undecided:?}"),
        }
    }

    pub(crate) async fn undecided(&mut self, ask: v1::Ask) -> v1::Undecided {
        match self.ask(ask).await {
            v1::answer::Result::Undecided(undecided) => undecided,
            v1::answer::Result::Decided(decided) => panic!("decided: {decided:?}"),
        }
    }

    /// Reports and waits until as many counters are acknowledged.
    pub(crate) async fn report(&mut self, entries: Vec<v1::Entry>) -> Vec<u64> {
        let wanted = entries.len();
        self.say(Said::Report(v1::Report { entries, observations_lost: 0 })).await;
        let mut counters = Vec::new();
        while counters.len() < wanted {
            match self.hear().await.unwrap() {
                Heard::Acknowledged(acknowledged) => counters.extend(acknowledged.counters),
                other => panic!("not an acknowledgement: {other:?}"),
            }
        }
        counters.sort_unstable();
        counters
    }
}

/// A call of one tool, as a session-era client sends it.
pub(crate) fn call(counter: u64, tool: &str) -> v1::Ask {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{counter},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"title":"x"}}}}}}"#
    );
    ask(counter, &body)
}

pub(crate) fn ask(counter: u64, body: &str) -> v1::Ask {
    let header = |name: &str, value: &str| v1::Header { name: name.to_owned().into(), value: value.to_owned().into() };
    let headers = vec![
        header("content-type", "application/json"),
        header("accept", "application/json, text/event-stream"),
        header("mcp-protocol-version", "2025-11-25"),
    ];
    v1::Ask {
        counter,
        deadline_ms: 2_000,
        server: "notes".into(),
        peer: String::new(),
        head: Some(v1::Head { method: "POST".into(), path: "/mcp".into(), headers }),
        body: body.to_owned().into(),
        versions: vec!["2025-11-25".into()],
        query_keys: Vec::new(),
        number: counter,
        ..v1::Ask::default()
    }
}

pub(crate) fn outcome(counter: u64, kind: v1::OutcomeKind) -> v1::Entry {
    let outcome = v1::Outcome { kind: kind.into(), http_status: 200, duration_us: 1_234, ..v1::Outcome::default() };
    v1::Entry { counter, what: Some(v1::entry::What::Outcome(outcome)), ..v1::Entry::default() }
}

pub(crate) fn refused(ask: v1::Ask) -> v1::Entry {
    v1::Entry { counter: ask.counter, what: Some(v1::entry::What::Refused(ask)), ..v1::Entry::default() }
}
