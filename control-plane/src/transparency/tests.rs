//! Stories about the log: replicas, restarts, spoiled tiles, and journals that are not what was signed.

mod damaged;
mod paced;
mod quiet;
mod rollback;
mod tiles;

use super::integrate::{SIGN_EVERY, SIGNED_WITHIN};
use super::*;
use crate::body::tests::counting;
use crate::clock::Manual;
use crate::journal::{Change, Expected, Journal, Memory, Stream, Write};
use agentgate_core::time::Time;
use agentgate_core::transparency::bundle::Bundle;
use agentgate_core::transparency::key::{Algorithm, KeyName, VerifierKey};
use agentgate_core::transparency::tile::Tile;
use agentgate_core::transparency::tree::Frontier;
use agentgate_proto::v1;
use prost::Message as _;
use std::path::Path;
use std::time::Duration;

pub(super) fn signer(seed: u8) -> SignerKey {
    SignerKey::from_seed(KeyName::try_from("log.example/test").unwrap(), Algorithm::Ed25519, &[seed; 32])
}

pub(super) fn keys(signers: &[u8], previous: &[u8]) -> LogKeys {
    let previous: Vec<String> = previous.iter().map(|seed| signer(*seed).verifier().to_string()).collect();
    LogKeys::new(signers.iter().map(|seed| signer(*seed)).collect(), &previous).unwrap()
}

pub(super) struct Scene {
    pub(super) journal: Arc<Memory>,
    pub(super) clock: Clock,
    pub(super) hands: Arc<Manual>,
}

/// A log that asks nobody outside.
pub(super) fn configured() -> config::Transparency {
    config::Transparency {
        listen: None,
        directory: "unused".into(),
        key: "unused".into(),
        also: Vec::new(),
        previous: Vec::new(),
        origin: None,
        witnesses: Vec::new(),
        witness_every: Duration::from_secs(10),
        anchor: None,
    }
}

impl Scene {
    pub(super) fn new() -> Self {
        let (clock, hands) = Clock::manual(Time::from_micros(5_000_000));
        Self { journal: Arc::new(Memory::new()), clock, hands }
    }

    /// Records up to the sequence `last`, each another.
    pub(super) async fn grow(&self, last: u64) {
        for sequence in self.journal.health().head + 1..=last {
            let flood = v1::FloodRecord { count: sequence, ..v1::FloodRecord::default() };
            self.write(v1::record::What::Flood(flood), sequence).await;
        }
    }

    pub(super) async fn write(&self, what: v1::record::What, sequence: u64) {
        let record = v1::Record { at_us: sequence, what: Some(what) }.encode_to_vec();
        self.write_bytes(record, sequence).await;
    }

    async fn write_bytes(&self, record: Vec<u8>, sequence: u64) {
        let id = Digest::of("test", &sequence.to_be_bytes());
        let write = Write { stream: Stream::approvals(), expected: Expected::Any, id, record: record.into() };
        self.journal.append(Change { fence: None, writes: vec![write], bodies: Vec::new() }).await.unwrap();
    }

    pub(super) async fn open(&self, keys: LogKeys, directory: Option<&Path>) -> Result<Arc<Transparency>, TransparencyError> {
        let config = directory.map(|directory| config::Transparency { directory: directory.into(), ..configured() });
        let halting = Halting::new(Arc::clone(&self.journal) as Arc<dyn Journal>);
        Transparency::open(halting, self.clock.clone(), keys, config.as_ref()).await.map(Arc::new)
    }

    /// The log of one replica, grown to all that is there.
    pub(super) async fn log(&self, directory: Option<&Path>) -> Arc<Transparency> {
        let log = self.open(keys(&[1], &[]), directory).await.unwrap();
        self.catch_up(&log).await;
        log
    }

    pub(super) async fn catch_up(&self, log: &Arc<Transparency>) {
        while log.log().size() < self.journal.health().head {
            log.integrate().await.unwrap();
        }
    }

    /// The root as whoever reads the journal computes it.
    pub(super) async fn root(&self, size: u64) -> Hash {
        let mut frontier = Frontier::default();
        while frontier.size() < size {
            for record in self.journal.follow(frontier.size(), u32::MAX).await.unwrap() {
                if frontier.size() < size {
                    frontier.push(entry(&record).unwrap().leaf_hash()).unwrap();
                }
            }
        }
        frontier.root()
    }

    /// Another journal, with what was signed over this one and records of its own.
    pub(super) async fn forged(&self, change: impl Fn(u64, Bytes) -> Option<Bytes>) -> Self {
        let forged = Self::new();
        for record in self.journal.follow(0, u32::MAX).await.unwrap() {
            if let Some(bytes) = change(record.sequence, record.bytes) {
                forged.write_bytes(bytes.to_vec(), record.sequence).await;
            }
        }
        let kept = self.journal.slot(checkpoint_slot()).await.unwrap();
        forged.journal.set(checkpoint_slot(), None, kept).await.unwrap();
        forged
    }
}

