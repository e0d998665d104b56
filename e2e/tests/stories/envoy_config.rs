//! What `agentgate envoy` prints is taken by a real Envoy as it is, at each of the three places, and a call goes through it.

use crate::wire::{CALL, REFUSED, RESULT, post};
use agentgate_e2e::upstream::{Protocol, Reply, Upstream};
use agentgate_e2e::{Broken, Certificates, Cli, ControlPlane, Doing, Envoy, EnvoyPlan, Places, Plan, Process, directory, http1};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The Envoy's own name, so that its filter is not the one that every world knows.
const NODE: &str = "edge";

/// A gate by generated configuration, and all around it.
struct Gate {
    envoy: Envoy,
    address: SocketAddr,
    said: String,
    cli: Cli,
    _control_plane: ControlPlane,
}

/// What stands there before the gate does.
struct Site {
    places: Places,
    certificates: Certificates,
    upstream: Upstream,
    directory: TempDir,
}

// === impl Site ===

impl Site {
    fn new() -> Result<Self, Broken> {
        let (places, directory) = (Places::found()?, directory()?);
        places.built()?;
        let certificates = Certificates::init(&places, &directory.path().join("certificates"))?;
        let upstream = Upstream::start(Protocol::Http1, |_| Reply::json(RESULT))?;
        Ok(Self { places, certificates, upstream, directory })
    }

    fn plain_url(&self) -> String {
        format!("http://{}/mcp", self.upstream.address)
    }

    /// The same server behind TLS, by an authority of its own.
    fn tls(&self) -> Result<(Process, String, PathBuf), Broken> {
        let directory = self.directory.path().join("tools");
        let own = Certificates::init(&self.places, &directory)?;
        let certificate = own.issue("tools", &[])?;
        let ready = directory.join("port");
        let mut command = Command::new(&self.places.python);
        command.arg(self.places.repository.join("e2e/peers/tls_front.py")).arg(certificate.certificate).arg(certificate.key);
        command.arg(self.upstream.address.port().to_string()).arg(&ready);
        let mut front = Process::start("TLS before the server", command, &directory.join("front.log"))?;
        let port: u16 = front.until("it listens", || fs::read_to_string(&ready).ok()?.parse().ok())?;
        Ok((front, format!("https://localhost:{port}/mcp"), own.authority()))
    }

    fn agentgate(&self, words: &[&str]) -> Result<(String, String), Broken> {
        let output =
            Command::new(&self.places.agentgate).arg("envoy").args(words).args(["--node", NODE]).output().doing("agentgate")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok((text(&output.stdout), text(&output.stderr)));
        }
        Err(Broken(format!("`agentgate envoy {}`: {}", words.join(" "), text(&output.stderr))))
    }

    /// A control plane that lets this gate ask, and an Envoy with what was printed for it.
    fn gate(&self, words: &[&str]) -> Result<Gate, Broken> {
        let directory = self.directory.path().join("gate");
        self.furnish(&directory)?;
        let mut plan = Plan::new(self.upstream.address);
        plan.policies = Some("e2e/policies/everything".into());
        plan.configuration = self.agentgate(&[words, &["--part", "control-plane"]].concat())?.0;
        let control_plane =
            ControlPlane::start(&self.places, &self.certificates, &self.directory.path().join("control-plane"), &plan)?;
        let operator = self.certificates.issue("operator/me", &[])?;
        let cli = Cli::new(&self.places, &control_plane.ports.operators, &operator, &self.certificates.authority());
        let (place, validate) = (directory.display().to_string(), self.places.envoy.display().to_string());
        let around = [
            ["--listen", "127.0.0.1:0"],
            ["--admin", "127.0.0.1:0"],
            ["--control-plane", &control_plane.ports.filters],
            ["--directory", &place],
            ["--validate", &validate],
        ];
        let (_, said) = self.agentgate(&[words, &around.concat()].concat())?;
        let bootstrap = directory.join("envoy.yaml");
        let plan = EnvoyPlan { name: "the generated gate", bootstrap, edits: vec![], workers: 1 };
        let mut envoy = Envoy::start(&self.places, &directory, &plan)?;
        envoy.until_stat("wasmcustom.agentgate.streams_opened", |open| open > 1)?;
        let address = envoy.listener("agents")?;
        let admin = format!("http://{}", envoy.admin());
        let found = cli.json(&["check", "--envoy-admin", &admin, "--directory", &place])?;
        if found["holes"] != 0 || found["warnings"] != 0 || found["unseen"] != json!([]) {
            return Err(Broken(format!("what runs is not whole: {found:#}")));
        }
        Ok(Gate { envoy, address, said, cli, _control_plane: control_plane })
    }

    /// The files that the configuration names by default.
    fn furnish(&self, gate: &Path) -> Result<(), Broken> {
        let certs = gate.join("certs");
        fs::create_dir_all(&certs).doing(certs.display())?;
        for (name, stem) in [(format!("filter/{NODE}"), format!("filter-{NODE}")), ("gateway".into(), "listener".into())] {
            let issued = self.certificates.issue(&name, &[])?;
            fs::copy(issued.certificate, certs.join(format!("{stem}.pem"))).doing("a certificate")?;
            fs::copy(issued.key, certs.join(format!("{stem}.key"))).doing("a key")?;
        }
        fs::copy(self.certificates.authority(), certs.join("authority.pem")).doing("the authority")?;
        fs::copy(&self.places.filter, gate.join("agentgate_filter.wasm")).doing("the filter")?;
        Ok(())
    }

    /// A call over TLS by the certificate of this name, or by none.
    fn call(&self, gate: &Gate, path: &str, body: &str, name: Option<&str>) -> Result<Value, Broken> {
        let mut command = Command::new(&self.places.python);
        command.arg(self.places.repository.join("e2e/peers/tls_caller.py")).arg(gate.address.port().to_string());
        command.args([path, body]).arg(self.certificates.authority());
        if let Some(name) = name {
            let own = self.certificates.issue(name, &["--force"])?;
            command.arg(own.certificate).arg(own.key);
        }
        let output = command.output().doing("the caller")?;
        serde_json::from_slice(&output.stdout).doing(format_args!("the caller answers, not {output:?}"))
    }
}

