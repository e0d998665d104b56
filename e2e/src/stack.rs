//! Control plane and gate in front of one tool server: what every world and the laptop's commands start.

use crate::envoy::{Edit, Envoy, EnvoyPlan};
use crate::{Broken, Certificate, Certificates, Cli, ControlPlane, ControlPlanePorts, Doing, Places};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the gate, and what stands behind it, listen. 0: any free port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    pub gate: u16,
    pub admin: u16,
    pub filters: u16,
    pub operators: u16,
    pub metrics: u16,
}

/// What may differ between worlds.
#[derive(Clone, Debug)]
pub struct Plan {
    pub ports: Ports,
    /// The tool server, behind the shipped bootstrap.
    pub upstream: SocketAddr,
    /// What the route, the control plane and the tool table call it.
    pub server: &'static str,
    /// Other servers instead, by name and address: behind a configuration that `agentgate envoy` makes, and only observed to
    /// begin with.
    pub servers: Vec<(String, String)>,
    /// Changes to the bootstrap beyond addresses and files.
    pub edits: Vec<Edit>,
    /// The policy folder, in the repository; without it the default one.
    pub policies: Option<PathBuf>,
    /// Added to the control plane's configuration.
    pub configuration: String,
    /// The url of the database that is the journal; without it files are.
    pub database: Option<String>,
    /// Control planes beside the first, which the gate asks as well. They need a database.
    pub others: &'static [&'static str],
    pub workers: u32,
    /// How long all certificates hold, as `authority issue` takes it.
    pub valid_for: &'static str,
    /// Somebody else than the filter asks: nobody waits for its streams.
    pub stranger: Option<Stranger>,
}

/// A certificate that should not be able to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stranger {
    pub name: &'static str,
    /// Options of `authority issue`.
    pub options: &'static [&'static str],
    /// Issued by an authority that nobody here trusts.
    pub foreign: bool,
}

/// Both, running.
#[derive(Debug)]
pub struct Stack {
    // Dropped in this order: the gate ends before what it asks.
    pub envoy: Envoy,
    pub control_plane: ControlPlane,
    /// Replicas beside it, in the order of the plan.
    pub others: Vec<ControlPlane>,
    pub certificates: Certificates,
    pub cli: Cli,
    pub gate: SocketAddr,
    operator: Certificate,
    filter: Certificate,
}

// === impl Ports ===

impl Ports {
    pub(crate) fn control_plane(self) -> ControlPlanePorts {
        let local = |port: u16| format!("127.0.0.1:{port}");
        ControlPlanePorts { filters: local(self.filters), operators: local(self.operators), metrics: local(self.metrics) }
    }
}

// === impl Plan ===

impl Plan {
    #[must_use]
    pub fn new(upstream: SocketAddr) -> Self {
        Self {
            ports: Ports::default(),
            upstream,
            server: "notes",
            servers: Vec::new(),
            edits: Vec::new(),
            policies: None,
            configuration: String::new(),
            database: None,
            others: &[],
            workers: 1,
            valid_for: "24h",
            stranger: None,
        }
    }
}

// === impl Stranger ===

impl Stranger {
    fn issued(self, places: &Places, certificates: &Certificates, directory: &Path) -> Result<Certificate, Broken> {
        let foreign = if self.foreign { Some(Certificates::init(places, directory)?) } else { None };
        let issuer = foreign.as_ref().unwrap_or(certificates);
        issuer.issue(self.name, &[self.options, &["--force"]].concat())
    }
}

// === impl Stack ===

impl Stack {
    /// Starts all of it in `directory`; `say` hears of each step.
    ///
    /// # Errors
    /// A part that does not come up; with the end of its log.
    pub fn start(places: &Places, directory: &Path, plan: &Plan, mut say: impl FnMut(&str)) -> Result<Self, Broken> {
        places.built()?;
        say("certificates");
        let certificates = Certificates::init(places, &directory.join("certificates"))?;
        let valid = ["--valid-for", plan.valid_for];
        let filter = certificates.issue("filter/laptop", &valid)?;
        let operator = certificates.issue("operator/me", &valid)?;
        let asker = match plan.stranger {
            Some(stranger) => stranger.issued(places, &certificates, &directory.join("stranger"))?,
            None => filter.clone(),
        };

        say("control plane");
        let control_plane = ControlPlane::start(places, &certificates, &directory.join("control-plane"), plan)?;
        let others = plan.others.iter().map(|name| control_plane.beside(name, places, &certificates, plan));
        let others = others.collect::<Result<Vec<_>, _>>()?;
        let cli = Cli::new(places, &control_plane.ports.operators, &operator, &certificates.authority());

        say("Envoy with the filter");
        let asked: Vec<&ControlPlane> = std::iter::once(&control_plane).chain(&others).collect();
        let envoy = gate(places, &certificates, &asker, plan, &asked, &directory.join("gate"))?;
        let gate = envoy.listener(GATE)?;
        Ok(Self { envoy, control_plane, others, certificates, cli, gate, operator, filter })
    }

    /// The operator's CLI, speaking to this control plane.
    #[must_use]
    pub fn cli_of(&self, places: &Places, control_plane: &ControlPlane) -> Cli {
        Cli::new(places, &control_plane.ports.operators, &self.operator, &self.certificates.authority())
    }

