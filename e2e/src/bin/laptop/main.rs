//! `try`, `up` and `down`: AgentGate on a laptop, in front of the demo's notes or of servers that are there already. It writes
//! into its own directory and nowhere else.

/// A line for whoever reads. Who has read enough and left (`… | head -1`) is no reason to stop in the middle.
macro_rules! say {
    ($($words:tt)*) => {
        drop(std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($words)*))))
    };
}

mod client;
mod place;
mod progress;
mod reached;
mod running;
mod serve;
mod servers;
mod told;
mod tour;

use agentgate_e2e::{Broken, Ports};
use clap::{Args, Parser, Subcommand};
use servers::Servers;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "laptop", bin_name = "./justw", about = "AgentGate on a laptop, in front of an MCP server of a few notes")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start everything, drive it with a real client, show what was decided, and leave nothing behind
    Try,
    /// Start everything and leave it running in .run/: before the demo's notes, or before servers of your own
    Up(UpArguments),
    /// End what `up` left running. What belongs to servers of your own stays in .run/ until it is removed
    Down {
        /// Remove .run/ with the policy, the traces and the certificates in it
        #[arg(long)]
        remove: bool,
    },
    /// What `up` starts in the background
    #[command(hide = true)]
    Serve {
        #[command(flatten)]
        ports: PortArguments,
        /// A server of the person's own, as NAME=URL
        #[arg(long)]
        server: Vec<String>,
    },
}

#[derive(Args)]
struct UpArguments {
    /// Your own MCP server, as `http://host:port/mcp` or `https://…`; without one, the demo's notes
    #[arg(value_name = "URL", conflicts_with = "mcp_config")]
    url: Option<String>,
    /// The name that it gets in policies and traces; without one, from its host
    #[arg(long, value_name = "NAME", requires = "url")]
    name: Option<String>,
    /// The file with `mcpServers` that your client has: each HTTP server in it runs behind the gate under its name
    #[arg(long, value_name = "FILE")]
    mcp_config: Option<PathBuf>,
    #[command(flatten)]
    ports: PortArguments,
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

// === impl UpArguments ===

impl UpArguments {
    /// The person's own servers. None: the demo's.
    fn servers(&self) -> Result<Option<Servers>, Broken> {
        match (&self.url, &self.mcp_config) {
            (Some(url), _) => Servers::one(url, self.name.as_deref()).map(Some),
            (None, Some(file)) => Servers::read(file).map(Some),
            (None, None) => Ok(None),
        }
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Try => tour::run(),
        Verb::Up(up) => up.servers().and_then(|servers| running::up(up.ports, servers.as_ref())),
        Verb::Down { remove } => running::down(remove),
        Verb::Serve { ports, server } => serve::run(ports.ports(), &server),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Broken(why)) => {
            drop(writeln!(io::stderr(), "\n{why}"));
            ExitCode::FAILURE
        }
    }
}
