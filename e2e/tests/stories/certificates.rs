//! Certificates at a gate that runs: a whole authority is exchanged under load without a restart and without a refused call, a wrong one
//! put in a right one's place is noticed, and the operators' door opens to operators alone and says why it does not.

use crate::wire::{CALL, RESULT, post, recording};
use agentgate_e2e::upstream::Reply;
use agentgate_e2e::{Certificate, Certificates, Cli, World, eventually, http1};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// How many streams must come and go under the new authority alone, before the old one counts as gone.
const STREAMS: u64 = 4;

const AUTHORITY: &str = "authority.pem";

#[test]
fn a_whole_authority_is_exchanged_under_load_and_no_call_is_refused() {
    let mut plan = recording(|_| Reply::json(RESULT));
    plan.stack.configuration = "[limits]\ndrain_s = 1\n".into();
    let mut world = plan.start().unwrap();
    age_connections(&mut world);
    let old = world.stack.certificates.clone();
    let new = Certificates::init(&world.places, &world.directory().join("new-authority")).unwrap();
    let (old_operator, new_operator) = (world.stack.cli.clone(), new.issue("operator/me", &[]).unwrap());
    let operators = world.stack.control_plane.ports.operators.clone();
    let asks = |trusts: &Path| Cli::new(&world.places, &operators, &new_operator, trusts);
    let is_operator = |cli: &Cli| cli.run(&["status"]).unwrap().status.success();
    let (serves, trusts) = (old.directory.clone(), world.directory().join("gate/certs"));
    let load = Load::begin(world.stack.gate);

    // Both are trusted.
    let both = [fs::read(old.authority()).unwrap(), fs::read(new.authority()).unwrap()].concat();
    put(&both, &trusts.join(AUTHORITY));
    put(&both, &serves.join(AUTHORITY));
    let known_to_both = asks(&old.authority());
    eventually("the control plane trusts both", || is_operator(&known_to_both).then_some(())).unwrap();

    // New certificates for the filter and for the control plane.
    place(&new.issue("filter/laptop", &[]).unwrap(), &trusts, "filter-laptop");
    place(&new.issue("control-plane/laptop", &[]).unwrap(), &serves, "control-plane-laptop");
    let trusts_new_alone = asks(&new.authority());
    eventually("the control plane serves the new certificate", || is_operator(&trusts_new_alone).then_some(())).unwrap();

    // The old authority is nobody's any more.
    let new_alone = fs::read(new.authority()).unwrap();
    put(&new_alone, &trusts.join(AUTHORITY));
    assert!(is_operator(&old_operator), "this operator is refused for another reason");
    put(&new_alone, &serves.join(AUTHORITY));
    eventually("the control plane trusts the new one alone", || (!is_operator(&old_operator)).then_some(())).unwrap();
    let opened = world.stack.envoy.stat("wasmcustom.agentgate.streams_opened").unwrap();
    world.stack.envoy.until_stat("wasmcustom.agentgate.streams_opened", |now| now >= opened + STREAMS).unwrap();

    let (passed, refused) = load.end();
    assert!(passed > 0 && refused.is_empty(), "{passed} passed, {} did not: {:?}", refused.len(), refused.first());

    wrong_ones_in_its_place_are_noticed(&world, &new, &trusts);
}

/// The connection under it would live for an hour.
#[test]
fn a_certificate_that_was_outlived_is_replaced_without_a_restart() {
    let mut world = recording(|_| Reply::json(RESULT)).start().unwrap();
    let (own, certs) = (world.stack.certificates.clone(), world.directory().join("gate/certs"));
    let gate = world.stack.gate;
    let passes = || http1::exchange(gate, &post(CALL)).is_ok_and(|answer| answer.text() == RESULT);
    let updates = "cluster.agentgate.client_ssl_socket_factory.ssl_context_update_by_sds";
    let before = world.stack.envoy.stat(updates).unwrap();
    place(&own.issue("filter/laptop", &["--valid-for", "8s", "--force"]).unwrap(), &certs, "filter-laptop");
    world.stack.envoy.until_stat(updates, |read| read > before).unwrap();
    // Its next connections are opened under it.
    world.stack.control_plane.end().unwrap();
    world.stack.control_plane.begin().unwrap();
    eventually("calls pass under the short certificate", || passes().then_some(())).unwrap();
    eventually("and are refused when it is outlived", || (!passes()).then_some(())).unwrap();
    assert!(fs::read_to_string(world.stack.control_plane.log()).unwrap().contains("expired at"), "the log says why");
    place(&own.issue("filter/laptop", &["--force"]).unwrap(), &certs, "filter-laptop");
    eventually("the next one is used", || passes().then_some(())).unwrap();
}

