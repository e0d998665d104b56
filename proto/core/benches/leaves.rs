//! How long a million entries take to become leaves and tiles, and what a checkpoint and a proof cost on top. It prints, and judges nothing.
//!
//! `cargo bench -p agentgate-core --bench leaves`
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench measures time, and stops where it cannot")]

use agentgate_core::digest::Digest;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::edge::Edge;
use agentgate_core::transparency::key::{Algorithm, KeyName, SignerKey};
use agentgate_core::transparency::leaf::{Entry, Kind};
use agentgate_core::transparency::proof::Plan;
use agentgate_core::transparency::tile::{Tile, Tiles};
use agentgate_core::transparency::trust::Trust;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

const LEAVES: u64 = 1_000_000;
const TIMES: u32 = 1_000;

/// Prints what one of `times` took.
fn measure<T>(what: &str, times: u32, mut run: impl FnMut() -> T) {
    let start = Instant::now();
    for _ in 0..times {
        black_box(run());
    }
    let one = start.elapsed() / times;
    println!("{what}: {one:?}");
}

fn main() {
    let call = Digest::of("bench", b"call");
    let record = Digest::of("bench", b"record");
    let entries: Vec<Entry> =
        (1..=LEAVES).map(|sequence| Entry { record, ..Entry::of(Kind::Decision, sequence, Some(&call), b"") }).collect();
    let mut edge = Edge::default();
    let mut files: BTreeMap<Tile, Vec<u8>> = BTreeMap::new();
    measure("1,000,000 entries into leaves and tiles", 1, || {
        for entry in &entries {
            edge.push(entry.leaf_hash(), |tile, bytes| drop(files.insert(tile, bytes))).unwrap();
        }
    });
    files.extend(edge.partial());
    println!("{} tiles, {} bytes", files.len(), files.values().map(Vec::len).sum::<usize>());

    measure("the root of what is there", TIMES, || edge.root());
    let fetch = |tile: Tile| files.get(&tile).ok_or(());
    measure("an inclusion proof from tiles", TIMES, || {
        Plan::inclusion(777_777, LEAVES).unwrap().proof(&Tiles::new(LEAVES, fetch)).unwrap()
    });
    let proof = Plan::inclusion(777_777, LEAVES).unwrap().proof(&Tiles::new(LEAVES, fetch)).unwrap();
    let (leaf, root) = (entries.get(777_777).unwrap().leaf_hash(), edge.root());
    measure("its check", TIMES, || proof.includes(leaf, 777_777, LEAVES, root).unwrap());
    let origin = KeyName::try_from("log.example/a").unwrap();
    let key = SignerKey::from_seed(origin.clone(), Algorithm::Ed25519, &[7; 32]);
    let checkpoint = Checkpoint { origin, size: LEAVES, root, extensions: Vec::new() };
    let sign = || {
        let mut note = checkpoint.note().unwrap();
        note.sign(&key).unwrap();
        note.to_string()
    };
    measure("a signed checkpoint", TIMES, sign);
    let (note, trust) = (sign(), Trust::new(vec![key.verifier().clone()]).unwrap());
    measure("its check", TIMES, || trust.check(note.as_bytes()).unwrap());
}
