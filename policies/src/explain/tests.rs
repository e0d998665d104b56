//! What is told of a decision, and that every edit that is told does what it says.

use super::{EDITS_MAX, FACT_BYTES_MAX, edits, facts};
use crate::bundle::Bundle;
use crate::evaluator::Evaluator;
use crate::evaluator::tests::bundle;
use crate::input::tests::facts as facts_of;
use crate::learn::Definition;
use crate::trial::{decide, verdict_name};
use crate::{explain::Edits, folder};
use agentgate_core::decide::{Decision, Facts};
use agentgate_core::id::Server;
use agentgate_core::json::{Fault, Json, Number, Object};
use agentgate_core::kill::{Kill, KillTarget};
use agentgate_core::mcp::{Malformed, Method};
use std::path::Path;

fn default_policy() -> Bundle {
    Bundle::load(folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("default")).unwrap()).unwrap()
}

fn call(tool: &str, arguments: Object) -> Facts {
    facts_of(Method::ToolsCall, Some(tool), Some(Object::default().with("name", tool).with("arguments", arguments)))
}

fn decided(bundle: &Bundle, facts: &Facts) -> Decision {
    decide(&mut Evaluator::new(bundle).unwrap(), facts).unwrap()
}

fn tried(bundle: &Bundle, facts: &Facts, definition: Option<&Definition>) -> Edits {
    edits(bundle, facts, &decided(bundle, facts), definition)
}

/// Of each edit what it changes, the verdict and the rule.
fn check(bundle: &Bundle, facts: &Facts, definition: Option<&Definition>, wanted: &[(&str, &str, &str)]) {
    let edits = tried(bundle, facts, definition);
    let told: Vec<_> = edits
        .tried
        .iter()
        .map(|edit| {
            let added = edit.diff.lines().find_map(|line| line.strip_prefix('+').filter(|line| line.starts_with("  ")));
            let line = added.unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
            (line, verdict_name(edit.verdict).to_owned(), edit.rule.to_string())
        })
        .collect();
    let wanted: Vec<_> =
        wanted.iter().map(|(line, verdict, rule)| ((*line).to_owned(), (*verdict).to_owned(), (*rule).to_owned())).collect();
    assert_eq!(told, wanted, "{:?}", edits.none_because);
    assert!(edits.none_because.is_none() && edits.tried.len() <= EDITS_MAX);
}

#[test]
fn the_smallest_edits_that_change_the_verdict_are_told() {
    let policy = default_policy();
    let id = || Object::default().with("id", 1_u64);
    for (facts, wanted) in [
        (
            call("delete_note", id()),
            vec![
                ("delete_note: { tag: gated, scope: write, arguments: { id: integer } }", "pending", "tool_gated"),
                ("delete_note: { tag: open, scope: write, arguments: { id: integer } }", "allow", "tool_open"),
            ],
        ),
        (
            call("add_note", Object::default()),
            vec![("add_note: { tag: open, scope: write, arguments: { title: string, text: string } }", "allow", "tool_open")],
        ),
        (
            call("read_note", id()),
            vec![
                ("read_note: { tag: gated, scope: read, arguments: { id: integer } }", "pending", "tool_gated"),
                ("read_note: { tag: blocked, scope: read, arguments: { id: integer } }", "deny", "tool_blocked"),
            ],
        ),
        (
            call("nowhere", Object::default()),
            vec![
                ("nowhere: { tag: gated, scope: write }", "pending", "tool_gated"),
                ("nowhere: { tag: open, scope: write }", "allow", "tool_open"),
            ],
        ),
        (
            call("search_notes", Object::default().with("query", "milk").with("limit", 5_u64)),
            vec![(
                "search_notes: { tag: open, scope: read, arguments: { query: string, limit: integer } }",
                "allow",
                "tool_open",
            )],
        ),
        (
            call("send_note", Object::default().with("id", "1").with("to", "ann@example.com")),
            vec![
                (
                    "send_note: { tag: gated, scope: write, arguments: { id: [integer, string], to: string } }",
                    "pending",
                    "tool_gated",
                ),
                (
                    "send_note: { tag: open, scope: write, arguments: { id: [integer, string], to: string } }",
                    "allow",
                    "tool_open",
                ),
            ],
        ),
    ] {
        check(&policy, &facts, None, &wanted);
    }
    let reads = Definition { read_only: Some(true), ..Definition::default() };
    check(
        &policy,
        &call("nowhere", Object::default()),
        Some(&reads),
        &[
            ("nowhere: { tag: open, scope: read }", "allow", "tool_open"),
            ("nowhere: { tag: gated, scope: read }", "pending", "tool_gated"),
        ],
    );
    let mut elsewhere = call("x", Object::default());
    elsewhere.server = Server::try_from("elsewhere").unwrap();
    check(
        &policy,
        &elsewhere,
        None,
        &[("x: { tag: gated, scope: write }", "pending", "tool_gated"), ("x: { tag: open, scope: write }", "allow", "tool_open")],
    );
}

