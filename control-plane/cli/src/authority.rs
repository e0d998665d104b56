//! A certificate authority for a laptop and for tests: one key, and leaves with SPIFFE IDs that it signs.
//!
//! It is no authority for production: it revokes nothing, rotates nothing, and its key lies unencrypted on disk.
//! It never overwrites a key unless told to, and never writes one that others can read.

pub mod verb;

use agentgate_core::id::{NameError, SpiffeId};
use agentgate_core::time::Time;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

/// The stem of the authority's own files; no leaf may take it.
pub const AUTHORITY: &str = "authority";

/// The longest common name that X.509 allows; a longer name stands in the SAN alone.
const COMMON_NAME_CHARS_MAX: usize = 64;

/// The longest file name that every common file system takes, less room for the extension.
const STEM_BYTES_MAX: usize = 200;

/// A new authority.
#[derive(Clone, Debug)]
pub struct Init<'a> {
    pub directory: &'a Path,
    pub trust_domain: &'a str,
    pub validity: Validity,
    /// Replaces the authority that is there. Everything that it has issued is worthless then.
    pub force: bool,
}

/// A new leaf, by the authority in the same directory.
#[derive(Clone, Debug)]
pub struct Issue<'a> {
    pub directory: &'a Path,
    /// The path of the SPIFFE ID, like `filter/laptop`.
    pub name: &'a str,
    pub dns: &'a [String],
    pub ip: &'a [IpAddr],
    pub validity: Validity,
    /// Replaces the certificate and the key of this name.
    pub force: bool,
}

/// From when until when a certificate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Time,
    pub not_after: Time,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The SPIFFE ID; of an authority the trust domain's own, which has no path.
    pub identity: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub validity: Validity,
}

#[derive(Debug, Error)]
pub enum AuthorityError {
    #[error("the trust domain `{0}` is not usable; take lower-case letters, digits, dots and dashes, like `agentgate.local`")]
    TrustDomain(String),
    #[error("the name cannot be part of a SPIFFE ID; take something like `filter/laptop`")]
    Name(#[source] NameError),
    #[error("`{0}` is too long to name a file; take at most {STEM_BYTES_MAX} characters")]
    LongName(String),
    #[error("`{0}` would take the authority's own files; choose another name")]
    Reserved(String),
    #[error("`{0}` is no DNS name; an address goes into --ip")]
    Dns(String),
    #[error("{} is there already; pass --force to replace it, or choose another name", .0.display())]
    Exists(PathBuf),
    #[error("there is no authority in {}; make one with `agentgate authority init --directory {}`", .0.display(), .0.display())]
    NoAuthority(PathBuf),
    #[error("{} is no authority's certificate that this program wrote: {why}", path.display())]
    Unreadable { path: PathBuf, why: &'static str },
    #[error(
        "the certificate would be valid until {wanted}, but the authority only until {authority}; \
             shorten --valid-for, or begin anew with `agentgate authority init --force`"
    )]
    OutlivesAuthority { wanted: Time, authority: Time },
    #[error("a certificate that ends at {not_after} and begins at {not_before} is never valid, or lies outside the calendar")]
    Validity { not_before: Time, not_after: Time },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot make the certificate")]
    Make(#[from] rcgen::Error),
}

/// Makes an authority: `authority.pem` and `authority.key` in the directory, which is made when it is not there.
///
/// It may sign leaves only (path length 0).
pub fn init(order: &Init<'_>) -> Result<Issued, AuthorityError> {
    let validity = order.validity.whole_seconds();
    let identity = format!("spiffe://{}", order.trust_domain);
    // A trust domain is usable when an identity in it is.
    SpiffeId::try_from(format!("{identity}/x").as_str())
        .ok()
        .filter(|id| id.trust_domain() == order.trust_domain)
        .ok_or_else(|| AuthorityError::TrustDomain(order.trust_domain.into()))?;

    let mut params = parameters(&format!("AgentGate authority of {}", order.trust_domain), validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(identity.as_str())?)];

    let files = Files::new(order.directory, AUTHORITY);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(order.directory)
        .map_err(|source| AuthorityError::Write { path: order.directory.into(), source })?;
    files.check(order.force)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    files.write(&certificate.pem(), &key.serialize_pem(), order.force)?;
    Ok(files.issued(identity, validity))
}

/// Issues a leaf for servers and clients alike: everybody here speaks mutual TLS.
pub fn issue(order: &Issue<'_>) -> Result<Issued, AuthorityError> {
    let validity = order.validity.whole_seconds();
    let authority = Authority::read(order.directory)?;
    let identity = SpiffeId::try_from(format!("spiffe://{}/{}", authority.trust_domain, order.name).as_str())
        .map_err(AuthorityError::Name)?;
    let stem = order.name.replace('/', "-");
    if stem == AUTHORITY {
        return Err(AuthorityError::Reserved(order.name.into()));
    }
    if stem.len() > STEM_BYTES_MAX {
        return Err(AuthorityError::LongName(order.name.into()));
    }
    if validity.not_after > authority.not_after {
        let (wanted, authority) = (validity.not_after, authority.not_after);
        return Err(AuthorityError::OutlivesAuthority { wanted, authority });
    }

    let mut params = parameters(order.name, validity)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    // The SPIFFE ID first: Envoy shows only the first URI.
    params.subject_alt_names.push(SanType::URI(Ia5String::try_from(identity.as_str())?));
    for name in order.dns {
        params.subject_alt_names.push(dns(name)?);
    }
    params.subject_alt_names.extend(order.ip.iter().copied().map(SanType::IpAddress));

    let files = Files::new(order.directory, &stem);
    files.check(order.force)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.signed_by(&key, &authority.issuer)?;
    files.write(&certificate.pem(), &key.serialize_pem(), order.force)?;
    Ok(files.issued(identity.to_string(), validity))
}

