//! The plugin's configuration, read as strictly as the filter reads it: what it does not take, Envoy does not start with.
//!
//! It stops at the first fault, like the filter, and judges no gate.

mod rest;
mod shape;

use crate::envoy::plain_path;
use agentgate_core::error::chain;
use agentgate_core::id::Server;
use agentgate_core::json::{self, Bounds, Json, Keys};
use agentgate_core::mcp::Version;
use rest::Rest;
use shape::Shape::{Choice, Number, Object, Own};
use shape::{Member, bounded, choice, elements, object, path, short, text, texts, too_many, twice};

/// All of these are the filter's own; a test holds each against it.
const BOUNDS: Bounds = Bounds { depth_max: 8, number_bytes_max: 20, values_max: 50_000 };
const CLUSTER_BYTES_MAX: usize = 100;
const ROUTES_MAX: usize = 256;
const ORIGINS_MAX: usize = 64;
const CLAIMS_MAX: usize = 16;
const CLAIM_BYTES_MAX: usize = 200;
const MIB: u64 = 1_024 * 1_024;

const ROOT: &[Member] = &[
    Member::optional("control_plane", Object(CONTROL_PLANE)),
    Member::optional("unnamed_paths", Choice(&["refuse", "pass"])),
    Member::optional("held_bytes_max", Number(1, 256 * MIB)),
    Member::needed("routes", Own(routes)),
];

const CONTROL_PLANE: &[Member] =
    &[Member::optional("cluster", Own(cluster)), Member::optional("ask_timeout_ms", Number(10, 60_000))];

const ROUTE: &[Member] = &[
    Member::needed("path", Own(plain)),
    Member::needed("server", Own(server)),
    Member::optional("versions", Own(versions)),
    Member::optional("query_keys", Own(|at, json| texts(at, json).map(|_| ()))),
    ORIGINS,
    MODE,
    Member::optional("denied", Choice(&["result", "error", "http_403"])),
    CLAIMS,
    LIMITS,
];

const REST_ROUTE: &[Member] =
    &[Member::needed("rest", Object(rest::REST)), Member::needed("server", Own(server)), ORIGINS, MODE, CLAIMS, LIMITS];

const ORIGINS: Member = Member::optional("origins", Own(origins));
const MODE: Member = Member::optional("mode", Choice(&["enforce", "observe"]));
const CLAIMS: Member = Member::optional(
    "claims",
    Object(&[Member::needed("metadata", Own(|at, json| part(at, text(at, json)?))), Member::needed("names", Own(names))]),
);
const LIMITS: Member = Member::optional("limits", Object(&[Member::optional("body_bytes_max", Number(1, MIB))]));

/// One route that was read, as far as others may not lead to it.
struct Taken {
    path: String,
    rest: Option<Rest>,
}

/// What the filter would say instead of starting.
///
/// # Errors
/// It would.
pub(crate) fn read(configuration: &str) -> Result<(), String> {
    let json = json::read(configuration.as_bytes(), BOUNDS, Keys::Folded)
        .map_err(|fault| format!("the plugin's configuration is no strict JSON: {fault}"))?;
    object("", &json, ROOT).map(|_| ())
}

fn routes(at: &str, json: &Json) -> Result<(), String> {
    let all = elements(at, json)?;
    bounded(at, all, ROUTES_MAX)?;
    let mut taken: Vec<Taken> = Vec::new();
    for (index, json) in all.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let route = Taken::of(&at, json)?;
        if route.rest.is_none() && taken.iter().any(|other| other.rest.is_none() && other.path == route.path) {
            return Err(format!("`{at}.path` is named twice: `{}`", route.path));
        }
        if let Some(other) = taken.iter().position(|other| route.overlaps(other)) {
            return Err(rest::overlap(&format!("{at}.rest"), &format!("routes[{other}]")));
        }
        taken.push(route);
    }
    Ok(())
}

// === impl Taken ===

impl Taken {
    fn of(at: &str, json: &Json) -> Result<Self, String> {
        let is_rest = json.as_object().is_some_and(|route| route.get("rest").is_some());
        let route = object(at, json, if is_rest { REST_ROUTE } else { ROUTE })?;
        let path = route.get("path").and_then(Json::as_str).unwrap_or_default();
        match route.get("rest").and_then(Json::as_object) {
            Some(object) => {
                let rest = Rest::of(&format!("{at}.rest"), object)?;
                Ok(Self { path: rest.prefix.clone(), rest: Some(rest) })
            }
            None => Ok(Self { path: path.to_owned(), rest: None }),
        }
    }

    /// Whether both could take one request.
    fn overlaps(&self, other: &Self) -> bool {
        match (&self.rest, &other.rest) {
            (None, None) => false,
            (Some(rest), None) => rest.covers(&other.path),
            (None, Some(rest)) => rest.covers(&self.path),
            (Some(one), Some(other)) => one.shares(other),
        }
    }
}

fn cluster(at: &str, json: &Json) -> Result<(), String> {
    short(at, text(at, json)?, CLUSTER_BYTES_MAX)
}

fn plain(at: &str, json: &Json) -> Result<(), String> {
    let value = text(at, json)?;
    plain_path(value).map(|_| ()).map_err(|_| path(at, value))
}

fn server(at: &str, json: &Json) -> Result<(), String> {
    let name = Server::try_from(text(at, json)?);
    name.map(|_| ()).map_err(|error| format!("`{at}` is no name: {}", chain(&error)))
}

fn versions(at: &str, json: &Json) -> Result<(), String> {
    let versions = texts(at, json)?;
    bounded(at, &versions, usize::MAX)?;
    let unknown = versions.iter().enumerate().find(|(_, version)| Version::parse(version.as_bytes()).is_none());
    if let Some((index, version)) = unknown {
        return Err(choice(&format!("{at}[{index}]"), version, &Version::ALL.map(Version::as_str).join(", ")));
    }
    twice(at, &versions)
}

fn origins(at: &str, json: &Json) -> Result<(), String> {
    let origins = texts(at, json)?;
    if origins.len() > ORIGINS_MAX {
        return Err(too_many(at, ORIGINS_MAX));
    }
    match origins.iter().enumerate().find(|(_, origin)| !is_origin(origin)) {
        Some((index, origin)) => Err(format!(
            "`{at}[{index}]`: `{origin}` is no origin as a browser writes it: `scheme://host` or `scheme://host:port`, \
             in lower case and with nothing behind"
        )),
        None => Ok(()),
    }
}

fn is_origin(text: &str) -> bool {
    let holds = |text: &str, others: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || others.contains(c))
    };
    text.split_once("://").is_some_and(|(scheme, host)| holds(scheme, "+-.") && holds(host, "-._:[]"))
}

fn names(at: &str, json: &Json) -> Result<(), String> {
    let names = texts(at, json)?;
    bounded(at, &names, CLAIMS_MAX)?;
    for (index, name) in names.iter().enumerate() {
        part(&format!("{at}[{index}]"), name)?;
    }
    twice(at, &names)
}

/// It becomes a part of a property's path.
fn part(at: &str, value: &str) -> Result<(), String> {
    short(at, value, CLAIM_BYTES_MAX)?;
    if value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(format!("`{at}`: `{value}` holds other characters than visible ASCII"))
}

#[cfg(test)]
mod tests;
