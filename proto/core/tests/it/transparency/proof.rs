//! Proofs of all small trees, and what becomes of them when a bit is flipped.

use super::forest::{Forest, Table, mth, place};
use agentgate_core::transparency::proof::{PROOF_HASHES_MAX, Plan, Proof, ProofError};
use agentgate_core::transparency::tile::{Tile, Tiles};
use agentgate_core::transparency::tree::{Hash, SIZE_MAX};
use proptest::prelude::*;

const SIZE: u64 = 300;

fn roots(leaves: &[Hash]) -> Vec<Hash> {
    (0..=leaves.len()).map(|size| mth(&leaves[..size])).collect()
}

/// RFC 6962's `PATH`, by its own recursive words.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut hashes, sibling) =
        if index < left.len() { (path(index, left), mth(right)) } else { (path(index - left.len(), right), mth(left)) };
    hashes.push(sibling);
    hashes
}

fn flipped(hash: Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8 % 32] ^= 1 << (bit % 8);
    Hash::from_bytes(bytes)
}

/// The proof with each of its bits flipped, with a hash more, and with each hash left out.
fn bent(proof: &Proof, every: usize) -> Vec<Proof> {
    let hashes = proof.hashes();
    let flips = (0..hashes.len() * 256).step_by(every).map(|bit| {
        let mut all = hashes.to_vec();
        all[bit / 256] = flipped(all[bit / 256], bit % 256);
        all
    });
    let longer = [[hashes, &[Hash::EMPTY]].concat(), [&[Hash::EMPTY], hashes].concat()];
    let shorter = (0..hashes.len()).map(|at| [&hashes[..at], &hashes[at + 1..]].concat());
    flips.chain(longer).chain(shorter).map(|all| Proof::new(all).unwrap()).collect()
}

#[test]
fn every_leaf_of_every_small_tree_is_proved() {
    let leaves = Forest::of(SIZE).leaves();
    let (roots, table) = (roots(&leaves), Table::of(leaves.clone()));
    for size in 1..=SIZE {
        let root = roots[place(size)];
        for index in 0..size {
            let leaf = leaves[place(index)];
            let proof = Plan::inclusion(index, size).unwrap().proof(&table).unwrap();
            assert_eq!(proof.includes(leaf, index, size, root), Ok(()), "{index} {size}");
            if size % 37 == 0 || size < 20 {
                assert_eq!(proof.hashes(), path(place(index), &leaves[..place(size)]));
                assert_eq!(Proof::decode(&proof.encode()).as_ref(), Ok(&proof));
            }
            let bit = place(index * 7 + size) % 256;
            // Without optimisation a hash is slow: of large trees each proof meets one of the two.
            if size < 40 || (index + size) % 2 == 0 {
                assert_eq!(proof.includes(flipped(leaf, bit), index, size, root), Err(ProofError::Root));
            }
            if size < 40 || (index + size) % 2 == 1 {
                assert_eq!(proof.includes(leaf, index, size, flipped(root, bit)), Err(ProofError::Root));
            }
            for other in (0..size.min(40)).filter(|other| *other != index && size < 40) {
                assert!(proof.includes(leaf, other, size, root).is_err(), "{index} as {other} of {size}");
            }
            assert_eq!(proof.includes(leaf, size, size, root), Err(ProofError::Index { index: size, size }));
        }
    }
}

#[test]
fn every_small_tree_is_the_beginning_of_every_larger_one() {
    let leaves = Forest::of(SIZE).leaves();
    let (roots, table) = (roots(&leaves), Table::of(leaves.clone()));
    for (old, new) in (0..=SIZE).flat_map(|new| (0..=new).map(move |old| (old, new))) {
        let (one, other) = ((old, roots[place(old)]), (new, roots[place(new)]));
        let proof = Plan::consistency(old, new).unwrap().proof(&table).unwrap();
        assert_eq!(proof.extends(one, other), Ok(()), "{old} {new}");
        assert_eq!(proof.hashes().is_empty(), old == 0 || old == new);
        let bit = place(old * 7 + new) % 256;
        if new < 40 || (old + new) % 2 == 0 {
            assert!(proof.extends((old, flipped(one.1, bit)), other).is_err(), "{old} {new}");
        }
        if new < 40 || (old + new) % 2 == 1 {
            // Whatever a log becomes, it began with nothing.
            let refused = proof.extends(one, (new, flipped(other.1, bit))).is_err();
            assert_eq!(refused, old != 0 || new == 0, "{old} {new}");
        }
        if old < new {
            assert_eq!(proof.extends(other, one), Err(ProofError::Shrunk { old: new, new: old }));
        }
    }
}

#[test]
fn no_bit_of_a_proof_can_be_another() {
    let leaves = Forest::of(100).leaves();
    let (roots, table) = (roots(&leaves), Table::of(leaves.clone()));
    for size in [1, 2, 3, 4, 5, 7, 8, 11, 16, 31, 64, 65, 100] {
        let root = roots[place(size)];
        for index in (0..size).step_by(5).chain([size - 1]) {
            let proof = Plan::inclusion(index, size).unwrap().proof(&table).unwrap();
            let leaf = leaves[place(index)];
            assert!(bent(&proof, 17).iter().all(|bent| bent.includes(leaf, index, size, root).is_err()), "{index} {size}");
        }
        for old in (1..size).step_by(5) {
            let proof = Plan::consistency(old, size).unwrap().proof(&table).unwrap();
            let one = (old, roots[place(old)]);
            assert!(bent(&proof, 17).iter().all(|bent| bent.extends(one, (size, root)).is_err()), "{old} {size}");
        }
    }
}

