//! What is proved here is checked by core's verifier, which knows nothing of how it was made.

mod book;
mod named;

use super::*;
use crate::approval::step_ids;
use crate::body::DataKey;
use crate::body::tests::counting;
use crate::clock::Clock;
use crate::journal::{Change, Expected, Halting, Memory, Stream, Write};
use crate::transparency::log_keys;
use agentgate_core::digest::Digest;
use agentgate_core::transparency::key::VerifierKey;
use agentgate_core::transparency::trust::Trust;
use agentgate_core::transparency::verify::Audit;
use agentgate_proto::v1;
use agentgate_proto::v1::approval_record::What as Step;
use agentgate_proto::v1::record::What;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// A log over so many records.
async fn evidence(records: u64) -> Arc<Evidence> {
    let flood = |count: u64| {
        let flood = v1::FloodRecord { count, ..v1::FloodRecord::default() };
        (Digest::of("test", &count.to_be_bytes()), What::Flood(flood))
    };
    logged((1..=records).map(flood).collect(), Clock::system()).await
}

/// A log over these records, each by the id that it was written under, and of the moment that its place counts.
async fn logged(written: Vec<(Digest, What)>, clock: Clock) -> Arc<Evidence> {
    let journal = Arc::new(Memory::new());
    let records = written.len() as u64;
    for (at_us, (id, what)) in (1..).zip(written) {
        let record = v1::Record { at_us, what: Some(what) }.encode_to_vec();
        let write = Write { stream: Stream::approvals(), expected: Expected::Any, id, record: record.into() };
        journal.append(Change { fence: None, writes: vec![write], bodies: Vec::new() }).await.unwrap();
    }
    let bodies = Bodies::open(journal, DataKey::new(&[7; 32]), counting).await.unwrap();
    over(bodies, records, clock).await
}

/// Of a journal of so many records.
async fn over(bodies: Bodies, records: u64, clock: Clock) -> Arc<Evidence> {
    let halting = Halting::new(Arc::clone(bodies.journal()));
    let keys = log_keys(None, &halting, counting).await.unwrap();
    let log = Transparency::open(halting, Clock::system(), keys, None).await.map(Arc::new).unwrap();
    let mut published = log.follow();
    tokio::spawn(Arc::clone(&log).integrating());
    let whole = published.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.size == records));
    tokio::time::timeout(Duration::from_secs(20), whole).await.unwrap().unwrap();
    let bodies = Arc::new(bodies);
    let privacy = Privacy::new(crate::config::Privacy::default(), Arc::clone(&bodies));
    Arc::new(Evidence::new((bodies, Arc::new(privacy)), clock, log, 1_000))
}

#[tokio::test]
async fn a_record_is_given_with_what_shows_it() {
    let evidence = evidence(300).await;
    let keys = evidence.log.verifier_keys().iter().map(|key| VerifierKey::parse(key).unwrap()).collect();
    let trust = Trust::new(keys).unwrap();
    for sequence in [1, 256, 257, 300] {
        let proved = evidence.prove(sequence).await.unwrap();
        let mut audit = Audit::of(&trust, &proved.checkpoint.note).unwrap();
        audit.included(&proved.entry, &proved.proof);
        assert!(proved.entry.covers(&proved.record) && proved.entry.sequence == sequence);
        assert!(audit.conclude().holds(), "{sequence}");
    }
    for absent in [0, 301] {
        assert!(matches!(evidence.prove(absent).await, Err(EvidenceError::Log(TransparencyError::Absent(_)))));
    }
}

#[tokio::test]
async fn files_of_the_log_are_given_up_to_a_bound() {
    let evidence = evidence(300).await;
    let paths = |count: usize| vec!["tile/0/000".to_owned(); count];
    assert_eq!(evidence.log_files(paths(LOG_FILES_MAX)).await.unwrap().len(), LOG_FILES_MAX);
    assert!(matches!(evidence.log_files(paths(LOG_FILES_MAX + 1)).await, Err(EvidenceError::Files { asked: 65 })));
    let files = evidence.log_files(vec!["tile/entries/001.p/44".into()]).await.unwrap();
    assert_eq!(files[0].len(), 44 * 72);
    for none in ["tile/0/002", "../log.key", "log.key", "checkpoint/../tile/0/000"] {
        assert!(matches!(evidence.log_files(vec![none.into()]).await, Err(EvidenceError::NoFile(_))), "{none}");
    }
}

