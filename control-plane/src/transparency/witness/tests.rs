//! What a witness says, on real sockets, and what becomes of it: cosignatures, corrections, refusals and forks.

use super::super::tests::{Scene, configured, keys, signer};
use super::ask::{ANSWER_BYTES_MAX, ATTEMPT, CLOCKS_APART};
use super::keep::FEWER_AFTER;
use super::*;
use crate::journal::{Between, BoxFuture, Halting, Journal, Memory};
use agentgate_core::time::Time;
use agentgate_core::transparency::key::{Algorithm, KeyName, SignerKey};
use agentgate_core::transparency::tree::Hash;
use agentgate_e2e::upstream::{Arrived, Part, Protocol, Reply, Upstream};
use agentgate_e2e::wall_s;
use agentgate_e2e::witness::{Mind, Witness as Server, parsed};
use bytes::Bytes;
use tokio::sync::watch;

const EVERY: Duration = Duration::from_secs(10);

/// A log and its witnesses.
struct Seen {
    scene: Scene,
    log: Arc<Transparency>,
}

/// A round, to the end of all that it asked.
async fn round(witnesses: &Arc<Witnesses>) {
    let mut asked = JoinSet::new();
    witnesses.round(&mut asked).await.unwrap();
    while let Some(ended) = asked.join_next().await {
        ended.unwrap();
    }
}

fn of(address: std::net::SocketAddr, key: String) -> config::Witness {
    config::Witness { url: format!("http://{address}"), key, authority: None }
}

// === impl Seen ===

impl Seen {
    async fn of(records: u64) -> Self {
        let scene = Scene::new();
        scene.grow(records).await;
        Self::with(scene).await
    }

    /// Witnesses stamp what they see with the machine's own time.
    async fn with(scene: Scene) -> Self {
        let seen = Self { log: scene.log(None).await, scene };
        seen.advance(Duration::ZERO);
        seen
    }

    /// Waits, and is told the time.
    fn advance(&self, span: Duration) {
        self.scene.hands.advance(span);
        self.scene.hands.set(Time::from_micros(wall_s() * 1_000_000));
    }

    async fn grow(&self, records: u64) {
        self.scene.grow(records).await;
        self.scene.catch_up(&self.log).await;
    }

    fn witnesses(&self, witnesses: Vec<config::Witness>) -> Result<Arc<Witnesses>, WitnessError> {
        let config = config::Transparency { witnesses, witness_every: EVERY, ..configured() };
        Witnesses::open(Some(&config), Arc::clone(&self.log), &self.scene.clock).map(Arc::new)
    }

    fn asking(&self, servers: &[&Server]) -> Arc<Witnesses> {
        let verifier = self.log.verifier_keys().remove(0);
        servers.iter().for_each(|server| server.mind().believe(&verifier).unwrap());
        self.witnesses(servers.iter().map(|server| of(server.address(), server.mind().verifier())).collect()).unwrap()
    }

    /// The size that is witnessed, and by how many of these.
    fn seen_by(&self, servers: &[&Server]) -> Option<(u64, usize)> {
        let witnessed = self.log.witnessed()?;
        let keys: Vec<_> = servers.iter().map(|server| VerifierKey::parse(&server.mind().verifier()).unwrap()).collect();
        let trust = self.log.trust.clone().witnessed_by(keys, 1).unwrap();
        let signed = trust.check(&witnessed.note).unwrap();
        Some((witnessed.size, signed.cosigned().len()))
    }
}

