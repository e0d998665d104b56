//! What `up` leaves in the background: everything, supervised, until somebody says that it is enough.

use crate::told::{DIRECTORY, ENFORCED};
use agentgate_e2e::{Broken, Cli, Doing, Notes, Places, Plan, Ports, Stack};
use serde_json::Value;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) fn run(ports: Ports, servers: &[String]) -> Result<(), Broken> {
    let directory = fs::canonicalize(DIRECTORY).doing(DIRECTORY)?;
    let lock = File::create(directory.join("lock")).doing("the lock")?;
    lock.try_lock().doing("the lock")?;
    fs::write(directory.join("pid"), std::process::id().to_string()).doing("the process id")?;

    let places = Places::found()?;
    let named = |server: &String| server.split_once('=').map(|(name, url)| (name.to_owned(), url.to_owned()));
    let servers: Vec<(String, String)> = servers.iter().filter_map(named).collect();
    let mut plan = Plan { ports, valid_for: "30d", ..Plan::new(SocketAddr::from(([127, 0, 0, 1], 0))) };
    // Held for its end: the demo's server lives as long as the gate.
    let _notes = if servers.is_empty() {
        let notes = Notes::start(&places, &directory.join("notes"), &[])?;
        plan.upstream = notes.address;
        Some(notes)
    } else {
        plan.policies = Some("policies/start".into());
        plan.servers = servers;
        None
    };
    let mut stack = Stack::start(&places, &directory, &plan, |_| ())?;
    fs::write(directory.join("env"), environment(&places, &stack.cli)).doing("the environment")?;
    fs::write(directory.join(ENFORCED), enforced(&stack.cli)?).doing("what is enforced")?;
    announce(&directory, &format!("http://{}", stack.gate))?;
    wait()?;
    stack.envoy.end()?;
    stack.control_plane.end()
}

/// What an earlier life was ordered to enforce, one a line: the journal remembers it.
fn enforced(cli: &Cli) -> Result<String, Broken> {
    let listed = cli.json(&["mode", "list"])?;
    let orders = listed.get("modes").and_then(Value::as_array).cloned().unwrap_or_default();
    let word = |order: &Value, name: &str| order.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let enforced = orders.iter().filter(|order| word(order, "mode") == "enforce").map(|order| {
        let (server, tool) = (word(order, "server"), word(order, "tool"));
        if tool.is_empty() { server } else { format!("{server}/{tool}") }
    });
    Ok(enforced.collect::<Vec<_>>().join("\n"))
}

/// Written aside and renamed, so that nobody reads half of it.
fn announce(directory: &Path, url: &str) -> Result<(), Broken> {
    let unfinished = directory.join("ready.tmp");
    fs::write(&unfinished, url).doing(unfinished.display())?;
    fs::rename(&unfinished, directory.join("ready")).doing("the ready file")
}

/// For `source`: the CLI in the path, and whom it asks as whom.
fn environment(places: &Places, cli: &Cli) -> String {
    let programs = places.agentgate.parent().unwrap_or(Path::new("."));
    let path = format!("export PATH=\"{}:$PATH\"\n", programs.display());
    cli.environment.iter().fold(path, |all, (name, value)| all + &format!("export {name}='{value}'\n"))
}

fn wait() -> Result<(), Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("a runtime")?;
    runtime.block_on(async {
        let mut end = signal(SignalKind::terminate()).doing("waiting for the end")?;
        let mut interrupt = signal(SignalKind::interrupt()).doing("waiting for the end")?;
        tokio::select! {
            _ = end.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
