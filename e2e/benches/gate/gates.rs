//! What is compared: the same Envoy with nothing, with wasm alone, with Envoy's own filters, and with AgentGate. Each is proved to gate, or not to, before it is measured.

use crate::call::{Call, Era, TOOL, TOOL_UNKNOWN};
use crate::connection::Answer;
use crate::load::Load;
use crate::processes::Watched;
use agentgate_e2e::http1::Connection;
use agentgate_e2e::{Broken, Doing, Edit, Envoy, EnvoyPlan, Places, Plan, Stack, eventually};
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
    Whole(Box<Stack>),
}

pub(crate) const ENVOY: &str = "Envoy";
pub(crate) const CONTROL_PLANE: &str = "control plane";

// === impl Kind ===

impl Kind {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Plain => "Envoy alone",
            Self::Pass => "wasm, passes headers",
            Self::Native => "Envoy's mcp + rbac",
            Self::Ours => "AgentGate",
            Self::OursMemory => "AgentGate, journal in memory",
        }
    }

    const fn directory(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Pass => "pass",
            Self::Native => "native",
            Self::Ours => "ours",
            Self::OursMemory => "ours-memory",
        }
    }

    /// Whether an unknown tool must not get through.
    const fn refuses(self) -> bool {
        match self {
            Self::Plain | Self::Pass => false,
            Self::Native | Self::Ours | Self::OursMemory => true,
        }
    }
}

// === impl Gate ===

impl Gate {
    /// Starts it in `directory` in front of `upstream`, and tries it once each way.
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
                let envoy = envoy(kind, places, &directory, upstream, workers)?;
                let (address, id) = (envoy.listener("agents")?, envoy.process_id());
                (Parts::Envoy(envoy), address, vec![Watched::new(ENVOY, id)])
            }
            Kind::Ours | Kind::OursMemory => {
                let stack = whole(kind, places, &directory, upstream, workers)?;
                let control_plane = stack.control_plane.process_id().doing("the control plane runs")?;
                let watched = vec![Watched::new(ENVOY, stack.envoy.process_id()), Watched::new(CONTROL_PLANE, control_plane)];
                let address = stack.gate;
                (Parts::Whole(Box::new(stack)), address, watched)
            }
        };
        let gate = Self { kind, address, load: Load::new(address, Call::new(era, TOOL)), watched, parts };
        gate.prove(era)?;
        Ok(gate)
    }

    /// A known tool gets through; an unknown one only where nobody looks.
    fn prove(&self, era: Era) -> Result<(), Broken> {
        let mut last = None;
        let through = eventually(format_args!("`{TOOL}` gets through {}", self.kind.label()), || {
            last = Some(self.ask(era, TOOL));
            matches!(last, Some(Ok(Answer::Result))).then_some(())
        });
        through.map_err(|broken| Broken(format!("{broken}; last: {last:?}\n{}", self.tail())))?;
        let refused = self.ask(era, TOOL_UNKNOWN)? != Answer::Result;
        if refused == self.kind.refuses() {
            return Ok(());
        }
        let wanted = if self.kind.refuses() { "let an unknown tool through" } else { "refused a call that it cannot read" };
        Err(Broken(format!("{} {wanted}", self.kind.label())))
    }

    fn ask(&self, era: Era, tool: &str) -> Result<Answer, Broken> {
        let mut connection = Connection::open(self.address)?;
        connection.send(Call::new(era, tool).numbered(0))?;
        let answer = connection.answer()?;
        Ok(Answer::of(answer.status == 200, &answer.body))
    }

    fn tail(&self) -> String {
        match &self.parts {
            Parts::Envoy(envoy) => envoy.tail(),
            Parts::Whole(stack) => stack.envoy.tail() + &fs::read_to_string(stack.control_plane.log()).unwrap_or_default(),
        }
    }
}

pub(crate) fn pass_filter(places: &Places) -> PathBuf {
    places.filter.with_file_name("agentgate_pass_filter.wasm")
}

/// The shipped bootstrap with another filter, or none, where AgentGate's stands: all else is the same.
fn envoy(kind: Kind, places: &Places, directory: &Path, upstream: SocketAddr, workers: u32) -> Result<Envoy, Broken> {
    let pass = include_str!("pass.yaml").replace("PASS_FILTER", &pass_filter(places).display().to_string());
    let filters = match kind {
        Kind::Pass => &pass,
        Kind::Native => include_str!("native.yaml"),
        Kind::Plain | Kind::Ours | Kind::OursMemory => "",
    };
    let shipped = fs::read_to_string(places.bootstrap()).doing(places.bootstrap().display())?;
    let exchanged = exchanged(&shipped, filters).doing("the bootstrap's filter and cluster `agentgate`")?;
    let bootstrap = directory.join("bootstrap.yaml");
    fs::write(&bootstrap, exchanged).doing(bootstrap.display())?;
    let port = |port: u16| format!("port_value: {port}}}");
    let edits =
        vec![Edit::new(port(10000), port(0)), Edit::new(port(9901), port(0)), Edit::new(port(8000), port(upstream.port()))];
    Envoy::start(places, directory, &EnvoyPlan { name: "the bench's Envoy", bootstrap, edits, workers })
}

/// Without the filter and the cluster that are named `agentgate`, and with `filters` in the filter's place.
fn exchanged(bootstrap: &str, filters: &str) -> Option<String> {
    let (before, rest) = bootstrap.split_once("                  - name: agentgate\n")?;
    let at = rest.find("                  - name: envoy.filters.http.router\n")?;
    let (_filter, rest) = rest.split_at(at);
    let (rest, _cluster) = rest.split_once("    - name: agentgate\n")?;
    Some([before, filters, rest].concat())
}

fn whole(kind: Kind, places: &Places, directory: &Path, upstream: SocketAddr, workers: u32) -> Result<Stack, Broken> {
    let plan = Plan { workers, ..Plan::new(upstream) };
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
