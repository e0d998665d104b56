//! What an authority issues, read back by others: names, chains, lifetimes, modes of files.

use super::{AuthorityError, Init, Issue, Issued, Validity, init, issue};
use agentgate_core::time::Time;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

const NOW: u64 = 1_795_374_352_000_000;
const HOUR: u64 = 3_600_000_000;
const DAY: u64 = 24 * HOUR;

fn from_now(begin: i64, end: i64) -> Validity {
    let at = |offset: i64| Time::from_micros(NOW.saturating_add_signed(offset));
    Validity { not_before: at(begin), not_after: at(end) }
}

fn begin(directory: &Path) -> Issued {
    let validity = from_now(0, 90 * DAY as i64);
    init(&Init { directory, trust_domain: "agentgate.local", validity, force: false }).expect("an authority")
}

fn leaf<'a>(directory: &'a Path, name: &'a str) -> Issue<'a> {
    Issue { directory, name, dns: &[], ip: &[], validity: from_now(0, DAY as i64), force: false }
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).expect("a certificate")
}

#[test]
fn an_authority_signs_leaves_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let made = begin(directory.path());
    assert_eq!(made.identity, "spiffe://agentgate.local");
    let der = certificate(&made.certificate);
    let (_, parsed) = X509Certificate::from_der(&der).expect("X.509");
    let constraints = parsed.basic_constraints().expect("readable").expect("there");
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = parsed.key_usage().expect("readable").expect("there").value;
    assert!(usage.key_cert_sign());
    assert_eq!(parsed.validity().not_after.timestamp() as u64, (NOW + 90 * DAY) / 1_000_000);
}

#[test]
fn a_leaf_carries_its_spiffe_id_first_and_serves_both_sides() {
    let directory = tempfile::tempdir().expect("a directory");
    begin(directory.path());
    let (dns, ip) = (["localhost".to_owned()], [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let made = issue(&Issue { dns: &dns, ip: &ip, ..leaf(directory.path(), "filter/laptop") }).expect("a leaf");
    assert_eq!(made.identity, "spiffe://agentgate.local/filter/laptop");
    assert_eq!(made.certificate, directory.path().join("filter-laptop.pem"));

    let der = certificate(&made.certificate);
    let (_, parsed) = X509Certificate::from_der(&der).expect("X.509");
    let names = parsed.subject_alternative_name().expect("readable").expect("there");
    assert_eq!(
        names.value.general_names,
        [
            GeneralName::URI("spiffe://agentgate.local/filter/laptop"),
            GeneralName::DNSName("localhost"),
            GeneralName::IPAddress(&[127, 0, 0, 1]),
        ]
    );
    let usage = parsed.extended_key_usage().expect("readable").expect("there").value;
    assert!(usage.server_auth && usage.client_auth);
    assert!(!parsed.is_ca());
    PrivateKeyDer::from_pem_file(&made.key).expect("a key");
}

#[test]
fn only_the_leaf_of_this_authority_is_trusted_and_only_while_it_is_valid() {
    let (ours, theirs) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    begin(ours.path());
    begin(theirs.path());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate(&ours.path().join("authority.pem"))).expect("a root");
    let roots = Arc::new(roots);
    let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build().expect("roots");
    let servers = rustls::client::WebPkiServerVerifier::builder_with_provider(roots, provider).build().expect("roots");

    let (hour, day) = (HOUR as i64, DAY as i64);
    for (directory, name, validity, trusted) in [
        (ours.path(), "filter/now", from_now(-hour, hour), true),
        (ours.path(), "filter/expired", from_now(-2 * day, -day), false),
        (ours.path(), "filter/early", from_now(hour, day), false),
        (theirs.path(), "filter/stranger", from_now(-hour, hour), false),
    ] {
        let dns = ["localhost".to_owned()];
        let made = issue(&Issue { dns: &dns, validity, ..leaf(directory, name) }).expect("a leaf");
        let der = certificate(&made.certificate);
        let at = UnixTime::since_unix_epoch(Duration::from_micros(NOW));
        assert_eq!(clients.verify_client_cert(&der, &[], at).is_ok(), trusted, "{name} as a client");
        use rustls::client::danger::ServerCertVerifier as _;
        for (host, named) in [("localhost", true), ("elsewhere", false)] {
            let host = ServerName::try_from(host).expect("a name");
            let accepted = servers.verify_server_cert(&der, &[], &host, &[], at).is_ok();
            assert_eq!(accepted, trusted && named, "{name} as {host:?}");
        }
    }
}

#[test]
fn a_key_is_for_its_owner_alone_and_is_never_overwritten_unasked() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = begin(directory.path());
    let made = issue(&leaf(directory.path(), "operator/me")).expect("a leaf");
    let read = |made: &Issued| std::fs::read_to_string(&made.key).expect("a key");
    for made in [&authority, &made] {
        let mode = std::fs::metadata(&made.key).expect("a key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", made.key.display());
    }

    let before = (read(&authority), read(&made));
    let again = issue(&leaf(directory.path(), "operator/me"));
    assert!(matches!(&again, Err(AuthorityError::Exists(path)) if *path == made.key), "{again:?}");
    let validity = from_now(0, DAY as i64);
    let mut order = Init { directory: directory.path(), trust_domain: "agentgate.local", validity, force: false };
    assert!(matches!(init(&order), Err(AuthorityError::Exists(_))));
    assert_eq!((read(&authority), read(&made)), before);

    issue(&Issue { force: true, ..leaf(directory.path(), "operator/me") }).expect("replaced");
    order.force = true;
    init(&order).expect("replaced");
    assert_ne!(read(&authority), before.0);
    assert_ne!(read(&made), before.1);
    let files = std::fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(files, 4, "nothing half-written is left behind");
}

