//! Tiles that cannot be written for a while, and tiles that go while the log runs.

use super::*;

/// How long a turn may take that has something to do.
const TURN: Duration = Duration::from_secs(30);

/// Asks for what is not there any more, and says whether it was told so.
type Missed = fn(&Transparency) -> bool;

async fn turn(log: &Arc<Transparency>) -> Result<(), TransparencyError> {
    tokio::time::timeout(TURN, log.integrate()).await.expect("it waits for a record")
}

#[tokio::test]
async fn a_tile_that_could_not_be_written_is_written_with_the_next_turn() {
    for before in [0, 10, 255] {
        let (scene, directory) = (Scene::new(), tempfile::tempdir().unwrap());
        scene.grow(before).await;
        let log = scene.log(Some(directory.path())).await;
        let obstacle = directory.path().join("tile");
        std::fs::write(&obstacle, "no directory").unwrap();
        scene.grow(600).await;
        if before < 255 {
            turn(&log).await.unwrap();
        }
        for _ in 0..2 {
            let told = turn(&log).await;
            assert!(matches!(told, Err(TransparencyError::Log(LogError::Write(_)))), "{before}: {told:?}");
            assert_eq!(log.newest().unwrap().size, 255, "{before}: what is before the tile is signed");
            log.inclusion(100).unwrap();
        }
        std::fs::remove_file(&obstacle).unwrap();
        scene.catch_up(&log).await;
        let newest = log.newest().unwrap();
        assert_eq!((newest.size, newest.root), (600, scene.root(600).await), "{before}");
        check_files(&log, 600);
        assert_eq!(log.stopped(), None, "{before}");
    }
}

#[tokio::test]
async fn tiles_that_go_while_the_log_runs_are_made_again_when_somebody_asks_for_them() {
    let ask: [(&str, Missed); 3] = [
        ("a proof", |log| matches!(log.inclusion(1), Err(TransparencyError::Spoiled))),
        ("how it grew", |log| matches!(log.consistency(1, 300), Err(TransparencyError::Spoiled))),
        ("a file", |log| log.file("tile/entries/000").is_none()),
    ];
    for (what, is_missed) in ask {
        let (scene, directory) = (Scene::new(), tempfile::tempdir().unwrap());
        scene.grow(600).await;
        let log = scene.log(Some(directory.path())).await;
        let before = log.newest().unwrap();
        std::fs::remove_dir_all(directory.path()).unwrap();
        assert_eq!(log.file("tile/9/000"), None, "{what}: nothing that was ever written");
        assert!(is_missed(&log), "{what}");
        turn(&log).await.unwrap();
        assert!(
            matches!(log.inclusion(1), Err(TransparencyError::Unread(0))),
            "{what}: no other answer before it was read again"
        );
        scene.catch_up(&log).await;
        assert_eq!(log.newest(), Some(before.clone()), "{what}");
        check_files(&log, 600);
        log.inclusion(1).unwrap();
        let kept = std::fs::read(rollback::file(directory.path(), 1)).unwrap();
        assert_eq!(kept, before.note, "{what}: and what was shown is remembered again");
    }
}
