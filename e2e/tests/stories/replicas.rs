//! A journal in a real PostgreSQL: one control plane on it, two that share it, one of them killed under load, the database
//! killed under load, and one that came back older than it was.

use crate::wire::{HEADERS, RESULT};
use agentgate_core::digest::Digest;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::note::Note;
use agentgate_core::transparency::proof::Plan as Proof;
use agentgate_core::transparency::tile::{Tile, Tiles};
use agentgate_e2e::http1::{self, request};
use agentgate_e2e::postgres::Postgres;
use agentgate_e2e::upstream::{Protocol, Reply};
use agentgate_e2e::{Broken, Cli, ControlPlane, World, WorldPlan, eventually, now};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long a client waits for an answer at most: the filter's own deadline, and a loaded machine beside it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

/// Calls that run between two blows: enough that each falls among calls under way.
pub(crate) const MORE: usize = 40;

pub(crate) fn plan(url: String, others: &'static [&'static str]) -> WorldPlan {
    let mut plan = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap();
    plan.stack.policies = Some("e2e/policies/everything".into());
    plan.stack.database = Some(url);
    plan.stack.others = others;
    plan
}

/// A call of its own tool: so the tool server, and the records, tell one from another.
pub(crate) fn call(tool: &str) -> Vec<u8> {
    let params = json!({"name": tool, "arguments": {"query": "milk"}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    request("POST", "/mcp", &HEADERS, body.as_bytes())
}

pub(crate) fn passes(gate: SocketAddr, tool: &str) -> bool {
    http1::exchange(gate, &call(tool)).is_ok_and(|answer| answer.text() == RESULT)
}

/// What everybody who calls through a gate sees while something breaks: each call is sent again until it passed, and each
/// answer before that is a refusal with a reason.
fn load(gate: SocketAddr, client: usize, enough: &AtomicBool) -> (usize, BTreeMap<String, usize>) {
    let (mut through, mut refusals) = (0, BTreeMap::new());
    while !enough.load(Ordering::Relaxed) {
        let tool = format!("tool_{client}_{through}");
        let begun = now();
        eventually(format_args!("`{tool}` passes"), || {
            let sent = now();
            let answer = http1::exchange(gate, &call(&tool)).unwrap();
            assert!(sent.elapsed() < ANSWERED_WITHIN, "{answer:?} after {:?}", sent.elapsed());
            if answer.text() == RESULT {
                return Some(());
            }
            let refusal = answer.json();
            assert_eq!(refusal["error"]["code"], 503, "{answer:?}");
            *refusals.entry(refusal["error"]["message"].as_str().unwrap().to_owned()).or_default() += 1;
            None
        })
        .unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30));
        through += 1;
    }
    (through, refusals)
}

/// Four clients call without a pause while `during` goes on. How many calls passed, and what refused the others.
pub(crate) fn under_load(gate: SocketAddr, during: impl FnOnce()) -> (usize, BTreeMap<String, usize>) {
    let enough = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let enough = Arc::clone(&enough);
            thread::spawn(move || load(gate, client, &enough))
        })
        .collect();
    during();
    enough.store(true, Ordering::Relaxed);
    let (mut through, mut refusals) = (0, BTreeMap::new());
    for (passed, refused) in clients.into_iter().map(|client| client.join().unwrap()) {
        through += passed;
        refused.into_iter().for_each(|(why, times)| *refusals.entry(why).or_default() += times);
    }
    (through, refusals)
}

/// Waits until so many calls more have run.
pub(crate) fn more_arrive(world: &World) {
    let upstream = world.upstream().unwrap();
    upstream.until_arrived(upstream.arrived().len() + MORE).unwrap();
}

pub(crate) fn every_trace(cli: &Cli) -> Vec<Value> {
    let mut traces = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut arguments = vec!["trace", "list", "--limit", "1000"];
        arguments.extend(after.as_deref().into_iter().flat_map(|token| ["--after", token]));
        let page = cli.json(&arguments).unwrap();
        traces.extend(page["traces"].as_array().unwrap().iter().cloned());
        after = page["next_page_token"].as_str().filter(|token| !token.is_empty()).map(ToOwned::to_owned);
        if after.is_none() {
            return traces;
        }
    }
}

