//! What a verifier concludes: tables of what it was given, and what it said.

use super::forest::{Forest, entry};
use super::note::{log, witness};
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::claim::{Claim, Conclusion, NotShown, Wrong};
use agentgate_core::transparency::gaps::{Counted, Counters, TooScattered};
use agentgate_core::transparency::key::{KeyName, SignerKey};
use agentgate_core::transparency::leaf::{Entry, Kind, Source};
use agentgate_core::transparency::note::NoteError;
use agentgate_core::transparency::proof::{Plan, Proof, ProofError};
use agentgate_core::transparency::tile::Tiles;
use agentgate_core::transparency::tree::{Frontier, Hash};
use agentgate_core::transparency::trust::{Cosigned, Trust, TrustError};
use agentgate_core::transparency::verify::Audit;

const ORIGIN: &str = "log.example/a";
const SOURCE: Source = Source([7; 20]);

fn checkpoint(size: u64, root: Hash) -> Checkpoint {
    Checkpoint { origin: KeyName::try_from(ORIGIN).unwrap(), size, root, extensions: Vec::new() }
}

/// A checkpoint that these signed: the log first, then witnesses at 1, 2, 3, … seconds.
fn note(size: u64, root: Hash, by: &[&SignerKey], witnesses: &[&str]) -> Vec<u8> {
    let mut note = checkpoint(size, root).note().unwrap();
    by.iter().for_each(|key| note.sign(key).unwrap());
    witnesses.iter().zip(1..).for_each(|(name, at_s)| note.cosign(&witness(name), at_s).unwrap());
    note.to_string().into_bytes()
}

fn signed(forest: &Forest) -> Vec<u8> {
    note(forest.edge.size(), forest.edge.root(), &[&log(ORIGIN)], &[])
}

fn trust() -> Trust {
    Trust::new(vec![log(ORIGIN).verifier().clone()]).unwrap()
}

fn consistency(forest: &Forest, old: u64) -> Proof {
    let size = forest.edge.size();
    Plan::consistency(old, size).unwrap().proof(&Tiles::new(size, |tile| forest.fetch(tile))).unwrap()
}

fn inclusion(forest: &Forest, index: u64) -> Proof {
    let size = forest.edge.size();
    Plan::inclusion(index, size).unwrap().proof(&Tiles::new(size, |tile| forest.fetch(tile))).unwrap()
}

/// The sentences of a conclusion, without those about the checkpoint itself, which each has.
fn sentences(conclusion: &Conclusion) -> (Vec<String>, Vec<String>, Vec<String>) {
    let shown = conclusion.shown.iter().filter(|claim| !matches!(claim, Claim::Signed { .. }));
    let not_shown = conclusion.not_shown.iter().filter(|not| !matches!(not, NotShown::Witnessed { .. }));
    (
        shown.map(ToString::to_string).collect(),
        conclusion.wrong.iter().map(ToString::to_string).collect(),
        not_shown.map(ToString::to_string).collect(),
    )
}

fn wrong(conclusion: Conclusion) -> Vec<Wrong> {
    assert_eq!(conclusion.holds(), conclusion.wrong.is_empty());
    conclusion.wrong
}

#[test]
fn a_whole_log_against_its_checkpoints() {
    let mut forest = Forest::of(300);
    let older = signed(&forest);
    forest.grow(700);
    let trust = trust();
    let mut audit = Audit::of(&trust, &signed(&forest)).unwrap();
    audit.older(&older, None);
    let mut run = audit.run(Frontier::default()).unwrap();
    forest.entries.iter().for_each(|entry| run.entry(entry).unwrap());
    audit.end(run);
    audit.included(&entry(5), &inclusion(&forest, 4));
    assert_eq!(
        sentences(&audit.conclude()),
        (
            vec![
                "the entries 1 to 700 are those that were signed, each and no other".into(),
                "the first 300 of 700 entries are as they were when they were signed".into(),
                format!("no call of source {SOURCE} is missing between 1 and 700: 700 have decisions"),
                format!("record 5 is in the log, by its digest {}", entry(5).record),
            ],
            vec![],
            vec![]
        )
    );
}

