//! Stories about whoever nothing is kept of: nothing leads from their names to their streams any more, and whoever comes back has
//! one stream at every replica.

use super::*;
use crate::body::digest_bytes;
use crate::journal::{BoxFuture, Position, Version};
use crate::session::Setback;
use agentgate_core::digest::Digester;
use agentgate_core::pii::Kind;
use std::collections::BTreeSet;

const NAMES: [&str; 4] = ["acme", AGENT, "the handle", ""];

fn subject() -> Subject {
    Subject { tenant: "acme".try_into().unwrap(), principal: AGENT.try_into().unwrap() }
}

impl Scene {
    async fn stream_there(&self) -> Option<Stream> {
        let Subject { tenant, principal } = subject();
        self.retention.rooms.bodies.stream_there(&tenant, &principal).await.unwrap()
    }

    /// A record of the subject, as the room that decides writes it: the turn first, then the epochs.
    async fn writes(&self, what: v1::record::What, is_fenced: bool) -> Result<(Stream, Position), Setback> {
        let Rooms { session, control, .. } = &self.retention.rooms;
        let turn = session.turn(&subject()).await.unwrap();
        let fence = is_fenced.then(|| control.now().epochs);
        assert!(session.is_turn_of(&turn, &subject()).await.unwrap());
        let record = v1::Record { at_us: 1, what: Some(what) }.encode_to_vec().into();
        let id = Digest::of("test", &self.retention.rooms.bodies.random().unwrap());
        let stream = turn.stream();
        Ok((stream, turn.append(Draft { id, record, body: None, fence, also: Vec::new() }).await?))
    }

    async fn decides(&self) -> Result<(Stream, Position), Setback> {
        self.writes(decision(), true).await
    }

    /// The order alone, as somebody wrote it who saw the stream at this version.
    async fn order_streams(&self, stream: Stream, version: Version) {
        let streams = vec![v1::PurgedStream { stream: Bytes::copy_from_slice(stream.0.as_bytes()), version }];
        let purge = v1::PurgeRecord { streams, ..v1::PurgeRecord::default() };
        self.retention.write(None, |_| Ok(purge.clone())).await.unwrap();
    }

    async fn hears_orders_of(&self, other: &Self) {
        self.retention.rooms.control.caught_up(other.retention.rooms.control.now().epochs.global).await.unwrap();
    }

    async fn knows_nobody(&self) -> bool {
        self.retention.rooms.bodies.leads(None).await.unwrap().0.is_empty()
    }
}

fn decision() -> v1::record::What {
    v1::record::What::Decision(v1::DecisionRecord { body: erased(), ..v1::DecisionRecord::default() })
}

fn erased() -> Option<v1::BodyRef> {
    let (address, session) = (vec![7; 32].into(), vec![7; 16].into());
    Some(v1::BodyRef { address, session, ..v1::BodyRef::default() })
}

/// Every name under which this program could look anything up: all the domains that its source has, over every choice of what is
/// known of a subject.
async fn confirmed(scene: &Scene) -> BTreeSet<String> {
    fn domains(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                domains(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.extend(text.split('"').filter(|part| part.starts_with("agentgate/")).map(str::to_owned));
            }
        }
    }
    let mut all = BTreeSet::new();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
    [crates.join("src"), crates.join("../proto")].iter().for_each(|folder| domains(folder, &mut all));
    assert!(all.contains("agentgate/slot/stream/1") && all.len() > 20, "{all:?}");
    let mut choices: Vec<Vec<&[u8]>> = vec![Vec::new()];
    for _ in 0..3 {
        let longer = choices.iter().flat_map(|parts| NAMES.map(|name| [&parts[..], &[name.as_bytes()]].concat()));
        choices = choices.iter().cloned().chain(longer).collect();
    }
    let mut confirmed = BTreeSet::new();
    for domain in all {
        let domain: &'static str = domain.leak();
        for parts in &choices {
            let mut plain = Digester::new(domain);
            parts.iter().for_each(|part| plain.part(part));
            let keyed = scene.retention.rooms.bodies.secret_digest(domain, parts);
            for name in [plain.finish(), keyed] {
                let journal = &scene.journal;
                let slot = journal.slot(name).await.unwrap().is_some();
                let record = journal.find(name).await.unwrap().is_some();
                let stream = journal.version(Stream(name)).await.unwrap() > 0;
                let body = journal.fetch(name).await.unwrap().is_some();
                for (what, is_there) in [("slot", slot), ("record", record), ("stream", stream), ("body", body)] {
                    if is_there {
                        confirmed.insert(format!("{what} {domain} of {} parts", parts.len()));
                    }
                }
            }
        }
    }
    confirmed
}

