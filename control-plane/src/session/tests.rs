//! Stories about turns, and about what a new process reads of the past. Pages and followers are in `tests/it`.

use super::{Draft, Ended, Recorded, Session, Setback, Source, outcome_id, past};
use crate::body::{self, Bodies, Scope};
use crate::clock::Clock;
use crate::config::Limits;
use crate::identity::Subject;
use crate::journal::{Change, Expected, Journal, Memory, Stream, Write};
use crate::session::PastError;
use agentgate_core::digest::Digest;
use agentgate_core::id::{CallId, Epoch};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use bytes::Bytes;
use prost::Message;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

async fn session(journal: &Arc<Memory>, limits: Limits) -> Result<Session, PastError> {
    session_at(journal, limits, Clock::manual(Time::from_micros(1_000_000)).0).await
}

async fn session_at(journal: &Arc<Memory>, limits: Limits, clock: Clock) -> Result<Session, PastError> {
    Session::open(Bodies::over(Arc::clone(journal) as Arc<dyn Journal>).await, clock, limits, Vec::new()).await
}

fn subject(name: &str) -> Subject {
    let principal = format!("spiffe://a/{name}");
    Subject { tenant: "t".try_into().unwrap(), principal: principal.as_str().try_into().unwrap() }
}

fn draft(name: &str) -> Draft {
    let record = v1::Record { at_us: 1, what: Some(v1::record::What::Flood(v1::FloodRecord::default())) };
    Draft {
        id: Digest::of("test", name.as_bytes()),
        record: record.encode_to_vec().into(),
        body: None,
        fence: None,
        also: Vec::new(),
    }
}

#[tokio::test]
async fn the_next_turn_begins_before_the_last_one_is_durable() {
    let journal = Arc::new(Memory::new());
    let session = session(&journal, Limits::default()).await.unwrap();
    let first = session.turn(&subject("x")).await.unwrap().append(draft("1"));
    let second = session.turn(&subject("x")).await.unwrap().append(draft("2"));
    let (second, first) = (second.await.unwrap(), first.await.unwrap());
    assert_eq!((first.version, second.version), (1, 2));
}

#[tokio::test]
async fn where_others_write_no_decision_is_appended_behind_a_guess() {
    let journal = Arc::new(Memory::shared());
    let (one, other) = (session(&journal, Limits::default()).await.unwrap(), session(&journal, Limits::default()).await.unwrap());
    let cursor = one.follow();
    other.follow();
    one.turn(&subject("x")).await.unwrap().append(draft("1")).await.unwrap();
    journal.refuse(Some("full"));
    let lost = one.turn(&subject("x")).await.unwrap().append(draft("2"));
    journal.refuse(None);
    // The version that the lost one would have had is another replica's record now.
    assert_eq!(other.turn(&subject("x")).await.unwrap().append(draft("3")).await.unwrap().version, 2);
    let waiting = subject("x");
    let mut next = std::pin::pin!(one.turn(&waiting));
    let waits = std::future::poll_fn(|context| std::task::Poll::Ready(next.as_mut().poll(context).is_pending())).await;
    assert!(waits, "what became of the last one is not known");
    assert!(matches!(lost.await, Err(Setback::Journal(_))));
    assert_eq!(next.await.unwrap().append(draft("4")).await.unwrap().version, 3, "it was folded from what is there");
    for record in journal.follow(cursor, 10).await.unwrap() {
        one.reached(&record);
    }
    assert_eq!(
        other.turn(&subject("x")).await.unwrap().append(draft("5")).await.err().map(|error| error.to_string()),
        Some("the subject moved".into())
    );
    for record in journal.follow(cursor, 10).await.unwrap() {
        other.reached(&record);
    }
    assert_eq!(other.turn(&subject("x")).await.unwrap().append(draft("6")).await.unwrap().version, 4, "what was heard is known");
}

