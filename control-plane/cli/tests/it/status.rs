//! How the control plane is, on one screen.

use crate::double::{Answers, json, text};
use agentgate_proto::v1;
use base64::Engine as _;

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
fn what_is_kept_altered_and_signed_is_told() {
    let tenant = |tenant: &str, days| v1::TenantRetention { tenant: tenant.into(), days };
    let mode = |tenant: &str, pii: &str| v1::TenantPrivacy { tenant: tenant.into(), pii: pii.into() };
    let outlook = |next_purge_us| Some(v1::Outlook { swept_at_us: NOW - HOUR, oldest_us: NOW - 48 * HOUR, next_purge_us });
    let retention = |days, tenants: Vec<v1::TenantRetention>, holds, outlook| {
        let retention = Some(v1::RetentionStatus { days, tenants, holds, outlook });
        v1::ShowStatusResponse { retention, ..well() }
    };
    let privacy = |privacy: Vec<v1::TenantPrivacy>| v1::ShowStatusResponse { privacy, ..well() };
    let log = |log: v1::ShowLogResponse| v1::ShowStatusResponse { log: Some(log), ..well() };
    let anchors = vec![v1::Anchor { size: 4_000, at_us: NOW - 2 * HOUR, url: "https://a.example".into(), ..Default::default() }];
    let standing = |fork| v1::WitnessStanding { name: "w.example".into(), trouble: "it is gone".into(), fork };
    let signed = || v1::ShowLogResponse { size: 4_711, ..Default::default() };
    let remembered = |remembers: &str, name: &str, at_us| {
        let (remembers, name) = (remembers.into(), name.into());
        v1::Remembered { remembers, name, size: 5_000, at_us }
    };
    let many = || ["a", "b", "c", "d", "e", "f"].map(|name| tenant(name, 1)).to_vec();
    let mut first = well();
    first.journal.get_or_insert_default().oldest_us = NOW - 72 * HOUR;
    for (status, line) in [
        (first, "  head         4711 (3.0 MiB), the first record 3d ago\n"),
        (retention(0, vec![], 0, None), "  kept         for ever\n"),
        (retention(0, vec![tenant("acme", 0)], 0, None), "  kept         for ever (acme for ever)\n"),
        (retention(30, vec![], 0, None), "  kept         30 days; no sweep came to its end yet\n"),
        (retention(1, vec![tenant("acme", 7)], 0, outlook(0)), "  kept         1 day (acme 7 days); nothing to purge\n"),
        (retention(30, vec![], 0, outlook(NOW + 3 * HOUR)), "  kept         30 days; next purge in 3h\n"),
        (retention(30, vec![], 0, outlook(NOW)), "  kept         30 days; a purge is due with the next sweep\n"),
        (retention(0, many(), 0, outlook(0)), "(a 1 day, b 1 day, c 1 day, d 1 day, 2 tenants more); nothing"),
        (retention(0, vec![], 1, None), "  held         1 legal hold: agentgate hold list\n"),
        (retention(0, vec![], 2, None), "  held         2 legal holds: agentgate hold list\n"),
        (privacy(vec![mode("", "off")]), "  personal     recorded as it is\n"),
        (
            privacy(vec![mode("", "redact"), mode("acme", "off"), mode("b", "tokenise")]),
            "  personal     redact (acme recorded as it is, b tokenise)\n",
        ),
        (log(signed()), "  signed       4,711 records; not witnessed; not anchored\n"),
        (
            log(v1::ShowLogResponse { witnessed: cosigned(4_700).into(), anchors: anchors.clone(), ..signed() }),
            "  signed       4,711 records; witnessed 4,700 1h ago; anchored 4,000 2h ago\n",
        ),
        (log(v1::ShowLogResponse { witnesses: vec![standing(false)], ..signed() }), "  no witness   w.example: it is gone\n"),
        (log(v1::ShowLogResponse { witnesses: vec![standing(true)], ..signed() }), "  FORK         w.example: it is gone\n"),
        (log(v1::ShowLogResponse { stopped: "a fork".into(), ..signed() }), "  log stopped  a fork\n"),
        (
            log(v1::ShowLogResponse { remembered: vec![remembered("directory", "log/signed/1a", NOW - HOUR)], ..signed() }),
            "  rolled back  `log/signed/1a` knows of 5,000 records, by its file of 2026-11-22 18:05:52.123Z\n",
        ),
        (
            log(v1::ShowLogResponse { trouble: "a full disk".into(), trouble_since_us: NOW - HOUR, ..signed() }),
            "  not signed   since 2026-11-22 18:05:52.123Z: a full disk; it is tried again\n",
        ),
        (log(v1::ShowLogResponse { notices: vec!["slots are older".into()], ..signed() }), "  log notice   slots are older\n"),
        (
            log(v1::ShowLogResponse { remembered: vec![remembered("slot", "", 0)], ..signed() }),
            "  rolled back  the journal's own checkpoint knows of 5,000 records, signed\n",
        ),
        (
            log(v1::ShowLogResponse { remembered: vec![remembered("witness", "w.example", 0)], ..signed() }),
            "  rolled back  the witness w.example knows of 5,000 records, signed\n",
        ),
    ] {
        let double = Answers { status, ..Default::default() }.serve();
        let shown = text(&double.agentgate(&["status"]).stdout);
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    let status = v1::ShowStatusResponse {
        privacy: vec![mode("", "off"), mode("acme", "redact")],
        log: Some(v1::ShowLogResponse {
            witnessed: cosigned(4_700).into(),
            anchors,
            remembered: vec![remembered("witness", "w.example", NOW), remembered("slot", "", 0)],
            trouble: "a full disk".into(),
            trouble_since_us: NOW,
            notices: vec!["slots are older".into()],
            ..signed()
        }),
        ..retention(30, vec![tenant("acme", 7)], 2, outlook(NOW + HOUR))
    };
    let double = Answers { status, ..Default::default() }.serve();
    let answer = json(&double.agentgate(&["status", "--output", "json"]));
    assert_eq!(answer["retention"]["tenants"][0], serde_json::json!({ "tenant": "acme", "days": 7 }));
    assert_eq!((&answer["retention"]["holds"], &answer["retention"]["days"]), (&2.into(), &30.into()));
    assert_eq!(answer["retention"]["next_purge_at"], "2026-11-22T20:05:52.123Z");
    assert_eq!(answer["retention"]["oldest_at"], "2026-11-20T19:05:52.123Z");
    assert_eq!((&answer["privacy"][0]["tenant"], &answer["privacy"][1]["pii"]), (&serde_json::Value::Null, &"redact".into()));
    assert_eq!((&answer["log"]["witnessed"]["size"], &answer["log"]["anchored"]["size"]), (&4_700.into(), &4_000.into()));
    assert_eq!(answer["log"]["witnessed"]["at"], "2026-11-22T18:05:52.000Z");
    let witness = serde_json::json!({
        "remembers": "witness", "name": "w.example", "size": 5_000, "signed_at": "2026-11-22T19:05:52.123Z",
    });
    let slot = serde_json::json!({ "remembers": "slot", "name": null, "size": 5_000, "signed_at": null });
    assert_eq!(answer["log"]["rolled_back"], serde_json::json!([witness, slot]));
    let trouble = serde_json::json!({ "why": "a full disk", "since": "2026-11-22T19:05:52.123Z" });
    assert_eq!((&answer["log"]["trouble"], &answer["log"]["notices"][0]), (&trouble, &"slots are older".into()));
}

#[test]
fn a_control_plane_that_tells_nothing_of_them_has_no_line_of_them() {
    let double = Answers { status: well(), ..Default::default() }.serve();
    let shown = text(&double.agentgate(&["status"]).stdout);
    for name in ["kept", "held", "personal", "signed", "witnessed", "rolled back", "the first record"] {
        assert!(!shown.contains(name), "{name} in\n{shown}");
    }
    let answer = json(&double.agentgate(&["status", "--output", "json"]));
    assert_eq!((&answer["retention"], &answer["log"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!((&answer["privacy"], &answer["journal"]["oldest_at"]), (&serde_json::json!([]), &serde_json::Value::Null));
}

/// A checkpoint that a witness saw an hour ago.
fn cosigned(size: u64) -> String {
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let at_s = (NOW - HOUR) / 1_000_000;
    let cosignature = [&[1, 2, 3, 4][..], &at_s.to_be_bytes(), &[7; 64]].concat();
    format!("log.example/t\n{size}\n{}\n\n— w.example {}\n", base64(&[5; 32]), base64(&cosignature))
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
    // A log that cannot go on stops the journal, and that the calls: the same words, once.
    let why = "the checkpoint in `signed` is larger than the journal".to_owned();
    let mut stopped = v1::ShowStatusResponse { unready: format!("the journal cannot write: {why}"), ..well() };
    stopped.journal.get_or_insert_default().unavailable = why.clone();
    stopped.log = Some(v1::ShowLogResponse { stopped: why.clone(), ..v1::ShowLogResponse::default() });
    let shown = text(&Answers { status: stopped.clone(), ..Default::default() }.serve().agentgate(&["status"]).stdout);
    assert_eq!(shown.matches(&why).count(), 1, "{shown}");
    check(stopped.clone(), "  unavailable  as `ready` says; every call is refused\n");
    check(stopped.clone(), "  log stopped  as `ready` says\n");
    stopped.unready = "no policy".into();
    check(stopped, &format!("  log stopped  {why}\n"));
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