#[tokio::test]
async fn a_log_that_stopped_before_it_was_read_says_why_it_gives_nothing() {
    for why in [None, Some("the journal contradicts what was signed: it was rolled back")] {
        let journal = Arc::new(Memory::new());
        let bodies = Arc::new(Bodies::open(journal, DataKey::new(&[7; 32]), counting).await.unwrap());
        let halting = Halting::new(Arc::clone(bodies.journal()));
        let keys = log_keys(None, &halting, counting).await.unwrap();
        if let Some(why) = why {
            halting.halt(why.into());
        }
        let log = Transparency::open(halting, Clock::system(), keys, None).await.map(Arc::new).unwrap();
        let privacy = Arc::new(Privacy::new(crate::config::Privacy::default(), Arc::clone(&bodies)));
        let evidence = Arc::new(Evidence::new((bodies, privacy), Clock::system(), log, 1_000));
        let since = v1::GatherEvidenceRequest { since_us: 1, ..Default::default() };
        let told = [
            (gathered(&evidence, since).await.unwrap_err(), "nothing is signed as yet; try again in a second"),
            (evidence.prove(1).await.unwrap_err().to_string(), "no record 1 is in the log"),
            (
                evidence.log_files(vec!["tile/0/000".into()]).await.unwrap_err().to_string(),
                "the log has no file `tile/0/000` as yet",
            ),
        ];
        for (told, yet) in told {
            assert_eq!(told, why.map_or(yet.to_owned(), |why| format!("the log is stopped: {why}")));
        }
        let none = evidence.log_files(vec!["log.key".into()]).await.unwrap_err().to_string();
        assert_eq!(none, "the log has no file `log.key` as yet", "what is no file never was one");
    }
}

/// What a gathering comes to: sequences, or why there are none.
async fn gathered(evidence: &Arc<Evidence>, about: v1::GatherEvidenceRequest) -> Result<Vec<u64>, String> {
    let by = SpiffeId::try_from("spiffe://agentgate.local/operator/me").unwrap();
    let (_leave, leaving) = watch::channel(false);
    let scope = Scope::read(about).map_err(|error| error.to_string())?;
    let mut told = evidence.gather(scope, by, leaving).map_err(|error| error.to_string())?;
    let mut sequences = Vec::new();
    while let Some(message) = told.recv().await {
        match message.map_err(|error| error.to_string())?.what {
            Some(Told::Record(record)) => sequences.push(Entry::decode(&record.entry).unwrap().sequence),
            Some(Told::End(end)) => {
                let manifest = String::from_utf8(end.manifest.to_vec()).unwrap();
                assert!(manifest.starts_with("agentgate evidence 1\nscope {"), "{manifest}");
                assert!(manifest.contains("\nby spiffe://agentgate.local/operator/me\n"), "{manifest}");
                return Ok(sequences);
            }
            Some(Told::Progress(_) | Told::Bundle(_)) | None => {}
        }
    }
    Err("it has no end".into())
}

fn since(since_us: u64, until_us: u64) -> v1::GatherEvidenceRequest {
    v1::GatherEvidenceRequest { since_us, until_us, ..v1::GatherEvidenceRequest::default() }
}

#[tokio::test]
async fn what_is_of_a_time_is_given_up_to_a_bound() {
    let mut evidence = evidence(300).await;
    Arc::get_mut(&mut evidence).unwrap().bounds = Bounds { records: 40, bytes: 1 << 20 };
    assert_eq!(gathered(&evidence, since(261, 0)).await.unwrap(), (261..=300).collect::<Vec<_>>());
    assert_eq!(gathered(&evidence, since(3, 6)).await.unwrap(), [3, 4, 5]);
    assert_eq!(gathered(&evidence, since(301, 0)).await.unwrap(), [0_u64; 0]);
    assert!(gathered(&evidence, since(260, 0)).await.unwrap_err().contains("more than 40 records"));
    assert!(gathered(&evidence, v1::GatherEvidenceRequest::default()).await.unwrap_err().contains("name a session"));
    let later = v1::GatherEvidenceRequest { pii: 4, ..since(1, 0) };
    assert!(gathered(&evidence, later).await.unwrap_err().contains("knows no other way"));
    let weight: usize = 3 * evidence.prove(3).await.unwrap().record.len();
    for (bytes, fits) in [(weight, true), (weight - 1, false)] {
        Arc::get_mut(&mut evidence).unwrap().bounds = Bounds { records: 40, bytes };
        let told = gathered(&evidence, since(3, 6)).await;
        let refused = format!("more than {bytes} bytes of records and bodies");
        assert!(told.as_ref().map_or_else(|why| !fits && why.contains(&refused), |_| fits), "{bytes}: {told:?}");
    }
}

