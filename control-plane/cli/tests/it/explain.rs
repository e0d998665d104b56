//! Why a call was decided as it was.

use crate::approve::approval;
use crate::double::{Answers, json, text};
use crate::trace::calls;
use agentgate_proto::v1;
use agentgate_proto::v1::kill_target::Height;

fn explained() -> v1::ExplainCallResponse {
    let rule = v1::RulePlace {
        rule: "unknown_tool".into(),
        set: "deny".into(),
        file: "rego/platform.rego".into(),
        line: 99,
        text: "deny contains {\"rule\": \"unknown_tool\"} if {\n\tnot input.tool\n}".into(),
        reason: "the table does not have it".into(),
    };
    let own = v1::RulePlace { rule: "gate.killed".into(), reason: "a leak".into(), ..Default::default() };
    v1::ExplainCallResponse {
        trace: Some(calls()[2].clone()),
        rules: vec![rule, own],
        facts: vec![
            v1::FactRead { path: "input.arguments.to".into(), value: "\"a\u{202e}b\"".into() },
            v1::FactRead { path: "input.tool".into(), value: String::new() },
        ],
        edits: vec![v1::TableEdit {
            server: "notes".into(),
            tool: "write_note".into(),
            diff: "--- tools.yaml\n+++ tools.yaml\n@@ -1,2 +1,3 @@\n notes:\n+  write_note: { tag: open, scope: write }\n".into(),
            verdict: v1::Verdict::Allow.into(),
            rule: "tool_open".into(),
        }],
        again_same: true,
        policy_in_force: true,
        ..Default::default()
    }
}

