//! The input document as it is written down, and as it is.

use super::{FIELDS, Holds, document, document_of_list};
use crate::cases::kind_of;
use crate::engine::{Answer, Engine, INSTRUCTIONS_MAX};
use crate::folder;
use crate::{Bundle, Evaluator};
use agentgate_core::decide::{Facts, Verdict, settle};
use agentgate_core::endpoint::Endpoint;
use agentgate_core::id::{Asker, Handle, Principal, Server, Tenant};
use agentgate_core::json::{Json, Object};
use agentgate_core::mcp::{Malformed, Message, Method, Protocol, Version};
use agentgate_core::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const README: &str = include_str!("../../README.md");

pub(crate) fn facts(method: Method, target: Option<&str>, params: Option<Object>) -> Facts {
    Facts {
        at: Time::from_micros(1_795_374_352_123_999),
        tenant: Tenant::try_from("default").unwrap(),
        principal: Principal::try_from("spiffe://agentgate.local/agent/laptop+user:alice@https://idp.example").unwrap(),
        asker: Asker::try_from("spiffe://agentgate.local/filter/laptop").unwrap(),
        server: Server::try_from("notes").unwrap(),
        endpoint: Endpoint { path: "/mcp".to_owned(), ..Endpoint::default() },
        kill: None,
        grant: None,
        denied: None,
        reading: Ok(Message {
            protocol: Protocol::Mcp(Version::V2025_11_25),
            kind: kind_of(method),
            method,
            target: target.map(ToOwned::to_owned),
            params,
            handle: Some(Handle::try_from("h-1").unwrap()),
        }),
    }
}

/// The rows of the table in the README whose first column begins with `prefix`: its cells without backticks.
fn rows(prefix: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>();
    let all = README.lines().filter(|line| line.starts_with("| `")).map(cells);
    all.map(|cells| cells[1..cells.len() - 1].to_vec()).filter(|cells| cells[0].starts_with(prefix)).collect()
}

/// What a rule sees under `input`: the names, and the texts among the values.
fn seen(facts: &Facts, tools: Option<&[String]>) -> BTreeMap<String, Answer> {
    let message = facts.reading.as_ref().unwrap();
    let input = match tools {
        Some(tools) => document_of_list(facts, message, tools).unwrap(),
        None => document(facts, message).unwrap(),
    };
    let rego = vec![("rego/p.rego".to_owned(), "package p\nseen := input".to_owned())];
    let mut engine = Engine::new(&rego, crate::engine::Document::object([]), INSTRUCTIONS_MAX).unwrap();
    let Answer::Object(members) = engine.evaluate("data.p.seen", input).unwrap() else { panic!("`input` is no object") };
    members
}

/// All methods, each with everything it could have.
fn all() -> Vec<Facts> {
    Method::ALL
        .into_iter()
        .map(|method| facts(method, method.target_key().map(|_| "target"), Some(Object::default().with("name", "target"))))
        .collect()
}

#[test]
fn the_readme_names_the_fields_and_the_code_has_them() {
    let written: BTreeSet<String> = rows("input.").into_iter().map(|cells| cells[0].replace("input.", "")).collect();
    let known: BTreeSet<String> = FIELDS.iter().map(|field| field.name.to_owned()).collect();
    assert_eq!(written, known);
    let mut made: BTreeSet<String> = all().iter().flat_map(|facts| seen(facts, None).into_keys()).collect();
    assert!(!made.contains("list"));
    made.extend(seen(&facts(Method::ToolsList, None, None), Some(&["a".to_owned()])).into_keys());
    assert_eq!(made, known);
}

#[test]
fn the_readme_says_when_a_field_is_there() {
    for cells in rows("input.") {
        let (name, when) = (cells[0].replace("input.", ""), cells[2].as_str());
        let methods: Vec<&str> = when.split(", ").collect();
        for facts in all() {
            let method = facts.reading.as_ref().unwrap().method.name();
            let wanted = match when {
                "always" | "when there was one" | "when there is one" | "when the message has it" => true,
                "only where hidden is asked for" => false,
                _ => methods.contains(&method),
            };
            assert_eq!(seen(&facts, None).contains_key(&name), wanted, "{name} of {method}");
        }
    }
}

#[test]
fn the_document_says_what_the_facts_say() {
    let arguments = Object::default().with("id", 7).with("deep", vec![Json::Null, Json::Bool(true)]);
    let params = Object::default().with("name", "read_note").with("arguments", arguments);
    let document = seen(&facts(Method::ToolsCall, Some("read_note"), Some(params)), None);
    for (name, text) in [
        ("at", "2026-11-22T19:05:52.123Z"),
        ("tenant", "default"),
        ("principal", "spiffe://agentgate.local/agent/laptop+user:alice@https://idp.example"),
        ("agent", "spiffe://agentgate.local/agent/laptop"),
        ("user", "alice"),
        ("issuer", "https://idp.example"),
        ("asker", "spiffe://agentgate.local/filter/laptop"),
        ("server", "notes"),
        ("protocol_version", "2025-11-25"),
        ("kind", "request"),
        ("method", "tools/call"),
        ("handle", "h-1"),
        ("tool", "read_note"),
    ] {
        assert_eq!(document[name], Answer::Text(text.to_owned()), "{name}");
    }
    let Answer::Object(arguments) = &document["arguments"] else { panic!() };
    assert_eq!(arguments.keys().collect::<Vec<_>>(), ["deep", "id"]);
}