#[tokio::test]
async fn what_a_witness_saw_is_kept_for_every_replica_and_every_life() {
    let server = Server::start("witness.example", 9).unwrap();
    let seen = Seen::of(3).await;
    let witnesses = seen.asking(&[&server]);
    assert_eq!((seen.seen_by(&[&server]), seen.log.file(FILE)), (None, None));
    for size in [3, 3, 4, 300, 1_025] {
        seen.grow(size).await;
        round(&witnesses).await;
        assert_eq!(seen.seen_by(&[&server]), Some((size, 1)));
        assert_eq!(seen.log.file(FILE), seen.log.witnessed().map(|witnessed| witnessed.note.clone()));
    }
    // Another replica, and a witness that is asked by both.
    let other = Seen::with(seen.scene).await;
    assert_eq!(other.seen_by(&[&server]), Some((1_025, 1)), "it is there after a start, without a word of the witness");
    other.grow(1_030).await;
    round(&other.asking(&[&server])).await;
    assert_eq!(other.seen_by(&[&server]), Some((1_030, 1)), "a witness that saw more than was thought corrects the old size");
}

/// A journal that reads its slots, and gives what they held once it may.
#[derive(Debug)]
struct SlowSlots {
    memory: Arc<Memory>,
    may_answer: watch::Sender<bool>,
}

impl Between for SlowSlots {
    fn inner(&self) -> &dyn Journal {
        &*self.memory
    }

    fn slot(&self, name: Digest) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Box::pin(async move {
            let held = self.memory.slot(name).await;
            let _ = self.may_answer.subscribe().wait_for(|may_answer| *may_answer).await;
            held
        })
    }
}

#[tokio::test]
async fn what_was_witnessed_is_not_taken_back_by_what_was_read_before() {
    let server = Server::start("witness.example", 9).unwrap();
    let scene = Scene::new();
    scene.grow(3).await;
    let slow = Arc::new(SlowSlots { memory: Arc::clone(&scene.journal), may_answer: watch::Sender::new(true) });
    let halting = Halting::new(Arc::clone(&slow) as Arc<dyn Journal>);
    let log = Transparency::open(halting, scene.clock.clone(), keys(&[1], &[]), None).await.unwrap();
    let seen = Seen { log: Arc::new(log), scene };
    seen.advance(Duration::ZERO);
    seen.grow(3).await;
    let witnesses = seen.asking(&[&server]);
    round(&witnesses).await;
    let three = seen.log.witnessed().unwrap();
    seen.grow(5).await;
    round(&witnesses).await;
    let five = seen.log.witnessed().unwrap();
    assert_eq!((three.size, five.size), (3, 5));
    // As it was before the last round, and read then.
    let kept = |published: &Published| Some(published.note.clone());
    slow.memory.set(witnessed_slot(), kept(&five), kept(&three)).await.unwrap();
    slow.may_answer.send_replace(false);
    let keeping = async {
        slow.memory.set(witnessed_slot(), kept(&three), kept(&five)).await.unwrap();
        slow.may_answer.send_replace(true);
    };
    let (taken, ()) = tokio::join!(seen.log.take_up_witnessed(), keeping);
    assert_eq!(taken.unwrap().unwrap().size, 5);
    assert_eq!(seen.seen_by(&[&server]), Some((5, 1)));
}

#[tokio::test]
async fn a_new_key_is_believed_of_what_was_witnessed_before_though_no_record_comes() {
    let server = Server::start("witness.example", 9).unwrap();
    let seen = Seen::of(3).await;
    round(&seen.asking(&[&server])).await;
    let log = seen.scene.open(keys(&[2], &[1]), None).await.unwrap();
    while log.newest().is_none_or(|newest| keys(&[2], &[]).trust.check(&newest.note).is_err()) {
        log.integrate().await.unwrap();
    }
    let seen = Seen { log, ..seen };
    for again in 0..2 {
        round(&seen.asking(&[&server])).await;
        assert_eq!(seen.seen_by(&[&server]), Some((3, 1)), "{again}");
        let kept = seen.scene.journal.slot(witnessed_slot()).await.unwrap().unwrap();
        for (seed, whose) in [(1, "who knows the old key alone"), (2, "who knows the new one alone")] {
            assert!(keys(&[seed], &[]).trust.check(&kept).is_ok(), "{again}: {whose} believes it");
        }
    }
}

