//! What is proved here is checked by core's verifier, which knows nothing of how it was made.

use super::*;
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
use prost::Message as _;
use std::time::Duration;

/// A log over so many records.
async fn evidence(records: u64) -> Arc<Evidence> {
    let journal = Arc::new(Memory::new());
    for sequence in 1..=records {
        let flood = v1::FloodRecord { count: sequence, ..v1::FloodRecord::default() };
        let record = v1::Record { at_us: sequence, what: Some(v1::record::What::Flood(flood)) }.encode_to_vec();
        let id = Digest::of("test", &sequence.to_be_bytes());
        let write = Write { stream: Stream::approvals(), expected: Expected::Any, id, record: record.into() };
        journal.append(Change { fence: None, writes: vec![write], bodies: Vec::new() }).await.unwrap();
    }
    let halting = Halting::new(Arc::clone(&journal) as Arc<dyn Journal>);
    let keys = log_keys(None, &halting, counting).await.unwrap();
    let log = Transparency::open(halting, Clock::system(), keys, None).await.map(Arc::new).unwrap();
    let mut published = log.follow();
    tokio::spawn(Arc::clone(&log).integrating());
    let whole = published.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.size == records));
    tokio::time::timeout(Duration::from_secs(20), whole).await.unwrap().unwrap();
    let bodies = Bodies::open(journal, DataKey::new(&[7; 32]), counting).await.unwrap();
    let bodies = Arc::new(bodies);
    let privacy = Privacy::new(crate::config::Privacy::default(), Arc::clone(&bodies));
    Arc::new(Evidence::new((bodies, Arc::new(privacy)), Clock::system(), log, 1_000))
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
        assert_eq!(gathered(&evidence, since(3, 6)).await.is_ok(), fits, "{bytes}");
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