/// A metric of a control plane; without such a line 0.
pub(crate) fn metric(control_plane: &ControlPlane, name: &str) -> f64 {
    let text = http1::get(control_plane.ports.metrics.parse().unwrap(), "/metrics").unwrap().text();
    let values = text.lines().filter(|line| !line.starts_with('#') && line.starts_with(name));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

pub(crate) fn ready(control_plane: &ControlPlane) -> http1::Answer {
    http1::get(control_plane.ports.metrics.parse().unwrap(), "/readyz").unwrap()
}

/// The newest checkpoint, once it covers the whole journal.
pub(crate) fn checkpoint(control_plane: &ControlPlane, head: u64) -> Checkpoint {
    let address: SocketAddr = control_plane.ports.metrics.parse().unwrap();
    let newest = || {
        let note = http1::get(address, "/checkpoint").ok()?;
        let checkpoint = Checkpoint::parse(Note::parse(&note.body).ok()?.text()).ok()?;
        (checkpoint.size >= head).then_some(checkpoint)
    };
    eventually(format_args!("a checkpoint over {head} records"), newest).unwrap()
}

/// That this control plane's log is the one of `old`, grown.
pub(crate) fn extends(control_plane: &ControlPlane, old: &Checkpoint, new: &Checkpoint) {
    let address: SocketAddr = control_plane.ports.metrics.parse().unwrap();
    let tiles = Tiles::new(new.size, |tile: Tile| {
        let answer = http1::get(address, &format!("/{}", tile.path()))?;
        if answer.status == 200 { Ok(answer.body) } else { Err(Broken(format!("{answer:?}"))) }
    });
    let proof = Proof::consistency(old.size, new.size).unwrap().proof(&tiles).unwrap();
    proof.extends((old.size, old.root), (new.size, new.root)).unwrap();
}

pub(crate) fn head(postgres: &Postgres, database: &str) -> u64 {
    postgres.sql(database, "SELECT sequence FROM agentgate.head").unwrap().parse().unwrap()
}

/// No sequence is missing, no id is there twice, and no version of a stream is missing.
pub(crate) fn is_gapless(postgres: &Postgres, database: &str) {
    let gaps = "SELECT count(*) = max(sequence) AND count(*) = (SELECT sequence FROM agentgate.head) \
                AND count(DISTINCT id) = count(*) FROM agentgate.records";
    assert_eq!(postgres.sql(database, gaps).unwrap(), "t");
    let streams =
        "SELECT count(*) FROM (SELECT stream FROM agentgate.records GROUP BY stream HAVING count(*) <> max(version)) AS g";
    assert_eq!(postgres.sql(database, streams).unwrap(), "0");
}

/// Every call that the tool server saw is on record as allowed: decided once, and run once.
pub(crate) fn each_ran_once(world: &World, through: usize) {
    // A gate answers its caller before it reports what it gave up.
    let told = || Some(every_trace(&world.stack.cli)).filter(|traces| by_tool(traces).values().all(|of| is_told(of)));
    let traces = eventually("what became of each call that was decided twice", told).unwrap();
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for trace in &traces {
        assert_eq!(trace["verdict"], "allow", "{trace}");
        *ids.entry(trace["call_id"].as_str().unwrap()).or_default() += 1;
    }
    ids.iter().for_each(|(id, times)| assert_eq!(*times, 1, "{id} was decided more than once"));
    let mut ran: BTreeMap<String, usize> = BTreeMap::new();
    for arrived in world.upstream().unwrap().arrived() {
        *ran.entry(arrived.json()["params"]["name"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(ran.len(), through, "each that passed ran");
    let allowed = by_tool(&traces);
    for (tool, times) in &ran {
        assert_eq!(*times, 1, "`{tool}` ran more than once");
        // What was decided for a gate that had stopped waiting never ran.
        let records = allowed.get(tool.as_str()).map(Vec::as_slice).unwrap_or_default();
        let may_have_run = records.iter().filter(|trace| trace["outcome"] != "not_released").count();
        assert_eq!(may_have_run, 1, "`{tool}` ran once, and is on record as {records:?}");
    }
}

/// The records by the tool that they name.
fn by_tool(traces: &[Value]) -> BTreeMap<&str, Vec<&Value>> {
    let mut allowed: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for trace in traces {
        allowed.entry(trace["target"].as_str().unwrap()).or_default().push(trace);
    }
    allowed
}

/// Whether it is on record what became of each of several decisions.
fn is_told(records: &[&Value]) -> bool {
    records.len() < 2 || records.iter().all(|trace| !trace["outcome"].is_null())
}

#[test]
fn a_control_plane_on_postgresql_decides_records_lists_and_publishes() {
    let postgres = Postgres::shared().unwrap();
    let database = postgres.database().unwrap();
    let mut world = plan(postgres.url(&database), &[]).start().unwrap();
    assert!(passes(world.stack.gate, "first"));
    let trace = world.newest_trace("first").unwrap();
    assert_eq!(trace["verdict"], "allow", "{trace}");
    let before = checkpoint(&world.stack.control_plane, trace["sequence"].as_u64().unwrap());
    world.stack.control_plane.kill();
    world.stack.control_plane.begin().unwrap();
    eventually("the gate finds it again", || passes(world.stack.gate, "second").then_some(())).unwrap();
    assert_eq!(world.newest_trace("first").unwrap()["sequence"], trace["sequence"]);
    let after = checkpoint(&world.stack.control_plane, world.newest_trace("second").unwrap()["sequence"].as_u64().unwrap());
    assert!(after.size > before.size);
    extends(&world.stack.control_plane, &before, &after);
    let status = world.stack.cli.json(&["status"]).unwrap();
    assert_eq!((&status["journal"]["backend"], &status["journal"]["shared"]), (&json!("postgres"), &json!(true)));
    is_gapless(postgres, &database);
}

#[test]
fn two_replicas_lose_no_call_and_decide_none_twice_while_one_is_killed_under_load() {
    let postgres = Postgres::shared().unwrap();
    let database = postgres.database().unwrap();
    let mut plan = plan(postgres.url(&database), &["second"]);
    plan.stack.workers = 4;
    let mut world = plan.start().unwrap();
    let gate = world.stack.gate;
    let before = checkpoint(&world.stack.others[0], 1);
    let (through, refusals) = under_load(gate, || {
        more_arrive(&world);
        world.stack.control_plane.kill();
        more_arrive(&world);
        world.stack.control_plane.begin().unwrap();
        more_arrive(&world);
        // What the first one left is decided by the second now: the other way round, it is the first's turn.
        world.stack.others[0].kill();
        more_arrive(&world);
        world.stack.others[0].begin().unwrap();
        more_arrive(&world);
    });
    println!("{through} passed; refused: {refusals:?}");
    for control_plane in [&world.stack.control_plane, &world.stack.others[0]] {
        let cli = world.stack.cli_of(&world.places, control_plane);
        let status = cli.json(&["status"]).unwrap();
        assert_eq!((&status["journal"]["shared"], &status["unready"]), (&json!(true), &Value::Null), "{status}");
    }
    each_ran_once(&world, through);
    is_gapless(postgres, &database);
    publish_one_log(&world, head(postgres, &database), &before);
}

/// Both replicas come to one root, of which `before` was an earlier one.
fn publish_one_log(world: &World, head: u64, before: &Checkpoint) {
    let both = [&world.stack.control_plane, &world.stack.others[0]];
    let [one, other] = both.map(|control_plane| checkpoint(control_plane, head));
    for (control_plane, newest) in both.into_iter().zip([&one, &other]) {
        extends(control_plane, before, newest);
    }
    // An outcome may have come in between: then one of them is the other, grown.
    let (older, newer, whose) = if one.size <= other.size { (&one, &other, both[1]) } else { (&other, &one, both[0]) };
    extends(whose, older, newer);
}

/// Two replicas, and a gate for each that asks no other.
fn sides(world: &World, plan: &agentgate_e2e::Plan) -> [(Cli, agentgate_e2e::Envoy, SocketAddr); 2] {
    let [one, other] = [(&world.stack.control_plane, "gate-one"), (&world.stack.others[0], "gate-other")];
    [one, other].map(|(control_plane, name)| {
        let directory = world.directory().join(name);
        let (envoy, gate) = world.stack.gate_of(&world.places, control_plane, plan, &directory).unwrap();
        (world.stack.cli_of(&world.places, control_plane), envoy, gate)
    })
}

#[test]
fn what_is_ordered_or_granted_at_one_replica_holds_at_the_other() {
    let postgres = Postgres::shared().unwrap();
    let mut plan = plan(postgres.url(&postgres.database().unwrap()), &["second"]);
    // The default policy: `add_note` waits for a person.
    plan.stack.policies = None;
    let stack = plan.stack.clone();
    let world = plan.start().unwrap();
    let [(one, _one, gate_one), (other, _other, gate_other)] = sides(&world, &stack);

    let asked = http1::exchange(gate_one, &call("add_note")).unwrap().json()["result"]["_meta"]["agentgate/verdict"].clone();
    assert_eq!(asked["verdict"], "pending", "{asked}");
    let id = asked["approval"].as_str().unwrap();
    other.text(&["approve", "grant", id, "--yes", "--reason", "agreed"]).unwrap();
    assert!(passes(gate_one, "add_note"), "what was granted at the other is used at the one");
    for cli in [&one, &other] {
        assert_eq!(cli.json(&["approve", "show", id]).unwrap()["state"], "used");
    }
    let again = http1::exchange(gate_other, &call("add_note")).unwrap().json()["result"]["_meta"]["agentgate/verdict"].clone();
    assert_eq!(again["verdict"], "pending", "{again}");
    let second = again["approval"].as_str().unwrap();
    assert_ne!(second, id, "a grant is for one call, at whichever replica");
    one.text(&["approve", "grant", second, "--yes", "--reason", "agreed"]).unwrap();
    assert!(passes(gate_other, "add_note"));

    for (at, elsewhere, cli) in [(gate_one, gate_other, &one), (gate_other, gate_one, &other)] {
        for gate in [at, elsewhere] {
            assert_eq!(http1::exchange(gate, &call("search_notes")).unwrap().text(), RESULT);
        }
        cli.text(&["kill", "server", "notes", "--reason", "an incident"]).unwrap();
        let killed = http1::exchange(elsewhere, &call("search_notes")).unwrap().text();
        assert!(killed.contains("an incident"), "the very next call, at the other replica: {killed}");
        cli.text(&["resume", "server", "notes"]).unwrap();
        // A filter that was told of the kill refuses by itself until it is told of its end.
        eventually("and so does its end", || passes(elsewhere, "search_notes").then_some(())).unwrap();
    }
}

#[test]
fn calls_are_refused_with_the_reason_while_the_database_is_gone_and_nothing_acknowledged_is_lost() {
    let mut postgres = Postgres::start(&[]).unwrap();
    let database = postgres.database().unwrap();
    let world = plan(postgres.url(&database), &["second"]).start().unwrap();
    let (gate, both) = (world.stack.gate, [&world.stack.control_plane, &world.stack.others[0]]);
    let (through, refusals) = under_load(gate, || {
        world.upstream().unwrap().until_arrived(MORE).unwrap();
        let known = world.traces().unwrap()[0]["call_id"].as_str().unwrap().to_owned();
        postgres.kill();
        for control_plane in both {
            let answer =
                eventually("it says that it cannot decide", || Some(ready(control_plane)).filter(|said| said.status == 503));
            assert!(answer.unwrap().text().contains("the journal cannot write"));
            let shown = world.stack.cli_of(&world.places, control_plane).run(&["trace", "show", &known]).unwrap();
            let said = String::from_utf8_lossy(&shown.stderr).into_owned();
            assert!(!shown.status.success() && said.contains("journal"), "{said} {}", String::from_utf8_lossy(&shown.stdout));
        }
        postgres.again().unwrap();
        for control_plane in both {
            eventually("it recovers by itself", || (ready(control_plane).status == 200).then_some(())).unwrap();
        }
        more_arrive(&world);
    });
    println!("{through} passed; refused: {refusals:?}");
    assert!(refusals.keys().any(|why| why.contains("journal")), "{refusals:?}");
    each_ran_once(&world, through);
    is_gapless(&postgres, &database);
}

#[test]
fn both_replicas_stop_writing_when_the_database_comes_back_older() {
    let mut postgres = Postgres::start(&[]).unwrap();
    let database = postgres.database().unwrap();
    let mut world = plan(postgres.url(&database), &["second"]).start().unwrap();
    let both = [&world.stack.control_plane, &world.stack.others[0]];
    assert!(passes(world.stack.gate, "before"));
    postgres.stop();
    postgres.save("older").unwrap();
    postgres.again().unwrap();
    eventually("it passes again", || passes(world.stack.gate, "lost").then_some(())).unwrap();
    let seen = head(&postgres, &database);
    for control_plane in both {
        checkpoint(control_plane, seen);
    }
    postgres.stop();
    postgres.restore("older").unwrap();
    postgres.again().unwrap();
    let older = head(&postgres, &database);
    assert!(older < seen);
    for control_plane in both {
        let answer = eventually("it finds the fork", || Some(ready(control_plane)).filter(|said| said.text().contains("a fork")));
        assert_eq!(answer.unwrap().status, 503);
        let status = world.stack.cli_of(&world.places, control_plane).json(&["status"]).unwrap();
        assert!(status["journal"]["unavailable"].as_str().unwrap().contains("a fork"), "{status}");
        assert!(metric(control_plane, "agentgate_journal_forked") > 0.0);
    }
    let refused = http1::exchange(world.stack.gate, &call("after")).unwrap().json();
    assert_eq!(refused["error"]["code"], 503, "{refused}");
    assert_eq!(head(&postgres, &database), older, "nothing was written to it");
    // Nor after a start, when nobody remembers what was seen but the directories of both logs.
    for again in 0..2 {
        world.stack.control_plane.kill();
        world.stack.others[0].kill();
        world.stack.control_plane.begin().unwrap();
        world.stack.others[0].begin().unwrap();
        for control_plane in [&world.stack.control_plane, &world.stack.others[0]] {
            let status = world.stack.cli_of(&world.places, control_plane).json(&["status"]).unwrap();
            assert!(status["unready"].as_str().unwrap().contains("it was rolled back: "), "{again}: {status}");
            assert_eq!(status["log"]["rolled_back"][0]["remembers"], "directory", "{again}: {status}");
        }
        assert_eq!(head(&postgres, &database), older, "{again}: nothing was written to it");
    }
}

/// What `agentgate-control-plane journal` says, or why it would not.
fn journal(world: &World, arguments: &[&str]) -> Result<Value, String> {
    let output = std::process::Command::new(&world.places.control_plane)
        .arg("journal")
        .args(arguments)
        .args(["--output", "json"])
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).unwrap());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_journal_is_copied_to_postgresql_and_back_and_nothing_of_it_changes() {
    let postgres = Postgres::shared().unwrap();
    let url = postgres.url(&postgres.database().unwrap());
    let mut plan = plan(url.clone(), &[]);
    plan.stack.database = None;
    let mut world = plan.start().unwrap();
    let gate = world.stack.gate;
    (0..20).for_each(|number| assert!(passes(gate, &format!("before_{number}"))));
    let known = world.newest_trace("before_7").unwrap();
    let before = checkpoint(&world.stack.control_plane, known["sequence"].as_u64().unwrap());
    let shown = |world: &World| world.stack.cli.json(&["trace", "show", known["call_id"].as_str().unwrap()]).unwrap();
    let whole = shown(&world);
    let files = world.stack.control_plane.journal().display().to_string();
    let used = journal(&world, &["copy", "--from", &files, "--to", &url]).unwrap_err();
    assert!(used.contains("another process has opened the journal"), "{used}");
    let none = journal(&world, &["copy", "--from", "/nowhere", "--to", &url]).unwrap_err();
    assert!(none.contains("holds no journal"), "{none}");

    world.stack.control_plane.end().unwrap();
    let there = journal(&world, &["copy", "--from", &files, "--to", &url]).unwrap();
    assert!(there["bodies"].as_u64().unwrap() > 0 && there["slots"].as_u64().unwrap() > 0, "{there}");
    assert!(there["signed"].as_u64().unwrap() >= before.size, "{there}");
    let again = journal(&world, &["copy", "--from", &files, "--to", &url]).unwrap_err();
    assert!(again.contains("the target is not empty"), "{again}");
    let embedded = "backend = \"embedded\"\ndirectory = \"journal\"";
    let in_database = format!("backend = \"postgres\"\nurl = {url:?}");
    world.stack.control_plane.reconfigure(embedded, &in_database).unwrap();
    assert_eq!(shown(&world), whole, "its arguments among it, which only its key can read");
    eventually("calls go on", || passes(gate, "between").then_some(())).unwrap();
    let between = checkpoint(&world.stack.control_plane, world.newest_trace("between").unwrap()["sequence"].as_u64().unwrap());
    extends(&world.stack.control_plane, &before, &between);

    world.stack.control_plane.end().unwrap();
    let back = world.directory().join("back").display().to_string();
    let here = journal(&world, &["copy", "--from", &url, "--to", &back]).unwrap();
    assert!(here["head"].as_u64() > there["head"].as_u64(), "{here}");
    world.stack.cli.text(&["journal", "check", &back]).unwrap();
    let in_files = format!("backend = \"embedded\"\ndirectory = {back:?}");
    world.stack.control_plane.reconfigure(&in_database, &in_files).unwrap();
    assert_eq!(shown(&world), whole);
    eventually("calls go on", || passes(gate, "after").then_some(())).unwrap();
    let after = checkpoint(&world.stack.control_plane, world.newest_trace("after").unwrap()["sequence"].as_u64().unwrap());
    extends(&world.stack.control_plane, &between, &after);
}

#[test]
fn a_schema_goes_a_step_back_and_forward_again_and_nobody_starts_on_half_a_copy() {
    let postgres = Postgres::shared().unwrap();
    let database = postgres.database().unwrap();
    let mut world = plan(postgres.url(&database), &[]).start().unwrap();
    assert!(passes(world.stack.gate, "before"));
    let config = world.directory().join("control-plane/control-plane.toml").display().to_string();
    world.stack.control_plane.end().unwrap();
    let migrate = |world: &World, more: &[&str]| journal(world, &[&["migrate", "--config", &config], more].concat());
    assert_eq!(migrate(&world, &["--back"]).unwrap(), json!({"before": 2, "after": 1}));
    let removing = migrate(&world, &["--back"]).unwrap_err();
    assert!(removing.contains("would remove the journal"), "{removing}");
    assert_eq!(migrate(&world, &[]).unwrap(), json!({"before": 1, "after": 2}));
    assert_eq!(migrate(&world, &[]).unwrap(), json!({"before": 2, "after": 2}));
    let unfinished = Digest::of("agentgate/slot/copying/1", b"");
    let mark = format!("INSERT INTO agentgate.slots (name, value) VALUES ('\\x{unfinished}', '\\x00')");
    postgres.sql(&database, &mark).unwrap();
    let refused = world.stack.control_plane.begin().unwrap_err();
    assert!(refused.to_string().contains("an unfinished copy"), "{refused}");
    postgres.sql(&database, &format!("DELETE FROM agentgate.slots WHERE name = '\\x{unfinished}'")).unwrap();
    world.stack.control_plane.begin().unwrap();
    eventually("calls go on", || passes(world.stack.gate, "after").then_some(())).unwrap();
    assert_eq!(world.newest_trace("before").unwrap()["verdict"], "allow");
}
