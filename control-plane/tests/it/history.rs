//! The past over real gRPC: what was seen, whom a policy would have refused, and why a call was.

use crate::world::{EPOCH, PATIENCE, Setup, World, ask, call, outcome};
use agentgate_control_plane::config::Limits;
use agentgate_policies::folder;
use agentgate_proto::v1::learn_tools_response::What as Learned;
use agentgate_proto::v1::policy_client::PolicyClient;
use agentgate_proto::v1::show_impact_response::What as Shown;
use agentgate_proto::v1::{self, OutcomeKind, Verdict};
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};

type Client = PolicyClient<Channel>;

async fn client(world: &World, name: &str) -> Client {
    PolicyClient::new(world.channel(world.running.operators, name).await.unwrap())
}

async fn learned(client: &mut Client) -> Result<v1::LearnedTools, Status> {
    let mut answers = client.learn_tools(v1::LearnToolsRequest::default()).await?.into_inner();
    loop {
        let answer = tokio::time::timeout(PATIENCE, answers.message()).await.unwrap()?.expect("the tools come last");
        if let Some(Learned::Tools(tools)) = answer.what {
            assert!(answers.message().await.unwrap().is_none());
            return Ok(tools);
        }
    }
}

async fn impact(client: &mut Client, candidate: Vec<v1::FileContent>) -> Result<v1::Impact, Status> {
    let request = v1::ShowImpactRequest { candidate, ..v1::ShowImpactRequest::default() };
    let mut answers = client.show_impact(request).await?.into_inner();
    loop {
        let answer = tokio::time::timeout(PATIENCE, answers.message()).await.unwrap()?.expect("the impact comes last");
        if let Some(Shown::Impact(impact)) = answer.what {
            return Ok(impact);
        }
    }
}

fn entry(counter: u64, what: v1::entry::What, reason: &str) -> v1::Entry {
    v1::Entry { counter, what: Some(what), reason: reason.into() }
}

