//! What is no case, and how it is told.

use super::read;

#[test]
fn what_nobody_knows_is_an_error_with_its_line_and_case() {
    const WANT: &str = "want: { verdict: allow, rule: r }";
    for (case, told) in [
        ("name: x", "line 1: `given` is missing"),
        ("name: x\n  given: { server: s, method: ping }", "line 1: `want` is missing"),
        (&format!("given: {{ server: s, method: ping }}\n  {WANT}"), "line 1: `name` is missing"),
        (&format!("name: x\n  gven: 1\n  {WANT}"), "line 2: `gven` is no field here"),
        (&format!("name: x\n  given: {{ method: ping }}\n  {WANT}"), "line 2: case `x`: `server` is missing"),
        (&format!("name: x\n  given: {{ server: s }}\n  {WANT}"), "line 2: case `x`: `method` is missing"),
        (&format!("name: x\n  given: {{ server: s, method: pong }}\n  {WANT}"), "case `x`: this is no method"),
        (&format!("name: x\n  given: {{ server: s, method: ping, argument: {{}} }}\n  {WANT}"), "`argument` is no field here"),
        (&format!("name: x\n  given: {{ server: s, method: ping, tool: a }}\n  {WANT}"), "`ping` acts on no `tool`"),
        (&format!("name: x\n  given: {{ server: s, method: ping, version: 2024-11-05 }}\n  {WANT}"), "no version that is read"),
        (&format!("name: x\n  given: {{ server: s, method: ping, version: 2026-07-28 }}\n  {WANT}"), "2026-07-28 has no `ping`"),
        (&format!("name: x\n  given: {{ server: s, method: ping, principal: me }}\n  {WANT}"), "`me` is no SPIFFE ID"),
        (&format!("name: x\n  given: {{ server: s, method: ping, at_us: -1 }}\n  {WANT}"), "a number of microseconds"),
        (&format!("name: x\n  given: {{ server: s, method: tools/call, arguments: [1] }}\n  {WANT}"), "a map is wanted"),
        (
            "name: x\n  given: { server: s, method: ping }\n  want: { verdict: allowed, rule: r }",
            "line 3: case `x`: a verdict is",
        ),
        ("name: x\n  given: { server: s, method: ping }\n  want: { verdict: allow }", "line 3: case `x`: `rule` is missing"),
        ("name: x\n  given: { server: s, method: ping }\n  want: { rule: r }", "`verdict` is missing"),
        ("name: x\n  given: { server: s, method: ping }\n  want: { verdict: allow, rule: r, scope: rw }", "a scope is"),
        ("name: x\n  given: { server: s, method: ping }\n  want: { verdict: allow, rule: r, hidden: [] }", "needs a `list`"),
        (&format!("name: x\n  given: {{ server: s, method: tools/list, list: [] }}\n  {WANT}"), "wants `hidden`"),
        (
            &format!(
                "name: x\n  given: {{ server: s, method: ping }}\n  {WANT}\n- name: x\n  given: {{ server: s, method: ping }}\n  {WANT}"
            ),
            "line 4: `x` is the name of the case in line 1 already",
        ),
    ] {
        let error = read("cases/a.yaml", &format!("- {case}\n")).unwrap_err().to_string();
        assert!(error.contains(told), "{case}: wanted {told}\ncame {error}");
    }
}
