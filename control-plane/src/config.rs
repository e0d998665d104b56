//! The configuration file. Unknown fields and bad values are errors that name the field and say what to do.
//!
//! `config/default.toml` documents every field with its default; a test holds both together.

mod approvals;
mod data_key;
mod operator;
mod privacy;
mod quota;
mod retention;
mod transparency;
mod users;

use agentgate_core::id::{Asker, Server, SpiffeId, Tenant};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

use approvals::ApprovalsFile;
pub use approvals::{Approvals, WebhookTarget};
use data_key::DataKeyFile;
pub use data_key::{DataKeySource, DataKeys};
use operator::OperatorFile;
pub use operator::Role;
pub use privacy::Privacy;
use privacy::PrivacyFile;
use quota::QuotaFile;
pub use quota::Quotas;
pub use retention::Retention;
use retention::RetentionFile;
use transparency::TransparencyFile;
pub use transparency::{Anchor, Transparency, Witness};
use users::UsersFile;
pub use users::{Agents, ISSUER, Tenants, Users};

/// What `--print-config` prints.
pub const DOCUMENTED: &str = include_str!("config/default.toml");

/// What a filter takes of one standing; with more it could not be told what is ordered (`filter/src/standing.rs`).
const STANDING_SERVERS: usize = 1_024;
const STANDING_TOOLS: u32 = 8_192;

/// The configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// None: named by its host.
    pub replica: Option<String>,
    pub filters: SocketAddr,
    pub operators: SocketAddr,
    pub metrics: SocketAddr,
    pub tls: Tls,
    pub journal: Backend,
    pub data_key: DataKeys,
    pub privacy: Privacy,
    pub transparency: Transparency,
    pub traces: Traces,
    pub retention: Retention,
    pub policy: PolicyFolder,
    pub filter: BTreeMap<Asker, Filter>,
    pub operator: BTreeMap<SpiffeId, BTreeSet<Role>>,
    pub approvals: Approvals,
    pub quotas: Quotas,
    pub limits: Limits,
}

#[derive(Clone, Debug)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
    pub connection_age_max: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    Embedded { directory: PathBuf },
    Memory,
    Postgres(Database),
}

/// The database that many replicas share.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    pub url: String,
    pub password: Option<PathBuf>,
    pub authority: Option<PathBuf>,
    pub migrate: bool,
}

#[derive(Clone, Debug)]
pub struct PolicyFolder {
    pub directory: PathBuf,
    pub poll: Duration,
}

/// What is kept of traces beside the journal.
#[derive(Clone, Debug)]
pub struct Traces {
    /// The index, for the next start.
    pub snapshot: PathBuf,
}

/// What one filter's certificate may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub identity: Asker,
    pub tenant: Tenant,
    pub servers: BTreeSet<Server>,
    pub callers: Callers,
    /// None: claims of tokens mean nothing.
    pub users: Option<Users>,
}

/// On whose behalf a filter may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Outbound: whoever stands beside the filter.
    One(SpiffeId),
    /// Inbound and gateway: the caller's own certificate, of this trust domain.
    Peers { trust_domain: String },
    /// Nobody but whom the token names.
    Users,
}

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read `{}`; name the configuration file with --config, and see --print-config", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("`{}` is not a configuration; compare it with --print-config", path.display())]
    Syntax { path: PathBuf, source: toml::de::Error },
    #[error("`{field}`: {why}")]
    Field { field: String, why: String },
}

macro_rules! limits {
    ($($name:ident = $default:literal),* $(,)?) => {
        /// Every bound of the control plane; `config/default.toml` says what each is for.
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Limits { $(pub $name: u32),* }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default),* }
            }
        }

        impl Limits {
            fn check(&self) -> Result<(), ConfigError> {
                $(if self.$name == 0 {
                    return Err(field(concat!("limits.", stringify!($name)), "must be at least 1"));
                })*
                Ok(())
            }
        }
    };
}

