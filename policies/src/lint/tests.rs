//! What a policy may not say: each line with what it is told.

use super::Fault;
use crate::engine;

fn lint(rego: &str) -> Result<(), Fault> {
    let module = engine::read("rego/p.rego", rego).unwrap();
    super::check(&[module])
}

/// `body` in a rule of its own, in line 4.
fn check(body: &str, told: Option<&str>) {
    let rego = format!("package agentgate.platform\n\ndeny contains {{\"rule\": \"r\", \"reason\": \"r\"}} if {{\n{body}\n}}\n");
    match (lint(&rego), told) {
        (Ok(()), None) => {}
        (Err(fault), Some(told)) => {
            assert!(fault.what.contains(told), "{body}: {fault}");
            assert_eq!((fault.path.as_str(), fault.line), ("rego/p.rego", 4), "{body}: {fault}");
        }
        (Ok(()), Some(told)) => panic!("`{body}` was let through; wanted: {told}"),
        (Err(fault), None) => panic!("`{body}` was refused: {fault}"),
    }
}

#[test]
fn what_replay_cannot_repeat_is_refused_with_its_place() {
    for call in [
        "time.now_ns() > 0",
        "x := time.now_ns()",
        "not time.now_ns() == 0",
        "count([x | x := time.now_ns()]) > 0",
        "every x in [1] { x < time.now_ns() }",
        "some x in [time.now_ns()]; x > 0",
        "{\"a\": time.now_ns()}.a > 0",
        "input.params[time.now_ns()]",
        "concat(\"\", [sprintf(\"%d\", [rand.intn(\"a\", 5)])]) == \"1\"",
        "rand.intn(\"a\", 5) == 1",
        "uuid.rfc4122(\"a\") == \"1\"",
        "http.send({\"url\": \"x\"}).status_code == 200",
        "opa.runtime().env.HOME == \"/\"",
        "net.lookup_ip_addr(\"a\") == {\"1.1.1.1\"}",
        "test.sleep(\"1s\")",
    ] {
        check(call, Some("which replay cannot repeat"));
    }
    let fault = lint("package agentgate.platform\n\ndeny contains 1 if time.now_ns() > 0").unwrap_err();
    let told = "rego/p.rego:3: the policy names `time.now_ns`, which replay cannot repeat; take what you need from `input`";
    assert_eq!(fault.to_string(), told);
}

#[test]
fn what_looks_at_the_world_is_refused_in_a_head_too() {
    for rego in [
        "package agentgate.platform\n\ndeny contains time.now_ns() if input.tool == \"a\"",
        "package agentgate.platform\n\nallow contains x if x := f(1)\nf(x) := time.now_ns() if x == 1",
        "package agentgate.platform\n\nallow contains now\nnow := time.now_ns()",
        "package agentgate.platform\n\nallow contains now\ndefault now := 1\nnow := rand.intn(\"a\", 2)",
    ] {
        assert!(lint(rego).unwrap_err().what.contains("which replay cannot repeat"), "{rego}");
    }
}

#[test]
fn a_pattern_stands_in_the_source() {
    for (body, told) in [
        ("regex.match(`(?i)a`, input.tool)", None),
        ("regex.match(\"a\", input.tool)", None),
        ("regex.match(input.arguments.pattern, input.tool)", Some("not written into the call")),
        ("p := `a`; regex.match(p, input.tool)", Some("not written into the call")),
        ("regex.match(concat(\"\", [\"a\", input.tool]), input.tool)", Some("not written into the call")),
        ("regex.replace(input.tool, input.prompt, \"\") == \"\"", Some("not written into the call")),
        ("regex.replace(input.tool, `a`, \"\") == \"\"", None),
        ("regex.split(input.tool, \"a\") == []", Some("not written into the call")),
        ("regex.find_n(input.tool, \"a\", 1) == []", Some("not written into the call")),
        ("sprintf(input.tool, []) == \"\"", Some("the format of `sprintf` is not written into the call")),
        ("concat(input.tool, []) == \"\"", Some("the delimiter of `concat` is not written into the call")),
        ("replace(input.tool, input.prompt, \"\") == \"\"", None),
        ("replace(input.tool, \"\", input.prompt) == \"\"", Some("the replacement of `replace` is not written into the call")),
        ("regex.replace(input.tool, `a`, input.prompt) == \"\"", Some("the replacement of `regex.replace`")),
        ("regex.match(`(`, input.tool)", Some("the pattern of `regex.match` is none: regex parse error")),
        ("regex.match(`(a{1000}){1000}`, input.tool)", Some("the pattern of `regex.match` is none")),
        ("regex.match(`a(?=b)`, input.tool)", Some("look-around")),
    ] {
        check(body, told);
    }
}

#[test]
fn patterns_are_counted() {
    let policy = |patterns: usize| {
        let rules: String = (0..patterns).map(|n| format!("deny contains {n} if regex.match(`a{n}`, input.tool)\n")).collect();
        lint(&format!("package agentgate.platform\n\n{rules}"))
    };
    assert_eq!(policy(super::PATTERNS_MAX), Ok(()));
    assert!(policy(super::PATTERNS_MAX + 1).unwrap_err().what.contains("more than 256 different patterns"));
}

