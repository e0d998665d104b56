//! Control plane and gate in front of one tool server: what every world and the laptop's commands start.

use crate::envoy::{Edit, Envoy, EnvoyPlan};
use crate::{Broken, Certificates, Cli, ControlPlane, ControlPlanePorts, Places};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

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
    /// The tool server.
    pub upstream: SocketAddr,
    /// Changes to the bootstrap beyond addresses and files.
    pub edits: Vec<Edit>,
    /// The policy folder, in the repository; without it the default one.
    pub policies: Option<PathBuf>,
    /// Added to the control plane's configuration.
    pub configuration: String,
    pub workers: u32,
    /// Options of `authority issue` for the filter's certificate.
    pub filter_certificate: Vec<&'static str>,
}

/// Both, running.
#[derive(Debug)]
pub struct Stack {
    // Dropped in this order: the gate ends before what it asks.
    pub envoy: Envoy,
    pub control_plane: ControlPlane,
    pub certificates: Certificates,
    pub cli: Cli,
    pub gate: SocketAddr,
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
            edits: Vec::new(),
            policies: None,
            configuration: String::new(),
            workers: 1,
            filter_certificate: Vec::new(),
        }
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
        let filter = certificates.issue("filter/laptop", &plan.filter_certificate)?;
        let operator = certificates.issue("operator/me", &[])?;

        say("control plane");
        let control_plane = ControlPlane::start(places, &certificates, &directory.join("control-plane"), plan)?;
        let cli = Cli::new(places, &control_plane.ports.operators, &operator, &certificates.authority());

        say("Envoy with the filter");
        let asked = control_plane.ports.filters.parse().map_err(|_| Broken("the control plane names its port".into()))?;
        let edits = [edits(places, &certificates, &filter, plan, asked), plan.edits.clone()].concat();
        let gate_plan = EnvoyPlan { name: "the gate's Envoy", bootstrap: places.bootstrap(), edits, workers: plan.workers };
        let mut envoy = Envoy::start(places, &directory.join("gate"), &gate_plan)?;
        let gate = envoy.listener(GATE)?;
        // Workers answer 503 until their VM's stream was welcomed; the main thread's VM has one as well.
        let _streams = &mut envoy;
        Ok(Self { envoy, control_plane, certificates, cli, gate })
    }
}

/// The listener's name in the bootstrap.
const GATE: &str = "gate";

/// The bootstrap's own addresses and files, each replaced by this world's.
fn edits(
    places: &Places,
    certificates: &Certificates,
    filter: &crate::Certificate,
    plan: &Plan,
    control_plane: SocketAddr,
) -> Vec<Edit> {
    let port = |port: u16| format!("port_value: {port} }}");
    vec![
        Edit::new(port(18080), port(plan.ports.gate)),
        Edit::new(port(19901), port(plan.ports.admin)),
        Edit::new(port(9443), port(control_plane.port())),
        Edit::new(port(18081), port(plan.upstream.port())),
        Edit::new("certificates/authority.pem", certificates.authority().display().to_string()),
        Edit::new("certificates/filter-laptop.pem", filter.certificate.display().to_string()),
        Edit::new("certificates/filter-laptop.key", filter.key.display().to_string()),
        Edit::new("agentgate_filter.wasm", places.filter.display().to_string()),
    ]
}