limits! {
    in_flight_per_tenant_max = 1_024,
    in_flight_per_subject_max = 256,
    deciding_max = 128,
    deadline_ms_max = 30_000,
    body_bytes_max = 1_048_576,
    message_bytes_max = 4_194_304,
    connections_max = 1_024,
    streams_per_connection_max = 64,
    messages_per_stream_max = 1_024,
    handshake_ms_max = 5_000,
    metrics_connections_max = 16,
    metrics_connection_ms_max = 5_000,
    log_connections_max = 64,
    log_connection_ms_max = 10_000,
    keepalive_s = 20,
    outcome_deadline_s = 300,
    silence_s = 30,
    malformed_per_subject_per_s_max = 20,
    flood_interval_s = 10,
    recent_calls_max = 8_192,
    recent_traces_max = 4_096,
    indexed_traces_max = 1_000_000,
    subjects_max = 10_000,
    open_calls_max = 100_000,
    recovered_records_max = 400_000,
    approvals_max = 4_096,
    approvals_per_subject_max = 64,
    kills_max = 1_024,
    modes_max = 4_096,
    holds_max = 1_024,
    tails_max = 16,
    drain_s = 10,
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    replica: Option<String>,
    #[serde(default)]
    filters: Listener,
    #[serde(default)]
    operators: Listener,
    #[serde(default)]
    metrics: Listener,
    #[serde(default)]
    tls: TlsFile,
    #[serde(default)]
    journal: JournalFile,
    #[serde(default)]
    data_key: DataKeyFile,
    #[serde(default)]
    privacy: PrivacyFile,
    #[serde(default)]
    transparency: TransparencyFile,
    #[serde(default)]
    traces: TracesFile,
    #[serde(default)]
    retention: RetentionFile,
    #[serde(default)]
    policy: PolicyFile,
    #[serde(default)]
    filter: Vec<FilterFile>,
    #[serde(default)]
    operator: Vec<OperatorFile>,
    #[serde(default)]
    approvals: ApprovalsFile,
    #[serde(default)]
    quota: QuotaFile,
    #[serde(default)]
    limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listener {
    listen: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsFile {
    certificate: PathBuf,
    key: PathBuf,
    authority: PathBuf,
    connection_age_s_max: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct JournalFile {
    backend: String,
    directory: PathBuf,
    url: Option<String>,
    password: Option<PathBuf>,
    authority: Option<PathBuf>,
    migrate: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TracesFile {
    snapshot: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PolicyFile {
    directory: PathBuf,
    poll_ms: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilterFile {
    identity: String,
    tenant: String,
    servers: Vec<String>,
    principal: Option<String>,
    peers: Option<String>,
    users: Option<UsersFile>,
}

// === impl Config ===

impl Config {
    /// # Errors
    /// When the file cannot be read, or a field of it is unknown or wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let file = toml::from_str(&text).map_err(|source| ConfigError::Syntax { path: path.into(), source })?;
        Self::check(file, path.parent().unwrap_or(Path::new("")))
    }

    fn check(file: File, base: &Path) -> Result<Self, ConfigError> {
        file.limits.check()?;
        if file.limits.message_bytes_max <= file.limits.body_bytes_max {
            return Err(field(
                "limits.message_bytes_max",
                "must be larger than limits.body_bytes_max: a message carries a body and its head",
            ));
        }
        if file.limits.modes_max > STANDING_TOOLS {
            return Err(field(
                "limits.modes_max",
                &format!("must be at most {STANDING_TOOLS}: a filter takes no more in its standing"),
            ));
        }
        let filter = filters(file.filter)?;
        let operator = operator::read(&file.operator)?;
        if let Some(both) = operator.keys().find(|identity| filter.contains_key(*identity)) {
            return Err(field("operator", &format!("`{both}` is a filter too; give operators certificates of their own")));
        }
        Ok(Self {
            replica: file.replica.map(replica).transpose()?,
            filters: address("filters.listen", file.filters.listen, 9_443)?,
            operators: address("operators.listen", file.operators.listen, 9_444)?,
            metrics: address("metrics.listen", file.metrics.listen, 9_445)?,
            tls: Tls {
                certificate: base.join(file.tls.certificate),
                key: base.join(file.tls.key),
                authority: base.join(file.tls.authority),
                connection_age_max: positive("tls.connection_age_s_max", file.tls.connection_age_s_max, Duration::from_secs)?,
            },
            journal: journal(file.journal, base)?,
            data_key: DataKeys::check(file.data_key, base)?,
            privacy: Privacy::check(&file.privacy)?,
            transparency: Transparency::check(file.transparency, base)?,
            traces: Traces { snapshot: base.join(file.traces.snapshot) },
            retention: Retention::check(file.retention)?,
            policy: PolicyFolder {
                directory: base.join(file.policy.directory),
                poll: positive("policy.poll_ms", file.policy.poll_ms, Duration::from_millis)?,
            },
            quotas: Quotas::check(&file.quota, &filter)?,
            filter,
            operator,
            approvals: Approvals::check(file.approvals, base)?,
            limits: file.limits,
        })
    }
}

/// Short enough that the names of all replicas fit into one slot, and a word on a line.
pub(crate) const REPLICA_BYTES: usize = 64;

fn replica(name: String) -> Result<String, ConfigError> {
    if (1..=REPLICA_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(name);
    }
    Err(field("replica", &format!("`{}` is no name; write 1 to {REPLICA_BYTES} letters, digits or signs", name.escape_default())))
}

fn journal(file: JournalFile, base: &Path) -> Result<Backend, ConfigError> {
    let JournalFile { backend, directory, url, password, authority, migrate } = file;
    let in_base = |path: Option<PathBuf>| path.map(|path| base.join(path));
    let for_postgres = [("url", url.is_some()), ("password", password.is_some()), ("authority", authority.is_some())];
    let stray = for_postgres.iter().find(|(_, stands)| *stands && backend != "postgres");
    if let Some((name, _)) = stray {
        return Err(field(&format!("journal.{name}"), "is for the backend `postgres`; name that, or leave this out"));
    }
    match (backend.as_str(), url) {
        ("embedded", _) => Ok(Backend::Embedded { directory: base.join(directory) }),
        ("memory", _) => Ok(Backend::Memory),
        ("postgres", Some(url)) => {
            Ok(Backend::Postgres(Database { url, password: in_base(password), authority: in_base(authority), migrate }))
        }
        ("postgres", None) => Err(field("journal.url", "is missing; write e.g. `postgresql://agentgate@db.example/agentgate`")),
        (other, _) => Err(field("journal.backend", &format!("`{other}` is unknown; use `embedded`, `postgres` or `memory`"))),
    }
}

fn filters(entries: Vec<FilterFile>) -> Result<BTreeMap<Asker, Filter>, ConfigError> {
    let mut filters = BTreeMap::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let at = |what: &str| format!("filter[{index}].{what}");
        let identity: Asker = name(&at("identity"), &entry.identity)?;
        let callers = match (entry.principal, entry.peers) {
            (Some(principal), None) => Callers::One(name(&at("principal"), &principal)?),
            (None, Some(trust_domain)) => Callers::Peers { trust_domain: domain(&at("peers"), trust_domain)? },
            (Some(_), Some(_)) => return Err(field(&at("peers"), "stands beside `principal`; leave one of them out")),
            (None, None) if entry.users.is_some() => Callers::Users,
            (None, None) => {
                let why = "is missing; name a principal, a trust domain in `peers`, or the issuers of [filter.users]";
                return Err(field(&at("principal"), why));
            }
        };
        let servers = entry.servers.iter().map(|server| name(&at("servers"), server)).collect::<Result<BTreeSet<Server>, _>>()?;
        if servers.is_empty() {
            return Err(field(&at("servers"), "is empty; name the servers that this filter may ask for"));
        }
        if servers.len() > STANDING_SERVERS {
            return Err(field(
                &at("servers"),
                &format!("has more than {STANDING_SERVERS} names: a filter takes no more in its standing"),
            ));
        }
        let tenant = name(&at("tenant"), &entry.tenant)?;
        let users = entry.users.map(|users| Users::check(&at, users, &callers, &tenant)).transpose()?;
        let filter = Filter { identity: identity.clone(), tenant, servers, callers, users };
        if filters.insert(identity, filter).is_some() {
            return Err(field(&at("identity"), &format!("`{}` has an entry already", entry.identity)));
        }
    }
    Ok(filters)
}

fn name<'a, T: TryFrom<&'a str, Error = agentgate_core::id::NameError>>(at: &str, text: &'a str) -> Result<T, ConfigError> {
    T::try_from(text).map_err(|error| field(at, &error.to_string()))
}

/// A trust domain is checked as a part of the SPIFFE IDs that it will be compared with.
fn domain(at: &str, text: String) -> Result<String, ConfigError> {
    match SpiffeId::try_from(format!("spiffe://{text}/x").as_str()) {
        Ok(id) if id.trust_domain() == text => Ok(text),
        Ok(_) | Err(_) => Err(field(at, &format!("`{text}` is no trust domain; write e.g. `agentgate.local`"))),
    }
}

fn address(at: &str, text: Option<String>, port: u16) -> Result<SocketAddr, ConfigError> {
    let Some(text) = text else { return Ok(SocketAddr::from(([127, 0, 0, 1], port))) };
    text.parse().map_err(|_| field(at, &format!("`{text}` is no address; write e.g. `127.0.0.1:{port}`")))
}

fn positive(at: &str, value: u32, unit: impl Fn(u64) -> Duration) -> Result<Duration, ConfigError> {
    if value == 0 {
        return Err(field(at, "must be at least 1"));
    }
    Ok(unit(u64::from(value)))
}

fn field(field: &str, why: &str) -> ConfigError {
    ConfigError::Field { field: field.into(), why: why.into() }
}

// === impl Filter ===

impl Filter {
    /// Every tenant that a call through it may concern.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        let of_users = self.users.iter().filter_map(|users| users.tenants.as_ref()).flat_map(|tenants| &tenants.known);
        std::iter::once(&self.tenant).chain(of_users)
    }
}

// === impl Database ===

impl std::fmt::Debug for Database {
    /// Without the url: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url: _, password, authority, migrate } = self;
        f.debug_struct("Database")
            .field("password", password)
            .field("authority", authority)
            .field("migrate", migrate)
            .finish_non_exhaustive()
    }
}

// === impl TlsFile, JournalFile, TracesFile, PolicyFile ===

impl Default for TlsFile {
    fn default() -> Self {
        Self {
            certificate: "control-plane.pem".into(),
            key: "control-plane.key".into(),
            authority: "authority.pem".into(),
            connection_age_s_max: 600,
        }
    }
}

impl Default for JournalFile {
    fn default() -> Self {
        Self {
            backend: "embedded".into(),
            directory: "journal".into(),
            url: None,
            password: None,
            authority: None,
            migrate: true,
        }
    }
}

impl Default for TracesFile {
    fn default() -> Self {
        Self { snapshot: "traces.snapshot".into() }
    }
}

impl Default for PolicyFile {
    fn default() -> Self {
        Self { directory: "policies".into(), poll_ms: 1_000 }
    }
}

// === impl Limits ===

impl Limits {
    #[must_use]
    pub fn outcome_deadline(&self) -> Duration {
        Duration::from_secs(self.outcome_deadline_s.into())
    }

    #[must_use]
    pub fn silence(&self) -> Duration {
        Duration::from_secs(self.silence_s.into())
    }

    #[must_use]
    pub fn flood_interval(&self) -> Duration {
        Duration::from_secs(self.flood_interval_s.into())
    }

    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_s.into())
    }
}

#[cfg(test)]
mod tests;
