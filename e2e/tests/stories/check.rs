//! `agentgate check` on a whole AgentGate that runs: nothing to find by file and by admin port, and each hole found in Envoy's own file.

use crate::wire::{RESULT, recording};
use agentgate_e2e::upstream::Reply;
use agentgate_e2e::{Edit, Stranger, World};
use serde_json::Value;
use std::fs;
use std::process::Output;

/// An edit of the file that this world's Envoy was started with, and the hole that it makes. Envoy would take each of them.
const HOLES: [(&str, &str, &str); 12] = [
    (
        "gate_disabled",
        "                  - name: agentgate\n",
        "                  - name: agentgate\n                    disabled: true\n",
    ),
    ("fail_open", "failure_policy: FAIL_RELOAD", "failure_policy: FAIL_OPEN"),
    ("headers_stop", "allow_on_headers_stop_iteration: true", "allow_on_headers_stop_iteration: false"),
    ("retries", "include_request_attempt_count: false", "retry_policy: {retry_on: 5xx}"),
    (
        "mirror",
        "            timeout: 0s\n",
        "            timeout: 0s\n                            request_mirror_policies: [{cluster: server}]\n",
    ),
    (
        "internal_redirect",
        "            timeout: 0s\n",
        "            timeout: 0s\n                            internal_redirect_policy: {}\n",
    ),
    ("underscores", "headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW"),
    (
        "admin_open",
        "address: {socket_address: {address: 127.0.0.1, port_value: 0}}  # ADMIN",
        "address: {socket_address: {address: 0.0.0.0, port_value: 0}}  # ADMIN",
    ),
    (
        "control_plane_unnamed",
        "                match_typed_subject_alt_names:\n                  - san_type: DNS\n                    matcher: {exact: localhost}\n",
        "                trust_chain_verification: VERIFY_TRUST_CHAIN\n",
    ),
    (
        "filter_nameless",
        "            tls_certificate_sds_secret_configs:\n              - name: filter\n                sds_config:\n                  \
         path_config_source:\n                    path: sds/filter.yaml\n                    watched_directory: {path: sds}\n",
        "",
    ),
    ("control_plane_routed", "                            cluster: server\n", "                            cluster: agentgate\n"),
    ("route_by_changed", "                            cluster: server\n", "                            cluster_header: x-team\n"),
];

fn check(world: &World, words: &[&str]) -> (Output, Value) {
    let output = world.stack.cli.run(&[&["check"], words, &["--output", "json"]].concat()).unwrap();
    let found = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, found)
}

fn named(found: &Value) -> Vec<&str> {
    found["findings"].as_array().unwrap().iter().filter_map(|finding| finding["check"].as_str()).collect()
}

fn world() -> World {
    recording(|_| Reply::json(RESULT)).start().unwrap()
}

#[test]
fn a_running_gate_has_no_hole_by_its_file_and_by_its_admin_port() {
    let world = world();
    let file = world.directory().join("gate/envoy.yaml").display().to_string();
    let admin = format!("http://{}", world.stack.envoy.admin());
    let directory = world.directory().join("gate").display().to_string();
    for (words, unseen) in [(vec!["--envoy-config", &file], 1), (vec!["--envoy-admin", &admin, "--directory", &directory], 0)] {
        let (output, found) = check(&world, &words);
        assert_eq!(output.status.code(), Some(0), "{found:#}");
        assert_eq!((found["holes"].as_u64(), named(&found)), (Some(0), vec![]), "{found:#}");
        assert_eq!(found["unseen"].as_array().unwrap().len(), unseen, "{found:#}");
    }
}

#[test]
fn each_hole_in_envoys_own_file_is_found_and_ends_with_1() {
    let world = world();
    let gate = world.directory().join("gate");
    let text = fs::read_to_string(gate.join("envoy.yaml")).unwrap();
    let file = gate.join("edited.yaml");
    for (hole, from, to) in HOLES {
        assert!(text.contains(from), "{hole}: `{from}`");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let (output, found) = check(&world, &["--envoy-config", &file.display().to_string()]);
        assert_eq!(output.status.code(), Some(1), "{hole}: {found:#}");
        assert!(named(&found).contains(&hole), "{hole}: {found:#}");
        // A real Envoy takes it: nobody else would have said a word.
        let validated = std::process::Command::new(&world.places.envoy)
            .args(["--mode", "validate", "--disable-hot-restart", "-c"])
            .arg(&file)
            .current_dir(&gate)
            .output()
            .unwrap();
        assert!(validated.status.success(), "{hole}: {}", String::from_utf8_lossy(&validated.stderr));
    }
}

#[test]
fn without_a_control_plane_it_says_what_it_did_not_see() {
    let world = world();
    let file = world.directory().join("gate/envoy.yaml").display().to_string();
    let mut cli = world.stack.cli.clone();
    cli.environment.clear();
    let text = cli.text(&["check", "--envoy-config", &file]).unwrap();
    assert!(text.contains("not seen   the control plane") && text.contains("0 holes"), "{text}");
    let nobody = cli.run(&["check", "--envoy-admin", "http://127.0.0.1:1"]).unwrap();
    assert_eq!(nobody.status.code(), Some(3), "{nobody:?}");
}

#[test]
fn a_gate_that_observes_and_is_turned_away_is_a_hole_beside_an_order_that_enforces() {
    let mut plan = recording(|_| Reply::json(RESULT));
    let route = r#""path": "/mcp", "server": "notes" }"#;
    plan.stack.edits.push(Edit::new(route, r#""path": "/mcp", "server": "notes", "mode": "observe" }"#));
    plan.stack.stranger = Some(Stranger { name: "filter/unknown", options: &[], foreign: false });
    let world = plan.start().unwrap();
    world.stack.cli.text(&["enforce", "notes", "--yes"]).unwrap();
    let admin = format!("http://{}", world.stack.envoy.admin());
    let directory = world.directory().join("gate").display().to_string();
    let (output, found) = check(&world, &["--envoy-admin", &admin, "--directory", &directory]);
    assert_eq!(output.status.code(), Some(1), "{found:#}");
    let names = named(&found);
    assert!(names.contains(&"observes_unheard"), "{found:#}");
    assert!(!names.contains(&"observes") && !names.contains(&"enforced_by_order"), "one sentence of one route: {found:#}");
}

#[test]
fn what_looks_at_nothing_is_no_success_and_certificates_alone_are_no_gate() {
    let world = world();
    let empty = world.directory().join("empty");
    fs::create_dir(&empty).unwrap();
    let nowhere = empty.join("nowhere").display().to_string();
    // A control plane that answers makes no difference.
    for (words, code) in [(vec!["check"], 2), (vec!["check", "--directory", &nowhere], 5)] {
        let output = world.stack.cli.run(&words).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{output:?}");
    }
    let certs = world.directory().join("gate/certs").display().to_string();
    let text = world.stack.cli.text(&["check", "--directory", &certs]).unwrap();
    for said in ["seen ", " certificates in ", "1 filter", "0 holes", "no gate was looked at"] {
        assert!(text.contains(said), "{said} in {text}");
    }
}