#[test]
fn a_principal_that_no_filter_names_is_not_asked_about() {
    let read = |principal: &str| {
        let request = v1::GatherEvidenceRequest { principal: principal.into(), ..since(1, 0) };
        Scope::read(request).map_err(|error| agentgate_core::error::chain(&error))
    };
    for named in [
        "",
        "spiffe://agentgate.local/agent/alice",
        "user:alice@https://idp.example",
        "spiffe://a/x+user:alice@https://idp.example",
    ] {
        assert_eq!(read(named).map(|scope| scope.principal).as_deref(), Ok(named));
    }
    for (alike, why) in [
        ("alice", "it does not begin with spiffe://"),
        ("spiffe://agentgate.local/agent/alice ", "contains a control, format or space character"),
        ("spiffe://agentgate.local/agent/ali\u{200b}ce", "contains a control, format or space character"),
        ("spiffe://agentgate.local/agent/\u{430}lice", "its path has other characters"),
        ("SPIFFE://agentgate.local/agent/alice", "it does not begin with spiffe://"),
        ("spiffe://agentgate.local/agent/alice/", "an empty or a dot segment"),
        ("user:alice", "the user's issuer is empty"),
        ("(withheld)", "it does not begin with spiffe://"),
    ] {
        let refused = read(alike).unwrap_err();
        assert!(refused.starts_with("`principal` is none that a filter names") && refused.contains(why), "{alike}: {refused}");
    }
}

/// A call that needed an approval, among others: asked for, granted, and used by a second call, which came to an end.
fn approved() -> Vec<(Digest, What)> {
    let (approval, asking, using) = (Digest::of("approval", b"1"), Digest::of("call", b"1"), Digest::of("call", b"2"));
    let bytes = |digest: &Digest| Bytes::copy_from_slice(digest.as_bytes());
    let call = |call: &Digest, used: v1::ApprovalUse| {
        let (call_id, approval) = (bytes(call), bytes(&approval));
        What::Decision(v1::DecisionRecord { call_id, approval, approval_use: used.into(), ..Default::default() })
    };
    let step = |what| What::Approval(v1::ApprovalRecord { approval: bytes(&approval), what: Some(what), body: None });
    let ids = step_ids(&approval);
    let other = |name: &[u8]| (Digest::of("test", name), What::Flood(v1::FloodRecord::default()));
    vec![
        other(b"1"),
        (asking, call(&asking, v1::ApprovalUse::Requested)),
        (ids[0], step(Step::Requested(v1::ApprovalRequested { call_id: bytes(&asking), ..Default::default() }))),
        other(b"4"),
        (ids[2], step(Step::Granted(v1::ApprovalGranted { step: 1, ..Default::default() }))),
        other(b"6"),
        (using, call(&using, v1::ApprovalUse::Used)),
        (ids[1], step(Step::Spent(v1::ApprovalSpent { call_id: bytes(&using), ..Default::default() }))),
        (
            Digest::of("test", b"9"),
            What::Outcome(v1::OutcomeRecord { call_id: bytes(&using), decision: 7, ..Default::default() }),
        ),
        other(b"10"),
    ]
}

#[tokio::test]
async fn an_approval_is_given_whole_whenever_its_steps_were() {
    let mut evidence = logged(approved(), Clock::system()).await;
    for (case, since_us, until_us, given) in [
        ("before all", 1, 2, vec![1]),
        ("asked for", 2, 3, vec![2, 3, 5, 8]),
        ("granted", 5, 6, vec![2, 3, 5, 8]),
        ("between grant and use", 6, 0, vec![2, 3, 5, 6, 7, 8, 9, 10]),
        ("used", 7, 8, vec![2, 3, 5, 7, 8, 9]),
        ("spent", 8, 9, vec![2, 3, 5, 8]),
        ("after all", 10, 0, vec![10]),
    ] {
        assert_eq!(gathered(&evidence, since(since_us, until_us)).await.unwrap(), given, "{case}");
    }
    for (records, fits) in [(6, true), (5, false)] {
        Arc::get_mut(&mut evidence).unwrap().bounds = Bounds { records, bytes: 1 << 20 };
        let told = gathered(&evidence, since(7, 8)).await;
        let refused = format!("more than {records} records");
        assert!(told.as_ref().map_or_else(|why| !fits && why.contains(&refused), |_| fits), "{records}: {told:?}");
    }
}

