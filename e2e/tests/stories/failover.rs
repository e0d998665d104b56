//! The primary of a real PostgreSQL dies and its standby takes its place: with synchronous replication nothing that was answered
//! is lost, and without it what is lost is found, refused and told.

use crate::replicas::{
    MORE, call, checkpoint, each_ran_once, extends, head, is_gapless, metric, more_arrive, passes, plan, ready, under_load,
};
use agentgate_e2e::postgres::Postgres;
use agentgate_e2e::{ControlPlane, World, eventually, http1};
use serde_json::{Value, json};

fn promote(standby: &Postgres) {
    assert_eq!(standby.sql("postgres", "SELECT pg_promote()").unwrap(), "t");
}

fn reload(server: &Postgres, setting: &str) {
    server.sql("postgres", &format!("ALTER SYSTEM SET {setting}")).unwrap();
    server.sql("postgres", "SELECT pg_reload_conf()").unwrap();
}

/// What each control plane says to its operator.
fn status(world: &World, control_plane: &ControlPlane) -> Value {
    world.stack.cli_of(&world.places, control_plane).json(&["status"]).unwrap()
}

/// The standby receives nothing any more.
fn cut_off(standby: &Postgres) {
    reload(standby, "primary_conninfo = ''");
    eventually("it is on its own", || {
        (standby.sql("postgres", "SELECT count(*) FROM pg_stat_wal_receiver").unwrap() == "0").then_some(())
    })
    .unwrap();
}

#[test]
fn without_synchronous_replication_a_standby_that_lagged_is_a_fork_and_nobody_writes_to_it() {
    let mut primary = Postgres::start(&[]).unwrap();
    let database = primary.database().unwrap();
    let mut standby = primary.standby().unwrap();
    let mut world = plan(primary.url_with(&standby, &database), &["second"]).start().unwrap();
    assert!(passes(world.stack.gate, "before"));
    let before = head(&primary, &database);
    eventually("the standby has what there is", || (head(&standby, &database) >= before).then_some(())).unwrap();
    cut_off(&standby);
    let kept = head(&standby, &database);
    assert!(passes(world.stack.gate, "lost"), "acknowledged by the primary alone");
    let seen = head(&primary, &database);
    assert!(seen > kept);
    for control_plane in [&world.stack.control_plane, &world.stack.others[0]] {
        checkpoint(control_plane, seen);
    }
    let known = world.newest_trace("before").unwrap()["call_id"].as_str().unwrap().to_owned();
    primary.kill();
    promote(&standby);

    for control_plane in [&world.stack.control_plane, &world.stack.others[0]] {
        let said = eventually("it finds the fork", || Some(ready(control_plane)).filter(|said| said.text().contains("a fork")));
        assert_eq!(said.unwrap().status, 503);
        let why = status(&world, control_plane)["journal"]["unavailable"].as_str().unwrap().to_owned();
        for words in ["was seen, and the store ends at", "is promised and not in this store", "start every control plane again"] {
            assert!(why.contains(words), "{words} in {why}");
        }
        assert!(metric(control_plane, "agentgate_journal_forked") > 0.0);
        let shown = world.stack.cli_of(&world.places, control_plane).json(&["trace", "show", &known]).unwrap();
        assert_eq!(shown["trace"]["verdict"], "allow", "what is there is read: {shown}");
    }
    let refused = http1::exchange(world.stack.gate, &call("after")).unwrap();
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("(journal: the decision cannot be recorded)"), "{message}");
    assert!(!message.contains("fork") && !message.contains("sequence"), "an agent learns nothing of the store: {message}");
    assert_eq!(head(&standby, &database), kept, "nothing was written to it");

    // The operator brings back the store that has what was promised.
    standby.stop();
    primary.again().unwrap();
    world.stack.control_plane.kill();
    world.stack.others[0].kill();
    world.stack.control_plane.begin().unwrap();
    world.stack.others[0].begin().unwrap();
    eventually("calls go on", || passes(world.stack.gate, "again").then_some(())).unwrap();
    assert_eq!(world.newest_trace("lost").unwrap()["verdict"], "allow");
    is_gapless(&primary, &database);
}

