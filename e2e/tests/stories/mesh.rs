//! What Envoy itself must be told, and what the gate cannot prevent: the bootstrap that we ship is taken as it is and has no setting
//! that would multiply or bypass a verdict; with a mirror, which is not supported, an allowed call arrives twice and a refused one never.

use crate::wire::{CALL, REFUSED, RESULT, post, recording};
use agentgate_e2e::upstream::Reply;
use agentgate_e2e::{Edit, Plain, World, http1};
use serde_json::{Value, json};
use std::process::Command;

/// Each of these on a gated route makes of one verdict several executions, or of a gated route one that is not.
const FORBIDDEN: [&str; 8] = [
    "retry_policy",
    "retry_policy_typed_config",
    "hedge_policy",
    "request_mirror_policies",
    "internal_redirect_policy",
    "upgrade_configs",
    "typed_per_filter_config",
    "disabled",
];

/// Without each of these the gate is open or hangs; `docs/operating.md` says how.
fn required() -> Vec<(&'static str, Value)> {
    vec![
        ("failure_policy", json!("FAIL_RELOAD")),
        ("allow_on_headers_stop_iteration", json!(true)),
        ("normalize_path", json!(true)),
        ("merge_slashes", json!(true)),
        ("path_with_escaped_slashes_action", json!("REJECT_REQUEST")),
        ("headers_with_underscores_action", json!("REJECT_REQUEST")),
        ("timeout", json!("0s")),
        ("stream_idle_timeout", json!("300s")),
        ("per_connection_buffer_limit_bytes", json!(2_097_152)),
        ("max_retries", json!(0)),
        ("delayed_close_timeout", json!("0.050s")),
        ("request_headers_to_remove", json!(["x-original-url", "x-rewrite-url", "x-forwarded-uri"])),
    ]
}

#[test]
fn the_shipped_bootstrap_is_taken_as_it_is_and_multiplies_no_verdict() {
    let world = recording(|_| Reply::json(RESULT)).start().unwrap();
    let mut command = Command::new(&world.places.envoy);
    command.args(["--mode", "validate", "--disable-hot-restart", "-c"]).arg(world.places.bootstrap());
    // What it names relatively lies there.
    let output = command.current_dir(world.directory().join("gate")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let loaded = loaded(&world);
    assert_eq!(named(&loaded, &FORBIDDEN), Vec::<&str>::new());
    for (name, wanted) in required() {
        assert!(values(&loaded, name).contains(&&wanted), "`{name}` is {:?} and never {wanted}", values(&loaded, name));
    }
}

#[test]
fn a_mirror_is_not_supported_and_still_shows_nobody_a_refused_call() {
    let mirrored = |cluster: &str| format!("request_mirror_policies: [{{cluster: {cluster}}}]");
    let mut plan = recording(|_| Reply::json(RESULT));
    let route = "            timeout: 0s\n";
    let indent = " ".repeat(28);
    plan.stack.edits.push(Edit::new(route, format!("{route}{indent}{}\n", mirrored("server"))));
    let world = plan.start().unwrap();
    assert_eq!(named(&loaded(&world), &FORBIDDEN), ["request_mirror_policies"], "the look at the bootstrap would miss it");

    let upstream = world.upstream().unwrap();
    assert_eq!(world.http1(&post(CALL)).unwrap().text(), RESULT);
    upstream.until_arrived(2).unwrap();
    upstream.take();
    let refused = world.http1(&post(REFUSED)).unwrap();
    assert_eq!(upstream.take(), (vec![], vec![]), "{refused:?}");

    let route = "route: { cluster: tools, timeout: 0s }";
    let edit = Edit::new(route, route.replace("0s", &format!("0s, {}", mirrored("tools"))));
    let plain = Plain::edited(vec![edit], |_| Reply::json(RESULT)).unwrap();
    assert_eq!(http1::exchange(plain.address, &post(REFUSED)).unwrap().text(), RESULT);
    plain.upstream.until_arrived(2).unwrap();
}

/// The configuration as Envoy understood it.
fn loaded(world: &World) -> Value {
    let dump = http1::get(world.stack.envoy.admin(), "/config_dump").unwrap();
    serde_json::from_slice(&dump.body).unwrap()
}

/// Which of these names stand anywhere in it.
fn named<'a>(loaded: &Value, names: &[&'a str]) -> Vec<&'a str> {
    names.iter().copied().filter(|name| !values(loaded, name).is_empty()).collect()
}

/// Every value under this name, wherever it stands.
fn values<'a>(value: &'a Value, name: &str) -> Vec<&'a Value> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| (key == name).then_some(value).into_iter().chain(values(value, name))).collect()
        }
        Value::Array(items) => items.iter().flat_map(|item| values(item, name)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}
