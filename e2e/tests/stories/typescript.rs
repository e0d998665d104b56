//! The official MCP server and command-line client in TypeScript, behind the gate and through it: what the client prints is what the server
//! said, or the verdict with its reason, and the trace has every message of it. The same calls without the gate are all carried out.

use agentgate_e2e::{Broken, Doing, Mode, Places, Process, World, WorldPlan, eventually};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

/// How the inspector ends when a call was answered with an error, or when it does not know the tool.
const TOOL_FAILED: i32 = 5;

/// One call, and what becomes of it.
struct Case {
    tool: &'static str,
    arguments: Value,
    verdict: &'static str,
    rule: &'static str,
}

/// The inspector, about to visit one address. Each command is a visit of its own.
struct Inspector<'a> {
    world: &'a World,
    address: SocketAddr,
    /// As `--protocol-era` takes it.
    era: &'static str,
}

#[test]
fn typescripts_client_and_server_are_gated() {
    let (_server, world) = everything().unwrap();
    let gated = Inspector { world: &world, address: world.stack.gate, era: "legacy" };
    let tools = gated.tools().unwrap();
    assert_eq!(tools, ["echo", "get-sum", "toggle-simulated-logging", "trigger-long-running-operation"]);
    every_message_of_a_visit_is_on_record(&world);

    let case = |tool, arguments, verdict, rule| Case { tool, arguments, verdict, rule };
    let slow = json!({"duration": 0.3, "steps": 3});
    check(&gated, &case("echo", json!({"message": "milk"}), "allow", "tool_open"), "Echo: milk");
    check(&gated, &case("trigger-long-running-operation", slow, "allow", "tool_open"), "Long running operation completed");
    check(&gated, &case("echo", json!({"message": "my Password"}), "deny", "forbidden_echo"), "Echo: my Password");
    check(&gated, &case("toggle-simulated-logging", json!({}), "pending", "tool_gated"), "Started simulated");
    a_tool_that_is_not_shown_is_not_even_called(&gated);
}

#[test]
fn typescripts_client_is_gated_in_the_era_without_sessions() {
    let world = World::notes().unwrap();
    let gated = Inspector { world: &world, address: world.stack.gate, era: "modern" };
    assert_eq!(gated.tools().unwrap(), ["list_notes", "read_note", "search_notes", "add_note", "send_note", "slow_report"]);
    let case = |tool, arguments, verdict, rule| Case { tool, arguments, verdict, rule };
    check(&gated, &case("slow_report", json!({}), "allow", "tool_open"), "3 notes");
    check(&gated, &case("search_notes", json!({"query": "password"}), "deny", "forbidden_query"), "");
    check(&gated, &case("send_note", json!({"id": 1, "to": "a@example.com"}), "pending", "tool_gated"), "");
}

/// The inspector prints results alone: whether events pass one by one is for a client to see that counts them.
#[test]
fn progress_of_typescripts_server_comes_before_its_result() {
    let (_server, world) = everything().unwrap();
    let arguments = json!({"duration": 0.3, "steps": 3});
    let answer = world.client(Mode::Auto).unwrap().call("trigger-long-running-operation", &arguments).unwrap();
    assert_eq!((&answer["progress"], &answer["is_error"]), (&json!([1.0, 2.0, 3.0]), &json!(false)), "{answer}");
}

/// `done`: how the server answers it when it is carried out.
fn check(gated: &Inspector<'_>, case: &Case, done: &str) {
    let (tool, arguments) = (case.tool, &case.arguments);
    let (code, answer) = gated.call(tool, arguments).unwrap();
    let (result, told) = (&answer["result"], &answer["result"]["_meta"]["agentgate/verdict"]);
    let trace = gated.world.newest_trace(tool).unwrap();
    assert_eq!((&trace["verdict"], &trace["rule"]), (&json!(case.verdict), &json!(case.rule)), "{tool}: {trace}");
    if case.verdict == "allow" {
        assert_eq!((code, told), (0, &Value::Null), "{tool}: {answer}");
        assert!(text(result).starts_with(done), "{tool}: {answer}");
    } else {
        assert_eq!(
            (code, &told["verdict"], &told["call_id"]),
            (TOOL_FAILED, &trace["verdict"], &trace["call_id"]),
            "{tool}: {answer}"
        );
        assert!(text(result).contains(case.rule), "{tool}: the model is not told why: {answer}");
    }
    let without = Inspector { address: gated.world.tool_server(), ..*gated };
    let (code, answer) = without.call(tool, arguments).unwrap();
    assert!(code == 0 && text(&answer["result"]).starts_with(done), "without the gate: {tool}: {answer}");
}

