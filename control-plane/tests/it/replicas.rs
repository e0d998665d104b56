//! Two control planes on one journal, over real gRPC: what one of them acknowledged, the other one obeys, shows and ends.

use crate::webhook::{next, receiver};
use crate::world::{EPOCH, PATIENCE, Setup, Vm, World, call, eventually, outcome, visit};
use agentgate_control_plane::config::Limits;
use agentgate_core::approval::shown_digest;
use agentgate_core::transparency::leaf::Kind;
use agentgate_proto::v1::approvals_client::ApprovalsClient;
use agentgate_proto::v1::control_client::ControlClient;
use agentgate_proto::v1::converse_request::Message as Said;
use agentgate_proto::v1::kill_target::Height;
use agentgate_proto::v1::record::What;
use agentgate_proto::v1::status_client::StatusClient;
use agentgate_proto::v1::trace_client::TraceClient;
use agentgate_proto::v1::{self, OutcomeKind, Verdict};
use prost::Message;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

const S: Duration = Duration::from_secs(1);

/// Two replicas.
struct Pair([World; 2]);

// === impl Pair ===

impl Pair {
    async fn new() -> Self {
        Self::with(&Setup::default()).await
    }

    async fn with(setup: &Setup) -> Self {
        let setup =
            || Setup { limits: setup.limits.clone(), configured: setup.configured.clone(), shared: true, ..Setup::default() };
        let one = World::with(setup()).await;
        let other = one.beside(&setup()).await;
        Self([one, other])
    }

    /// A VM of the same filter at each of them.
    async fn vms(&self) -> [Vm; 2] {
        [self.0[0].vm_of("filter-laptop", EPOCH).await, self.0[1].vm_of("filter-laptop", [8; 16]).await]
    }

    async fn records(&self) -> Vec<What> {
        let records = self.0[0].journal.follow(0, 10_000).await.unwrap();
        records.into_iter().map(|record| v1::Record::decode(record.bytes).unwrap().what.unwrap()).collect()
    }
}

async fn status(world: &World) -> v1::ShowStatusResponse {
    world.operator(StatusClient::new).await.show_status(v1::ShowStatusRequest {}).await.unwrap().into_inner()
}

async fn traces(world: &World) -> Vec<v1::CallTrace> {
    let request = v1::ListTracesRequest { page_size: 1_000, ..v1::ListTracesRequest::default() };
    world.operator(TraceClient::new).await.list_traces(request).await.unwrap().into_inner().traces
}

fn target(height: Height) -> Option<v1::KillTarget> {
    Some(v1::KillTarget { height: Some(height) })
}

fn everything() -> Option<v1::KillTarget> {
    target(Height::Everything(v1::Everything {}))
}

async fn kill(world: &World, target: Option<v1::KillTarget>) -> v1::OrderResponse {
    let request = v1::KillRequest { target, reason: "an incident".into() };
    world.operator(ControlClient::new).await.kill(request).await.unwrap().into_inner()
}