#[test]
fn an_agent_and_a_user_are_seen_where_they_are() {
    for (principal, wanted) in [
        ("spiffe://a/x", vec!["agent", "principal"]),
        ("user:alice@idp", vec!["issuer", "principal", "user"]),
        ("spiffe://a/x+user:alice@idp", vec!["agent", "issuer", "principal", "user"]),
    ] {
        let mut facts = facts(Method::Ping, None, None);
        facts.principal = Principal::try_from(principal).unwrap();
        let names =
            seen(&facts, None).into_keys().filter(|name| ["agent", "issuer", "principal", "user"].contains(&name.as_str()));
        assert_eq!(names.collect::<Vec<_>>(), wanted, "{principal}");
    }
}

#[test]
fn what_is_absent_is_absent() {
    let mut bare = facts(Method::ToolsCall, Some("a"), None);
    bare.reading.as_mut().unwrap().handle = None;
    let document = seen(&bare, None);
    assert!(!document.contains_key("handle") && !document.contains_key("params") && !document.contains_key("prompt"));
    assert_eq!(document["arguments"], Answer::Object(BTreeMap::new()));
}

#[test]
fn arguments_of_another_type_are_seen_as_they_are() {
    let params = Object::default().with("arguments", vec![Json::from("password")]);
    let document = seen(&facts(Method::ToolsCall, Some("search_notes"), Some(params)), None);
    assert_eq!(document["arguments"], Answer::Other("an array"));
}

#[test]
fn every_field_is_what_the_lint_takes_it_for() {
    let called = facts(Method::ToolsCall, Some("a"), Some(Object::default()));
    let document = seen(&called, None);
    for field in FIELDS {
        let below = matches!(document.get(field.name), Some(Answer::Object(_)));
        assert!(!below || field.holds == Holds::Anything, "{}", field.name);
    }
}

#[test]
fn the_readme_says_what_the_default_policy_answers_to_each_method() {
    let folder = folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("default")).unwrap();
    let mut evaluator = Evaluator::new(&Bundle::load(folder).unwrap()).unwrap();
    let mut written: BTreeMap<String, (String, String)> = BTreeMap::new();
    for cells in rows("").into_iter().filter(|cells| Method::ALL.iter().any(|method| method.name() == cells[0])) {
        let answer = (cells[1].clone(), cells[2].clone());
        assert!(written.insert(cells[0].clone(), answer).is_none(), "{cells:?} is there twice");
    }
    let section = README.split("## ").find(|section| section.starts_with("What the default policy says")).unwrap();
    assert_eq!(section.lines().filter(|line| line.starts_with("| `")).count(), written.len(), "a row that is no method");
    let (answer, rules) = written.remove("tools/call").unwrap();
    assert_eq!(answer, "by the tool table");
    let mut met = BTreeSet::new();
    for tool in ["read_note", "add_note", "delete_note", "nowhere"] {
        let facts = facts(Method::ToolsCall, Some(tool), None);
        met.insert(settle(&facts, Ok(&evaluator.opinion(&facts).unwrap())).rule.to_string());
    }
    assert_eq!(met, rules.split(", ").map(ToOwned::to_owned).collect());
    for facts in all() {
        let method = facts.reading.as_ref().unwrap().method;
        if method == Method::ToolsCall {
            continue;
        }
        let decision = settle(&facts, Ok(&evaluator.opinion(&facts).unwrap()));
        let answer = match decision.verdict {
            Verdict::Allow(_) => "allow",
            Verdict::Pending => "pending",
            Verdict::Deny(_) => "refuse",
        };
        let came = (answer.to_owned(), decision.rule.to_string());
        assert_eq!(written.remove(method.name()), Some(came), "{}", method.name());
    }
}

#[test]
fn what_could_not_be_read_has_no_opinion_and_no_list() {
    let folder = folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("default")).unwrap();
    let mut evaluator = Evaluator::new(&Bundle::load(folder).unwrap()).unwrap();
    let mut facts = facts(Method::ToolsList, None, None);
    facts.reading = Err(Malformed::Json(agentgate_core::json::Fault::NotJson));
    assert_eq!(evaluator.opinion(&facts), Ok(Default::default()));
    assert!(matches!(settle(&facts, Ok(&evaluator.opinion(&facts).unwrap())).verdict, Verdict::Deny(_)));
    assert!(evaluator.hidden(&facts, &["read_note".to_owned()]).is_err());
}
