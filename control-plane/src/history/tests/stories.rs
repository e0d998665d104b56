//! What the past says of tools, of a policy and of one call.

use super::*;
use crate::history::scan::{Span, TOLD_EVERY_RECORDS};
use v1::Verdict;

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn folder(edit: impl Fn(&str, String) -> String) -> Vec<v1::FileContent> {
    let files = agentgate_policies::folder::read(&default_folder()).unwrap();
    let file = |file: agentgate_policies::SourceFile| {
        let content = edit(&file.path, String::from_utf8(file.bytes).unwrap()).into();
        v1::FileContent { path: file.path, content }
    };
    files.into_iter().map(file).collect()
}

#[tokio::test]
async fn tools_are_learned_from_lists_and_from_calls() {
    let scene = Scene::new().await;
    let listed = scene.say(1, LIST.into(), true).await.sequence;
    let old = r#"{"name":"read_note"}"#;
    let new = r#"{"name":"read_note","inputSchema":{"type":"object","properties":{"id":{"type":"integer"}}}}"#;
    scene.outcome(listed, v1::OutcomeKind::Completed, &[old, r#"{"name":"quiet"}"#, "no definition"]).await;
    let listed = scene.say(2, LIST.into(), true).await.sequence;
    scene.outcome(listed, v1::OutcomeKind::Completed, &[new]).await;
    scene.call(3, "read_note", r#"{"id":1}"#).await;
    scene.hands.advance(Duration::from_secs(5));
    let failed = scene.call(4, "read_note", r#"{"id":"one","how":null}"#).await.sequence;
    scene.outcome(failed, v1::OutcomeKind::Failed, &[]).await;
    scene.say(5, "[]".into(), true).await;

    let learned = scene.learned(Time::from_micros(0), "").await;
    assert_eq!((learned.calls_read, learned.sightings_left_out, learned.from_us), (2, 1, 100 * SECOND_US));
    assert!(learned.policy[0].path == "tools.yaml" && learned.policy[0].content.starts_with(b"# The tool table"));
    let [quiet, read] = learned.tools.as_slice() else { panic!("{:?}", learned.tools) };
    assert_eq!((quiet.tool.as_str(), quiet.calls, quiet.definitions), ("quiet", 0, 1));
    assert_eq!((read.server.as_str(), read.tool.as_str(), read.definition.as_ref()), ("notes", "read_note", new.as_bytes()));
    assert_eq!((read.calls, read.failed, read.definitions, read.last_called_us), (2, 1, 2, 105 * SECOND_US));
    let arguments: Vec<_> = read.arguments.iter().map(|a| (a.name.as_str(), a.types.join(" "))).collect();
    assert_eq!(arguments, [("how", "null".to_owned()), ("id", "integer string".to_owned())]);
    assert!(!read.arguments_left_out && !read.definition_left_out);

    assert_eq!(scene.learned(Time::from_micros(0), "other").await.tools, []);
    let later = scene.learned(Time::from_micros(101 * SECOND_US), "").await;
    assert_eq!((later.tools.len(), later.tools[0].calls, later.from_us), (1, 1, 100 * SECOND_US), "only what came since");
}

#[tokio::test]
async fn impact_says_whom_enforcing_would_have_refused_by_the_policy_alone() {
    let scene = Scene::new().await;
    scene.call(1, "read_note", r#"{"id":1}"#).await;
    scene.call(2, "delete_note", r#"{"id":1}"#).await;
    let observed = |tool: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#);
    scene.hands.advance(Duration::from_secs(1));
    let last = scene.say(3, observed("delete_note"), true).await;
    assert!(last.observed && last.verdict() == Verdict::Deny);
    let asked = scene.call(4, "add_note", NOTE).await;
    scene.grant(&asked.approval).await;
    assert_eq!(scene.call(5, "add_note", NOTE).await.verdict(), Verdict::Allow);
    scene.control.kill(KillTarget::Everything, "an incident", &operator()).await.unwrap();
    assert_eq!(scene.call(6, "read_note", r#"{"id":1}"#).await.rule, "gate.killed");
    scene.say(7, "[]".into(), false).await;
    scene.control.resume(KillTarget::Everything, "over", &operator()).await.unwrap();
    scene.call(8, "nobodys", "{}").await;
    let gone = Bytes::copy_from_slice(&[9; 32]);
    let erased = v1::BodyRef { address: gone.clone(), session: gone.slice(..16), ..v1::BodyRef::default() };
    let erased = v1::DecisionRecord { body: Some(erased), ..scene.decisions().await.remove(0).1 };
    scene.write(scene.clock.now(), What::Decision(erased), None).await;

    let head = scene.journal.health().head;
    let impact = scene.impact(Time::from_micros(0), Vec::new()).await.unwrap();
    assert_eq!((impact.calls, impact.allowed, impact.not_decidable, impact.rows_cut), (8, 2, 1, false));
    let rows: Vec<_> = impact
        .rows
        .iter()
        .map(|row| (row.target.as_str(), row.verdict(), row.rule.as_str(), row.calls, row.were_enforced))
        .collect();
    assert_eq!(
        rows,
        [
            ("add_note", Verdict::Pending, "tool_gated", 2, 1),
            ("delete_note", Verdict::Deny, "tool_blocked", 2, 1),
            ("", Verdict::Deny, "gate.batch", 1, 1),
            ("nobodys", Verdict::Deny, "unknown_tool", 1, 1),
        ]
    );
    let [_, row, ..] = impact.rows.as_slice() else { panic!() };
    assert_eq!((row.last_us, row.last_call_id.as_str()), (101 * SECOND_US, "01010101010101010101010101010101-3"));
    assert_eq!((row.tenant.as_str(), row.principal.as_str()), ("t", "spiffe://a/agent/x"));

    for (server, tool, wanted) in [
        ("notes", "", (8, 2)),
        ("other", "", (0, 0)),
        ("notes", "add_note", (2, 0)),
        // As an order for the tool covers it.
        ("notes", "Add_Note", (2, 0)),
        ("notes", "add", (0, 0)),
    ] {
        let request = v1::ShowImpactRequest { server: server.into(), tool: tool.into(), ..v1::ShowImpactRequest::default() };
        let impact = scene.asked(request).await.unwrap();
        assert_eq!((impact.calls, impact.allowed), wanted, "{server} {tool}");
    }

    let open =
        |path: &str, text: String| if path == "tools.yaml" { text + "  nobodys: { tag: open, scope: read }\n" } else { text };
    let candidate = scene.impact(Time::from_micros(0), folder(open)).await.unwrap();
    assert_eq!((candidate.calls, candidate.allowed), (8, 3));
    assert_ne!(candidate.policy_digest, impact.policy_digest);
    assert_eq!(scene.journal.health().head, head, "asking changes nothing");
}

#[tokio::test]
async fn a_candidate_that_could_not_serve_is_refused_by_name() {
    let scene = Scene::new().await;
    let broken = |path: &str, text: String| if path.ends_with("notes.rego") { text + "allow {" } else { text };
    let file = |path: &str, bytes: usize| v1::FileContent { path: path.into(), content: vec![b'#'; bytes].into() };
    let half = agentgate_policies::folder::FILE_BYTES_MAX;
    let large: Vec<_> = (0..5).map(|number| file(&format!("rego/{number}.rego"), half)).collect();
    for (candidate, said) in [
        (folder(broken), "rego/notes.rego"),
        (vec![file("../x", 1)], "../x"),
        (vec![file("tools.yaml", 1)], "rego"),
        (large, "more than 4194304 bytes"),
    ] {
        let error = scene.impact(Time::from_micros(0), candidate).await.unwrap_err();
        assert!(matches!(&error, HistoryError::Candidate(why) if why.contains(said)), "{said}: {error}");
    }
}

#[tokio::test]
async fn a_decision_is_explained_by_its_rules() {
    let scene = Scene::new().await;
    let sequence = scene.call(1, "delete_note", r#"{"id":1}"#).await.sequence;
    let pending = scene.call(2, "add_note", NOTE).await;
    scene.grant(&pending.approval).await;
    let granted = scene.call(3, "add_note", NOTE).await.sequence;
    let unknown = scene.call(4, "nobodys", "{}").await.sequence;
    let read = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///x"}}"#;
    let unmatched = scene.say(9, read.into(), false).await.sequence;
    let unread = scene.say(5, "[]".into(), false).await.sequence;
    let strange = scene.call(6, "search_notes", r#"{"Query":"x"}"#).await.sequence;
    let forbidden = scene.call(7, "search_notes", r#"{"query":"my password"}"#).await.sequence;
    scene.control.kill(KillTarget::Everything, "an incident", &operator()).await.unwrap();
    let killed = scene.call(8, "read_note", r#"{"id":1}"#).await.sequence;
    for (sequence, rule, set, in_file, edited) in [
        (sequence, "tool_blocked", "deny", true, true),
        (pending.sequence, "tool_gated", "require_approval", true, true),
        (granted, "tool_gated", "require_approval", true, false),
        (unknown, "unknown_tool", "deny", true, true),
        (unmatched, "gate.unmatched", "", false, false),
        (unread, "gate.batch", "", false, false),
        (strange, "gate.argument_lookalike", "", false, false),
        (forbidden, "forbidden_query", "deny", true, false),
        (killed, "gate.killed", "", false, false),
    ] {
        let explained = scene.history.explain(&sequence.to_string()).await.unwrap();
        let first = &explained.rules[0];
        assert_eq!((first.rule.as_str(), first.set.as_str(), !first.file.is_empty()), (rule, set, in_file), "{first:?}");
        assert_eq!((first.line > 0, !first.text.is_empty()), (in_file, in_file), "{first:?}");
        assert!(!first.reason.is_empty());
        assert!(explained.again_same && explained.again_differs.is_empty(), "{rule}: {}", explained.again_differs);
        assert_eq!(
            (!explained.edits.is_empty(), explained.no_edit.is_empty()),
            (edited, edited),
            "{rule}: {}",
            explained.no_edit
        );
        assert!(explained.policy_in_force);
        assert_eq!(explained.trace.unwrap().sequence, sequence);
    }
    let explained = scene.history.explain(&forbidden.to_string()).await.unwrap();
    let query = explained.facts.iter().find(|fact| fact.path == "input.arguments.query").unwrap();
    assert_eq!(query.value, r#""my password""#);
    assert_eq!(explained.rules[0].file, "rego/notes.rego");
    assert!(explained.rules.iter().any(|rule| rule.set == "allow"), "the others that spoke: {:?}", explained.rules);
    assert!(matches!(scene.history.explain("999").await, Err(HistoryError::Trace(_))));
}

#[tokio::test]
async fn what_cannot_be_decided_again_says_why() {
    let scene = Scene::new().await;
    scene.call(1, "delete_note", r#"{"id":1}"#).await;
    let (at, record, body) = scene.decisions().await.remove(0);
    let stored = scene.sealed(&body).await.stored;
    let gone = Bytes::copy_from_slice(&[9; 32]);
    let erased = v1::BodyRef { address: gone.clone(), session: gone.slice(..16), ..v1::BodyRef::default() };
    for (record, says) in [
        (v1::DecisionRecord { settle_version: 1, ..record.clone() }, "version 1 of the law"),
        (v1::DecisionRecord { policy_digest: gone, ..record.clone() }, "no longer has the policy"),
        (v1::DecisionRecord { body: Some(erased), ..record.clone() }, "erased"),
        (
            v1::DecisionRecord { verdict: Verdict::Pending.into(), engine: "another".into(), ..record },
            "it comes to deny by `tool_blocked`; it was decided by the engine `another`",
        ),
    ] {
        let sequence = scene.write(at, What::Decision(record), Some(stored.clone())).await;
        let explained = scene.history.explain(&sequence.to_string()).await.unwrap();
        assert!(!explained.again_same && explained.again_differs.contains(says), "{says}: {}", explained.again_differs);
        assert!(explained.edits.is_empty() && !explained.no_edit.is_empty());
    }
    let flood = v1::FloodRecord { reason: "batch".into(), count: 7, body: None, ..v1::FloodRecord::default() };
    let sequence = scene.write(at, What::Flood(flood), None).await;
    let explained = scene.history.explain(&sequence.to_string()).await.unwrap();
    assert_eq!((explained.rules[0].rule.as_str(), explained.again_same), ("gate.batch", false));
}

#[tokio::test]
async fn the_search_leaves_nothing_out_though_times_go_back_a_little() {
    let scene = Scene::new().await;
    let flood = || What::Flood(v1::FloodRecord { body: None, ..v1::FloodRecord::default() });
    let times: Vec<u64> = (0..400).map(|number| number * 5 + if number % 7 == 0 { 0 } else { 55 }).collect();
    for seconds in &times {
        scene.write(Time::from_micros(seconds * SECOND_US), flood(), None).await;
    }
    let head = scene.journal.health().head;
    for since in [0, 1, 60, 333, 1_000, 2_049, 2_050, 2_051, 9_999] {
        let span = Span::since(scene.journal.as_ref(), Time::from_micros(since * SECOND_US)).await.unwrap();
        let first = times.iter().position(|at| *at >= since).map_or(head + 1, |at| head - 399 + at as u64);
        assert!(span.from <= first && span.end == head + 1, "{since}: {span:?}, and {first} has to be in");
        assert!(first - span.from <= 60, "{since}: {span:?} begins long before {first}");
    }
}

#[tokio::test]
async fn one_scan_runs_at_a_time_and_ends_with_whoever_asked() {
    let scene = Scene::new().await;
    let flood = || What::Flood(v1::FloodRecord { body: None, ..v1::FloodRecord::default() });
    for _ in 0..3 * TOLD_EVERY_RECORDS {
        scene.write(scene.clock.now(), flood(), None).await;
    }
    let learn = || scene.history.learn(v1::LearnToolsRequest::default(), scene.leave.subscribe());
    let mut heeded = learn().unwrap();
    assert!(matches!(learn(), Err(HistoryError::Crowded { max: 1 })));
    let first = heeded.recv().await.unwrap().unwrap();
    assert!(
        matches!(first, Told::Progress(v1::Progress { records_read, records }) if records_read == TOLD_EVERY_RECORDS && records > 3_000)
    );
    done(heeded).await.unwrap();
    // Its place is free, and so is the one of a scan that nobody waits for.
    drop(learn().unwrap());
    let again = async {
        loop {
            match learn() {
                Ok(heeded) => break heeded,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let heeded = tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    done(heeded).await.unwrap();
    scene.leave.send_replace(true);
    let last = tokio::time::timeout(Duration::from_secs(20), done(learn().unwrap())).await.unwrap();
    assert!(matches!(last, Err(HistoryError::Leaving)), "{last:?}");
}