#[tokio::test]
async fn no_turn_begins_on_a_guess_where_others_write_though_nobody_follows_them_yet() {
    for (journal, waits) in [(Memory::new(), false), (Memory::shared(), true)] {
        let session = session(&Arc::new(journal), Limits::default()).await.unwrap();
        let first = session.turn(&subject("x")).await.unwrap().append(draft("1"));
        let who = subject("x");
        let mut next = std::pin::pin!(session.turn(&who));
        let is_pending = std::future::poll_fn(|context| std::task::Poll::Ready(next.as_mut().poll(context).is_pending())).await;
        assert_eq!(is_pending, waits);
        first.await.unwrap();
    }
}

#[tokio::test]
async fn a_turn_that_failed_makes_the_later_ones_look_again() {
    let journal = Arc::new(Memory::new());
    let session = session(&journal, Limits::default()).await.unwrap();
    session.turn(&subject("x")).await.unwrap().append(draft("1")).await.unwrap();
    journal.refuse(Some("full"));
    let lost = session.turn(&subject("x")).await.unwrap().append(draft("2"));
    journal.refuse(None);
    // It was handed in on the guess that the lost one stands before it.
    let guessed = session.turn(&subject("x")).await.unwrap().append(draft("3"));
    assert!(matches!(lost.await, Err(Setback::Journal(_))));
    assert!(matches!(guessed.await, Err(Setback::Moved)));
    let again = session.turn(&subject("x")).await.unwrap().append(draft("3")).await.unwrap();
    assert_eq!(again.version, 2);
    let twice = session.turn(&subject("x")).await.unwrap().append(draft("3")).await;
    assert!(matches!(twice, Err(Setback::Duplicate(2))), "{twice:?}");
    assert_eq!(session.turn(&subject("x")).await.unwrap().append(draft("4")).await.unwrap().version, 3);
}

#[tokio::test]
async fn forgotten_subjects_are_read_again() {
    let journal = Arc::new(Memory::new());
    let session = session(&journal, Limits { subjects_max: 2, ..Limits::default() }).await.unwrap();
    for round in 1..=3 {
        for name in ["x", "y", "z"] {
            let position = session.turn(&subject(name)).await.unwrap().append(draft(&format!("{name}{round}"))).await.unwrap();
            assert_eq!(position.version, round);
        }
    }
    // Even those in whose line somebody stands: two lines of one subject cost a Conflict and no more.
    let held = session.turn(&subject("x")).await.unwrap();
    let also = session.turn(&subject("y")).await.unwrap();
    session.turn(&subject("z")).await.unwrap().append(draft("z4")).await.unwrap();
    held.append(draft("x4")).await.unwrap();
    also.append(draft("y4")).await.unwrap();
}

#[tokio::test]
async fn of_too_many_open_calls_the_oldest_are_closed() {
    let limits = Limits { open_calls_max: 2, ..Limits::default() };
    let session = session(&Arc::new(Memory::new()), limits).await.unwrap();
    for (counter, overdue) in [(1, &[][..]), (2, &[]), (3, &[1]), (4, &[1, 2])] {
        let mut record = v1::DecisionRecord::default();
        record.set_verdict(v1::Verdict::Allow);
        let at = Time::from_micros(1_000_000);
        let (stream, body) = (Stream::global(), v1::DecisionBody::default());
        session
            .decided(&Recorded { sequence: counter, at, stream, call: call(counter), record, body }, session.bodies.erasures());
        let closed: Vec<u64> = session.overdue(|_| false).iter().map(|open| open.call.counter).collect();
        assert_eq!(closed, overdue, "{counter} are open");
    }
    for counter in [1, 2] {
        let (call, kind) = (call(counter).digest(), v1::OutcomeKind::Unknown);
        session.ended(&Ended { call, decision: counter, kind, duration_us: 0 });
    }
    assert!(session.overdue(|_| false).is_empty(), "as many as may be are left");
}