/// Envoy reads what lies there again and again: what should not be able to ask is not, and the right one is, without a restart.
fn wrong_ones_in_its_place_are_noticed(world: &World, authority: &Certificates, certs: &Path) {
    let passes = || http1::exchange(world.stack.gate, &post(CALL)).is_ok_and(|answer| answer.text() == RESULT);
    let expired = ["--not-before", "-2h", "--valid-for", "1h", "--force"];
    for (name, options) in [("agent/laptop", &["--force"][..]), ("filter/laptop", &expired)] {
        place(&authority.issue(name, options).unwrap(), certs, "filter-laptop");
        eventually(format_args!("{name} {options:?} gets no verdict"), || (!passes()).then_some(())).unwrap();
        place(&authority.issue("filter/laptop", &["--force"]).unwrap(), certs, "filter-laptop");
        eventually("the right one gets verdicts again", || passes().then_some(())).unwrap();
    }
}

/// Who asks as an operator, with the CLI's exit code for it: 4 says that the certificate is not an operator's.
#[test]
fn the_operators_door_opens_to_operators_alone_and_says_why_it_does_not() {
    let world = recording(|_| Reply::json(RESULT)).start().unwrap();
    let (own, ports) = (&world.stack.certificates, &world.stack.control_plane.ports);
    let foreign = Certificates::init(&world.places, &world.directory().join("foreign")).unwrap();
    let cases: [(&Certificates, &str, &[&str], i32); 7] = [
        (own, "operator/me", &[], 0),
        (own, "operator/unheard-of", &[], 4),
        (own, "filter/laptop", &[], 4),
        (own, "agent/laptop", &[], 4),
        (&foreign, "operator/me", &[], 4),
        (own, "operator/me", &["--not-before", "-2h", "--valid-for", "1h"], 4),
        (own, "operator/me", &["--not-before", "+1h"], 4),
    ];
    for (authority, name, options, code) in cases {
        let certificate = authority.issue(name, &[options, &["--force"]].concat()).unwrap();
        for verb in [&["status"][..], &["trace", "list"], &["trace", "tail"]] {
            // An operator's tail has no end.
            if (verb, code) != (&["trace", "tail"], 0) {
                check(&Cli::new(&world.places, &ports.operators, &certificate, &own.authority()), verb, code);
            }
        }
    }
    let certificate = own.issue("operator/me", &["--force"]).unwrap();
    check(&Cli::new(&world.places, &ports.filters, &certificate, &own.authority()), &["status"], 4);
    check(&Cli::new(&world.places, "127.0.0.1:1", &certificate, &own.authority()), &["status"], 3);
}

fn check(cli: &Cli, verb: &[&str], code: i32) {
    let output = cli.run(verb).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{verb:?} {:?}: {said}", cli.environment);
    assert!(code == 0 || (output.stdout.is_empty() && said.lines().count() > 1), "{verb:?} says no more than: {said}");
}

/// So that each connection, with the identity of its handshake, is soon replaced by another.
fn age_connections(world: &mut World) {
    world.stack.control_plane.reconfigure("[tls]\n", "[tls]\nconnection_age_s_max = 1\n").unwrap();
    let gate = world.stack.gate;
    let passes = || http1::exchange(gate, &post(CALL)).is_ok_and(|answer| answer.text() == RESULT).then_some(());
    eventually("the gate finds the control plane again", passes).unwrap();
}

/// Both files of a pair, each moved into its place as `envoy/sds/filter.yaml` asks for.
fn place(pair: &Certificate, directory: &Path, name: &str) {
    put(&fs::read(&pair.certificate).unwrap(), &directory.join(format!("{name}.pem")));
    put(&fs::read(&pair.key).unwrap(), &directory.join(format!("{name}.key")));
}

fn put(bytes: &[u8], file: &Path) {
    let unfinished = file.with_extension("new");
    fs::write(&unfinished, bytes).unwrap();
    fs::rename(&unfinished, file).unwrap();
}

/// One client that calls without a pause.
struct Load {
    enough: Arc<AtomicBool>,
    client: JoinHandle<(usize, Vec<Value>)>,
}

// === impl Load ===

impl Load {
    fn begin(gate: SocketAddr) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let client = thread::spawn(move || {
            let (mut passed, mut refused) = (0, Vec::new());
            while !told.load(Ordering::Relaxed) {
                let answer = http1::exchange(gate, &post(CALL)).unwrap();
                if answer.text() == RESULT { passed += 1 } else { refused.push(answer.json()) }
            }
            (passed, refused)
        });
        Self { enough, client }
    }

    /// How many calls passed, and what the others were told.
    fn end(self) -> (usize, Vec<Value>) {
        self.enough.store(true, Ordering::Relaxed);
        self.client.join().unwrap()
    }
}