#[test]
fn what_was_not_given_was_not_shown() {
    let mut forest = Forest::of(3);
    let older = signed(&forest);
    forest.grow(9);
    let trust = trust();
    let conclude = |older: Option<(&[u8], Option<&Proof>)>| {
        let mut audit = Audit::of(&trust, &signed(&forest)).unwrap();
        if let Some((note, proof)) = older {
            audit.older(note, proof);
        }
        sentences(&audit.conclude())
    };
    let no_run = "that nothing is missing: no run of entries was given".to_owned();
    let consistent = "the first 3 of 9 entries are as they were when they were signed".to_owned();
    let no_older = "that the log is unchanged since an earlier day: no older checkpoint was given".to_owned();
    let no_proof =
        "that the log still begins with its 3 first entries: there is neither a proof nor a run of entries over them".to_owned();
    assert_eq!(conclude(None), (vec![], vec![], vec![no_older, no_run.clone()]));
    assert_eq!(conclude(Some((&older, None))), (vec![], vec![], vec![no_proof, no_run.clone()]));
    assert_eq!(conclude(Some((&older, Some(&consistency(&forest, 3))))), (vec![consistent], vec![], vec![no_run]));
}

#[test]
fn a_run_goes_on_where_an_older_checkpoint_ended() {
    let mut forest = Forest::of(0);
    let trust = trust();
    forest.grow(400);
    let (older, edge) = (signed(&forest), forest.edge.frontier());
    forest.grow(1_000);
    let mut audit = Audit::of(&trust, &signed(&forest)).unwrap();
    assert_eq!(audit.run(edge.clone()).map(drop), Err(NotShown::Start(400)), "whose edge it is, nothing says yet");
    audit.older(&older, None);
    let mut stranger = edge.clone();
    stranger.push(Hash::EMPTY).unwrap();
    assert_eq!(audit.run(stranger).map(drop), Err(NotShown::Start(401)));
    let mut run = audit.run(Frontier::decode(&edge.encode()).unwrap()).unwrap();
    forest.entries[400..].iter().for_each(|entry| run.entry(entry).unwrap());
    assert_eq!(run.frontier(), &forest.edge.frontier());
    audit.end(run);
    assert_eq!(
        sentences(&audit.conclude()),
        (
            vec![
                "the entries 401 to 1000 are those that were signed, each and no other".into(),
                "the first 400 of 1000 entries are as they were when they were signed".into(),
                format!("no call of source {SOURCE} is missing between 401 and 1000: 600 have decisions"),
            ],
            vec![],
            vec![format!("what source {SOURCE} did before its call 401")]
        )
    );
}

/// A run of these entries over a log of them, or of others.
fn run_of(forest: &Forest, entries: &[Entry]) -> Conclusion {
    let trust = trust();
    let mut audit = Audit::of(&trust, &signed(forest)).unwrap();
    let mut run = audit.run(Frontier::default()).unwrap();
    entries.iter().for_each(|entry| run.entry(entry).unwrap());
    audit.end(run);
    audit.conclude()
}

#[test]
fn a_changed_entry_is_found_and_a_run_cut_short_shows_nothing() {
    let forest = Forest::of(50);
    for at in 0..50 {
        let mut entries = forest.entries.clone();
        entries[at] = Entry::of(Kind::Decision, at as u64 + 1, None, b"another");
        let conclusion = run_of(&forest, &entries);
        assert!(!conclusion.shown.iter().any(|claim| matches!(claim, Claim::Unchanged { .. } | Claim::NoGap { .. })));
        assert_eq!(wrong(conclusion), [Wrong::Changed { from: 1, to: 50 }]);
    }
    let short = run_of(&forest, &forest.entries[..49]);
    assert_eq!(short.not_shown[1], NotShown::Short { reached: 49, size: 50 });
    let longer: Vec<_> = (1..=51).map(entry).collect();
    assert_eq!(run_of(&forest, &longer).not_shown[1], NotShown::Short { reached: 51, size: 50 });
    let trust = trust();
    let mut run = Audit::of(&trust, &signed(&forest)).unwrap().run(Frontier::default()).unwrap();
    assert_eq!(run.entry(&entry(2)), Err(Wrong::Order { wanted: 1, found: 2 }));
}

