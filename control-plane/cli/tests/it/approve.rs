//! Calls that wait for a person: shown whole, and decided about as they were shown.

use crate::double::{Answers, Double, Said, json, text};
use agentgate_core::approval::shown_digest;
use agentgate_proto::v1;
use prost::Message as _;
use std::time::{SystemTime, UNIX_EPOCH};

const ID: &str = "3f2a9b00112233445566778899aabbcc";

fn now_us() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the binary's clock is the machine's")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_micros()).expect("it fits")
}

fn bytes(id: &str) -> Vec<u8> {
    (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).expect("hex")).collect()
}

pub(crate) fn approval(id: &str, state: v1::ApprovalState, params: &str) -> v1::Approval {
    let expires_at_us = now_us() + 810_000_000;
    let request = v1::ApprovalRequest {
        approval: bytes(id).into(),
        call_digest: vec![0xab; 32].into(),
        call_id: "000102030405060708090a0b0c0d0e0f-7".into(),
        tenant: "default".into(),
        principal: "spiffe://agentgate.local/agent/laptop+user:alice@https://idp.example".into(),
        asker: "spiffe://agentgate.local/filter/laptop".into(),
        server: "notes".into(),
        method: "tools/call".into(),
        target: "send_note".into(),
        scope: "write".into(),
        rule: "tool_gated".into(),
        reason: "send_note is gated".into(),
        params: params.into(),
        requested_at_us: now_us() - 90_000_000,
        expires_at_us,
        policy_digest: vec![0xcd; 32].into(),
        steps: 1,
        path: "/mcp".into(),
        answers: String::new(),
        http_method: "POST".into(),
        host: "tools.example:8080".into(),
    };
    v1::Approval {
        id: id.into(),
        state: state.into(),
        request: request.encode_to_vec().into(),
        expires_at_us,
        ..Default::default()
    }
}

fn double(params: &str) -> Double {
    let over = v1::Approval {
        steps: vec![v1::ApprovalStep {
            granted: true,
            by: "spiffe://agentgate.local/operator/eve".into(),
            reason: "it is fine".into(),
            at_us: now_us() - 60_000_000,
            ..Default::default()
        }],
        used_by: "000102030405060708090a0b0c0d0e0f-9".into(),
        ..approval("7700000000000000000000000000ffff", v1::ApprovalState::Used, "{}")
    };
    Answers { approvals: vec![approval(ID, v1::ApprovalState::Pending, params), over], ..Default::default() }.serve()
}

