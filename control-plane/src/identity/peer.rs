//! One connection's other end: the certificate that it presented, read once, and checked again for every call.

use super::{Refused, Trust};
use agentgate_core::id::SpiffeId;
use agentgate_core::time::Time;
use rustls::pki_types::CertificateDer;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// Who is at the other end of a connection.
#[derive(Debug)]
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    read: Result<Read, Refused>,
    /// The generation of the trust roots that this chain was last verified under.
    verified: AtomicU64,
    since: Duration,
    over: Notify,
}

#[derive(Debug)]
pub(super) struct Read {
    pub(super) identity: SpiffeId,
    pub(super) not_before: Time,
    pub(super) not_after: Time,
}

// === impl Peer ===

impl Peer {
    /// `chain`: as the handshake verified it, leaf first, under the roots of `generation`; `since`: when, monotonic.
    #[must_use]
    pub fn new(chain: Option<&[CertificateDer<'_>]>, generation: u64, since: Duration) -> Self {
        let chain: Vec<_> = chain.unwrap_or_default().iter().map(|certificate| certificate.clone().into_owned()).collect();
        let read = chain.first().ok_or(Refused::Nobody).and_then(|leaf| read(leaf));
        Self { chain, read, verified: AtomicU64::new(generation), since, over: Notify::new() }
    }

    /// When its connection was opened, monotonic.
    #[must_use]
    pub fn since(&self) -> Duration {
        self.since
    }

    /// Its connection is of no use any more: whoever renewed the certificate shows the new one on the next.
    pub fn end(&self) {
        self.over.notify_one();
    }

    /// Waits for `end`.
    pub async fn ended(&self) {
        self.over.notified().await;
    }

    /// Who this is, if the certificate is valid at `now` and under the roots that are trusted now.
    ///
    /// # Errors
    /// When it names nobody, is not valid at `now`, or its root was taken away.
    pub fn identity(&self, trust: &Trust, now: Time) -> Result<&SpiffeId, Refused> {
        let read = self.read.as_ref().map_err(Clone::clone)?;
        let identity = || read.identity.clone();
        if now > read.not_after {
            return Err(Refused::Expired { identity: identity(), not_after: read.not_after });
        }
        if now < read.not_before {
            return Err(Refused::Early { identity: identity(), not_before: read.not_before });
        }
        let generation = trust.generation();
        if self.verified.load(Ordering::Relaxed) != generation {
            trust.verify(&self.chain).map_err(|why| Refused::Untrusted { identity: identity(), why })?;
            self.verified.store(generation, Ordering::Relaxed);
        }
        Ok(&read.identity)
    }
}

/// The workload's name and the span of a leaf certificate. Exactly one URI SAN: with two, two readers could differ.
pub(super) fn read(leaf: &CertificateDer<'_>) -> Result<Read, Refused> {
    let nameless = |why: &str| Refused::Nameless(why.into());
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| nameless("it cannot be read"))?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| nameless("its subject alternative names cannot be read"))?
        .ok_or_else(|| nameless("it has no subject alternative name"))?;
    let mut uris =
        names.value.general_names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(nameless("it has none or several URI names"));
    };
    let identity = SpiffeId::try_from(uri).map_err(|error| nameless(&error.to_string()))?;
    let validity = certificate.validity();
    Ok(Read { identity, not_before: time(validity.not_before), not_after: time(validity.not_after) })
}

fn time(at: ASN1Time) -> Time {
    Time::from_micros(u64::try_from(at.timestamp()).unwrap_or_default().saturating_mul(1_000_000))
}

/// For people: whose certificate this is, by SPIFFE ID or else by subject, and until when.
pub(super) fn describe(certificate: &CertificateDer<'_>) -> Option<(String, Time, Time)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = read(certificate).map_or_else(|_| parsed.subject().to_string(), |read| read.identity.to_string());
    Some((subject, time(parsed.validity().not_before), time(parsed.validity().not_after)))
}