/// What came of one question to a witness that answers so.
async fn trouble(answers: impl Fn(&Arrived) -> Reply + Send + Sync + 'static, key: String) -> (Seen, String, State) {
    let seen = Seen::of(600).await;
    let server = Upstream::start(Protocol::Http1, answers).unwrap();
    let witnesses = seen.witnesses(vec![of(server.address, key)]).unwrap();
    let witness = Arc::clone(&witnesses.witnesses[0]);
    let (log, newest, mut saw) = (Arc::clone(&seen.log), seen.log.newest().unwrap(), 0);
    let asked = cosignature(&witness, &log, &seen.scene.clock, &newest, &mut saw).await;
    let why = chain(&asked.expect_err("no cosignature"));
    witness.ask(&log, &seen.scene.clock, &newest).await;
    let state = *witness.state();
    drop(server);
    (seen, why, state)
}

fn says(status: u16, content_type: &str, body: &[u8]) -> Reply {
    Reply::new(content_type, [Part::Bytes(body.to_vec())]).status(status)
}

fn mind(seed: u8) -> Mind {
    Mind::new("witness.example", seed).unwrap()
}

#[tokio::test]
async fn an_answer_that_is_no_cosignature_has_a_name() {
    let cosigned = |seed, change: fn(String) -> String| {
        move |asked: &Arrived| {
            let (_, _, note) = parsed(asked).unwrap();
            let line = format!("{}\n", mind(seed).cosigned(&note).unwrap());
            says(200, "text/plain", change(line).as_bytes())
        }
    };
    type Answers = Box<dyn Fn(&Arrived) -> Reply + Send + Sync>;
    let fixed = |reply: Reply| -> Answers { Box::new(move |_| reply.clone()) };
    let cases: Vec<(&str, Answers, bool)> = vec![
        ("it does not believe this log's key (403)", fixed(says(403, "text/plain", b"")), false),
        ("it does not know this log, or its key (404)", fixed(says(404, "text/plain", b"")), false),
        ("it answered 400", fixed(says(400, "text/plain", b"")), false),
        ("it answered 422", fixed(says(422, "text/plain", b"")), false),
        ("it answered 500", fixed(says(500, "text/plain", b"")), false),
        ("it answered 302", fixed(says(302, "text/plain", b"").header("location", "http://127.0.0.1:1/")), false),
        ("its answer is no text of a witness", fixed(says(200, "text/plain", b"")), false),
        ("its answer is no text of a witness", fixed(says(200, "text/plain", b"nonsense\n")), false),
        ("its answer is no text of a witness", fixed(says(200, "text/plain", b"\xff\n")), false),
        ("its answer is no text of a witness", Box::new(cosigned(9, |line| line.trim_end().into())), false),
        ("its answer holds no cosignature by its own key", Box::new(cosigned(8, |line| line)), false),
        (
            "its cosignature does not hold",
            Box::new(|asked: &Arrived| {
                let (_, _, note) = parsed(asked).unwrap();
                let other = note.replacen("600", "601", 1);
                says(200, "text/plain", format!("{}\n", mind(9).cosigned(&other).unwrap()).as_bytes())
            }),
            false,
        ),
        ("its answer has more than 16384 bytes", fixed(says(200, "text/plain", &[b'x'; ANSWER_BYTES_MAX + 1])), false),
        (
            "its answer was cut short",
            fixed(Reply::new("text/plain", [Part::Bytes(b"\xe2\x80\x94 w".to_vec()), Part::Cut])),
            false,
        ),
        ("its answer is no text of a witness", fixed(says(409, "text/plain", b"300\n")), false),
        ("its answer is no text of a witness", fixed(says(409, "text/x.tlog.size", b"0300\n")), false),
        ("its answer is no text of a witness", fixed(says(409, "text/x.tlog.size", b"300")), false),
        ("fork: it cosigned another root over 300 records", fixed(says(409, "text/x.tlog.size", b"300\n")), true),
        (
            "fork: the journal was rolled back, or somebody else has the log's key: it cosigned 601 records, and only 600 were ever",
            fixed(says(409, "text/x.tlog.size", b"601\n")),
            true,
        ),
        (
            "fork: the 600 records of this log do not begin with the 300",
            Box::new(|asked: &Arrived| match parsed(asked).unwrap().0 {
                0 => says(409, "text/x.tlog.size", b"300\n"),
                _ => says(422, "text/plain", b""),
            }),
            true,
        ),
        (
            "it names another size at each attempt",
            Box::new(|asked: &Arrived| {
                let next = parsed(asked).unwrap().0 + 1;
                says(409, "text/x.tlog.size", format!("{next}\n").as_bytes())
            }),
            false,
        ),
    ];
    for (wanted, answers, forked) in cases {
        let (seen, why, state) = trouble(answers, mind(9).verifier()).await;
        assert!(why.contains(wanted), "{why}, and not {wanted}");
        assert_eq!((state.forked, state.saw), (forked, 0), "{wanted}");
        let wait = if forked { FORK_AGAIN } else { BACKOFF };
        assert_eq!(state.due.saturating_sub(seen.scene.clock.elapsed()), wait, "{wanted}");
        assert_eq!(seen.log.witnessed(), None, "{wanted}");
    }
}