#[test]
fn two_stories_of_one_log_are_found() {
    let forest = Forest::of(20);
    let trust = trust();
    let other = Hash::of_leaf(b"another log");
    let by = log(ORIGIN);
    let lie = |size| note(size, other, &[&by], &[]);
    let audit = |lies: &[Vec<u8>], proof: Option<&Proof>| {
        let mut audit = Audit::of(&trust, &signed(&forest)).unwrap();
        lies.iter().for_each(|lie| audit.older(lie, proof));
        let mut run = audit.run(Frontier::default()).unwrap();
        forest.entries.iter().for_each(|entry| run.entry(entry).unwrap());
        audit.end(run);
        audit.conclude()
    };
    let root = forest.edge.root();
    assert_eq!(wrong(audit(&[lie(20)], None)), [Wrong::Fork { size: 20, one: root, other }]);
    let rewritten = audit(&[lie(7)], None);
    assert!(!rewritten.not_shown.contains(&NotShown::Consistent { old: 7 }), "it is known that it does not");
    assert_eq!(wrong(rewritten), [Wrong::Rewritten { old: 7, new: 20 }]);
    let truth = note(7, Forest::of(7).edge.root(), &[&by], &[]);
    let fork = Wrong::Fork { size: 7, one: Forest::of(7).edge.root(), other };
    assert_eq!(wrong(audit(&[truth.clone(), lie(7)], None)), [fork]);
    let unproved = Wrong::Consistency { old: 7, new: 20, source: ProofError::OldRoot };
    assert_eq!(wrong(audit(&[lie(7)], Some(&consistency(&forest, 7)))), [unproved]);
    // A newer one is not the beginning of this one.
    let shrunk = Wrong::Consistency { old: 21, new: 20, source: ProofError::Shrunk { old: 21, new: 20 } };
    assert_eq!(wrong(audit(&[lie(21)], Some(&consistency(&forest, 7)))), [shrunk]);
    assert!(audit(&[lie(21)], None).not_shown.contains(&NotShown::Earlier { old: 21, new: 20 }));
    let stranger = note(7, Forest::of(7).edge.root(), &[&log("log.example/b")], &[]);
    for (given, proof) in [(lie(20), None), (lie(7), Some(consistency(&forest, 7))), (stranger, None)] {
        let said = audit(&[given], proof.as_ref()).not_shown;
        assert!(!said.contains(&NotShown::Older), "one was given: {said:?}");
    }
    assert!(audit(&[truth], None).holds());
}

#[test]
fn a_proof_of_another_leaf_shows_nothing() {
    let forest = Forest::of(20);
    let trust = trust();
    let mut audit = Audit::of(&trust, &signed(&forest)).unwrap();
    audit.included(&entry(5), &inclusion(&forest, 5));
    audit.included(&Entry { counter: 9, ..entry(5) }, &inclusion(&forest, 4));
    audit.included(&entry(21), &inclusion(&forest, 4));
    let conclusion = audit.conclude();
    assert!(!conclusion.shown.iter().any(|claim| matches!(claim, Claim::Included { .. })));
    let failed = |sequence, source| Wrong::Inclusion { sequence, source };
    let outside = ProofError::Index { index: 20, size: 20 };
    assert_eq!(wrong(conclusion), [failed(5, ProofError::Root), failed(5, ProofError::Root), failed(21, outside)]);
}

#[test]
fn any_bit_of_what_is_given_counts() {
    let mut forest = Forest::of(5);
    let older = signed(&forest);
    forest.grow(11);
    let trust = trust();
    let newer = signed(&forest);
    let (grown, included) = (consistency(&forest, 5).encode(), inclusion(&forest, 3).encode());
    let own = entry(4).encode();
    let begun = Audit::of(&trust, &newer).unwrap();
    let begins = |newer: &[u8]| Audit::of(&trust, newer).is_ok_and(|audit| audit.conclude().holds());
    let grows = |older: &[u8], grown: &[u8]| {
        let Ok(grown) = Proof::decode(grown) else { return false };
        let mut audit = begun.clone();
        audit.older(older, Some(&grown));
        audit.conclude().holds()
    };
    let includes = |own: &[u8], included: &[u8]| {
        let (Ok(own), Ok(included)) = (Entry::decode(own), Proof::decode(included)) else { return false };
        let mut audit = begun.clone();
        audit.included(&own, &included);
        audit.conclude().holds()
    };
    // A signature is slow without optimisation: of what is signed, a bit of each byte.
    check_bits(&newer, 7, begins);
    check_bits(&older, 7, |older| grows(older, &grown));
    check_bits(&grown, 7, |grown| grows(&older, grown));
    check_bits(&own, 1, |own| includes(own, &included));
    check_bits(&included, 1, |included| includes(&own, included));
}

