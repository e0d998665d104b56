//! A journal that came back older, all of it, and brought its own memory along: the log's directory remembers more. And what
//! only looks like that: lives that ended between two steps, replicas that are behind, keys of the past.

use super::*;
use agentgate_core::transparency::checkpoint::Checkpoint;

/// A checkpoint of `scene`'s first records, as the key of this seed signs it.
pub(super) async fn note(scene: &Scene, size: u64, seed: u8) -> Bytes {
    let (origin, root) = (signer(seed).verifier().id().name.clone(), scene.root(size).await);
    let mut note = Checkpoint { origin, size, root, extensions: Vec::new() }.note().unwrap();
    note.sign(&signer(seed)).unwrap();
    Bytes::from(note.to_string())
}

/// The file of a key.
pub(super) fn file(directory: &Path, seed: u8) -> std::path::PathBuf {
    directory.join("signed").join(format!("{:08x}", signer(seed).verifier().id().hash))
}

pub(super) fn show(directory: &Path, seed: u8, note: &Bytes) {
    std::fs::create_dir_all(directory.join("signed")).unwrap();
    std::fs::write(file(directory, seed), note).unwrap();
}

/// The journal as it is found at a start, and whose it is from which record on.
pub(super) struct Found {
    head: u64,
    /// From here on records are others than those that were shown.
    other_from: u64,
    /// What its own slot says: how many records were signed.
    slot: Option<u64>,
}

pub(super) const fn found(head: u64, slot: Option<u64>) -> Found {
    Found { head, other_from: u64::MAX, slot }
}

impl Found {
    pub(super) async fn scene(&self, truth: &Scene) -> Scene {
        let scene = Scene::new();
        for record in truth.journal.follow(0, u32::MAX).await.unwrap() {
            if record.sequence < self.other_from.min(self.head + 1) {
                scene.write_bytes(record.bytes.to_vec(), record.sequence).await;
            }
        }
        for sequence in self.other_from..=self.head {
            scene.write(v1::record::What::Policy(v1::PolicyRecord::default()), sequence).await;
        }
        if let Some(size) = self.slot {
            let note = note(&scene, size, 1).await;
            scene.journal.set(checkpoint_slot(), None, Some(note)).await.unwrap();
        }
        scene
    }
}

/// What is told of it, what lies there, what was shown of which size under which key, and how the log stops.
type Case = (&'static str, Found, Option<(u64, u8)>, Option<&'static str>);

