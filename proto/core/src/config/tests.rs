//! What a configuration may say, and how it is told that it may not.

use super::{
    ASK_TIMEOUT_MS, BODY_BYTES_MAX, CLAIM_NAME_BYTES_MAX, CLAIMS_MAX, CLUSTER_BYTES_MAX, Config, ConfigError, Denied,
    HELD_BYTES_MAX, ORIGINS_MAX, ROUTES_MAX, TOOLS_MAX, UnnamedPaths,
};
use crate::mcp::Version;
use crate::mode::Mode;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

const SMALLEST: &str = r#"{"routes":[{"path":"/mcp","server":"notes"}]}"#;

fn check(rows: &[(&str, &str)]) {
    for (json, wanted) in rows {
        let said = match Config::parse(json.as_bytes()) {
            Ok(_) => "taken".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, *wanted, "{json}");
    }
}

/// The JSON that stands at the top of a file.
pub(super) fn documented(source: &str) -> String {
    let lines = source.lines().skip_while(|line| !line.contains("```json")).skip(1);
    lines.take_while(|line| !line.contains("```")).map(|line| line.trim_start_matches("//!")).collect()
}

#[test]
fn the_smallest_configuration_has_the_documented_defaults() {
    let documented = documented(include_str!("mod.rs"));
    let config = Config::parse(SMALLEST.as_bytes()).unwrap();
    assert_eq!(config, Config::parse(documented.as_bytes()).unwrap());
    assert_eq!((config.cluster.as_str(), config.ask_timeout_ms), ("agentgate", 2_000));
    assert_eq!(config.unnamed_paths, UnnamedPaths::Refuse);
    assert_eq!(config.routes[0].rules.versions, Version::ALL);
    assert_eq!(config.routes[0].rules.limits.body_bytes_max, 1_048_576);
    assert_eq!(config.routes[0].origins, [""; 0]);
    assert_eq!(config.routes[0].denied, Denied::Result);
    assert_eq!(config.routes[0].mode, Mode::Enforce);
    assert_eq!(config.routes[0].claims, None);
}

