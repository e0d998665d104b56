//! Where rules stand, and what they read.

use super::{RULE_TEXT_BYTES_MAX, RuleSet};
use crate::bundle::Bundle;
use crate::evaluator::tests::bundle;
use crate::folder;
use std::path::Path;

fn default_policy() -> Bundle {
    Bundle::load(folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("default")).unwrap()).unwrap()
}

#[test]
fn a_rule_has_the_place_of_its_name_and_no_comment_has_one() {
    let policy = bundle(&[
        (
            "rego/b.rego",
            r#"package agentgate.platform

# deny contains {"rule": "r", "reason": "x"}
allow contains {"reason": "\"rule\": \"t\"", "rule": `r`} if {
	input.tool == "a"
}
"#,
        ),
        (
            "rego/a.rego",
            r#"package agentgate.platform

deny contains {"rule": "r", "reason": "x"} if input.tool == "b" # r

deny contains {"rule": concat("", ["s"]), "reason": "{\"rule\": \"t\"}"} if input.tool == "c"

require_approval contains {"rule": "r", "reason": "y"} if input.tool == "d"
"#,
        ),
    ]);
    let places: Vec<_> = policy.places("r").into_iter().map(|place| (place.set, place.file, place.line)).collect();
    let wanted =
        [(RuleSet::Deny, "rego/a.rego", 3), (RuleSet::RequireApproval, "rego/a.rego", 7), (RuleSet::Allow, "rego/b.rego", 4)];
    assert_eq!(places, wanted.map(|(set, file, line)| (set, file.to_owned(), line)));
    let text = &policy.places("r")[2].text;
    assert!(text.starts_with("allow contains {\"reason\"") && text.ends_with("== \"a\"\n}"), "{text}");
    for computed in ["s", "t", "x", "", "gate.unmatched"] {
        assert_eq!(policy.places(computed), [], "{computed}");
    }
}

#[test]
fn the_text_of_a_rule_is_bounded() {
    let rule = |bytes: usize| {
        let head = "deny contains {\"rule\": \"r\", \"reason\": \"x\"} if {\n\tinput.tool == \"a\"\n";
        let lines = (bytes - head.len() - 1) / 102;
        let rest = bytes - head.len() - 1 - lines * 102;
        format!("{head}{}{}}}", format!("#é{}\n", "x".repeat(98)).repeat(lines), " ".repeat(rest))
    };
    for (bytes, shown) in [(RULE_TEXT_BYTES_MAX, RULE_TEXT_BYTES_MAX), (RULE_TEXT_BYTES_MAX + 1, RULE_TEXT_BYTES_MAX)] {
        let rule = rule(bytes);
        assert_eq!(rule.len(), bytes);
        let places = bundle(&[("rego/a.rego", &format!("package agentgate.platform\n\n{rule}\n"))]).places("r");
        let text = &places[0].text;
        assert!(text.len() <= shown && text.ends_with('}') == (bytes <= shown), "{bytes}");
    }
}

#[test]
fn every_rule_of_the_default_policy_says_what_it_reads() {
    const ROW: &str = "data.tools[input.server][input.tool]";
    let tag = format!("{ROW}.tag");
    let scope = format!("{ROW}.scope");
    let policy = default_policy();
    for (rule, place, reads) in [
        ("unknown_tool", "rego/platform.rego", vec![ROW, "input.method", "input.server", "input.tool"]),
        ("tool_blocked", "rego/platform.rego", vec![&scope, &tag, "input.server", "input.tool"]),
        ("tool_gated", "rego/platform.rego", vec![&scope, &tag, "input.server", "input.tool"]),
        ("tool_open", "rego/platform.rego", vec![&scope, &tag, "input.server", "input.tool"]),
        ("forbidden_query", "rego/notes.rego", vec!["input.arguments.query", "input.server", "input.tool"]),
        ("recipient_outside", "rego/notes.rego", vec!["input.arguments.to", "input.server", "input.tool"]),
        ("session", "rego/methods.rego", vec!["input.method", "input.tool"]),
    ] {
        let places = policy.places(rule);
        assert_eq!(places.iter().map(|place| place.file.as_str()).collect::<Vec<_>>(), [place], "{rule}");
        assert_eq!(policy.reads(rule), reads, "{rule}");
    }
    assert!(policy.reads("gate.unmatched").is_empty());
}

#[test]
fn a_path_is_written_as_rego_would_read_it() {
    let reads = |body: &str| {
        let rule = format!("deny contains {{\"rule\": \"r\", \"reason\": \"x\"}} if {{ {body} }}");
        bundle(&[("rego/a.rego", &format!("package agentgate.platform\n\n{rule}\n"))]).reads("r")
    };
    for (body, wanted) in [
        ("input.arguments[\"a b\"].c == 1", vec!["input.arguments[\"a b\"].c"]),
        ("input.arguments.list[0].x == 1", vec!["input.arguments.list[0].x"]),
        ("some i; input.arguments.list[i] == 1", vec!["input.arguments.list[i]"]),
        ("x := input.arguments; x.to == 1", vec!["input.arguments.to"]),
        ("x := input.arguments; count(x) == 1", vec!["input.arguments"]),
        ("object.get(input.arguments, \"to\", \"\") == \"\"", vec!["input.arguments", "input.arguments.to"]),
        ("input.tool == \"a\"; input.tool != \"b\"", vec!["input.tool"]),
    ] {
        assert_eq!(reads(body), wanted, "{body}");
    }
}