async fn resume(world: &World, target: Option<v1::KillTarget>) -> v1::OrderResponse {
    let request = v1::ResumeRequest { target, reason: String::new() };
    world.operator(ControlClient::new).await.resume(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_pushed_to_the_filters_of_every_replica_though_nothing_is_asked() {
    let pair = Pair::new().await;
    let mut vms = pair.vms().await;
    let notes = || target(Height::Tool(v1::ToolName { server: "notes".into(), tool: "add_note".into() }));
    for (at, told) in [(0, 1), (1, 0)] {
        let world = &pair.0[at];
        let mode = |mode: v1::Mode| v1::SetModeRequest { server: "notes".into(), mode: mode.into(), ..Default::default() };
        let mut control = world.operator(ControlClient::new).await;
        let mut check = async |what: &str, ack: v1::OrderResponse| {
            assert!(ack.changed, "{what}");
            for vm in &mut vms {
                assert_eq!(vm.stood().await.epoch, ack.epoch, "{what}, ordered at {at}");
            }
            assert_eq!(status(&pair.0[told]).await.orders.unwrap().epoch, ack.epoch, "{what}");
        };
        check("a kill of everything", kill(world, everything()).await).await;
        check("a kill of a tool", kill(world, notes()).await).await;
        check("a mode", control.set_mode(mode(v1::Mode::Observe)).await.unwrap().into_inner()).await;
        check("a resumed tool", resume(world, notes()).await).await;
        check("a mode forgotten", control.set_mode(mode(v1::Mode::Unspecified)).await.unwrap().into_inner()).await;
        check("everything resumed", resume(world, everything()).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_acknowledged_is_obeyed_by_the_next_call_at_any_replica() {
    let pair = Pair::new().await;
    let mut vms = pair.vms().await;
    for round in 0..40 {
        let (at, asked) = (round % 2, (round / 2) % 2);
        let counter = u64::try_from(round).unwrap() * 2 + 1;
        kill(&pair.0[at], everything()).await;
        let refused = vms[asked].decided(call(counter, "read_note")).await;
        assert_eq!((refused.verdict(), refused.rule.as_str()), (Verdict::Deny, "gate.killed"), "at {at}, asked {asked}");
        resume(&pair.0[at], everything()).await;
        assert_eq!(vms[asked].decided(call(counter + 1, "read_note")).await.verdict(), Verdict::Allow);
    }
}

/// Moves the clocks from look to look until `is_so`.
async fn looked(pair: &Pair, what: &str, is_so: impl AsyncFn() -> bool) {
    eventually(what, async || {
        pair.0.iter().for_each(|world| world.hands.advance(S));
        tokio::time::sleep(Duration::from_millis(20)).await;
        is_so().await.then_some(())
    })
    .await;
}

fn edit(world: &World, line: &str) {
    let tools = world.path().join("policies/tools.yaml");
    let text = fs::read_to_string(&tools).unwrap();
    fs::write(&tools, text + "  " + line + "\n").unwrap();
}

async fn digests(pair: &Pair) -> [Vec<u8>; 2] {
    let of = async |world| status(world).await.policy.unwrap().digest.to_vec();
    [of(&pair.0[0]).await, of(&pair.0[1]).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_in_force_at_every_replica_and_no_folder_takes_it_back() {
    let pair = Pair::new().await;
    let mut vms = pair.vms().await;
    let [first, _] = digests(&pair).await;
    for (at, other, tool) in [(0, 1, "brand_new"), (1, 0, "brand_newer")] {
        let before = digests(&pair).await;
        assert_eq!(before[0], before[1]);
        edit(&pair.0[at], &format!("{tool}: {{ tag: open, scope: read }}"));
        looked(&pair, "the edit is in force at both", async || {
            let [one, two] = digests(&pair).await;
            one == two && one != before[0]
        })
        .await;
        assert_eq!(vms[other].decided(call(u64::try_from(at).unwrap() + 1, tool)).await.verdict(), Verdict::Allow);
        let (in_force, epoch) = (digests(&pair).await, status(&pair.0[at]).await.orders.unwrap().epoch);
        // Both folders are looked at several times more: neither is put in force again.
        let until = pair.0[0].clock.elapsed() + S * 6;
        looked(&pair, "six more looks", async || pair.0[0].clock.elapsed() >= until).await;
        assert_eq!((digests(&pair).await, status(&pair.0[at]).await.orders.unwrap().epoch), (in_force, epoch));
        let notices = async |at: usize| status(&pair.0[at]).await.policy.unwrap().notices.join("\n");
        assert!(notices(other).await.contains("another replica's policy is in force"), "{}", notices(other).await);
        assert!(!notices(at).await.contains("another replica"), "{}", notices(at).await);
    }
    assert_ne!(digests(&pair).await[0], first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_brings_what_was_never_in_force_and_takes_nothing_back() {
    let pair = Pair::new().await;
    let before = digests(&pair).await;
    edit(&pair.0[0], "brand_new: { tag: open, scope: read }");
    looked(&pair, "the edit is in force", async || digests(&pair).await[1] != before[1]).await;
    let edited = digests(&pair).await;
    // The other one starts again with the folder that it always had.
    let Pair([one, other]) = pair;
    let pair = Pair([one, other.killed_and_restarted(&Setup::default()).await]);
    assert_eq!(digests(&pair).await, edited);
    let refused = status(&pair.0[1]).await.policy.unwrap().refused_edit;
    assert!(refused.contains("in force before") && refused.contains("edit the folder"), "{refused}");
    let until = pair.0[0].clock.elapsed() + S * 6;
    looked(&pair, "six looks", async || pair.0[0].clock.elapsed() >= until).await;
    assert_eq!(digests(&pair).await, edited);
    // With a folder that nobody ever had it starts a policy.
    edit(&pair.0[1], "brand_newest: { tag: open, scope: read }");
    let Pair([one, other]) = pair;
    let pair = Pair([one, other.killed_and_restarted(&Setup::default()).await]);
    let [_, there] = digests(&pair).await;
    assert_ne!(there, edited[1]);
    eventually("the first replica takes it up", async || (digests(&pair).await[0] == there).then_some(())).await;
    // And what was in force before comes back by an edit.
    let tools = |world: &World| world.path().join("policies/tools.yaml");
    let text = fs::read_to_string(tools(&pair.0[0])).unwrap();
    fs::write(tools(&pair.0[1]), text).unwrap();
    looked(&pair, "the edit is in force", async || digests(&pair).await == edited).await;
}

async fn granted(world: &World, approval: &str, grant: bool) -> Result<v1::Approval, Status> {
    let mut approvals = world.operator(ApprovalsClient::new).await;
    let shown = approvals.show_approval(v1::ShowApprovalRequest { id: approval.into() }).await?.into_inner().approval.unwrap();
    let seen = shown_digest(&shown.request).as_bytes().to_vec().into();
    let order = v1::DecideApprovalRequest { id: approval.into(), grant, seen, reason: "said so".into() };
    Ok(approvals.decide_approval(order).await?.into_inner().approval.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_asked_for_listed_answered_and_used_at_any_replica() {
    let pair = Pair::new().await;
    let mut vms = pair.vms().await;
    let mut counter = 0;
    for (asked, answered, used) in [(0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0)] {
        for grant in [true, false] {
            let story = format!("asked {asked}, answered {answered}, used {used}, grant {grant}");
            counter += 1;
            // Another title, another call: a denial stands for as long as the call would have waited.
            let tool = |again: u64| {
                let mut call = call(again, "add_note");
                call.body = String::from_utf8(call.body.to_vec()).unwrap().replace("\"x\"", &format!("\"{story}\"")).into();
                call
            };
            let waits = vms[asked].decided(tool(counter)).await;
            assert_eq!(waits.verdict(), Verdict::Pending, "{story}");
            // Whoever asks again at another replica waits for the same approval.
            let again = vms[1 - asked].decided(tool(counter + 1_000)).await;
            assert_eq!((again.verdict(), &again.approval), (Verdict::Pending, &waits.approval), "{story}");
            let mut approvals = pair.0[answered].operator(ApprovalsClient::new).await;
            let listed = approvals.list_approvals(v1::ListApprovalsRequest { all: false }).await.unwrap().into_inner().approvals;
            assert!(listed.iter().any(|listed| listed.id == waits.approval), "{story}");
            granted(&pair.0[answered], &waits.approval, grant).await.unwrap();
            assert!(granted(&pair.0[1 - answered], &waits.approval, grant).await.is_err(), "{story}: once");
            let verdict = vms[used].decided(tool(counter + 2_000)).await;
            if grant {
                assert_eq!(verdict.verdict(), Verdict::Allow, "{story}");
                let after = vms[1 - used].decided(tool(counter + 3_000)).await;
                assert_eq!(after.verdict(), Verdict::Pending, "{story}: one grant, one call");
                assert_ne!(after.approval, waits.approval, "{story}");
            } else {
                assert_eq!(verdict.verdict(), Verdict::Deny, "{story}");
                assert!(verdict.reason.contains("said so"), "{story}: {}", verdict.reason);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_approvers_at_two_replicas_one_is_first_and_of_two_retries_one_passes() {
    let pair = Pair::new().await;
    let [mut one, mut two] = pair.vms().await;
    for counter in 1..=10 {
        let waits = one.decided(call(counter, "add_note")).await;
        assert_eq!(waits.verdict(), Verdict::Pending);
        let (first, second) =
            tokio::join!(granted(&pair.0[0], &waits.approval, true), granted(&pair.0[1], &waits.approval, true));
        assert_eq!(u32::from(first.is_ok()) + u32::from(second.is_ok()), 1, "{first:?}\n{second:?}");
        let retry = |again: u64| v1::Ask { body: call(counter, "add_note").body, ..call(again, "add_note") };
        let (here, there) = tokio::join!(one.decided(retry(counter + 100)), two.decided(retry(counter + 100)));
        let mut verdicts = [here.verdict(), there.verdict()];
        verdicts.sort_unstable();
        assert_eq!(verdicts, [Verdict::Allow, Verdict::Pending], "one grant, one call");
    }
    let steps = pair.records().await.into_iter().filter_map(|what| match what {
        What::Approval(step) => step.what,
        _ => None,
    });
    let requested = steps.filter(|step| matches!(step, v1::approval_record::What::Requested(_))).count();
    assert_eq!(requested, 11, "the first call's, and one for each second retry");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_id_at_two_replicas_is_one_record_and_one_answer() {
    let pair = Pair::new().await;
    // The same VM at both: its stream broke, and it asks again elsewhere.
    let (mut one, mut two) = (pair.0[0].vm().await, pair.0[1].vm().await);
    for (counter, tool) in (1..=30).zip(["read_note", "delete_note", "add_note"].into_iter().cycle()) {
        let head = pair.0[0].head();
        let (here, there) = tokio::join!(one.decided(call(counter, tool)), two.decided(call(counter, tool)));
        assert_eq!(here, there);
        let decisions = if here.verdict() == Verdict::Pending && counter == 3 { 2 } else { 1 };
        assert_eq!(pair.0[0].head() - head, decisions, "{tool}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_their_outcomes_are_in_the_lists_and_tails_of_every_replica() {
    let pair = Pair::new().await;
    let mut vms = pair.vms().await;
    let mut tails = Vec::new();
    for world in &pair.0 {
        let tail = world.operator(TraceClient::new).await.tail_traces(v1::TailTracesRequest::default()).await.unwrap();
        let mut tail = tail.into_inner();
        assert!(tail.message().await.unwrap().unwrap().trace.is_none(), "it says where it begins");
        tails.push(tail);
    }
    for (counter, at) in (1..=20).zip([0, 1].into_iter().cycle()) {
        let decided = vms[at].decided(call(counter, "read_note")).await;
        let head = pair.0[0].head();
        // Reported where it was not decided, half of the time: the same VM speaks to the other replica by then.
        let mut reporter = pair.0[if counter % 4 < 2 { at } else { 1 - at }].vm_of("filter-laptop", [EPOCH, [8; 16]][at]).await;
        for _ in 0..2 {
            assert_eq!(reporter.report(vec![outcome(counter, OutcomeKind::Completed)]).await, [counter]);
        }
        assert_eq!(pair.0[0].head() - head, 1, "it ends once");
        for (replica, tail) in tails.iter_mut().enumerate() {
            let mut next = async || tokio::time::timeout(PATIENCE, tail.message()).await.unwrap().unwrap().unwrap();
            let told = next().await.trace.unwrap();
            assert_eq!(told.sequence, decided.sequence, "decided at {at}, told at {replica}");
            let ended = next().await.ended.unwrap();
            assert_eq!((ended.sequence, ended.outcome()), (decided.sequence, OutcomeKind::Completed), "told at {replica}");
        }
    }
    for world in &pair.0 {
        let listed = traces(world).await;
        assert_eq!(listed.len(), 20);
        assert!(listed.iter().all(|trace| trace.outcome() == OutcomeKind::Completed));
        world.running.decide.sweep(false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_call_is_closed_once_by_its_replica_or_by_another_when_that_is_gone() {
    let limits = Limits { silence_s: 1, ..Limits::default() };
    let deadline = limits.outcome_deadline();
    for (dies, after) in [(false, deadline), (true, deadline + S * 30)] {
        let Pair([one, other]) = Pair::with(&Setup { limits: limits.clone(), ..Setup::default() }).await;
        let decided = one.vm().await.decided(call(1, "read_note")).await;
        let reported = one.vm().await.decided(call(2, "read_note")).await;
        eventually("the other one heard of them", async || (traces(&other).await.len() == 2).then_some(())).await;
        let mut elsewhere = other.vm().await;
        // Nothing is heard of the VM at the first replica, and it lives.
        let last = [one.hands.as_ref(), other.hands.as_ref()];
        last.iter().for_each(|hands| hands.advance(deadline - S));
        for world in [&one, &other] {
            world.running.decide.sweep(false).await;
        }
        assert_eq!(elsewhere.report(vec![outcome(2, OutcomeKind::Completed)]).await, [2]);
        let head = other.head();
        assert_eq!(head, reported.sequence + 1, "nobody closed a call that may still be reported");
        let journal = Arc::clone(&one.journal);
        let first = if dies {
            drop(one);
            None
        } else {
            Some(one)
        };
        let closes = async |advanced: Duration| {
            for world in first.iter().chain([&other]) {
                world.hands.advance(advanced);
            }
            for world in first.iter().chain([&other]) {
                world.running.decide.sweep(false).await;
            }
            journal.health().head - head
        };
        assert_eq!(closes(after - deadline).await, 0, "a second before");
        assert_eq!(closes(S).await, 1, "and then, once");
        assert_eq!(closes(S * 3_600).await, 1, "the one that was reported stays so");
        let unknown = traces(&other).await.into_iter().find(|trace| trace.sequence == decided.sequence).unwrap();
        assert_eq!(unknown.outcome(), OutcomeKind::Unknown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_record_is_before_the_journals_last_one_though_a_replicas_clock_is() {
    let pair = Pair::new().await;
    let mut vms = pair.vms().await;
    let times = async |after: u64| -> Vec<u64> {
        let records = pair.0[0].journal.follow(after, 100).await.unwrap();
        records.into_iter().map(|record| v1::Record::decode(record.bytes).unwrap().at_us).collect()
    };
    let start = pair.0[0].head();
    let earlier = pair.0[1].clock.now().micros() - 30_000_000;
    pair.0[1].hands.set(agentgate_core::time::Time::from_micros(earlier));
    for counter in 1..=20 {
        // The same subject, at once: no wait for what was heard.
        for vm in &mut vms {
            vm.decided(call(counter, "read_note")).await;
        }
        pair.0[0].hands.advance(Duration::from_millis(7));
    }
    eventually("it heard of all", async || (traces(&pair.0[1]).await.len() == 40).then_some(())).await;
    assert!(kill(&pair.0[1], everything()).await.changed);
    let times = times(start).await;
    assert_eq!(times.len(), 41);
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_is_told_once_of_each_event_by_the_replica_that_wrote_it() {
    let (setup, mut heard, _directory) = receiver("200 OK").await;
    let pair = Pair::with(&setup).await;
    let mut vms = pair.vms().await;
    for (asked, answered) in [(0, 1), (1, 0)] {
        let counter = u64::try_from(asked).unwrap() + 1;
        let mut ask = call(counter, "add_note");
        ask.body = String::from_utf8(ask.body.to_vec()).unwrap().replace("\"x\"", &format!("\"{asked}\"")).into();
        let waits = vms[asked].decided(ask).await;
        let requested = next(&mut heard).await;
        requested.says(&format!(r#"{{"id":"{}","event":"approval.requested","#, waits.approval));
        granted(&pair.0[answered], &waits.approval, false).await.unwrap();
        next(&mut heard).await.says(r#""event":"approval.denied""#);
    }
    // Both replicas have heard of everything by now, and nothing more was told.
    for world in &pair.0 {
        eventually("both know", async || (status(world).await.approvals_pending == 0).then_some(())).await;
    }
    assert!(heard.try_recv().is_err());
    // Whoever dies before it told leaves a call that waits: the next start tells it, under the same id.
    let waits = vms[0].decided(call(50, "add_note")).await;
    let first = next(&mut heard).await;
    let Pair([one, _other]) = pair;
    let _one = one.killed_and_restarted(&setup).await;
    let again = next(&mut heard).await;
    again.says(&waits.approval);
    assert_eq!(first.header("webhook-id"), again.header("webhook-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_one_subject_at_two_replicas_are_each_decided_once() {
    let pair = Pair::new().await;
    let mut vms = pair.vms().await;
    let total = 200;
    for vm in &vms {
        for counter in 1..=total {
            vm.say(Said::Ask(call(counter, "read_note"))).await;
        }
    }
    let mut asked_again = 0;
    for vm in &mut vms {
        let mut left = total;
        while left > 0 {
            let v1::converse_response::Message::Answer(answer) = vm.hear().await.unwrap() else { panic!("not an answer") };
            match answer.result.unwrap() {
                v1::answer::Result::Decided(decided) => {
                    assert_eq!(decided.verdict(), Verdict::Allow);
                    left -= 1;
                }
                // Whoever is overtaken again and again is told so, and asks once more.
                v1::answer::Result::Undecided(why) => {
                    assert_eq!(why.cause(), v1::undecided::Cause::Contended, "{why:?}");
                    asked_again += 1;
                    vm.say(Said::Ask(call(answer.counter, "read_note"))).await;
                }
            }
        }
    }
    assert!(asked_again < total, "{asked_again} of {} were overtaken", 2 * total);
    let records = pair.0[0].journal.follow(0, u32::MAX).await.unwrap();
    let entries = records.iter().map(|record| agentgate_control_plane::transparency::entry(record).unwrap());
    assert_eq!(entries.filter(|entry| entry.kind == Kind::Decision).count() as u64, 2 * total, "each is on record once");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_replica_shows_all_and_says_who_is_gone_and_whose_name_is_taken() {
    let setup = |replica| Setup { shared: true, replica, ..Setup::default() };
    let one = World::with(setup("one")).await;
    let other = one.beside(&setup("other")).await;
    let pair = Pair([one, other]);
    let _vms = pair.vms().await;
    kill(&pair.0[0], everything()).await;
    let told = async |at: usize| status(&pair.0[at]).await.replicas;
    for at in [0, 1] {
        looked(&pair, "both are in the list", async || {
            let replicas = told(at).await;
            let whole = |replica: &v1::ReplicaStatus| {
                !replica.gone && !replica.doubled && (replica.filters, replica.epoch) == (1, 2) && replica.started_at_us > 0
            };
            replicas.iter().map(|replica| replica.name.as_str()).eq(["one", "other"]) && replicas.iter().all(whole)
        })
        .await;
    }
    let Pair([one, other]) = pair;
    let (directory, clock, hands, journal) = (other.directory, other.clock, other.hands, other.journal);
    drop(other.running);
    hands.advance(S * 30);
    one.hands.advance(S * 30);
    let gone = eventually("one that was killed is gone", async || {
        one.hands.advance(S);
        status(&one).await.replicas.into_iter().find(|replica| replica.gone)
    });
    assert_eq!(gone.await.name, "other");
    // Whoever comes in its place was given the name of one that lives.
    hands.set(one.clock.now());
    let twin = World::on(directory, clock, hands, journal, &setup("one")).await;
    let both = Pair([one, twin]);
    looked(&both, "two of one name are told", async || {
        let doubled = status(&both.0[0]).await.replicas.into_iter().filter(|replica| replica.doubled && replica.name == "one");
        doubled.count() == 2
    })
    .await;
    let (_, metrics) = visit(both.0[1].running.metrics, "/metrics").await;
    assert!(metrics.contains("agentgate_replica_doubled"), "{metrics}");
}
