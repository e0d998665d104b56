//! What is no rule, and how it is told.

extern crate std;
use super::{Body, FIELDS_MAX, Field, Parts, Rule, Type};
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// Words: tool, method, host or `-`, path; then arguments as `query.name:type` and `body.name:type`, or `body`.
fn rule(words: &str) -> Result<Rule, String> {
    let words: Vec<&str> = words.split(' ').collect();
    let fields = |place: &str| {
        let named = words[4..].iter().filter_map(|word| word.strip_prefix(place)?.split_once(':'));
        named.map(|(name, holds)| Field { name: name.into(), holds: Type::parse(holds).unwrap(), required: false }).collect()
    };
    let (query, body): (Vec<_>, Vec<_>) = (fields("query."), fields("body."));
    let body = match body.is_empty() {
        true if words.contains(&"body") => Body::Any,
        true => Body::None,
        false => Body::Fields(body),
    };
    let host = (words[2] != "-").then(|| words[2].into());
    let parts = Parts { tool: words[0].into(), method: words[1].into(), host, path: words[3].into(), query, body };
    Rule::new(parts).map_err(|error| error.to_string())
}

#[test]
fn a_rule_that_could_be_read_in_two_ways_is_none() {
    for (words, wanted) in [
        ("get GET - /a/{id}", ""),
        ("get GET billing.example /a query.id:string", ""),
        ("get GET [::1] /a query.filter[name]:string", ""),
        ("put PUT - /a/{id} query.dry:boolean body.amount:number body.any:any", ""),
        ("patch PATCH - /a body", ""),
        (" GET - /a", "`` is no name of a tool"),
        ("get\u{200b} GET - /a", "`get\u{200b}` is no name of a tool"),
        ("get get - /a", "the HTTP method `get` cannot be mapped: take one of GET, HEAD, POST, PUT, PATCH, DELETE"),
        ("get OPTIONS - /a", "the HTTP method `OPTIONS` cannot be mapped: take one of GET, HEAD, POST, PUT, PATCH, DELETE"),
        ("get GET Billing.example /a", "`Billing.example` is no host: write it in lower case and without a port"),
        ("get GET billing.example:80 /a", "`billing.example:80` is no host: write it in lower case and without a port"),
        ("get GET - a", "the path `a` cannot be read"),
        ("get GET - /a body", "a GET has no body to take arguments from"),
        ("get HEAD - /a body.a:any", "a HEAD has no body to take arguments from"),
        ("get DELETE - /a body", "a DELETE has no body to take arguments from"),
        ("get GET - /a/{id} query.id:string", "`id` and `id` would be one argument from two places"),
        ("get GET - /a/{id} query.ID:string", "`id` and `ID` would be one argument from two places"),
        ("put PUT - /a/{id} body.id:any", "`id` and `id` would be one argument from two places"),
        ("put PUT - /a query.n:string body.n:any", "`n` and `n` would be one argument from two places"),
        ("get GET - /a query.a.b:string query.a_b:string", "`a.b` and `a_b` would be one argument from two places"),
        ("put PUT - /a query.a.b:string body.A_b:any", "`a.b` and `A_b` would be one argument from two places"),
        ("get GET - /a query.a-b:string query.a_b:string query.ab:string", ""),
        ("get GET - /a/{x}/{x}", "`x` and `x` would be one argument from two places"),
        ("get GET - /a/{}", "`` is no name of an argument that can stand there"),
        ("get GET - /a query.a&b:string", "`a&b` is no name of an argument that can stand there"),
        ("get GET - /a query.a%20:string", "`a%20` is no name of an argument that can stand there"),
        ("get GET - /a query.é:string", "`é` is no name of an argument that can stand there"),
        ("put PUT - /a body.é:string", ""),
        (
            "get GET - /a query.ids:array",
            "the query parameter `ids` cannot be of type `array`: take one of string, integer, number, boolean",
        ),
    ] {
        assert_eq!(rule(words).err().unwrap_or_default(), wanted, "{words}");
    }
}

#[test]
fn a_rule_has_a_bound() {
    for (count, taken) in [(FIELDS_MAX, true), (FIELDS_MAX + 1, false)] {
        let names: Vec<String> = (0..count).map(|n| format!("query.q{n}:string")).collect();
        assert_eq!(rule(&format!("get GET - /a {}", names.join(" "))).is_ok(), taken, "{count}");
    }
}

#[test]
fn two_rules_overlap_where_one_request_could_be_taken_for_both() {
    for (one, other, overlap) in [
        ("a GET - /a/{x}", "b GET - /a/b", true),
        ("a GET - /a/{x}", "b POST - /a/b", false),
        ("a GET one.example /a", "b GET other.example /a", false),
        ("a GET one.example /a", "b GET one.example /a", true),
        ("a GET one.example /a", "b GET - /a", true),
    ] {
        let (a, b) = (rule(one).unwrap(), rule(other).unwrap());
        assert_eq!((a.overlaps(&b), b.overlaps(&a)), (overlap, overlap), "{one} {other}");
    }
    for (path, covered) in [("/mcp", true), ("/mcp/", true), ("/MCP/x", false), ("/", false)] {
        assert_eq!(rule("a GET - /{x}").unwrap().covers(path), covered, "{path}");
    }
}