fn parameters(common_name: &str, validity: Validity) -> Result<CertificateParams, AuthorityError> {
    let Validity { not_before, not_after } = validity;
    let moment = |time: Time| {
        let seconds = i64::try_from(time.micros() / 1_000_000).ok();
        seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
    };
    let (Some(begin), Some(end)) = (moment(not_before), moment(not_after)) else {
        return Err(AuthorityError::Validity { not_before, not_after });
    };
    if end <= begin {
        return Err(AuthorityError::Validity { not_before, not_after });
    }
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (begin, end);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "AgentGate");
    if common_name.chars().count() <= COMMON_NAME_CHARS_MAX {
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    Ok(params)
}

fn dns(name: &str) -> Result<SanType, AuthorityError> {
    let label = |label: &str| {
        let within = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=63).contains(&label.len()) && within && !label.starts_with('-') && !label.ends_with('-')
    };
    let rest = name.strip_prefix("*.").unwrap_or(name);
    if name.len() > 253 || !rest.split('.').all(label) || name.parse::<IpAddr>().is_ok() {
        return Err(AuthorityError::Dns(name.into()));
    }
    Ok(SanType::DnsName(Ia5String::try_from(name)?))
}

/// The authority of a directory, ready to sign.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    trust_domain: String,
    not_after: Time,
}

/// The two files of one name.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

// === impl Validity ===

impl Validity {
    /// As a certificate can say it: what is less than a second is cut on both sides.
    const fn whole_seconds(self) -> Self {
        const fn cut(time: Time) -> Time {
            Time::from_micros(time.micros() / 1_000_000 * 1_000_000)
        }
        Self { not_before: cut(self.not_before), not_after: cut(self.not_after) }
    }
}

// === impl Authority ===

impl Authority {
    fn read(directory: &Path) -> Result<Self, AuthorityError> {
        let files = Files::new(directory, AUTHORITY);
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| {
                if source.kind() == io::ErrorKind::NotFound {
                    AuthorityError::NoAuthority(directory.into())
                } else {
                    AuthorityError::Read { path: path.into(), source }
                }
            })
        };
        let (certificate, key) = (read(&files.certificate)?, read(&files.key)?);
        let unreadable = |why| AuthorityError::Unreadable { path: files.certificate.clone(), why };

        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).map_err(|_| unreadable("it is not in PEM"))?;
        let (_, parsed) = X509Certificate::from_der(&pem.contents).map_err(|_| unreadable("it is not X.509"))?;
        let trust_domain = trust_domain(&parsed).ok_or_else(|| unreadable("it names no trust domain"))?;
        let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let key = KeyPair::from_pem(&key)?;
        if parsed.public_key().subject_public_key.data != key.public_key_raw() {
            return Err(unreadable("it does not belong to the key beside it"));
        }
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(&certificate, key)?,
            trust_domain,
            not_after: Time::from_micros(not_after.saturating_mul(1_000_000)),
        })
    }
}

/// The trust domain that an authority signs for: its one URI SAN, a SPIFFE ID without a path.
fn trust_domain(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| {
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
            return None;
        };
        names.general_names.iter().find_map(|name| {
            let GeneralName::URI(uri) = name else {
                return None;
            };
            uri.strip_prefix("spiffe://").map(str::to_owned)
        })
    })
}

// === impl Files ===

impl Files {
    fn new(directory: &Path, stem: &str) -> Self {
        Self { certificate: directory.join(format!("{stem}.pem")), key: directory.join(format!("{stem}.key")) }
    }

    /// Says no before anything is made; the writing itself refuses once more.
    fn check(&self, force: bool) -> Result<(), AuthorityError> {
        for path in [&self.key, &self.certificate] {
            if !force && path.symlink_metadata().is_ok() {
                return Err(AuthorityError::Exists(path.clone()));
            }
        }
        Ok(())
    }

    /// The certificate last, so that whoever waits for it finds its key.
    fn write(&self, certificate: &str, key: &str, force: bool) -> Result<(), AuthorityError> {
        place(&self.key, key, 0o600, force)?;
        place(&self.certificate, certificate, 0o644, force)
    }

    fn issued(self, identity: String, validity: Validity) -> Issued {
        Issued { identity, certificate: self.certificate, key: self.key, validity }
    }
}

/// Puts a whole file in its place, or nothing: readers of a key that is being replaced never see half of it.
fn place(path: &Path, text: &str, mode: u32, force: bool) -> Result<(), AuthorityError> {
    let fail = |source| AuthorityError::Write { path: path.into(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let placed = written.and_then(|()| if force { fs::rename(&beside, path) } else { fs::hard_link(&beside, path) });
    if !force || placed.is_err() {
        // Best effort: what is left over is readable by its owner alone.
        let _ = fs::remove_file(&beside);
    }
    placed.map_err(
        |source| {
            if source.kind() == io::ErrorKind::AlreadyExists { AuthorityError::Exists(path.into()) } else { fail(source) }
        },
    )
}

#[cfg(test)]
mod tests;
