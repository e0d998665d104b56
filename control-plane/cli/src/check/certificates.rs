//! Looks at certificates and keys in files: those that Envoy's configuration names, or those of a folder (folder.rs).
//!
//! It reads keys only to compare them with their certificates, and shows none of either.

use super::configuration::Configuration;
use super::finding::Findings;
use super::missing::{self, Base, Sure};
use super::parts::{Chain, Gate};
use super::place::Place;
use super::table::Check;
use super::yaml;
use agentgate_core::id::SpiffeId;
use agentgate_core::time::Time;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

/// A larger file of roots is the system's, and its expiry is not ours to watch.
const OWN_ROOTS_MAX: usize = 16;

/// Less than one part in so many of its life left: it is due.
const DUE_SHARE: u64 = 3;

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Filter,
    Listener,
    Other,
}

/// The files of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    pairs: Vec<(PathBuf, Option<PathBuf>)>,
    roots: Vec<PathBuf>,
    /// Files of secrets that are not here.
    missing: Vec<PathBuf>,
    sure: Sure,
}

/// What is told of one certificate.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

/// Looks at what the configuration names; the identities of filters are the answer.
pub(crate) fn look(
    configuration: &Configuration<'_>,
    chains: &[Chain<'_>],
    base: &Base,
    now: Time,
    findings: &mut Findings,
) -> Vec<String> {
    let gates: Vec<&str> = chains.iter().filter_map(|chain| chain.gate.as_ref()).map(Gate::control_plane).collect();
    let mut connections = Vec::new();
    for cluster in &configuration.clusters {
        let name = cluster.field("name").text().unwrap_or_default();
        let whose = if gates.contains(&name) { Whose::Filter } else { Whose::Other };
        for socket in cluster.all("transport_socket") {
            connections.push((whose, format!("cluster {name}"), Files::of(configuration, &socket, base)));
        }
    }
    for chain in chains.iter().filter(|chain| chain.gate.is_some()) {
        let socket = chain.filter_chain.field("transport_socket");
        connections.push((Whose::Listener, chain.at.clone(), Files::of(configuration, &socket, base)));
    }
    let mut identities = Vec::new();
    for (whose, at, files) in &connections {
        let found = files.look(*whose, at, now, findings);
        identities.extend(found.into_iter().filter(|_| *whose == Whose::Filter));
    }
    shared(&connections, findings);
    identities
}

/// A key of the filter's that is somebody else's as well, under whatever name it lies.
fn shared(connections: &[(Whose, String, Files)], findings: &mut Findings) {
    let (filters, others): (Vec<_>, Vec<_>) = connections.iter().partition(|(whose, ..)| *whose == Whose::Filter);
    let own: BTreeSet<Vec<u8>> = filters.iter().flat_map(|(_, _, files)| files.keys()).map(|(_, key)| key).collect();
    for (_, at, files) in others {
        for (certificate, _) in files.keys().into_iter().filter(|(_, key)| own.contains(key)) {
            findings.add(Check::FilterShared, &place(at, &certificate), None, "it has the filter's key");
        }
    }
}

/// By the certificate's own words, and by the control plane's of those that it holds.
pub(crate) fn aged(at: &str, life: &Life, now: Time, findings: &mut Findings) {
    let (now, second) = (now.micros(), 1_000_000);
    let until = |micros: u64| Time::from_micros(micros / second * second).to_string();
    if now >= life.not_after {
        findings.add(Check::CertificateExpired, at, None, format!("since {}", until(life.not_after)));
    } else if now < life.not_before {
        findings.add(Check::CertificateEarly, at, None, format!("before {}", until(life.not_before)));
    } else if life.not_after - now < life.not_after.saturating_sub(life.not_before) / DUE_SHARE {
        findings.add(Check::CertificateDue, at, None, format!("it ends at {}", until(life.not_after)));
    }
}

// === impl Files ===

impl Files {
    /// Of a folder and no configuration. Without a pair only the roots are looked at.
    pub(super) fn beside(pair: Option<(PathBuf, Option<PathBuf>)>, roots: Option<PathBuf>) -> Self {
        Self { pairs: pair.into_iter().collect(), roots: roots.into_iter().collect(), ..Self::default() }
    }

    fn of(configuration: &Configuration<'_>, socket: &Place<'_>, base: &Base) -> Self {
        let (base, sure) = (base.path.as_path(), base.sure);
        let common = socket.field("typed_config").opened().field("common_tls_context");
        let mut files = Self { sure, ..Self::default() };
        for pair in common.field("tls_certificates").items() {
            files.pair(&pair, base);
        }
        for context in [common.field("validation_context"), common.at("combined_validation_context.default_validation_context")] {
            files.root(&context, base);
        }
        let roots = [
            common.field("validation_context_sds_secret_config"),
            common.at("combined_validation_context.validation_context_sds_secret_config"),
        ];
        for secret in common.field("tls_certificate_sds_secret_configs").items().into_iter().chain(roots) {
            files.secret(configuration, &secret, base);
        }
        files
    }

    fn pair(&mut self, pair: &Place<'_>, base: &Path) {
        let file = |name: &str| pair.field(name).field("filename").text().map(|file| base.join(file));
        if let Some(certificate) = file("certificate_chain") {
            self.pairs.push((certificate, file("private_key")));
        }
    }

    fn root(&mut self, context: &Place<'_>, base: &Path) {
        self.roots.extend(context.at("trusted_ca.filename").text().map(|file| base.join(file)));
    }

    /// In the configuration itself, or in the file that it names.
    fn secret(&mut self, configuration: &Configuration<'_>, secret: &Place<'_>, base: &Path) {
        let Some(name) = secret.field("name").text() else { return };
        let path = secret.at("sds_config.path_config_source.path").text().or_else(|| secret.at("sds_config.path").text());
        if let Some(path) = path {
            let file = base.join(path);
            match fs::read_to_string(&file).ok().and_then(|text| yaml::read(&text).ok()) {
                Some(document) => {
                    for resource in Place::root(&document).field("resources").items() {
                        self.named(&resource, name, base);
                    }
                }
                None => self.missing.push(file),
            }
            return;
        }
        for held in &configuration.secrets {
            self.named(held, name, base);
        }
    }

    fn named(&mut self, secret: &Place<'_>, name: &str, base: &Path) {
        if secret.field("name").text() == Some(name) {
            self.pair(&secret.field("tls_certificate"), base);
            self.root(&secret.field("validation_context"), base);
        }
    }

    /// The public keys of its certificates.
    fn keys(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let key = |file: &PathBuf| {
            let leaf = CertificateDer::pem_file_iter(file).ok()?.next()?.ok()?;
            let (_, parsed) = X509Certificate::from_der(&leaf).ok()?;
            Some((file.clone(), parsed.public_key().raw.to_vec()))
        };
        self.pairs.iter().filter_map(|(certificate, _)| key(certificate)).collect()
    }

    /// Whether it is looked for here and is not here. Of other connections nothing is known: they may be other machines'.
    fn is_missing(&self, whose: Whose, at: &str, file: &Path, findings: &mut Findings) -> bool {
        let missing = whose != Whose::Other && self.sure.is_missing(file);
        if missing {
            findings.add(Check::CertificateMissing, &place(at, file), None, missing::said(file));
        }
        missing
    }

    /// The SPIFFE IDs of what it holds.
    pub(super) fn look(&self, whose: Whose, at: &str, now: Time, findings: &mut Findings) -> Vec<String> {
        for file in &self.missing {
            if !self.is_missing(whose, at, file, findings) {
                findings.add(Check::CertificateUnreadable, &place(at, file), None, "the file that says where it lies");
            }
        }
        let read = |file: &PathBuf, findings: &mut Findings| {
            if self.is_missing(whose, at, file, findings) { Vec::new() } else { certificates(at, file, findings) }
        };
        let roots: Vec<CertificateDer<'static>> = self.roots.iter().flat_map(|file| read(file, findings)).collect();
        if roots.len() <= OWN_ROOTS_MAX {
            for (root, file) in roots.iter().zip(self.roots.iter().cycle()) {
                if let Ok((_, parsed)) = X509Certificate::from_der(root) {
                    aged(&place(at, file), &Life::of(&parsed), now, findings);
                }
            }
        }
        let mut identities = Vec::new();
        for (certificate, key) in &self.pairs {
            let chain = read(certificate, findings);
            let Some(leaf) = chain.first() else { continue };
            let here = place(at, certificate);
            let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
                findings.add(Check::CertificateUnreadable, &here, None, "it is not X.509");
                continue;
            };
            aged(&here, &Life::of(&parsed), now, findings);
            if whose == Whose::Filter {
                identities.extend(identity(&here, &parsed, findings));
                signed(&here, &chain, &roots, now, findings);
            }
            if let Some(key) = key.as_ref().filter(|key| !self.is_missing(whose, at, key, findings)) {
                fits(at, key, &chain, findings);
            }
        }
        domains(at, whose, &identities, &roots, findings);
        identities
    }
}

