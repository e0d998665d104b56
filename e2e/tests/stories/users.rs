//! Users behind agents, with a real OpenID provider: what its tokens say makes the principal, as far as the control plane's
//! configuration lets this filter say so. Envoy turns away what nobody vouched for, and no header makes anybody somebody else.

use crate::wire::{CALL, HEADERS, RESULT, recording};
use agentgate_e2e::http1::{Answer, request};
use agentgate_e2e::upstream::Reply;
use agentgate_e2e::{Broken, Edit, Places, Process, World, directory};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

/// An OpenID provider. It ends when it is dropped.
struct Provider {
    places: Places,
    issuer: String,
    _process: Process,
    _directory: TempDir,
}

// === impl Provider ===

impl Provider {
    fn start() -> Result<Self, Broken> {
        let (places, directory) = (Places::found()?, directory()?);
        let ready = directory.path().join("issuer");
        let mut command = places.node()?;
        command.arg(places.peer("typescript/idp.mjs")).env("READY_FILE", &ready);
        command.env("OIDC_PROVIDER", places.package("oidc-provider/lib/index.js"));
        let mut process = Process::start("the OpenID provider", command, &directory.path().join("idp.log"))?;
        let issuer = process.until("it listens", || fs::read_to_string(&ready).ok())?;
        Ok(Self { places, issuer, _process: process, _directory: directory })
    }

