//! What a person asked for, checked as a whole: one place, its servers, and every file and address that the configuration names.
//!
//! It refuses what could be read in two ways, and what would leave the gate open by its shape.

use super::address::{AddressError, HostPort, Url, plain_path};
use super::{Arguments, Asks, At};
use agentgate_core::id::{NameError, Server, SpiffeId};
use agentgate_core::mode::Mode;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The path of a server that names none: where MCP servers listen.
const PATH_DEFAULT: &str = "/mcp";

/// As many as the filter takes routes.
pub(crate) const UPSTREAMS_MAX: usize = 256;

/// The longest path that a certificate, a key or a module may have here: what Linux opens.
const FILE_BYTES_MAX: usize = 4_096;

/// Checked. Everything in it may be printed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) at: At,
    pub(crate) mode: Mode,
    pub(crate) asks: Asks,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) node: String,
    pub(crate) servers: Vec<Behind>,
    pub(crate) control_plane: HostPort,
    pub(crate) wasm: String,
    pub(crate) filter: Pair,
    /// Whose control plane is believed.
    pub(crate) authority: String,
    /// Of the listener; none beside the agent, where plain HTTP is spoken.
    pub(crate) callers: Option<Callers>,
    pub(crate) identity: SpiffeId,
    pub(crate) principal: SpiffeId,
    pub(crate) upstream_authority: Option<String>,
}

/// One tool server behind the gate.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    pub(crate) server: Server,
    pub(crate) url: Url,
    /// The path that callers use, and the one that the server knows.
    pub(crate) path: String,
    pub(crate) server_path: String,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Mutual TLS at the listener.
#[derive(Clone, Debug)]
pub(crate) struct Callers {
    pub(crate) listener: Pair,
    pub(crate) authority: String,
}

