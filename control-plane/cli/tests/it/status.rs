//! How the control plane is, on one screen.

use crate::double::{Answers, json, text};
use agentgate_proto::v1;

const NOW: u64 = 1_795_374_352_123_000;
const HOUR: u64 = 3_600_000_000;

pub(crate) fn well() -> v1::ShowStatusResponse {
    v1::ShowStatusResponse {
        version: "0.1.0".into(),
        replica: "laptop".into(),
        started_at_us: NOW - 2 * HOUR,
        now_us: NOW,
        policy: Some(v1::PolicyStatus {
            digest: vec![0xcd; 32].into(),
            in_force_since_us: NOW - HOUR,
            rules: 7,
            cases: 1,
            ..Default::default()
        }),
        journal: Some(v1::JournalStatus { backend: "embedded".into(), head: 4_711, bytes: 3 << 20, ..Default::default() }),
        filters: vec![v1::FilterStatus {
            asker: "spiffe://agentgate.local/filter/laptop".into(),
            epoch: vec![1; 16].into(),
            node: "envoy-1".into(),
            filter_version: "0.1.0".into(),
            last_heard_us: NOW - 1_500_000,
            ..Default::default()
        }],
        in_flight: 3,
        unready: String::new(),
        certificates: vec![v1::CertificateStatus {
            name: "control plane".into(),
            subject: "spiffe://agentgate.local/control-plane".into(),
            not_before_us: NOW - 10 * HOUR,
            not_after_us: NOW + 14 * HOUR,
        }],
        ..Default::default()
    }
}