#[test]
fn what_cannot_be_judged_is_refused() {
    for (body, told) in [
        ("numbers.range(1, 2) == [1, 2]", Some("does not count")),
        ("bits.lsh(1, 3) == 8", Some("does not count")),
        ("strings.replace_n({\"\": input.tool}, input.prompt) == \"\"", Some("does not count")),
        ("print(input.tool)", Some("where nobody reads it")),
        ("trace(input.tool)", Some("where nobody reads it")),
        ("input.tool == \"a\" with input.tool as \"a\"", Some("`with`")),
        ("nowhere(input.tool)", Some("no builtin of this engine and no function")),
        ("base64.decode(input.tool) == \"a\"", Some("no builtin of this engine and no function")),
    ] {
        check(body, told);
    }
    let fault =
        lint("package agentgate.platform\n\nallow contains x\nx := 1 if {\n\tinput.tool == \"a\"\n} else := 2").unwrap_err();
    assert_eq!((fault.line, fault.what.contains("`else`")), (6, true), "{fault}");
}

#[test]
fn a_misspelt_name_is_refused_and_not_undefined() {
    for (body, told) in [
        ("input.tool == \"a\"", None),
        ("input[\"tool\"] == \"a\"", None),
        ("input.argumnets.to == \"a\"", Some("`input.argumnets` is no field")),
        ("input[\"argumnets\"].to == \"a\"", Some("`input.argumnets` is no field")),
        ("input.tool.name == \"a\"", Some("`input.tool` is one value")),
        ("input.arguments.a.b[0].c == \"a\"", None),
        ("some x in input.list.tools; x == \"a\"", None),
        ("some x in input.list.names; x == \"a\"", Some("`input.list` holds `tools`")),
        ("input[input.tool]", Some("computed name")),
        ("object.get(input, \"tool\", \"\") == \"a\"", Some("`input` as a whole")),
        ("object.get(input.arguments, \"to\", \"\") == \"a\"", None),
        ("data.tools[input.server][input.tool].tag == \"open\"", None),
        ("data.tolls[input.server]", Some("`data.tolls[…]` is not there")),
        ("data.agentgate.platform.nowhere", Some("`data.agentgate.platform.nowhere` is not there")),
        ("data.agentgate.gate.ready", Some("`data.agentgate.gate.ready` is not there")),
        ("data.agentgate.platform[input.tool]", Some("`data.agentgate.platform[…]` is not there")),
        ("data.agentgate", Some("`data.agentgate` is not there")),
        ("not data.agentgate.platform.hidden", Some("is not there")),
        ("data[input.server]", Some("computed name")),
        ("count(data) == 1", Some("`data` as a whole")),
    ] {
        check(body, told);
    }
}

#[test]
fn a_rule_that_depends_on_itself_is_refused() {
    for (rules, on_itself) in [
        ("deny contains 1 if f(1)\nf(x) if g(x)\ng(x) if f(x)", true),
        ("deny contains 1 if f(1)\nf(x) if data.agentgate.platform.f(x)", true),
        ("deny contains 1 if a\na if b\nb if a", true),
        ("deny contains 1 if not allow\nallow contains 1 if not deny", true),
        ("deny contains 1 if count(deny) == 0", true),
        ("deny contains 1 if a; b\na if c\nb if c\nc if input.tool == \"a\"", false),
        ("deny contains 1 if deeper(1)\ndeeper(x) if deepest(x)\ndeepest(x) if x == 1", false),
    ] {
        let came = lint(&format!("package agentgate.platform\n\n{}", rules.replace("; ", "\ndeny contains 2 if ")));
        assert_eq!(came.as_ref().is_err_and(|fault| fault.what.contains("depends on itself")), on_itself, "{rules}: {came:?}");
    }
}

#[test]
fn every_rule_is_read_by_somebody() {
    const ANY: &str = "package agentgate.platform\n\n";
    for (rules, told) in [
        ("denied contains 1", Some("nothing reads `denied`")),
        ("deny contains 1 if helper\nhelper if input.tool == \"a\"", None),
        ("deny contains 1 if helper(2)\nhelper(x) if input.tool == x", None),
        ("allow contains 1 if not data.agentgate.platform.deny\ndeny contains 1 if input.tool == \"a\"", None),
        ("deny contains 1 if data.agentgate.platform.helper\nhelper if input.tool == \"a\"", None),
        ("helper(x) if input.tool == x", Some("nothing reads `helper`")),
        ("deny := true", Some("`deny` is a set")),
        ("default deny := true", Some("`deny` is a set")),
        ("allow if input.tool == \"a\"", Some("`allow` is a set")),
        ("allow(x) if input.tool == x", Some("`allow` is a set")),
        ("hidden := {\"a\"}", Some("`hidden` is a set")),
        ("hidden contains \"a\"", None),
        ("deny.sub contains 1", Some("`deny` is a set")),
        ("deny[x] := 1 if x := input.tool", Some("`deny` is a set")),
        ("deny contains 1 if limit[input.tool] == 1\nlimit[x] := 1 if x := input.tool\nlimit.a := 2", None),
        ("limit[x] := 1 if x := input.tool", Some("nothing reads `limit`")),
        ("deny contains 1 if limit.a == 1\nlimit[input.tol] := 1", Some("`input.tol` is no field")),
        ("import rego.v1\ndeny contains 1", None),
        ("import data.tools\ndeny contains 1 if tools.a", Some("`import data.tools`")),
        ("import input.tool as t\ndeny contains 1 if t == \"a\"", Some("`import input.tool`")),
    ] {
        match (lint(&format!("{ANY}{rules}")), told) {
            (Ok(()), None) => {}
            (Err(fault), Some(told)) if fault.what.contains(told) => {}
            (came, _) => panic!("{rules}: {came:?}"),
        }
    }
    for package in ["agentgate", "agentgate.gate", "agentgate.platform.lib", "agentgate.tenant.a", "p"] {
        assert!(
            lint(&format!("package {package}\n\ndeny contains 1")).unwrap_err().what.contains("`agentgate.platform`"),
            "{package}"
        );
    }
}
