//! The plugin's configuration: JSON of Envoy's `configuration`, read strictly to types. A field that is unknown, missing or
//! wrong is an error that names it, and the plugin does not start: nothing is guessed, and nothing passes meanwhile.
//!
//! ```json
//! { "control_plane": { "cluster": "agentgate", "ask_timeout_ms": 2000 },
//!   "unnamed_paths": "refuse",
//!   "held_bytes_max": 67108864,
//!   "routes": [ { "path": "/mcp", "server": "notes",
//!                 "versions": ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"],
//!                 "query_keys": [], "origins": [], "mode": "enforce", "denied": "result",
//!                 "limits": { "body_bytes_max": 1048576 } } ] }
//! ```
//! `routes` must be there, each with `path` and `server`; all else is shown with its default.
//!
//! With `"mode": "observe"` a route changes nothing and refuses nothing but upgrades and tunnels: each call goes on at once and is
//! reported, and its verdict is recorded. An order of the control plane, for a server or one of its tools, counts more.
//!
//! `"claims": { "metadata": "jwt", "names": ["sub", "iss", "tenant"] }` sends these claims of the user's token along, where Envoy's
//! jwt_authn filter stands before this one and keeps the payload of a token that it verified under `payload_in_metadata: jwt`.
//! Of one that is there and is no text, or none that could name anybody, only that is sent. Without the field none are.
//!
//! In the place of `path` a route may have `rest`: the tools of a server that speaks plain HTTP (rest.rs shows it). Such a route
//! takes all paths below its prefix, and refuses what no tool is mapped to.
//!
//! `origins` are the web pages that may call, as a browser writes them: `https://tools.example`, `http://localhost:6274`. An agent
//! sends no Origin header and needs no entry. Where the list is empty, whatever comes from a browser is refused with HTTP 403:
//! a page that had its name point at this machine could otherwise call every tool that an agent may.

mod field;
mod rest;

use crate::id::{NameError, Server};
use crate::json::{self, Bounds, Fault, Keys};
use crate::mcp::{Limits, Rules, Version};
use crate::mode::Mode;
pub use crate::reply::Denied;
use crate::rest::RuleError;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use field::Fields;
pub use rest::{Rest, TOOLS_MAX};
use thiserror::Error;

pub const CLUSTER_DEFAULT: &str = "agentgate";
/// Keeps the lengths in the message that names it to Envoy below 128, so that its bytes are UTF-8, as the filter's SDK wants them.
pub const CLUSTER_BYTES_MAX: usize = 100;
pub const ASK_TIMEOUT_MS_DEFAULT: u64 = 2_000;
/// Shorter would refuse healthy calls, longer would outlast the clients that wait.
pub const ASK_TIMEOUT_MS: core::ops::RangeInclusive<u64> = 10..=60_000;
/// Below the listener's own limits, which answer with a plain 413 (envoy/bootstrap.yaml sets them to this and 1 MiB).
pub const BODY_BYTES_MAX_DEFAULT: u64 = 1_024 * 1_024;
/// The control plane reads each body again, with this limit.
pub const BODY_BYTES_MAX: core::ops::RangeInclusive<u64> = 1..=BODY_BYTES_MAX_DEFAULT;
/// What all exchanges of one VM hold together. A VM's memory never shrinks, and 1 GiB ends it.
pub const HELD_BYTES_MAX_DEFAULT: u64 = 64 * 1_024 * 1_024;
pub const HELD_BYTES_MAX: core::ops::RangeInclusive<u64> = 1..=256 * 1_024 * 1_024;
/// A configuration is written by people; more routes than this are a mistake.
pub const ROUTES_MAX: usize = 256;
/// Each is compared with every request that names one.
pub const ORIGINS_MAX: usize = 64;
/// Each is asked of the host for every request.
pub const CLAIMS_MAX: usize = 16;
/// They become part of a property's path.
pub const CLAIM_NAME_BYTES_MAX: usize = 200;

const BOUNDS: Bounds = Bounds { depth_max: 8, number_bytes_max: 20, values_max: 50_000 };

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Envoy's name of the control plane's cluster.
    pub cluster: String,
    /// How long a call may wait for its verdict.
    pub ask_timeout_ms: u64,
    pub unnamed_paths: UnnamedPaths,
    pub held_bytes_max: usize,
    pub routes: Vec<Rc<Route>>,
}