#[tokio::test]
async fn a_witness_that_says_nothing_is_waited_for_no_longer_than_an_attempt() {
    let seen = Seen::of(3).await;
    let server = Upstream::start(Protocol::Http1, |_| Reply::new("text/plain", [Part::Wait])).unwrap();
    let key = mind(9).verifier();
    let witnesses = seen.witnesses(vec![of(server.address, key)]).unwrap();
    let witness = Arc::clone(&witnesses.witnesses[0]);
    let (log, clock, newest) = (Arc::clone(&seen.log), seen.scene.clock.clone(), seen.log.newest().unwrap());
    let asked = tokio::spawn(async move {
        let mut saw = 0;
        cosignature(&witness, &log, &clock, &newest, &mut saw).await.map_err(|error| chain(&error))
    });
    tokio::task::spawn_blocking(move || server.until_arrived(1).map(|_| server)).await.unwrap().unwrap();
    seen.advance(ATTEMPT);
    assert_eq!(asked.await.unwrap().unwrap_err(), "it did not answer within 10 s");
}

#[tokio::test]
async fn a_witness_that_hangs_holds_up_no_others_cosignature_of_any_checkpoint() {
    let hangs = Upstream::start(Protocol::Http1, |_| Reply::new("text/plain", [Part::Wait])).unwrap();
    let answers = Server::start("witness.example/quick", 8).unwrap();
    let seen = Seen::of(3).await;
    answers.mind().believe(&seen.log.verifier_keys()[0]).unwrap();
    let both = vec![of(hangs.address, mind(9).verifier()), of(answers.address(), answers.mind().verifier())];
    let witnesses = seen.witnesses(both).unwrap();
    let (slow, every) = (Arc::clone(&witnesses.witnesses[0]), Duration::from_secs(1));
    let witnesses = Arc::into_inner(witnesses).map(|witnesses| Witnesses { every, ..witnesses }).unwrap();
    let asking = tokio::spawn(witnesses.asking());
    let until = async |what: &str, is_so: &dyn Fn() -> bool| {
        let reached = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap_or_else(|_| panic!("in vain: {what}"));
    };
    let began = seen.scene.clock.elapsed();
    for size in [3, 300, 600] {
        until("the other's is kept", &|| seen.seen_by(&[&answers]) == Some((size, 1))).await;
        seen.grow(if size == 3 { 300 } else { 600 }).await;
        seen.advance(every);
    }
    assert!(seen.scene.clock.elapsed() - began < ATTEMPT, "nobody has given up the one that hangs");
    assert_eq!((hangs.arrived().len(), slow.state().failed), (1, 0), "and it is asked one question at a time");
    // Now it is given up, and asked again after a while.
    seen.advance(ATTEMPT);
    until("it is given up", &|| slow.state().failed == 1).await;
    seen.advance(BACKOFF);
    until("it is asked again", &|| hangs.arrived().len() == 2).await;
    asking.abort();
}

