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
    say!("AgentGate in front of a server of notes, with a real MCP client:\n");
    Places::found()?.built()?;
    progress.say("an MCP server with notes in SQLite");
    let world = WorldPlan::notes(&[])?.start_saying(|what| progress.say(what))?;
    progress.say("an MCP client, through the gate\n");
    drive(&world)?;
    show(&as_wide_as_the_terminal(&world.stack.cli))?;
    drop(world);
    say!("Done in {:.1} s; everything was ended and removed. What to try next:", progress.elapsed().as_secs_f32());
    say!("  ./justw up           leaves it running, for your own agent, and prints its address");
    say!("  ./justw test         runs every test");
    say!("  policies/README.md   how the policy that decided this is written, and tried");
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
    say!("  what was called    and what the client was told\n");
    line("tools/list", "shown", "what may be called, or asked for", &names(&shown));
    for stop in stops() {
        visit(&mut client, &stop)?;
    }
    malformed(world)?;
    say!("");
    Ok(())
}

fn visit(client: &mut McpClient, stop: &Stop) -> Result<(), Broken> {
    let answer = client.call(stop.tool, &stop.arguments)?;
    let told = told(&answer).doing(format_args!("`{}` was answered {answer}", stop.tool))?;
    line(stop.tool, told.name(), stop.because, said(&answer));
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
    let told = answer.json();
    let refused = answer.status >= 400 || told.get("error").is_some() || told["result"]["isError"] == true;
    line("`name` twice", "malformed", "what two servers would read differently is not read", said(&told));
    if refused { Ok(()) } else { Err(Broken("the malformed call should have been refused".into())) }
}

/// The operator's side: every call with its verdict, and one denial in full.
fn show(cli: &Cli) -> Result<(), Broken> {
    say!("What the control plane has on record of it, newest first, and one denial in full:\n");
    say!("$ agentgate trace list\n{}", cli.text(&["trace", "list"])?);
    let listed = cli.json(&["trace", "list"])?;
    let traces = listed.as_array().or_else(|| listed["traces"].as_array()).doing("`trace list` prints a list")?;
    let denial = traces.iter().find(|trace| trace["verdict"] == "deny" && trace["target"] == "search_notes");
    let id =
        denial.and_then(|trace| trace["call_id"].as_str()).doing(format_args!("a denial is on record, not only {listed}"))?;
    say!("$ agentgate trace show {id}\n{}", cli.text(&["trace", "show", id])?);
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

fn said(answer: &Value) -> &str {
    answer["text"].as_str().or_else(|| answer["error"]["message"].as_str()).unwrap_or_default()
}

/// What was called, what became of it and why; below it what the client was told, in the 80 columns that every terminal has.
fn line(called: &str, became: &str, because: &str, said: &str) {
    say!("  {called:<17}  {became:<9}  {because}");
    for line in wrapped(said) {
        say!("  {:<17}  {line}", "");
    }
}

/// Broken between words; what is longer than an answer of ours is not shown whole.
fn wrapped(text: &str) -> Vec<String> {
    const COLUMNS: usize = 58;
    const LINES_MAX: usize = 5;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines.len() == LINES_MAX;
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() || line.chars().count() + 1 + word.chars().count() <= COLUMNS {
            *line += if line.is_empty() { "" } else { " " };
            *line += word;
        } else if full {
            *line += " …";
            break;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// It writes into a pipe here, and would take that for a wide one.
fn as_wide_as_the_terminal(cli: &Cli) -> Cli {
    let mut cli = cli.clone();
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    cli.environment.extend(size.ok().filter(|size| size.ws_col > 0).map(|size| ("COLUMNS", size.ws_col.to_string())));
    cli
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