/// Holds as it is, and not with any bit flipped.
fn check_bits(bytes: &[u8], every: usize, holds: impl Fn(&[u8]) -> bool) {
    assert!(holds(bytes));
    for bit in (0..bytes.len() * 8).step_by(every) {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!holds(&flipped), "bit {bit}");
    }
}

#[test]
fn a_log_may_change_its_key_and_strangers_are_no_log() {
    let old = SignerKey::from_seed(KeyName::try_from(ORIGIN).unwrap(), log(ORIGIN).verifier().algorithm(), &[1; 32]);
    let new = log(ORIGIN);
    let trust = |keys: &[&SignerKey]| Trust::new(keys.iter().map(|key| key.verifier().clone()).collect()).unwrap();
    let root = Hash::of_leaf(b"");
    let by = |keys: &[&SignerKey], trust: &Trust| {
        let signed = trust.check(&note(1, root, keys, &[]));
        signed.map(|signed| signed.by().iter().map(|id| id.hash).collect::<Vec<_>>())
    };
    let (o, n) = (old.verifier().id().hash, new.verifier().id().hash);
    let stranger = || Err(TrustError::Stranger(KeyName::try_from(ORIGIN).unwrap()));
    assert_eq!(by(&[&old], &trust(&[&old, &new])), Ok(vec![o]));
    assert_eq!(by(&[&new], &trust(&[&old, &new])), Ok(vec![n]));
    assert_eq!(by(&[&new, &old], &trust(&[&old, &new])), Ok(vec![o, n]));
    assert_eq!(by(&[&new, &old], &trust(&[&old])), Ok(vec![o]));
    assert_eq!(by(&[&new], &trust(&[&old])), stranger());
    assert_eq!(by(&[&log("another")], &trust(&[&old])), stranger());
    let mut foreign = Checkpoint { origin: KeyName::try_from("b").unwrap(), ..checkpoint(1, root) }.note().unwrap();
    foreign.sign(&new).unwrap();
    let origin = TrustError::Origin(KeyName::try_from("b").unwrap(), KeyName::try_from(ORIGIN).unwrap());
    assert_eq!(trust(&[&new]).check(foreign.to_string().as_bytes()), Err(origin));
    assert_eq!(trust(&[&new]).check(b""), Err(TrustError::Note(NoteError::Separator)));
}

#[test]
fn keys_that_make_no_verifier_are_refused() {
    let public = |key: SignerKey| key.verifier().clone();
    let (a, w1, w2) = (public(log("a")), public(witness("w1")), public(witness("w2")));
    let id = |key: &agentgate_core::transparency::key::VerifierKey| key.id().clone();
    assert_eq!(Trust::new(vec![]).err(), Some(TrustError::Keys(0)));
    assert_eq!(Trust::new(vec![a.clone(); 101]).err(), Some(TrustError::Keys(101)));
    assert_eq!(Trust::new(vec![w1.clone()]).err(), Some(TrustError::Witness(id(&w1))));
    assert_eq!(Trust::new(vec![a.clone(), a.clone()]).err(), Some(TrustError::Twice(id(&a))));
    let b = public(log("b"));
    assert_eq!(Trust::new(vec![a.clone(), b.clone()]).err(), Some(TrustError::Another(id(&b), a.id().name.clone())));
    let witnessed = |keys: Vec<_>, quorum| Trust::new(vec![a.clone()]).unwrap().witnessed_by(keys, quorum).err();
    for (keys, quorum, wanted) in [
        (vec![w1.clone(), w2.clone()], 0, Some(TrustError::Quorum { quorum: 0, witnesses: 2 })),
        (vec![w1.clone(), w2.clone()], 3, Some(TrustError::Quorum { quorum: 3, witnesses: 2 })),
        (vec![w1.clone(), w2.clone()], 2, None),
        (vec![w1.clone(), w1.clone()], 2, Some(TrustError::Twice(id(&w1)))),
        (vec![b.clone()], 1, Some(TrustError::NoWitness(id(&b)))),
    ] {
        assert_eq!(witnessed(keys, quorum), wanted);
    }
    // One key under two names, and the log's own, would be two voices of one mouth.
    let alias = |of: &SignerKey, name: &str| {
        let algorithm = w1.algorithm();
        agentgate_core::transparency::key::VerifierKey::new(
            KeyName::try_from(name).unwrap(),
            algorithm,
            of.verifier().key_bytes(),
        )
        .unwrap()
    };
    let again = alias(&witness("w1"), "w9");
    assert_eq!(witnessed(vec![w1.clone(), again.clone()], 2), Some(TrustError::Twice(id(&again))));
    let own = alias(&log("a"), "w9");
    assert_eq!(witnessed(vec![own.clone()], 1), Some(TrustError::Twice(id(&own))));
}