#[test]
fn a_refusal_is_explained_by_its_rule_its_facts_and_an_edit() {
    let double = Answers { explained: Some(explained()), ..Default::default() }.serve();
    let output = double.agentgate(&["explain", "2"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    for line in [
        "deny  notes/write_note\n  rule         arguments.path\n",
        "  place        rego/platform.rego:99 (deny)\n   99  deny contains {\"rule\": \"unknown_tool\"} if {\n  100      not input.tool\n",
        "  input.arguments.to = \"a\\u{202e}b\"\n  input.tool = (not there)\n",
        "  gate.killed  the gate's own, above every policy: a leak\n",
        "  +  write_note: { tag: open, scope: write }\n  with this the call would be: allow (tool_open)\n",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    assert!(!shown.contains("Mind"), "{shown}");
    let answer = json(&double.agentgate(&["explain", "2", "--output", "json"]));
    assert_eq!((&answer["rules"][0]["line"], &answer["facts"][1]["value"]), (&99.into(), &serde_json::Value::Null));
    assert_eq!(answer["edits"][0]["verdict"], "allow");
}

#[test]
fn advice_begins_with_what_helps_this_call() {
    let with = |verdict: v1::Verdict, outcome: v1::OutcomeKind, approval: &str| {
        let trace =
            v1::CallTrace { verdict: verdict.into(), outcome: outcome.into(), approval: approval.into(), ..calls()[2].clone() };
        let explained = v1::ExplainCallResponse { trace: Some(trace), ..explained() };
        text(&Answers { explained: Some(explained), ..Default::default() }.serve().agentgate(&["explain", "2"]).stdout)
    };
    let waits = "It waits for a person\n  look         agentgate approve show 0f1e2d3c\n";
    let edit = "\nAn edit of tools.yaml for notes/write_note\n";
    let stricter = "\nIt passes; a stricter tools.yaml for notes/write_note\n";
    let broken =
        "\nNo edit of tools.yaml mends it\n  because      it was let through, and ended as `cut`: agentgate trace show 2\n";
    let id = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
    for (verdict, outcome, approval, wanted) in [
        (v1::Verdict::Pending, v1::OutcomeKind::Unspecified, id, &[waits, edit][..]),
        (v1::Verdict::Pending, v1::OutcomeKind::Unspecified, "", &[edit]),
        (v1::Verdict::Deny, v1::OutcomeKind::Unspecified, "", &[edit]),
        // Observed: it went on, whatever the verdict.
        (v1::Verdict::Deny, v1::OutcomeKind::Cut, "", &[edit]),
        (v1::Verdict::Allow, v1::OutcomeKind::Completed, id, &[stricter]),
        (v1::Verdict::Allow, v1::OutcomeKind::Unspecified, "", &[stricter]),
        (v1::Verdict::Allow, v1::OutcomeKind::Cut, "", &[broken]),
    ] {
        let shown = with(verdict, outcome, approval);
        let places: Vec<_> = [waits, edit, stricter, broken].into_iter().filter(|part| shown.contains(part)).collect();
        assert_eq!(places, wanted, "{verdict:?} {outcome:?}\n{shown}");
    }
}

#[test]
fn what_is_uncertain_is_said() {
    let unsure = v1::ExplainCallResponse {
        edits: vec![],
        no_edit: "the call is killed".into(),
        again_same: false,
        again_differs: "its body was erased".into(),
        policy_in_force: false,
        ..explained()
    };
    let double = Answers { explained: Some(unsure), ..Default::default() }.serve();
    let shown = text(&double.agentgate(&["explain", "2"]).stdout);
    for line in [
        "No edit of tools.yaml changes it\n  because      the call is killed\n",
        "  policy       the policy that decided is no longer in force",
        "  again        decided again from its record: its body was erased\n",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    let none = Answers::default().serve();
    assert_eq!(none.agentgate(&["explain", "7"]).status.code(), Some(1));
}

#[test]
fn of_an_erased_call_no_edit_is_said_to_have_been_tried() {
    for (principal, said, unsaid) in [
        ("", "It cannot be decided again\n  because      what was asked is erased\n", "No edit"),
        ("spiffe://a/x", "No edit of tools.yaml changes it\n", "erased\n  "),
    ] {
        let trace = v1::CallTrace { principal: principal.into(), server: String::new(), ..calls()[2].clone() };
        let again_differs = "its body was erased".into();
        let asked =
            v1::ExplainCallResponse { trace: Some(trace), edits: vec![], again_same: false, again_differs, ..explained() };
        let double = Answers { explained: Some(asked), ..Default::default() }.serve();
        let shown = text(&double.agentgate(&["explain", "2"]).stdout);
        assert!(shown.contains(said) && !shown.contains(unsaid), "{shown}");
        assert_eq!(shown.contains("decided again from its record"), !principal.is_empty(), "{shown}");
    }
}

#[test]
fn an_approvals_id_stands_for_the_call_that_asked_for_it() {
    let id = "3f2a9b00112233445566778899aabbcc";
    let of = |call: &str| Answers { approvals: vec![approval(id, v1::ApprovalState::Pending, "{}")], ..one(call) }.serve();
    let one_call = of("000102030405060708090a0b0c0d0e0f-7");
    for (asked, code) in [(id, 0), ("3f2a9b00", 0), ("3f2a", 1), ("3f2a9b01", 1), ("000102030405060708090a0b0c0d0e0f-7", 0)] {
        let output = one_call.agentgate(&["explain", asked]);
        assert_eq!(output.status.code(), Some(code), "{asked} {output:?}");
        let said = text(if code == 0 { &output.stdout } else { &output.stderr });
        let wanted = if code == 0 { "deny  notes/write_note\n".to_owned() } else { format!("no call `{asked}`") };
        assert!(said.contains(&wanted), "{said}");
    }
    // Another call's approval leads to no call.
    assert_eq!(of("000102030405060708090a0b0c0d0e0f-8").agentgate(&["explain", id]).status.code(), Some(1));
}

fn one(call: &str) -> Answers {
    Answers { explained: Some(explained()), explained_only: call.to_owned(), ..Default::default() }
}

#[test]
fn a_killed_call_is_explained_with_what_resumes_it() {
    let trace = v1::CallTrace { rule: "gate.killed".into(), ..calls()[2].clone() };
    let killed = v1::ExplainCallResponse { trace: Some(trace), edits: vec![], ..explained() };
    let kill = |height| v1::KillOrder { target: Some(v1::KillTarget { height: Some(height) }), ..Default::default() };
    let tool = |tool: &str| kill(Height::Tool(v1::ToolName { server: "notes".into(), tool: tool.into() }));
    let agent = kill(Height::Agent("spiffe://agentgate.local/agent/laptop".into()));
    for (kills, wanted, resume) in [
        (
            vec![tool("write_note"), tool("drop"), agent],
            "  resume       agentgate resume tool notes write_note\n  resume       agentgate resume agent spiffe://agentgate.local/agent/laptop\n",
            2,
        ),
        (vec![tool("drop")], "  by now       no kill in force stops it any more", 0),
    ] {
        let orders = v1::ListOrdersResponse { kills, ..Default::default() };
        let double = Answers { explained: Some(killed.clone()), orders, ..Default::default() }.serve();
        let shown = text(&double.agentgate(&["explain", "2"]).stdout);
        assert!(shown.contains(wanted), "{wanted} in\n{shown}");
        let answer = json(&double.agentgate(&["explain", "2", "--output", "json"]));
        assert_eq!(answer["resume"].as_array().map(Vec::len), Some(resume), "{answer}");
    }
}