/// The inspector looks for the tool in the list before it calls it.
fn a_tool_that_is_not_shown_is_not_even_called(gated: &Inspector<'_>) {
    for tool in ["get-env", "get-tiny-image"] {
        let (code, answer) = gated.call(tool, &json!({})).unwrap();
        assert_eq!((code, answer), (TOOL_FAILED, Value::Null), "{tool}");
        assert!(gated.world.newest_trace(tool).is_err(), "{tool}");
        let without = Inspector { address: gated.world.tool_server(), ..*gated };
        assert_eq!(without.call(tool, &json!({})).unwrap().0, 0, "without the gate: {tool}");
    }
}

/// A visit that only listed tools: the handshake, the session's stream, the level of its logs and the list, under one handle.
fn every_message_of_a_visit_is_on_record(world: &World) {
    let traces = eventually("the visit is on record", || {
        let traces = world.traces().ok()?;
        let of_visit = traces.iter().filter(|trace| !trace["handle"].is_null());
        let mut methods: Vec<String> = of_visit.filter_map(|trace| Some(trace["method"].as_str()?.to_owned())).collect();
        methods.sort_unstable();
        methods.dedup();
        (methods == ["logging/setLevel", "notifications/initialized", "open", "tools/list"]).then_some(traces)
    });
    let traces = traces.unwrap();
    assert!(traces.iter().any(|trace| trace["method"] == "initialize"), "{traces:?}");
    assert!(traces.iter().all(|trace| trace["verdict"] == "allow"), "{traces:?}");
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

// === impl Inspector ===

impl Inspector<'_> {
    /// The names of the tools that it was shown.
    fn tools(&self) -> Result<Vec<String>, Broken> {
        let output = self.visit(&["--method", "tools/list"])?;
        let listed: Value = serde_json::from_slice(&output.stdout).doing(String::from_utf8_lossy(&output.stderr))?;
        let tools = listed["result"]["tools"].as_array().doing(format_args!("{listed} is a list"))?;
        Ok(tools.iter().filter_map(|tool| Some(tool["name"].as_str()?.to_owned())).collect())
    }

    /// How it ended, and what it printed; null: nothing.
    fn call(&self, tool: &str, arguments: &Value) -> Result<(i32, Value), Broken> {
        let arguments = arguments.to_string();
        let output = self.visit(&["--method", "tools/call", "--tool-name", tool, "--tool-args-json", &arguments])?;
        let code = output.status.code().doing("the inspector ends by itself")?;
        if output.stdout.is_empty() {
            return Ok((code, Value::Null));
        }
        Ok((code, serde_json::from_slice(&output.stdout).doing(String::from_utf8_lossy(&output.stderr))?))
    }

    fn visit(&self, options: &[&str]) -> Result<Output, Broken> {
        let places = &self.world.places;
        let mut command = places.node()?;
        command.arg(places.package("@modelcontextprotocol/inspector/clients/launcher/build/index.js"));
        command.args(["--cli", "--transport", "http", "--format", "json", "--protocol-era", self.era, "--server-url"]);
        command.arg(format!("http://{}/mcp", self.address)).args(options);
        // It keeps notes of its own in the home directory.
        command.env("HOME", self.world.directory()).output().doing("the inspector")
    }
}

// --- the server

/// Server-everything behind the gate, under a policy of its own.
fn everything() -> Result<(Process, World), Broken> {
    let mut server = None;
    let mut plan = WorldPlan::own(|places, directory| {
        let (process, address) = serve(places, directory)?;
        server = Some(process);
        Ok(address)
    })?;
    plan.stack.server = "everything";
    plan.stack.policies = Some("e2e/policies/typescript".into());
    let world = plan.start()?;
    Ok((server.doing("server-everything runs")?, world))
}

fn serve(places: &Places, directory: &Path) -> Result<(Process, SocketAddr), Broken> {
    let ready = directory.join("everything-port");
    let mut command = places.node()?;
    command.arg("--import").arg(places.peer("typescript/loopback.mjs")).env("READY_FILE", &ready);
    command.arg(places.package("@modelcontextprotocol/server-everything/dist/index.js")).arg("streamableHttp");
    let mut process = Process::start("server-everything", command, &directory.join("everything.log"))?;
    let port: u16 = process.until("it listens", || fs::read_to_string(&ready).ok()?.parse().ok())?;
    Ok((process, SocketAddr::from(([127, 0, 0, 1], port))))
}
