//! What becomes of what rules contribute, and of what they should not have.

use super::{Evaluator, REASON_BYTES_MAX, Trouble};
use crate::bundle::Bundle;
use crate::engine::INSTRUCTIONS_MAX;
use crate::folder::{self, SourceFile};
use crate::input::tests::facts;
use crate::strict::FINDINGS_MAX;
use agentgate_core::decide::{EvaluationError, Facts, Opinion, Scope};
use agentgate_core::json::{Json, Number, Object};
use agentgate_core::mcp::Method;
use std::num::NonZeroU32;
use std::path::Path;

const TOOLS: &str = "notes: { a: { tag: open, scope: read } }";

pub(crate) fn bundle(files: &[(&str, &str)]) -> Bundle {
    let file = |(path, text): &(&str, &str)| SourceFile { path: (*path).to_owned(), bytes: text.as_bytes().to_vec() };
    let mut files: Vec<_> = files.iter().map(file).collect();
    if !files.iter().any(|file| file.path == "tools.yaml") {
        files.push(file(&("tools.yaml", TOOLS)));
    }
    Bundle::load(files).unwrap()
}

fn policy(rules: &str) -> Bundle {
    bundle(&[("rego/a.rego", &format!("package agentgate.platform\n\n{rules}\n"))])
}

fn default_policy() -> Bundle {
    Bundle::load(folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("default")).unwrap()).unwrap()
}

fn call(x: Json) -> Facts {
    let arguments = Object::default().with("x", x);
    facts(Method::ToolsCall, Some("a"), Some(Object::default().with("name", "a").with("arguments", arguments)))
}

fn opinion(rules: &str) -> Result<Opinion, Trouble> {
    Evaluator::new(&policy(rules)).unwrap().opinion(&call(Json::from(1)))
}