#[test]
fn a_log_is_witnessed_by_a_quorum_or_not_at_all() {
    let root = Hash::of_leaf(b"");
    let asked = |quorum| {
        let witnesses = ["w1", "w2", "w3"].map(|name| witness(name).verifier().clone());
        trust().witnessed_by(witnesses.to_vec(), quorum).unwrap()
    };
    let seen = |name: &str, at_s| Cosigned { by: witness(name).verifier().id().clone(), at_s };
    for (trust, by, wanted) in [
        (trust(), vec!["w1"], Err((vec![], 0))),
        (asked(1), vec![], Err((vec![], 1))),
        (asked(1), vec!["w2"], Ok(vec![seen("w2", 1)])),
        (asked(2), vec!["w2"], Err((vec![seen("w2", 1)], 2))),
        (asked(2), vec!["w3", "w4"], Err((vec![seen("w3", 1)], 2))),
        (asked(2), vec!["w3", "w4", "w1"], Ok(vec![seen("w1", 3), seen("w3", 1)])),
    ] {
        let note = note(1, root, &[&log(ORIGIN)], &by);
        let conclusion = Audit::of(&trust, &note).unwrap().conclude();
        let witnessed =
            conclusion.shown.iter().find_map(|claim| if let Claim::Witnessed { by } = claim { Some(by.clone()) } else { None });
        let not = conclusion
            .not_shown
            .iter()
            .find_map(|not| if let NotShown::Witnessed { by, quorum } = not { Some((by.clone(), *quorum)) } else { None });
        assert_eq!((witnessed, not), (wanted.clone().ok(), wanted.err()), "{by:?}");
    }
    let mut forged = note(1, root, &[&log(ORIGIN)], &["w1"]);
    let last = forged.len() - 20;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let wanted = TrustError::Note(NoteError::Forged(witness("w1").verifier().id().clone()));
    assert_eq!(asked(2).check(&forged), Err(wanted));
    assert!(trust().check(&forged).is_ok(), "nobody was asked to know this witness");
}

type Ranges<'a> = &'a [(u64, u64)];

/// Decisions of one source in this order, the floods beside them, and what is seen.
fn check(counters: &[u64], floods: Ranges<'_>, wanted: (u64, u64, Ranges<'_>, Ranges<'_>, &[u64], u64)) {
    let mut all = Counters::default();
    for (counter, sequence) in counters.iter().zip(1..) {
        for kind in [Kind::Decision, Kind::Outcome] {
            all.see(&Entry { counter: *counter, source: SOURCE, kind, ..entry(sequence) }).unwrap();
        }
        all.see(&Entry { counter: 0, source: Source::NONE, ..entry(sequence) }).unwrap();
    }
    floods.iter().for_each(|(from, to)| all.account(SOURCE, *from..=*to).unwrap());
    let ranges = |all: &[(u64, u64)]| all.iter().map(|(from, to)| *from..=*to).collect::<Vec<_>>();
    let (begins, ends, missing, accounted, twice, overtaken) = wanted;
    let counted = Counted {
        source: SOURCE,
        calls: counters.iter().filter(|counter| **counter > 0).count() as u64,
        begins,
        ends,
        missing: ranges(missing),
        accounted: ranges(accounted),
        twice: twice.to_vec(),
        overtaken,
    };
    assert_eq!(all.counted().collect::<Vec<_>>(), [counted], "{counters:?} {floods:?}");
}

