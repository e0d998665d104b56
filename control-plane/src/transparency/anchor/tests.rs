//! What a place outside hears on real sockets, once for each checkpoint, and what is kept of its answers.

use super::super::tests::{Scene, configured};
use super::*;
use agentgate_e2e::upstream::{Arrived, Part, Protocol, Reply, Upstream};
use std::collections::BTreeSet;

const EVERY: Duration = Duration::from_secs(3_600);

struct Told {
    scene: Scene,
    log: Arc<Transparency>,
    server: Upstream,
}

// === impl Told ===

impl Told {
    async fn with(answers: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Self {
        let scene = Scene::new();
        scene.grow(3).await;
        let log = scene.log(None).await;
        Self { scene, log, server: Upstream::start(Protocol::Http1, answers).unwrap() }
    }

    async fn grow(&self, records: u64) {
        self.scene.grow(records).await;
        self.scene.catch_up(&self.log).await;
    }

    fn anchoring(&self) -> Anchoring {
        let anchor = Some(config::Anchor { url: self.url(), every: EVERY, authority: None });
        let config = config::Transparency { anchor, ..configured() };
        Anchoring::open(Some(&config), Arc::clone(&self.log), &self.scene.clock).unwrap()
    }

    fn url(&self) -> String {
        format!("http://{}/anchors?of=me", self.server.address)
    }

    async fn look(&self) -> Result<(), String> {
        let anchoring = self.anchoring();
        anchoring.look(anchoring.place.as_ref().unwrap()).await.map_err(|trouble| chain(&trouble))
    }

    async fn sizes(&self) -> Vec<u64> {
        self.log.anchors().await.unwrap().iter().map(|anchor| anchor.size).collect()
    }
}

fn says(status: u16, body: &[u8]) -> Reply {
    Reply::new("text/plain", [Part::Bytes(body.to_vec())]).status(status)
}

fn keys(arrived: &[Arrived]) -> BTreeSet<String> {
    arrived.iter().flat_map(|arrived| arrived.values("idempotency-key")).collect()
}

#[tokio::test]
async fn a_checkpoint_is_anchored_now_and_then_and_its_receipt_is_kept() {
    let told = Told::with(|asked| says(201, format!("seen {} bytes", asked.body.len()).as_bytes())).await;
    for (size, passes_s, anchored) in [(3, 0, vec![3]), (4, 3_599, vec![3]), (5, 1, vec![5, 3]), (5, 9_999, vec![5, 3])] {
        told.grow(size).await;
        told.scene.hands.advance(Duration::from_secs(passes_s));
        told.look().await.unwrap();
        assert_eq!(told.sizes().await, anchored);
    }
    let heard = told.server.arrived();
    assert_eq!((heard.len(), keys(&heard).len()), (2, 2), "each checkpoint has its own key");
    assert_eq!((heard[1].method.as_str(), heard[1].path.as_str()), ("POST", "/anchors?of=me"));
    assert_eq!(Some(Bytes::from(heard[1].body.clone())), told.log.file("checkpoint"));
    let newest = told.log.anchors().await.unwrap().remove(0);
    assert_eq!((newest.url, newest.root.as_ref()), (told.url(), told.scene.root(5).await.as_bytes().as_slice()));
    let receipt = told.log.receipt(&format!("receipt/{}", hex(&newest.receipt))).await.unwrap().unwrap();
    assert_eq!(receipt, format!("seen {} bytes", heard[1].body.len()));
    assert_eq!(newest.receipt.as_ref(), Sha256::digest(&receipt).as_slice());
    for path in ["receipt/", "receipt/00", "tile/0/000", &format!("receipt/{}", "0".repeat(64))] {
        assert_eq!(told.log.receipt(path).await.unwrap(), None, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_by_whoever_is_there_and_under_one_key() {
    type Answers = Box<dyn Fn() -> Reply + Send + Sync>;
    let cases: Vec<(&str, Answers)> = vec![
        ("it answered 500", Box::new(|| says(500, b""))),
        ("it answered 302", Box::new(|| says(302, b"").header("location", "http://127.0.0.1:1/"))),
        ("it answered 404", Box::new(|| says(404, b""))),
        ("its answer was cut short", Box::new(|| Reply::new("text/plain", [Part::Bytes(b"half".to_vec()), Part::Cut]))),
        ("its answer has more than 8192 bytes", Box::new(|| says(200, &[b'x'; RECEIPT_BYTES_MAX + 1]))),
    ];
    for (wanted, answers) in cases {
        let turn = std::sync::atomic::AtomicU32::new(0);
        let told = Told::with(move |_| match turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 | 1 => answers(),
            _ => says(200, &[b'x'; RECEIPT_BYTES_MAX]),
        })
        .await;
        assert!(told.look().await.unwrap_err().contains(wanted), "{wanted}");
        // The log grew meanwhile, and another process goes on with what was begun.
        told.grow(9).await;
        let other = Told { log: told.scene.log(None).await, ..told };
        assert!(other.look().await.unwrap_err().contains(wanted), "{wanted}");
        other.look().await.unwrap();
        assert_eq!(other.sizes().await, [3], "{wanted}");
        let heard = other.server.arrived();
        assert_eq!((heard.len(), keys(&heard).len()), (3, 1), "{wanted}");
        assert!(heard.iter().all(|one| one.body == heard[0].body), "{wanted}");
    }
}

#[tokio::test]
async fn a_place_that_says_nothing_is_waited_for_no_longer_than_an_attempt() {
    let told = Told::with(|_| Reply::new("text/plain", [Part::Wait])).await;
    let anchoring = told.anchoring();
    let asked =
        tokio::spawn(async move { anchoring.look(anchoring.place.as_ref().unwrap()).await.map_err(|error| chain(&error)) });
    let Told { scene, log: _log, server } = told;
    let _server = tokio::task::spawn_blocking(move || server.until_arrived(1).map(|_| server)).await.unwrap().unwrap();
    scene.hands.advance(ATTEMPT);
    assert_eq!(asked.await.unwrap().unwrap_err(), "it did not answer within 30 s");
}

#[tokio::test]
async fn the_oldest_receipts_leave_and_an_empty_one_is_one() {
    let told = Told::with(|asked| says(200, if asked.body.contains(&b'\n') { b"" } else { b"none" })).await;
    let most = u64::try_from(ANCHORS_MAX).unwrap();
    for size in 4..=4 + most {
        told.grow(size).await;
        told.look().await.unwrap();
        told.scene.hands.advance(EVERY);
    }
    assert_eq!(told.sizes().await, (5..=4 + most).rev().collect::<Vec<_>>());
    let newest = told.log.anchors().await.unwrap().remove(0);
    assert_eq!(told.log.receipt(&format!("receipt/{}", hex(&newest.receipt))).await.unwrap(), Some(Bytes::new()));

    let numbered = Told::with(|asked| says(200, &asked.body)).await;
    let mut first = None;
    for size in 4..=4 + most {
        numbered.grow(size).await;
        numbered.look().await.unwrap();
        first = first.or(Some(numbered.log.anchors().await.unwrap().remove(0).receipt));
        numbered.scene.hands.advance(EVERY);
    }
    let slot = numbered.log.journal.slot(receipt_slot(&first.unwrap())).await.unwrap();
    assert_eq!(slot, None, "nothing that no anchor names is kept");
}