#[test]
fn a_replica_that_served_what_a_fail_over_lost_says_so_and_one_that_was_away_starts() {
    let mut primary = Postgres::start(&[]).unwrap();
    let database = primary.database().unwrap();
    let standby = primary.standby().unwrap();
    let mut world = plan(primary.url_with(&standby, &database), &["second"]).start().unwrap();
    assert!(passes(world.stack.gate, "before"));
    let early = checkpoint(&world.stack.others[0], head(&primary, &database));
    world.stack.others[0].end().unwrap();
    eventually("calls go on without it", || passes(world.stack.gate, "while_away").then_some(())).unwrap();
    let both_have = checkpoint(&world.stack.control_plane, head(&primary, &database));
    assert!(both_have.size > early.size, "what the one that is away remembers is behind");
    eventually("the standby has what there is", || (head(&standby, &database) >= both_have.size).then_some(())).unwrap();
    cut_off(&standby);
    let kept = head(&standby, &database);
    assert!(passes(world.stack.gate, "lost"), "acknowledged by the primary alone");
    let served = checkpoint(&world.stack.control_plane, head(&primary, &database).max(kept + 1));
    world.stack.control_plane.kill();
    primary.kill();
    promote(&standby);

    world.stack.control_plane.begin().unwrap();
    let told = status(&world, &world.stack.control_plane);
    let why = told["unready"].as_str().unwrap();
    assert!(why.contains("it was rolled back: ") && why.contains("and this control plane signed "), "{why}");
    let remembered = &told["log"]["rolled_back"];
    assert_eq!((&remembered[0]["remembers"], &remembered[1]), (&json!("directory"), &Value::Null), "{remembered}");
    assert!(remembered[0]["size"].as_u64() >= Some(served.size), "{remembered}");
    assert!(metric(&world.stack.control_plane, "agentgate_log_rolled_back") > 0.0);
    assert_eq!(head(&standby, &database), kept, "it writes nothing");

    world.stack.others[0].begin().unwrap();
    let told = status(&world, &world.stack.others[0]);
    assert_eq!((&told["unready"], &told["log"]["rolled_back"]), (&Value::Null, &json!([])), "{told:#}");
    assert!(metric(&world.stack.others[0], "agentgate_log_rolled_back") < 1.0);
    let newest = checkpoint(&world.stack.others[0], kept);
    extends(&world.stack.others[0], &early, &newest);
    let still = status(&world, &world.stack.control_plane)["unready"].to_string();
    assert!(still.contains("it was rolled back: "), "{still}");
}

#[test]
fn with_synchronous_replication_a_fail_over_under_load_loses_nothing_that_was_answered() {
    let mut primary = Postgres::start(&[]).unwrap();
    let database = primary.database().unwrap();
    let standby = primary.standby().unwrap();
    reload(&primary, "synchronous_standby_names = 'standby'");
    eventually("the standby is synchronous", || {
        let state = primary.sql("postgres", "SELECT sync_state FROM pg_stat_replication").unwrap();
        (state == "sync").then_some(())
    })
    .unwrap();
    let world = plan(primary.url_with(&standby, &database), &["second"]).start().unwrap();
    let both = [&world.stack.control_plane, &world.stack.others[0]];
    let (through, refusals) = under_load(world.stack.gate, || {
        world.upstream().unwrap().until_arrived(MORE).unwrap();
        primary.kill();
        for control_plane in both {
            let said =
                eventually("it says that it cannot decide", || Some(ready(control_plane)).filter(|said| said.status == 503));
            assert!(said.unwrap().text().contains("the journal cannot write"));
        }
        promote(&standby);
        for control_plane in both {
            eventually("it recovers by itself", || (ready(control_plane).status == 200).then_some(())).unwrap();
        }
        more_arrive(&world);
    });
    println!("{through} passed; refused: {refusals:?}");
    assert!(refusals.keys().any(|why| why.contains("(journal: the decision cannot be recorded)")), "{refusals:?}");
    each_ran_once(&world, through);
    is_gapless(&standby, &database);
    for control_plane in both {
        let status = status(&world, control_plane);
        assert_eq!((&status["unready"], &status["journal"]["shared"]), (&Value::Null, &json!(true)), "{status}");
        assert!(metric(control_plane, "agentgate_journal_forked") < 1.0);
    }
}
