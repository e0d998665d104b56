//! `just bench`: what a gate in front of a tool costs, side by side in one run: Envoy alone, wasm alone, Envoy's own filters, ext_authz to OPA, AgentGate.
//!
//! It prints what it measured and compares it with no target; the reading is in docs/performance.md.

mod call;
mod connection;
mod gates;
mod load;
mod machine;
mod numbers;
mod opa;
mod processes;
mod proofs;
mod ratios;
mod report;
mod rounds;
mod upstream;

use agentgate_e2e::{Broken, Doing, Places, now};
use call::{Call, Era, TOOL};
use clap::{Parser, ValueEnum};
use gates::{CONTROL_PLANE, Gate, Kind};
use load::{Load, Pace};
use report::{Report, Resident};
use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(name = "bench", about = "Measures what a gate costs, side by side with Envoy alone")]
struct Arguments {
    /// Calls per second of the latency runs; the machine must not be full at it
    #[arg(long, default_value_t = 1000, value_name = "N")]
    rate: u32,
    #[arg(long, default_value_t = 7, value_name = "N")]
    rounds: usize,
    /// How long each gate is measured in each round
    #[arg(long, default_value_t = 8, value_name = "SECONDS")]
    seconds: u64,
    /// How long each gate is saturated in each round
    #[arg(long, default_value_t = 4, value_name = "SECONDS")]
    saturating_seconds: u64,
    /// Connections that saturate it
    #[arg(long, default_value_t = 16, value_name = "N")]
    connections: usize,
    /// Envoy's worker threads
    #[arg(long, default_value_t = 1, value_name = "N")]
    workers: u32,
    /// Which MCP the calls speak
    #[arg(long, default_value = "2026-07-28")]
    era: Era,
    /// What to compare; Envoy alone is always there
    #[arg(long, value_delimiter = ',', default_value = "pass,native,opa,observing,ours,ours-memory", value_name = "GATE,…")]
    gates: Vec<Kind>,
    /// Calls after which the control plane's memory is read; 0: not at all
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    resident_after: u64,
    /// Measure again what was measured while other programs used more than this share of the cores
    #[arg(long, default_value_t = 100, value_name = "PERCENT")]
    others_max: u32,
    #[arg(long, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Markdown
    Table,
    Json,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(broken) => {
            eprintln!("bench: {broken}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Broken> {
    let begun = now();
    let say = |line: String| eprintln!("{:5.0}s  {line}", begun.elapsed().as_secs_f64());
    let places = Places::found()?;
    let directory = agentgate_e2e::directory()?;
    load::sharpen_timers();
    say("looking at the machine".into());
    let machine = machine::Machine::look(directory.path())?;
    let upstream = upstream::start()?;

    let mut kinds = arguments.kinds();
    if kinds.iter().any(|kind| kind.is_ours()) {
        places.built()?;
    }
    let left_out = leave_out(&mut kinds, &places, say)?;
    let mut gates = Vec::new();
    for kind in kinds {
        say(format!("starting {}", kind.label()));
        gates.push(Gate::start(kind, &places, directory.path(), upstream, arguments.workers, arguments.era)?);
    }
    let plan = arguments.plan();
    let samples = plan.measure(&mut gates, say)?;
    let other_era = arguments.other_era(&gates, say)?;
    let resident = arguments.resident(&mut gates, say)?;
    let report = Report {
        machine,
        plan,
        workers: arguments.workers,
        era: arguments.era.version(),
        gates: gates.iter().map(|gate| gate.kind).zip(samples).collect(),
        left_out,
        other_era,
        module_bytes: fs::metadata(&places.filter).ok().map(|module| module.len()),
        resident,
    };
    let text = match arguments.output {
        Output::Table => report.table(),
        Output::Json => format!("{:#}\n", report.json()),
    };
    std::io::stdout().write_all(text.as_bytes()).doing("printing")
}

/// Takes out what this machine cannot build, and says why.
fn leave_out(kinds: &mut Vec<Kind>, places: &Places, say: impl Fn(String)) -> Result<Vec<String>, Broken> {
    if !kinds.contains(&Kind::Opa) {
        return Ok(Vec::new());
    }
    say("building the OPA server with Go (minutes when it is the first time)".into());
    if opa::build(places)? {
        return Ok(Vec::new());
    }
    kinds.retain(|kind| *kind != Kind::Opa);
    let line = format!("Left out: {}. There is no Go on this machine to build the OPA server with.", Kind::Opa.label());
    say(line.clone());
    Ok(vec![line])
}

// === impl Arguments ===

impl Arguments {
    /// In the table's order, Envoy alone first, none twice.
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds = [&[Kind::Plain], self.gates.as_slice()].concat();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    fn plan(&self) -> rounds::Plan {
        rounds::Plan {
            rounds: self.rounds.max(1),
            rate: self.rate.max(1),
            length: Duration::from_secs(self.seconds.max(1)),
            saturating: Duration::from_secs(self.saturating_seconds.max(1)),
            connections: self.connections.max(1),
            others_max: f64::from(self.others_max) / 100.0,
        }
    }

    /// What AgentGate adds to calls of the other era, in one run of each.
    fn other_era(&self, gates: &[Gate], say: impl Fn(String)) -> Result<Option<(&'static str, f64)>, Broken> {
        let era = if self.era == Era::Newest { Era::Legacy } else { Era::Newest };
        let of = |kind: Kind| gates.iter().find(|gate| gate.kind == kind);
        let (Some(plain), Some(ours)) = (of(Kind::Plain), of(Kind::Ours)) else { return Ok(None) };
        say(format!("the other era: {}", era.version()));
        let p50 = |gate: &Gate| {
            let mut load = Load::new(gate.address, Call::new(era, TOOL));
            Ok(load.run(Pace::Open { rate: self.plan().rate }, self.plan().length)?.quantile_us(0.5))
        };
        Ok(Some((era.version(), p50(ours)? - p50(plain)?)))
    }

    /// The control plane's memory once it has decided enough calls.
    fn resident(&self, gates: &mut [Gate], say: impl Fn(String)) -> Result<Option<Resident>, Broken> {
        let Some(ours) = gates.iter_mut().find(|gate| gate.kind == Kind::Ours) else { return Ok(None) };
        let Some(control_plane) = ours.watched.iter().find(|watched| watched.name == CONTROL_PLANE).cloned() else {
            return Ok(None);
        };
        if self.resident_after == 0 {
            return Ok(None);
        }
        say(format!(
            "{} calls through {}, {} wanted before its memory is read",
            ours.load.calls(),
            ours.kind.label(),
            self.resident_after
        ));
        while ours.load.calls() < self.resident_after {
            ours.load.run(Pace::Closed { connections: self.plan().connections }, Duration::from_secs(1))?;
        }
        Ok(Some(Resident { calls: ours.load.calls(), megabytes: control_plane.resident_mb()? }))
    }
}
