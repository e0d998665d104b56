//! `try`: one call of every kind through the gate, and what the control plane has on record of them.
//! It fails when a verdict is not the one that the default policy promises.
#![expect(clippy::indexing_slicing, reason = "only JSON values are indexed, by name, and an absent one is null")]

use crate::progress::Progress;
use agentgate_e2e::{Broken, Cli, Doing, McpClient, Mode, Places, World, WorldPlan, http1};
use serde_json::{Value, json};

/// What the client should be told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Answer,
    Pending,
    Denied,
}

/// One stop of the tour.
struct Stop {
    tool: &'static str,
    arguments: Value,
    told: Told,
    because: &'static str,
}

/// Two members of one name: servers disagree on which counts, so the gate reads neither.
const TWO_NAMES: &str = r#"{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
  "name": "list_notes", "name": "delete_note", "arguments": {"id": 1},
  "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}}"#;

pub(crate) fn run() -> Result<(), Broken> {
    let progress = Progress::begin();
    println!("AgentGate in front of a server of notes, with a real MCP client:\n");
    Places::found()?.built()?;
    progress.say("an MCP server with notes in SQLite");
    let world = WorldPlan::notes(&[])?.start_saying(|what| progress.say(what))?;
    progress.say("an MCP client, through the gate\n");
    drive(&world)?;
    show(&world.stack.cli)?;
    drop(world);
    println!("Done in {:.1} s; everything was ended and removed. What to try next:", progress.elapsed().as_secs_f32());
    println!("  ./justw up      leaves it running and prints the address to point your own agent at");
    println!("  ./justw test    runs every test");
    println!("  policies/README.md says how the policy that decided this is written, and how to try an edit of it");
    Ok(())
}

fn stops() -> [Stop; 6] {
    let stop = |tool, arguments, told, because| Stop { tool, arguments, told, because };
    [
        stop("list_notes", json!({}), Told::Answer, "reading is open"),
        stop("read_note", json!({"id": 1}), Told::Answer, "reading is open"),
        stop("search_notes", json!({"query": "gate"}), Told::Answer, "searching is open"),
        stop("add_note", json!({"title": "hello", "text": "from the tour"}), Told::Pending, "writing needs an approval"),
        stop("drop_everything", json!({}), Told::Denied, "nobody knows this tool"),
        stop("search_notes", json!({"query": "password list"}), Told::Denied, "this argument is forbidden"),
    ]
}

fn drive(world: &World) -> Result<(), Broken> {
    let mut client = world.client(Mode::Auto)?;
    let shown = client.tools()?;
    println!("  tools/list                  shown     {}", names(&shown));
    for stop in stops() {
        visit(&mut client, &stop)?;
    }
    malformed(world)?;
    println!();
    Ok(())
}

fn visit(client: &mut McpClient, stop: &Stop) -> Result<(), Broken> {
    let answer = client.call(stop.tool, &stop.arguments)?;
    let told = told(&answer).doing(format_args!("`{}` was answered {answer}", stop.tool))?;
    println!("  {:<27} {:<9} {}: {}", stop.tool, told.name(), stop.because, first_line(&answer));
    if told == stop.told { Ok(()) } else { Err(Broken(format!("`{}` should have been {}", stop.tool, stop.told.name()))) }
}

fn malformed(world: &World) -> Result<(), Broken> {
    let headers: [(&str, &[u8]); 6] = [
        ("content-type", b"application/json"),
        ("accept", b"application/json, text/event-stream"),
        ("mcp-protocol-version", b"2026-07-28"),
        ("mcp-method", b"tools/call"),
        ("mcp-name", b"list_notes"),
        ("connection", b"close"),
    ];
    let answer = world.http1(&http1::request("POST", "/mcp", &headers, TWO_NAMES.as_bytes()))?;
    let said = answer.json();
    let refused = answer.status >= 400 || said.get("error").is_some() || said["result"]["isError"] == true;
    println!(
        "  raw bytes, `name` twice     malformed what two servers read differently is not read: {}",
        shorten(&answer.text())
    );
    if refused { Ok(()) } else { Err(Broken("the malformed call should have been refused".into())) }
}

/// The operator's side: every call with its verdict, and one denial in full.
fn show(cli: &Cli) -> Result<(), Broken> {
    println!("$ agentgate trace list\n{}", cli.text(&["trace", "list"])?);
    let listed = cli.json(&["trace", "list"])?;
    let traces = listed.as_array().or_else(|| listed["traces"].as_array()).doing("`trace list` prints a list")?;
    let denial = traces.iter().find(|trace| trace["verdict"] == "deny" && trace["target"] == "search_notes");
    let id =
        denial.and_then(|trace| trace["call_id"].as_str()).doing(format_args!("a denial is on record, not only {listed}"))?;
    println!("$ agentgate trace show {id}\n{}", cli.text(&["trace", "show", id])?);
    Ok(())
}

fn told(answer: &Value) -> Option<Told> {
    let verdict = answer["meta"]["agentgate/verdict"]["verdict"].as_str();
    match (verdict, answer["is_error"].as_bool(), answer["error"]["code"].as_i64()) {
        (None, Some(false), _) => Some(Told::Answer),
        (Some("pending"), _, _) | (_, _, Some(428)) => Some(Told::Pending),
        (Some("deny"), _, _) | (_, _, Some(403)) => Some(Told::Denied),
        _ => None,
    }
}

fn first_line(answer: &Value) -> String {
    let text = answer["text"].as_str().or_else(|| answer["error"]["message"].as_str());
    shorten(text.unwrap_or_default())
}

fn shorten(text: &str) -> String {
    const SHOWN_MAX: usize = 72;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= SHOWN_MAX { line.into() } else { line.chars().take(SHOWN_MAX).chain(['…']).collect() }
}

fn names(shown: &Value) -> String {
    let tools = shown["tools"].as_array();
    tools.map(|tools| tools.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}

// === impl Told ===

impl Told {
    const fn name(self) -> &'static str {
        match self {
            Self::Answer => "allowed",
            Self::Pending => "pending",
            Self::Denied => "denied",
        }
    }
}