#[test]
fn a_list_has_no_arguments_and_no_digest_that_a_grant_could_name() {
    let double = double(r#"{"name":"send_note"}"#);
    let listed = json(&double.agentgate(&["approve", "list", "--output", "json"]))["approvals"][0].take();
    let mut shown = json(&double.agentgate(&["approve", "show", ID, "--output", "json"]));
    assert_eq!((listed.get("seen"), listed["request"].get("params")), (None, None), "{listed}");
    assert!(shown["seen"].is_string() && shown["request"]["params"].is_string(), "{shown}");
    shown.as_object_mut().expect("an object").remove("seen");
    shown["request"].as_object_mut().expect("an object").remove("params");
    assert_eq!(listed, shown);
}

fn seen_of(double: &Double) -> String {
    json(&double.agentgate(&["approve", "show", ID, "--output", "json"]))["seen"].as_str().expect("a digest").to_owned()
}

#[test]
fn what_waits_is_listed_in_eighty_columns() {
    let double = double("{}");
    let mut command = double.command("operator-me", &["approve", "list"]);
    let table = text(&command.env("COLUMNS", "80").output().expect("it runs").stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ID        STATE    LAPSES  CALL             PRINCIPAL                 RULE"), "{table}");
    assert!(lines[2].starts_with("3f2a9b00  pending  in 13m  notes/send_note  agent/laptop+user:alice…  tool_gated"), "{table}");
    assert!(!table.contains("77000000") && lines.iter().all(|line| line.chars().count() <= 80), "{table}");
    let all = text(&double.agentgate(&["approve", "list", "--all"]).stdout);
    assert!(all.contains("77000000  used "), "{all}");
    assert!(table.contains("then approve grant ID, or deny ID"), "{table}");
    let over = Answers { approvals: vec![approval(ID, v1::ApprovalState::Used, "{}")], ..Default::default() }.serve();
    let over = text(&over.agentgate(&["approve", "list", "--all"]).stdout);
    assert!(over.contains("approve show ID") && !over.contains("grant ID"), "{over}");
    let none = Answers::default().serve();
    assert!(text(&none.agentgate(&["approve", "list"]).stdout).contains("no call waits for an approval"));
}

#[test]
fn an_approver_is_shown_all_of_the_call_and_what_of_it_is_not_seen() {
    let long = "x".repeat(5_000);
    let params = format!(r#"{{"arguments":{{"body":"{long}","to":"\u202emoc"}},"name":"send_note"}}"#);
    let double = double(&params);
    let shown = text(&double.agentgate(&["approve", "show", "3f2a9b00"]).stdout);
    for line in [
        format!("  id           {ID}\n"),
        "  state        pending\n".to_owned(),
        "  lapses       in 13m (".to_owned(),
        "  agent        spiffe://agentgate.local/agent/laptop\n".to_owned(),
        "  user         alice, says https://idp.example\n".to_owned(),
        "  tool         send_note\n".to_owned(),
        "  http method  POST\n".to_owned(),
        "  host         tools.example:8080\n".to_owned(),
        "  path         /mcp\n".to_owned(),
        "  scope        write\n".to_owned(),
        "  reason       send_note is gated\n".to_owned(),
        format!("      \"body\": \"{long}\",\n"),
        "      \"to\": \"\\u{202e}moc\"\n".to_owned(),
        "  warning: it contains characters that are not seen; each is written as \\u{…} with its number\n".to_owned(),
        format!("  grant        agentgate approve grant {ID} --seen {}\n", seen_of(&double)),
    ] {
        assert!(shown.contains(&line), "{line} in\n{shown}");
    }
    let used = text(&double.agentgate(&["approve", "show", "77"]).stdout);
    assert!(used.contains("  granted      1m ago by spiffe://agentgate.local/operator/eve: it is fine\n"), "{used}");
    assert!(used.contains("  used by      000102030405060708090a0b0c0d0e0f-9\n") && !used.contains("warning"), "{used}");
    let colored = text(&double.agentgate(&["approve", "show", ID, "--color", "always"]).stdout);
    assert!(colored.contains("\"\x1b[31m\\u{202e}\x1b[0mmoc\""), "{colored}");
}

#[test]
fn a_decision_names_the_digest_of_what_was_shown() {
    let double = double(r#"{"name":"send_note"}"#);
    let request = approval(ID, v1::ApprovalState::Pending, "").request;
    assert_ne!(seen_of(&double), shown_digest(&request).to_string(), "another request has another digest");
    let seen = seen_of(&double);
    for (arguments, grant, state) in [
        (&["approve", "grant", "3f2a", "--yes", "--reason", "fine"][..], true, "granted"),
        (&["approve", "grant", "3f2a", "--seen", &seen, "--reason", "fine"], true, "granted"),
        (&["approve", "deny", "3f2a", "--reason", "fine"], false, "denied"),
        (&["approve", "deny", "3f2a", "--yes", "--reason", "fine"], false, "denied"),
    ] {
        let output = double.agentgate(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let shown = text(&output.stdout);
        assert!(
            shown.contains("\"name\": \"send_note\"") && shown.contains(&format!("\n{state} 3f2a9b00  notes/send_note\n")),
            "{shown}"
        );
        let Some(Said::Decided(decided)) = double.said().pop() else { panic!("nothing was decided") };
        assert_eq!((decided.id.as_str(), decided.grant, decided.reason.as_str()), (ID, grant, "fine"));
        assert_eq!(decided.seen.to_vec(), bytes(&seen), "{arguments:?}");
    }
    let answer = json(&double.agentgate(&["approve", "grant", ID, "--yes", "--output", "json"]));
    assert_eq!((&answer["state"], &answer["request"]["params"]), (&"granted".into(), &r#"{"name":"send_note"}"#.into()));
}

#[test]
fn a_grant_that_nobody_meant_is_not_sent() {
    let double = double("{}");
    let wrong = "00".repeat(32);
    for (arguments, code, said) in [
        (&["approve", "grant", ID][..], 2, "nobody is here to be asked"),
        (&["approve", "grant", ID, "--output", "json"], 2, "nobody is here"),
        (&["approve", "grant", ID, "--seen", &wrong], 1, "is not what was seen as"),
        (&["approve", "deny", ID, "--seen", &wrong], 1, "is not what was seen as"),
        (&["approve", "grant", "77", "--yes"], 1, "is used already"),
        (&["approve", "grant", "99", "--yes"], 1, "no approval `99`"),
    ] {
        let output = double.agentgate(arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(text(&output.stderr).contains(said), "{output:?}");
    }
    assert_eq!(double.said(), []);
    let other = approval("7700000000000000000000000000ffff", v1::ApprovalState::Pending, "{}");
    let swapped = v1::Approval { id: ID.into(), ..other };
    let double = Answers { approvals: vec![swapped], ..Default::default() }.serve();
    let output = double.agentgate(&["approve", "grant", ID, "--yes"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(double.said(), []);
}