/// `docs/operating.md` is where people read of it.
#[test]
fn the_documents_have_every_field_and_an_example_that_is_taken() {
    let document = include_str!("../../../../docs/operating.md");
    let section = document.split("\n## ").find(|section| section.starts_with("The filter's configuration\n")).unwrap();
    let example = documented(section);
    assert_eq!(Config::parse(example.as_bytes()).unwrap().routes.len(), 2);
    let rows: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let known_beside = |spoiled: &str| match Config::parse(spoiled.as_bytes()) {
        Err(ConfigError::Unknown { known, .. }) => known,
        other => panic!("{spoiled}: {other:?}"),
    };
    for (object, of) in [
        (r#"{ "control_plane": {"#, ""),
        (r#""control_plane": { "#, "control_plane."),
        (r#"{ "path": "#, ""),
        (r#"{ "server": "#, ""),
        (r#""claims": { "#, "claims."),
        (r#""limits": { "#, "limits."),
        (r#""rest": { "#, "rest."),
        (r#"{ "tool": "#, ""),
    ] {
        assert!(example.contains(object), "{object}");
        let inside = object.replacen("{ ", r#"{ "zz": 1, "#, 1);
        let known = known_beside(&example.replacen(object, &inside, 1));
        for field in known.split(", ") {
            let is_told = rows.iter().any(|row| *row == format!("{of}{field}") || row.starts_with(&format!("{of}{field}.")));
            assert!(is_told, "no row for `{of}{field}`");
        }
    }
    for (what, max) in [
        ("cluster", CLUSTER_BYTES_MAX as u64),
        ("ask_timeout_ms", *ASK_TIMEOUT_MS.end()),
        ("held_bytes_max", *HELD_BYTES_MAX.end()),
        ("`routes`", ROUTES_MAX as u64),
        ("`server`", crate::id::NAME_BYTES_MAX as u64),
        ("origins", ORIGINS_MAX as u64),
        ("claims.metadata", CLAIM_NAME_BYTES_MAX as u64),
        ("claims.names", CLAIMS_MAX as u64),
        ("body_bytes_max", *BODY_BYTES_MAX.end()),
        ("rest.tools", TOOLS_MAX as u64),
        ("behind the prefix", crate::rest::SEGMENTS_MAX as u64),
    ] {
        let row = section.lines().find(|line| line.starts_with('|') && line.contains(what)).unwrap();
        let numbers: Vec<&str> = row.split(|letter: char| !letter.is_ascii_digit()).collect();
        assert!(numbers.contains(&max.to_string().as_str()), "{max} in {row}");
    }
}

#[test]
fn a_fault_is_named_with_its_field() {
    check(&[
        (SMALLEST, "taken"),
        ("", "the plugin's configuration is no strict JSON"),
        ("[]", "`configuration` is not an object"),
        ("{}", "`routes` is missing"),
        (r#"{"routes":[]}"#, "`routes` is empty"),
        (r#"{"routes":{}}"#, "`routes` is not a list"),
        (r#"{"routes":[1]}"#, "`routes[0]` is not an object"),
        (r#"{"routes":[{"path":"/mcp"}]}"#, "`routes[0].server` is missing"),
        (r#"{"routes":[{"path":"/mcp","server":""}]}"#, "`routes[0].server` is empty"),
        (r#"{"routes":[{"path":"/mcp","server":"a b"}]}"#, "`routes[0].server` is no name"),
        (r#"{"routes":[{"server":"notes"}]}"#, "`routes[0].path` is missing"),
        (r#"{"routes":[{"path":"/mcp","server":"a"},{"path":"/mcp","server":"b"}]}"#, "`routes[1].path` is named twice: `/mcp`"),
        (
            r#"{"routes":[{"path":"/mcp","server":"a"},{"path":"/MCP","server":"b"}]}"#,
            "`routes[1].path` overlaps with `routes[0]`: a request could be taken for either",
        ),
        (
            r#"{"routes":[{"path":"/mcp","server":"a","verions":[]}]}"#,
            "`routes[0].verions` is unknown: path, server, versions, query_keys, origins, mode, denied, claims, limits are known here",
        ),
        (
            r#"{"routes":[{"path":"/mcp","server":"a","versions":["2024-11-05"]}]}"#,
            "`routes[0].versions[0]` is `2024-11-05`: take one of 2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28",
        ),
        (r#"{"routes":[{"path":"/mcp","server":"a","versions":[]}]}"#, "`routes[0].versions` is empty"),
        (
            r#"{"routes":[{"path":"/mcp","server":"a","denied":"maybe"}]}"#,
            "`routes[0].denied` is `maybe`: take one of result, error, http_403",
        ),
        (
            r#"{"routes":[{"path":"/mcp","server":"a","limits":{"body_bytes_max":0}}]}"#,
            "`routes[0].limits.body_bytes_max` is 0: it must be 1 to 1048576",
        ),
        (
            r#"{"routes":[{"path":"/mcp","server":"a","limits":{"body_bytes_max":1.5}}]}"#,
            "`routes[0].limits.body_bytes_max` is not a whole number",
        ),
        (
            r#"{"unnamed_paths":"open","routes":[{"path":"/mcp","server":"a"}]}"#,
            "`unnamed_paths` is `open`: take one of refuse, pass",
        ),
        (r#"{"control_plane":{"cluster":""},"routes":[]}"#, "`control_plane.cluster` is empty"),
        (r#"{"control_plane":{"ask_timeout_ms":9},"routes":[]}"#, "`control_plane.ask_timeout_ms` is 9: it must be 10 to 60000"),
        (
            r#"{"control_plane":{"ask_timeout_ms":60001},"routes":[]}"#,
            "`control_plane.ask_timeout_ms` is 60001: it must be 10 to 60000",
        ),
        (r#"{"routes":[],"routes":[]}"#, "the plugin's configuration is no strict JSON"),
    ]);
}

#[test]
fn a_cluster_name_has_a_bound() {
    for (length, taken) in [(100, true), (101, false)] {
        let json =
            format!(r#"{{"control_plane":{{"cluster":"{}"}},"routes":[{{"path":"/mcp","server":"a"}}]}}"#, "c".repeat(length));
        assert_eq!(Config::parse(json.as_bytes()).is_ok(), taken, "{length}");
    }
}

#[test]
fn routes_have_a_bound() {
    for (count, taken) in [(256, true), (257, false)] {
        let routes: Vec<String> = (0..count).map(|n| format!(r#"{{"path":"/{n}","server":"a"}}"#)).collect();
        let json = format!(r#"{{"routes":[{}]}}"#, routes.join(","));
        assert_eq!(Config::parse(json.as_bytes()).is_ok(), taken, "{count}");
    }
}

#[test]
fn origins_have_a_bound() {
    for (count, taken) in [(64, true), (65, false)] {
        let origins: Vec<String> = (0..count).map(|n| format!(r#""https://{n}.example""#)).collect();
        let json = format!(r#"{{"routes":[{{"path":"/mcp","server":"a","origins":[{}]}}]}}"#, origins.join(","));
        assert_eq!(Config::parse(json.as_bytes()).is_ok(), taken, "{count}");
    }
}

#[test]
fn an_origin_is_one_that_a_browser_can_send() {
    for (origin, taken) in [
        ("https://tools.example", true),
        ("http://localhost:6274", true),
        ("http://[::1]:6274", true),
        ("vscode-webview://0a1b", true),
        ("https://tools.example/", false),
        ("https://tools.example/mcp", false),
        ("https://Tools.example", false),
        ("https://*.example", false),
        ("https://a.example, https://b.example", false),
        ("https://me@tools.example", false),
        ("https://", false),
        ("://tools.example", false),
        ("tools.example", false),
        ("null", false),
        ("*", false),
        ("", false),
    ] {
        let json = format!(r#"{{"routes":[{{"path":"/mcp","server":"a","origins":["{origin}"]}}]}}"#);
        let parsed = Config::parse(json.as_bytes());
        assert_eq!(parsed.is_ok(), taken, "{origin}: {parsed:?}");
        assert!(taken || parsed.unwrap_err().to_string().starts_with("`routes[0].origins"), "{origin}");
    }
}

#[test]
fn a_path_is_one_that_normalisation_leaves_alone() {
    for path in ["mcp", "/mcp?x=1", "/mcp#x", "/a//b", "/a/../mcp", "/%6dcp", "/mcp;v=1", "/m cp", "/m\\\\cp"] {
        let json = format!(r#"{{"routes":[{{"path":"{path}","server":"a"}}]}}"#);
        let error = Config::parse(json.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("`routes[0].path`: "), "{path}: {error}");
    }
}

#[test]
fn a_route_takes_its_path_with_any_query_and_no_other_path() {
    let config = Config::parse(SMALLEST.as_bytes()).unwrap();
    for (path, taken) in [
        ("/mcp", true),
        ("/mcp?tool=x", true),
        ("/mcp/", false),
        ("/MCP", false),
        ("/mcp;x", false),
        ("/mcp%00", false),
        ("/mc", false),
        ("/", false),
    ] {
        assert_eq!(config.route(path.as_bytes(), b"server").is_some(), taken, "{path}");
    }
}

#[test]
fn a_route_observes_only_where_it_says_so() {
    for (member, wanted) in
        [("", Mode::Enforce), (r#","mode":"enforce""#, Mode::Enforce), (r#","mode":"observe""#, Mode::Observe)]
    {
        let config = Config::parse(SMALLEST.replace(r#""notes""#, &format!(r#""notes"{member}"#)).as_bytes()).unwrap();
        assert_eq!(config.routes[0].mode, wanted, "{member}");
    }
    check(&[(
        r#"{"routes":[{"path":"/mcp","server":"a","mode":"Observe"}]}"#,
        "`routes[0].mode` is `Observe`: take one of enforce, observe",
    )]);
}

fn with_claims(claims: &str) -> String {
    SMALLEST.replace(r#""notes""#, &format!(r#""notes","claims":{claims}"#))
}

#[test]
fn claims_are_named_one_by_one() {
    let config =
        Config::parse(with_claims(r#"{"metadata":"jwt","names":["sub","https://a.example/tenant"]}"#).as_bytes()).unwrap();
    let claims = config.routes[0].claims.as_ref().unwrap();
    assert_eq!(claims.property("sub"), "metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0jwt\0sub");
    assert_eq!(claims.names, ["sub", "https://a.example/tenant"]);
    for (claims, wanted) in [
        ("[]", "`routes[0].claims` is not an object"),
        ("{}", "`routes[0].claims.metadata` is missing"),
        (r#"{"metadata":"jwt"}"#, "`routes[0].claims.names` is missing"),
        (r#"{"metadata":"jwt","names":[]}"#, "`routes[0].claims.names` is empty"),
        (r#"{"metadata":"","names":["sub"]}"#, "`routes[0].claims.metadata` is empty"),
        (r#"{"metadata":"jwt","names":["sub","sub"]}"#, "`routes[0].claims.names` is named twice: `sub`"),
        (r#"{"metadata":"jwt","names":["a b"]}"#, "`routes[0].claims.names[0]`: `a b` holds other characters than visible ASCII"),
        (r#"{"metadata":"jé","names":["sub"]}"#, "`routes[0].claims.metadata`: `jé` holds other characters than visible ASCII"),
        (
            r#"{"metadata":"jwt","names":["sub"],"header":"x"}"#,
            "`routes[0].claims.header` is unknown: metadata, names are known here",
        ),
    ] {
        check(&[(&with_claims(claims), wanted)]);
    }
    let nul = with_claims(r#"{"metadata":"jwt","names":["a\u0000b"]}"#);
    assert!(Config::parse(nul.as_bytes()).unwrap_err().to_string().starts_with("`routes[0].claims.names[0]`"));
}

#[test]
fn claims_have_bounds() {
    for (count, taken) in [(CLAIMS_MAX, true), (CLAIMS_MAX + 1, false)] {
        let names: Vec<String> = (0..count).map(|n| format!("\"c{n}\"")).collect();
        let json = with_claims(&format!(r#"{{"metadata":"jwt","names":[{}]}}"#, names.join(",")));
        assert_eq!(Config::parse(json.as_bytes()).is_ok(), taken, "{count}");
    }
    for (length, taken) in [(CLAIM_NAME_BYTES_MAX, true), (CLAIM_NAME_BYTES_MAX + 1, false)] {
        let long = "c".repeat(length);
        for json in [format!(r#"{{"metadata":"{long}","names":["sub"]}}"#), format!(r#"{{"metadata":"jwt","names":["{long}"]}}"#)]
        {
            assert_eq!(Config::parse(with_claims(&json).as_bytes()).is_ok(), taken, "{length}");
        }
    }
}
