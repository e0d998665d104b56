//! What is compared: one Envoy with nothing, wasm alone, its own filters, OPA to ask, or AgentGate. Each is proved to be what it says before it is measured.

use crate::call::{Call, Era, TOOL};
use crate::load::Load;
use crate::opa::Opa;
use crate::processes::Watched;
use crate::proofs::{self, Looks};
use agentgate_e2e::{Broken, Doing, Edit, Envoy, EnvoyPlan, Places, Plan, Stack};
use clap::ValueEnum;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A column of comparison, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// Envoy alone: what all others are compared with
    Plain,
    /// a wasm filter that only passes headers
    Pass,
    /// Envoy's own `mcp` and `rbac` filters
    Native,
    /// Envoy's `ext_authz`, which asks a server with OPA in it: the same policy, and no record
    Opa,
    /// AgentGate on a route that observes: calls go on at once, and the trace follows off their path
    Observing,
    /// AgentGate, its journal on disk: the trace is durable before the answer
    Ours,
    /// AgentGate, its journal in memory: what the disk costs is the difference
    OursMemory,
}

#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) load: Load,
    /// Its own processes, apart from the driver's.
    pub(crate) watched: Vec<Watched>,
    /// Kept alive, and ended with this value.
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    Envoy(Envoy),
    // Dropped in this order: the gate ends before what it asks.
    Asking(Envoy, Opa),
    Whole(Box<Stack>),
}

/// What stands in the bootstrap in the place of AgentGate's filter and of its cluster, as YAML; empty: nothing.
#[derive(Debug)]
struct Instead {
    filters: String,
    cluster: String,
}

pub(crate) const ENVOY: &str = "Envoy";
pub(crate) const CONTROL_PLANE: &str = "control plane";
pub(crate) const OPA: &str = "OPA server";

// === impl Kind ===

impl Kind {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Plain => "Envoy alone",
            Self::Pass => "wasm, passes headers",
            Self::Native => "Envoy's mcp + rbac",
            Self::Opa => "Envoy's ext_authz to OPA",
            Self::Observing => "AgentGate, observing",
            Self::Ours => "AgentGate",
            Self::OursMemory => "AgentGate, journal in memory",
        }
    }

    const fn directory(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Pass => "pass",
            Self::Native => "native",
            Self::Opa => "opa",
            Self::Observing => "observing",
            Self::Ours => "ours",
            Self::OursMemory => "ours-memory",
        }
    }

    /// Whether AgentGate itself has to be built for it; and then it is measured at half of what it can take as well.
    pub(crate) const fn is_ours(self) -> bool {
        match self {
            Self::Plain | Self::Pass | Self::Native | Self::Opa => false,
            Self::Observing | Self::Ours | Self::OursMemory => true,
        }
    }

    const fn looks(self) -> Looks {
        match self {
            Self::Plain | Self::Pass | Self::Observing => Looks::Nowhere,
            Self::Native => Looks::AtTools,
            Self::Opa | Self::Ours | Self::OursMemory => Looks::AtPolicy,
        }
    }
}

// === impl Gate ===

impl Gate {
    /// Starts it in `directory` in front of `upstream`, and holds it to what it is.
    pub(crate) fn start(
        kind: Kind,
        places: &Places,
        directory: &Path,
        upstream: SocketAddr,
        workers: u32,
        era: Era,
    ) -> Result<Self, Broken> {
        let directory = directory.join(kind.directory());
        fs::create_dir_all(&directory).doing(directory.display())?;
        let (parts, address, watched) = match kind {
            Kind::Plain | Kind::Pass | Kind::Native => {
                let envoy = envoy(places, &directory, upstream, workers, &filters(kind, places))?;
                let (address, id) = (envoy.listener("agents")?, envoy.process_id());
                (Parts::Envoy(envoy), address, vec![Watched::new(ENVOY, id)])
            }
            Kind::Opa => {
                let opa = Opa::start(places, &directory)?;
                let cluster = include_str!("opa-cluster.yaml").replace("OPA_SOCKET", &opa.socket.display().to_string());
                let instead = Instead { filters: include_str!("opa.yaml").into(), cluster };
                let envoy = envoy(places, &directory, upstream, workers, &instead)?;
                let watched = vec![Watched::new(ENVOY, envoy.process_id()), Watched::new(OPA, opa.process.id())];
                let address = envoy.listener("agents")?;
                (Parts::Asking(envoy, opa), address, watched)
            }
            Kind::Observing | Kind::Ours | Kind::OursMemory => {
                let stack = whole(kind, places, &directory, upstream, workers)?;
                let control_plane = stack.control_plane.process_id().doing("the control plane runs")?;
                let watched = vec![Watched::new(ENVOY, stack.envoy.process_id()), Watched::new(CONTROL_PLANE, control_plane)];
                let address = stack.gate;
                (Parts::Whole(Box::new(stack)), address, watched)
            }
        };
        let gate = Self { kind, address, load: Load::new(address, Call::new(era, TOOL)), watched, parts };
        proofs::check(kind.looks(), address, era)
            .map_err(|broken| Broken(format!("{}: {broken}\n{}", kind.label(), gate.tail())))?;
        Ok(gate)
    }

