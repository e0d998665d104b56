//! What Envoy's configuration says of a route that is gated through ext_authz: its context_extensions, which no client can
//! set. Anything unknown, missing or wrong is an error that names it, and the request is not let through.

use agentgate_core::id::{NameError, Server};
use agentgate_core::mcp::Version;
use agentgate_core::mode::Mode;
use agentgate_core::reply::Denied;
use std::collections::HashMap;
use thiserror::Error;

/// Whose extensions are ours. Others may stand beside them, for other services.
const OURS: &str = "agentgate.";

const SERVER: &str = "agentgate.server";
const PATH: &str = "agentgate.path";
const MODE: &str = "agentgate.mode";
const VERSIONS: &str = "agentgate.versions";
const QUERY_KEYS: &str = "agentgate.query_keys";
const ORIGINS: &str = "agentgate.origins";
const DENIED: &str = "agentgate.denied";
const KNOWN: [&str; 7] = [SERVER, PATH, MODE, VERSIONS, QUERY_KEYS, ORIGINS, DENIED];

/// As the filter's configuration has it; lists are parted by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) server: Server,
    /// Compared byte for byte with the path before the query.
    pub(super) path: String,
    pub(super) observe: bool,
    pub(super) versions: Vec<Version>,
    pub(super) query_keys: Vec<String>,
    pub(super) origins: Vec<String>,
    pub(super) denied: Denied,
}

#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum RouteError {
    #[error("its context_extensions name no `{SERVER}`")]
    Unnamed,
    #[error("`{0}` is missing in its context_extensions")]
    Missing(&'static str),
    #[error("`{0}` in its context_extensions is unknown: {known} are known", known = KNOWN.join(", "))]
    Unknown(String),
    #[error("`{name}` in its context_extensions is `{value}`: take {known}")]
    Choice { name: &'static str, value: String, known: String },
    #[error("`{SERVER}` in its context_extensions is no name: {0}")]
    Server(NameError),
    #[error("`{PATH}` in its context_extensions is `{0}`: it must begin with a slash and have no query")]
    Path(String),
}

// === impl Route ===

impl Route {
    /// # Errors
    /// The first extension, in the order of the alphabet, that is not what it must be.
    pub(super) fn of(extensions: &HashMap<String, String>) -> Result<Self, RouteError> {
        let ours = || extensions.keys().filter(|name| name.starts_with(OURS));
        if ours().next().is_none() {
            return Err(RouteError::Unnamed);
        }
        let mut unknown: Vec<&String> = ours().filter(|name| !KNOWN.contains(&name.as_str())).collect();
        unknown.sort_unstable();
        if let Some(first) = unknown.first() {
            return Err(RouteError::Unknown((*first).clone()));
        }
        let text = |name: &str| extensions.get(name).map(String::as_str);
        let server = text(SERVER).ok_or(RouteError::Missing(SERVER))?;
        let path = text(PATH).ok_or(RouteError::Missing(PATH))?;
        if !path.starts_with('/') || path.contains(['?', '#']) {
            return Err(RouteError::Path(path.into()));
        }
        Ok(Self {
            server: Server::try_from(server).map_err(RouteError::Server)?,
            path: path.into(),
            observe: choice(MODE, text(MODE), &[(Mode::Enforce.name(), false), (Mode::Observe.name(), true)])?,
            versions: versions(text(VERSIONS))?,
            query_keys: list(text(QUERY_KEYS)),
            origins: list(text(ORIGINS)),
            denied: choice(
                DENIED,
                text(DENIED),
                &[("result", Denied::Result), ("error", Denied::Error), ("http_403", Denied::Http403)],
            )?,
        })
    }

    /// Whether it is this route's request: its path, with or without a query.
    pub(super) fn takes(&self, path: &[u8]) -> bool {
        path.split(|byte| *byte == b'?').next() == Some(self.path.as_bytes())
    }
}

/// The first one where nothing is said.
fn choice<T: Copy>(name: &'static str, text: Option<&str>, known: &[(&str, T)]) -> Result<T, RouteError> {
    let chosen = match text {
        None => known.first(),
        Some(text) => known.iter().find(|(word, _)| *word == text),
    };
    let words = || known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ");
    let wrong = || RouteError::Choice { name, value: text.unwrap_or_default().into(), known: words() };
    chosen.map(|(_, value)| *value).ok_or_else(wrong)
}

fn versions(text: Option<&str>) -> Result<Vec<Version>, RouteError> {
    let Some(text) = text else { return Ok(Version::ALL.to_vec()) };
    let known = || Version::ALL.map(Version::as_str).join(", ");
    let read = |word: &str| {
        let wrong = || RouteError::Choice { name: VERSIONS, value: word.into(), known: known() };
        Version::parse(word.as_bytes()).ok_or_else(wrong)
    };
    text.split(',').map(str::trim).map(read).collect()
}

fn list(text: Option<&str>) -> Vec<String> {
    text.into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|word| !word.is_empty()).map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Route, String> {
        let all = [("agentgate.server", "notes"), ("agentgate.path", "/mcp")].iter().chain(pairs);
        let extensions = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Route::of(&extensions).map_err(|error| error.to_string())
    }

    #[test]
    fn without_more_than_a_name_and_a_path_a_route_enforces_and_takes_no_page() {
        let route = read(&[("another.service", "x")]).unwrap();
        assert!(!route.observe && route.origins.is_empty() && route.query_keys.is_empty());
        assert_eq!((route.versions.as_slice(), route.denied), (&Version::ALL[..], Denied::Result));
    }

    #[test]
    fn what_is_unknown_missing_or_wrong_is_named() {
        for (pairs, said) in [
            (&[("agentgate.modes", "observe")][..], "`agentgate.modes`"),
            (&[("agentgate.mode", "Observe")], "take enforce or observe"),
            (&[("agentgate.mode", "")], "take enforce or observe"),
            (&[("agentgate.versions", "2025-11-25,2024-11-05")], "`2024-11-05`"),
            (&[("agentgate.versions", "")], "`agentgate.versions`"),
            (&[("agentgate.denied", "drop")], "take result or error or http_403"),
            (&[("agentgate.server", "")], "`agentgate.server`"),
            (&[("agentgate.path", "mcp")], "`agentgate.path`"),
            (&[("agentgate.path", "/mcp?x")], "`agentgate.path`"),
        ] {
            let error = read(pairs).unwrap_err();
            assert!(error.contains(said), "{pairs:?}: {error}");
        }
        assert_eq!(Route::of(&HashMap::from([("other".to_owned(), "x".to_owned())])), Err(RouteError::Unnamed));
        for name in [SERVER, PATH] {
            let other = if name == SERVER { (PATH, "/mcp") } else { (SERVER, "notes") };
            let extensions = HashMap::from([(other.0.to_owned(), other.1.to_owned())]);
            assert_eq!(Route::of(&extensions), Err(RouteError::Missing(name)));
        }
    }

    #[test]
    fn a_path_is_taken_byte_for_byte_with_any_query() {
        let route = read(&[]).unwrap();
        for (path, taken) in
            [("/mcp", true), ("/mcp?a=b", true), ("/mcp/", false), ("/mcp;x", false), ("/MCP", false), ("", false)]
        {
            assert_eq!(route.takes(path.as_bytes()), taken, "{path}");
        }
    }
}