#[tokio::test]
async fn nothing_that_can_be_computed_of_a_name_tells_whether_somebody_called_of_whom_nothing_is_kept() {
    type Ordered = fn(&str, &str, Time) -> Option<Wanted>;
    let config = config::Retention { days: 1, ..config::Retention::default() };
    let old = Time::from_micros(1_000_000_000).plus_micros(SESSION_KEY_US);
    let orders: [(_, Ordered); 6] = [
        ("nothing", |_, _, _| None),
        ("the principal", |tenant, principal, _| Some(of(extent(tenant, principal, "")))),
        ("the principal, of whatever tenant", |_, principal, _| Some(of(extent("", principal, "")))),
        ("its session", |tenant, principal, _| Some(of(extent(tenant, principal, "the handle")))),
        ("by time", |_, _, old| Some(Wanted { extent: None, before: Some(old), reason: "x".into() })),
        ("by age", |_, _, _| None),
    ];
    for (how, wanted) in orders {
        let mut told = Vec::new();
        // In one journal it never called, and somebody else did of whom nothing is kept either.
        for (tenant, principal) in [("acme", AGENT), ("empty", "spiffe://a/agent/else")] {
            let (clock, hands) = Clock::manual(Time::from_micros(1_000_000_000));
            let scene = Scene::after(memory(), clock, hands, config.clone()).await;
            scene.call(tenant, principal, "the handle").await;
            scene.hands.advance(DAY * 2);
            scene.call("acme", "spiffe://a/agent/beside", "").await;
            if let Some(wanted) = wanted(tenant, principal, old) {
                let purged = scene.purge(&wanted).await.unwrap();
                assert!(purged.finished && purged.sessions == 1, "{how}: {purged:?}");
            }
            if how == "by age" {
                assert!(scene.retention.sweep().await.unwrap());
            }
            told.push(confirmed(&scene).await);
        }
        assert_eq!(told[0] == told[1], how != "nothing", "{how}: {told:#?}");
    }
}

#[tokio::test]
async fn whoever_comes_back_after_a_purge_has_one_stream_at_every_replica() {
    // Who hears of the purge, and who calls first: the one that purged, or the one that has the old stream at hand.
    for (is_carried_out, is_old_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let journal: Arc<dyn Journal> = Arc::new(Memory::shared());
        let one = Scene::on(Arc::clone(&journal)).await;
        let other = one.again(&journal).await;
        let (old, _) = one.decides().await.unwrap();
        assert_eq!(other.decides().await.unwrap().0, old, "it has it at hand");
        if is_carried_out {
            assert!(one.retention.sweep().await.unwrap());
            assert!(one.knows_nobody().await);
        } else {
            one.order_streams(old, 2).await;
            assert!(one.is_led_to("acme", AGENT).await);
        }
        assert_eq!(one.stream_there().await, None);
        let mut written = Vec::new();
        for replica in if is_old_first { [&other, &one] } else { [&one, &other] } {
            if std::ptr::eq(replica, &raw const other) {
                let told = replica.decides().await;
                assert!(matches!(told, Err(Setback::Fenced(_))), "{told:?}");
                replica.hears_orders_of(&one).await;
            }
            let told = match replica.decides().await {
                // What the other one wrote meanwhile.
                Err(Setback::Moved) => replica.decides().await,
                told => told,
            };
            written.push(told.unwrap());
        }
        let [(stream, first), (again, second)] = written[..] else { panic!("{written:?}") };
        assert!(stream == again && stream != old);
        assert_eq!((first.version, second.version), (1, 2), "they are folded on one another");
        // Whoever carries it out now erases nothing of the new one.
        for replica in [&one, &other, &one.again(&journal).await] {
            replica.retention.carry_out().await.unwrap();
            assert_eq!(replica.stream_there().await, Some(stream));
        }
    }
}

