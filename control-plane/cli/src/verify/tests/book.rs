//! A log that a test keeps by itself: records, the tree over them, and a key that nobody else has.

use crate::verify::{GrowthFile, ProofFile};
use agentgate_core::digest::Digest;
use agentgate_core::transparency::bundle::{Bundle, encode};
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::edge::Edge;
use agentgate_core::transparency::key::{Algorithm, KeyName, SignerKey};
use agentgate_core::transparency::leaf::Entry;
use agentgate_core::transparency::proof::{Plan, Proof};
use agentgate_core::transparency::tile::{Tile, Tiles};
use agentgate_core::transparency::trust::Trust;
use agentgate_proto::v1;
use prost::Message as _;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

pub(crate) fn signer(seed: u8) -> SignerKey {
    SignerKey::from_seed(KeyName::try_from("log.example/test").expect("a name"), Algorithm::Ed25519, &[seed; 32])
}

pub(crate) fn witness(seed: u8) -> SignerKey {
    SignerKey::from_seed(KeyName::try_from("witness.example").expect("a name"), Algorithm::Cosignature, &[seed; 32])
}

pub(crate) fn trust() -> Trust {
    Trust::new(vec![signer(1).verifier().clone()]).expect("a key")
}

/// The id of a source's call.
pub(crate) fn call(source: u8, counter: u64) -> Digest {
    let mut id = [source; 32];
    id[20..28].copy_from_slice(&counter.to_be_bytes());
    Digest::from_bytes(id)
}

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) entries: Vec<Entry>,
    edge: Edge,
    files: BTreeMap<String, Vec<u8>>,
}

impl Book {
    /// So many calls of one source.
    pub(crate) fn calls(count: u64) -> Self {
        let mut book = Self::default();
        for counter in 1..=count {
            book.decision(7, counter);
        }
        book
    }

    pub(crate) fn decision(&mut self, source: u8, counter: u64) {
        let call_id = call(source, counter).as_bytes().to_vec().into();
        let decision = v1::DecisionRecord { call_id, number: counter, ..v1::DecisionRecord::default() };
        self.record(&v1::Record { at_us: counter, what: Some(v1::record::What::Decision(decision)) });
    }

    pub(crate) fn record(&mut self, record: &v1::Record) {
        let (sequence, stored) = (self.entries.len() as u64 + 1, record.encode_to_vec());
        let entry = agentgate_proto::transparency::entry(sequence, record, &stored).expect("a record of ours");
        let mut full = Vec::new();
        self.edge.push(entry.leaf_hash(), |tile, bytes| full.push((tile.path(), bytes))).expect("room");
        self.files.extend(full);
        self.records.push(stored);
        self.entries.push(entry);
    }

    pub(crate) fn checkpoint(&self, signer: &SignerKey) -> Vec<u8> {
        self.checkpoint_cosigned(signer, None)
    }

    pub(crate) fn checkpoint_cosigned(&self, signer: &SignerKey, witness: Option<&SignerKey>) -> Vec<u8> {
        let origin = signer.verifier().id().name.clone();
        let checkpoint = Checkpoint { origin, size: self.edge.size(), root: self.edge.root(), extensions: Vec::new() };
        let mut note = checkpoint.note().expect("a note");
        note.sign(signer).expect("signed");
        if let Some(witness) = witness {
            note.cosign(witness, 1_700_000_000).expect("cosigned");
        }
        note.to_string().into_bytes()
    }

    pub(crate) fn proof(&self, sequence: u64) -> ProofFile {
        let proof = self.proved(&Plan::inclusion(sequence - 1, self.edge.size()).expect("a leaf"));
        let at = usize::try_from(sequence - 1).expect("small");
        ProofFile { checkpoint: self.checkpoint(&signer(1)), entry: self.entries[at], proof, record: self.records[at].clone() }
    }

    /// That this log grew from so many entries.
    pub(crate) fn growth(&self, old_size: u64) -> GrowthFile {
        let new_size = self.edge.size();
        let proof = self.proved(&Plan::consistency(old_size, new_size).expect("a beginning"));
        GrowthFile { path: "growth.proof".into(), old_size, new_size, checkpoint: self.checkpoint(&signer(1)), proof }
    }

    fn proved(&self, plan: &Plan) -> Proof {
        let mut files = self.files.clone();
        files.extend(self.edge.partial().map(|(tile, bytes)| (tile.path(), bytes)));
        let fetch = |tile: Tile| files.get(&tile.path()).cloned().ok_or(io::ErrorKind::NotFound);
        plan.proof(&Tiles::new(self.edge.size(), fetch)).expect("tiles")
    }

    /// As `agentgate log export` leaves it.
    pub(crate) fn export(&self, directory: &Path) {
        let mut files = self.files.clone();
        files.extend(self.edge.partial().map(|(tile, bytes)| (tile.path(), bytes)));
        for bundle in Bundle::changed(0, self.edge.size()) {
            let from = usize::try_from(bundle.first_sequence() - 1).expect("small");
            let entries = &self.entries[from..from + usize::from(bundle.width())];
            files.insert(bundle.path(), encode(entries));
        }
        files.insert("checkpoint".into(), self.checkpoint(&signer(1)));
        for (path, bytes) in files {
            let path = directory.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, bytes).expect("written");
        }
    }
}