/// The sides on which a proof's hashes stand: all that it knows of a size.
fn sides(index: u64, size: u64) -> Vec<bool> {
    let (mut from, mut to, mut sides) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + (to - from).next_power_of_two() / 2;
        sides.push(index < middle);
        if index < middle { to = middle } else { from = middle }
    }
    sides
}

#[test]
fn another_size_is_refused_wherever_the_tree_would_have_another_form() {
    let leaves = Forest::of(40).leaves();
    let (roots, table) = (roots(&leaves), Table::of(leaves.clone()));
    for (size, index) in (1..=40_u64).flat_map(|size| (0..size).map(move |index| (size, index))) {
        let proof = Plan::inclusion(index, size).unwrap().proof(&table).unwrap();
        for other in (0..64).map(|bit| size ^ (1 << bit)) {
            let shown = proof.includes(leaves[place(index)], index, other, roots[place(size)]).is_ok();
            // The root does not hold the size: the checkpoint's signature does.
            let same = other <= 64 && index < other && sides(index, size) == sides(index, other);
            assert_eq!(shown, same, "{index} of {size} as of {other}");
        }
    }
}

#[test]
fn sizes_without_a_proof_are_refused() {
    for (index, size, wanted) in [
        (0, 0, ProofError::Index { index: 0, size: 0 }),
        (5, 5, ProofError::Index { index: 5, size: 5 }),
        (u64::MAX, 5, ProofError::Index { index: u64::MAX, size: 5 }),
        (0, SIZE_MAX + 1, ProofError::Size(SIZE_MAX + 1)),
    ] {
        assert_eq!(Plan::inclusion(index, size), Err(wanted));
        assert_eq!(Proof::new(vec![]).unwrap().includes(Hash::EMPTY, index, size, Hash::EMPTY), Err(wanted));
    }
    let (empty, other) = (Hash::EMPTY, Hash::of_leaf(b""));
    let none = Proof::new(vec![]).unwrap();
    for (old, new, wanted) in [
        ((0, empty), (0, empty), Ok(())),
        ((0, empty), (9, other), Ok(())),
        ((0, other), (9, other), Err(ProofError::OldRoot)),
        ((0, empty), (0, other), Err(ProofError::Root)),
        ((9, other), (9, other), Ok(())),
        ((9, other), (9, empty), Err(ProofError::Root)),
        ((9, other), (10, empty), Err(ProofError::Length(0))),
        ((8, other), (10, empty), Err(ProofError::Length(0))),
        ((10, other), (9, empty), Err(ProofError::Shrunk { old: 10, new: 9 })),
        ((0, empty), (SIZE_MAX + 1, other), Err(ProofError::Size(SIZE_MAX + 1))),
    ] {
        assert_eq!(none.extends(old, new), wanted, "{old:?} {new:?}");
    }
    for length in [0, 32, 64 * 32] {
        assert!(Proof::decode(&vec![0; length]).is_ok());
    }
    for length in [1, 31, 33, 65 * 32] {
        assert_eq!(Proof::decode(&vec![0; length]), Err(ProofError::Bytes(length)));
    }
    assert_eq!(Proof::new(vec![Hash::EMPTY; PROOF_HASHES_MAX + 1]), Err(ProofError::Length(65)));
}

/// The largest tree there is, without its leaves: every node is a hash of its place.
#[test]
fn the_largest_tree_has_proofs_of_the_longest_kind() {
    let longest = |plan: Plan| plan.proof(&ByPlace).unwrap().hashes().len();
    assert_eq!(longest(Plan::inclusion(0, SIZE_MAX).unwrap()), 63);
    let old = (1 << 62) - 1;
    assert!((62..=PROOF_HASHES_MAX).contains(&longest(Plan::consistency(old, SIZE_MAX).unwrap())));
    assert!(Plan::inclusion(SIZE_MAX - 1, SIZE_MAX).unwrap().tiles().len() >= 8);
}

struct ByPlace;

impl agentgate_core::transparency::tree::Nodes for ByPlace {
    type Error = std::convert::Infallible;

    fn node(&self, node: agentgate_core::transparency::tree::Node) -> Result<Hash, Self::Error> {
        Ok(Hash::of_leaf(format!("{node:?}").as_bytes()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_plan_names_all_tiles_that_its_proof_reads(sizes in (1_u64..1_000, 1_u64..1_000), index in any::<u64>()) {
        let (old, new) = (sizes.0.min(sizes.1), sizes.0.max(sizes.1));
        let mut forest = Forest::of(old);
        let old_root = forest.edge.root();
        forest.grow(new);
        let root = forest.edge.root();
        let index = index % new;
        for (plan, is_inclusion) in [(Plan::inclusion(index, new).unwrap(), true), (Plan::consistency(old, new).unwrap(), false)] {
            let named = plan.tiles();
            let fetch = |tile: Tile| if named.contains(&tile) { forest.fetch(tile).map_err(|_| ()) } else { Err(()) };
            let proof = plan.proof(&Tiles::new(new, fetch)).unwrap();
            let shown = if is_inclusion {
                proof.includes(forest.entries[place(index)].leaf_hash(), index, new, root)
            } else {
                proof.extends((old, old_root), (new, root))
            };
            prop_assert_eq!(shown, Ok(()));
        }
    }

    #[test]
    fn noise_proves_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..700), index in any::<u64>(), size in any::<u64>()) {
        if let Ok(proof) = Proof::decode(&bytes) {
            let root = Hash::of_leaf(b"root");
            prop_assert!(proof.includes(Hash::EMPTY, index, size, root).is_err());
            prop_assert!(proof.extends((index, Hash::EMPTY), (size, root)).is_err() || index == 0);
        }
    }
}
