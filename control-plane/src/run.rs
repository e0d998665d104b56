//! The only place that knows everything: reads the command line, builds the rooms, joins them, and ends them in order.

mod journal;

use crate::approval::rpc::ApprovalsRpc;
use crate::approval::{ApprovalError, Approvals};
use crate::body::{self, Bodies, DataKey, DataKeyError, KeyError, Keys};
use crate::clock::Clock;
use crate::config::{Backend, Config, ConfigError, DOCUMENTED, Database};
use crate::control::rpc::ControlRpc;
use crate::control::{Control, ControlError};
use crate::copy::{CopyError, copying_slot};
use crate::decide::authz::rpc::AuthzRpc;
use crate::decide::rpc::GateRpc;
use crate::decide::{Decide, Rooms};
use crate::evidence::Evidence;
use crate::evidence::rpc::EvidenceRpc;
use crate::follow::Follow;
use crate::history::rpc::PolicyRpc;
use crate::history::{self, History};
use crate::identity::{Identity, Trust, TrustError};
use crate::journal::embedded::{Embedded, OpenError, Settings};
use crate::journal::postgres::{self, Postgres};
use crate::journal::{Halting, Journal, Memory};
use crate::policy::{Policy, PolicyError};
use crate::privacy::Privacy;
use crate::quota::Quota;
use crate::rarely::Rarely;
use crate::replica::{self, Replicas};
use crate::retention::rpc::RetentionRpc;
use crate::retention::{self, Retention};
use crate::server::{self, Listening, Services, Site};
use crate::session::rpc::TraceRpc;
use crate::session::{PastError, Session};
use crate::status::Status;
use crate::telemetry;
use crate::transparency::rpc::TransparencyRpc;
use crate::transparency::{self, AnchorError, Anchoring, LogKeyError, Transparency};
use crate::transparency::{TransparencyError, WitnessError, Witnesses, log_keys};
use crate::webhook::{Webhook, WebhookError};
use agentgate_core::error::chain;
use agentgate_core::id::Epoch;
use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

/// Threads that decide. A decision is some hundred microseconds of work and a wait for the disk; the journal writes on a
/// thread of its own.
const WORKERS: usize = 2;

/// How long work that cannot be cut is waited for at the end: everything that must be durable is by then.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

/// AgentGate's control plane: decides calls, remembers them, and shows what it remembers.
#[derive(Debug, Parser)]
#[command(
    name = "agentgate-control-plane",
    version,
    after_help = "SIGTERM and Ctrl-C drain: calls in flight are answered, then it ends.",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Arguments {
    /// The configuration file; --print-config shows what may stand in it
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    config: Option<PathBuf>,
    /// Print every field of the configuration with its default, and end
    #[arg(long)]
    print_config: bool,
    /// Write the addresses that were bound, as JSON, once calls are served
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// How much to log to stderr: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: tracing::Level,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Work on a journal that no control plane writes meanwhile
    #[command(subcommand)]
    Journal(journal::Verb),
}