#[tokio::test]
async fn a_stream_that_took_a_call_before_its_purge_stays_for_everybody() {
    let flood = || v1::record::What::Flood(v1::FloodRecord { body: erased(), ..v1::FloodRecord::default() });
    let outcome = || v1::record::What::Outcome(v1::OutcomeRecord::default());
    for (before, meanwhile, after, stays) in [
        (vec![decision()], vec![], vec![], false),
        (vec![decision(), flood()], vec![], vec![outcome()], false),
        (vec![decision()], vec![outcome(), outcome()], vec![], false),
        (vec![decision()], vec![decision()], vec![], true),
        (vec![], vec![flood()], vec![], true),
        (vec![decision()], vec![outcome(), decision(), outcome()], vec![outcome()], true),
        (vec![decision()], [vec![outcome(); 70], vec![decision()]].concat(), vec![], true),
    ] {
        let journal: Arc<dyn Journal> = Arc::new(Memory::shared());
        let one = Scene::on(Arc::clone(&journal)).await;
        let version = Version::try_from(before.len()).unwrap();
        for what in before.into_iter().chain(meanwhile.clone()) {
            one.writes(what, true).await.unwrap();
        }
        let stream = one.stream_there().await.unwrap();
        one.order_streams(stream, version).await;
        for what in after {
            let turn = one.retention.rooms.session.turn_of(stream).await.unwrap();
            let record = v1::Record { at_us: 1, what: Some(what) }.encode_to_vec().into();
            turn.append(Draft { id: Digest::of("test", b"late"), record, body: None, fence: None, also: Vec::new() })
                .await
                .unwrap();
        }
        let other = one.again(&journal).await;
        for replica in [&one, &other] {
            assert_eq!(replica.stream_there().await, stays.then_some(stream), "{meanwhile:?}");
        }
        one.retention.carry_out().await.unwrap();
        assert_eq!(one.is_led_to("acme", AGENT).await, stays, "{meanwhile:?}");
        for replica in [&one, &other, &one.again(&journal).await] {
            replica.retention.carry_out().await.unwrap();
            let again = match replica.decides().await {
                Err(Setback::Moved) => replica.decides().await,
                told => told,
            };
            assert_eq!(again.unwrap().0 == stream, stays, "{meanwhile:?}");
        }
    }
}

#[tokio::test]
async fn whoever_calls_every_day_keeps_their_stream_and_whoever_stops_is_forgotten() {
    let config = config::Retention { days: 2, ..config::Retention::default() };
    let (clock, hands) = Clock::manual(Time::from_micros(1_000_000_000));
    let scene = Scene::after(memory(), clock, hands, config).await;
    let mut bodies = Vec::new();
    for day in 0..8 {
        bodies.push(scene.call("acme", AGENT, "").await);
        scene.hands.advance(DAY);
        assert!(scene.retention.sweep().await.unwrap());
        assert_eq!(scene.is_erased(&bodies[0]).await, day >= 2, "{day}");
    }
    let stream = scene.stream_there().await.unwrap();
    assert_eq!(scene.journal.version(stream).await.unwrap(), 8, "one stream through all days");
    for (passes, is_known) in [(DAY * 2 - Duration::from_micros(1), true), (Duration::from_micros(1), false)] {
        scene.hands.advance(passes);
        assert!(scene.retention.sweep().await.unwrap());
        assert_eq!(scene.is_led_to("acme", AGENT).await, is_known);
    }
    scene.call("acme", AGENT, "").await;
    assert_ne!(scene.stream_there().await, Some(stream));
}

#[tokio::test]
async fn a_slot_that_leads_to_nobody_goes_by_order_and_by_itself_and_no_other_does() {
    for by_order in [false, true] {
        let scene = Scene::on(memory()).await;
        let rooms = &scene.retention.rooms;
        // As a purge left it that did not look after it, or a call that was given up before it had a key.
        scene.decides().await.unwrap();
        scene.call("acme", "user:u@https://i", "").await;
        let head = scene.journal.health().head;
        if by_order {
            let told = scene.retention.purge(&of(extent("acme", AGENT, "")), &me(), true).await.unwrap();
            assert_eq!((told.sessions, scene.journal.health().head), (0, head), "a dry run writes nothing");
            let purged = scene.purge(&of(extent("acme", AGENT, ""))).await.unwrap();
            assert_eq!((purged.sessions, purged.sequences), (0, vec![head + 1]));
        } else {
            assert!(scene.retention.sweep().await.unwrap(), "though nothing is ever too old");
        }
        assert!(!scene.is_led_to("acme", AGENT).await && scene.is_led_to("acme", "user:u@https://i").await);
        assert_eq!((scene.journal.health().head, rooms.bodies.unfinished_purges()), (head + 1, 0));
        assert!(scene.retention.sweep().await.unwrap());
        assert_eq!(scene.journal.health().head, head + 1, "it is done once");
    }
}

