//! Certificates in files: real ones, made by our own authority, and broken one way each.

use super::super::certificates::{look, name_of};
use super::super::configuration::Configuration;
use super::super::finding::Findings;
use super::super::folder::Folder;
use super::super::missing::{Base, Sure};
use super::super::place::Place;
use super::super::table::Check;
use super::super::yaml;
use super::{SHIPPED, names};
use crate::authority::{Init, Issue, Validity, init, issue};
use crate::failure::Exit;
use agentgate_core::time::Time;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

pub(super) const TRIED: [Check; 10] = [
    Check::CertificateMissing,
    Check::CertificateUnreadable,
    Check::CertificateExpired,
    Check::CertificateEarly,
    Check::CertificateDue,
    Check::CertificateName,
    Check::CertificateKey,
    Check::CertificateChain,
    Check::KeyOpen,
    Check::TrustDomains,
];

const HOUR: u64 = 3_600_000_000;
const NOW: Time = Time::from_micros(1_795_374_352_000_000);

fn at(hours: i64) -> Time {
    let micros = hours.unsigned_abs() * HOUR;
    Time::from_micros(if hours < 0 { NOW.micros() - micros } else { NOW.micros() + micros })
}

fn made(directory: &Path, domain: &str, name: &str, from: i64, to: i64) {
    let validity = Validity { not_before: at(-1_000), not_after: at(10_000) };
    init(&Init { directory, trust_domain: domain, validity, force: true }).expect("an authority");
    let validity = Validity { not_before: at(from), not_after: at(to) };
    issue(&Issue { directory, name, dns: &[], ip: &[], validity, force: true }).expect("a certificate");
}

/// The shipped configuration's directory, with what `change` does to it.
fn check(from: i64, to: i64, change: impl FnOnce(&Path)) -> (BTreeSet<Check>, Vec<String>) {
    check_of(SHIPPED, from, to, change)
}

fn check_of(text: &str, from: i64, to: i64, change: impl FnOnce(&Path)) -> (BTreeSet<Check>, Vec<String>) {
    let (findings, identities) = found(text, Sure::Beside, from, to, change);
    (names(&findings), identities)
}

fn found(text: &str, sure: Sure, from: i64, to: i64, change: impl FnOnce(&Path)) -> (Findings, Vec<String>) {
    let directory = tempfile::tempdir().expect("a directory");
    let (certs, sds) = (directory.path().join("certs"), directory.path().join("sds"));
    made(&certs, "agentgate.local", "filter/laptop", from, to);
    fs::create_dir(&sds).expect("sds");
    fs::write(sds.join("filter.yaml"), include_str!("../../../../../envoy/sds/filter.yaml")).expect("a secret");
    fs::write(sds.join("authority.yaml"), include_str!("../../../../../envoy/sds/authority.yaml")).expect("a secret");
    change(&certs);
    let document = yaml::read(text).expect("YAML");
    let configuration = Configuration::of(&Place::root(&document));
    let mut findings = Findings::default();
    let base = Base { path: directory.path().into(), sure };
    let identities = look(&configuration, &configuration.chains(), &base, NOW, &mut findings);
    (findings, identities)
}

fn another(directory: &Path, domain: &str, name: &str) {
    let elsewhere = tempfile::tempdir().expect("a directory");
    made(elsewhere.path(), domain, name, -1, 23);
    for end in ["pem", "key"] {
        let from = elsewhere.path().join(format!("{}.{end}", name.replace('/', "-")));
        fs::copy(from, directory.join(format!("filter-laptop.{end}"))).expect("a copy");
    }
}

#[test]
fn a_good_pair_has_nothing_to_find_and_tells_who_it_is() {
    let (found, identities) = check(-1, 23, |_| ());
    assert_eq!(found, BTreeSet::new());
    assert_eq!(identities, ["spiffe://agentgate.local/filter/laptop"]);
}

#[test]
fn time_is_looked_at_on_both_sides() {
    for (from, to, wanted) in [
        (-2, 0, Some(Check::CertificateExpired)),
        (1, 23, Some(Check::CertificateEarly)),
        (-17, 7, Some(Check::CertificateDue)),
        (-16, 8, None),
    ] {
        assert_eq!(check(from, to, |_| ()).0, wanted.into_iter().collect(), "{from} {to}");
    }
}

#[test]
fn what_does_not_belong_together_is_found() {
    let only = |wanted: Check, change: &dyn Fn(&Path)| {
        let (found, _) = check(-1, 23, change);
        assert!(found.contains(&wanted), "{found:?} without {}", wanted.name());
    };
    only(Check::CertificateUnreadable, &|certs| fs::write(certs.join("filter-laptop.key"), "no key").expect("a file"));
    only(Check::CertificateChain, &|certs| another(certs, "agentgate.local", "filter/laptop"));
    only(Check::TrustDomains, &|certs| another(certs, "elsewhere.example", "filter/laptop"));
    only(Check::CertificateKey, &|certs| {
        let key = fs::read(certs.join("authority.key")).expect("a key");
        fs::write(certs.join("filter-laptop.key"), key).expect("a file");
    });
    // An authority's own certificate has a URI without a path: nobody's name.
    only(Check::CertificateName, &|certs| {
        fs::copy(certs.join("authority.pem"), certs.join("filter-laptop.pem")).expect("a copy");
    });
    only(Check::KeyOpen, &|certs| {
        let open = fs::Permissions::from_mode(0o640);
        fs::set_permissions(certs.join("filter-laptop.key"), open).expect("a mode");
    });
}