impl Gate {
    /// Who made the newest call, as the control plane wrote it down.
    fn principal(&self) -> Result<Value, Broken> {
        let listed = self.cli.json(&["trace", "list"])?;
        let traces = listed.as_array().or_else(|| listed.get("traces")?.as_array());
        let newest = traces.and_then(|traces| traces.first()?.get("principal").cloned());
        newest.doing(format_args!("a trace with a principal in {listed}"))
    }
}

#[test]
fn an_outbound_gate_lets_calls_through_to_a_server_behind_tls_of_its_own() {
    let site = Site::new().unwrap();
    let (_front, url, authority) = site.tls().unwrap();
    let authority = authority.display().to_string();
    let words = ["--at", "outbound", "--upstream", &url, "--server", "notes", "--upstream-authority", &authority];
    let gate = site.gate(&[&words[..], &["--mode", "enforce"]].concat()).unwrap();
    assert!(gate.said.contains("validated by") && gate.said.contains("enforces"), "{}", gate.said);

    assert_eq!(http1::exchange(gate.address, &post(CALL)).unwrap().text(), RESULT);
    let arrived = site.upstream.until_arrived(1).unwrap();
    assert_eq!(arrived[0].values("host"), [url.trim_start_matches("https://").trim_end_matches("/mcp")]);
    assert_eq!(gate.principal().unwrap(), "spiffe://agentgate.local/agent/laptop");
    let refused = http1::exchange(gate.address, &post(REFUSED)).unwrap();
    assert_ne!(refused.text(), RESULT);
    assert_eq!(site.upstream.arrived().len(), 1);
}

#[test]
fn a_server_whose_certificate_is_by_another_authority_is_not_called() {
    let site = Site::new().unwrap();
    let (_front, url, _) = site.tls().unwrap();
    let authority = site.certificates.authority().display().to_string();
    let words = ["--at", "outbound", "--upstream", &url, "--server", "notes", "--upstream-authority", &authority];
    let gate = site.gate(&[&words[..], &["--mode", "enforce"]].concat()).unwrap();
    let answer = http1::exchange(gate.address, &post(CALL)).unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(site.upstream.arrived(), []);
}

#[test]
fn without_being_told_otherwise_it_observes_and_says_so() {
    let site = Site::new().unwrap();
    let gate = site.gate(&["--at", "outbound", "--upstream", &site.plain_url(), "--server", "notes"]).unwrap();
    assert!(gate.said.contains("OBSERVES") && gate.said.contains("agentgate enforce notes"), "{}", gate.said);
    // An enforcing gate would refuse it: nobody could say which tool is meant.
    assert_eq!(http1::exchange(gate.address, &post(REFUSED)).unwrap().text(), RESULT);
    assert_eq!(site.upstream.until_arrived(1).unwrap().len(), 1);
}

#[test]
fn an_inbound_gate_knows_callers_by_their_certificates_and_nobody_without_one() {
    let site = Site::new().unwrap();
    let gate =
        site.gate(&["--at", "inbound", "--upstream", &site.plain_url(), "--server", "notes", "--mode", "enforce"]).unwrap();
    let answer = site.call(&gate, "/mcp", CALL, Some("agent/a1")).unwrap();
    assert_eq!(answer["body"], RESULT, "{answer}");
    assert_eq!(gate.principal().unwrap(), "spiffe://agentgate.local/agent/a1");
    let nobody = site.call(&gate, "/mcp", CALL, None).unwrap();
    assert!(nobody["error"].is_string(), "{nobody}");
    assert_eq!(site.upstream.arrived().len(), 1);
    assert!(gate.envoy.is_running());
}

#[test]
fn a_gateway_leads_each_path_to_its_own_server() {
    let site = Site::new().unwrap();
    let (_front, url, authority) = site.tls().unwrap();
    let other = Upstream::start(Protocol::Http1, |_| Reply::json(RESULT.replace("milk", "oats"))).unwrap();
    let (notes, other_url) = (format!("notes={url}"), format!("other=http://{}/tools/mcp", other.address));
    let authority = authority.display().to_string();
    let words = ["--at", "gateway", "--upstream", &notes, "--upstream", &other_url, "--upstream-authority", &authority];
    let gate = site.gate(&[&words[..], &["--mode", "enforce"]].concat()).unwrap();
    for (path, wanted) in [("/notes/mcp", RESULT.to_owned()), ("/other/tools/mcp", RESULT.replace("milk", "oats"))] {
        let answer = site.call(&gate, path, CALL, Some("agent/a1")).unwrap();
        assert_eq!(answer["body"], wanted, "{path}: {answer}");
    }
    assert_eq!(site.upstream.until_arrived(1).unwrap()[0].path, "/mcp");
    assert_eq!(other.until_arrived(1).unwrap()[0].path, "/tools/mcp");
    let nowhere = site.call(&gate, "/mcp", CALL, Some("agent/a1")).unwrap();
    assert_eq!(nowhere["status"], 403, "{nowhere}");
}
