//! Where approvers are told, and by which key: read from the configuration once, at start. It refuses an address whose words
//! others could read on their way, and a key that is short or cannot be read.

use crate::clock::Clock;
use crate::config::WebhookTarget;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use hyper::Uri;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::Sha256;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use tokio_rustls::TlsConnector;

/// As Standard Webhooks has it.
const SECRET_BYTES: RangeInclusive<usize> = 24..=64;

/// What may stand before a secret.
const PREFIX: &str = "whsec_";

#[derive(Debug, Error)]
pub enum WebhookError {
    #[error("`approvals.webhook.url`: {why}; write e.g. `https://chat.example/hooks/agentgate`")]
    Url { why: String },
    #[error("`approvals.webhook.secret`: cannot read `{}`", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("`approvals.webhook.secret`: `{}` {why}; make one with `openssl rand -base64 32`", path.display())]
    Secret { path: PathBuf, why: String },
    #[error("`approvals.webhook.authority`: {why}")]
    Roots { why: String },
}

pub(super) struct Target {
    authority: String,
    host: String,
    port: u16,
    path: String,
    secret: Secret,
    /// None: plain HTTP on the loopback.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// The key of the signatures.
pub(super) struct Secret(Vec<u8>);

// === impl Target ===

impl Target {
    pub(super) fn open(config: &WebhookTarget, clock: &Clock) -> Result<Self, WebhookError> {
        let wrong = |why: &str| WebhookError::Url { why: why.into() };
        let uri: Uri = config.url.parse().map_err(|_| wrong("it is no URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("it has no scheme or no host"));
        };
        if config.url.contains('#') || authority.as_str().contains('@') {
            return Err(wrong("it has a fragment, or a user's name; neither is sent"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        // The parser takes a port that is none for none at all.
        let names_a_port = authority.as_str().len() > authority.host().len();
        if names_a_port && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(wrong("its port is no port"));
        }
        let (tls, port) = match scheme {
            "https" => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong("its host is no name of a host"))?;
                (Some((connector(config.authority.as_deref(), clock)?, name)), 443)
            }
            "http" if is_loopback(host) => (None, 80),
            "http" => {
                return Err(wrong("http is for this very machine only, since anybody on the way could read along; use https"));
            }
            _ => return Err(wrong("its scheme is neither https nor http")),
        };
        Ok(Self {
            authority: authority.as_str().into(),
            host: host.into(),
            port: authority.port_u16().unwrap_or(port),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).into(),
            secret: Secret::read(&config.secret)?,
            tls,
        })
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The only part of the address that is ever shown: the rest may be as good as a password.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    pub(super) fn tls(&self) -> Option<&(TlsConnector, ServerName<'static>)> {
        self.tls.as_ref()
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

fn connector(authority: Option<&Path>, clock: &Clock) -> Result<TlsConnector, WebhookError> {
    let wrong = |why: String| WebhookError::Roots { why };
    let mut roots = RootCertStore::empty();
    match authority {
        Some(path) => {
            let unreadable = |error| wrong(format!("`{}` is no PEM file of certificates: {error}", path.display()));
            for root in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                roots.add(root.map_err(unreadable)?).map_err(|error| wrong(format!("`{}`: {error}", path.display())))?;
            }
        }
        // One that is unreadable among many is no reason to trust none.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err(wrong("there are no roots to trust; name a PEM file that has some".into()));
    }
    let config = ClientConfig::builder_with_details(Arc::new(aws_lc_rs::default_provider()), Arc::new(clock.clone()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

// === impl Secret ===

impl Secret {
    pub(super) fn read(path: &Path) -> Result<Self, WebhookError> {
        let wrong = |why: String| WebhookError::Secret { path: path.into(), why };
        let text = std::fs::read_to_string(path).map_err(|source| WebhookError::Unreadable { path: path.into(), source })?;
        let text = text.trim();
        let key = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).map_err(|_| wrong("is not in base64".into()))?;
        if !SECRET_BYTES.contains(&key.len()) {
            let (min, max) = (SECRET_BYTES.start(), SECRET_BYTES.end());
            return Err(wrong(format!("holds {} bytes, not {min} to {max}", key.len())));
        }
        Ok(Self(key))
    }

    /// As Standard Webhooks has it: over the id, the time and the very bytes of the body.
    pub(super) fn sign(&self, id: &str, timestamp_s: u64, body: &str) -> String {
        // HMAC takes a key of any length.
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        let mac =
            mac.chain_update(id).chain_update(".").chain_update(timestamp_s.to_string()).chain_update(".").chain_update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