#[test]
fn a_leaf_may_live_exactly_as_long_as_its_authority() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |micros| Time::from_micros(NOW + micros);
    let validity = Validity { not_before: at(1), not_after: at(DAY + 999_999) };
    init(&Init { directory: directory.path(), trust_domain: "agentgate.local", validity, force: false }).expect("made");
    let made = issue(&Issue { validity, ..leaf(directory.path(), "filter/a") }).expect("a certificate knows whole seconds");
    assert_eq!(made.validity, from_now(0, DAY as i64));
}

#[test]
fn what_cannot_be_issued_is_refused_with_its_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let none = issue(&leaf(directory.path(), "filter/a")).expect_err("no authority").to_string();
    assert!(none.contains("agentgate authority init"), "{none}");
    begin(directory.path());

    let (long, dns) = ("x".repeat(201), |name: &str| [name.to_owned()]);
    let base = || leaf(directory.path(), "filter/a");
    let (address, empty, dash) = (dns("127.0.0.1"), dns(""), dns("-a.example"));
    for (order, said) in [
        (leaf(directory.path(), "authority"), "authority's own files"),
        (leaf(directory.path(), ""), "SPIFFE ID"),
        (leaf(directory.path(), "../evil"), "SPIFFE ID"),
        (leaf(directory.path(), "filter//a"), "SPIFFE ID"),
        (leaf(directory.path(), "filter/ü"), "SPIFFE ID"),
        (leaf(directory.path(), &long), "too long"),
        (Issue { dns: &address, ..base() }, "--ip"),
        (Issue { dns: &empty, ..base() }, "no DNS name"),
        (Issue { dns: &dash, ..base() }, "no DNS name"),
        (Issue { validity: from_now(0, 91 * DAY as i64), ..base() }, "--valid-for"),
        (Issue { validity: from_now(0, 0), ..base() }, "never valid"),
    ] {
        let error = issue(&order).expect_err(said).to_string();
        assert!(error.contains(said), "{error}");
    }
    for domain in ["", "Agentgate.local", "a/b", "a b", "a?b"] {
        let validity = from_now(0, DAY as i64);
        let order = Init { directory: directory.path(), trust_domain: domain, validity, force: true };
        assert!(matches!(init(&order), Err(AuthorityError::TrustDomain(_))), "{domain}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 2, "nothing was written");
}