#[tokio::test]
async fn whoever_takes_nothing_has_left() {
    let (clock, hands) = Clock::manual(Time::from_micros(1));
    let floods = (0..20_u8).map(|at| (Digest::of("test", &[at]), What::Flood(v1::FloodRecord::default()))).collect();
    let evidence = logged(floods, clock).await;
    let by = || SpiffeId::try_from("spiffe://agentgate.local/operator/me").unwrap();
    let (_leave, leaving) = watch::channel(false);
    let idle = evidence.gather(Scope::read(since(1, 0)).unwrap(), by(), leaving.clone()).unwrap();
    let waits = async {
        // Its turn is taken until then; what it may be told ahead is told.
        while idle.len() < TOLD_AHEAD || hands.asleep() == 0 {
            tokio::task::yield_now().await;
        }
        let second = evidence.gather(Scope::read(since(1, 0)).unwrap(), by(), leaving.clone());
        assert!(matches!(second, Err(EvidenceError::Crowded { .. })));
        let mut waited = Duration::ZERO;
        while evidence.gathering.available_permits() == 0 {
            hands.advance(Duration::from_secs(1));
            waited += Duration::from_secs(1);
            tokio::task::yield_now().await;
        }
        waited
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waits).await.unwrap() >= HEEDED_WITHIN);
    assert_eq!(gathered(&evidence, since(1, 0)).await.unwrap().len(), 20);
}

/// How a gathering ends for whoever lets so long pass before each message. It gives 20 records of so many bytes.
async fn paced(bytes: usize, pause: Duration) -> Result<usize, EvidenceError> {
    let (clock, hands) = Clock::manual(Time::from_micros(1));
    let flood = |at: u8| What::Flood(v1::FloodRecord { reason: "x".repeat(bytes), count: at.into(), ..Default::default() });
    let evidence = logged((0..20_u8).map(|at| (Digest::of("test", &[at]), flood(at))).collect(), clock).await;
    let by = SpiffeId::try_from("spiffe://agentgate.local/operator/me").unwrap();
    let (_leave, leaving) = watch::channel(false);
    let mut told = evidence.gather(Scope::read(since(1, 0)).unwrap(), by, leaving).unwrap();
    let mut records = 0;
    loop {
        // What may be told ahead is told, and the next one waits, before any time passes.
        let gathers = || evidence.gathering.available_permits() == 0;
        let waits = || told.len() == TOLD_AHEAD && hands.asleep() > 0;
        while gathers() && !waits() {
            tokio::task::yield_now().await;
        }
        hands.advance(pause);
        match told.recv().await {
            Some(Ok(v1::GatherEvidenceResponse { what: Some(Told::End(_)) })) => return Ok(records),
            Some(Ok(v1::GatherEvidenceResponse { what: Some(Told::Record(_)) })) => records += 1,
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => panic!("it has no end"),
        }
    }
}