    /// Somebody signs in, as in a browser: their access token for this client.
    fn token(&self, client: &str, user: &str) -> String {
        let mut command = self.places.node().unwrap();
        command.arg(self.places.peer("typescript/sign_in.mjs")).args([&self.issuer, client, user]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn port(&self) -> &str {
        self.issuer.rsplit(':').next().unwrap()
    }

    /// A gate whose Envoy verifies this provider's tokens.
    fn world(&self) -> World {
        let mut plan = recording(|_| Reply::json(RESULT));
        plan.stack.policies = Some("e2e/policies/users".into());
        let filter = "                  - name: agentgate\n                    typed_config:\n";
        let cluster = "  clusters:\n";
        let route = r#"{ "path": "/mcp", "server": "notes" }"#;
        let claims = r#", "claims": { "metadata": "jwt", "names": ["iss", "sub", "client_id", "tenant"] } }"#;
        plan.stack.edits.extend([
            Edit::new(filter, format!("{}{filter}", self.verifier())),
            Edit::new(cluster, format!("{cluster}{}", self.cluster())),
            Edit::new(route, route.replace(" }", claims)),
        ]);
        plan.stack.configuration = format!(
            "[filter.users]\nissuers = [{:?}]\nagent_claim = \"client_id\"\n\
             agents = {{ laptop = \"spiffe://agentgate.local/agent/laptop\" }}\ntenant_claim = \"tenant\"\ntenants = [\"acme\"]\n",
            self.issuer
        );
        plan.start().unwrap()
    }

    /// Envoy's own filter, before ours.
    fn verifier(&self) -> String {
        let lines = [
            "- name: envoy.filters.http.jwt_authn".to_owned(),
            "  typed_config:".into(),
            r#"    "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"#.into(),
            "    providers:".into(),
            "      idp:".into(),
            format!("        issuer: {}", self.issuer),
            "        audiences: [notes]".into(),
            format!("        remote_jwks: {{http_uri: {{uri: \"{}/jwks\", cluster: idp, timeout: 5s}}}}", self.issuer),
            "        payload_in_metadata: jwt".into(),
            "    rules:".into(),
            "      - {match: {prefix: /}, requires: {provider_name: idp}}".into(),
        ];
        lines.map(|line| format!("{}{line}\n", " ".repeat(18))).concat()
    }

    fn cluster(&self) -> String {
        let endpoint = format!("{{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}", self.port());
        format!(
            "    - name: idp\n      type: STATIC\n      load_assignment:\n        cluster_name: idp\n        endpoints:\n          \
             - lb_endpoints:\n              - endpoint: {endpoint}\n"
        )
    }
}

fn call(world: &World, token: Option<&str>, more: &[(&str, &[u8])]) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let authorization = bearer.as_ref().map(|bearer| ("authorization", bearer.as_bytes()));
    let headers: Vec<(&str, &[u8])> = HEADERS.into_iter().chain(authorization).chain(more.iter().copied()).collect();
    world.http1(&request("POST", "/mcp", &headers, CALL.as_bytes())).unwrap()
}

/// It reached the tool server, and this is on record of it.
fn passed(world: &World, answer: &Answer) -> (Value, Value) {
    assert_eq!(answer.text(), RESULT);
    let arrived = world.upstream().unwrap().take().0;
    assert_eq!(arrived.len(), 1);
    assert!(arrived[0].values("authorization").is_empty(), "the token is for the gate: the server never sees it");
    let trace = world.newest_trace("search").unwrap();
    (trace["tenant"].clone(), trace["principal"].clone())
}

fn nothing_arrived(world: &World, answer: &Answer) {
    assert_eq!(world.upstream().unwrap().take(), (vec![], vec![]), "{answer:?}");
}

#[test]
fn a_trace_names_the_user_that_the_provider_vouched_for_and_a_policy_may_look() {
    let provider = Provider::start().unwrap();
    let world = provider.world();
    let file = world.directory().join("gate/envoy.yaml").display().to_string();
    assert_eq!(world.stack.cli.json(&["check", "--envoy-config", &file]).unwrap()["findings"], json!([]));
    let of = |user: &str| json!(format!("spiffe://agentgate.local/agent/laptop+user:{user}@{}", provider.issuer));
    let alice = provider.token("laptop", "alice");
    assert_eq!(passed(&world, &call(&world, Some(&alice), &[])), (json!("acme"), of("alice")));

    // Whatever the agent writes beside it changes nothing.
    let forged: [(&str, &[u8]); 6] = [
        ("x-user", b"bob"),
        ("x-tenant", b"default"),
        ("sub", b"bob"),
        ("x-jwt-payload", b"eyJzdWIiOiJib2IifQ"),
        ("x-forwarded-client-cert", b"URI=spiffe://agentgate.local/agent/other"),
        ("x-envoy-peer-metadata", b"bob"),
    ];
    assert_eq!(passed(&world, &call(&world, Some(&alice), &forged)), (json!("acme"), of("alice")));

    let refused = call(&world, Some(&provider.token("laptop", "bob")), &[]);
    nothing_arrived(&world, &refused);
    assert_eq!(refused.json()["result"]["_meta"]["agentgate/verdict"]["rule"], "not_alice", "{refused:?}");
    let trace = world.newest_trace("search").unwrap();
    assert_eq!((&trace["principal"], &trace["rule"]), (&of("bob"), &json!("not_alice")));
}

#[test]
fn envoy_turns_away_what_the_provider_did_not_vouch_for() {
    let (provider, other) = (Provider::start().unwrap(), Provider::start().unwrap());
    let world = provider.world();
    let alice = provider.token("laptop", "alice");
    let parts: Vec<&str> = alice.split('.').collect();
    let tampered = [parts[0], &parts[1].replacen('a', "b", 1), parts[2]].join(".");
    for (what, token) in [
        ("none", None),
        ("another issuer's", Some(other.token("laptop", "alice"))),
        ("a changed one", Some(tampered)),
        ("one without its signature", Some(format!("{}.{}.", parts[0], parts[1]))),
    ] {
        let answer = call(&world, token.as_deref(), &[("x-user", b"alice")]);
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        nothing_arrived(&world, &answer);
    }
    assert_eq!(world.traces().unwrap(), Vec::<Value>::new());
}

#[test]
fn a_token_that_names_a_foreign_tenant_or_another_client_is_refused() {
    let provider = Provider::start().unwrap();
    let world = provider.world();
    // What is there and no text is not what is not there.
    let unreadable = "the claim `tenant` is there, but is no text";
    for (client, user, why) in [
        ("laptop", "mallory", "the tenant `globex` is not among `tenants`"),
        ("phone", "alice", "the client `phone` is not among `agents`"),
        ("laptop", "list", unreadable),
        ("laptop", "object", unreadable),
        ("laptop", "number", unreadable),
        ("laptop", "truth", unreadable),
        ("laptop", "nothing", unreadable),
        ("laptop", "empty", unreadable),
        ("laptop", "lines", unreadable),
        ("laptop", "long", unreadable),
    ] {
        let answer = call(&world, Some(&provider.token(client, user)), &[]);
        nothing_arrived(&world, &answer);
        let error = &answer.json()["error"];
        assert_eq!(error["data"]["agentgate/verdict"]["cause"], "identity", "{error}");
        assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    }
    assert_eq!(world.traces().unwrap(), Vec::<Value>::new());
}
