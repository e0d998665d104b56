//! A gate where no module of WebAssembly may be loaded: Envoy's own ext_authz asks, by the configuration that `agentgate envoy`
//! prints. The same verdicts and words, and no word of what became of a call.

use crate::wire::{CALL, HEADERS, REFUSED, RESULT, post};
use agentgate_e2e::http1::{Answer, Connection, request};
use agentgate_e2e::upstream::{Arrived, Protocol, Reply, Upstream};
use agentgate_e2e::{
    Broken, Certificates, Cli, ControlPlane, Doing, Edit, Envoy, EnvoyPlan, Places, Plan, directory, eventually, http1, http2,
};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const NODE: &str = "edge";

/// Envoy, asking by itself, before a server that records every byte.
struct Gate {
    // Dropped in this order: the gate ends before what it asks.
    envoy: Envoy,
    address: SocketAddr,
    control_plane: ControlPlane,
    upstream: Upstream,
    cli: Cli,
    certificates: Certificates,
    places: Places,
    directory: TempDir,
}

// === impl Gate ===

impl Gate {
    /// `policies`: the folder in the repository, or the default one.
    fn start(words: &[&str], policies: Option<&str>) -> Result<Self, Broken> {
        Self::edited(words, policies, &[])
    }

    /// With other words in what was printed.
    fn edited(words: &[&str], policies: Option<&str>, edits: &[(&str, &str)]) -> Result<Self, Broken> {
        let (places, directory) = (Places::found()?, directory()?);
        places.built()?;
        let certificates = Certificates::init(&places, &directory.path().join("certificates"))?;
        let upstream = Upstream::start(Protocol::Http1, |_| Reply::json(RESULT))?;
        let url = format!("http://{}/mcp", upstream.address);
        let common = ["--filter", "ext-authz", "--upstream", &url, "--server", "notes", "--node", NODE];
        let words = [&common[..], words].concat();
        let mut plan = Plan::new(upstream.address);
        plan.policies = policies.map(Into::into);
        plan.configuration = printed(&places, &[&words[..], &["--part", "control-plane"]].concat())?;
        let control_plane = ControlPlane::start(&places, &certificates, &directory.path().join("control-plane"), &plan)?;
        let operator = certificates.issue("operator/me", &[])?;
        let cli = Cli::new(&places, &control_plane.ports.operators, &operator, &certificates.authority());
        let gate = directory.path().join("gate");
        furnish(&certificates, &gate.join("certs"))?;
        let (place, validate) = (gate.display().to_string(), places.envoy.display().to_string());
        let filters = control_plane.ports.filters.clone();
        let around = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--control-plane", &filters];
        let written = ["--directory", &place, "--validate", &validate];
        printed(&places, &[&words[..], &around[..], &written[..]].concat())?;
        let edits = edits.iter().map(|(from, to)| Edit::new(*from, *to)).collect();
        let plan = EnvoyPlan { name: "the gate", bootstrap: gate.join("envoy.yaml"), edits, workers: 1 };
        let envoy = Envoy::start(&places, &gate, &plan)?;
        let address = envoy.listener("agents")?;
        Ok(Self { envoy, address, control_plane, upstream, cli, certificates, places, directory })
    }

    fn outbound(mode: &str, policies: Option<&str>) -> Self {
        Self::start(&["--at", "outbound", "--mode", mode], policies).unwrap()
    }

    fn send(&self, bytes: &[u8]) -> Answer {
        http1::exchange(self.address, bytes).unwrap()
    }

    /// It reached the server, as this.
    fn passes(&self, bytes: &[u8]) -> Arrived {
        let answer = self.send(bytes);
        assert_eq!(answer.text(), RESULT, "{answer:?}");
        let mut arrived = self.upstream.take().0;
        assert_eq!(arrived.len(), 1);
        arrived.remove(0)
    }

    /// Nothing of it reached the server.
    fn refuses(&self, bytes: &[u8]) -> Answer {
        let answer = self.send(bytes);
        assert_eq!(self.upstream.take(), (vec![], vec![]), "{answer:?}");
        answer
    }

    /// Newest first.
    fn traces(&self) -> Vec<Value> {
        let listed = self.cli.json(&["trace", "list"]).unwrap();
        listed.as_array().or_else(|| listed["traces"].as_array()).unwrap().clone()
    }
}

fn printed(places: &Places, words: &[&str]) -> Result<String, Broken> {
    let output = Command::new(&places.agentgate).arg("envoy").args(words).output().doing("agentgate")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(Broken(text(&output.stderr))) }
}

fn furnish(certificates: &Certificates, certs: &Path) -> Result<(), Broken> {
    fs::create_dir_all(certs).doing(certs.display())?;
    for (name, stem) in [(format!("filter/{NODE}"), format!("filter-{NODE}")), ("gateway".into(), "listener".into())] {
        let issued = certificates.issue(&name, &[])?;
        fs::copy(issued.certificate, certs.join(format!("{stem}.pem"))).doing("a certificate")?;
        fs::copy(issued.key, certs.join(format!("{stem}.key"))).doing("a key")?;
    }
    fs::copy(certificates.authority(), certs.join("authority.pem")).doing("the authority")?;
    Ok(())
}