#[test]
fn what_is_looked_for_here_and_is_not_here_is_a_hole_that_names_what_is() {
    use Check::{CertificateMissing, CertificateUnreadable};
    let renamed = |certs: &Path| fs::rename(certs.join("filter-laptop.pem"), certs.join("filter-edge.pem")).expect("it is there");
    let no_secret = |certs: &Path| fs::remove_file(certs.with_file_name("sds").join("filter.yaml")).expect("it is there");
    let no_folder = |certs: &Path| fs::remove_dir_all(certs).expect("it is there");
    for (sure, change, wanted) in [
        (Sure::Told, &renamed as &dyn Fn(&Path), CertificateMissing),
        (Sure::Beside, &renamed, CertificateMissing),
        (Sure::Guessed, &renamed, CertificateUnreadable),
        (Sure::Beside, &no_secret, CertificateMissing),
        (Sure::Guessed, &no_secret, CertificateUnreadable),
        // All of it lies elsewhere: where Envoy runs.
        (Sure::Beside, &no_folder, CertificateUnreadable),
        (Sure::Told, &no_folder, CertificateMissing),
    ] {
        let (findings, _) = found(SHIPPED, sure, -1, 23, change);
        assert_eq!(names(&findings), BTreeSet::from([wanted]), "{findings:?}");
    }
    let (findings, _) = found(SHIPPED, Sure::Told, -1, 23, renamed);
    assert!(findings.list[0].at.ends_with("certs/filter-laptop.pem"), "{findings:?}");
    assert_eq!(findings.list[0].said, "it is not there; beside it are `authority.pem`, `filter-edge.pem`");
    let many = |certs: &Path| {
        renamed(certs);
        (0..6).for_each(|n| fs::write(certs.join(format!("x{n}.pem")), "").expect("a file"));
    };
    assert!(found(SHIPPED, Sure::Told, -1, 23, many).0.list[0].said.ends_with("`x3.pem` and 2 more"));
}

#[test]
fn a_certificate_says_whose_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    made(directory.path(), "corp.example", "filter/edge", -1, 23);
    let name = name_of(&directory.path().join("filter-edge.pem")).map(|id| id.to_string());
    assert_eq!(name.as_deref(), Some("spiffe://corp.example/filter/edge"));
    assert_eq!(name_of(&directory.path().join("authority.key")), None);
}

#[test]
fn a_folder_alone_is_looked_into_and_says_what_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let certs = directory.path().join("certs");
    let look = |path: &Path| {
        let mut findings = Findings::default();
        Folder::of(path).expect("certificates").look(NOW, &mut findings);
        findings
    };
    made(&certs, "agentgate.local", "operator/me", -1, 23);
    let well = look(&certs);
    assert_eq!((names(&well), well.unseen.len()), (BTreeSet::new(), 0));
    assert_eq!(well.seen, [format!("2 certificates in {}: 1 authority, 1 operator", certs.display())]);
    made(&certs, "agentgate.local", "operator/me", -2, -1);
    assert_eq!(names(&look(&certs)), BTreeSet::from([Check::CertificateExpired]));
    for (path, said, next) in [
        (directory.path().join("nowhere"), "cannot read the folder", "--directory names"),
        (certs.join("authority.pem"), "cannot read the folder", "--directory names"),
        (directory.path().into(), "there is no certificate (`*.pem`)", certs.to_str().expect("a path")),
    ] {
        let failure = Folder::of(&path).expect_err(said);
        assert_eq!(failure.exit, Exit::Local);
        assert!(failure.chain()[0].contains(said) && failure.next()[0].contains(next), "{failure:?}");
    }
}

#[test]
fn the_filters_key_is_known_under_any_name() {
    let inbound = super::gateway();
    let furnish = |shared: bool| {
        move |certs: &Path| {
            let validity = Validity { not_before: at(-1), not_after: at(23) };
            issue(&Issue { directory: certs, name: "listener", dns: &[], ip: &[], validity, force: true })
                .expect("a certificate");
            for end in ["pem", "key"].into_iter().filter(|_| shared) {
                let from = certs.join(format!("filter-laptop.{end}"));
                fs::copy(from, certs.join(format!("listener.{end}"))).expect("a copy");
            }
            let sds = certs.with_file_name("sds");
            let text = |name: &str| fs::read_to_string(sds.join(format!("{name}.yaml"))).expect("a secret");
            let listener = text("filter").replace("filter-laptop", "listener").replace("name: filter", "name: listener");
            fs::write(sds.join("listener.yaml"), listener).expect("a secret");
            fs::write(sds.join("callers.yaml"), text("authority").replace("name: authority", "name: callers")).expect("a secret");
        }
    };
    for (shared, wanted) in [(true, true), (false, false)] {
        let (found, _) = check_of(&inbound, -1, 23, furnish(shared));
        assert_eq!(found.contains(&Check::FilterShared), wanted, "{found:?}");
    }
}
