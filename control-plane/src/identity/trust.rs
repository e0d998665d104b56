//! The server's certificate and the roots it trusts, read again when their files change.
//!
//! A new file that cannot be used leaves the old one in force, and says so. Each handshake takes the newest; sessions are
//! never resumed, since a resumed one would skip the roots of today.

use super::peer;
use crate::clock::Clock;
use crate::config::Tls;
use agentgate_core::digest::{Digest, Digester};
use agentgate_core::time::Time;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use thiserror::Error;

/// How often the files are looked at.
pub const POLL: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Debug, Error)]
pub enum TrustError {
    #[error("cannot read `{}`; `agentgate authority issue` writes such files, and [tls] names them", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("`{}` is no PEM file of {what}", path.display())]
    Pem { path: PathBuf, what: &'static str },
    #[error("`{}` and its key cannot serve", path.display())]
    Certificate { path: PathBuf, source: rustls::Error },
    #[error("`{}` cannot be trusted: {why}", path.display())]
    Roots { path: PathBuf, why: String },
}

/// What people want to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    pub name: &'static str,
    pub subject: String,
    pub not_before: Time,
    pub not_after: Time,
}

/// What is trusted now, and how that changes.
#[derive(Debug)]
pub struct Trust {
    files: Tls,
    clock: Clock,
    now: RwLock<Now>,
}

#[derive(Debug)]
struct Now {
    loaded: Arc<Loaded>,
    /// Of the files as they were last looked at, good or bad.
    seen: Digest,
    generation: u64,
    trouble: Option<String>,
}

#[derive(Debug)]
struct Loaded {
    server: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    certificates: Vec<CertificateFacts>,
}

struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

// === impl Trust ===

impl Trust {
    /// # Errors
    /// When the files cannot be read or do not fit together: a server without them serves nobody.
    pub fn open(files: Tls, clock: Clock) -> Result<Self, TrustError> {
        let bytes = Files::read(&files)?;
        let loaded = Arc::new(bytes.load(&files, &clock)?);
        let now = RwLock::new(Now { loaded, seen: bytes.digest(), generation: 1, trouble: None });
        Ok(Self { files, clock, now })
    }

    /// Looks at the files again. True when something new is in force.
    pub fn look_again(&self) -> bool {
        let result = match Files::read(&self.files) {
            Ok(bytes) if bytes.digest() == self.read(|now| now.seen) => return false,
            Ok(bytes) => {
                let loaded = bytes.load(&self.files, &self.clock);
                self.write(|now| now.seen = bytes.digest());
                loaded
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(loaded) => {
                self.write(|now| {
                    now.loaded = Arc::new(loaded);
                    now.generation += 1;
                    now.trouble = None;
                });
                tracing::info!("new certificates are in force");
                true
            }
            Err(error) => {
                let trouble = agentgate_core::error::chain(&error);
                let known = self.read(|now| now.trouble.as_deref() == Some(&trouble));
                if !known {
                    tracing::warn!(trouble, "the new certificates are not used; the old ones stay in force");
                    metrics::counter!("agentgate_certificate_reloads_failed_total").increment(1);
                    self.write(|now| now.trouble = Some(trouble));
                }
                false
            }
        }
    }

    /// The configuration for the next handshake, and the generation of its roots.
    #[must_use]
    pub fn server(&self) -> (Arc<ServerConfig>, u64) {
        self.read(|now| (Arc::clone(&now.loaded.server), now.generation))
    }

    #[must_use]
    pub fn generation(&self) -> u64 {
        self.read(|now| now.generation)
    }

    /// # Errors
    /// When the chain does not lead to a root that is trusted now.
    pub fn verify(&self, chain: &[CertificateDer<'static>]) -> Result<(), String> {
        let verifier = self.read(|now| Arc::clone(&now.loaded.verifier));
        let (Some((leaf, intermediates)), Some(now)) = (chain.split_first(), self.clock.current_time()) else {
            return Err("it has no certificate".into());
        };
        verifier.verify_client_cert(leaf, intermediates, now).map(|_| ()).map_err(|error| error.to_string())
    }

    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        self.read(|now| now.loaded.certificates.clone())
    }

    /// Why the newest files are not in force.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.read(|now| now.trouble.clone())
    }

    fn read<T>(&self, look: impl FnOnce(&Now) -> T) -> T {
        look(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.write().unwrap_or_else(PoisonError::into_inner));
    }
}

// === impl Files ===

impl Files {
    fn read(files: &Tls) -> Result<Self, TrustError> {
        let read = |path: &Path| std::fs::read(path).map_err(|source| TrustError::Unreadable { path: path.into(), source });
        Ok(Self { certificate: read(&files.certificate)?, key: read(&files.key)?, authority: read(&files.authority)? })
    }

    fn digest(&self) -> Digest {
        let mut digester = Digester::new("agentgate/tls-files/1");
        for part in [&self.certificate, &self.key, &self.authority] {
            digester.part(part);
        }
        digester.finish()
    }

    fn load(&self, files: &Tls, clock: &Clock) -> Result<Loaded, TrustError> {
        let chain = certificates(&self.certificate, &files.certificate)?;
        let roots = certificates(&self.authority, &files.authority)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| TrustError::Pem { path: files.key.clone(), what: "a private key" })?;
        let facts = [("server", chain.first()), ("authority", roots.first())];
        let facts = facts.into_iter().filter_map(|(name, certificate)| certificate_facts(name, certificate?)).collect();
        let verifier = verifier(roots, &files.authority)?;
        let broken = |source| TrustError::Certificate { path: files.certificate.clone(), source };
        let mut server = ServerConfig::builder_with_details(Arc::new(aws_lc_rs::default_provider()), Arc::new(clock.clone()))
            .with_safe_default_protocol_versions()
            .map_err(broken)?
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_single_cert(chain, key)
            .map_err(broken)?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Loaded { server: Arc::new(server), verifier, certificates: facts })
    }
}

fn verifier(roots: Vec<CertificateDer<'static>>, path: &Path) -> Result<Arc<dyn ClientCertVerifier>, TrustError> {
    let refused = |why: String| TrustError::Roots { path: path.into(), why };
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(|error| refused(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::new(aws_lc_rs::default_provider()))
        .build()
        .map_err(|error| refused(error.to_string()))
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let wrong = || TrustError::Pem { path: path.into(), what: "certificates" };
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| wrong())?;
    if certificates.is_empty() { Err(wrong()) } else { Ok(certificates) }
}

fn certificate_facts(name: &'static str, certificate: &CertificateDer<'_>) -> Option<CertificateFacts> {
    let (subject, not_before, not_after) = peer::describe(certificate)?;
    Some(CertificateFacts { name, subject, not_before, not_after })
}