/// What a request gets whose path no route names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnnamedPaths {
    Refuse,
    /// Safe only where the server has no other path that leads to its tools.
    Pass,
}

/// One MCP endpoint, or all that is below one prefix of a REST server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Compared byte for byte with the path before the query. Of a REST route: what stands before the path of each tool.
    pub path: String,
    pub server: Server,
    pub rules: Rules,
    /// None: MCP.
    pub rest: Option<Rest>,
    /// Compared byte for byte with the Origin header, where there is one.
    pub origins: Vec<String>,
    /// Where nothing else is ordered.
    pub mode: Mode,
    pub denied: Denied,
    pub claims: Option<Claims>,
}

/// What of the user's token is sent along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Under which key of its own metadata Envoy's jwt_authn keeps the payload.
    pub metadata: String,
    pub names: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error("the plugin's configuration is no strict JSON")]
    Json(#[source] Fault),
    #[error("`{field}` is missing")]
    Missing { field: String },
    #[error("`{field}` is empty")]
    Empty { field: String },
    #[error("`{field}` is not {wanted}")]
    Type { field: String, wanted: &'static str },
    #[error("`{field}` is unknown: {known} are known here")]
    Unknown { field: String, known: String },
    #[error("`{field}` is `{value}`: take one of {known}")]
    Choice { field: String, value: String, known: String },
    #[error("`{field}` is {value}: it must be {min} to {max}")]
    Range { field: String, value: u64, min: u64, max: u64 },
    #[error("`{field}` has more than {max} entries")]
    TooMany { field: String, max: usize },
    #[error("`{field}` is named twice: `{value}`")]
    Twice { field: String, value: String },
    #[error("`{field}`: `{value}` must begin with a slash and have no query, fragment, `;`, `%`, `//` or dot segment")]
    Path { field: String, value: String },
    #[error(
        "`{field}`: `{value}` is no origin as a browser writes it: `scheme://host` or `scheme://host:port`, in lower case and with nothing behind"
    )]
    Origin { field: String, value: String },
    #[error("`{field}`: `{value}` holds other characters than visible ASCII")]
    Claim { field: String, value: String },
    #[error("`{field}` is longer than {max} bytes")]
    TooLong { field: String, max: usize },
    #[error("`{field}` is no mapping: {source}")]
    Rule {
        field: String,
        #[source]
        source: RuleError,
    },
    #[error("`{field}`: `{value}` is neither in `query` nor in `body`; what stands in the path is always there")]
    Required { field: String, value: String },
    #[error("`{field}` overlaps with `{other}`: a request could be taken for either")]
    Overlap { field: String, other: String },
    #[error("`{field}` is no name")]
    Name {
        field: String,
        #[source]
        source: NameError,
    },
}

// === impl Config ===

impl Config {
    /// # Errors
    /// The first field, in the order written, that is not what it must be.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let json = json::read(bytes, BOUNDS, Keys::Folded).map_err(ConfigError::Json)?;
        let root = Fields::of("", &json)?;
        root.only(&["control_plane", "unnamed_paths", "held_bytes_max", "routes"])?;
        let control_plane = root.object("control_plane")?;
        control_plane.only(&["cluster", "ask_timeout_ms"])?;
        let cluster = control_plane.text("cluster")?.unwrap_or(CLUSTER_DEFAULT);
        if cluster.len() > CLUSTER_BYTES_MAX {
            let field = control_plane.name("cluster");
            return Err(ConfigError::TooLong { field, max: CLUSTER_BYTES_MAX });
        }
        Ok(Self {
            cluster: cluster.to_owned(),
            ask_timeout_ms: control_plane.number("ask_timeout_ms", ASK_TIMEOUT_MS)?.unwrap_or(ASK_TIMEOUT_MS_DEFAULT),
            unnamed_paths: root
                .choice("unnamed_paths", &[("refuse", UnnamedPaths::Refuse), ("pass", UnnamedPaths::Pass)])?
                .unwrap_or(UnnamedPaths::Refuse),
            held_bytes_max: size(root.number("held_bytes_max", HELD_BYTES_MAX)?.unwrap_or(HELD_BYTES_MAX_DEFAULT)),
            routes: routes(&root)?,
        })
    }

    /// The route that takes `path`, which may carry a query, of this authority.
    #[must_use]
    pub fn route(&self, path: &[u8], authority: &[u8]) -> Option<&Rc<Route>> {
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        let is_named = |route: &&Rc<Route>| route.rest.is_none() && route.path.as_bytes() == path;
        let takes = |route: &&Rc<Route>| {
            let rest = route.rest.as_ref();
            rest.is_some_and(|rest| rest.takes(&route.path, path, authority))
        };
        self.routes.iter().find(is_named).or_else(|| self.routes.iter().find(takes))
    }
}

