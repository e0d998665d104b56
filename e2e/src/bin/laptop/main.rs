//! `try`, `up` and `down`: AgentGate on a laptop, in front of the demo's notes. It writes into its own directory and nowhere else.

mod progress;
mod running;
mod serve;
mod tour;

use agentgate_e2e::{Broken, Ports};
use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "laptop", about = "AgentGate on a laptop, in front of an MCP server of a few notes")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start everything, drive it with a real client, show what was decided, and leave nothing behind
    Try,
    /// Start everything and leave it running in .run/
    Up(PortArguments),
    /// End what `up` left running, and remove .run/
    Down,
    /// What `up` starts in the background
    #[command(hide = true)]
    Serve(PortArguments),
}

/// Fixed, so that a client's configuration outlives a restart; each can be another one.
#[derive(Args, Clone, Copy)]
struct PortArguments {
    /// Where MCP clients connect
    #[arg(long, default_value_t = 10000, value_name = "PORT")]
    gate_port: u16,
    /// Envoy's admin page
    #[arg(long, default_value_t = 9901, value_name = "PORT")]
    admin_port: u16,
    /// The control plane, for filters
    #[arg(long, default_value_t = 9443, value_name = "PORT")]
    filters_port: u16,
    /// The control plane, for the CLI
    #[arg(long, default_value_t = 9444, value_name = "PORT")]
    operators_port: u16,
    /// The control plane's /metrics and /readyz
    #[arg(long, default_value_t = 9445, value_name = "PORT")]
    metrics_port: u16,
}

// === impl PortArguments ===

impl PortArguments {
    const fn ports(self) -> Ports {
        Ports {
            gate: self.gate_port,
            admin: self.admin_port,
            filters: self.filters_port,
            operators: self.operators_port,
            metrics: self.metrics_port,
        }
    }

    /// Each port with the option that changes it.
    const fn named(self) -> [(&'static str, u16); 5] {
        [
            ("--gate-port", self.gate_port),
            ("--admin-port", self.admin_port),
            ("--filters-port", self.filters_port),
            ("--operators-port", self.operators_port),
            ("--metrics-port", self.metrics_port),
        ]
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Try => tour::run(),
        Verb::Up(ports) => running::up(ports),
        Verb::Down => running::down(),
        Verb::Serve(ports) => serve::run(ports.ports()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Broken(why)) => {
            eprintln!("\n{why}");
            ExitCode::FAILURE
        }
    }
}