/// A world with some of everything in its past.
async fn lived(setup: Setup) -> World {
    let world = World::with(setup).await;
    let mut vm = world.vm().await;
    let list = v1::Ask { observe: true, ..ask(1, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#) };
    assert!(vm.decided(list).await.observed);
    let tools = vec![r#"{"name":"read_note","annotations":{"readOnlyHint":true}}"#.into()];
    let said = v1::Outcome { kind: OutcomeKind::Completed.into(), tools, tools_cut: true, ..v1::Outcome::default() };
    vm.report(vec![entry(1, v1::entry::What::Outcome(said), "")]).await;
    vm.decided(call(2, "read_note")).await;
    vm.decided(call(3, "delete_note")).await;
    vm.report(vec![
        entry(4, v1::entry::What::Observed(call(4, "delete_note")), ""),
        entry(5, v1::entry::What::Refused(ask(5, "")), "body_too_large"),
        entry(6, v1::entry::What::Refused(call(6, "list_notes")), ""),
    ])
    .await;
    vm.report(vec![outcome(4, OutcomeKind::Failed)]).await;
    vm.decided(v1::Ask { observe: true, ..call(7, "nobodys") }).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_read_by_whoever_may_look() {
    for embedded in [false, true] {
        let world = lived(Setup { embedded, ..Setup::default() }).await;
        let mut viewer = client(&world, "operator-viewer").await;
        let tools = learned(&mut viewer).await.unwrap();
        let rows: Vec<_> = tools.tools.iter().map(|t| (t.tool.as_str(), t.calls, t.failed, !t.definition.is_empty())).collect();
        assert_eq!(
            rows,
            [("delete_note", 2, 1, false), ("list_notes", 1, 0, false), ("nobodys", 1, 0, false), ("read_note", 1, 0, true)]
        );
        assert_eq!((tools.calls_read, tools.lists_cut, tools.policy.len()), (5, 1, 1));
        assert!(tools.from_us > 0);

        let impact = impact(&mut viewer, Vec::new()).await.unwrap();
        let rows: Vec<_> = impact.rows.iter().map(|r| (r.rule.as_str(), r.calls, r.were_enforced)).collect();
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        assert_eq!(rows[0], ("tool_blocked", 2, 1));
        let refused = ("gate.refused_by_filter", 1, 1);
        assert!(sorted.contains(&("gate.body_too_large", 1, 1)) && sorted.contains(&refused), "{sorted:?}");
        assert!(sorted.contains(&("unknown_tool", 1, 0)), "{sorted:?}");
        assert_eq!(impact.calls, impact.allowed + rows.iter().map(|(_, calls, _)| calls).sum::<u64>());
        assert_eq!(impact.not_decidable, 0);

        let epoch: String = EPOCH.iter().map(|byte| format!("{byte:02x}")).collect();
        for (counter, rule, verdict) in [
            (2, "gate.argument_unknown", Verdict::Deny),
            (3, "tool_blocked", Verdict::Deny),
            (4, "tool_blocked", Verdict::Deny),
            (5, "gate.body_too_large", Verdict::Deny),
            (6, "gate.refused_by_filter", Verdict::Deny),
        ] {
            let request = v1::ExplainCallRequest { id: format!("{epoch}-{counter}") };
            let explained = viewer.explain_call(request).await.unwrap().into_inner();
            let trace = explained.trace.unwrap();
            if counter == 2 {
                assert_eq!(explained.rules[0].rule, trace.rule);
            } else {
                assert_eq!((trace.verdict(), explained.rules[0].rule.as_str()), (verdict, rule));
            }
            assert!(explained.again_same, "{rule}: {}", explained.again_differs);
            assert_eq!(explained.edits.is_empty(), !explained.no_edit.is_empty(), "{rule}");
        }
        let absent = viewer.explain_call(v1::ExplainCallRequest { id: "999".into() }).await.unwrap_err();
        assert_eq!(absent.code(), Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_is_tried_and_one_that_cannot_serve_is_malformed() {
    let world = lived(Setup::default()).await;
    let mut viewer = client(&world, "operator-viewer").await;
    let folder = || {
        let files = folder::read(&world.path().join("policies")).unwrap().into_iter();
        files.map(|file| v1::FileContent { path: file.path, content: file.bytes.into() }).collect::<Vec<_>>()
    };
    let same = impact(&mut viewer, folder()).await.unwrap();
    assert_eq!(same, impact(&mut viewer, Vec::new()).await.unwrap(), "the same policy has the same impact");
    let mut other = folder();
    let table = other.iter_mut().find(|file| file.path == "tools.yaml").unwrap();
    table.content = (String::from_utf8(table.content.to_vec()).unwrap() + "  nobodys: { tag: open, scope: read }\n").into();
    let other = impact(&mut viewer, other).await.unwrap();
    assert_eq!((other.allowed, other.policy_digest == same.policy_digest), (same.allowed + 1, false));
    let broken = impact(&mut viewer, vec![v1::FileContent { path: "tools.yaml".into(), content: "a: [".into() }]).await;
    let broken = broken.unwrap_err();
    assert_eq!(broken.code(), Code::InvalidArgument);
    assert!(broken.message().contains("tools.yaml"), "{}", broken.message());
    // Larger than one message of another rpc may be.
    let large = (0..4).map(|number| v1::FileContent { path: format!("rego/{number}.rego"), content: vec![b'#'; 1 << 20].into() });
    let large = impact(&mut viewer, large.collect()).await.unwrap_err();
    assert_eq!(large.code(), Code::InvalidArgument, "{large:?}");
    let too_large =
        (0..6).map(|number| v1::FileContent { path: format!("rego/{number}.rego"), content: vec![b'#'; 1 << 20].into() });
    assert_eq!(impact(&mut viewer, too_large.collect()).await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_decided_while_the_past_is_read_and_a_replica_that_leaves_ends_the_reading() {
    let limits = Limits { drain_s: 10, ..Limits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    let mut vm = world.vm().await;
    for counter in 1..=3_000 {
        vm.decided(call(counter, "delete_note")).await;
    }
    let mut viewer = client(&world, "operator-viewer").await;
    let request = v1::ShowImpactRequest::default();
    let mut reading = viewer.show_impact(request.clone()).await.unwrap().into_inner();
    let crowded = viewer.show_impact(request).await.unwrap_err();
    assert_eq!(crowded.code(), Code::ResourceExhausted, "{crowded:?}");
    for counter in 3_001..=3_020 {
        assert_eq!(vm.decided(call(counter, "delete_note")).await.verdict(), Verdict::Deny);
    }
    let leaving = tokio::spawn(world.running.leave());
    drop(vm);
    let ended = async {
        loop {
            match reading.message().await {
                Ok(Some(v1::ShowImpactResponse { what: Some(Shown::Progress(_)) })) => {}
                other => break other,
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    let hands = world.hands.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            hands.advance(Duration::from_millis(50));
        }
    });
    tokio::time::timeout(PATIENCE, leaving).await.unwrap().unwrap();
    // On a quick machine it was through before.
    let through = matches!(&ended, Ok(Some(v1::ShowImpactResponse { what: Some(Shown::Impact(_)) })));
    assert!(through || ended.as_ref().is_err_and(|status| status.code() == Code::Unavailable), "{ended:?}");
}
