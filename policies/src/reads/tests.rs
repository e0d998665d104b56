//! For which tools a rule looks at arguments, and what rules read.

use super::Reads;
use crate::engine;

/// Of calls `s/a`, `s/b` and `t/a`: for which the rules look, with the names that they read.
fn looks(rules: &str) -> Vec<String> {
    let module = engine::read("rego/p.rego", &format!("package agentgate.platform\n\n{rules}\n")).unwrap();
    let modules = [module];
    let looks = Reads::new(&modules).looks();
    let names = |server: &str, tool: &str| {
        let names = looks.at(server, tool)?;
        let names: Vec<_> = names.0.values().flatten().map(String::as_str).collect();
        Some(format!("{server}/{tool}:{}", names.join(",")))
    };
    [("s", "a"), ("s", "b"), ("t", "a")].iter().filter_map(|(server, tool)| names(server, tool)).collect()
}

#[test]
fn a_rule_looks_at_the_tools_that_its_literals_admit() {
    let all = |names: &str| vec![format!("s/a:{names}"), format!("s/b:{names}"), format!("t/a:{names}")];
    for (rules, wanted) in [
        ("deny contains 1 if input.tool == \"a\"", vec![]),
        ("deny contains 1 if input.arguments.x == 1", all("x")),
        ("deny contains 1 if { input.tool == \"a\"; input.arguments.x == 1 }", vec!["s/a:x".into(), "t/a:x".into()]),
        ("deny contains 1 if { \"a\" == input.tool; input.arguments.x == 1 }", vec!["s/a:x".into(), "t/a:x".into()]),
        ("deny contains 1 if { input.arguments.x == 1; input[\"tool\"] = \"a\" }", vec!["s/a:x".into(), "t/a:x".into()]),
        ("deny contains 1 if { input.server == \"s\"; input.tool == \"a\"; input.arguments.x }", vec!["s/a:x".into()]),
        ("deny contains 1 if { input.server in {\"s\", \"u\"}; input.arguments.x }", vec!["s/a:x".into(), "s/b:x".into()]),
        ("deny contains 1 if { input.tool == \"a\"; input.tool == \"b\"; input.arguments.x }", vec![]),
        ("deny contains 1 if { input.tool != \"a\"; input.arguments.x == 1 }", all("x")),
        ("deny contains 1 if { not input.tool == \"a\"; input.arguments.x == 1 }", all("x")),
        ("deny contains 1 if { startswith(input.tool, \"a\"); input.arguments.x == 1 }", all("x")),
        ("deny contains 1 if { some t in [\"a\"]; input.tool == t; input.arguments.x == 1 }", all("x")),
        ("deny contains 1 if { [1 | input.tool == \"a\"]; input.arguments.x == 1 }", all("x")),
        ("deny contains 1 if { input.method == \"prompts/get\"; input.arguments.x == 1 }", vec![]),
        ("deny contains 1 if { input.method == \"tools/call\"; input.arguments.x == 1 }", all("x")),
        ("deny contains 1 if { not input.tool; input.arguments.x == 1 }", vec![]),
        ("deny contains {\"a\": input.arguments.x}", all("x")),
        ("deny contains {\"a\": input.arguments.x} if input.tool == \"b\"", vec!["s/b:x".into()]),
    ] {
        assert_eq!(looks(rules), wanted, "{rules}");
    }
}

#[test]
fn a_rule_looks_with_the_eyes_of_its_helpers() {
    for (rules, wanted) in [
        ("deny contains 1 if { input.tool == \"b\"; bad }\nbad if input.arguments.x == 1", vec!["s/b:x"]),
        ("deny contains 1 if { input.tool == \"b\"; not good }\ngood if input.arguments.x == 1", vec!["s/b:x"]),
        ("deny contains 1 if bad\nbad if { input.tool == \"b\"; input.arguments.x == 1 }", vec!["s/b:x"]),
        (
            "deny contains 1 if bad\nbad if { input.tool == \"b\"; input.arguments.x }\nbad if { input.server == \"t\"; input.arguments.y }",
            vec!["s/b:x", "t/a:y"],
        ),
        ("deny contains 1 if { input.tool == \"b\"; f(input.arguments.x) }\nf(x) if x == 1", vec!["s/b:x"]),
        ("deny contains 1 if { input.tool == \"b\"; f(1) }\nf(x) if input.arguments.y == x", vec!["s/b:y"]),
        (
            "deny contains 1 if { input.tool == \"b\"; bad }\nbad if worse\nworse if worst\nworst if input.arguments.x",
            vec!["s/b:x"],
        ),
        ("deny contains 1 if { input.tool == \"b\"; data.agentgate.platform.bad }\nbad if input.arguments.x == 1", vec!["s/b:x"]),
        ("deny contains 1 if { input.tool == \"b\"; args.x }\nargs := input.arguments", vec!["s/b:x"]),
        ("deny contains 1 if { input.tool == \"b\"; args := input.arguments; args.x }", vec!["s/b:x"]),
        ("deny contains 1 if { input.tool == \"b\"; object.get(input.arguments, \"x\", 1) == 2 }", vec!["s/b:x"]),
        ("deny contains 1 if { input.tool == \"b\"; object.get(input.arguments, [\"x\", \"y\"], 1) == 2 }", vec!["s/b:x"]),
        ("deny contains 1 if { input.tool == \"b\"; some k, v in input.arguments; v == k }", vec!["s/b:"]),
        ("deny contains 1 if { input.tool == \"b\"; input.arguments[input.tool] }", vec!["s/b:"]),
        ("deny contains 1 if { input.tool == \"b\"; input.params.arguments.x }", vec!["s/b:x"]),
        ("deny contains 1 if { input.tool == \"b\"; count(input.params) == 1 }", vec!["s/b:"]),
        ("deny contains 1 if { input.tool == \"b\"; input.params.name == \"x\" }", vec![]),
        ("deny contains 1 if { input.tool == \"b\"; input.params._meta.x == 1 }", vec![]),
        ("hidden contains \"x\" if input.arguments.x", vec![]),
    ] {
        assert_eq!(looks(rules), wanted, "{rules}");
    }
}
