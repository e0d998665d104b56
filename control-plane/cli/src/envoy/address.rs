//! What a person writes to say where something is: an upstream's URL, a host with its port, a path. Read strictly, to types.
//!
//! It resolves no name and opens no connection.

use agentgate_core::config::is_plain;
use std::fmt;
use std::net::IpAddr;
use thiserror::Error;

/// The longest name that DNS allows.
const HOST_BYTES_MAX: usize = 253;

/// A host as a person wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Ip(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// Where a tool server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: Scheme,
    pub(crate) at: HostPort,
    /// None: only the server was named.
    pub(crate) path: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum AddressError {
    #[error("`{0}` has no scheme; write it like `http://127.0.0.1:8000/mcp` or `https://tools.example/mcp`")]
    NoScheme(String),
    #[error("`{scheme}` of `{url}` is no scheme that Envoy can call; use `http` or `https`")]
    Scheme { url: String, scheme: String },
    #[error("`{0}` carries a user or a password; put credentials where Envoy adds them, not into an address")]
    Credentials(String),
    #[error("`{0}` carries a query or a fragment; an upstream is named by scheme, host, port and path alone")]
    Query(String),
    #[error("`{host}` of `{text}` is no host; write a DNS name, an IPv4 address, or an IPv6 address in brackets")]
    Host { text: String, host: String },
    #[error("`{port}` of `{text}` is no port; write a number from 1 to 65535")]
    Port { text: String, port: String },
    #[error("`{0}` names no port; write it like `127.0.0.1:9443`")]
    NoPort(String),
    #[error("`{0}` is no path that a route can have; write it like `/mcp`, without `//`, `.`, `..`, `?`, `#`, `;`, `%` and `\\`")]
    Path(String),
}

// === impl Host ===

impl Host {
    fn parse(text: &str, whole: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError::Host { text: whole.into(), host: text.into() };
        if let Some(inner) = text.strip_prefix('[') {
            let ip = inner.strip_suffix(']').and_then(|ip| ip.parse().ok());
            return ip.filter(IpAddr::is_ipv6).map(Self::Ip).ok_or_else(wrong);
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return if ip.is_ipv4() { Ok(Self::Ip(ip)) } else { Err(wrong()) };
        }
        let label = |label: &str| {
            let within = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
            (1..=63).contains(&label.len()) && within && !label.starts_with('-') && !label.ends_with('-')
        };
        // `1.2.3` and `300.1.1.1` are mistyped addresses, and no name ends in a number.
        let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if text.len() > HOST_BYTES_MAX || numeric || !text.split('.').all(label) {
            return Err(wrong());
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }

    #[must_use]
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost",
            Self::Ip(ip) => ip.is_loopback(),
        }
    }

    /// As Envoy's `address` has it: an IPv6 address without brackets.
    #[must_use]
    pub(crate) fn bare(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Ip(ip) => ip.to_string(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(_) | Self::Ip(IpAddr::V4(_)) => f.write_str(&self.bare()),
        }
    }
}

// === impl HostPort ===

impl HostPort {
    /// # Errors
    /// No host, no port, or none that could be one.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        Self::with_default(text, None, text)
    }

    fn with_default(text: &str, default: Option<u16>, whole: &str) -> Result<Self, AddressError> {
        let bracket = text.rfind(']').unwrap_or(0);
        let (host, port) = match text.get(bracket..).and_then(|rest| rest.rfind(':')) {
            Some(colon) => (text.get(..bracket + colon).unwrap_or_default(), text.get(bracket + colon + 1..)),
            None => (text, None),
        };
        let port = match (port, default) {
            (Some(port), _) => {
                let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
                let number = port.parse::<u16>().ok().filter(|number| digits && *number > 0);
                number.ok_or_else(|| AddressError::Port { text: whole.into(), port: port.into() })?
            }
            (None, Some(default)) => default,
            (None, None) => return Err(AddressError::NoPort(whole.into())),
        };
        Ok(Self { host: Host::parse(host, whole)?, port })
    }
}

// === impl Scheme ===

impl Scheme {
    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

// === impl Url ===

impl Url {
    /// # Errors
    /// What is written is no address of a server; with the part that is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| AddressError::NoScheme(text.into()))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(AddressError::Scheme { url: text.into(), scheme: scheme.into() }),
        };
        if rest.contains(['?', '#']) {
            return Err(AddressError::Query(text.into()));
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if authority.contains('@') {
            return Err(AddressError::Credentials(text.into()));
        }
        let at = HostPort::with_default(authority, Some(scheme.port()), text)?;
        let path = match path {
            "" | "/" => None,
            path => Some(plain_path(path)?),
        };
        Ok(Self { scheme, at, path })
    }

    #[must_use]
    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// What stands in the server's own `Host` header.
    #[must_use]
    pub(crate) fn authority(&self) -> String {
        let HostPort { host, port } = &self.at;
        if *port == self.scheme.port() { host.to_string() } else { format!("{host}:{port}") }
    }
}

/// A path that Envoy's normalisation leaves as it is: the filter takes no other.
///
/// # Errors
/// It is another.
pub(super) fn plain_path(path: &str) -> Result<String, AddressError> {
    if is_plain(path) { Ok(path.into()) } else { Err(AddressError::Path(path.into())) }
}

#[cfg(test)]
mod tests {
    use super::{HostPort, Url};

    #[test]
    fn an_upstream_is_read_to_its_parts() {
        for (text, authority, path) in [
            ("http://127.0.0.1:8000/mcp", "127.0.0.1:8000", Some("/mcp")),
            ("HTTPS://Tools.Example/a/b", "tools.example", Some("/a/b")),
            ("https://tools.example:8443/", "tools.example:8443", None),
            ("http://[::1]:8000", "[::1]:8000", None),
            ("http://a_b", "a_b", None),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!((url.authority().as_str(), url.path.as_deref()), (authority, path), "{text}");
        }
    }

    #[test]
    fn what_is_no_upstream_is_refused_by_name() {
        for (text, said) in [
            ("127.0.0.1:8000/mcp", "has no scheme"),
            ("ftp://a/mcp", "is no scheme"),
            ("http://a/mcp?x=1", "carries a query"),
            ("http://a/mcp#x", "carries a query"),
            ("http://me:secret@a/mcp", "carries a user"),
            ("http://a:0/mcp", "is no port"),
            ("http://a:65536/mcp", "is no port"),
            ("http://a:+80/mcp", "is no port"),
            ("http://a:/mcp", "is no port"),
            ("http:///mcp", "is no host"),
            ("http://::1/mcp", "is no"),
            ("http://[127.0.0.1]/mcp", "is no host"),
            ("http://300.1.1.1/mcp", "is no host"),
            ("http://a b/mcp", "is no host"),
            ("http://a\nb/mcp", "is no host"),
            ("http://-a/mcp", "is no host"),
            ("http://a/x//y", "is no path"),
            ("http://a/x/../y", "is no path"),
            ("http://a/m%63p", "is no path"),
            ("http://a/m;p", "is no path"),
            ("http://a/mc p", "is no path"),
        ] {
            let error = Url::parse(text).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(HostPort::parse("a").expect_err("a").to_string().contains("names no port"));
        assert!(Url::parse(&format!("http://{}/", "a.".repeat(126) + "a")).is_ok(), "253 bytes");
        assert!(Url::parse(&format!("http://{}/", "a.".repeat(126) + "aa")).is_err(), "254 bytes");
    }
}