#[tokio::test]
async fn a_replica_owes_others_grace_and_none_to_itself_whichever_way_it_learns_of_a_decision_first() {
    for (what, is_ours, is_met_first, grace_s) in [
        ("it wrote it, and then met it", true, false, 0),
        ("it met it, and then knew that it wrote it", true, true, 0),
        ("another wrote it", false, true, 30),
    ] {
        let (journal, limits) = (Arc::new(Memory::shared()), Limits::default());
        let session = session(&journal, limits.clone()).await.unwrap();
        let cursor = session.follow();
        let recorded = record(&session, 1, v1::Verdict::Allow, "read_note", 1).await;
        if is_met_first {
            hear(&session, &journal, cursor).await;
        }
        if is_ours {
            session.decided(&recorded, session.bodies.erasures());
        }
        if !is_met_first {
            hear(&session, &journal, cursor).await;
        }
        let (traces, _, open) = seen(&session);
        let deadline = recorded.at.plus_micros(crate::clock::micros(limits.outcome_deadline()) + grace_s * 1_000_000);
        assert_eq!(open.iter().map(|open| open.deadline).collect::<Vec<_>>(), [deadline], "{what}");
        assert_eq!(traces.len(), 1, "{what}: it is listed once");
        // What has ended is not open again.
        end(&session, 1, Source::Reported).await;
        session.decided(&recorded, session.bodies.erasures());
        assert!(seen(&session).2.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn a_call_is_overdue_in_time_however_the_wall_clock_is_set() {
    const WAIT: Duration = Duration::from_secs(60);
    const GRACE: Duration = Duration::from_secs(30);
    const HOUR_US: i64 = 3_600_000_000;
    let begun = Time::from_micros(1_000_000_000_000);
    for (whose, wall_us, waits) in [
        ("its own", 0, WAIT),
        ("its own", -HOUR_US, WAIT),
        ("its own", HOUR_US, Duration::ZERO),
        ("another's", 0, WAIT + GRACE),
        ("another's", -HOUR_US, WAIT + GRACE),
        ("another's", HOUR_US, Duration::ZERO),
        ("an earlier life's", 0, WAIT),
        ("an earlier life's", -HOUR_US, WAIT),
        ("an earlier life's", HOUR_US, Duration::ZERO),
    ] {
        let what = format!("{whose}, and the wall clock is set by {wall_us} µs");
        let (journal, (clock, hands)) = (Arc::new(Memory::shared()), Clock::manual(begun));
        let limits = Limits { outcome_deadline_s: 60, ..Limits::default() };
        let session = session_at(&journal, limits.clone(), clock.clone()).await.unwrap();
        let cursor = session.follow();
        let recorded = record(&session, 1, v1::Verdict::Allow, "read_note", 1).await;
        let set = || hands.set(Time::from_micros(begun.micros().saturating_add_signed(wall_us)));
        let session = match whose {
            "its own" => {
                session.decided(&recorded, session.bodies.erasures());
                set();
                session
            }
            "another's" => {
                hear(&session, &journal, cursor).await;
                set();
                session
            }
            _ => {
                set();
                session_at(&journal, limits, clock).await.unwrap()
            }
        };
        let overdue = || session.overdue(|_| false).len();
        if waits > Duration::ZERO {
            hands.advance(waits - Duration::from_micros(1));
            assert_eq!(overdue(), 0, "{what}");
            hands.advance(Duration::from_micros(1));
        }
        assert_eq!(overdue(), 1, "{what}");
    }
}

#[tokio::test]
async fn a_record_of_an_unknown_kind_stops_the_start() {
    let journal = Arc::new(Memory::new());
    for (record, says) in [
        (v1::Record { at_us: 1, what: None }.encode_to_vec(), "record 1 is of a kind that this version does not know"),
        (vec![0xff], "record 2 cannot be read"),
    ] {
        let id = Digest::of("test", &record);
        let write = Write { stream: Stream::global(), expected: Expected::Any, id, record: Bytes::from(record) };
        journal.append(Change { fence: None, writes: vec![write], bodies: Vec::new() }).await.unwrap();
        let error = session(&journal, Limits::default()).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

fn call(counter: u64) -> CallId {
    CallId { asker: "spiffe://a/filter/x".try_into().unwrap(), epoch: Epoch([1; 16]), counter }
}

/// Records a decision as the room that decides does, on a call of so many bytes.
async fn decide(session: &Session, counter: u64, verdict: v1::Verdict, target: &str, bytes: usize) {
    let recorded = record(session, counter, verdict, target, bytes).await;
    session.decided(&recorded, session.bodies.erasures());
}

/// As `decide`, but this session is not told.
async fn record(session: &Session, counter: u64, verdict: v1::Verdict, target: &str, bytes: usize) -> Recorded {
    let call = call(counter);
    let ask = v1::Ask { counter, server: "notes".into(), body: vec![b'x'; bytes].into(), ..v1::Ask::default() };
    let (asker, epoch) = (call.asker.to_string(), Bytes::copy_from_slice(&call.epoch.0));
    let body = v1::DecisionBody { asker, epoch, target: target.into(), ask: Some(ask), ..v1::DecisionBody::default() };
    let (tenant, principal) = (subject("x").tenant, subject("x").principal);
    let scope = Scope::Calls { tenant, principal, handle: String::new() };
    let sealed = session.bodies.seal(&scope, Time::from_micros(0)).await.unwrap().seal(&body).unwrap();
    let call_id = body::digest_bytes(&call.digest());
    let mut record =
        v1::DecisionRecord { enforced: true, call_id, body: Some(sealed.reference), ..v1::DecisionRecord::default() };
    record.set_verdict(verdict);
    let at = session.moment();
    let what = Some(v1::record::What::Decision(record.clone()));
    let encoded = v1::Record { at_us: at.micros(), what }.encode_to_vec().into();
    let turn = session.turn(&subject("x")).await.unwrap();
    let stream = turn.stream();
    let draft = Draft { id: call.digest(), record: encoded, body: Some(sealed.stored), fence: None, also: Vec::new() };
    let sequence = turn.append(draft).await.unwrap().sequence;
    Recorded { sequence, at, stream, call, record, body }
}

/// What others may have written is met in the journal's order.
async fn hear(session: &Session, journal: &Memory, cursor: u64) {
    for record in journal.follow(cursor, 100).await.unwrap() {
        let (at, what) = super::parse(&record).unwrap();
        session.heard(&record, at, what).await.unwrap();
    }
}

async fn end(session: &Session, counter: u64, source: Source) {
    let (call, decision) = (call(counter).digest(), session.find(&call(counter).digest()).await.unwrap().unwrap().sequence);
    let kind = match source {
        Source::Reported => v1::OutcomeKind::Completed,
        Source::Unknown => v1::OutcomeKind::Unknown,
    };
    let call_id = body::digest_bytes(&call);
    let (tenant, principal) = (subject("x").tenant, subject("x").principal);
    let scope = Scope::Calls { tenant, principal, handle: String::new() };
    let seal = session.bodies.seal(&scope, Time::from_micros(0)).await.unwrap();
    let sealed = seal.seal(&v1::OutcomeBody::default()).unwrap();
    let body = Some(sealed.reference);
    let mut outcome = v1::OutcomeRecord { call_id, decision, duration_us: 5, body, ..v1::OutcomeRecord::default() };
    outcome.set_kind(kind);
    let record = v1::Record { at_us: 1, what: Some(v1::record::What::Outcome(outcome)) }.encode_to_vec().into();
    let draft = Draft { id: outcome_id(&call, source), record, body: Some(sealed.stored), fence: None, also: Vec::new() };
    session.turn(&subject("x")).await.unwrap().append(draft).await.unwrap();
    session.ended(&Ended { call, decision, kind, duration_us: 5 });
}

fn seen(session: &Session) -> (Vec<v1::CallTrace>, u64, Vec<super::OpenCall>) {
    let view = session.view();
    let (recent, floor) = view.recent(u64::MAX);
    (recent.cloned().collect(), floor, view.overdue(|_| true))
}

#[tokio::test]
async fn a_new_process_sees_what_the_last_one_saw_and_holds_no_bodies() {
    const BODY_BYTES: usize = 1 << 20;
    for recent_traces_max in [3, 100] {
        let limits = Limits { recent_traces_max, ..Limits::default() };
        let journal = Arc::new(Memory::new());
        let before = session(&journal, limits.clone()).await.unwrap();
        for counter in 1..=8 {
            let verdict = if counter % 2 == 0 { v1::Verdict::Deny } else { v1::Verdict::Allow };
            decide(&before, counter, verdict, "read_note", BODY_BYTES).await;
        }
        end(&before, 1, Source::Reported).await;
        end(&before, 5, Source::Unknown).await;
        end(&before, 5, Source::Reported).await;
        let after = session(&journal, limits.clone()).await.unwrap();
        let (traces, _, open) = seen(&after);
        assert_eq!(traces.len(), 8.min(recent_traces_max as usize));
        assert_eq!(open.iter().map(|open| open.call.counter).collect::<Vec<_>>(), [3, 7]);
        assert_eq!(seen(&after), seen(&before), "{recent_traces_max} traces");
        let recent = past::recent(&after.bodies, &limits, after.clock.elapsed()).await.unwrap();
        let held = format!("{recent:?}").len();
        assert!(held < BODY_BYTES / 16, "{held} bytes are held of {recent_traces_max} traces");
    }
}

#[tokio::test]
async fn as_many_open_calls_as_may_be_are_taken_up_the_newest_ones() {
    for (open_calls_max, taken) in [(3, &[1, 2, 3][..]), (2, &[2, 3])] {
        let journal = Arc::new(Memory::new());
        let before = session(&journal, Limits::default()).await.unwrap();
        for counter in 1..=3 {
            decide(&before, counter, v1::Verdict::Allow, "read_note", 1).await;
        }
        let after = session(&journal, Limits { open_calls_max, ..Limits::default() }).await.unwrap();
        let (traces, _, open) = seen(&after);
        assert_eq!(open.iter().map(|open| open.call.counter).collect::<Vec<_>>(), taken);
        assert_eq!(traces.len(), 3, "each has its line");
    }
}

#[tokio::test]
async fn a_line_says_of_a_long_target_how_it_begins() {
    let session = session(&Arc::new(Memory::new()), Limits::default()).await.unwrap();
    let longest = "a".repeat(2_048);
    for (counter, target, line) in [
        (1, longest.clone(), longest.clone()),
        (2, format!("{longest}a"), format!("{}…", "a".repeat(2_045))),
        (3, "ä".repeat(1_025), format!("{}…", "ä".repeat(1_022))),
    ] {
        decide(&session, counter, v1::Verdict::Deny, &target, 1).await;
        let newest = seen(&session).0.remove(0);
        assert_eq!(newest.target, line, "{} bytes", target.len());
    }
}

fn asked(filter: v1::TraceFilter) -> v1::ListTracesRequest {
    v1::ListTracesRequest { page_size: 5, filter: Some(filter), ..v1::ListTracesRequest::default() }
}

/// Every page, and what all of them took.
async fn pages(session: &Session, mut request: v1::ListTracesRequest) -> (Vec<u64>, usize, usize) {
    let (mut sequences, mut rows, mut lines) = (Vec::new(), 0, 0);
    loop {
        let (page, looked) = session.list_counted(&request).await.unwrap();
        sequences.extend(page.traces.iter().map(|trace| trace.sequence));
        (rows, lines) = (rows + looked.rows, lines + looked.lines);
        if page.next_page_token.is_empty() {
            return (sequences, rows, lines);
        }
        request.page_token = page.next_page_token;
    }
}

/// The index is built from the journal, from a snapshot and what came after it, or not at all: the answers are the same, and
/// only the lines that are shown are read.
#[tokio::test]
async fn a_query_reads_the_lines_that_it_shows_and_no_others() {
    const CALLS: u32 = 600;
    let limits = Limits { recent_traces_max: 2, outcome_deadline_s: 1, recovered_records_max: 8, ..Limits::default() };
    let (journal, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let file = folder.path().join("traces.snapshot");
    let before = session(&journal, limits.clone()).await.unwrap();
    for counter in 1..=u64::from(CALLS) {
        let target = if counter % 100 == 0 { "drop_note" } else { "read_note" };
        decide(&before, counter, v1::Verdict::Allow, target, 1).await;
        end(&before, counter, if counter % 100 == 50 { Source::Unknown } else { Source::Reported }).await;
        if counter == u64::from(CALLS / 2) {
            before.save(&file, before.folded()).await;
        }
    }
    end(&before, 50, Source::Reported).await;
    let filter = v1::TraceFilter::default;
    let unknown = Some(v1::OutcomeKind::Unknown.into());
    let cases = [
        (v1::TraceFilter { tool: "drop_note".into(), ..filter() }, 6),
        (v1::TraceFilter { outcome: unknown, ..filter() }, 5),
        (v1::TraceFilter { outcome: unknown, tool: "drop_note".into(), ..filter() }, 0),
        (v1::TraceFilter { server: "notes".into(), tool: "drop_note".into(), ..filter() }, 6),
        (v1::TraceFilter { principal: "nobody".into(), ..filter() }, 0),
        (filter(), CALLS as usize),
    ];
    for (what, file) in [("not at all", None), ("from the journal", Some(None)), ("from a snapshot", Some(Some(file.as_path())))]
    {
        let session = session(&journal, limits.clone()).await.unwrap();
        if let Some(file) = file {
            session.build(file).await;
            assert_eq!(session.index().floor(), 0, "{what}");
        }
        for (filter, found) in &cases {
            let (down, rows, lines) = pages(&session, asked(filter.clone())).await;
            assert_eq!(down.len(), *found, "{what}: {filter:?}");
            let (mut up, _, _) = pages(&session, v1::ListTracesRequest { oldest_first: true, ..asked(filter.clone()) }).await;
            up.reverse();
            assert_eq!(up, down, "{what}, oldest first: {filter:?}");
            if file.is_some() {
                assert!(lines <= *found && rows <= CALLS as usize, "{what}: {rows} rows, {lines} lines: {filter:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_is_not_whole_or_of_another_journal_is_none() {
    let (journal, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let file = folder.path().join("traces.snapshot");
    let one = session(&journal, Limits::default()).await.unwrap();
    for counter in 1..=3 {
        decide(&one, counter, v1::Verdict::Deny, "read_note", 1).await;
    }
    one.save(&file, one.folded()).await;
    let whole = std::fs::read(&file).unwrap();
    let read = async || super::snapshot::read(&one, &file).await;
    assert_eq!(read().await.unwrap().unwrap().rows.len(), 3);
    for at in [0, 20, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&file, &changed).unwrap();
        assert!(read().await.is_err(), "byte {at}");
        std::fs::write(&file, &whole[..at]).unwrap();
        assert!(read().await.is_err(), "cut at {at}");
    }
    std::fs::write(&file, &whole).unwrap();
    let other = session(&Arc::new(Memory::new()), Limits::default()).await.unwrap();
    assert!(super::snapshot::read(&other, &file).await.is_err(), "another journal");
    std::fs::remove_file(&file).unwrap();
    assert!(read().await.unwrap().is_none());
}

#[tokio::test]
async fn a_line_that_was_purged_before_it_became_known_names_nobody() {
    for (is_purged, is_carried_out) in [(false, false), (true, false), (true, true)] {
        let session = session(&Arc::new(Memory::new()), Limits::default()).await.unwrap();
        let (tenant, principal) = (subject("x").tenant, subject("x").principal);
        let scope = Scope::Calls { tenant, principal, handle: String::new() };
        let seal = session.bodies.seal(&scope, Time::from_micros(0)).await.unwrap();
        let body = v1::DecisionBody { principal: "x".into(), ..v1::DecisionBody::default() };
        let names = v1::FloodBody { principal: "x".into(), ..v1::FloodBody::default() };
        let of_call = v1::DecisionRecord { body: Some(seal.seal(&body).unwrap().reference), ..v1::DecisionRecord::default() };
        let flood = v1::FloodRecord { body: Some(seal.seal(&names).unwrap().reference), ..v1::FloodRecord::default() };
        let since = session.bodies.erasures();
        if is_purged {
            let sessions = vec![seal.session().0.to_vec().into()];
            session.bodies.purged(7, &v1::PurgeRecord { sessions, ..v1::PurgeRecord::default() });
        }
        if is_carried_out {
            session.bodies.erase_purged(&[seal.session()]).await.unwrap();
            session.forget(&[seal.session()]).await;
            session.bodies.finished(7).await.unwrap();
        }
        let (at, stream) = (session.moment(), Stream::approvals());
        session.decided(&Recorded { sequence: 1, at, stream, call: call(1), record: of_call, body }, since);
        session.flooded((2, at), &flood, &names, since);
        let named: Vec<bool> = seen(&session).0.iter().map(|trace| !trace.principal.is_empty()).collect();
        assert_eq!(named, [!is_purged; 2]);
    }
}

#[tokio::test]
async fn a_snapshot_is_its_owners_alone_whatever_was_there() {
    let (journal, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let file = folder.path().join("traces.snapshot");
    let session = session(&journal, Limits::default()).await.unwrap();
    decide(&session, 1, v1::Verdict::Deny, "read_note", 1).await;
    for before in [None, Some("partial"), Some("snapshot")] {
        if let Some(extension) = before {
            let open = file.with_extension(extension);
            std::fs::write(&open, "left behind").unwrap();
            std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        session.save(&file, session.folded()).await;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{before:?}");
        assert!(super::snapshot::read(&session, &file).await.unwrap().is_some(), "{before:?}");
    }
}

#[tokio::test]
async fn an_erased_session_is_known_by_its_number_alone_and_no_snapshot_tells_more() {
    let (journal, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let file = folder.path().join("traces.snapshot");
    let session = session(&journal, Limits::default()).await.unwrap();
    decide(&session, 1, v1::Verdict::Deny, "read_note", 1).await;
    session.save(&file, session.folded()).await;
    let id = {
        let view = session.view();
        view.recent(u64::MAX).0.next().unwrap().session.clone()
    };
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&u128::from_str_radix(&id, 16).unwrap().to_be_bytes());
    let by_name = asked(v1::TraceFilter { tool: "read_note".into(), ..v1::TraceFilter::default() });
    let by_session = asked(v1::TraceFilter { session: id, ..v1::TraceFilter::default() });
    assert_eq!(pages(&session, by_name.clone()).await.0.len(), 1);
    session.bodies.erase(body::SessionId(bytes)).await.unwrap();
    session.forget(&[body::SessionId(bytes)]).await;
    session.forget_snapshots().await.unwrap();
    assert_eq!(pages(&session, by_name).await, (Vec::new(), 1, 0));
    assert_eq!(pages(&session, by_session).await.0.len(), 1);
    assert!(super::snapshot::read(&session, &file).await.is_err(), "its key is gone");
}

#[tokio::test]
async fn of_an_erased_call_the_records_tell_how_it_ended() {
    for (is_erased, outcome) in [(false, true), (true, true), (true, false)] {
        let session = session(&Arc::new(Memory::new()), Limits::default()).await.unwrap();
        decide(&session, 1, v1::Verdict::Allow, "read_note", 1).await;
        if outcome {
            end(&session, 1, Source::Reported).await;
        }
        if is_erased {
            let reference = session.find(&call(1).digest()).await.unwrap().unwrap().record.body;
            let of = body::SessionId::of(&reference.unwrap()).unwrap();
            session.bodies.erase(of).await.unwrap();
            session.forget(&[of]).await;
        }
        let shown = session.show("1").await.unwrap();
        let trace = shown.trace.unwrap();
        assert_eq!((shown.body.is_none(), trace.call_id.is_empty()), (is_erased, is_erased));
        assert_eq!((trace.duration_us, shown.outcomes.len()), (outcome.then_some(5), usize::from(outcome)));
        let ended = if outcome { v1::OutcomeKind::Completed } else { v1::OutcomeKind::Unspecified };
        assert_eq!(trace.outcome(), ended, "erased: {is_erased}");
    }
}
