//! A memory of what was signed that is damaged, slots that came back without their records, and a log that can sign nothing.

use super::super::shown::ASIDE_MAX;
use super::rollback::{file, found, show};
use super::*;

#[tokio::test]
async fn what_is_no_checkpoint_of_its_key_is_put_aside_and_told_until_it_is_removed() {
    let (scene, directory) = (Scene::new(), tempfile::tempdir().unwrap());
    scene.grow(5).await;
    let newest = scene.log(Some(directory.path())).await.newest().unwrap();
    let memory = file(directory.path(), 1);
    let aside = |number: u32| memory.with_file_name(format!("{}.damaged-{number}", memory.file_name().unwrap().display()));
    for (number, garbage) in [(1, "garbage"), (2, "")] {
        std::fs::write(&memory, garbage).unwrap();
        for again in [false, true] {
            let log = scene.open(keys(&[1], &[]), Some(directory.path())).await.unwrap();
            let notices = log.shown().await.unwrap().notices;
            assert_eq!(notices.len(), number as usize, "{garbage:?}, again: {again}");
            assert!(notices.last().unwrap().contains(&aside(number).display().to_string()), "{notices:?}");
            assert_eq!(std::fs::read_to_string(aside(number)).unwrap(), garbage, "it is kept as it was found");
            assert_eq!(std::fs::read(&memory).unwrap(), newest.note, "and the slot's is remembered");
            assert_eq!(log.stopped(), None);
        }
    }
    for number in [1, 2] {
        std::fs::remove_file(aside(number)).unwrap();
    }
    let log = scene.open(keys(&[1], &[]), Some(directory.path())).await.unwrap();
    assert_eq!(log.shown().await.unwrap().notices, Vec::<String>::new());
}

#[tokio::test]
async fn as_much_as_may_be_is_put_aside_and_one_more_is_written_over_with_all_others_told() {
    let (scene, directory) = (Scene::new(), tempfile::tempdir().unwrap());
    scene.grow(5).await;
    let newest = scene.log(Some(directory.path())).await.newest().unwrap();
    let memory = file(directory.path(), 1);
    let aside = |number: u32| memory.with_file_name(format!("{}.damaged-{number}", memory.file_name().unwrap().display()));
    (1..ASIDE_MAX).for_each(|number| std::fs::write(aside(number), "before").unwrap());
    for garbage in ["the last", "one more"] {
        std::fs::write(&memory, garbage).unwrap();
        let log = scene.open(keys(&[1], &[]), Some(directory.path())).await.unwrap();
        assert_eq!(log.shown().await.unwrap().notices.len(), ASIDE_MAX as usize, "{garbage}");
        assert_eq!(std::fs::read_to_string(aside(ASIDE_MAX)).unwrap(), "the last", "{garbage}");
        assert!(!aside(ASIDE_MAX + 1).exists(), "{garbage}");
        assert_eq!((std::fs::read(&memory).unwrap(), log.stopped()), (newest.note.to_vec(), None), "{garbage}");
    }
}

#[tokio::test]
async fn slots_that_came_back_older_than_their_records_are_told() {
    let truth = Scene::new();
    truth.grow(600).await;
    for (slot, shown, is_older) in
        [(Some(600), 600, false), (Some(600), 599, false), (Some(599), 600, true), (None, 600, true), (Some(300), 400, true)]
    {
        let (scene, directory) = (found(600, slot).scene(&truth).await, tempfile::tempdir().unwrap());
        show(directory.path(), 1, &rollback::note(&truth, shown, 1).await);
        let log = scene.open(keys(&[1], &[]), Some(directory.path())).await.unwrap();
        let notices = log.shown().await.unwrap().notices;
        assert_eq!(notices.iter().any(|notice| notice.contains("slots came back older")), is_older, "{slot:?}, {shown}");
        assert_eq!(log.stopped(), None);
    }
}

/// On one thread: who is yielded to has gone to sleep.
#[tokio::test]
async fn a_log_that_can_sign_nothing_says_why_and_since_when() {
    let (scene, directory) = (Scene::new(), tempfile::tempdir().unwrap());
    scene.grow(3).await;
    let log = scene.log(Some(directory.path())).await;
    let signed = directory.path().join("signed");
    std::fs::remove_dir_all(&signed).unwrap();
    std::fs::write(&signed, "no directory").unwrap();
    scene.grow(4).await;
    let integrating = tokio::spawn(Arc::clone(&log).integrating());
    let told = async |wanted: bool| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let shown = log.shown().await.unwrap();
            if shown.trouble.is_empty() != wanted {
                return shown;
            }
            assert!(tokio::time::Instant::now() < deadline, "{shown:?}");
            scene.hands.advance(Duration::from_millis(100));
            tokio::task::yield_now().await;
        }
    };
    let shown = told(true).await;
    assert!(shown.trouble.contains(&signed.display().to_string()), "{}", shown.trouble);
    let since = shown.trouble_since_us;
    assert!((5_000_000..=scene.clock.now().micros()).contains(&since), "{since}");
    assert_eq!((shown.size, shown.head), (3, 4));
    scene.hands.advance(Duration::from_secs(5));
    assert_eq!(told(true).await.trouble_since_us, since, "it began with the first failure");
    std::fs::remove_file(&signed).unwrap();
    let shown = told(false).await;
    assert_eq!((shown.size, shown.trouble_since_us, log.newest().unwrap().size), (4, 0, 4));
    integrating.abort();
}