#[test]
fn an_edit_that_is_told_is_one_that_the_bundle_takes() {
    let policy = default_policy();
    let facts = call("delete_note", Object::default());
    let edit = tried(&policy, &facts, None).tried.remove(0);
    assert_eq!((edit.server.as_str(), edit.tool.as_str()), ("notes", "delete_note"));
    let after =
        policy.table().replace("delete_note:  { tag: blocked, scope: write,", "delete_note:  { tag: gated, scope: write,");
    assert_eq!(edit.diff, crate::table_edit::diff(policy.table(), &after, "tools.yaml"));
    let again = decided(&policy.with_table(&after).unwrap(), &facts);
    assert_eq!((again.verdict, again.rule), (edit.verdict, edit.rule));
}

#[test]
fn where_no_edit_helps_it_says_why() {
    let policy = default_policy();
    let failing = bundle(&[(
        "rego/a.rego",
        "package agentgate.platform\n\ndeny contains {\"rule\": \"r\", \"reason\": \"x\"} if to_number(input.tool) == 1\n",
    )]);
    let silent = bundle(&[(
        "rego/a.rego",
        "package agentgate.platform\n\nallow contains {\"rule\": \"r\", \"reason\": \"x\"} if input.tool == \"b\"\n",
    )]);
    let mut malformed = call("a", Object::default());
    malformed.reading = Err(Malformed::Json(Fault::NotJson));
    let mut killed = call("read_note", Object::default());
    killed.kill = Some(Kill { target: KillTarget::Everything, reason: "x".to_owned() });
    for (bundle, facts, told) in [
        (&policy, malformed, "the call could not be read (the body is not JSON)"),
        (&policy, killed, "it was stopped by a kill"),
        (&policy, facts_of(Method::PromptsGet, Some("x"), None), "`prompts/get` is decided by the rules in `rego/`"),
        (&policy, call("search_notes", Object::default().with("query", "password")), "`forbidden_query` at rego/notes.rego:4"),
        (
            &policy,
            call("search_notes", Object::default().with("Query", "password")),
            "no row in the tool table makes these arguments safe",
        ),
        (&failing, call("a", Object::default()), "the policy failed on this call"),
        (&silent, call("a", Object::default()), "no rule allows the call with any row"),
    ] {
        let edits = tried(bundle, &facts, None);
        let why = edits.none_because.unwrap();
        assert!(edits.tried.is_empty() && why.contains(told), "{why}");
    }
}

#[test]
fn facts_are_shown_as_the_rule_saw_them() {
    let policy = default_policy();
    let shown = |facts: &Facts, rule: &str| crate::explain::facts(&policy, facts, rule);
    let pair = |path: &str, value: &str| (path.to_owned(), Some(value.to_owned()));
    let facts = call("send_note", Object::default().with("to", "a\u{202e}\n\u{1f600}\u{e0041}\"b"));
    assert_eq!(
        shown(&facts, "recipient_outside"),
        [
            pair("input.arguments.to", "\"a\\u202e\\n\u{1f600}\\udb40\\udc41\\\"b\""),
            pair("input.server", "\"notes\""),
            pair("input.tool", "\"send_note\""),
        ]
    );
    assert_eq!(
        shown(&facts, "tool_gated")[..2],
        [
            pair("data.tools[input.server][input.tool].scope", "\"write\""),
            pair("data.tools[input.server][input.tool].tag", "\"gated\"")
        ]
    );
    let nothing = shown(&call("nowhere", Object::default()), "unknown_tool");
    assert_eq!(nothing[0], ("data.tools[input.server][input.tool]".to_owned(), None));
    let without = shown(&call("send_note", Object::default()), "recipient_outside");
    assert_eq!(without[0], ("input.arguments.to".to_owned(), None));
    assert_eq!(shown(&facts, "gate.unmatched"), []);
}

#[test]
fn a_fact_is_bounded_and_every_kind_of_value_is_shown() {
    let policy = bundle(&[(
        "rego/a.rego",
        r#"package agentgate.platform

deny contains {"rule": "r", "reason": "x"} if {
	some i
	input.arguments.list[i] == input.arguments["a b"]
	input.arguments.list[1] == 2
}
"#,
    )]);
    let shown = |arguments: Object| facts(&policy, &call("a", arguments), "r");
    let list = vec![Json::Null, Json::Bool(true), Json::Number(Number::parse("1.5").unwrap())];
    let came = shown(Object::default().with("list", list).with("a b", Object::default().with("k", "v")));
    let wanted = [
        ("input.arguments.list[1]", Some("true")),
        ("input.arguments.list[i]", None),
        ("input.arguments[\"a b\"]", Some("{\"k\":\"v\"}")),
    ];
    assert_eq!(came, wanted.map(|(path, value)| (path.to_owned(), value.map(ToOwned::to_owned))));
    for (length, cut) in [(FACT_BYTES_MAX - 2, false), (FACT_BYTES_MAX - 1, true), (100_000, true)] {
        let value = shown(Object::default().with("a b", "x".repeat(length)))[2].1.clone().unwrap();
        assert_eq!((value.ends_with('…'), value.trim_end_matches('…').len()), (cut, FACT_BYTES_MAX), "{length}");
    }
}