#[derive(Debug, Error)]
pub enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Approvals(#[from] ApprovalError),
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    DataKey(#[from] DataKeyError),
    #[error(transparent)]
    LogKey(#[from] LogKeyError),
    #[error("the transparency log cannot be taken up")]
    Log(#[from] TransparencyError),
    #[error(transparent)]
    Witness(#[from] WitnessError),
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    #[error("the journal's keys cannot be taken up")]
    Keys(#[from] KeyError),
    /// It was halted before, and so nothing that the journal lacks can be made in it.
    #[error("{why}; so nothing can be served")]
    Halted { why: String, source: KeyError },
    #[error(transparent)]
    Past(#[from] PastError),
    #[error(transparent)]
    Journal(#[from] OpenError),
    #[error(transparent)]
    Database(#[from] postgres::OpenError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("`{}` holds no journal", .0.display())]
    NoJournal(PathBuf),
    #[error("the journal is an unfinished copy; finish it first: agentgate-control-plane journal copy")]
    UnfinishedCopy,
    #[error("`[journal] backend` is not `postgres`: there is no schema to migrate")]
    NoSchema,
    #[error("the schema is at its first step; a step further back would remove the journal")]
    FirstStep,
    #[error("cannot listen on {address}; is another control plane running, or is the port taken?")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot write `{}`", path.display())]
    ReadyFile { path: PathBuf, source: std::io::Error },
    #[error("the system has no randomness to give: {0}")]
    Randomness(String),
    #[error("cannot start")]
    Start(#[source] std::io::Error),
    #[error("a listener failed: {0}")]
    Serve(String),
}

/// A control plane that serves.
#[derive(Debug)]
pub struct Running {
    pub filters: SocketAddr,
    pub operators: SocketAddr,
    pub metrics: SocketAddr,
    pub status: Arc<Status>,
    pub decide: Arc<Decide>,
    pub session: Arc<Session>,
    quota: Arc<Quota>,
    replicas: Arc<Replicas>,
    /// Where the index of traces is kept for the next start.
    snapshot: Option<PathBuf>,
    leave: watch::Sender<bool>,
    under_way: TaskTracker,
    listeners: JoinSet<Result<(), String>>,
    chores: JoinSet<()>,
    drain: Duration,
}

/// What a control plane is given instead of asking the world for it.
#[derive(Debug)]
pub struct Given {
    pub config: Config,
    pub clock: Clock,
    pub journal: Arc<dyn Journal>,
    pub keys: Keys,
    pub data_key: DataKey,
    pub replica: String,
}

/// # Errors
/// When it cannot start, or a listener fails.
pub fn main() -> Result<(), RunError> {
    let arguments = Arguments::parse();
    if arguments.print_config {
        print!("{DOCUMENTED}");
        return Ok(());
    }
    telemetry::log(arguments.log);
    if let Some(Verb::Journal(verb)) = arguments.verb {
        return journal::run(verb);
    }
    let config = Config::read(&arguments.config.unwrap_or_default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(RunError::Start)?;
    let ended = runtime.block_on(async {
        let clock = Clock::system();
        let journal = journal(&config, &clock).await?;
        let keys: Keys = body::system_keys;
        let host = rustix::system::uname();
        let replica = replica::name(config.replica.clone(), &host.nodename().to_string_lossy(), random(keys)?);
        let data_key = match config.journal {
            // Nothing outlives it, so nothing has to be opened later.
            Backend::Memory => DataKey::new(&keys().map_err(RunError::Randomness)?),
            Backend::Embedded { .. } | Backend::Postgres(_) => body::data_key(&config.data_key, journal.as_ref(), keys).await?,
        };
        let given = Given { config, clock, journal, keys, data_key, replica };
        let mut running = start(given).await?;
        if let Some(path) = arguments.ready_file {
            running.write_ready(&path)?;
        }
        tracing::info!(filters = %running.filters, operators = %running.operators, metrics = %running.metrics, "serving");
        if let Some(why) = running.status.unready() {
            tracing::error!(why, "serving, but no call can be decided");
        }
        let failed = tokio::select! {
            () = told_to_leave() => None,
            failed = running.listeners.join_next() => failed,
        };
        running.leave().await;
        match failed {
            Some(Ok(Err(why))) => Err(RunError::Serve(why)),
            Some(Err(error)) => Err(RunError::Serve(error.to_string())),
            Some(Ok(Ok(()))) | None => Ok(()),
        }
    });
    // Whoever still reads the past on a thread of their own holds nobody up.
    runtime.shutdown_timeout(LEFT_BEHIND);
    ended
}

/// Builds every room, joins them and serves.
///
/// # Errors
/// When the certificates, the journal or a listener cannot be used.
pub async fn start(given: Given) -> Result<Running, RunError> {
    telemetry::metrics();
    let Given { config, clock, journal, keys, data_key, replica } = given;
    if journal.slot(copying_slot()).await.map_err(PastError::Read)?.is_some() {
        return Err(RunError::UnfinishedCopy);
    }
    // A journal in memory has nothing that outlives it, and so has its log.
    let lasting = (config.journal != Backend::Memory).then_some(&config.transparency);
    let halting = Halting::new(journal);
    let signing = log_keys(lasting, &halting, keys).await?;
    let log = Arc::new(Transparency::open(halting.clone(), clock.clone(), signing, lasting).await?);
    let witnesses = Witnesses::open(lasting, Arc::clone(&log), &clock)?;
    let anchoring = Anchoring::open(lasting, Arc::clone(&log), &clock)?;
    let journal: Arc<dyn Journal> = Arc::new(halting);
    let bodies = Bodies::open(Arc::clone(&journal), data_key, keys).await.map_err(|source| match log.stopped() {
        Some(why) => RunError::Halted { why, source },
        None => RunError::Keys(source),
    });
    let bodies = Arc::new(bodies?);
    let trust = Arc::new(Trust::open(config.tls.clone(), clock.clone())?);
    let identity = Arc::new(Identity::new(&config, trust, clock.clone()));
    let control = Arc::new(Control::open(Arc::clone(&bodies), clock.clone(), config.limits.clone()).await?);
    let policy = Policy::open(Arc::clone(&journal), clock.clone(), config.policy.clone(), Arc::clone(&control)).await?;
    let policy = Arc::new(policy);
    policy.try_folder().await;
    let askers = identity.askers().cloned().collect();
    let session = Arc::new(Session::open(Arc::clone(&bodies), clock.clone(), config.limits.clone(), askers).await?);
    let waiting = (config.approvals.clone(), config.limits.clone());
    let approvals = Arc::new(Approvals::open(Arc::clone(&bodies), clock.clone(), waiting).await?);
    let privacy = Arc::new(Privacy::new(config.privacy.clone(), Arc::clone(&bodies)));
    let told = (Arc::clone(&journal), Arc::clone(&approvals), Arc::clone(&privacy));
    let webhook = Arc::new(Webhook::open(config.approvals.webhook.as_ref(), clock.clone(), keys, told)?);
    let quota = Arc::new(Quota::open(&bodies, clock.clone(), &config.quotas).await.map_err(PastError::Read)?);
    let rooms = Rooms {
        heard: Arc::clone(&identity.heard),
        control: Arc::clone(&control),
        policy: Arc::clone(&policy),
        approvals: Arc::clone(&approvals),
        session: Arc::clone(&session),
        bodies: Arc::clone(&bodies),
        privacy: Arc::clone(&privacy),
        quota: Arc::clone(&quota),
    };
    let known = history::Rooms {
        heard: Arc::clone(&identity.heard),
        control: Arc::clone(&control),
        policy: Arc::clone(&policy),
        session: Arc::clone(&session),
    };
    let follow = Follow {
        journal: Arc::clone(&journal),
        clock: clock.clone(),
        control: Arc::clone(&control),
        policy: Arc::clone(&policy),
        approvals: Arc::clone(&approvals),
        session: Arc::clone(&session),
        told: Rarely::default(),
    };
    let kept = retention::Rooms {
        bodies: Arc::clone(&bodies),
        control: Arc::clone(&control),
        session: Arc::clone(&session),
        approvals: Arc::clone(&approvals),
        privacy: Arc::clone(&privacy),
    };
    let tenants = config.filter.values().flat_map(|filter| filter.tenants().cloned()).collect();
    let retention = Arc::new(Retention::new(kept, clock.clone(), config.retention.clone(), tenants));
    let history = Arc::new(History::new(Arc::clone(&bodies), clock.clone(), config.limits.clone(), known));
    let decide = Arc::new(Decide::new(&config.limits, clock.clone(), rooms));
    let known_here = (Arc::clone(&identity.heard), Arc::clone(&control));
    let named = (replica.clone(), random(keys)?);
    let replicas = Arc::new(Replicas::new(Arc::clone(&journal), clock.clone(), known_here, named));
    let status = Arc::new(Status {
        replica: replica.clone(),
        started_at: clock.now(),
        clock: clock.clone(),
        journal,
        identity: Arc::clone(&identity),
        control: Arc::clone(&control),
        policy: Arc::clone(&policy),
        approvals: Arc::clone(&approvals),
        webhook: Arc::clone(&webhook),
        decide: Arc::clone(&decide),
        quota: Arc::clone(&quota),
        replicas: Arc::clone(&replicas),
        retention: Arc::clone(&retention),
        privacy: Arc::clone(&privacy),
        log: Arc::clone(&log),
        oldest: OnceLock::new(),
        growth: Mutex::default(),
    });

    let (leave, leaving) = watch::channel(false);
    let bound = (listen(config.filters).await?, listen(config.operators).await?, listen(config.metrics).await?);
    let ((filters, on_filters), (operators, on_operators), (metrics, on_metrics)) = bound;
    let connection_age_max = config.tls.connection_age_max;
    let limits = config.limits.clone();
    let listening = Listening {
        identity: Arc::clone(&identity),
        clock: clock.clone(),
        limits: limits.clone(),
        connection_age_max,
        leaving: leaving.clone(),
        failed: Arc::default(),
    };
    let under_way = TaskTracker::new();
    let gate = GateRpc {
        decide: Arc::clone(&decide),
        control: Arc::clone(&control),
        identity: Arc::clone(&identity),
        clock: clock.clone(),
        limits,
        connection_age_max,
        replica,
        leaving: leaving.clone(),
        under_way: under_way.clone(),
    };
    let authz = AuthzRpc {
        decide: Arc::clone(&decide),
        identity: Arc::clone(&identity),
        epoch: Epoch(random(keys)?),
        asked: Arc::default(),
        under_way: under_way.clone(),
    };
    let given = (Arc::clone(&bodies), Arc::clone(&privacy));
    let evidence = Arc::new(Evidence::new(given, clock.clone(), Arc::clone(&log), config.limits.body_bytes_max));
    let services = Services {
        trace: TraceRpc::new(Arc::clone(&session), leaving.clone()),
        status: Arc::clone(&status),
        control: ControlRpc { control, identity: Arc::clone(&identity) },
        approvals: ApprovalsRpc { approvals, identity: Arc::clone(&identity), privacy },
        policy: PolicyRpc { history, leaving: leaving.clone() },
        transparency: TransparencyRpc(Arc::clone(&log)),
        evidence: EvidenceRpc { evidence, identity: Arc::clone(&identity), leaving: leaving.clone() },
        retention: RetentionRpc { retention: Arc::clone(&retention), identity: Arc::clone(&identity) },
    };

    let mut listeners = JoinSet::new();
    let (to_filters, to_operators) = (listening.clone(), listening);
    listeners.spawn(async move { to_filters.filters(on_filters, gate, authz).await.map_err(|error| chain(&error)) });
    listeners.spawn(async move { to_operators.operators(on_operators, services).await.map_err(|error| chain(&error)) });
    let files = transparency::http::router(Arc::clone(&log));
    let (files, beside) = match config.transparency.listen {
        Some(address) => (Some((listen(address).await?.1, files)), axum::Router::new()),
        None => (None, files),
    };
    let site = Site::metrics(Arc::clone(&status), beside, &config.limits, leaving.clone());
    let (ticking, parting) = (clock.clone(), leaving.clone());
    listeners.spawn(async move {
        server::plain(on_metrics, site, ticking, parting).await;
        Ok(())
    });
    if let Some((on_files, files)) = files {
        let (site, ticking) = (Site::log(files, &config.limits), clock.clone());
        listeners.spawn(async move {
            server::plain(on_files, site, ticking, leaving).await;
            Ok(())
        });
    }
    let mut chores = JoinSet::new();
    // All that is in a journal of one process is known already.
    if follow.journal.is_shared() {
        let cursor = follow.session.follow();
        chores.spawn(follow.following(cursor));
        chores.spawn(Arc::clone(&replicas).registering());
    }
    let snapshot = lasting.map(|_| config.traces.snapshot.clone());
    chores.spawn(Arc::clone(&session).indexing(snapshot.clone()));
    chores.spawn(Arc::clone(&quota).watching());
    chores.spawn(policy.watch());
    chores.spawn(webhook.telling());
    chores.spawn(Arc::clone(&decide).sweeping(leave.subscribe()));
    chores.spawn(watch_certificates(identity, clock));
    chores.spawn(upkeep());
    chores.spawn(rewrap(bodies));
    chores.spawn(retention.keeping());
    chores.spawn(Arc::clone(&log).auditing());
    chores.spawn(witnesses.asking());
    chores.spawn(anchoring.sending());
    chores.spawn(log.integrating());
    chores.spawn(Arc::clone(&status).measuring());
    let drain = config.limits.drain();
    Ok(Running {
        filters,
        operators,
        metrics,
        status,
        decide,
        session,
        quota,
        replicas,
        snapshot,
        leave,
        under_way,
        listeners,
        chores,
        drain,
    })
}

/// How often the metrics' histograms are drained, so that they do not grow while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// So many random bytes; no more than a key has.
fn random<const N: usize>(keys: Keys) -> Result<[u8; N], RunError> {
    let key = keys().map_err(RunError::Randomness)?;
    Ok(std::array::from_fn(|at| key.get(at).copied().unwrap_or_default()))
}

async fn journal(config: &Config, clock: &Clock) -> Result<Arc<dyn Journal>, RunError> {
    match config.journal.clone() {
        Backend::Memory => Ok(Arc::new(Memory::new())),
        Backend::Embedded { directory } => Ok(Arc::new(Embedded::open(Settings::new(directory))?)),
        Backend::Postgres(Database { url, password, authority, migrate }) => {
            let settings = postgres::Settings { url, password, authority, migrate, clock: clock.clone() };
            Ok(Arc::new(Postgres::open(settings).await?))
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(SocketAddr, TcpListener), RunError> {
    let failed = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    Ok((listener.local_addr().map_err(failed)?, listener))
}

async fn told_to_leave() {
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn watch_certificates(identity: Arc<Identity>, clock: Clock) {
    loop {
        clock.sleep(crate::identity::POLL).await;
        let trust = Arc::clone(&identity.trust);
        let _ = tokio::task::spawn_blocking(move || trust.look_again()).await;
    }
}

/// Once, at the start: whatever an earlier data key wrapped is wrapped under the one in use.
async fn rewrap(bodies: Arc<Bodies>) {
    match bodies.rewrap().await {
        Ok(0) => {}
        Ok(count) => {
            tracing::info!(count, "keys were wrapped under the data key in use; the earlier one is not needed any longer");
        }
        Err(error) => tracing::error!(
            error = chain(&error),
            "not all keys are under the data key in use; it is tried again at the next start"
        ),
    }
}

async fn upkeep() {
    loop {
        tokio::time::sleep(UPKEEP).await;
        telemetry::metrics().run_upkeep();
    }
}

// === impl Running ===

impl Running {
    fn write_ready(&self, path: &Path) -> Result<(), RunError> {
        let (filters, operators, metrics) = (self.filters, self.operators, self.metrics);
        let json = format!("{{\"filters\":\"{filters}\",\"operators\":\"{operators}\",\"metrics\":\"{metrics}\"}}\n");
        // Renamed into place, so that whoever waits for the file never reads half of it.
        let partial = path.with_extension("partial");
        let written = std::fs::write(&partial, json).and_then(|()| std::fs::rename(&partial, path));
        written.map_err(|source| RunError::ReadyFile { path: path.into(), source })
    }

    /// Drains: every conversation is told, calls in flight are answered, counts of floods are recorded.
    pub async fn leave(mut self) {
        tracing::info!("leaving");
        self.leave.send_replace(true);
        let ended = async {
            while self.listeners.join_next().await.is_some() {}
            // Nobody asks any more. What was asked by those who hung up is still recorded.
            self.under_way.close();
            self.under_way.wait().await;
        };
        let drained = tokio::time::timeout(self.drain, ended).await.is_ok();
        if !drained {
            tracing::warn!("some conversations did not end in time");
        }
        self.chores.shutdown().await;
        self.decide.sweep(true).await;
        self.quota.leave().await;
        self.replicas.leave().await;
        // Every call was answered: whatever is durable is folded.
        if let Some(file) = self.snapshot.filter(|_| drained) {
            self.session.save(&file, self.session.folded()).await;
        }
    }
}
