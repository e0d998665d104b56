//! What is printed: it does not drift from what the project ships, it means what was asked for, and bad input is named.

use super::plan::Plan;
use super::template::BOOTSTRAP;
use super::{Arguments, render, secrets};
use crate::check::{envoy_is_whole, value_of};
use clap::Parser;
use serde_json::{Value, json};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn plan(words: &[&str]) -> Result<Plan, String> {
    let line = Line::try_parse_from([&["envoy"], words].concat()).map_err(|error| error.to_string())?;
    Plan::of(&line.arguments).map_err(|error| error.to_string())
}

/// What is printed for this command line, for tests of others.
pub(crate) fn configuration(words: &[&str]) -> String {
    made(words).1
}

fn made(words: &[&str]) -> (Value, String) {
    let plan = plan(words).expect("a plan");
    let text = render::configuration(&plan).expect("the bootstrap has every block");
    envoy_is_whole(&text).expect("it has no hole");
    (value_of(&text).expect("YAML"), text)
}

const OUTBOUND: [&str; 6] = ["--at", "outbound", "--upstream", "http://127.0.0.1:8000/mcp", "--server", "notes"];

/// Every path at which two values differ.
fn differences(path: &str, one: &Value, other: &Value) -> Vec<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let null = Value::Null;
            keys.into_iter()
                .flat_map(|key| {
                    let value = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_else(|| null.clone());
                    differences(&format!("{path}.{key}"), &value(one), &value(other))
                })
                .collect()
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.flat_map(|(at, (one, other))| differences(&format!("{path}[{at}]"), one, other)).collect()
        }
        (one, other) if one == other => Vec::new(),
        _ => vec![path.to_owned()],
    }
}

#[test]
fn with_the_defaults_it_is_the_bootstrap_but_for_what_is_named_here() {
    let (value, text) = made(&[&OUTBOUND[..], &["--mode", "enforce"]].concat());
    let shipped = value_of(BOOTSTRAP).expect("the bootstrap");
    let manager = ".static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    let host = format!("{manager}.route_config.virtual_hosts[0].routes[0].route.host_rewrite_literal");
    assert_eq!(differences("", &value, &shipped), [host]);
    // Its reasons come along.
    for line in BOOTSTRAP.lines().skip(15).filter(|line| line.contains("# ")) {
        assert!(text.contains(line), "{line}");
    }
    let (observing, _) = made(&OUTBOUND);
    let plugin = format!("{manager}.http_filters[0].typed_config.config.configuration.value");
    assert_eq!(differences("", &observing, &value), [plugin]);
}

#[test]
fn what_observes_says_so_where_it_is_read() {
    let (_, text) = made(&OUTBOUND);
    assert!(text.contains("THIS GATE OBSERVES") && text.contains("agentgate enforce notes"), "{text}");
    let (_, text) = made(&[&OUTBOUND[..], &["--mode", "enforce"]].concat());
    assert!(!text.contains("OBSERVES"), "{text}");
}

#[test]
fn who_reads_it_where_it_runs_is_sent_to_no_source_file() {
    for more in [&["--filter", "wasm"], &["--filter", "ext-authz"]] {
        let (_, text) = made(&[&OUTBOUND[..], more].concat());
        assert!(!text.contains("/src/") && !text.contains(".rs"), "{text}");
    }
}