#[tokio::test]
async fn as_many_streams_as_one_record_takes_are_purged_by_it() {
    for (streams, records) in [(PURGED_PER_RECORD_MAX, 1), (PURGED_PER_RECORD_MAX + 1, 2)] {
        let scene = Scene::on(memory()).await;
        for number in 0..streams {
            let principal = format!("spiffe://a/agent/{number}");
            let principal = principal.as_str().try_into().unwrap();
            scene.retention.rooms.bodies.stream(&"acme".try_into().unwrap(), &principal).await.unwrap();
        }
        let head = scene.journal.health().head;
        assert!(scene.retention.sweep().await.unwrap());
        assert_eq!((scene.journal.health().head - head, scene.knows_nobody().await), (records, true));
    }
}

#[tokio::test]
async fn a_slot_that_was_read_before_a_purge_was_carried_out_counts_for_nothing_after_it() {
    async fn stream(scene: Arc<Scene>) -> String {
        let Subject { tenant, principal } = subject();
        format!("{:?}", scene.retention.rooms.bodies.stream(&tenant, &principal).await.unwrap())
    }
    async fn token(scene: Arc<Scene>) -> String {
        scene.retention.rooms.bodies.tokens("acme").await.unwrap().token(Kind::Email, "a@b.co")
    }
    type Reads = fn(Arc<Scene>) -> BoxFuture<'static, String>;
    let all: [(&str, Reads); 2] = [("stream", |scene| Box::pin(stream(scene))), ("token", |scene| Box::pin(token(scene)))];
    for (what, read) in all {
        let cut = Arc::new(Cut::after(memory(), i64::MAX));
        let scene = Arc::new(Scene::on(Arc::clone(&cut) as Arc<dyn Journal>).await);
        let (before, _) = (read(Arc::clone(&scene)).await, token(Arc::clone(&scene)).await);
        let streams = scene.stream_there().await.map(|stream| v1::PurgedStream { stream: digest_bytes(&stream.0), version: 0 });
        let tokens = digest_bytes(&scene.retention.rooms.bodies.tokens_there("acme").await.unwrap().unwrap());
        let purge = v1::PurgeRecord { streams: streams.into_iter().collect(), tokens, ..v1::PurgeRecord::default() };
        scene.retention.write(None, |_| Ok(purge.clone())).await.unwrap();
        let mut held = cut.hold_slot();
        let reading = tokio::spawn(read(Arc::clone(&scene)));
        held.is_there().await;
        scene.retention.carry_out().await.unwrap();
        held.go_on();
        let after = reading.await.unwrap();
        assert_ne!(after, before, "{what}: it is what was purged");
        // Nobody else finds another one.
        assert_eq!(read(Arc::new(scene.again(&scene.journal).await)).await, after, "{what}");
    }
}

#[tokio::test]
async fn as_many_purges_as_may_be_wait_to_be_carried_out_and_with_one_more_nothing_is_purged() {
    let scene = Scene::on(memory()).await;
    let body = scene.call("acme", AGENT, "").await;
    for number in 0..PURGES_UNFINISHED_MAX {
        assert_eq!(scene.retention.rooms.bodies.unfinished_purges(), number);
        scene.order_streams(Stream(Digest::of("test", &number.to_be_bytes())), 1).await;
    }
    let head = scene.journal.health().head;
    let told = scene.purge(&of(extent("acme", "", ""))).await;
    assert!(matches!(told, Err(RetentionError::Crowded)), "{told:?}");
    assert_eq!((scene.journal.health().head, scene.is_erased(&body).await), (head, false), "nothing changed");
    scene.retention.carry_out().await.unwrap();
    assert!(scene.purge(&of(extent("acme", "", ""))).await.unwrap().finished && scene.is_erased(&body).await);
}
