//! Which arguments are refused where a policy looks at them, and which are not.

use crate::evaluator::Evaluator;
use crate::evaluator::tests::bundle;
use crate::input::tests::facts;
use agentgate_core::decide::{Finding, Opinion, Scope};
use agentgate_core::json::{Json, Number, Object};
use agentgate_core::mcp::Method;

const RULES: &str = r#"package agentgate.platform

allow contains {"rule": "all", "reason": "x"}

deny contains {"rule": "secret", "reason": "x"} if {
	input.tool in {"known", "unknown", "strange"}
	input.arguments.path == "secret"
}
"#;

const TOOLS: &str = "notes:
  known: { tag: open, scope: write, arguments: { path: string, id: integer, limit: [integer, \"null\"], extra: any } }
  unknown: { tag: open, scope: read }
  unseen: { tag: open, scope: read, arguments: { path: string } }
  strange: { tag: open, scope: read, arguments: { Path: string } }
";

/// A call of `tool`, with the finding's rule and a part of its reason; or the policy's own answer.
fn check(tool: &str, arguments: impl Into<Json>, told: Option<(&str, &str)>) {
    let arguments = arguments.into();
    let said = arguments.to_string();
    let opinion = opinion(tool, arguments);
    match (opinion.deny.as_slice(), told) {
        ([], None) => assert_eq!(opinion.allow.len(), 1, "{said}"),
        ([finding, ..], Some((rule, reason))) => {
            assert!(finding.rule.as_str() == rule && finding.reason.contains(reason), "{said}: {finding:?}");
            assert!(rule == "secret" || opinion.allow.is_empty(), "{said}: the policy was asked all the same");
        }
        (came, _) => panic!("{tool} {said}: {came:?}"),
    }
}

fn opinion(tool: &str, arguments: Json) -> Opinion {
    let policy = bundle(&[("rego/a.rego", RULES), ("tools.yaml", TOOLS)]);
    let params = Object::default().with("name", tool).with("arguments", arguments);
    Evaluator::new(&policy).unwrap().opinion(&facts(Method::ToolsCall, Some(tool), Some(params))).unwrap()
}

fn one(name: &str, value: impl Into<Json>) -> Object {
    Object::default().with(name, value)
}

#[test]
fn a_name_that_could_be_taken_for_another_is_refused() {
    const ALIKE: &str = "gate.argument_lookalike";
    for (tool, arguments, told) in [
        ("known", one("path", "a"), None),
        ("known", one("path", "secret"), Some(("secret", ""))),
        ("known", one("Path", "secret"), Some((ALIKE, "`Path` could be taken for `path`; write that name"))),
        ("known", one("pa\u{200b}th", "secret"), Some((ALIKE, "`pa\\u{200b}th` could be taken for `path`"))),
        ("known", one("ID", 1_u64), Some((ALIKE, "`ID` could be taken for `id`"))),
        ("known", one("path", "a").with("PATH", "b"), Some((ALIKE, "`PATH` and `path` look alike"))),
        ("unknown", one("PATH", "secret"), Some((ALIKE, "`PATH` could be taken for `path`"))),
        ("unknown", one("X", 1_u64).with("x", 1_u64), Some((ALIKE, "`x` and `X` look alike"))),
        ("unseen", one("Path", "secret"), None),
        ("unseen", one("X", 1_u64).with("x", 1_u64), None),
        ("strange", one("Path", "a"), Some((ALIKE, "`Path` could be taken for `path`"))),
        ("strange", one("path", "a"), None),
        ("strange", one("PATH", "a"), Some((ALIKE, "`PATH` could be taken for `path`"))),
        ("nowhere", one("Path", "secret"), None),
    ] {
        check(tool, arguments, told);
    }
}

#[test]
fn a_name_that_the_table_does_not_know_is_refused_where_it_knows_any() {
    const UNKNOWN: &str = "gate.argument_unknown";
    for (tool, arguments, told) in [
        ("known", one("extra", Json::Null), None),
        ("known", one("other", 1_u64), Some((UNKNOWN, "the tool table knows no argument `other` of `known`"))),
        ("known", one("path", "secret").with("oth\ner", 1_u64), Some((UNKNOWN, "`oth\\ner`"))),
        ("known", one("", 1_u64), Some((UNKNOWN, "no argument ``"))),
        ("unknown", one("other", 1_u64), None),
        ("unseen", one("other", 1_u64), None),
        ("strange", one("path", 1_u64), None),
    ] {
        check(tool, arguments, told);
    }
}

#[test]
fn a_value_of_another_type_than_the_table_says_is_refused() {
    const TYPE: &str = "gate.argument_type";
    let number = |text: &str| Json::Number(Number::parse(text).unwrap());
    for (tool, arguments, told) in [
        ("known", one("id", 1_u64), None),
        ("known", one("id", number("-9")), None),
        ("known", one("id", number("1.0")), Some((TYPE, "`id` is of type number, and the tool table says integer"))),
        ("known", one("id", number("1e2")), Some((TYPE, "of type number"))),
        ("known", one("id", "1"), Some((TYPE, "`id` is of type string"))),
        ("known", one("id", Json::Null), Some((TYPE, "of type null"))),
        ("known", one("limit", Json::Null), None),
        ("known", one("limit", 7_u64), None),
        ("known", one("limit", true), Some((TYPE, "says null or integer"))),
        ("known", one("path", vec![Json::from("secret")]), Some((TYPE, "`path` is of type array"))),
        ("known", one("path", Object::default()), Some((TYPE, "of type object"))),
        ("unknown", one("path", vec![]), None),
        ("unseen", one("path", vec![]), None),
    ] {
        check(tool, arguments, told);
    }
    check("known", vec![Json::from("secret")], Some((TYPE, "`arguments` is of type array; write an object")));
    check("known", Json::Null, None);
    check("unseen", vec![Json::from("secret")], None);
}

#[test]
fn findings_say_the_scope_of_the_row_and_are_bounded() {
    let [Finding { scope, .. }] = opinion("known", one("Path", "a").into()).deny.try_into().unwrap();
    assert_eq!(scope, Some(Scope::Write));
    let many = (0..1_000).fold(Object::default(), |object, n| object.with(&format!("n{n}"), n as u64));
    assert_eq!(opinion("known", many.into()).deny.len(), super::FINDINGS_MAX);
    let long = opinion("known", one(&"x".repeat(100_000), 1_u64).into());
    assert!(long.deny[0].reason.contains(&format!("{}…`", "x".repeat(super::NAME_CHARS_MAX))));
    let fits = opinion("known", one(&"x".repeat(super::NAME_CHARS_MAX), 1_u64).into());
    assert!(!fits.deny[0].reason.contains('…'));
}