/// The name of whoever shows this certificate.
#[must_use]
pub(crate) fn name_of(file: &Path) -> Option<SpiffeId> {
    let leaf = CertificateDer::pem_file_iter(file).ok()?.next()?.ok()?;
    let (_, parsed) = X509Certificate::from_der(&leaf).ok()?;
    let uris = uris(&parsed);
    SpiffeId::try_from(uris.first()?.as_str()).ok()
}

fn place(at: &str, file: &Path) -> String {
    format!("{at}, {}", file.display())
}

fn certificates(at: &str, file: &Path, findings: &mut Findings) -> Vec<CertificateDer<'static>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match read {
        Ok(read) if !read.is_empty() => read,
        Ok(_) => {
            findings.add(Check::CertificateUnreadable, &place(at, file), None, "there is no certificate in it");
            Vec::new()
        }
        Err(error) => {
            findings.add(Check::CertificateUnreadable, &place(at, file), None, error.to_string());
            Vec::new()
        }
    }
}

/// Exactly one URI, and that a SPIFFE ID.
fn identity(at: &str, certificate: &X509Certificate<'_>, findings: &mut Findings) -> Option<String> {
    let uris = uris(certificate);
    match uris.as_slice() {
        [one] if SpiffeId::try_from(one.as_str()).is_ok() => Some(one.clone()),
        [one] => {
            findings.add(Check::CertificateName, at, None, format!("`{one}`"));
            None
        }
        several => {
            findings.add(Check::CertificateName, at, None, format!("it has {}", several.len()));
            None
        }
    }
}