/// That every file which a monitor may ask for at `size` is there and is what the root says.
fn check_files(log: &Transparency, size: u64) {
    for (tile, bundle) in (0..size.div_ceil(256)).filter_map(|index| Some((Tile::at(0, index, size)?, Bundle::at(index, size)?)))
    {
        let entries = bundle.decode(&log.file(&bundle.path()).unwrap()).unwrap();
        let hashes: Vec<Hash> = entries.iter().map(Entry::leaf_hash).collect();
        assert_eq!(log.file(&tile.path()).unwrap().as_ref(), Hash::concat(&hashes), "{} of {size}", tile.path());
    }
    for tile in (0..8).flat_map(|level| (0..3).filter_map(move |index| Tile::at(level, index, size))) {
        assert!(log.file(&tile.path()).is_some(), "{} of {size}", tile.path());
    }
}

#[tokio::test]
async fn every_replica_signs_the_roots_of_the_journal() {
    let scene = Scene::new();
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (scene.open(keys(&[1], &[]), Some(directory.path())).await.unwrap(), scene.log(None).await);
    let mut before: Option<Arc<Published>> = None;
    for size in [1, 2, 255, 256, 257, 600, 1_025] {
        scene.grow(size).await;
        scene.catch_up(&one).await;
        scene.catch_up(&two).await;
        let root = scene.root(size).await;
        for log in [&one, &two] {
            let newest = log.newest().unwrap();
            assert_eq!((newest.size, newest.root), (size, root));
            assert_eq!(log.file("checkpoint"), Some(newest.note.clone()));
            check_files(log, size);
            for sequence in [1, size / 2 + 1, size] {
                let (published, entry, proof) = log.inclusion(sequence).unwrap();
                assert_eq!((published.size, entry.sequence), (size, sequence));
                proof.includes(entry.leaf_hash(), sequence - 1, size, root).unwrap();
            }
            assert!(matches!(log.inclusion(size + 1), Err(TransparencyError::Absent(_))));
            assert!(matches!(log.inclusion(0), Err(TransparencyError::Absent(0))));
            if let Some(before) = &before {
                let proof = log.consistency(before.size, size).unwrap();
                proof.extends((before.size, before.root), (size, root)).unwrap();
                // What was served for the older root still is.
                check_files(log, before.size);
            }
        }
        before = one.newest();
    }
    let kept = scene.journal.slot(checkpoint_slot()).await.unwrap().unwrap();
    assert_eq!(kept, one.newest().unwrap().note);
    assert!(one.consistency(1_026, 1_027).is_err() && one.consistency(9, 8).is_err());
    for path in ["tile/0/005.p/1", "tile/0/004.p/2", "tile/9/000", "tile/entries/004.p/2", "../log.key", "tile/x", ""] {
        assert_eq!(one.file(path), None, "{path}");
    }
    assert!(one.file("tile/0/004.p/1").is_some());
}

/// On one thread, so that whoever waits for a root goes on when the integrator has gone to sleep.
#[tokio::test]
async fn a_record_is_signed_with_the_next_tick_whenever_it_comes() {
    let scene = Scene::new();
    scene.grow(1).await;
    let log = scene.open(keys(&[1], &[]), None).await.unwrap();
    let mut published = log.follow();
    let integrating = tokio::spawn(Arc::clone(&log).integrating());
    published.changed().await.unwrap();
    let instant = Duration::from_micros(1);
    for late in [Duration::ZERO, instant, SIGN_EVERY / 2, SIGN_EVERY - 2 * instant] {
        scene.hands.advance(late);
        let head = scene.journal.health().head + 1;
        scene.grow(head).await;
        let before = scene.clock.elapsed();
        scene.hands.advance(SIGN_EVERY - late - instant);
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        assert!(!published.has_changed().unwrap(), "{late:?}: it was its turn only an instant later");
        scene.hands.advance(instant);
        let signed = tokio::time::timeout(Duration::from_secs(30), published.changed()).await;
        signed.unwrap_or_else(|_| panic!("{late:?}: it was its turn, and nothing was signed")).unwrap();
        assert_eq!(published.borrow_and_update().as_ref().unwrap().size, head, "{late:?}");
        assert!(scene.clock.elapsed() - before <= SIGNED_WITHIN, "{late:?}");
    }
    integrating.abort();
}