fn routes(root: &Fields<'_>) -> Result<Vec<Rc<Route>>, ConfigError> {
    let all = root.objects("routes")?.ok_or_else(|| ConfigError::Missing { field: root.name("routes") })?;
    if all.is_empty() {
        return Err(ConfigError::Empty { field: root.name("routes") });
    }
    if all.len() > ROUTES_MAX {
        return Err(ConfigError::TooMany { field: root.name("routes"), max: ROUTES_MAX });
    }
    let mut routes: Vec<Rc<Route>> = Vec::new();
    for fields in all {
        let route = Route::of(&fields)?;
        if route.rest.is_none() && routes.iter().any(|other| other.rest.is_none() && other.path == route.path) {
            return Err(ConfigError::Twice { field: fields.name("path"), value: route.path });
        }
        if let Some(at) = routes.iter().position(|other| rest::overlap(&route, other)) {
            let field = fields.name(if route.rest.is_some() { "rest" } else { "path" });
            return Err(ConfigError::Overlap { field, other: format!("routes[{at}]") });
        }
        routes.push(Rc::new(route));
    }
    Ok(routes)
}

// === impl Route ===

impl Route {
    /// Those that it takes; none where it speaks no MCP.
    #[must_use]
    pub fn versions(&self) -> Option<&[Version]> {
        self.rest.is_none().then_some(self.rules.versions.as_slice())
    }

    #[must_use]
    pub fn observes(&self) -> bool {
        self.mode == Mode::Observe
    }

    fn of(fields: &Fields<'_>) -> Result<Self, ConfigError> {
        let rest = fields.object_there("rest")?;
        if rest.is_some() {
            fields.only(&["rest", "server", "origins", "mode", "claims", "limits"])?;
        } else {
            fields.only(&["path", "server", "versions", "query_keys", "origins", "mode", "denied", "claims", "limits"])?;
        }
        let limits = fields.object("limits")?;
        limits.only(&["body_bytes_max"])?;
        let body_bytes_max = limits.number("body_bytes_max", BODY_BYTES_MAX)?.unwrap_or(BODY_BYTES_MAX_DEFAULT);
        let path = match &rest {
            Some(rest) => rest::prefix(rest)?,
            None => path_of(fields)?,
        };
        let server = fields.text("server")?.ok_or_else(|| ConfigError::Missing { field: fields.name("server") })?;
        Ok(Self {
            rest: rest.as_ref().map(|rest| Rest::of(rest, path)).transpose()?,
            path: path.to_owned(),
            server: Server::try_from(server).map_err(|source| ConfigError::Name { field: fields.name("server"), source })?,
            rules: Rules {
                versions: if rest.is_some() { Vec::new() } else { versions(fields)? },
                query_keys: fields.texts("query_keys")?.unwrap_or_default(),
                limits: Limits { body_bytes_max: size(body_bytes_max), ..Limits::default() },
            },
            origins: origins(fields)?,
            mode: fields
                .choice("mode", &[Mode::Enforce, Mode::Observe].map(|mode| (mode.name(), mode)))?
                .unwrap_or(Mode::Enforce),
            denied: fields
                .choice("denied", &[("result", Denied::Result), ("error", Denied::Error), ("http_403", Denied::Http403)])?
                .unwrap_or(Denied::Result),
            claims: Claims::of(fields)?,
        })
    }
}

