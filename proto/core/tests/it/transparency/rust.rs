//! Oracles in Rust, by others: the crates `tlog_tiles` and `signed_note`. Their roots, paths, proofs, checkpoints and notes are ours.

use super::forest::{Forest, Table, place};
use super::note::log;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::key::KeyName;
use agentgate_core::transparency::note::Note;
use agentgate_core::transparency::proof::{Plan, Proof};
use agentgate_core::transparency::tile::Tile;
use agentgate_core::transparency::tree::{Hash, Node, Nodes, SIZE_MAX};
use proptest::prelude::*;
use signed_note::{StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles::HashReader;

/// Our nodes, under their numbers.
struct Theirs(Table);

impl HashReader for Theirs {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        let read = |index: &u64| {
            let (level, index) = tlog_tiles::split_stored_hash_index(*index);
            their(self.0.node(Node { level, index }).unwrap())
        };
        Ok(indexes.iter().map(read).collect())
    }
}

fn their(hash: Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(*hash.as_bytes())
}

fn ours(proof: &[tlog_tiles::Hash]) -> Proof {
    Proof::new(proof.iter().map(|hash| Hash::from_bytes(hash.0)).collect()).unwrap()
}

/// Their path of a tile has its height in it; the one of the specification does not.
fn path(tile: &tlog_tiles::Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1)
}

#[test]
fn leaves_roots_and_proofs_are_theirs() {
    let forest = Forest::of(150);
    let leaves = forest.leaves();
    for (entry, leaf) in forest.entries.iter().zip(&leaves) {
        assert_eq!(tlog_tiles::record_hash(&entry.encode()), their(*leaf));
    }
    let theirs = Theirs(Table::of(leaves.clone()));
    let roots: Vec<_> = (0..=150).map(|size| tlog_tiles::tree_hash(size, &theirs).unwrap()).collect();
    for size in [1, 2, 3, 7, 8, 64, 100, 149, 150] {
        let root = Forest::of(size).edge.root();
        assert_eq!(roots[place(size)], their(root));
        for index in (0..size).step_by(3) {
            let (leaf, made) = (leaves[place(index)], tlog_tiles::prove_record(size, index, &theirs).unwrap());
            let proof = Plan::inclusion(index, size).unwrap().proof(&theirs.0).unwrap();
            assert_eq!(ours(&made), proof);
            assert_eq!(proof.includes(leaf, index, size, root), Ok(()));
            let hashes: Vec<_> = proof.hashes().iter().copied().map(their).collect();
            tlog_tiles::check_record(&hashes, size, their(root), index, their(leaf)).unwrap();
        }
        for old in (1..=size).step_by(3) {
            let old_root = Hash::from_bytes(roots[place(old)].0);
            let made = tlog_tiles::prove_tree(size, old, &theirs).unwrap();
            let proof = Plan::consistency(old, size).unwrap().proof(&theirs.0).unwrap();
            assert_eq!(ours(&made), proof);
            assert_eq!(proof.extends((old, old_root), (size, root)), Ok(()));
            let hashes: Vec<_> = proof.hashes().iter().copied().map(their).collect();
            tlog_tiles::check_tree(&hashes, size, their(root), old, their(old_root)).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_changes_is_theirs(old in 0_u64..200_000, grown in 0_u64..3_000) {
        let theirs: Vec<_> = tlog_tiles::Tile::new_tiles(8, old, old + grown).iter().map(path).collect();
        prop_assert_eq!(Tile::changed(old, old + grown).map(|tile| tile.path()).collect::<Vec<_>>(), theirs);
    }

    #[test]
    fn paths_of_tiles_are_theirs(level in 0_u8..7, index in 0..SIZE_MAX, size in 0..SIZE_MAX) {
        if let Some(tile) = Tile::at(level, (index >> (8 * level)) >> 8, size) {
            let theirs = tlog_tiles::Tile::new(8, level, tile.index(), tile.width().into(), false);
            prop_assert_eq!(tile.path(), path(&theirs));
            prop_assert_eq!(Tile::parse(&path(&theirs)), Some(tile));
        }
    }

    #[test]
    // Theirs panics at a width or level that no tile has, so that none is asked for here.
    fn a_path_is_read_as_they_read_it_or_refused(path in "tile/0?[0-8]/(x?[0-9]{3}/){0,3}x?[0-9]{3}(\\.p/(0?[1-9][0-9]?|1[0-9]{2}))?") {
        let theirs = tlog_tiles::Tile::from_path(&path.replacen("tile/", "tile/8/", 1)).ok();
        let read = Tile::parse(&path).map(|tile| (tile.level(), tile.index(), u32::from(tile.width())));
        // They know larger trees than there may be.
        let theirs = theirs.filter(|tile| Tile::at(tile.level(), tile.level_index(), SIZE_MAX).is_some_and(|whole| u32::from(whole.width()) >= tile.width()));
        prop_assert_eq!(read, theirs.map(|tile| (tile.level(), tile.level_index(), tile.width())));
    }
}

#[test]
fn keys_and_notes_are_theirs() {
    let (one, two) = (log("log.example/a"), log("zweite"));
    let their_signer = StandardSigner::new(&one.secret_text()).unwrap();
    for text in ["a\n", "a\n\nb\n", "\n", "é — \u{7f}\n"] {
        let mut note = Note::new(text).unwrap();
        note.sign(&one).unwrap();
        note.sign(&two).unwrap();
        let read = signed_note::Note::from_bytes(note.to_string().as_bytes()).unwrap();
        let known = |key: &str| VerifierList::new(vec![Box::new(StandardVerifier::new(key).unwrap())]);
        let (verified, unverified) = read.verify(&known(&one.verifier().to_string())).unwrap();
        assert_eq!((verified[0].name(), unverified[0].name()), ("log.example/a", "zweite"));

        let mut theirs = signed_note::Note::new(text.as_bytes(), &[]).unwrap();
        theirs.add_sigs(&[&their_signer]).unwrap();
        let read = Note::parse(&theirs.to_bytes()).unwrap();
        assert_eq!((read.signed_by(one.verifier()), read.signed_by(two.verifier())), (Ok(true), Ok(false)));
        assert_eq!(read.to_string().into_bytes(), theirs.to_bytes());
        // Ed25519 draws nothing by lot: who has the key writes the same signature.
        assert_eq!(read.signatures()[0], note.signatures()[0]);
    }
}

#[test]
fn checkpoints_are_theirs() {
    for (size, extensions) in [(1, vec![]), (SIZE_MAX, vec!["one".to_owned(), "two words".to_owned()])] {
        let root = Hash::of_leaf(&extensions.concat().into_bytes());
        let own = Checkpoint { origin: KeyName::try_from("log.example/a").unwrap(), size, root, extensions };
        let lines: String = own.extensions.iter().map(|line| format!("{line}\n")).collect();
        let theirs = tlog_tiles::Checkpoint::new("log.example/a", size, their(root), &lines).unwrap();
        assert_eq!(theirs.to_bytes(), own.to_string().into_bytes());
        assert_eq!(Checkpoint::parse(std::str::from_utf8(&theirs.to_bytes()).unwrap()), Ok(own));
    }
}