    /// A second gate, in `directory`, that asks this control plane and no other.
    ///
    /// # Errors
    /// It does not come up; with the end of its log.
    pub fn gate_of(
        &self,
        places: &Places,
        control_plane: &ControlPlane,
        plan: &Plan,
        directory: &Path,
    ) -> Result<(Envoy, SocketAddr), Broken> {
        let envoy = gate(places, &self.certificates, &self.filter, plan, &[control_plane], directory)?;
        let listens = envoy.listener(GATE)?;
        Ok((envoy, listens))
    }
}

/// An Envoy with the filter, which asks these control planes as `asker`.
fn gate(
    places: &Places,
    certificates: &Certificates,
    asker: &Certificate,
    plan: &Plan,
    asked: &[&ControlPlane],
    directory: &Path,
) -> Result<Envoy, Broken> {
    let asked = asked.iter().map(|one| one.ports.filters.parse().map_err(|_| Broken("the control plane names its port".into())));
    let asked: Vec<SocketAddr> = asked.collect::<Result<_, _>>()?;
    furnish(directory, places, certificates, asker)?;
    let bootstrap = if plan.servers.is_empty() {
        let edits = [edits(plan, &asked), plan.edits.clone()].concat();
        EnvoyPlan { name: ENVOY, bootstrap: places.bootstrap(), edits, workers: plan.workers }
    } else {
        let [asked] = asked.as_slice() else { return Err(Broken("a generated configuration asks one control plane".into())) };
        let bootstrap = generated(directory, places, plan, *asked)?;
        EnvoyPlan { name: ENVOY, bootstrap, edits: plan.edits.clone(), workers: plan.workers }
    };
    let mut envoy = Envoy::start(places, directory, &bootstrap)?;
    if plan.stranger.is_none() {
        // Every worker's VM, and the main thread's: until then a call is refused.
        envoy.until_stat("wasmcustom.agentgate.streams_opened", |open| open > u64::from(plan.workers))?;
    }
    Ok(envoy)
}

const ENVOY: &str = "the gate's Envoy";

/// The listener's name in the bootstrap.
const GATE: &str = "agents";

/// What the bootstrap finds beside it: the module, the filter's certificate, and where both kinds of secrets lie.
fn furnish(gate: &Path, places: &Places, certificates: &Certificates, filter: &Certificate) -> Result<(), Broken> {
    let (certs, sds) = (gate.join("certs"), gate.join("sds"));
    for directory in [&certs, &sds] {
        fs::create_dir_all(directory).doing(directory.display())?;
    }
    let secrets = places.bootstrap().with_file_name("sds");
    let copies = [
        (filter.certificate.clone(), certs.join("filter-laptop.pem")),
        (filter.key.clone(), certs.join("filter-laptop.key")),
        (certificates.authority(), certs.join("authority.pem")),
        (secrets.join("filter.yaml"), sds.join("filter.yaml")),
        (secrets.join("authority.yaml"), sds.join("authority.yaml")),
        (places.filter.clone(), gate.join("agentgate_filter.wasm")),
    ];
    for (from, to) in copies {
        fs::copy(&from, &to).doing(from.display())?;
    }
    Ok(())
}

/// What `agentgate envoy` makes for these servers.
fn generated(gate: &Path, places: &Places, plan: &Plan, asked: SocketAddr) -> Result<PathBuf, Broken> {
    let mut command = Command::new(&places.agentgate);
    command.args(["envoy", "--at", "outbound", "--mode", "observe", "--node", "laptop", "--directory"]).arg(gate);
    command.args(["--listen", &format!("127.0.0.1:{}", plan.ports.gate), "--admin", &format!("127.0.0.1:{}", plan.ports.admin)]);
    command.args(["--control-plane", &asked.to_string(), "--force"]);
    for (name, url) in &plan.servers {
        command.arg("--upstream").arg(format!("{name}={url}")).arg("--path").arg(format!("{name}=/{name}"));
    }
    let output = command.output().doing(places.agentgate.display())?;
    if !output.status.success() {
        return Err(Broken(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(gate.join("envoy.yaml"))
}

/// The bootstrap's own addresses, each replaced by this world's.
fn edits(plan: &Plan, asked: &[SocketAddr]) -> Vec<Edit> {
    let edit = |from: u16, name: &str, to: u16| {
        Edit::new(format!("port_value: {from}}}}}  # {name}"), format!("port_value: {to}}}}}  # {name}"))
    };
    let edit_endpoint = |from: u16, name: &str, to: u16| {
        Edit::new(format!("port_value: {from}}}}}}}  # {name}"), format!("port_value: {to}}}}}}}  # {name}"))
    };
    let endpoint = |port: u16| {
        format!("- endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}  # CONTROL_PLANE")
    };
    let endpoints: Vec<String> = asked.iter().map(|address| endpoint(address.port())).collect();
    vec![
        edit(10000, "LISTENER", plan.ports.gate),
        edit(9901, "ADMIN", plan.ports.admin),
        edit_endpoint(8000, "SERVER", plan.upstream.port()),
        Edit::new(endpoint(9443), endpoints.join("\n              ")),
        Edit::new(r#""server": "notes""#, format!(r#""server": "{}""#, plan.server)),
    ]
}
