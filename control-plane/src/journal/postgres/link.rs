//! One connection to the database: how it is found, what its session is set to, and what the server says beside its answers.
//! It refuses a server that only reads, and plain text over a network unless the configuration asks for it.

use super::{OpenError, Settings};
use crate::clock::Clock;
use agentgate_core::error::chain;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// For a session that writes nothing that must last: a lock that it takes, or a hint that it gives, waits for no disk and for no
/// standby.
pub(super) const FLEETING: &str = "SET synchronous_commit = off";

/// How long one host may take to be reached; the next one is tried then.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// How long one round trip may take, waiting for a lock included. What takes longer counts as lost.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(12);

/// The server lets go before we do: a lock that is waited for, a statement, and above all a transaction whose client is gone,
/// since it holds up every replica. Plans never depend on how large a table was when a statement was first planned (and none
/// is compiled: the price that stands for "never" would have the scan of one row compiled each time). A warning is always told.
const SESSION: &str = "SET lock_timeout = '8s'; SET statement_timeout = '10s'; SET idle_in_transaction_session_timeout = '5s'; \
     SET enable_seqscan = off; SET jit = off; SET client_min_messages = warning; SET default_transaction_isolation = 'read committed'; \
     SELECT set_config('synchronous_commit', current_setting('synchronous_commit'), false)";

#[derive(Clone)]
pub(super) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    password: Option<PathBuf>,
}

#[derive(Debug)]
pub(super) struct Link {
    pub client: Client,
    heard: Arc<Heard>,
    lost: watch::Receiver<bool>,
    driver: AbortHandle,
}

/// What the server said beside its answers.
#[derive(Debug, Default)]
struct Heard {
    warnings: AtomicU64,
    notified: Notify,
}

/// Why the database gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Failure {
    /// It said no: what was asked did not happen.
    #[error("{0}")]
    Refused(String),
    /// Nobody knows what became of it.
    #[error("{0}")]
    Lost(String),
    /// What it holds cannot be read.
    #[error("{0}")]
    Damaged(String),
}

/// What `work` comes to, if it does so in time.
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = || Failure::Lost(format!("the database did not answer within {} s", ANSWER_WITHIN.as_secs()));
    tokio::time::timeout(ANSWER_WITHIN, work).await.unwrap_or_else(|_| Err(late()))
}

// === impl Connector ===

impl std::fmt::Debug for Connector {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("hosts", &self.config.get_hosts()).finish_non_exhaustive()
    }
}

impl Connector {
    pub(super) fn new(settings: &Settings) -> Result<Self, OpenError> {
        // The text may hold a password: it is not repeated.
        let mut config: Config = settings.url.parse().map_err(|error| OpenError::Url(chain(&error)))?;
        let is_remote = config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_)));
        match config.get_ssl_mode() {
            SslMode::Disable if is_remote => {
                tracing::warn!("`journal.url` says sslmode=disable: records cross the network unencrypted");
            }
            SslMode::Prefer if !is_remote => drop(config.ssl_mode(SslMode::Disable)),
            SslMode::Disable => {}
            // `prefer` would fall back to plain text for whoever asks it to. The enum is not ours: what is unknown is strict too.
            SslMode::Prefer | SslMode::Require | _ => drop(config.ssl_mode(SslMode::Require)),
        }
        config.target_session_attrs(TargetSessionAttrs::ReadWrite).connect_timeout(CONNECT_WITHIN);
        config.keepalives_idle(Duration::from_secs(5)).tcp_user_timeout(ANSWER_WITHIN);
        if config.get_application_name().is_none() {
            config.application_name("agentgate");
        }
        let tls = MakeRustlsConnect::new(tls(settings.authority.as_deref(), &settings.clock)?);
        Ok(Self { config, tls, password: settings.password.clone() })
    }

    pub(super) async fn connect(&self) -> Result<Link, OpenError> {
        let mut config = self.config.clone();
        if let Some(path) = &self.password {
            // Read each time: a password may be changed while this runs.
            let read = std::fs::read_to_string(path).map_err(|source| OpenError::Password { path: path.clone(), source })?;
            config.password(read.trim_end_matches(['\r', '\n']));
        }
        let connecting = async { config.connect(self.tls.clone()).await.map_err(unreachable) };
        let late = || OpenError::Unreachable(format!("it did not answer within {} s", ANSWER_WITHIN.as_secs()));
        let (client, connection) = tokio::time::timeout(ANSWER_WITHIN, connecting).await.unwrap_or_else(|_| Err(late()))?;
        let heard = Arc::new(Heard::default());
        let (end, lost) = watch::channel(false);
        let driver = tokio::spawn(drive(connection, Arc::clone(&heard), end)).abort_handle();
        let link = Link { client, heard, lost, driver };
        in_time(link.run(SESSION)).await.map_err(|failure| OpenError::Unreachable(failure.to_string()))?;
        Ok(link)
    }
}

fn unreachable(error: tokio_postgres::Error) -> OpenError {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
    // So says the client where no host lets it write.
    if source.is_some_and(|source| source.kind() == io::ErrorKind::PermissionDenied && source.raw_os_error().is_none()) {
        return OpenError::ReadOnly;
    }
    OpenError::from(Failure::from(error))
}

fn tls(authority: Option<&Path>, clock: &Clock) -> Result<ClientConfig, OpenError> {
    let mut roots = RootCertStore::empty();
    match authority {
        Some(path) => {
            let wrong = |why: String| OpenError::Authority { path: path.into(), why };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("it holds no certificate".to_owned()));
            }
        }
        // One that is unreadable among many is no reason to trust none.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let config = ClientConfig::builder_with_details(Arc::new(aws_lc_rs::default_provider()), Arc::new(clock.clone()))
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError::Url(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Carries what is said to and fro. A warning is counted before the answer that follows it is given on.
async fn drive(mut connection: Connection<Socket, impl Stream>, heard: Arc<Heard>, end: watch::Sender<bool>) {
    loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notice(notice))) => {
                tracing::warn!(notice = notice.message(), "the journal's database warns");
                heard.warnings.fetch_add(1, Ordering::SeqCst);
            }
            Some(Ok(AsyncMessage::Notification(_))) => heard.notified.notify_one(),
            // Whatever else it may ever say asks for nothing.
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(error = chain(&error), "a connection to the journal's database ended");
                break;
            }
            None => break,
        }
    }
    end.send_replace(true);
}

/// What the client's TLS gives, under a shorter name.
trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Stream for T {}

// === impl Link ===

impl Link {
    /// Statements without arguments and without an answer.
    pub(super) async fn run(&self, statements: &str) -> Result<(), Failure> {
        Ok(self.client.batch_execute(statements).await?)
    }

    /// How many warnings there were.
    pub(super) fn warnings(&self) -> u64 {
        self.heard.warnings.load(Ordering::SeqCst)
    }

    /// Waits for a notification.
    pub(super) async fn notified(&self) {
        self.heard.notified.notified().await;
    }

    pub(super) fn is_lost(&self) -> bool {
        self.client.is_closed() || *self.lost.borrow()
    }

    pub(super) async fn lost(&self) {
        // The sender's end is the connection's end.
        let _ = self.lost.clone().wait_for(|lost| *lost).await;
    }
}

impl Drop for Link {
    /// At once: an answer that nobody waits for may never come.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

// === impl Failure ===

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else { return Self::Lost(chain(&error)) };
        let text = format!("the database says `{}` ({})", said.message(), said.code().code());
        if [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(said.code()) {
            return Self::Damaged(text);
        }
        Self::Refused(text)
    }
}
