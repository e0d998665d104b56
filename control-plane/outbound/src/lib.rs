//! HTTP to addresses of others: a connection, one request, one answer that is no larger than it may be.
//!
//! It follows no redirect, asks no proxy, keeps no connection, and tries nothing twice. It has no clock: whoever asks says how
//! long it may take.

mod exchange;

use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, Uri};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;
use tokio_rustls::TlsConnector;

pub use exchange::{Answer, SendError, answer, status};
pub use hyper::http::request::Builder;
pub use hyper::{StatusCode, header};

/// Where one address lies, and how it is reached.
#[derive(Clone)]
pub struct Target {
    authority: String,
    host: String,
    port: u16,
    path: String,
    /// None: plain HTTP.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Where words may be sent that anybody on the way can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// What is sent is nobody else's business.
    Loopback,
    /// What is sent is public, and the answer proves itself.
    Anywhere,
}

/// Whose certificates an https address may show.
#[derive(Clone, Copy, Debug)]
pub enum Roots<'a> {
    System,
    File(&'a Path),
    /// What was read of this file.
    Pem(&'a Path, &'a [u8]),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    #[error("{0}")]
    Url(&'static str),
    #[error("{0}")]
    Roots(String),
}

// === impl Target ===

impl Target {
    /// `authority`: a PEM file with the roots of an https address; none: those of the system.
    ///
    /// # Errors
    /// When the address is none, or there are no roots to trust.
    pub fn open(url: &str, plain: Plain, authority: Option<&Path>, time: Arc<dyn TimeProvider>) -> Result<Self, TargetError> {
        Self::trusting(url, plain, authority.map_or(Roots::System, Roots::File), time)
    }

    /// With roots that the caller has, or has read by himself.
    ///
    /// # Errors
    /// When the address is none, or there are no roots to trust.
    pub fn trusting(url: &str, plain: Plain, roots: Roots<'_>, time: Arc<dyn TimeProvider>) -> Result<Self, TargetError> {
        let wrong = TargetError::Url;
        let uri: Uri = url.parse().map_err(|_| wrong("it is no URL"))?;
        let (Some(scheme), Some(named)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("it has no scheme or no host"));
        };
        if url.contains('#') || named.as_str().contains('@') {
            return Err(wrong("it has a fragment, or a user's name; neither is sent"));
        }
        let host = named.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        // The parser takes a port that is none for none at all.
        let names_a_port = named.as_str().len() > named.host().len();
        if names_a_port && named.port_u16().is_none_or(|port| port == 0) {
            return Err(wrong("its port is no port"));
        }
        let (tls, port) = match scheme {
            "https" => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong("its host is no name of a host"))?;
                (Some((connector(roots, time)?, name)), 443)
            }
            "http" if plain == Plain::Anywhere || is_loopback(host) => (None, 80),
            "http" => {
                return Err(wrong("http is for this very machine only, since anybody on the way could read along; use https"));
            }
            _ => return Err(wrong("its scheme is neither https nor http")),
        };
        Ok(Self {
            authority: named.as_str().into(),
            host: host.into(),
            port: named.port_u16().unwrap_or(port),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).into(),
            tls,
        })
    }

    /// The only part of the address that is ever shown: the rest may be as good as a password.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A POST to the address itself.
    #[must_use]
    pub fn post(&self) -> Builder {
        self.named(Request::post(&self.path))
    }

    /// A POST to what lies below it.
    #[must_use]
    pub fn post_below(&self, path: &str) -> Builder {
        self.named(Request::post(self.below(path)))
    }

    /// A GET of what lies below it.
    #[must_use]
    pub fn get_below(&self, path: &str) -> Builder {
        self.named(Request::get(self.below(path)))
    }

    fn below(&self, path: &str) -> String {
        format!("{}/{path}", self.path.trim_end_matches('/'))
    }

    fn named(&self, request: Builder) -> Builder {
        request.header(HOST, &self.authority).header(USER_AGENT, concat!("agentgate/", env!("CARGO_PKG_VERSION")))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.host)
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn connector(from: Roots<'_>, time: Arc<dyn TimeProvider>) -> Result<TlsConnector, TargetError> {
    let wrong = TargetError::Roots;
    let mut roots = RootCertStore::empty();
    let mut add = |path: &Path, found: Result<Vec<CertificateDer<'static>>, pem::Error>| {
        let found = found.map_err(|error| wrong(format!("`{}` is no PEM file of certificates: {error}", path.display())))?;
        let mut found = found.into_iter();
        found.try_for_each(|root| roots.add(root).map_err(|error| wrong(format!("`{}`: {error}", path.display()))))
    };
    match from {
        Roots::File(path) => add(path, CertificateDer::pem_file_iter(path).and_then(Iterator::collect))?,
        Roots::Pem(path, bytes) => add(path, CertificateDer::pem_slice_iter(bytes).collect())?,
        // One that is unreadable among many is no reason to trust none.
        Roots::System => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err(wrong("there are no roots to trust; name a PEM file that has some".into()));
    }
    let config = ClientConfig::builder_with_details(Arc::new(aws_lc_rs::default_provider()), time)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