#[tokio::test]
async fn whoever_takes_it_too_slowly_is_told_so_and_whoever_takes_much_may_take_long() {
    let seconds = Duration::from_secs;
    for (case, bytes, pause, all) in [
        ("at once", 10, Duration::ZERO, true),
        ("a second each", 10, seconds(1), true),
        ("a little less than all others may wait", 10, seconds(29), false),
        ("two seconds each", 10, seconds(2), false),
        ("two seconds each, of more than that takes", 300 << 10, seconds(2), true),
        ("and much longer", 300 << 10, seconds(8), false),
    ] {
        match tokio::time::timeout(seconds(60), paced(bytes, pause)).await.expect(case) {
            Ok(records) => assert!(all && records == 20, "{case}: {records}"),
            Err(error) => assert!(!all && matches!(error, EvidenceError::Slow), "{case}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_statement_names_files_and_is_no_checkpoint() {
    let evidence = evidence(1).await;
    let by = SpiffeId::try_from("spiffe://agentgate.local/operator/me").unwrap();
    let file = |name: &str, bytes: usize| v1::EvidenceFile { name: name.into(), sha256: vec![7; bytes].into() };
    let many = |count: usize| (0..count).map(|at| file(&format!("f{at}"), 32)).collect::<Vec<_>>();
    assert!(evidence.sign(&many(FILES_MAX), &by).is_ok());
    for refused in [
        Vec::new(),
        many(FILES_MAX + 1),
        vec![file("pack.json", 31)],
        vec![file("a\nb", 32)],
        vec![file("../a", 32)],
        vec![file("a", 32), file("a", 32)],
    ] {
        assert!(matches!(evidence.sign(&refused, &by), Err(EvidenceError::Names)), "{refused:?}");
    }
    let newest = evidence.log.newest().unwrap();
    let checkpoint = String::from_utf8(newest.note.to_vec()).unwrap();
    let text = format!("{}\n", checkpoint.split("\n\n").next().unwrap());
    assert!(matches!(evidence.log.sign_statement(&text), Err(TransparencyError::Sign(_))));
}

/// A log over one record whose body is of a session.
async fn with_a_body() -> (Arc<Evidence>, v1::BodyRef, Bytes) {
    let journal = Arc::new(Memory::new());
    let bodies = Bodies::open(Arc::clone(&journal) as Arc<dyn Journal>, DataKey::new(&[7; 32]), counting).await.unwrap();
    let scope = body::Scope::Calls {
        tenant: "default".try_into().unwrap(),
        principal: "spiffe://agentgate.local/agent/laptop".try_into().unwrap(),
        handle: String::new(),
    };
    let words = v1::FloodBody { tenant: "default".into(), principal: "spiffe://agentgate.local/agent/laptop".into() };
    let sealed = bodies.seal(&scope, Time::from_micros(1)).await.unwrap().seal(&words).unwrap();
    let flood = v1::FloodRecord { count: 1, body: Some(sealed.reference.clone()), ..v1::FloodRecord::default() };
    let record = v1::Record { at_us: 1, what: Some(v1::record::What::Flood(flood)) }.encode_to_vec();
    let id = Digest::of("test", b"1");
    let write = Write { stream: Stream::approvals(), expected: Expected::Any, id, record: record.clone().into() };
    journal.append(Change { fence: None, writes: vec![write], bodies: vec![sealed.stored] }).await.unwrap();
    (over(bodies, 1, Clock::system()).await, sealed.reference, record.into())
}

/// The one body and the manifest of a gathering about its principal.
async fn given(evidence: &Arc<Evidence>, sealed: bool) -> (v1::EvidenceBody, String) {
    let principal = "spiffe://agentgate.local/agent/laptop".to_owned();
    let about = v1::GatherEvidenceRequest { principal, sealed, ..v1::GatherEvidenceRequest::default() };
    let by = SpiffeId::try_from("spiffe://agentgate.local/operator/me").unwrap();
    let (_leave, leaving) = watch::channel(false);
    let mut told = evidence.gather(Scope::read(about).unwrap(), by, leaving).unwrap();
    let mut body = None;
    while let Some(message) = told.recv().await {
        match message.unwrap().what {
            Some(Told::Record(record)) => body = record.body,
            Some(Told::End(end)) => return (body.unwrap(), String::from_utf8(end.manifest.to_vec()).unwrap()),
            Some(Told::Progress(_) | Told::Bundle(_)) | None => {}
        }
    }
    panic!("it has no end");
}

#[tokio::test]
async fn a_sealed_body_is_opened_as_long_as_its_key_is_there() {
    let (evidence, reference, record) = with_a_body().await;
    let (open, named) = given(&evidence, false).await;
    let (sealed, withheld) = given(&evidence, true).await;
    assert!(
        named.contains("agent/laptop") && !withheld.contains("agent/laptop") && withheld.contains("(withheld)"),
        "{withheld}"
    );
    let plain = Sha256::digest(&open.plain).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let of = |lines: &str| Sha256::digest(lines).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let as_given = format!("\nrecords 1\nerased none\nbodies open {}\n", of(&format!("1 open {plain}\n")));
    assert!(named.contains(&as_given), "{named}");
    let address = crate::journal::body_address(&sealed.sealed);
    let as_given = format!("\nrecords 1\nerased none\nbodies sealed {}\n", of(&format!("1 sealed {address}\n")));
    assert!(withheld.contains(&as_given), "{withheld}");
    assert!(sealed.plain.is_empty() && sealed.salt.is_empty() && !sealed.erased);
    assert_eq!(crate::journal::body_address(&sealed.sealed).as_bytes().as_slice(), reference.address.as_ref());
    let body = || v1::SealedBody { record: record.clone(), sealed: sealed.sealed.clone(), sequence: 1 };
    let naming = |body: Option<v1::BodyRef>, count: u64| {
        let flood = v1::FloodRecord { count, body, ..v1::FloodRecord::default() };
        v1::Record { at_us: 1, what: Some(v1::record::What::Flood(flood)) }.encode_to_vec().into()
    };
    assert_eq!(evidence.open(vec![body()]).await.unwrap(), [open]);

    let mut other = sealed.sealed.to_vec();
    other[20] ^= 1;
    let nowhere = v1::BodyRef { session: Bytes::new(), ..reference.clone() };
    for spoiled in [
        v1::SealedBody { sealed: other.into(), ..body() },
        v1::SealedBody { sealed: Bytes::new(), ..body() },
        v1::SealedBody { record: Bytes::new(), ..body() },
        v1::SealedBody { record: vec![7; 9].into(), ..body() },
        v1::SealedBody { sequence: 0, ..body() },
        v1::SealedBody { sequence: 2, ..body() },
        v1::SealedBody { record: naming(Some(reference.clone()), 2), ..body() },
        v1::SealedBody { record: naming(None, 1), ..body() },
        v1::SealedBody { record: naming(Some(nowhere), 1), ..body() },
        v1::SealedBody { record: naming(Some(v1::BodyRef { commitment: vec![1; 32].into(), ..reference.clone() }), 1), ..body() },
    ] {
        assert!(matches!(evidence.open(vec![body(), spoiled]).await, Err(EvidenceError::Sealed(1))));
    }
    assert_eq!(evidence.open(vec![body(); OPENED_MAX]).await.unwrap().len(), OPENED_MAX);
    assert!(matches!(evidence.open(vec![body(); OPENED_MAX + 1]).await, Err(EvidenceError::Bodies { asked: 65 })));

    assert!(evidence.bodies.erase(SessionId::of(&reference).unwrap()).await.unwrap());
    let erased = v1::EvidenceBody { erased: true, ..v1::EvidenceBody::default() };
    assert_eq!(evidence.open(vec![body()]).await.unwrap(), [erased], "the copy that was kept is erased as well");
    let principal = "spiffe://agentgate.local/agent/laptop".to_owned();
    let about = v1::GatherEvidenceRequest { principal, sealed: true, ..v1::GatherEvidenceRequest::default() };
    assert_eq!(gathered(&evidence, about).await.unwrap(), [0_u64; 0], "nothing leads from the name to it");
}

#[tokio::test]
async fn a_manifest_says_of_each_body_how_it_was_given() {
    let (erased, open) = (
        v1::EvidenceBody { erased: true, ..v1::EvidenceBody::default() },
        v1::EvidenceBody { plain: vec![1].into(), salt: vec![2; 32].into(), ..v1::EvidenceBody::default() },
    );
    let altered = |plain: u8, pii: v1::Pii| {
        let altered = v1::Altered { pii: pii.into(), ..v1::Altered::default() };
        v1::EvidenceBody { plain: vec![plain].into(), altered: Some(altered), ..v1::EvidenceBody::default() }
    };
    let scope = |sealed| Scope::read(v1::GatherEvidenceRequest { sealed, ..since(1, 0) }).unwrap();
    let said = |scope: &Scope, all: &[Option<&v1::EvidenceBody>]| {
        let (by, mut bodies) =
            (SpiffeId::try_from("spiffe://agentgate.local/operator/me").unwrap(), statement::Bodies::default());
        (1..).zip(all).for_each(|(sequence, body)| bodies.push(sequence, *body));
        let records = (1..=all.len() as u64).collect();
        let text = statement::manifest(scope, &by, Time::from_micros(1), (9, 1_000), &records, bodies);
        text.split_once("\nerased ").unwrap().1.to_owned()
    };
    let redacted = altered(3, v1::Pii::Redact);
    let all = [None, Some(&erased), Some(&open), Some(&redacted), Some(&erased)];
    let whole = said(&scope(false), &all);
    assert!(whole.starts_with("2,5\nbodies open ") && said(&scope(true), &all).starts_with("2,5\nbodies sealed "), "{whole}");
    let tokenised = altered(3, v1::Pii::Tokenise);
    let reworded = altered(4, v1::Pii::Redact);
    for other in [
        [None, Some(&erased), Some(&open), Some(&tokenised), Some(&erased)],
        [None, Some(&erased), Some(&open), Some(&reworded), Some(&erased)],
        [None, Some(&erased), Some(&redacted), Some(&open), Some(&erased)],
        [None, None, Some(&open), Some(&redacted), Some(&erased)],
    ] {
        let digest = |text: &str| text.rsplit_once(' ').unwrap().1.to_owned();
        assert_ne!(digest(&said(&scope(false), &other)), digest(&whole));
    }
}