fn uris(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut uris = Vec::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
            for name in &names.general_names {
                if let GeneralName::URI(uri) = name {
                    uris.push((*uri).to_owned());
                }
            }
        }
    }
    uris
}

/// As the control plane would check it. What is wrong with its time is told by itself.
fn signed(at: &str, chain: &[CertificateDer<'static>], roots: &[CertificateDer<'static>], now: Time, findings: &mut Findings) {
    let Some((leaf, between)) = chain.split_first().filter(|_| !roots.is_empty()) else { return };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider).build();
    let at_time = UnixTime::since_unix_epoch(Duration::from_micros(now.micros()));
    let said = match verifier.map(|verifier| verifier.verify_client_cert(leaf, between, at_time)) {
        Ok(Ok(_)) => return,
        Ok(Err(rustls::Error::InvalidCertificate(error))) => {
            use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
            if matches!(error, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }) {
                return;
            }
            error.to_string()
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    findings.add(Check::CertificateChain, at, None, said);
}

fn fits(at: &str, key: &Path, chain: &[CertificateDer<'static>], findings: &mut Findings) {
    let here = place(at, key);
    let mode = fs::metadata(key).map(|metadata| metadata.permissions().mode() & 0o777);
    if let Some(mode) = mode.ok().filter(|mode| mode & 0o077 != 0) {
        findings.add(Check::KeyOpen, &here, None, format!("its mode is {mode:o}"));
    }
    let secret = match PrivateKeyDer::from_pem_file(key) {
        Ok(secret) => secret,
        Err(error) => return findings.add(Check::CertificateUnreadable, &here, None, error.to_string()),
    };
    match rustls::crypto::aws_lc_rs::sign::any_supported_type(&secret) {
        Err(error) => findings.add(Check::CertificateUnreadable, &here, None, error.to_string()),
        Ok(signing) => {
            if let Err(rustls::Error::InconsistentKeys(_)) = CertifiedKey::new(chain.to_vec(), signing).keys_match() {
                findings.add(Check::CertificateKey, &here, None, "");
            }
        }
    }
}

/// Of a filter and of the authority beside it, where that names one.
fn domains(at: &str, whose: Whose, identities: &[String], roots: &[CertificateDer<'static>], findings: &mut Findings) {
    if whose != Whose::Filter || roots.len() > OWN_ROOTS_MAX {
        return;
    }
    let named = |uri: &str| uri.strip_prefix("spiffe://").map(|rest| rest.split('/').next().unwrap_or_default().to_owned());
    let own: Vec<String> = identities.iter().filter_map(|uri| named(uri)).collect();
    let parsed = roots.iter().filter_map(|root| X509Certificate::from_der(root).ok());
    let theirs: Vec<String> = parsed.flat_map(|(_, root)| uris(&root)).filter_map(|uri| named(&uri)).collect();
    for domain in own.iter().filter(|domain| !theirs.is_empty() && !theirs.contains(domain)) {
        findings.add(Check::TrustDomains, at, None, format!("`{domain}` and `{}`", theirs.join("`, `")));
    }
}

// === impl Life ===

impl Life {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let micros = |seconds: i64| u64::try_from(seconds).unwrap_or_default().saturating_mul(1_000_000);
        let validity = certificate.validity();
        Self { not_before: micros(validity.not_before.timestamp()), not_after: micros(validity.not_after.timestamp()) }
    }
}
