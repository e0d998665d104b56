//! What a person is told once everything runs: where to point a client, and what to do next. It asks nobody anything.

use crate::client;
use crate::reached;
use crate::servers::{HttpServer, Servers, quoted};
use agentgate_e2e::{Broken, Doing};
use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Where `up` keeps everything: beside the justfile, from which the recipes run.
pub(crate) const DIRECTORY: &str = ".run";

/// What is enforced in this life, by orders of an earlier one.
pub(crate) const ENFORCED: &str = "enforced";

/// What a client's configuration becomes; only its owner may read it, since it may hold tokens.
const CLIENT_FILE: &str = "mcp.json";

/// The line that started what runs, or what ran last and has left something.
const LINE: &str = "up";

/// Written once everything serves: a line that never did is of no use.
pub(crate) fn keep_line(directory: &Path) -> Result<(), Broken> {
    let words: Vec<String> = env::args().skip(1).map(|word| quoted(&word)).collect();
    fs::write(directory.join(LINE), format!("./justw {}", words.join(" "))).doing("the line that starts it again")
}

pub(crate) fn line(directory: &Path) -> Option<String> {
    fs::read_to_string(directory.join(LINE)).ok()
}

/// As the first time, where the servers' names are in the client's file.
pub(crate) fn again(directory: &Path) -> Result<(), Broken> {
    if directory.join(CLIENT_FILE).exists() {
        say!("your client's configuration   {DIRECTORY}/{CLIENT_FILE}");
        say!("see what your agents do       source {DIRECTORY}/env && agentgate trace tail");
        return Ok(());
    }
    demo(directory)
}

pub(crate) fn demo(directory: &Path) -> Result<(), Broken> {
    let url = gate(directory)? + "/mcp";
    say!("point your MCP client at   {url}");
    say!("then see what it did       source {DIRECTORY}/env && agentgate trace tail");
    say!("change what is allowed     {DIRECTORY}/control-plane/policies/tools.yaml");
    say!("grant what waits for you   agentgate approve list");
    say!("end it                     ./justw down");
    Ok(())
}

pub(crate) fn own(directory: &Path, servers: &Servers) -> Result<(), Broken> {
    let gate = gate(directory)?;
    write_client(&directory.join(CLIENT_FILE), &client::behind(&gate, servers))?;
    let enforced = fs::read_to_string(directory.join(ENFORCED)).doing("what is enforced")?;
    if enforced.is_empty() {
        say!("AgentGate OBSERVES: it records what it would decide, and changes nothing until you say so.\n");
    } else {
        let enforced = enforced.replace('\n', ", ");
        say!("AgentGate ENFORCES what you ordered before: {enforced}. Everything else it observes.\n");
    }
    let width = servers.http.iter().map(|server| server.name.len()).max().unwrap_or_default();
    for HttpServer { name, url, .. } in &servers.http {
        say!("  {name:<width$}   point your client at {gate}/{name}\n  {:<width$}   which is {url}", "");
    }
    for url in reached::silent(servers.http.iter().map(|server| server.url.as_str())) {
        say!("  warning: nobody answers at {url} yet");
    }
    for (number, stdio) in (1..).zip(&servers.stdio) {
        let (name, bridge) = (&stdio.name, stdio.bridge(number));
        say!("  {name:<width$}   speaks stdio, where no gate can stand. Run it behind a bridge, put its URL into your file:");
        say!("  {:<width$}   {bridge}   (http://127.0.0.1:{}/mcp)", "", 8_100 + number);
    }
    for left_out in &servers.left_out {
        say!("  not behind the gate: {left_out}");
    }
    let policies = format!("{DIRECTORY}/control-plane/policies");
    let first = servers.http.first().map(|server| server.name.as_str()).unwrap_or_default();
    say!("\nyour client's configuration        {DIRECTORY}/{CLIENT_FILE}");
    say!("see what your agents do            source {DIRECTORY}/env && agentgate trace tail");
    say!("have your tool table proposed      agentgate policy learn --directory {policies} --write");
    say!("see whom that would refuse         agentgate policy impact --since 7d");
    say!("enforce it, and back               agentgate enforce {first}    agentgate observe {first}");
    say!("end it; policy and traces stay     ./justw down");
    Ok(())
}

fn gate(directory: &Path) -> Result<String, Broken> {
    fs::read_to_string(directory.join("ready")).doing("the gate's address")
}

/// Only its owner may read it.
fn write_client(path: &Path, text: &str) -> Result<(), Broken> {
    drop(fs::remove_file(path));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).doing(path.display())?;
    file.write_all(text.as_bytes()).doing(path.display())
}