/// What the filter is told, from the configuration around it.
fn told(value: &Value) -> Value {
    let plugin = value
        .pointer("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config")
        .expect("the plugin");
    let text = plugin.pointer("/configuration/value").and_then(Value::as_str).expect("its configuration");
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn several_servers_have_a_route_and_a_cluster_each() {
    for at in ["outbound", "gateway"] {
        let words = ["--at", at, "--upstream", "notes=https://tools.example/mcp", "--upstream", "x=http://[::1]:9000"];
        let (value, text) = made(&[&words[..], &["--path", "x=/other", "--upstream-authority", "certs/tools.pem"]].concat());
        let routes = value
            .pointer("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes")
            .and_then(Value::as_array)
            .expect("routes");
        let read = |route: &Value| {
            ["/match/path", "/route/cluster", "/route/prefix_rewrite", "/route/host_rewrite_literal", "/route/timeout"]
                .map(|at| route.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned())
        };
        assert_eq!(
            routes.iter().map(read).collect::<Vec<_>>(),
            [
                ["/notes/mcp", "server-notes", "/mcp", "tools.example", "0s"].map(String::from),
                ["/other", "server-x", "/mcp", "[::1]:9000", "0s"].map(String::from),
            ]
        );
        let paths: Vec<Value> =
            told(&value)["routes"].as_array().expect("routes").iter().map(|route| route["path"].clone()).collect();
        assert_eq!(paths, [json!("/notes/mcp"), json!("/other")]);
        assert_eq!(told(&value)["unnamed_paths"], "refuse");
        let tls = value.pointer("/static_resources/clusters/0/transport_socket/typed_config").expect("TLS");
        assert_eq!(tls["sni"], "tools.example");
        let checked = &tls["common_tls_context"]["validation_context"];
        assert_eq!(checked["trusted_ca"]["filename"], "certs/tools.pem");
        assert_eq!(
            checked["match_typed_subject_alt_names"][0],
            json!({"san_type": "DNS", "matcher": {"exact": "tools.example"}})
        );
        assert_eq!(text.contains("The principal is configured."), at == "outbound", "{text}");
    }
}

#[test]
fn a_name_that_is_both_is_reached_over_ipv4_first() {
    let words = ["--at", "gateway", "--upstream", "a=http://localhost:8000", "--upstream", "b=http://127.0.0.1:8001"];
    let (value, _) = made(&[&words[..], &["--control-plane", "localhost:9443"]].concat());
    let clusters = value.pointer("/static_resources/clusters").and_then(Value::as_array).expect("clusters");
    let families: Vec<&Value> = clusters.iter().map(|cluster| &cluster["dns_lookup_family"]).collect();
    assert_eq!(families, ["V4_PREFERRED"; 3]);
}

#[test]
fn inbound_asks_callers_for_their_certificates_and_outbound_for_none() {
    let (value, _) = made(&["--at", "inbound", "--upstream", "http://127.0.0.1:8000/mcp", "--server", "notes"]);
    let tls = value.pointer("/static_resources/listeners/0/filter_chains/0/transport_socket/typed_config").expect("TLS");
    assert_eq!(tls["require_client_certificate"], true);
    let (value, _) = made(&OUTBOUND);
    assert!(value.pointer("/static_resources/listeners/0/filter_chains/0/transport_socket").is_none());
}

#[test]
fn the_control_plane_is_known_by_its_name_or_address() {
    for (at, sni, matcher) in [
        ("127.0.0.1:9443", json!("localhost"), json!({"san_type": "DNS", "matcher": {"exact": "localhost"}})),
        ("cp.example:1", json!("cp.example"), json!({"san_type": "DNS", "matcher": {"exact": "cp.example"}})),
        ("10.0.0.1:1", Value::Null, json!({"san_type": "IP_ADDRESS", "matcher": {"exact": "10.0.0.1"}})),
    ] {
        let (value, _) = made(&[&OUTBOUND[..], &["--control-plane", at]].concat());
        let tls = value.pointer("/static_resources/clusters/1/transport_socket/typed_config").expect("TLS");
        assert_eq!(tls.get("sni").cloned().unwrap_or_default(), sni, "{at}");
        let names = &tls["common_tls_context"]["combined_validation_context"]["default_validation_context"];
        assert_eq!(names["match_typed_subject_alt_names"][0], matcher, "{at}");
    }
}

#[test]
fn bad_input_is_refused_by_name() {
    let upstream = |url: &'static str| ["--at", "outbound", "--upstream", url, "--server", "notes"].to_vec();
    let two =
        |more: &[&'static str]| [&["--at", "gateway", "--upstream", "a=http://a", "--upstream", "b=http://b"][..], more].concat();
    for (words, said) in [
        (upstream("127.0.0.1:8000"), "has no scheme"),
        (upstream("http://a/mcp?x=1"), "carries a query"),
        (upstream("http://a:99999/mcp"), "is no port"),
        (upstream("http://127.0.0.1:10000/mcp"), "would call itself"),
        (upstream("http://localhost:10000/mcp"), "would call itself"),
        (vec!["--at", "outbound", "--upstream", "http://a"], "has no name"),
        (vec!["--at", "outbound", "--upstream", "http://a", "--server", "a b"], "is no server's name"),
        (vec!["--at", "outbound", "--upstream", "a=http://a", "--server", "a"], "NAME=URL"),
        (vec!["--at", "inbound", "--upstream", "a=http://a", "--upstream", "b=http://b"], "take --at gateway"),
        (vec!["--at", "outbound", "--upstream", "a=http://a", "--upstream", "http://b"], "has no name"),
        (
            vec!["--at", "gateway", "--upstream", "http://a", "--upstream", "http://b"],
            "has no name; of several each is written as --upstream NAME=http://a",
        ),
        (
            [upstream("http://a"), vec!["--principal", "spiffe://agentgate.local/agent/ci"]].concat(),
            "write `agent/ci`, the part behind the trust domain",
        ),
        (
            [upstream("http://a"), vec!["--principal", "spiffe://corp.example/agent/ci"]].concat(),
            "write `agent/ci`, the part behind the trust domain, and pass --trust-domain corp.example",
        ),
        ([upstream("http://a"), vec!["--node", "spiffe://agentgate.local/filter/edge"]].concat(), "write `edge`"),
        (vec!["--at", "gateway", "--upstream", "a=http://a", "--upstream", "a=http://b"], "two upstreams are named `a`"),
        (two(&["--path", "a=/x", "--path", "b=/X/"]), "overlap"),
        (two(&["--path", "/x"]), "write --path NAME=/x"),
        (two(&["--path", "c=/x"]), "there is no such upstream"),
        (two(&["--path", "a=/x", "--path", "a=/y"]), "is given twice"),
        (vec!["--at", "gateway", "--upstream", "a/b=http://a", "--upstream", "b=http://b"], "cannot be a part of a path"),
        ([upstream("http://a"), vec!["--listen", "0.0.0.0:1"]].concat(), "speaks as the agent"),
        ([upstream("http://a"), vec!["--listen", "here"]].concat(), "is no address to listen on"),
        ([upstream("http://a"), vec!["--admin", "0.0.0.0:1"]].concat(), "can stop the gate"),
        ([upstream("http://a"), vec!["--admin", "127.0.0.1:10000"]].concat(), "would both listen"),
        ([upstream("http://a"), vec!["--control-plane", "cp"]].concat(), "names no port"),
        ([upstream("http://a"), vec!["--trust-domain", "A b"]].concat(), "is no trust domain"),
        ([upstream("http://a"), vec!["--node", "a b"]].concat(), "cannot be part of an identity"),
        ([upstream("http://a"), vec!["--listener-key", "x"]].concat(), "--at outbound does not have"),
        ([upstream("http://a"), vec!["--upstream-authority", "x"]].concat(), "no upstream is `https://`"),
        ([upstream("http://a"), vec!["--wasm", "a\0b"]].concat(), "contains a NUL"),
    ] {
        let error = plan(&words).expect_err(said);
        assert!(error.contains(said), "{words:?}: {error}");
    }
}

#[test]
fn one_more_upstream_than_a_filter_takes_is_refused() {
    let many = |count: usize| {
        let upstreams = (0..count).flat_map(|n| ["--upstream".to_owned(), format!("s{n}=http://a")]);
        ["--at", "gateway"].map(String::from).into_iter().chain(upstreams).collect::<Vec<_>>()
    };
    let words = many(super::plan::UPSTREAMS_MAX);
    assert!(plan(&words.iter().map(String::as_str).collect::<Vec<_>>()).is_ok());
    let words = many(super::plan::UPSTREAMS_MAX + 1);
    let error = plan(&words.iter().map(String::as_str).collect::<Vec<_>>()).expect_err("one more");
    assert!(error.contains("more than the 256"), "{error}");
}

/// Characters that mean something to YAML, JSON, TOML, or to a careless template.
const AWKWARD: [&str; 24] = [
    "\n",
    "\"",
    "'",
    ": ",
    "#",
    " #",
    "{",
    "}",
    "[",
    "]",
    "|",
    "\\",
    "\t",
    "&a",
    "*a",
    "%",
    "!",
    "- ",
    "é",
    "漢",
    "\u{1f642}",
    "\u{85}",
    "TRUSTED",
    "\u{202e}",
];

#[test]
fn whatever_a_name_or_a_path_is_the_yaml_has_just_that_value() {
    let mut names = 0;
    for first in AWKWARD {
        for second in AWKWARD {
            let text = format!("{first}x{second}");
            let words = ["--at", "outbound", "--upstream", "https://127.0.0.1:8000/mcp", "--mode", "enforce"];
            let path = format!("certs/{text}.pem");
            let (wasm, authority) = (format!("--wasm={text}"), format!("--upstream-authority={path}"));
            let name = format!("--server={text}");
            let more = [name.as_str(), &wasm, &authority];
            let plain = ["--server=notes", &wasm, &authority];
            // A name may be refused; a path may not.
            let named = plan(&[&words[..], &more].concat());
            names += usize::from(named.is_ok());
            let words = [&words[..], if named.is_ok() { &more } else { &plain }].concat();
            let (value, _) = made(&words);
            let server = if named.is_ok() { text.as_str() } else { "notes" };
            assert_eq!(told(&value)["routes"][0]["server"], server);
            assert_eq!(value.pointer("/static_resources/clusters").and_then(Value::as_array).map(Vec::len), Some(2), "{text:?}");
            assert_eq!(
                value.pointer("/static_resources/clusters/0/transport_socket/typed_config/common_tls_context/validation_context/trusted_ca/filename"),
                Some(&json!(path))
            );
            let pair =
                plan(&[&OUTBOUND[..], &[&format!("--filter-certificate={path}"), &format!("--filter-key={text}")]].concat())
                    .expect("a plan");
            let filter = secrets::all(&pair).expect("the shipped secrets").remove(0);
            let secret = value_of(&filter.text).expect("YAML");
            assert_eq!(secret["resources"][0]["tls_certificate"]["certificate_chain"]["filename"], path);
            assert_eq!(secret["resources"][0]["tls_certificate"]["private_key"]["filename"], text);
        }
    }
    assert!(names > 100, "hardly any name was let through: {names}");
}

#[test]
fn the_control_planes_half_names_the_same_servers_and_who_calls() {
    let half = |words: &[&str]| super::part::control_plane(&plan(words).expect("a plan"));
    let text = half(&[&OUTBOUND[..], &["--node", "a1", "--principal", "agent/a1", "--trust-domain", "example.org"]].concat());
    assert!(text.contains("identity = \"spiffe://example.org/filter/a1\""), "{text}");
    assert!(text.contains("servers = [\"notes\"]") && text.contains("principal = \"spiffe://example.org/agent/a1\""), "{text}");
    let text = half(&["--at", "gateway", "--upstream", "b=http://b", "--upstream", "a=http://a"]);
    assert!(text.contains("servers = [\"a\", \"b\"]") && text.contains("peers = \"agentgate.local\""), "{text}");
}

#[test]
fn nothing_is_overwritten_unless_it_is_told_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let secrets = secrets::all(&plan(&OUTBOUND).expect("a plan")).expect("the shipped secrets");
    let write = |text: &str, force| super::write(directory.path(), text, &secrets, force);
    let read = || std::fs::read_to_string(directory.path().join("envoy.yaml")).expect("it is there");
    write("one", false).expect("nothing is there yet");
    assert_eq!(write("two", false).expect_err("it is there").exit, crate::failure::Exit::Refused);
    assert_eq!(read(), "one");
    write("two", true).expect("it is told to");
    assert_eq!(read(), "two");
    std::fs::remove_file(directory.path().join("envoy.yaml")).expect("it is there");
    assert!(write("three", false).is_err(), "a secret of this name is there");
    assert!(!directory.path().join("envoy.yaml").exists(), "nothing was written by half");
}

#[test]
fn a_certificate_of_another_name_is_told_with_the_option_that_mends_it() {
    use crate::authority::{Init, Issue, Validity, init, issue};
    use agentgate_core::time::Time;
    let validity = Validity { not_before: Time::from_micros(0), not_after: Time::from_micros(4_000_000_000_000_000) };
    let told = |domain: &str, name: &str, file: &str, words: &[&str], given: bool| {
        let directory = tempfile::tempdir().expect("a directory");
        let certs = directory.path().join("certs");
        init(&Init { directory: &certs, trust_domain: domain, validity, force: false }).expect("an authority");
        let issued = Issue { directory: &certs, name, dns: &[], ip: &[], validity, force: false };
        issue(&issued).expect("a certificate");
        std::fs::rename(certs.join(name.replace('/', "-") + ".pem"), certs.join(file)).expect("it is there");
        let plan = plan(&[&OUTBOUND[..], words].concat()).expect("a plan");
        super::own::amiss(&plan, directory.path(), given).unwrap_or_default()
    };
    let (local, corp) = ("agentgate.local", "corp.example");
    for (domain, name, file, words, said) in [
        (local, "filter/laptop", "filter-laptop.pem", &[][..], ""),
        (local, "filter/edge", "filter-edge.pem", &["--node", "edge"], ""),
        (local, "filter/edge", "filter-edge.pem", &[], "`filter-edge.pem` does (run it again with `--node edge --force`)"),
        (local, "filter/edge", "filter-edge.pem", &[], "or `agentgate authority issue filter/laptop --directory DIR`"),
        (corp, "filter/edge", "filter-edge.pem", &[], "`--node edge --trust-domain corp.example --force`"),
        (corp, "filter/laptop", "filter-laptop.pem", &[], "is the certificate of `spiffe://corp.example/filter/laptop`"),
        (corp, "filter/laptop", "filter-laptop.pem", &[], "run it again with `--trust-domain corp.example --force`"),
        (local, "agent/laptop", "filter-laptop.pem", &[], ": `agentgate authority issue filter/laptop"),
        // Nobody's mistake: it is not there yet.
        (local, "agent/laptop", "agent-laptop.pem", &[], ""),
    ] {
        let found = told(domain, name, file, words, false);
        assert!(found.contains(said) && found.is_empty() == said.is_empty(), "{name} as {file}: {found}");
    }
    let chosen = ["--filter-certificate", "certs/mine.pem"];
    assert_eq!(told(local, "filter/edge", "filter-edge.pem", &chosen, true), "", "the name of the file is the person's");
}

#[test]
fn an_envoy_is_asked_only_where_all_files_lie() {
    use super::validate::{Validated, ask, envoy};
    let directory = tempfile::tempdir().expect("a directory");
    let says = |script: &str| {
        let file = directory.path().join("envoy");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a script");
        let runs = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&file, runs).expect("a mode");
        ask(&file, "node: {}\n", directory.path(), &["envoy"])
    };
    assert!(matches!(says("exit 0"), Validated::By(_)));
    assert!(matches!(says("echo wrong >&2; exit 1"), Validated::Refused { said, .. } if said == "wrong"));
    let found = envoy(None, Some(directory.path().as_os_str())).expect("it is in this PATH");
    assert!(matches!(ask(&found, "", directory.path(), &["certs/a.pem"]), Validated::Not(why) if why.contains("certs/a.pem")));
    assert_eq!(envoy(None, Some(std::ffi::OsStr::new("/nowhere"))), None);
    assert!(matches!(ask(std::path::Path::new("/nowhere/envoy"), "", directory.path(), &[]), Validated::Not(_)));
}
