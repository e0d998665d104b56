//! What a REST route may say, which requests it takes, and how a mapping that overlaps is told.

use super::super::Config;
use super::TOOLS_MAX;
use crate::config::tests::documented;
use crate::error::chain;
use crate::rest::Rule;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

fn with_tools(tools: &str) -> String {
    format!(r#"{{"routes":[{{"server":"billing","rest":{{"prefix":"/api","tools":[{tools}]}}}}]}}"#)
}

fn tool(tool: &str, method: &str, path: &str, more: &str) -> String {
    format!(r#"{{"tool":"{tool}","method":"{method}","path":"{path}"{more}}}"#)
}

fn check(json: &str, wanted: &str) {
    let said = match Config::parse(json.as_bytes()) {
        Ok(_) => "taken".to_owned(),
        Err(error) => chain(&error),
    };
    assert_eq!(said, wanted, "{json}");
}

#[test]
fn the_documented_route_is_taken() {
    let documented = documented(include_str!("../rest.rs"));
    let config = Config::parse(format!(r#"{{"routes":[{documented}]}}"#).as_bytes()).unwrap();
    let rest = config.routes[0].rest.as_ref().unwrap();
    assert_eq!((config.routes[0].path.as_str(), rest.host.as_deref()), ("/api", Some("billing.example")));
    let paths: Vec<_> = rest.rules.iter().map(Rule::parts).map(|parts| (parts.tool.as_str(), parts.path.as_str())).collect();
    assert_eq!(paths, [("get_invoice", "/api/invoices/{id:integer}"), ("pay_invoice", "/api/invoices/{id:integer}/payments")]);
    let required: Vec<_> = rest.rules[1].parts().query.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(required, [""; 0]);
}

#[test]
fn a_fault_of_a_tool_is_named_with_its_place() {
    let get = |path: &str, more: &str| tool("get", "GET", path, more);
    for (tools, wanted) in [
        (get("/a", ""), "taken"),
        (String::new(), "`routes[0].rest.tools` is empty"),
        (r#"{"tool":"get","method":"GET"}"#.into(), "`routes[0].rest.tools[0].path` is missing"),
        (
            get("/a", r#","quary":{}"#),
            "`routes[0].rest.tools[0].quary` is unknown: tool, method, path, query, body, required are known here",
        ),
        (
            get("/a", r#","query":{"n":"int"}"#),
            "`routes[0].rest.tools[0].query.n` is `int`: take one of string, integer, number, boolean, array, object, any",
        ),
        (get("/a", r#","query":{"n":1}"#), "`routes[0].rest.tools[0].query.n` is not a string"),
        (get("/a", r#","query":[]"#), "`routes[0].rest.tools[0].query` is not an object"),
        (get("/a", r#","body":"all"}"#).replace("}}", "}"), "`routes[0].rest.tools[0].body` is `all`: take one of any"),
        (
            get("/a/{id}", r#","required":["id"]"#),
            "`routes[0].rest.tools[0].required`: `id` is neither in `query` nor in `body`; what stands in the path is always there",
        ),
        (get("a", ""), "`routes[0].rest.tools[0]` is no mapping: the path `a` cannot be read: it must begin with a slash"),
        (
            get("/a/{id}", r#","query":{"Id":"string"}"#),
            "`routes[0].rest.tools[0]` is no mapping: `id` and `Id` would be one argument from two places",
        ),
        (
            format!("{},{}", get("/a/{x}", ""), tool("other", "GET", "/a/b", "")),
            "`GET /api/a/b` overlaps with `GET /api/a/{x}`: a request could be taken for either",
        ),
        (format!("{},{}", get("/a/{x:integer}", ""), tool("other", "GET", "/a/b", "")), "taken"),
        (format!("{},{}", get("/a", ""), tool("get", "POST", "/a", "")), "taken"),
    ] {
        check(&with_tools(&tools), wanted);
    }
}

#[test]
fn routes_that_could_take_one_request_are_refused() {
    let rest = |host: &str, prefix: &str, path: &str| {
        let host = if host.is_empty() { String::new() } else { format!(r#""host":"{host}","#) };
        let prefix = if prefix.is_empty() { String::new() } else { format!(r#""prefix":"{prefix}","#) };
        format!(r#"{{"server":"a","rest":{{{host}{prefix}"tools":[{}]}}}}"#, tool("get", "GET", path, ""))
    };
    let mcp = || r#"{"path":"/mcp","server":"b"}"#.to_owned();
    let overlap = "`routes[1].rest` overlaps with `routes[0]`: a request could be taken for either";
    let path_overlap = "`routes[1].path` overlaps with `routes[0]`: a request could be taken for either";
    for (one, other, wanted) in [
        (rest("", "/api", "/x"), rest("", "/app", "/x"), "taken"),
        (rest("", "/api", "/x"), rest("", "/apis", "/x"), "taken"),
        (rest("", "/api", "/x"), rest("", "/api", "/y"), overlap),
        (rest("", "/api", "/x"), rest("", "/api/v2", "/y"), overlap),
        (rest("", "/v", "/x"), rest("", "/V", "/x"), overlap),
        (rest("", "/API/v2", "/x"), rest("", "/api", "/x"), overlap),
        (rest("one.example", "/v", "/x"), rest("two.example", "/V", "/x"), "taken"),
        (rest("", "", "/x"), rest("", "/api", "/y"), overlap),
        (rest("one.example", "/api", "/x"), rest("two.example", "/api", "/x"), "taken"),
        (rest("one.example", "/api", "/x"), rest("", "/api", "/x"), overlap),
        (rest("", "", "/x"), mcp(), "taken"),
        (rest("", "", "/{x}"), mcp(), path_overlap),
        (mcp(), rest("", "", "/MCP"), overlap),
    ] {
        check(&format!(r#"{{"routes":[{one},{other}]}}"#), wanted);
    }
    for member in [r#""path":"/x""#, r#""denied":"error""#, r#""versions":["2025-11-25"]"#, r#""query_keys":["a"]"#] {
        let json = format!(r#"{{"routes":[{}]}}"#, rest("", "/api", "/x").replacen("{", &format!("{{{member},"), 1));
        assert!(Config::parse(json.as_bytes()).unwrap_err().to_string().contains("is unknown: rest, server"), "{json}");
    }
    for prefix in ["api", "/api/", "/a//b", "/{x}", "/api?x", "/a/../b"] {
        let json = format!(r#"{{"routes":[{}]}}"#, rest("", prefix, "/x"));
        assert!(Config::parse(json.as_bytes()).unwrap_err().to_string().starts_with("`routes[0].rest.prefix`"), "{json}");
    }
}

#[test]
fn tools_have_a_bound() {
    for (count, taken) in [(TOOLS_MAX, true), (TOOLS_MAX + 1, false)] {
        let tools: Vec<String> = (0..count).map(|n| tool(&format!("t{n}"), "GET", &format!("/{n}"), "")).collect();
        assert_eq!(Config::parse(with_tools(&tools.join(",")).as_bytes()).is_ok(), taken, "{count}");
    }
}

#[test]
fn a_rest_route_takes_what_is_below_its_prefix_and_an_mcp_route_its_path_first() {
    let json = r#"{"routes":[
        {"server":"one","rest":{"host":"one.example","tools":[{"tool":"a","method":"GET","path":"/a"}]}},
        {"server":"two","rest":{"host":"two.example","prefix":"/api","tools":[{"tool":"a","method":"GET","path":"/a"}]}},
        {"server":"mcp","path":"/mcp"}]}"#;
    let config = Config::parse(json.as_bytes()).unwrap();
    for (authority, path, wanted) in [
        ("one.example", "/anything?x", "one"),
        ("one.example", "/", "one"),
        ("One.Example:8080", "/anything", "one"),
        ("one.example", "/mcp?x", "mcp"),
        ("one.example", "/mcp/", "one"),
        ("two.example", "/api", "two"),
        ("two.example", "/api/x", "two"),
        ("two.example", "/api?x", "two"),
        ("two.example", "/apis", ""),
        ("two.example", "/API/x", ""),
        ("two.example", "/mcp", "mcp"),
        ("other.example", "/api/x", ""),
        ("", "/api/x", ""),
    ] {
        let taken = config.route(path.as_bytes(), authority.as_bytes()).map_or("", |route| route.server.as_str());
        assert_eq!(taken, wanted, "{authority} {path}");
    }
}