#[derive(Debug, Error)]
pub(crate) enum PlanError {
    #[error("--{option}: {source}")]
    Address { option: &'static str, source: AddressError },
    #[error("--{option}: `{value}` is no address to listen on; write it like `127.0.0.1:10000`")]
    Listen { option: &'static str, value: String },
    #[error("`{value}` is no server's name: {source}")]
    Server { value: String, source: NameError },
    #[error("the server behind `{0}` has no name; pass --server NAME, or write --upstream NAME={0}")]
    Unnamed(String),
    #[error("the server behind `{0}` has no name; of several each is written as --upstream NAME={0}")]
    UnnamedOfSeveral(String),
    #[error("--server names one upstream that has no name; here each is written as --upstream NAME=URL")]
    ServerTwice,
    #[error("two upstreams are named `{0}`; each server has a name of its own")]
    SameServer(String),
    #[error("{0} upstreams are more than the {UPSTREAMS_MAX} that one filter takes; give some of them another Envoy")]
    TooMany(usize),
    #[error("an inbound gate stands before one server; for several take --at gateway")]
    OneServer,
    #[error("the paths `{path}` of `{one}` and `{other_path}` of `{other}` overlap; give one another with --path NAME=/PATH")]
    Overlap { one: String, path: String, other: String, other_path: String },
    #[error("`{0}` cannot be a part of a path; say where it is reached with --path NAME=/PATH")]
    NoPath(String),
    #[error("--path names the server `{0}`, and there is no such upstream")]
    NobodysPath(String),
    #[error("--path is given twice for `{0}`")]
    PathTwice(String),
    #[error("with several upstreams each path says whose it is; write --path NAME={0}")]
    WhosePath(String),
    #[error(
        "{listen} is reachable from elsewhere, and whoever reaches an outbound gate speaks as the agent beside it; listen on loopback, or take --at gateway"
    )]
    Outbound { listen: SocketAddr },
    #[error(
        "{admin} is reachable from elsewhere, and whoever reaches Envoy's admin port can stop the gate; take a loopback address"
    )]
    Admin { admin: SocketAddr },
    #[error("{one} and {other} would both listen on port {port}")]
    SamePort { one: &'static str, other: &'static str, port: u16 },
    #[error("the gate and the upstream `{0}` have the same address: it would call itself")]
    Itself(String),
    #[error("`{0}` is no trust domain; write e.g. `agentgate.local`")]
    TrustDomain(String),
    #[error("`{name}` cannot be part of an identity: {source}")]
    Identity { name: String, source: NameError },
    #[error("--{option}: `{id}` is a whole identity; write `{name}`, the part behind the trust domain{domain}")]
    WholeIdentity { option: &'static str, id: SpiffeId, name: String, domain: String },
    #[error("--{option} is for the gate's listener with TLS, which --at outbound does not have")]
    NoListener { option: &'static str },
    #[error("--{option}: {why}")]
    File { option: &'static str, why: &'static str },
    #[error("--upstream-authority is given, and no upstream is `https://`")]
    NoTls,
}

// === impl Plan ===

impl Plan {
    /// # Errors
    /// What is asked for is wrong, or does not fit together; with what to write instead.
    pub(crate) fn of(arguments: &Arguments) -> Result<Self, PlanError> {
        let domain = trust_domain(&arguments.trust_domain)?;
        within("principal", &arguments.principal, "", domain)?;
        within("node", &arguments.node, "filter/", domain)?;
        let identity = |name: &str| {
            SpiffeId::try_from(format!("spiffe://{domain}/{name}").as_str())
                .map_err(|source| PlanError::Identity { name: name.into(), source })
        };
        let stem = |end: &str| format!("certs/filter-{}.{end}", arguments.node.replace('/', "-"));
        let plan = Self {
            at: arguments.at,
            mode: arguments.mode.into(),
            asks: arguments.filter,
            listen: listen("listen", arguments.listen.as_deref().unwrap_or(arguments.at.listen_default()))?,
            admin: listen("admin", &arguments.admin)?,
            node: arguments.node.clone(),
            servers: servers(arguments)?,
            control_plane: HostPort::parse(&arguments.control_plane)
                .map_err(|source| PlanError::Address { option: "control-plane", source })?,
            wasm: file("wasm", &arguments.wasm)?,
            filter: Pair {
                certificate: optional("filter-certificate", arguments.filter_certificate.as_deref(), || stem("pem"))?,
                key: optional("filter-key", arguments.filter_key.as_deref(), || stem("key"))?,
            },
            authority: file("authority", &arguments.authority)?,
            callers: callers(arguments)?,
            identity: identity(&format!("filter/{}", arguments.node))?,
            principal: identity(&arguments.principal)?,
            upstream_authority: arguments
                .upstream_authority
                .as_deref()
                .map(|path| file("upstream-authority", path))
                .transpose()?,
        };
        plan.fits()?;
        Ok(plan)
    }

    fn fits(&self) -> Result<(), PlanError> {
        match self.at {
            At::Outbound if !self.listen.ip().is_loopback() => return Err(PlanError::Outbound { listen: self.listen }),
            At::Outbound | At::Inbound | At::Gateway => {}
        }
        if !self.admin.ip().is_loopback() {
            return Err(PlanError::Admin { admin: self.admin });
        }
        if self.listen.port() == self.admin.port() && self.listen.port() != 0 {
            return Err(PlanError::SamePort { one: "--listen", other: "--admin", port: self.admin.port() });
        }
        if let Some(itself) = self.servers.iter().find(|behind| self.is_own(&behind.url.at)) {
            return Err(PlanError::Itself(itself.server.to_string()));
        }
        if self.upstream_authority.is_some() && !self.servers.iter().any(|behind| behind.url.is_tls()) {
            return Err(PlanError::NoTls);
        }
        Ok(())
    }

    fn is_own(&self, at: &HostPort) -> bool {
        let same = match &at.host {
            super::address::Host::Ip(ip) => *ip == self.listen.ip(),
            super::address::Host::Name(_) => false,
        };
        at.port == self.listen.port() && (same || (at.host.is_loopback() && self.listen.ip().is_loopback()))
    }

    /// The module; none where Envoy itself asks.
    #[must_use]
    pub(crate) fn wasm(&self) -> Option<&str> {
        match self.asks {
            Asks::Wasm => Some(&self.wasm),
            Asks::ExtAuthz => None,
        }
    }

    #[must_use]
    pub(crate) fn trust_domain(&self) -> &str {
        self.identity.trust_domain()
    }
}

// === impl Behind ===

impl Behind {
    /// The path has to be changed on its way.
    #[must_use]
    pub(crate) fn is_moved(&self) -> bool {
        self.path != self.server_path
    }
}

fn servers(arguments: &Arguments) -> Result<Vec<Behind>, PlanError> {
    if arguments.upstream.len() > UPSTREAMS_MAX {
        return Err(PlanError::TooMany(arguments.upstream.len()));
    }
    let several = arguments.upstream.len() > 1;
    match arguments.at {
        At::Inbound if several => return Err(PlanError::OneServer),
        At::Outbound | At::Inbound | At::Gateway => {}
    }
    let mut named = Vec::new();
    for text in &arguments.upstream {
        let (name, url) = named_url(text);
        let name = match (name, &arguments.server) {
            (Some(_), Some(_)) => return Err(PlanError::ServerTwice),
            (Some(name), None) => name,
            (None, Some(server)) if !several => server,
            (None, Some(_)) => return Err(PlanError::ServerTwice),
            (None, None) if several => return Err(PlanError::UnnamedOfSeveral(url.into())),
            (None, None) => return Err(PlanError::Unnamed(url.into())),
        };
        let url = Url::parse(url).map_err(|source| PlanError::Address { option: "upstream", source })?;
        named.push((name.to_owned(), url));
    }
    let paths = paths(arguments, &named)?;
    let mut servers: Vec<Behind> = Vec::new();
    for (name, url) in named {
        let server = Server::try_from(name.as_str()).map_err(|source| PlanError::Server { value: name.clone(), source })?;
        let given = paths.iter().find(|(whose, _)| *whose == name).map(|(_, path)| path.clone());
        let own = url.path.clone();
        let path = match (given, several) {
            (Some(path), _) => path,
            (None, false) => own.clone().unwrap_or_else(|| PATH_DEFAULT.into()),
            (None, true) => below(&name, own.as_deref().unwrap_or(PATH_DEFAULT))?,
        };
        let server_path = own.unwrap_or_else(|| if several { PATH_DEFAULT.into() } else { path.clone() });
        apart(&servers, &server, &path)?;
        servers.push(Behind { server, url, path, server_path });
    }
    Ok(servers)
}

/// `NAME=URL`, or the URL alone. A `=` in the URL's path makes no name.
fn named_url(text: &str) -> (Option<&str>, &str) {
    let scheme = text.find("://").unwrap_or(text.len());
    match text.get(..scheme).and_then(|before| before.rfind('=')) {
        Some(at) => (text.get(..at), text.get(at + 1..).unwrap_or_default()),
        None => (None, text),
    }
}

/// `/PATH` for the one server, or `NAME=/PATH`.
fn paths(arguments: &Arguments, named: &[(String, Url)]) -> Result<Vec<(String, String)>, PlanError> {
    let mut paths: Vec<(String, String)> = Vec::new();
    for text in &arguments.path {
        let (whose, path) = match (text.split_once("=/"), named) {
            (Some((whose, rest)), _) if !text.starts_with('/') => (whose.to_owned(), format!("/{rest}")),
            (_, [(only, _)]) => (only.clone(), text.clone()),
            (_, _) => return Err(PlanError::WhosePath(text.clone())),
        };
        if !named.iter().any(|(name, _)| *name == whose) {
            return Err(PlanError::NobodysPath(whose));
        }
        if paths.iter().any(|(other, _)| *other == whose) {
            return Err(PlanError::PathTwice(whose));
        }
        let path = plain_path(&path).map_err(|source| PlanError::Address { option: "path", source })?;
        paths.push((whose, path));
    }
    Ok(paths)
}

/// `/notes/mcp`: where there are several servers, the name comes first.
fn below(name: &str, path: &str) -> Result<String, PlanError> {
    let segment = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && !name.starts_with('.');
    if segment { Ok(format!("/{name}{path}")) } else { Err(PlanError::NoPath(name.into())) }
}

/// Two servers never share a name, nor a path that a careless server or proxy would take for the other's.
fn apart(servers: &[Behind], server: &Server, path: &str) -> Result<(), PlanError> {
    let folded = |path: &str| path.trim_end_matches('/').to_ascii_lowercase();
    for other in servers {
        if other.server == *server {
            return Err(PlanError::SameServer(server.to_string()));
        }
        if folded(&other.path) == folded(path) {
            return Err(PlanError::Overlap {
                one: other.server.to_string(),
                path: other.path.clone(),
                other: server.to_string(),
                other_path: path.into(),
            });
        }
    }
    Ok(())
}

fn callers(arguments: &Arguments) -> Result<Option<Callers>, PlanError> {
    match arguments.at {
        At::Outbound => {
            let given = [
                ("listener-certificate", &arguments.listener_certificate),
                ("listener-key", &arguments.listener_key),
                ("callers-authority", &arguments.callers_authority),
            ];
            match given.into_iter().find(|(_, path)| path.is_some()) {
                Some((option, _)) => Err(PlanError::NoListener { option }),
                None => Ok(None),
            }
        }
        At::Inbound | At::Gateway => Ok(Some(Callers {
            listener: Pair {
                certificate: optional("listener-certificate", arguments.listener_certificate.as_deref(), || {
                    "certs/listener.pem".into()
                })?,
                key: optional("listener-key", arguments.listener_key.as_deref(), || "certs/listener.key".into())?,
            },
            authority: optional("callers-authority", arguments.callers_authority.as_deref(), || "certs/authority.pem".into())?,
        })),
    }
}

fn listen(option: &'static str, text: &str) -> Result<SocketAddr, PlanError> {
    text.parse().map_err(|_| PlanError::Listen { option, value: text.into() })
}

fn trust_domain(text: &str) -> Result<&str, PlanError> {
    match SpiffeId::try_from(format!("spiffe://{text}/x").as_str()) {
        Ok(id) if id.trust_domain() == text => Ok(text),
        Ok(_) | Err(_) => Err(PlanError::TrustDomain(text.into())),
    }
}

/// A name within the trust domain, and no identity that brings a trust domain of its own.
fn within(option: &'static str, text: &str, kind: &str, domain: &str) -> Result<(), PlanError> {
    let Ok(id) = SpiffeId::try_from(text) else { return Ok(()) };
    let own = id.trust_domain();
    let path = text.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or(text, |(_, path)| path);
    let name = path.strip_prefix(kind).unwrap_or(path).to_owned();
    let domain = if own == domain { String::new() } else { format!(", and pass --trust-domain {own}") };
    Err(PlanError::WholeIdentity { option, id, name, domain })
}

fn optional(option: &'static str, path: Option<&Path>, default: impl FnOnce() -> String) -> Result<String, PlanError> {
    path.map_or_else(|| Ok(default()), |path| file(option, path))
}

/// Envoy's configuration is text, and so are the paths in it.
fn file(option: &'static str, path: &Path) -> Result<String, PlanError> {
    let text = path.to_str().ok_or(PlanError::File { option, why: "the path is not UTF-8, and Envoy's configuration is" })?;
    if text.len() > FILE_BYTES_MAX {
        return Err(PlanError::File { option, why: "the path is longer than any that can be opened" });
    }
    if text.contains('\0') {
        return Err(PlanError::File { option, why: "the path contains a NUL" });
    }
    Ok(text.to_owned())
}

/// The directory of a file, which Envoy watches.
#[must_use]
pub(crate) fn directory(file: &str) -> String {
    let parent = PathBuf::from(file).parent().map(|parent| parent.display().to_string()).unwrap_or_default();
    if parent.is_empty() { ".".into() } else { parent }
}
