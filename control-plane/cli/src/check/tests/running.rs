//! What runs: a control plane's and an Envoy's answers, as they are and off by a little.

use super::super::configuration::Configuration;
use super::super::finding::Findings;
use super::super::place::Place;
use super::super::running::{Told, control_plane, envoy, version};
use super::super::source::Admin;
use super::super::table::Check;
use super::super::yaml;
use super::{ORIGIN, SHIPPED, names};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use serde_json::json;
use std::collections::BTreeSet;

pub(super) const TRIED: [Check; 12] = [
    Check::ClockOff,
    Check::ClockFar,
    Check::Versions,
    Check::FilterSilent,
    Check::ServerUngranted,
    Check::FilterUnheard,
    Check::FilterTurnedAway,
    Check::EnforcedByOrder,
    Check::ObservesUnheard,
    Check::VmTrapped,
    Check::EnvoyOld,
    Check::EnvoyUntried,
];

const NOW: u64 = 1_795_374_352_000_000;
const FILTER: &str = "spiffe://agentgate.local/filter/laptop";

fn well() -> v1::ShowStatusResponse {
    let filter = v1::FilterStatus {
        asker: FILTER.into(),
        filter_version: "0.1.0".into(),
        last_heard_us: NOW - 1_000_000,
        ..Default::default()
    };
    v1::ShowStatusResponse { version: "0.1.0".into(), now_us: NOW, filters: vec![filter], ..Default::default() }
}

/// Asked 10 ms before, and answered 10 ms after.
fn check(status: v1::ShowStatusResponse, configuration: &str, identities: &[&str], wanted: Option<Check>) {
    let document = yaml::read(configuration).expect("YAML");
    let chains = Configuration::of(&Place::root(&document)).chains();
    let told = Told { status, asked: Time::from_micros(NOW - 10_000), answered: Time::from_micros(NOW + 10_000) };
    let identities: Vec<String> = identities.iter().map(|identity| (*identity).to_owned()).collect();
    let mut findings = Findings::default();
    control_plane(&told, &chains, &identities, "0.1.0", &mut findings);
    assert_eq!(names(&findings), wanted.into_iter().collect(), "{:?}", told.status);
}

#[test]
fn clocks_are_compared_on_both_sides() {
    let second = 1_000_000;
    for (theirs, wanted) in [
        (NOW, None),
        (NOW + 10_000 + second, None),
        (NOW + 10_000 + second + 1, Some(Check::ClockOff)),
        (NOW - 10_000 - second - 1, Some(Check::ClockOff)),
        (NOW + 10_000 + 30 * second, Some(Check::ClockOff)),
        (NOW + 10_000 + 30 * second + 1, Some(Check::ClockFar)),
        (NOW - 10_000 - 30 * second - 1, Some(Check::ClockFar)),
    ] {
        check(v1::ShowStatusResponse { now_us: theirs, ..well() }, SHIPPED, &[], wanted);
    }
}

#[test]
fn versions_and_silence_are_told() {
    check(well(), SHIPPED, &[FILTER], None);
    check(well(), SHIPPED, &["spiffe://agentgate.local/filter/other"], Some(Check::FilterSilent));
    check(v1::ShowStatusResponse { version: "0.2.0".into(), ..well() }, SHIPPED, &[FILTER], Some(Check::Versions));
    let mut status = well();
    status.filters[0].filter_version = "0.0.9".into();
    check(status, SHIPPED, &[FILTER], Some(Check::Versions));
    let mut status = well();
    status.filters[0].last_heard_us = NOW - 60_000_001;
    check(status, SHIPPED, &[FILTER], Some(Check::FilterSilent));
    let ungranted = vec![v1::Ungranted { asker: FILTER.into(), server: "ntoes".into(), ..v1::Ungranted::default() }];
    check(v1::ShowStatusResponse { ungranted, ..well() }, SHIPPED, &[FILTER], Some(Check::ServerUngranted));
    let ended = v1::CertificateStatus { name: "own".into(), not_before_us: 1, not_after_us: NOW, ..Default::default() };
    check(v1::ShowStatusResponse { certificates: vec![ended], ..well() }, SHIPPED, &[], Some(Check::CertificateExpired));
}

#[test]
fn an_order_alone_does_not_outlive_the_control_plane() {
    let observing = SHIPPED.replace(ORIGIN, "\"server\": \"notes\", \"mode\": \"observe\" }");
    let order = |server: &str, mode: v1::Mode| {
        let orders = v1::OrderStatus {
            modes: vec![v1::ModeOrder { server: server.into(), mode: mode.into(), ..Default::default() }],
            ..Default::default()
        };
        v1::ShowStatusResponse { orders: Some(orders), ..well() }
    };
    check(order("notes", v1::Mode::Enforce), &observing, &[], Some(Check::EnforcedByOrder));
    check(order("notes", v1::Mode::Enforce), SHIPPED, &[], None);
    check(order("notes", v1::Mode::Enforce), &observing, &[FILTER], Some(Check::EnforcedByOrder));
    check(order("other", v1::Mode::Enforce), &observing, &[], None);
    check(order("notes", v1::Mode::Observe), &observing, &[], None);
}