#[tokio::test]
async fn a_journal_that_was_rolled_back_is_found_out_by_what_was_shown() {
    let truth = Scene::new();
    truth.grow(600).await;
    let tiles = tempfile::tempdir().unwrap();
    truth.log(Some(tiles.path())).await;
    let other = |head, from, slot| Found { head, other_from: from, slot: Some(slot) };
    let another = "have the root";
    let cases: [Case; 17] = [
        ("nothing is kept outside", found(600, Some(600)), None, None),
        ("both say the same", found(600, Some(600)), Some((600, 1)), None),
        ("a life ended between slot and directory", found(600, Some(600)), Some((599, 1)), None),
        ("a life ended between directory and slot", found(600, Some(599)), Some((600, 1)), None),
        ("it ended so with its first checkpoint", found(600, None), Some((600, 1)), None),
        ("records came after both", found(600, Some(300)), Some((300, 1)), None),
        ("this replica was away for long", found(600, Some(600)), Some((3, 1)), None),
        ("a key of the past signed more", found(400, Some(400)), Some((600, 2)), None),
        (
            "all of it came back older",
            found(400, Some(400)),
            Some((600, 1)),
            Some("it has 400 records, and this control plane signed 600, by its file of "),
        ),
        (
            "by one record",
            found(599, Some(599)),
            Some((600, 1)),
            Some("it has 599 records, and this control plane signed 600, by its file of "),
        ),
        (
            "older than what was shown before a life ended",
            found(598, Some(598)),
            Some((599, 1)),
            Some("signed 599, by its file of "),
        ),
        ("it is a new one", found(0, None), Some((600, 1)), Some("it has 0 records")),
        ("its slot alone remembers", other(599, 600, 599), None, None),
        ("it grew on after it came back, to the same size", other(600, 600, 599), Some((600, 1)), Some(another)),
        ("its slot says so as well", other(600, 600, 600), Some((600, 1)), Some(another)),
        ("it grew on beyond", other(700, 400, 650), Some((600, 1)), Some(another)),
        ("its first record is another", other(600, 1, 600), Some((600, 1)), Some(another)),
    ];
    for with_tiles in [false, true] {
        for (what, found, shown, wanted) in &cases {
            let what = format!("{what}, tiles: {with_tiles}");
            let (scene, directory) = (found.scene(&truth).await, tempfile::tempdir().unwrap());
            if with_tiles {
                copy(&tiles.path().join("tile"), &directory.path().join("tile"));
            }
            if let Some((size, seed)) = shown {
                show(directory.path(), *seed, &note(&truth, *size, *seed).await);
            }
            let log = scene.open(keys(&[1], &[]), Some(directory.path())).await.unwrap();
            // Twice: tiles that are of another journal are made again, and then compared.
            for _ in 0..20 {
                if log.stopped().is_none()
                    && let Err(error) = log.integrate().await
                {
                    log.journal.halt(chain(&error));
                }
                if log.log().size() == found.head && log.newest().is_some_and(|newest| newest.size == found.head) {
                    break;
                }
            }
            match wanted {
                Some(wanted) => {
                    let why = log.stopped().expect(&what);
                    assert!(why.contains(wanted) && why.contains("contradicts what was signed"), "{what}: {why}");
                    assert_eq!(why.contains("it was rolled back: "), found.head < 600, "{what}: {why}");
                    let remembered = log.shown().await.unwrap().remembered;
                    let (size, memory) = (shown.unwrap().0, file(directory.path(), 1).display().to_string());
                    let by = |one: &v1::Remembered| (one.remembers.clone(), one.name.clone(), one.size, one.at_us > 0);
                    let directory_does =
                        remembered.iter().map(by).any(|one| one == ("directory".into(), memory.clone(), size, true));
                    assert_eq!(directory_does, found.head < size, "{what}: {remembered:?}");
                    if found.head < size {
                        for told in [log.inclusion(1).map(|_| ()), log.consistency(1, 599).map(|_| ())] {
                            let stopped = |told: &str| told == format!("the log is stopped: {why}");
                            assert!(told.as_ref().is_err_and(|error| stopped(&error.to_string())), "{what}: {told:?}");
                        }
                    }
                    assert!(log.journal.keep(Bytes::from_static(b"x")).await.is_err(), "{what}");
                    let kept = std::fs::read(file(directory.path(), 1)).unwrap();
                    assert_eq!(kept, note(&truth, shown.unwrap().0, 1).await, "{what}: the memory is as it was");
                }
                None => {
                    assert_eq!((log.stopped(), log.shown().await.unwrap().remembered), (None, Vec::new()), "{what}");
                    scene.grow(found.head + 1).await;
                    scene.catch_up(&log).await;
                    let newest = log.newest().unwrap();
                    assert_eq!((newest.size, newest.root), (found.head + 1, scene.root(found.head + 1).await), "{what}");
                    assert_eq!(std::fs::read(file(directory.path(), 1)).unwrap(), newest.note, "{what}");
                    let again = scene.open(keys(&[1], &[]), Some(directory.path())).await.unwrap();
                    assert_eq!(again.stopped(), None, "{what}: nor at the next start");
                }
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { assert!(std::fs::copy(entry.path(), to).is_ok()) }
    }
}

#[tokio::test]
async fn nothing_is_shown_before_it_is_remembered_outside_of_the_journal() {
    let scene = Scene::new();
    let directory = tempfile::tempdir().unwrap();
    scene.grow(3).await;
    let log = scene.log(Some(directory.path())).await;
    let (signed, aside) = (directory.path().join("signed"), directory.path().join("aside"));
    // The directory takes nothing: as if the life ended between the slot and it.
    std::fs::rename(&signed, &aside).unwrap();
    std::fs::write(&signed, "no directory").unwrap();
    scene.grow(4).await;
    let told = log.integrate().await;
    assert!(matches!(told, Err(TransparencyError::Shown { .. })), "{told:?}");
    let slot = read(&keys(&[1], &[]).trust, scene.journal.slot(checkpoint_slot()).await.unwrap().unwrap()).unwrap();
    assert_eq!((slot.size, log.newest().unwrap().size), (4, 3), "it is in the journal, and was shown to nobody");
    let other = scene.open(keys(&[1], &[]), Some(directory.path())).await;
    assert!(matches!(other, Err(TransparencyError::Shown { .. })), "what cannot be read is no reason to go on: {other:?}");

    std::fs::remove_file(&signed).unwrap();
    std::fs::rename(&aside, &signed).unwrap();
    let next = scene.open(keys(&[1], &[]), Some(directory.path())).await.unwrap();
    assert_eq!((next.stopped(), next.newest().unwrap().size), (None, 3), "what was shown is served");
    scene.catch_up(&next).await;
    assert_eq!((next.stopped(), next.newest().unwrap().size), (None, 4), "and what is in the journal, once it was compared");
    assert_eq!(
        std::fs::read(file(directory.path(), 1)).unwrap(),
        next.newest().unwrap().note,
        "it is remembered before it is served"
    );
    log.integrate().await.unwrap();
    assert_eq!(log.newest().unwrap().size, 4, "and the life that went on shows it as well");
}

#[tokio::test]
async fn what_was_shown_is_remembered_by_each_key_that_signs() {
    let scene = Scene::new();
    let directory = tempfile::tempdir().unwrap();
    let opened = async |signers: &[u8], previous: &[u8]| {
        let log = scene.open(keys(signers, previous), Some(directory.path())).await.unwrap();
        scene.catch_up(&log).await;
        log
    };
    let remembered =
        |seed| read(&keys(&[seed], &[]).trust, std::fs::read(file(directory.path(), seed)).unwrap().into()).unwrap().size;
    scene.grow(5).await;
    opened(&[1], &[]).await;
    scene.grow(6).await;
    opened(&[2, 1], &[]).await;
    assert_eq!((remembered(1), remembered(2)), (6, 6));
    scene.grow(7).await;
    opened(&[2], &[1]).await;
    assert_eq!((remembered(1), remembered(2)), (6, 7));
    // Whichever of the keys that sign remembers most is heard, wherever it stands among them.
    let by_one = found(6, Some(6)).scene(&scene).await;
    for (signers, stops) in [([1, 2].as_slice(), true), (&[2, 1], true), (&[1], false)] {
        let log = by_one.open(keys(signers, &[]), Some(directory.path())).await.unwrap();
        assert_eq!(log.stopped().is_some(), stops, "{signers:?}");
    }
    // The journal comes back from before the sixth record, under the first key.
    let older = found(5, Some(5)).scene(&scene).await;
    for (signers, previous, stops) in
        [([1].as_slice(), [].as_slice(), true), (&[2], &[1], true), (&[3], &[1], false), (&[3, 1], &[], true)]
    {
        let log = older.open(keys(signers, previous), Some(directory.path())).await.unwrap();
        assert_eq!(log.stopped().is_some(), stops, "{signers:?}");
    }
    // What the key did not sign stops nobody.
    std::fs::write(file(directory.path(), 1), note(&scene, 7, 2).await).unwrap();
    let log = older.open(keys(&[1], &[]), Some(directory.path())).await.unwrap();
    assert_eq!(log.stopped(), None);
}