#[tokio::test]
async fn a_new_process_goes_on_where_the_last_one_was() {
    let scene = Scene::new();
    let directory = tempfile::tempdir().unwrap();
    let mut spoil: Vec<(&str, &dyn Fn())> = Vec::new();
    let path = |name: &str| directory.path().join(name);
    let gone = || std::fs::remove_file(path("tile/0/001")).unwrap();
    let short = || std::fs::write(path("tile/0/000"), [0; 31]).unwrap();
    let other = || std::fs::write(path("tile/0/001"), [7; 8192]).unwrap();
    let entries = || std::fs::write(path("tile/entries/000"), [7; 300]).unwrap();
    let nothing = || std::fs::remove_dir_all(path("tile")).unwrap();
    spoil.push(("nothing is wrong", &|| {}));
    spoil.push(("a tile is gone", &gone));
    spoil.push(("a tile is short", &short));
    spoil.push(("a tile is another", &other));
    spoil.push(("a bundle is none", &entries));
    spoil.push(("there are no tiles", &nothing));
    for (what, spoil) in spoil {
        let last = scene.journal.health().head + 700;
        scene.grow(last).await;
        let before = scene.log(Some(directory.path())).await.newest().unwrap();
        assert_eq!(before.root, scene.root(last).await, "{what}");
        spoil();
        let log = scene.open(keys(&[1], &[]), Some(directory.path())).await.unwrap();
        assert_eq!(log.newest(), Some(before), "{what}: what was signed is served at once");
        scene.grow(last + 1).await;
        scene.catch_up(&log).await;
        assert_eq!(log.newest().unwrap().root, scene.root(last + 1).await, "{what}");
        check_files(&log, last + 1);
        assert_eq!(log.stopped(), None, "{what}");
    }
}

/// Nothing is compared with them, so a root over them must never be signed.
#[tokio::test]
async fn tiles_beyond_what_was_signed_are_made_again() {
    for signed in [0, 300] {
        let (other, scene) = (Scene::new(), Scene::new());
        let directory = tempfile::tempdir().unwrap();
        other.grow(signed).await;
        for sequence in signed + 1..=1_025 {
            let flood = v1::FloodRecord { count: sequence + 1, ..v1::FloodRecord::default() };
            other.write(v1::record::What::Flood(flood), sequence).await;
        }
        other.log(Some(directory.path())).await;
        std::fs::remove_dir_all(directory.path().join("signed")).unwrap();
        scene.grow(signed).await;
        scene.log(None).await;
        scene.grow(1_025).await;
        let log = scene.log(Some(directory.path())).await;
        assert_eq!(log.newest().unwrap().root, scene.root(1_025).await, "{signed}");
        assert_eq!(log.stopped(), None, "{signed}");
        check_files(&log, 1_025);
    }
}

#[tokio::test]
async fn a_journal_that_is_not_what_was_signed_is_written_no_further() {
    let scene = Scene::new();
    scene.grow(600).await;
    let tiles = tempfile::tempdir().unwrap();
    scene.log(Some(tiles.path())).await;
    // A field that nobody knows: the record is read all the same.
    let longer = |bytes: Bytes| Some([bytes.as_ref(), &[0x78, 0]].concat().into());
    let shorter = scene.forged(|sequence, bytes| (sequence < 600).then_some(bytes)).await;
    let another = scene.forged(|sequence, bytes| if sequence == 600 { longer(bytes) } else { Some(bytes) }).await;
    let old = scene.forged(|sequence, bytes| if sequence == 3 { longer(bytes) } else { Some(bytes) }).await;
    // Of this one the log's own directory alone remembers what was signed.
    let silent = scene.forged(|sequence, bytes| if sequence == 3 { longer(bytes) } else { Some(bytes) }).await;
    let slot = silent.journal.slot(checkpoint_slot()).await.unwrap();
    silent.journal.set(checkpoint_slot(), slot, None).await.unwrap();
    let cases = [
        ("shorter", &shorter, None),
        ("another", &another, None),
        ("old", &old, None),
        ("hidden", &old, Some(tiles.path())),
        ("hidden, and silent", &silent, Some(tiles.path())),
    ];
    for (what, forged, directory) in cases {
        let log = forged.open(keys(&[1], &[]), directory).await.unwrap();
        if directory.is_some() {
            // The tiles are those of the true journal: only whoever reads all of it notices.
            Arc::clone(&log).auditing().await;
        } else {
            Arc::clone(&log).integrating().await;
        }
        let why = log.stopped().unwrap();
        assert!(why.contains("contradicts what was signed"), "{what}: {why}");
        let write = log.journal.keep(Bytes::from_static(b"x")).await;
        assert!(write.is_err_and(|error| error.to_string().contains("contradicts")), "{what}");
        assert_eq!(log.journal.health().unavailable, Some(why), "{what}");
        assert!(!log.journal.follow(0, 1).await.unwrap().is_empty(), "{what}: it is read on");
        let newest = log.newest().map(|newest| newest.size);
        assert_eq!(newest, (what != "hidden, and silent").then_some(600), "{what}: nothing new is signed");
    }
    let log = scene.open(keys(&[1], &[]), Some(tiles.path())).await.unwrap();
    Arc::clone(&log).auditing().await;
    assert_eq!(log.stopped(), None, "the true one goes on");
}