#[tokio::test]
async fn a_cosignature_of_another_time_is_refused_and_named() {
    let apart_s = CLOCKS_APART.as_secs();
    let ahead = "ahead of this machine's clock; set whichever of the two clocks is wrong";
    let cases: [(u64, u64, Option<&str>); 7] = [
        (10_000, 10_000, None),
        (10_000 + apart_s, 10_000, None),
        (10_001 + apart_s, 10_000, Some(ahead)),
        (10_000, 10_000 + apart_s, None),
        (10_000, 10_001 + apart_s, Some("behind this machine's clock")),
        (u64::MAX >> 1, 10_000, Some(ahead)),
        (0, 10_000, Some("its cosignature does not hold: a cosignature's time is from 1 to")),
    ];
    for (said_s, now_s, wanted) in cases {
        let key = SignerKey::from_seed(KeyName::try_from("witness.example").unwrap(), Algorithm::Cosignature, &[9; 32]);
        let verifier = key.verifier().to_string();
        let server = Upstream::start(Protocol::Http1, move |asked| {
            let (_, _, note) = parsed(asked).unwrap();
            let mut note = Note::new(Note::parse(note.as_bytes()).unwrap().text()).unwrap();
            // No key signs nought: then it is the time itself that does not hold.
            let unsigned = NoteSignature { by: key.verifier().id().clone(), bytes: vec![0; 72] };
            let signed = note.cosign(&key, said_s).map_or(unsigned, |()| note.signatures()[0].clone());
            says(200, "text/plain", format!("{signed}\n").as_bytes())
        });
        let (server, seen) = (server.unwrap(), Seen::of(3).await);
        seen.scene.hands.set(Time::from_micros(now_s * 1_000_000));
        let witnesses = seen.witnesses(vec![of(server.address, verifier)]).unwrap();
        round(&witnesses).await;
        let told = seen.log.witnesses().remove(0);
        assert!(!told.fork && told.trouble.contains(wanted.unwrap_or_default()), "{said_s} at {now_s}: {told:?}");
        assert_eq!(told.trouble.is_empty(), wanted.is_none(), "{said_s} at {now_s}: {told:?}");
        assert_eq!(seen.log.witnessed().is_some(), wanted.is_none(), "{said_s} at {now_s}");
    }
}

#[tokio::test]
async fn a_witness_that_fails_is_asked_ever_more_rarely_until_it_answers() {
    let server = Server::start("witness.example", 9).unwrap();
    let seen = Seen::of(3).await;
    let witnesses = seen.witnesses(vec![of(server.address(), server.mind().verifier())]).unwrap();
    let state = || *witnesses.witnesses[0].state();
    for wait_s in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
        round(&witnesses).await;
        let due = state().due;
        assert_eq!(due.saturating_sub(seen.scene.clock.elapsed()), Duration::from_secs(wait_s));
        round(&witnesses).await;
        assert_eq!(state().due, due, "it is not asked before");
        seen.advance(Duration::from_secs(wait_s));
    }
    server.mind().believe(&seen.log.verifier_keys()[0]).unwrap();
    round(&witnesses).await;
    assert_eq!((seen.seen_by(&[&server]), state().failed), (Some((3, 1)), 0));
}

