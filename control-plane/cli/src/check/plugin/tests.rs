//! What the filter itself would say, in its own words: both readers are held against each other, row by row.

use super::read;
use agentgate_core::error::chain;
use agentgate_filter::config::Config;

/// Both take it, or both refuse it with these words in them.
fn check(json: &str, wanted: Option<&str>) {
    let filter = Config::parse(json.as_bytes()).map(|_| ()).map_err(|error| chain(&error));
    assert_eq!(read(json), filter, "{json}");
    let said = filter.err();
    assert!(said.is_some() == wanted.is_some(), "{json}: {said:?}");
    assert!(said.unwrap_or_default().contains(wanted.unwrap_or_default()), "{json}: {wanted:?}");
}

fn route(more: &str) -> String {
    format!(r#"{{"routes":[{{"path":"/mcp","server":"notes"{more}}}]}}"#)
}

fn tools(tools: &str) -> String {
    format!(r#"{{"routes":[{{"server":"billing","rest":{{"prefix":"/api","tools":[{tools}]}}}}]}}"#)
}

fn get(path: &str, more: &str) -> String {
    format!(r#"{{"tool":"get","method":"GET","path":"{path}"{more}}}"#)
}

#[test]
fn a_fault_of_a_field_is_told_as_the_filter_tells_it() {
    for (json, wanted) in [
        (route(""), None),
        (String::new(), Some("no strict JSON")),
        ("[]".into(), Some("`configuration` is not an object")),
        ("{}".into(), Some("`routes` is missing")),
        (r#"{"routes":[]}"#.into(), Some("`routes` is empty")),
        (r#"{"routes":{}}"#.into(), Some("is not a list")),
        (r#"{"routes":[1]}"#.into(), Some("`routes[0]` is not an object")),
        (r#"{"routes":[],"Routes":[]}"#.into(), Some("differ only by case")),
        (r#"{"route":[]}"#.into(), Some("`route` is unknown: control_plane,")),
        (r#"{"routes":[{"server":"notes"}]}"#.into(), Some("`routes[0].path` is missing")),
        (r#"{"routes":[{"path":"mcp","server":"notes"}]}"#.into(), Some("must begin with a slash")),
        (r#"{"routes":[{"path":"/a/../b","server":"notes"}]}"#.into(), Some("dot segment")),
        (r#"{"routes":[{"path":"/mcp","server":"a b"}]}"#.into(), Some("is no name")),
        (r#"{"routes":[{"rests":{},"server":"a"}]}"#.into(), Some("`routes[0].rests` is unknown: path, server,")),
        (r#"{"routes":[{"path":"/a","server":"a"},{"path":"/a","server":"b"}]}"#.into(), Some("is named twice")),
        (route(r#","mode":"watch""#), Some("take one of enforce, observe")),
        (route(r#","mode":"""#), Some("is empty")),
        (route(r#","denied":"http""#), Some("take one of result, error, http_403")),
        (route(r#","versions":[]"#), Some("is empty")),
        (route(r#","versions":["2024-11-05"]"#), Some("`routes[0].versions[0]` is")),
        (route(r#","versions":["2025-11-25","2025-11-25"]"#), Some("is named twice")),
        (route(r#","query_keys":[1]"#), Some("is not a list of strings")),
        (route(r#","origins":["https://a.example/"]"#), Some("is no origin")),
        (route(r#","origins":["https://a.example","http://[::1]:6274"]"#), None),
        (route(r#","limits":{"body_bytes_max":1048577}"#), Some("it must be 1 to 1048576")),
        (route(r#","limits":{"body_bytes_max":1048576}"#), None),
        (route(r#","limits":{"body_bytes_max":"1"}"#), Some("is not a whole number")),
        (route(r#","claims":{"metadata":"jwt"}"#), Some("`routes[0].claims.names` is missing")),
        (route(r#","claims":{"metadata":"j w","names":["sub"]}"#), Some("visible ASCII")),
        (route(r#","claims":{"metadata":"jwt","names":["sub","sub"]}"#), Some("is named twice")),
        (
            route(r#","claims":{"metadata":"jwt","names":["sub"],"required":true}"#),
            Some("`routes[0].claims.required` is unknown"),
        ),
        (route("").replacen('{', r#"{"unnamed_paths":"open","#, 1), Some("take one of refuse, pass")),
        (route("").replacen('{', r#"{"held_bytes_max":0,"#, 1), Some("it must be 1 to 268435456")),
        (route("").replacen('{', r#"{"held_bytes_max":268435456,"#, 1), None),
        (route("").replacen('{', r#"{"held_bytes_max":268435457,"#, 1), Some("it must be 1 to")),
        (route("").replacen('{', r#"{"control_plane":{"ask_timeout_ms":9},"#, 1), Some("it must be 10 to 60000")),
        (route("").replacen('{', r#"{"control_plane":{"ask_timeout_ms":60001},"#, 1), Some("it must be 10 to 60000")),
        (route("").replacen('{', r#"{"control_plane":{"ask_timeout_ms":60000},"#, 1), None),
    ] {
        check(&json, wanted);
    }
}

#[test]
fn a_mapping_that_the_filter_does_not_take_is_told_as_it_tells_it() {
    let pair = |one: &str, other: &str| tools(&format!("{},{}", get(one, ""), get(other, "")));
    let post = |more: &str| tools(&format!(r#"{{"tool":"pay","method":"POST","path":"/pay"{more}}}"#));
    for (json, wanted) in [
        (tools(&get("/items/{id}", "")), None),
        (pair("/items/{id}", "/items/low"), Some("`GET /api/items/low` overlaps with `GET /api/items/{id}`")),
        (pair("/items/{id:integer}", "/items/low"), None),
        (tools(&get("/items/{id:int}", "")), Some("`int` is no type of a segment")),
        (tools(&get("items", "")), Some("it must begin with a slash")),
        (tools(&get("/a", r#","query":{"n":"int"}"#)), Some("take one of string, integer,")),
        (tools(&get("/a", r#","query":{"n":1}"#)), Some("`routes[0].rest.tools[0].query.n` is not a string")),
        (tools(&get("/a", r#","query":[]"#)), Some("is not an object")),
        (tools(&get("/a", r#","quary":{}"#)), Some("`routes[0].rest.tools[0].quary` is unknown")),
        (tools(&get("/a", r#","required":["n"]"#)), Some("is neither in `query` nor in `body`")),
        (tools(&get("/a", r#","query":{"n":"integer"},"required":["n"]"#)), None),
        (tools(&get("/a", r#","body":"any""#)), Some("a GET has no body")),
        (post(r#","body":"any""#), None),
        (post(r#","body":"all""#), Some("take one of any")),
        (post(r#","body":{"amount":"money"}"#), Some("take one of string, integer,")),
        (post(r#","body":{"amount":"number"},"required":["amount"]"#), None),
        (tools(""), Some("`routes[0].rest.tools` is empty")),
        (tools(&get("/a", "")).replace("/api", "/api/"), Some("`routes[0].rest.prefix`")),
        (tools(&get("/a", "")).replace("\"prefix\"", "\"perfix\""), Some("`routes[0].rest.perfix` is unknown: host,")),
        (tools(&get("/a", "")).replace("\"server\":\"billing\"", "\"path\":\"/a\""), Some("`routes[0].path` is unknown: rest,")),
    ] {
        check(&json, wanted);
    }
}

#[test]
fn routes_that_could_take_one_request_are_told() {
    let rest = |host: &str, prefix: &str| {
        format!(r#"{{"server":"a","rest":{{{host}"prefix":"{prefix}","tools":[{}]}}}}"#, get("/{x}", ""))
    };
    let mcp = |path: &str| format!(r#"{{"server":"b","path":"{path}"}}"#);
    for (one, other, wanted) in [
        (rest("", "/a"), rest("", "/a/b"), Some("`routes[1].rest` overlaps with `routes[0]`")),
        (rest("", "/a"), rest("", "/ab"), None),
        (rest(r#""host":"a.example","#, "/a"), rest(r#""host":"b.example","#, "/a"), None),
        (rest(r#""host":"a.example","#, "/a"), rest("", "/a"), Some("overlaps")),
        (rest("", "/a"), mcp("/a/mcp"), Some("overlaps")),
        (mcp("/a/mcp"), rest("", "/a"), Some("overlaps")),
        (rest("", "/a"), mcp("/mcp"), None),
    ] {
        check(&format!(r#"{{"routes":[{one},{other}]}}"#), wanted);
    }
}

#[test]
fn every_bound_is_the_filters_own() {
    let list = |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>().join(",");
    let routes = |count| format!(r#"{{"routes":[{}]}}"#, list(count, &|n| format!(r#"{{"path":"/{n}","server":"a"}}"#)));
    let cluster = |count| route("").replacen('{', &format!(r#"{{"control_plane":{{"cluster":"{}"}},"#, "c".repeat(count)), 1);
    let origins = |count| route(&format!(r#","origins":[{}]"#, list(count, &|n| format!(r#""https://{n}.example""#))));
    let claims = |names: String| route(&format!(r#","claims":{{"metadata":"jwt","names":[{names}]}}"#));
    let mapped = |count| tools(&list(count, &|n| get(&format!("/a{n}"), "")));
    let claim = |bytes: usize| claims(format!("\"{}\"", "c".repeat(bytes)));
    let several = |count| claims(list(count, &|n| format!("\"c{n}\"")));
    for (taken, refused, said) in [
        (routes(256), routes(257), "has more than 256 entries"),
        (cluster(100), cluster(101), "is longer than 100 bytes"),
        (origins(64), origins(65), "has more than 64 entries"),
        (several(16), several(17), "has more than 16 entries"),
        (claim(200), claim(201), "is longer than 200 bytes"),
        (mapped(512), mapped(513), "has more than 512 entries"),
    ] {
        check(&taken, None);
        check(&refused, Some(said));
    }
}