fn with(headers: &[(&'static str, &'static [u8])], body: &str) -> Vec<u8> {
    request("POST", "/mcp", &[&HEADERS[..], headers].concat(), body.as_bytes())
}

#[test]
fn an_allowed_call_passes_and_what_is_not_is_answered_in_the_filters_words() {
    let gate = Gate::outbound("enforce", None);
    let call = |tool: &str, arguments: &Value| {
        post(
            &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
                .to_string(),
        )
    };
    let read = call("read_note", &json!({"id": 1}));
    for _ in 0..2 {
        gate.passes(&read);
    }
    let denied = gate.refuses(&call("delete_note", &json!({"id": 1})));
    assert_eq!((denied.status, denied.header("content-type")), (200, Some("application/json")));
    assert_eq!(denied.json()["result"]["isError"], true, "{denied:?}");

    let gated = call("add_note", &json!({"title": "x", "text": "y"}));
    let pending = gate.refuses(&gated);
    let verdict = &pending.json()["result"]["_meta"]["agentgate/verdict"];
    assert_eq!(verdict["verdict"], "pending", "{pending:?}");
    gate.cli.text(&["approve", "grant", verdict["approval"].as_str().unwrap(), "--yes", "--reason", "agreed"]).unwrap();
    gate.passes(&gated);
    gate.refuses(&gated);

    let traces = gate.traces();
    let verdicts: Vec<_> = traces.iter().rev().map(|trace| trace["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["allow", "allow", "deny", "pending", "allow", "pending"], "one record for each call");
    assert!(traces.iter().all(|trace| trace["no_outcome"] == true && trace["outcome"].is_null()), "{traces:?}");
    assert_eq!(traces[5]["principal"], "spiffe://agentgate.local/agent/laptop");
    let shown = gate.cli.text(&["trace", "show", &traces[5]["sequence"].to_string()]).unwrap();
    assert!(shown.contains("no outcome: asked by ext_authz"), "{shown}");
}

#[test]
fn attempts_to_get_a_call_past_it_reach_nothing() {
    let gate = Gate::outbound("enforce", Some("e2e/policies/everything"));
    let large = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{}"}}}}"#, "x".repeat(1 << 20));
    let chunked = |body: &str| {
        let head = "POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\naccept: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes()
    };
    let attempts: Vec<(&str, Vec<u8>, u16)> = vec![
        ("two names", post(REFUSED), 400),
        ("no body", post(""), 400),
        ("chunked, two names", chunked(REFUSED), 400),
        ("larger than is taken", post(&large), 413),
        ("a repeated header", with(&[("mcp-protocol-version", b"2025-11-25")], CALL), 400),
        (
            "a header of no text",
            request("POST", "/mcp", &[HEADERS[0], HEADERS[1], ("mcp-protocol-version", b"2025-\xff")], CALL.as_bytes()),
            400,
        ),
        ("a body that says it is whole", with(&[("x-envoy-auth-partial-body", b"false")], REFUSED), 400),
        ("another page", with(&[("origin", b"https://page.example")], CALL), 403),
        ("an upgrade", with(&[("connection", b"upgrade"), ("upgrade", b"websocket")], CALL), 403),
        ("a path beside it", request("POST", "/mcp/", &HEADERS, CALL.as_bytes()), 403),
        ("a path after it", request("POST", "/mcp;x", &HEADERS, CALL.as_bytes()), 403),
        ("a body on GET", request("GET", "/mcp", &HEADERS, CALL.as_bytes()), 400),
    ];
    for (what, bytes, status) in &attempts {
        let answer = gate.refuses(bytes);
        assert_eq!(answer.status, *status, "{what}: {answer:?}");
    }
    let recorded = gate.traces();
    let rules: Vec<_> = recorded.iter().rev().map(|trace| trace["rule"].as_str().unwrap()).collect();
    assert_eq!(
        rules,
        [
            "gate.duplicate_key",
            "gate.body_empty",
            "gate.duplicate_key",
            "gate.header_repeated",
            "gate.header_not_text",
            "gate.duplicate_key",
            "gate.origin",
            "gate.body_unexpected",
        ],
        "what Envoy itself refuses, and what is no call, has no record"
    );
    for stripped in [
        "x-envoy-max-retries",
        "x-envoy-retry-on",
        "x-envoy-auth-partial-body",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-http-method.override",
        "x-forwarded-host",
    ] {
        let arrived = gate.passes(&with(&[(stripped, b"5xx")], CALL));
        assert_eq!(arrived.values(stripped), Vec::<&str>::new(), "{stripped}");
    }
}

#[test]
fn a_body_in_pieces_with_trailers_is_read_whole_before_anything_moves() {
    let gate = Gate::outbound("enforce", Some("e2e/policies/everything"));
    let stream = |body: &'static str| {
        let (first, second) = body.as_bytes().split_at(10);
        let trailers = vec![("x-checksum", &b"1"[..])];
        let headers = HEADERS.to_vec();
        http2::exchange(
            gate.address,
            &http2::Stream { method: "POST", path: "/mcp", headers, body: vec![first, second], trailers },
        )
        .unwrap()
    };
    let refused = stream(REFUSED);
    assert_eq!(gate.upstream.take(), (vec![], vec![]), "{refused:?}");
    assert_eq!(stream(CALL).text(), RESULT);
    assert_eq!(gate.upstream.take().0.len(), 1);

    let whole = post(CALL);
    let (most, last) = whole.split_at(whole.len() - 1);
    let mut connection = Connection::open(gate.address).unwrap();
    connection.send(most).unwrap();
    let before = gate.traces().len();
    assert_eq!(gate.upstream.take(), (vec![], vec![]));
    connection.send(last).unwrap();
    assert_eq!(connection.answer().unwrap().text(), RESULT);
    assert_eq!(gate.traces().len(), before + 1);
}

#[test]
fn an_observing_gate_lets_all_through_and_obeys_an_order_to_enforce() {
    let gate = Gate::outbound("observe", Some("e2e/policies/everything"));
    let arrived = gate.passes(&with(&[("x-http-method-override", b"PUT")], REFUSED));
    assert_eq!(arrived.values("x-http-method-override"), ["PUT"], "it changes nothing");
    let observed = gate.traces().remove(0);
    assert_eq!((observed["verdict"].as_str(), observed["observed"].as_bool()), (Some("deny"), Some(true)), "{observed}");
    gate.cli.text(&["enforce", "notes", "--reason", "it is time", "--yes"]).unwrap();
    assert_eq!(gate.refuses(&post(REFUSED)).status, 400);
    gate.passes(&post(CALL));
    gate.cli.text(&["kill", "server", "notes", "--reason", "now"]).unwrap();
    gate.refuses(&post(CALL));
}

#[test]
fn a_kill_holds_where_a_route_names_a_server_that_its_filter_was_never_granted() {
    let misspelt = [("agentgate.server: notes", "agentgate.server: ntoes")];
    let gate = Gate::edited(&["--at", "outbound", "--mode", "observe"], None, &misspelt).unwrap();
    gate.passes(&post(CALL));
    let status = gate.cli.text(&["status"]).unwrap();
    assert!(status.contains("names the server `ntoes`") && status.contains("(1 call, the last "), "{status}");
    gate.cli.text(&["kill", "everything", "--reason", "now"]).unwrap();
    gate.refuses(&post(CALL));
    gate.cli.text(&["resume", "everything"]).unwrap();
    gate.passes(&post(CALL));
}

#[test]
fn without_a_control_plane_nothing_passes_and_with_one_again_it_does() {
    let mut gate = Gate::outbound("enforce", Some("e2e/policies/everything"));
    gate.passes(&post(CALL));
    gate.control_plane.kill();
    let answer = gate.refuses(&post(CALL));
    assert_eq!(answer.status, 503, "{answer:?}");
    gate.control_plane.begin().unwrap();
    eventually("it passes again", || (gate.send(&post(CALL)).text() == RESULT).then_some(())).unwrap();
    assert!(gate.envoy.is_running());
}

#[test]
fn an_envoy_that_shows_too_little_lets_nothing_through_and_check_says_why() {
    let body = "                      with_request_body:\n                        max_request_bytes: 1048576\n                        \
                allow_partial_message: false\n                        pack_as_bytes: true\n";
    for (from, to, status, said) in [
        ("encode_raw_headers: true", "encode_raw_headers: false", 503, "encode_raw_headers"),
        (body, "", 400, "refused unread"),
        (
            "max_request_bytes: 1048576\n                        allow_partial_message: false",
            "max_request_bytes: 20\n                        allow_partial_message: true",
            413,
            "refused unread",
        ),
        ("agentgate.server: notes", "agentgate.servers: notes", 503, "`agentgate.servers`"),
        ("agentgate.server: notes", "agentgate.server: others", 200, "may not ask for the server `others`"),
    ] {
        let words = ["--at", "outbound", "--mode", "enforce"];
        let gate = Gate::edited(&words, Some("e2e/policies/everything"), &[(from, to)]).unwrap();
        let answer = gate.refuses(&post(CALL));
        assert_eq!(answer.status, status, "{to}: {answer:?}");
        assert!(answer.text().contains(said), "{to}: {answer:?}");
    }
}

#[test]
fn before_a_server_callers_are_known_by_their_certificates() {
    let gate = Gate::start(&["--at", "inbound", "--mode", "enforce"], Some("e2e/policies/everything")).unwrap();
    let mut command = Command::new(&gate.places.python);
    command.arg(gate.places.repository.join("e2e/peers/tls_caller.py")).arg(gate.address.port().to_string());
    let own = gate.certificates.issue("agent/a1", &[]).unwrap();
    command.args(["/mcp", CALL]).arg(gate.certificates.authority()).arg(own.certificate).arg(own.key);
    let output = command.output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["body"], RESULT, "{answer}");
    assert_eq!(gate.traces()[0]["principal"], "spiffe://agentgate.local/agent/a1");
    assert!(gate.directory.path().exists());
}