#[test]
fn an_element_is_read_whole_or_the_policy_failed() {
    for (element, told) in [
        (r#"{"rule": "r", "reason": "x"}"#, None),
        (r#"{"rule": "r", "reason": ""}"#, None),
        (r#"{"rule": "r", "reason": "x", "scope": "read"}"#, None),
        (r#"{"rule": "gateway", "reason": "x"}"#, None),
        (r#"{"rule": "r"}"#, Some("has no `reason`")),
        (r#"{"reason": "x"}"#, Some("has no `rule`")),
        (r#"{"rule": "r", "reason": 1}"#, Some("has a number as its `reason`")),
        (r#"{"rule": ["r"], "reason": "x"}"#, Some("has an array as its `rule`")),
        (r#"{"rule": null, "reason": "x"}"#, Some("has null as its `rule`")),
        (r#"{"rule": "r", "reason": "x", "scope": "readwrite"}"#, Some("has the scope `readwrite`")),
        (r#"{"rule": "r", "reason": "x", "scope": true}"#, Some("has a boolean as its `scope`")),
        (r#"{"rule": "r", "reason": "x", "scop": "read"}"#, Some("has a member `scop`")),
        (r#"{"rule": "r", "reason": "x", 1: 2}"#, Some("keys that are not strings")),
        (r#"{"rule": "", "reason": "x"}"#, Some("the rule's name is empty")),
        (r#"{"rule": "a b", "reason": "x"}"#, Some("names no rule")),
        (r#"{"rule": "gate.unmatched", "reason": "x"}"#, Some("`gate.` is the gate's own")),
        (r#""r""#, Some("is a string, not {rule, reason, scope}")),
        ("1", Some("is a number, not {rule, reason, scope}")),
        ("true", Some("is a boolean, not {rule, reason, scope}")),
        (r#"{"rule"}"#, Some("is a set, not {rule, reason, scope}")),
    ] {
        for set in ["deny", "require_approval", "allow"] {
            let good = "allow contains {\"rule\": \"good\", \"reason\": \"x\"}";
            let came = opinion(&format!("{good}\n{set} contains {element} if input.arguments.x == 1"));
            match (&came, told) {
                (Ok(_), None) => {}
                (Err(Trouble::Evaluation(EvaluationError::Failed(what))), Some(told)) => {
                    assert!(what.contains(told) && what.contains(set), "{element}: {what}");
                }
                _ => panic!("{element}: {came:?}"),
            }
        }
    }
}

#[test]
fn what_a_rule_may_say_is_bounded_on_both_sides() {
    let long = |bytes: usize| {
        let rules = "deny contains {\"rule\": \"r\", \"reason\": input.arguments.x}";
        Evaluator::new(&policy(rules)).unwrap().opinion(&call(Json::from("a".repeat(bytes))))
    };
    assert!(long(REASON_BYTES_MAX).is_ok());
    assert!(matches!(long(REASON_BYTES_MAX + 1), Err(Trouble::Evaluation(EvaluationError::Failed(_)))));
    let many = |count: usize| {
        let rules = "deny contains {\"rule\": \"r\", \"reason\": x} if some x in input.arguments.x";
        let x = (0..count).map(|n| Json::from(n.to_string())).collect::<Vec<_>>();
        Evaluator::new(&policy(rules)).unwrap().opinion(&call(Json::Array(x)))
    };
    assert_eq!(many(FINDINGS_MAX).unwrap().deny.len(), FINDINGS_MAX);
    assert!(matches!(many(FINDINGS_MAX + 1), Err(Trouble::Evaluation(EvaluationError::Failed(_)))));
}

#[test]
fn a_set_that_nobody_contributes_to_is_empty() {
    assert_eq!(opinion("allow contains {\"rule\": \"r\", \"reason\": \"x\"} if input.arguments.x == 2"), Ok(Opinion::default()));
    let one = opinion("allow contains {\"rule\": \"r\", \"reason\": \"x\", \"scope\": \"write\"}").unwrap();
    assert_eq!((one.deny.len(), one.require_approval.len(), one.allow.len()), (0, 0, 1));
    assert_eq!(one.allow[0].scope, Some(Scope::Write));
    let mut evaluator = Evaluator::new(&policy("hidden contains \"a\"")).unwrap();
    assert_eq!(evaluator.opinion(&call(Json::Null)), Ok(Opinion::default()));
}

#[test]
fn rules_read_the_arguments_that_the_table_has() {
    let rules = r#"package agentgate.platform

allow contains {"rule": name, "reason": concat("|", types)} if some name, types in data.tools.notes.a.arguments

deny contains {"rule": "b", "reason": "x"} if data.tools.notes.b.arguments
"#;
    let tools =
        "notes: { a: { tag: open, scope: read, arguments: { id: [string, integer], x: any } }, b: { tag: open, scope: read } }";
    let opinion =
        Evaluator::new(&bundle(&[("rego/a.rego", rules), ("tools.yaml", tools)])).unwrap().opinion(&call(Json::Null)).unwrap();
    let came: Vec<_> = opinion.allow.iter().map(|finding| (finding.rule.as_str(), finding.reason.as_str())).collect();
    assert_eq!((came, opinion.deny.len()), (vec![("id", "integer|string"), ("x", "any")], 0));
}

#[test]
fn the_order_of_rules_and_of_files_never_shows() {
    let rules = [
        "deny contains {\"rule\": \"b\", \"reason\": \"2\"}",
        "deny contains {\"rule\": \"a\", \"reason\": \"2\"}",
        "deny contains {\"rule\": \"a\", \"reason\": \"1\"}",
        "allow contains {\"rule\": \"c\", \"reason\": \"1\", \"scope\": \"read\"}",
        "allow contains {\"rule\": \"c\", \"reason\": \"1\"}",
        "require_approval contains {\"rule\": \"d\", \"reason\": \"1\"} if input.arguments.x == 1",
        "deny contains {\"rule\": \"a\", \"reason\": \"1\"} if input.arguments.x == 1",
    ];
    let wanted = opinion(&rules.join("\n")).unwrap();
    assert_eq!((wanted.deny.len(), wanted.require_approval.len(), wanted.allow.len()), (3, 1, 2));
    for turn in 0..rules.len() {
        let mut turned = rules;
        turned.rotate_left(turn);
        assert_eq!(opinion(&turned.join("\n")).as_ref(), Ok(&wanted));
        turned.reverse();
        let (left, right) = turned.split_at(3);
        let file = |rules: &[&str]| format!("package agentgate.platform\n\n{}", rules.join("\n"));
        let split = bundle(&[("rego/z.rego", &file(left)), ("rego/a.rego", &file(right))]);
        assert_eq!(Evaluator::new(&split).unwrap().opinion(&call(Json::from(1))).as_ref(), Ok(&wanted));
    }
}

#[test]
fn an_error_of_one_rule_refuses_what_all_others_say() {
    let allow = "allow contains {\"rule\": \"r\", \"reason\": \"x\"}";
    let broken = "deny contains {\"rule\": \"d\", \"reason\": \"x\"} if startswith(input.arguments.x, \"rm\")";
    assert!(matches!(opinion(&format!("{allow}\n{broken}")), Err(Trouble::Evaluation(EvaluationError::Failed(_)))));
}

#[test]
fn too_many_steps_are_a_verdict_and_always_the_same() {
    let rules = "deny contains {\"rule\": \"r\", \"reason\": \"x\"} if { some a in input.arguments.x; some b in input.arguments.x; a + b == 3 }";
    let mut evaluator = Evaluator::new(&policy(rules)).unwrap();
    let facts = call(Json::Array(vec![Json::from(1); 1_000]));
    for _ in 0..3 {
        assert_eq!(evaluator.opinion(&facts), Err(Trouble::Evaluation(EvaluationError::Instructions)));
    }
    assert!(evaluator.opinion(&call(Json::Array(vec![Json::from(1)]))).is_ok());
}

#[test]
fn the_default_policy_is_far_from_its_limit() {
    let bundle = default_policy();
    let limit = NonZeroU32::new(INSTRUCTIONS_MAX.get() / 200).unwrap();
    let mut evaluator = Evaluator::with_limit(&bundle, limit).unwrap();
    for tool in ["read_note", "search_notes", "send_note", "delete_note", "nowhere"] {
        let arguments = Object::default().with("query", "milk").with("to", "ann@example.com");
        let params = Object::default().with("name", tool).with("arguments", arguments);
        assert!(evaluator.opinion(&facts(Method::ToolsCall, Some(tool), Some(params))).is_ok(), "{tool}");
    }
    let tools: Vec<String> = (0..1_000).map(|n| format!("tool_{n}")).collect();
    let hidden = Evaluator::new(&bundle).unwrap().hidden(&facts(Method::ToolsList, None, None), &tools);
    assert_eq!(hidden, Ok(tools));
}

#[test]
fn a_number_that_the_engine_would_confuse_is_refused() {
    let number = Json::Number(Number::parse("18446744073709551617").unwrap());
    let came = Evaluator::new(&default_policy()).unwrap().opinion(&call(number));
    assert_eq!(
        came,
        Err(Trouble::Evaluation(EvaluationError::Failed(
            "the engine cannot hold the number `18446744073709551617` exactly".to_owned()
        )))
    );
}

#[test]
fn hidden_names_tools_of_the_list_and_nothing_else() {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let hidden = |rules: &str| {
        Evaluator::new(&policy(rules)).unwrap().hidden(&facts(Method::ToolsList, None, None), &list(&["c", "a", "b"]))
    };
    assert_eq!(hidden("hidden contains tool if some tool in [\"a\", \"c\", \"z\"]"), Ok(list(&["c", "a"])));
    assert_eq!(hidden("hidden contains tool if some tool in input.list.tools"), Ok(list(&["c", "a", "b"])));
    assert_eq!(hidden("hidden contains \"a\" if input.method == \"tools/call\""), Ok(vec![]));
    assert_eq!(hidden("deny contains 1"), Ok(vec![]));
    for broken in [
        "hidden contains 1",
        "hidden contains {\"a\": 1}",
        "hidden contains \"a\"\nhidden contains null",
        "hidden contains \"a\" if startswith(1, \"a\")",
    ] {
        assert!(matches!(hidden(broken), Err(Trouble::Evaluation(EvaluationError::Failed(_)))), "{broken}");
    }
}

#[test]
fn evaluators_on_many_threads_agree() {
    let bundle = default_policy();
    let calls: Vec<Facts> = ["read_note", "add_note", "delete_note", "search_notes", "send_note", "nowhere"]
        .into_iter()
        .flat_map(|tool| ["milk", "password", "ann@example.com"].map(|text| (tool, text)))
        .map(|(tool, text)| {
            let arguments = Object::default().with("query", text).with("to", text);
            facts(Method::ToolsCall, Some(tool), Some(Object::default().with("name", tool).with("arguments", arguments)))
        })
        .collect();
    let ask = |bundle: &Bundle| {
        let mut evaluator = Evaluator::new(bundle).unwrap();
        (0..20).map(|_| calls.iter().map(|facts| evaluator.opinion(facts)).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let wanted = ask(&bundle);
    assert!(wanted.iter().all(|round| *round == wanted[0]), "the rounds agree");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| ask(&bundle))).collect();
        for thread in threads {
            assert!(thread.join().unwrap() == wanted);
        }
    });
}

#[test]
fn an_evaluator_moves_between_threads() {
    fn moves<T: Send + 'static>() {}
    fn shared<T: Send + Sync + Clone + 'static>() {}
    moves::<Evaluator>();
    shared::<Bundle>();
}

#[test]
fn a_name_that_is_bound_nowhere_never_lets_a_call_through() {
    let allow = "allow contains {\"rule\": \"r\", \"reason\": \"x\"}\n";
    for rules in [
        "deny contains {\"rule\": \"d\", \"reason\": nowhere} if input.tool == \"a\"",
        "deny contains {\"rule\": \"d\", \"reason\": \"x\"} if f(1) == 1\nf(a) := nowhere",
        "deny contains {\"rule\": \"d\", \"reason\": \"x\"} if helper == 1\nhelper := nowhere",
    ] {
        let came = opinion(&format!("{allow}{rules}"));
        assert!(
            matches!(&came, Err(Trouble::Evaluation(EvaluationError::Failed(what))) if what.contains("nowhere")),
            "{rules}: {came:?}"
        );
    }
}