#[test]
fn what_is_missing_among_a_sources_calls_is_named() {
    const MAX: u64 = u64::MAX;
    check(&[1, 2, 3], &[], (1, 3, &[], &[], &[], 0));
    check(&[7], &[], (7, 7, &[], &[], &[], 0));
    check(&[1, 2, 5, 6, 9], &[], (1, 9, &[(3, 4), (7, 8)], &[], &[], 0));
    check(&[3, 1, 2], &[], (1, 3, &[], &[], &[], 2));
    check(&[5, 1], &[], (1, 5, &[(2, 4)], &[], &[], 1));
    check(&[1, 2, 2, 3, 1, 2], &[], (1, 3, &[], &[], &[1, 2], 0));
    check(&[1, MAX], &[], (1, MAX, &[(2, MAX - 1)], &[], &[], 0));
    // Those that were never numbered say nothing.
    check(&[0, 1, 0, 2, 0], &[], (1, 2, &[], &[], &[], 0));
    check(&[MAX, MAX - 1], &[(0, MAX)], (0, MAX, &[], &[(0, MAX - 2)], &[], 1));
    check(&[1, 9], &[(3, 4), (6, 6)], (1, 9, &[(2, 2), (5, 5), (7, 8)], &[(3, 4), (6, 6)], &[], 0));
    check(&[1, 9], &[(2, 8)], (1, 9, &[], &[(2, 8)], &[], 0));
    check(&[1, 5, 9], &[(4, 6), (5, 7)], (1, 9, &[(2, 3), (8, 8)], &[(4, 4), (6, 7)], &[], 0));
    check(&[5], &[(1, 3), (7, 9)], (1, 9, &[(4, 4), (6, 6)], &[(1, 3), (7, 9)], &[], 0));
}

#[test]
fn what_is_too_scattered_is_not_counted() {
    let mut all = Counters::bounded(3);
    let decision = |counter| Entry { counter, ..entry(1) };
    for counter in [1, 3, 5] {
        all.see(&decision(counter)).unwrap();
    }
    let mut joined = all.clone();
    assert_eq!(all.see(&decision(7)), Err(TooScattered { max: 3 }));
    joined.see(&decision(4)).unwrap();
    joined.see(&decision(7)).unwrap();
    joined.see(&decision(6)).unwrap();
    joined.account(SOURCE, 2..=2).unwrap();
    assert_eq!(joined.counted().next().map(|counted| (counted.begins, counted.ends, counted.missing)), Some((1, 7, vec![])));
    let (from, to) = (5, 4);
    joined.account(SOURCE, from..=to).unwrap();
}

#[test]
fn a_gap_is_said_only_of_what_was_signed() {
    let mut entries: Vec<_> =
        [1, 2, 5, 5].into_iter().zip(1..).map(|(counter, sequence)| Entry { counter, ..entry(sequence) }).collect();
    entries.push(Entry::of(Kind::Mode, 5, None, b"mode"));
    let mut frontier = Frontier::default();
    entries.iter().for_each(|entry| frontier.push(entry.leaf_hash()).unwrap());
    let trust = trust();
    let note = note(5, frontier.root(), &[&log(ORIGIN)], &[]);
    let conclude = |entries: &[Entry], flood: bool| {
        let mut audit = Audit::of(&trust, &note).unwrap();
        let mut run = audit.run(Frontier::default()).unwrap();
        entries.iter().for_each(|entry| run.entry(entry).unwrap());
        if flood {
            run.account(SOURCE, 3..=4);
        }
        audit.end(run);
        sentences(&audit.conclude())
    };
    let older = || "that the log is unchanged since an earlier day: no older checkpoint was given".to_owned();
    let unchanged = || "the entries 1 to 5 are those that were signed, each and no other".to_owned();
    let twice = || format!("calls of source {SOURCE} were decided more than once: 5");
    let gap = format!("calls of source {SOURCE} have no decision in the log: 3-4");
    let whole = format!("no call of source {SOURCE} is missing between 1 and 5: 4 have decisions");
    assert_eq!(conclude(&entries, false), (vec![unchanged()], vec![twice()], vec![gap, older()]));
    assert_eq!(conclude(&entries, true), (vec![unchanged(), whole], vec![twice()], vec![older()]));
    let changed = vec!["the entries 1 to 5 are not those that were signed".to_owned()];
    entries[0].counter = 2;
    assert_eq!(conclude(&entries, false), (vec![], changed, vec![older()]));
}