/// All that is found, in a configuration that observes: by itself, by its Envoy's counters and by its control plane.
fn observing(stats: &str, tool: Option<&str>, heard: bool) -> Findings {
    let text = SHIPPED.replace(ORIGIN, "\"server\": \"notes\", \"mode\": \"observe\" }");
    let document = yaml::read(&text).expect("YAML");
    let root = Place::root(&document);
    let configuration = Configuration::of(&root);
    let chains = configuration.chains();
    let mut findings = Findings::default();
    super::configured(&configuration, &mut findings);
    let server_info = json!({"version": "6c72/1.40.0/Clean"});
    envoy(&Admin { server_info, stats: stats.into(), ..Default::default() }, &chains, Time::from_micros(NOW), &mut findings);
    let order = |tool: &str| v1::ModeOrder {
        server: "notes".into(),
        tool: tool.into(),
        mode: v1::Mode::Enforce.into(),
        ..Default::default()
    };
    let orders = v1::OrderStatus { modes: tool.into_iter().map(order).collect(), ..Default::default() };
    let filters = if heard { well().filters } else { vec![] };
    let status = v1::ShowStatusResponse { orders: Some(orders), filters, ..well() };
    let told = Told { status, asked: Time::from_micros(NOW), answered: Time::from_micros(NOW) };
    control_plane(&told, &chains, &[FILTER.to_owned()], "0.1.0", &mut findings);
    findings
}

#[test]
fn what_observes_and_hears_nobody_is_a_hole_and_nothing_else_is_said_of_it() {
    let open = "wasmcustom.agentgate.streams_opened: 2\n";
    for (stats, tool, heard, wanted) in [
        (open, None, true, &[Check::Observes][..]),
        (open, Some(""), true, &[Check::EnforcedByOrder]),
        (open, Some("drop"), true, &[Check::EnforcedByOrder]),
        (open, None, false, &[Check::Observes, Check::FilterSilent]),
        (open, Some(""), false, &[Check::ObservesUnheard, Check::FilterSilent]),
        ("", None, false, &[Check::ObservesUnheard, Check::FilterUnheard, Check::FilterSilent]),
        ("", Some(""), true, &[Check::ObservesUnheard, Check::FilterUnheard]),
        ("", Some("drop"), false, &[Check::ObservesUnheard, Check::FilterUnheard, Check::FilterSilent]),
    ] {
        let findings = observing(stats, tool, heard);
        assert_eq!(names(&findings), wanted.iter().copied().collect(), "{stats:?} {tool:?} {heard}");
        assert_eq!(findings.list.len(), wanted.len(), "{findings:?}");
    }
    let said = |tool| observing(open, Some(tool), true).list.remove(0).said;
    assert_eq!(said(""), "`notes`");
    assert_eq!(said("drop"), "`notes`, of which `drop` alone; all else is only observed");
}

#[test]
fn versions_of_envoy_are_read() {
    for (text, wanted) in [
        ("6c72/1.40.0/Clean/RELEASE/BoringSSL", None),
        ("1.36.2", None),
        ("6c72/1.35.9/Clean", Some(Check::EnvoyUntried)),
        ("6c72/1.41.0-dev/Clean", Some(Check::EnvoyUntried)),
        ("6c72/1.34.12/Clean", Some(Check::EnvoyOld)),
    ] {
        let mut findings = Findings::default();
        version(text, &mut findings);
        assert_eq!(names(&findings), wanted.into_iter().collect(), "{text}");
        assert!(findings.unseen.is_empty());
    }
    let mut findings = Findings::default();
    version("nothing", &mut findings);
    assert_eq!(findings.unseen.len(), 1);
}

#[test]
fn a_running_envoy_is_asked_for_its_streams_and_certificates() {
    let admin = |stats: &str, ends: &str| Admin {
        server_info: json!({"version": "6c72/1.40.0/Clean"}),
        stats: stats.into(),
        certs: json!({"certificates": [{"cert_chain": [{"path": "a.pem", "expiration_time": ends}]}]}),
        ..Default::default()
    };
    let (open, late, early) = ("wasmcustom.agentgate.streams_opened: 2\n", "2026-11-22T19:05:53Z", "2026-11-22T19:05:51Z");
    for (admin, wanted) in [
        (admin(open, late), None),
        (admin("", late), Some(Check::FilterUnheard)),
        (admin(&format!("{open}wasmcustom.agentgate.streams_refused: 1\n"), late), Some(Check::FilterTurnedAway)),
        (admin(&format!("{open}wasm.agentgate.vm_reload: 1\n"), late), Some(Check::VmTrapped)),
        (admin(open, early), Some(Check::CertificateExpired)),
    ] {
        let mut findings = Findings::default();
        envoy(&admin, &[], Time::from_micros(NOW), &mut findings);
        assert_eq!(names(&findings), wanted.into_iter().collect::<BTreeSet<_>>());
    }
}
