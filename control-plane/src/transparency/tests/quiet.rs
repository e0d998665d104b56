//! A start with other keys while no record comes: what was signed is signed with the keys of now, once it was compared.

use super::rollback::{file, found};
use super::*;

const TURN: Duration = Duration::from_secs(30);

fn is_by(note: &[u8], seed: u8) -> bool {
    keys(&[seed], &[]).trust.check(note).is_ok()
}

/// Turns until the newest checkpoint has the signature of each. None of them waits for a record.
async fn settled(log: &Arc<Transparency>, signers: &[u8]) -> Arc<Published> {
    for _ in 0..8 {
        if let Some(newest) = log.newest().filter(|newest| signers.iter().all(|seed| is_by(&newest.note, *seed))) {
            return newest;
        }
        tokio::time::timeout(TURN, log.integrate()).await.expect("it waits for a record").unwrap();
    }
    panic!("{signers:?} did not sign");
}

#[tokio::test]
async fn a_new_key_signs_at_its_start_and_a_rollback_from_there_on_is_found_out() {
    for size in [3, 256, 600] {
        for (signers, previous) in [([2].as_slice(), [1].as_slice()), (&[2, 1], &[]), (&[1, 2], &[])] {
            let (scene, directory) = (Scene::new(), tempfile::tempdir().unwrap());
            let what = format!("{size} records, {signers:?}");
            scene.grow(size).await;
            let old = scene.log(Some(directory.path())).await.newest().unwrap();
            let log = scene.open(keys(signers, previous), Some(directory.path())).await.unwrap();
            let newest = settled(&log, signers).await;
            assert_eq!((newest.size, newest.root), (old.size, old.root), "{what}");
            assert!(is_by(&newest.note, 1), "{what}: whoever believes the old key still does");
            let slot = scene.journal.slot(checkpoint_slot()).await.unwrap().unwrap();
            assert_eq!(slot, newest.note, "{what}");
            for seed in signers {
                assert_eq!(std::fs::read(file(directory.path(), *seed)).unwrap(), newest.note, "{what}");
            }
            let again = scene.open(keys(signers, previous), Some(directory.path())).await.unwrap();
            assert_eq!((again.newest(), again.stopped()), (Some(newest.clone()), None), "{what}");
            assert!(!again.is_owed(&newest), "{what}: nothing is left to sign");
            let older = found(size - 1, Some(size - 1)).scene(&scene).await;
            let log = older.open(keys(signers, previous), Some(directory.path())).await.unwrap();
            assert!(log.stopped().is_some_and(|why| why.contains("it was rolled back")), "{what}");
        }
    }
}

#[tokio::test]
async fn a_new_key_signs_nothing_that_the_old_one_did_not() {
    let scene = Scene::new();
    scene.grow(5).await;
    scene.log(None).await;
    let longer = |bytes: Bytes| Some([bytes.as_ref(), &[0x78, 0]].concat().into());
    let forged = scene.forged(|sequence, bytes| if sequence == 5 { longer(bytes) } else { Some(bytes) }).await;
    let log = forged.open(keys(&[2], &[1]), None).await.unwrap();
    Arc::clone(&log).integrating().await;
    assert!(log.stopped().is_some());
    assert!(!is_by(&forged.journal.slot(checkpoint_slot()).await.unwrap().unwrap(), 2));
}

#[tokio::test]
async fn replicas_that_sign_the_same_root_at_once_agree() {
    let sign: [(&[u8], &[u8]); 4] = [(&[2], &[1]), (&[2, 1], &[]), (&[1], &[2]), (&[3], &[1, 2])];
    for one in sign {
        for other in sign {
            let scene = Scene::new();
            scene.grow(5).await;
            scene.log(None).await;
            let known = |signers: &[u8]| [1, 2, 3].into_iter().filter(|seed| !signers.contains(seed)).collect::<Vec<u8>>();
            let open = async |signers: &[u8]| scene.open(keys(signers, &known(signers)), None).await.unwrap();
            // Both have read what the old key signed, before either signs.
            let (one_log, other_log) = (open(one.0).await, open(other.0).await);
            settled(&one_log, one.0).await;
            let last = settled(&other_log, other.0).await;
            let slot = scene.journal.slot(checkpoint_slot()).await.unwrap().unwrap();
            assert!(one.0.iter().chain(other.0).all(|seed| is_by(&slot, *seed)), "{one:?}, {other:?}: both are in the slot");
            assert_eq!(last.size, 5);
            scene.grow(7).await;
            for log in [&one_log, &other_log] {
                scene.catch_up(log).await;
                assert_eq!((log.stopped(), log.newest().unwrap().root), (None, scene.root(7).await), "{one:?}, {other:?}");
            }
        }
    }
}