#[tokio::test]
async fn a_log_that_was_rewritten_is_cosigned_by_nobody() {
    let server = Server::start("witness.example", 9).unwrap();
    let seen = Seen::of(600).await;
    round(&seen.asking(&[&server])).await;
    let saw = *server.mind().saw();
    for (what, kept) in [("a store that came back older", 400), ("another past", 601)] {
        let scene = Scene::new();
        scene.grow(if kept == 400 { 400 } else { 599 }).await;
        if kept == 601 {
            scene.write(agentgate_proto::v1::record::What::Policy(agentgate_proto::v1::PolicyRecord::default()), 600).await;
            scene.grow(601).await;
        }
        let forked = Seen::with(scene).await;
        let witnesses = forked.asking(&[&server]);
        for again in 0..2 {
            round(&witnesses).await;
            let state = *witnesses.witnesses[0].state();
            assert!(state.forked, "{what} {again}");
            let remembered = forked.log.shown().await.unwrap().remembered;
            let by = |one: &v1::Remembered| (one.remembers.clone(), one.name.clone(), one.size);
            let wanted = (kept == 400).then(|| ("witness".to_owned(), "witness.example".to_owned(), 600));
            assert_eq!(remembered.iter().map(by).collect::<Vec<_>>(), wanted.into_iter().collect::<Vec<_>>(), "{what} {again}");
            let told = forked.log.witnesses();
            assert!(told.len() == 1 && told[0].fork && !told[0].trouble.is_empty(), "{what}: {told:?}");
            forked.advance(FORK_AGAIN);
        }
        assert_eq!((forked.log.witnessed(), *server.mind().saw()), (None, saw), "{what}");
        // That it is away, or answers nonsense, takes nothing back.
        let remembered = forked.log.shown().await.unwrap().remembered;
        server.mind().believe(&signer(7).verifier().to_string()).unwrap();
        round(&witnesses).await;
        let told = forked.log.witnesses().remove(0);
        assert!(told.fork && told.trouble.contains("does not believe"), "{what}: {told:?}");
        assert_eq!(forked.log.shown().await.unwrap().remembered, remembered, "{what}");
    }
}

#[tokio::test]
async fn a_quorum_is_not_given_up_for_a_newer_checkpoint_before_a_while() {
    let (one, two) = (Server::start("one.example", 11).unwrap(), Server::start("two.example", 12).unwrap());
    let both = [&one, &two];
    let seen = Seen::of(3).await;
    let witnesses = seen.asking(&both);
    round(&witnesses).await;
    assert_eq!(seen.seen_by(&both), Some((3, 2)));
    // One of them forgets the log, and is away.
    *two.mind().saw() = Some((9, Hash::EMPTY));
    seen.grow(5).await;
    round(&witnesses).await;
    assert_eq!(seen.seen_by(&both), Some((3, 2)));
    seen.advance(FEWER_AFTER);
    seen.grow(6).await;
    round(&witnesses).await;
    assert_eq!(seen.seen_by(&both), Some((6, 1)), "a witness that is gone holds up nobody");
    *two.mind().saw() = None;
    seen.advance(FORK_AGAIN);
    round(&witnesses).await;
    assert_eq!(seen.seen_by(&both), Some((6, 2)), "the other joins");
}

#[tokio::test]
async fn a_witness_that_is_none_is_refused_by_name() {
    let seen = Seen::of(1).await;
    let witness = mind(9).verifier();
    let log = signer(1).verifier().to_string();
    let address = || "127.0.0.1:9".parse().unwrap();
    let url = |url: &str| config::Witness { url: url.into(), key: witness.clone(), authority: None };
    for (wanted, configured) in [
        ("is no verifier key", vec![of(address(), "nonsense".into())]),
        ("is no witness's", vec![of(address(), log)]),
        ("named twice", vec![of(address(), witness.clone()), of(address(), witness.clone())]),
        ("it has no scheme or no host", vec![url("witness.example")]),
        ("its scheme is neither https nor http", vec![url("ftp://witness.example")]),
    ] {
        let error = chain(&seen.witnesses(configured).unwrap_err());
        assert!(error.contains("`transparency.witness`") && error.contains(wanted), "{error}");
    }
}