#[tokio::test]
async fn a_replica_that_reads_another_journal_finds_out_from_the_others_checkpoint() {
    let scene = Scene::new();
    scene.grow(10).await;
    let forged = scene.forged(|_, bytes| Some(bytes)).await;
    let log = forged.log(None).await;
    // The same slot: as if both stood on one store that gives each another past.
    let theirs = Scene::new();
    for sequence in 1..=11 {
        theirs.write(v1::record::What::Policy(v1::PolicyRecord::default()), sequence).await;
    }
    let note = theirs.log(None).await.newest().unwrap().note.clone();
    let held = forged.journal.slot(checkpoint_slot()).await.unwrap();
    forged.journal.set(checkpoint_slot(), held, Some(note)).await.unwrap();
    forged.grow(12).await;
    let told = log.integrate().await;
    assert!(matches!(told, Err(TransparencyError::Contradiction(_))), "{told:?}");
}

#[tokio::test]
async fn a_record_of_an_unknown_kind_is_waited_for_and_not_skipped() {
    let scene = Scene::new();
    scene.grow(3).await;
    scene.write_bytes(v1::Record { at_us: 4, what: None }.encode_to_vec(), 4).await;
    scene.grow(5).await;
    let log = scene.open(keys(&[1], &[]), None).await.unwrap();
    for _ in 0..2 {
        let told = log.integrate().await;
        assert!(matches!(&told, Err(TransparencyError::Leaf(unknown)) if unknown.sequence == 4), "{told:?}");
    }
    assert_eq!((log.newest(), log.stopped()), (None, None));
}

#[tokio::test]
async fn a_key_gives_way_to_another() {
    let scene = Scene::new();
    let signed_by = async |signers: &[u8], previous: &[u8]| {
        scene.grow(scene.journal.health().head + 1).await;
        let log = scene.open(keys(signers, previous), None).await.map_err(|error| error.to_string())?;
        scene.catch_up(&log).await;
        let note = log.newest().unwrap().note.clone();
        let believes = |seed: &u8| {
            let key = VerifierKey::parse(&signer(*seed).verifier().to_string()).unwrap();
            Trust::new(vec![key]).unwrap().check(&note).is_ok()
        };
        Ok::<_, String>([1, 2, 3].iter().filter(|seed| believes(seed)).copied().collect::<Vec<u8>>())
    };
    assert_eq!(signed_by(&[1], &[]).await.unwrap(), [1]);
    assert!(signed_by(&[2], &[]).await.unwrap_err().contains("transparency.previous"));
    assert_eq!(signed_by(&[2, 1], &[]).await.unwrap(), [1, 2], "both sign while others learn of the new one");
    assert_eq!(signed_by(&[2], &[1]).await.unwrap(), [2]);
    assert_eq!(signed_by(&[3], &[2]).await.unwrap(), [3], "only the last checkpoint's key has to be known");
}

#[tokio::test]
async fn a_new_log_gets_a_key_and_an_old_one_never_another() {
    let scene = Scene::new();
    let directory = tempfile::tempdir().unwrap();
    let (key, tiles) = (directory.path().join("log.key"), directory.path().join("log"));
    let config = |origin: Option<&str>| config::Transparency {
        directory: tiles.clone(),
        key: key.clone(),
        origin: origin.map(str::to_owned),
        ..configured()
    };
    let keys = async |origin| log_keys(Some(&config(origin)), scene.journal.as_ref(), counting).await;
    assert!(matches!(keys(Some("two words")).await, Err(LogKeyError::Origin(_))));
    let made = keys(Some("log.example/mine")).await.unwrap();
    assert_eq!(made.trust.origin().as_str(), "log.example/mine");
    assert_eq!(keys(None).await.unwrap().trust.origin().as_str(), "log.example/mine");
    scene.grow(1).await;
    let log = scene.open(made, None).await.unwrap();
    scene.catch_up(&log).await;
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(keys(None).await, Err(LogKeyError::Lost { .. })));
    std::fs::write(&key, "nothing").unwrap();
    assert!(matches!(keys(None).await, Err(LogKeyError::Form { .. })));
    scene.hands.set(Time::from_micros(6_000_000));
}