    fn tail(&self) -> String {
        match &self.parts {
            Parts::Envoy(envoy) => envoy.tail(),
            Parts::Asking(envoy, opa) => envoy.tail() + &opa.process.tail(),
            Parts::Whole(stack) => stack.envoy.tail() + &fs::read_to_string(stack.control_plane.log()).unwrap_or_default(),
        }
    }
}

pub(crate) fn pass_filter(places: &Places) -> PathBuf {
    places.filter.with_file_name("agentgate_pass_filter.wasm")
}

/// Filters that need no other program.
fn filters(kind: Kind, places: &Places) -> Instead {
    let filters = match kind {
        Kind::Pass => include_str!("pass.yaml").replace("PASS_FILTER", &pass_filter(places).display().to_string()),
        Kind::Native => include_str!("native.yaml").into(),
        Kind::Plain | Kind::Opa | Kind::Observing | Kind::Ours | Kind::OursMemory => String::new(),
    };
    Instead { filters, cluster: String::new() }
}

/// The shipped bootstrap with something else, or nothing, where AgentGate's parts stand: all else is the same.
fn envoy(places: &Places, directory: &Path, upstream: SocketAddr, workers: u32, instead: &Instead) -> Result<Envoy, Broken> {
    let shipped = fs::read_to_string(places.bootstrap()).doing(places.bootstrap().display())?;
    let exchanged = exchanged(&shipped, instead).doing("the bootstrap's filter and cluster `agentgate`")?;
    let bootstrap = directory.join("bootstrap.yaml");
    fs::write(&bootstrap, exchanged).doing(bootstrap.display())?;
    let port = |port: u16| format!("port_value: {port}}}");
    let edits =
        vec![Edit::new(port(10000), port(0)), Edit::new(port(9901), port(0)), Edit::new(port(8000), port(upstream.port()))];
    Envoy::start(places, directory, &EnvoyPlan { name: "the bench's Envoy", bootstrap, edits, workers })
}

/// Without the filter and the cluster that are named `agentgate`, and with others in their places.
fn exchanged(bootstrap: &str, instead: &Instead) -> Option<String> {
    let (before, rest) = bootstrap.split_once("                  - name: agentgate\n")?;
    let at = rest.find("                  - name: envoy.filters.http.router\n")?;
    let (_filter, rest) = rest.split_at(at);
    let (rest, _cluster) = rest.split_once("    - name: agentgate\n")?;
    Some([before, &instead.filters, rest, &instead.cluster].concat())
}

fn whole(kind: Kind, places: &Places, directory: &Path, upstream: SocketAddr, workers: u32) -> Result<Stack, Broken> {
    let mut plan = Plan { workers, ..Plan::new(upstream) };
    if kind == Kind::Observing {
        let route = r#""path": "/mcp", "server": "notes""#;
        plan.edits.push(Edit::new(route, format!(r#"{route}, "mode": "observe""#)));
    }
    let mut stack = Stack::start(places, directory, &plan, |_| ())?;
    if kind == Kind::OursMemory {
        stack.control_plane.end()?;
        let configuration = directory.join("control-plane/rest.toml");
        let text = fs::read_to_string(&configuration).doing(configuration.display())?;
        let forgetful = text.replace("backend = \"embedded\"", "backend = \"memory\"");
        fs::write(&configuration, forgetful).doing(configuration.display())?;
        stack.control_plane.begin()?;
    }
    Ok(stack)
}
