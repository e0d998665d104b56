//! What is proved here is checked by core's verifier, which knows nothing of how it was made.

use super::*;
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
async fn evidence(records: u64) -> Evidence {
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
    Evidence::new(journal, log)
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