#[test]
fn a_healthy_control_plane_fits_on_one_screen() {
    let double = Answers { status: well(), ..Default::default() }.serve();
    let output = double.agentgate(&["status"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    for line in [
        "  up           2h, since 2026-11-22 17:05:52.123Z\n",
        "  in flight    3 calls\n",
        "  holds        7 rules, 1 case\n",
        "  head         4711 (3.0 MiB)\n",
        "  ready        yes\n",
        "spiffe://agentgate.local/filter/laptop  1    1s ago  envoy-1  0.1.0\n",
        "control plane  in 14h   2026-11-23 09:05:52.123Z  spiffe://agentgate.local/control-plane\n",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    assert!(shown.lines().count() <= 24, "{shown}");
}

#[test]
fn replicas_are_shown_where_there_are_others_and_what_is_wrong_with_one() {
    let replica = |name: &str, last_seen_us: u64, epoch: u64, gone: bool, doubled: bool| v1::ReplicaStatus {
        name: name.into(),
        version: "0.1.0".into(),
        started_at_us: NOW - HOUR,
        last_seen_us,
        filters: 2,
        epoch,
        life: vec![1; 8].into(),
        gone,
        doubled,
    };
    let replicas = vec![
        replica("cp1", NOW - 2_000_000, 7, false, false),
        replica("cp2", NOW - 120_000_000, 7, true, false),
        replica("cp3", NOW, 7, false, true),
        replica("cp4", NOW, 6, false, false),
    ];
    let double = Answers { status: v1::ShowStatusResponse { replicas, ..well() }, ..Default::default() }.serve();
    let shown = text(&double.agentgate(&["status"]).stdout);
    for line in [
        "  cp1          version 0.1.0, up 1h, hears 2 VMs, seen 2s ago\n",
        "  cp2          GONE, last seen 2m ago\n",
        "  cp3          TWO have this name: give each a `replica` of its own",
        "  cp4          version 0.1.0, up 1h, hears 2 VMs, seen now, obeys epoch 6 of 7\n",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    let answer = json(&double.agentgate(&["status", "--output", "json"]));
    assert_eq!((&answer["replicas"][1]["gone"], &answer["replicas"][2]["doubled"]), (&true.into(), &true.into()), "{answer}");
}

#[test]
fn quotas_are_shown_where_there_are_some() {
    let quota = |tenant: &str, used_bytes| v1::TenantQuota {
        tenant: tenant.into(),
        used_bytes,
        limit_bytes: 1 << 30,
        day_us: NOW / (24 * HOUR) * 24 * HOUR,
    };
    let status = v1::ShowStatusResponse { quotas: vec![quota("acme", 3 << 20), quota("globex", 1 << 30)], ..well() };
    let double = Answers { status, ..Default::default() }.serve();
    let shown = text(&double.agentgate(&["status"]).stdout);
    for line in
        ["  quota        tenant acme: 3.0 MiB of 1.0 GiB today\n", "  quota        tenant globex: 1.0 GiB of 1.0 GiB today\n"]
    {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    let answer = json(&double.agentgate(&["status", "--output", "json"]));
    assert_eq!(answer["quotas"][0]["used_bytes"], 3 << 20);
    assert_eq!(answer["quotas"][1]["day"], "2026-11-22T00:00:00.000Z", "{answer}");
}

#[test]
fn the_vms_of_a_filter_are_one_line_and_each_is_told_of_who_asks() {
    let vm = |asker: &str, epoch: u8, node: &str, heard_us: u64| v1::FilterStatus {
        asker: format!("spiffe://agentgate.local/filter/{asker}"),
        epoch: vec![epoch; 16].into(),
        node: node.into(),
        filter_version: "0.1.0".into(),
        last_heard_us: heard_us,
        ..Default::default()
    };
    let filters =
        vec![vm("b", 1, "x", NOW - 1_500_000), vm("a", 2, "x", NOW), vm("b", 3, "y", NOW - 2 * HOUR), vm("b", 4, "x", NOW)];
    let double = Answers { status: v1::ShowStatusResponse { filters, ..well() }, ..Default::default() }.serve();
    let shown = text(&double.agentgate(&["status"]).stdout);
    let lines: Vec<&str> = shown.lines().filter(|line| line.contains("filter/")).collect();
    let wanted = [
        "spiffe://agentgate.local/filter/a  1            now    x     0.1.0",
        "spiffe://agentgate.local/filter/b  3, 1 silent  now    x, y  0.1.0",
    ];
    assert_eq!(lines, wanted, "{shown}");
    let shown = text(&double.agentgate(&["status", "--verbose"]).stdout);
    assert!(shown.contains("filter/b  2h ago  y     0.1.0    03030303030303030303030303030303\n"), "{shown}");
    let answer = json(&double.agentgate(&["status", "--output", "json"]));
    assert_eq!(answer["filters"].as_array().map(Vec::len), Some(4));
    assert!(answer["unready"].is_null());
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    let check = |status: v1::ShowStatusResponse, said: &str| {
        let double = Answers { status, ..Default::default() }.serve();
        let shown = text(&double.agentgate(&["status"]).stdout);
        assert!(shown.contains(said), "{said} in\n{shown}");
    };
    let mut edit = well();
    let policy = edit.policy.get_or_insert_default();
    policy.refused_edit = "case `x` fails\u{1b}".into();
    policy.refused_edit_at_us = NOW - 60_000_000;
    check(edit, "  edit refused 1m ago: case `x` fails\\u{1b}\n  next         agentgate policy test DIR");
    check(v1::ShowStatusResponse { policy: None, ..well() }, "every call is refused");
    check(v1::ShowStatusResponse { filters: vec![], ..well() }, "the control plane's log tells");
    check(v1::ShowStatusResponse { unready: "no policy".into(), ..well() }, "ready        no call can be decided: no policy");
    let mut journal = well();
    journal.journal.get_or_insert_default().unavailable = "disk full".into();
    check(journal, "disk full; every call is refused");
    let mut filling = well();
    filling.journal.get_or_insert_default().free_bytes = Some(3 << 30);
    check(filling.clone(), "  free         3.0 GiB\n");
    filling.journal.get_or_insert_default().full_in_days = Some(6.54);
    check(filling.clone(), "  free         3.0 GiB, full in 6.5 days at the pace of the last hours\n");
    filling.journal.get_or_insert_default().full_in_days = Some(41.0);
    check(filling, "full in 41 days");
}

#[test]
fn what_is_killed_observed_waited_for_and_behind_is_seen_at_once() {
    let kill = v1::KillOrder {
        target: Some(v1::KillTarget { height: Some(v1::kill_target::Height::Everything(v1::Everything {})) }),
        reason: "a leak".into(),
        by: "spiffe://agentgate.local/operator/me".into(),
        at_us: NOW - 180_000_000,
        sequence: 9,
    };
    let order = |server: &str, tool: &str, mode: v1::Mode| v1::ModeOrder {
        server: server.into(),
        tool: tool.into(),
        mode: mode.into(),
        at_us: NOW - HOUR,
        ..Default::default()
    };
    let modes = vec![
        order("gone", "", v1::Mode::Enforce),
        order("mail", "", v1::Mode::Enforce),
        order("mail", "read", v1::Mode::Observe),
    ];
    let route =
        |server: &str| v1::RouteStatus { server: server.into(), observes: true, last_call_us: NOW - 720_000_000, turned_away: 0 };
    let ungranted = |server: &str, calls: u64| v1::Ungranted {
        asker: "spiffe://agentgate.local/filter/laptop".into(),
        server: server.into(),
        calls,
        last_call_us: if calls > 0 { NOW - 60_000_000 } else { 0 },
    };
    let mut status = v1::ShowStatusResponse {
        orders: Some(v1::OrderStatus { epoch: 12, kills: vec![kill], modes }),
        approvals_pending: 2,
        routes: vec![route("notes"), route("mail")],
        webhook_trouble: "HTTP 500".into(),
        ungranted: vec![ungranted("ntoes", 0), ungranted("tickets", 3)],
        ..well()
    };
    status.filters[0].kept_epoch = 11;
    status.filters[0].observations_lost = 3;
    let double = Answers { status, ..Default::default() }.serve();
    let shown = text(&double.agentgate(&["status"]).stdout);
    for line in [
        "  approvals    2 calls wait for a person: agentgate approve list\n",
        "  webhook      approvers are not told: HTTP 500\n",
        "KILLED: everything\n  killed       3m ago by spiffe://agentgate.local/operator/me: a leak\n",
        "  resume       agentgate resume everything\n",
        "  observing    mail/read (last call 12m ago); its verdicts are not enforced\n",
        "  observing    notes (last call 12m ago); its verdicts are not enforced\n",
        "  enforcing    mail, ordered 1h ago\n",
        "  enforcing    gone, ordered 1h ago; but no filter's route names this server",
        "the server `ntoes`, and its [[filter]] does not (not called yet)",
        "the server `tickets`, and its [[filter]] does not (3 calls, the last 1m ago): no call of it is decided or recorded",
        "filter/laptop (VM 01010101) obeys epoch 11 of 12\n",
        "filter/laptop (VM 01010101) lost 3 observations\n",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    assert!(!shown.contains("observing    mail ("), "what is ordered counts more than its route: {shown}");
    let answer = json(&double.agentgate(&["status", "--output", "json"]));
    assert_eq!((&answer["orders"]["epoch"], &answer["filters"][0]["kept_epoch"]), (&12.into(), &11.into()));
}

#[test]
fn a_certificate_is_due_in_its_last_fifth_or_last_hour() {
    for (begin, end, life) in [
        (NOW - 80 * HOUR, NOW + 20 * HOUR, "good"),
        (NOW - 80 * HOUR, NOW + 20 * HOUR - 1_000_000, "due"),
        (NOW, NOW + HOUR, "good"),
        (NOW, NOW + HOUR - 1, "due"),
        (0, NOW + HOUR, "good"),
        (NOW - HOUR, NOW, "expired"),
    ] {
        let mut status = well();
        status.certificates[0].not_before_us = begin;
        status.certificates[0].not_after_us = end;
        let double = Answers { status, ..Default::default() }.serve();
        let answer = json(&double.agentgate(&["status", "--output", "json"]));
        assert_eq!(answer["certificates"][0]["life"], life, "{begin} {end}");
    }
}
