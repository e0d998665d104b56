//! Hashes, roots and edges.

use super::forest::{Slow, entry, mth};
use agentgate_core::transparency::tree::{Frontier, Hash, SIZE_MAX, TreeError, root_of};
use serde_json::Value;

/// The leaves of Certificate Transparency's reference test, and the roots over the first of them.
const VECTORS: &str = include_str!("../../vectors/rfc6962.json");

fn bytes_of(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hash_of(hex: &Value) -> Hash {
    Hash::from_bytes(bytes_of(hex).try_into().unwrap())
}

#[test]
fn the_published_leaves_have_the_published_roots() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(Frontier::default().root(), hash_of(&vectors["empty"]));
    let mut frontier = Frontier::default();
    let mut leaves = Vec::new();
    for line in vectors["leaves"].as_array().unwrap() {
        let leaf = Hash::of_leaf(&bytes_of(&line["leaf"]));
        frontier.push(leaf).unwrap();
        leaves.push(leaf);
        assert_eq!(frontier.root(), hash_of(&line["root"]), "{line}");
        assert_eq!(mth(&leaves), frontier.root());
    }
}

#[test]
fn an_edge_grows_as_its_tree_and_survives_being_written_down() {
    let leaves: Vec<_> = (1..=300).map(|sequence| entry(sequence).leaf_hash()).collect();
    let mut frontier = Frontier::default();
    for (size, leaf) in (1_usize..).zip(&leaves) {
        frontier.push(*leaf).unwrap();
        let root = mth(&leaves[..size]);
        assert_eq!((frontier.root(), frontier.size()), (root, size as u64));
        assert_eq!(root_of(size as u64, &Slow(&leaves)), Ok(root));
        assert_eq!(Frontier::read(size as u64, &Slow(&leaves)), Ok(frontier.clone()));
        frontier = Frontier::decode(&frontier.encode()).unwrap();
    }
}

#[test]
fn an_edge_that_was_never_written_is_refused() {
    let edge = |size: u64, hashes: usize| [size.to_be_bytes().to_vec(), vec![7; hashes * 32]].concat();
    for (bytes, wanted) in [
        (vec![], Err(TreeError::Short)),
        (vec![0; 7], Err(TreeError::Short)),
        (edge(0, 0), Ok(0)),
        (edge(0, 1), Err(TreeError::Edge { size: 0, found: 40 })),
        (edge(5, 2), Ok(5)),
        (edge(5, 1), Err(TreeError::Edge { size: 5, found: 40 })),
        (edge(5, 3), Err(TreeError::Edge { size: 5, found: 104 })),
        ([edge(5, 2), vec![0]].concat(), Err(TreeError::Edge { size: 5, found: 73 })),
        (edge(SIZE_MAX, 63), Ok(SIZE_MAX)),
        (edge(SIZE_MAX + 1, 1), Err(TreeError::Full)),
    ] {
        assert_eq!(Frontier::decode(&bytes).map(|frontier| frontier.size()), wanted);
    }
    let mut full = Frontier::decode(&edge(SIZE_MAX, 63)).unwrap();
    assert_eq!(full.push(Hash::EMPTY), Err(TreeError::Full));
}

#[test]
fn a_hash_has_one_spelling() {
    let hash = Hash::of_leaf(b"a");
    assert_eq!(Hash::parse(&hash.to_string()), Some(hash));
    let text = hash.to_string();
    for other in
        [text.trim_end_matches('=').to_owned(), format!("{text} "), text.replace('=', "=="), String::new(), "AAAA".into()]
    {
        assert_eq!(Hash::parse(&other), None, "{other}");
    }
}