fn path_of<'a>(fields: &Fields<'a>) -> Result<&'a str, ConfigError> {
    let path = fields.text("path")?.ok_or_else(|| ConfigError::Missing { field: fields.name("path") })?;
    if is_plain(path) { Ok(path) } else { Err(ConfigError::Path { field: fields.name("path"), value: path.to_owned() }) }
}

// === impl Claims ===

impl Claims {
    fn of(route: &Fields<'_>) -> Result<Option<Self>, ConfigError> {
        let Some(fields) = route.object_there("claims")? else { return Ok(None) };
        fields.only(&["metadata", "names"])?;
        let missing = |field| ConfigError::Missing { field: fields.name(field) };
        let metadata = fields.text("metadata")?.ok_or_else(|| missing("metadata"))?.to_owned();
        let names = fields.texts("names")?.ok_or_else(|| missing("names"))?;
        if names.is_empty() {
            return Err(ConfigError::Empty { field: fields.name("names") });
        }
        if names.len() > CLAIMS_MAX {
            return Err(ConfigError::TooMany { field: fields.name("names"), max: CLAIMS_MAX });
        }
        check_part(fields.name("metadata"), &metadata)?;
        for (index, name) in names.iter().enumerate() {
            check_part(fields.name(&format!("names[{index}]")), name)?;
            if names.iter().take(index).any(|other| other == name) {
                return Err(ConfigError::Twice { field: fields.name("names"), value: name.clone() });
            }
        }
        Ok(Some(Self { metadata, names }))
    }

    /// The host's path of one of these claims: jwt_authn's own metadata, parted by NUL.
    #[must_use]
    pub fn property(&self, name: &str) -> String {
        format!("metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0{}\0{name}", self.metadata)
    }
}

/// A part of a property's path: no NUL, which parts it, and nothing that is not seen.
fn check_part(field: String, value: &str) -> Result<(), ConfigError> {
    if value.len() > CLAIM_NAME_BYTES_MAX {
        return Err(ConfigError::TooLong { field, max: CLAIM_NAME_BYTES_MAX });
    }
    if value.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(ConfigError::Claim { field, value: value.to_owned() })
    }
}

fn versions(fields: &Fields<'_>) -> Result<Vec<Version>, ConfigError> {
    let Some(texts) = fields.texts("versions")? else { return Ok(Version::ALL.to_vec()) };
    if texts.is_empty() {
        return Err(ConfigError::Empty { field: fields.name("versions") });
    }
    let known = || Version::ALL.map(Version::as_str).join(", ");
    let mut versions = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let version = Version::parse(text.as_bytes()).ok_or_else(|| ConfigError::Choice {
            field: fields.name(&format!("versions[{index}]")),
            value: text.clone(),
            known: known(),
        })?;
        if versions.contains(&version) {
            return Err(ConfigError::Twice { field: fields.name("versions"), value: text.clone() });
        }
        versions.push(version);
    }
    Ok(versions)
}

fn origins(fields: &Fields<'_>) -> Result<Vec<String>, ConfigError> {
    let origins = fields.texts("origins")?.unwrap_or_default();
    if origins.len() > ORIGINS_MAX {
        return Err(ConfigError::TooMany { field: fields.name("origins"), max: ORIGINS_MAX });
    }
    match origins.iter().enumerate().find(|(_, origin)| !is_origin(origin)) {
        Some((index, value)) => {
            Err(ConfigError::Origin { field: fields.name(&format!("origins[{index}]")), value: value.clone() })
        }
        None => Ok(origins),
    }
}

/// What a browser may send for one page. Never `null`, which any page can have it send, and no pattern: it would match nothing.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (is_scheme, is_host) =
        (|byte| small(byte) || matches!(byte, b'+' | b'-' | b'.'), |byte| small(byte) || b"-._:[]".contains(&byte));
    !scheme.is_empty() && scheme.bytes().all(is_scheme) && !host.is_empty() && host.bytes().all(is_host)
}

/// A path that Envoy's normalisation leaves as it is, so that what is compared is what the server sees.
#[must_use]
pub fn is_plain(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b';' | b'%' | b'\\'))
        && !path.contains("//")
        && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Numbers of a configuration are bounded far below what any machine's `usize` holds.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
