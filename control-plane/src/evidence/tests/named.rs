//! What a name finds: of what was purged nothing any more, which is said; and of one session all, without the whole journal.

use super::book::{ALICE, BOB, Book, Called};
use super::*;
use crate::body::SESSION_KEY_US;

/// What is given of a scope, and how the end of it is told.
async fn told(evidence: &Arc<Evidence>, about: v1::GatherEvidenceRequest) -> (Vec<u64>, Vec<u64>, v1::EvidenceEnd) {
    let by = SpiffeId::try_from("spiffe://agentgate.local/operator/me").unwrap();
    let (_leave, leaving) = watch::channel(false);
    let mut heard = evidence.gather(Scope::read(about).unwrap(), by, leaving).unwrap();
    let (mut all, mut erased) = (Vec::new(), Vec::new());
    while let Some(message) = heard.recv().await {
        match message.unwrap().what {
            Some(Told::Record(record)) => {
                let sequence = Entry::decode(&record.entry).unwrap().sequence;
                all.push(sequence);
                erased.extend(record.body.is_some_and(|body| body.erased).then_some(sequence));
            }
            Some(Told::End(end)) => return (all, erased, end),
            Some(Told::Progress(_) | Told::Bundle(_)) | None => {}
        }
    }
    panic!("it has no end");
}

fn about(session: &str, principal: &str, (since_us, until_us): (u64, u64)) -> v1::GatherEvidenceRequest {
    v1::GatherEvidenceRequest { session: session.into(), principal: principal.into(), since_us, until_us, ..Default::default() }
}

#[tokio::test]
async fn what_was_purged_is_nobodys_any_more_and_that_is_said() {
    let mut book = Book::new().await;
    let first = book.call(ALICE, "run", None).await; // 1
    book.outcome(&first).await; // 2
    let second = book.call(BOB, "run", None).await; // 3
    let later = book.call(ALICE, "late", None).await; // 4
    book.purge(&[first.session], (1, 2)).await; // 5
    book.purge(&[later.session], (4, 4)).await; // 6
    book.forget().await; // 7: of streams alone, it erased no words
    let (first, second) = (first.session.to_string(), second.session.to_string());
    let evidence = book.closed().await;
    let unmatched = |records, purges, last_purge_us| Some(v1::Unmatched { records, purges, last_purge_us });
    for (case, asked, given, erased, said) in [
        ("a principal that was purged", about("", ALICE, (0, 0)), vec![], vec![], unmatched(3, 2, 6)),
        ("of a time", about("", ALICE, (1, 3)), vec![], vec![], unmatched(2, 1, 5)),
        ("another time", about("", ALICE, (3, 4)), vec![], vec![], unmatched(0, 0, 0)),
        ("a principal that is there", about("", BOB, (0, 0)), vec![3], vec![], unmatched(3, 2, 6)),
        ("a handle of both", about("run", "", (0, 0)), vec![3], vec![], unmatched(3, 2, 6)),
        ("a handle that was purged", about("late", "", (0, 0)), vec![], vec![], unmatched(3, 2, 6)),
        ("the session itself", about(&first, "", (0, 0)), vec![1, 2, 5], vec![1, 2], unmatched(0, 2, 6)),
        ("the session of a principal", about(&first, ALICE, (0, 0)), vec![5], vec![], unmatched(2, 2, 6)),
        ("a session that is there", about(&second, "", (0, 0)), vec![3], vec![], unmatched(0, 2, 6)),
        ("a time", about("", "", (1, 5)), vec![1, 2, 3, 4, 5, 6], vec![1, 2, 4], None),
    ] {
        let (all, gone, end) = told(&evidence, asked).await;
        assert_eq!((&all, &gone, &end.unmatched), (&given, &erased, &said), "{case}");
        let manifest = String::from_utf8(end.manifest.to_vec()).unwrap();
        let line = manifest.lines().find_map(|line| line.strip_prefix("unmatched "));
        let counted = said.filter(|said| said.records > 0);
        assert_eq!(line.is_some(), counted.is_some(), "{case}: {manifest}");
        if let (Some(line), Some(said)) = (line, counted) {
            let purges =
                format!("{}; purges {}, the last at {}", said.records, said.purges, Time::from_micros(said.last_purge_us));
            assert_eq!(line, purges, "{case}");
        }
    }
}

/// Small numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// A journal that nobody thought out, and the calls in it.
async fn generated(seed: u64) -> (Book, Vec<Called>) {
    let (mut book, mut dice) = (Book::new().await, Dice(seed));
    let mut handles = vec![String::new(), "run".into(), "other".into()];
    let mut calls: Vec<Called> = Vec::new();
    let mut purged = Vec::new();
    for round in 0..120_u64 {
        let approval = Digest::of("approval", &dice.below(6).to_be_bytes());
        let called = if calls.is_empty() { None } else { Some(dice.of(&calls).clone()) };
        match (dice.below(16), called) {
            (0..=6, _) | (_, None) => {
                let (principal, handle) = (*dice.of(&[ALICE, BOB]), dice.of(&handles).clone());
                let named = (dice.below(3) == 0).then_some(approval);
                calls.push(book.call(principal, &handle, named).await);
            }
            (7 | 8, Some(called)) if book.bodies.journal().find(outcome(&called)).await.unwrap().is_none() => {
                book.outcome(&called).await;
            }
            (9 | 10, Some(called)) => {
                let step = usize::try_from(dice.below(3)).unwrap();
                if book.bodies.journal().find(step_ids(&approval)[step]).await.unwrap().is_none() {
                    book.step(&called, &approval, step).await;
                }
            }
            (11, _) => {
                let name = u8::try_from(dice.below(2)).unwrap() + 1;
                book.policy(name).await;
            }
            (12, Some(called)) if dice.below(3) == 0 && !purged.contains(&called.session) => {
                purged.push(called.session);
                book.purge(&[called.session], (1, book.at_us)).await;
            }
            (13, Some(called)) => {
                book.hold(&called).await;
            }
            (14, Some(called)) => {
                let principal = *dice.of(&[ALICE, BOB]);
                book.flood(principal).await;
                // An agent may call its session as another one is called in records.
                handles.push(called.session.to_string());
            }
            _ => {
                book.kill().await;
            }
        }
        if round % 30 == 29 {
            book.at_us += SESSION_KEY_US;
        }
    }
    (book, calls)
}

fn outcome(called: &Called) -> Digest {
    crate::session::outcome_id(&called.id, crate::session::Source::Reported)
}

async fn chosen(mut choosing: gather::Choosing<'_>) -> (Vec<(Bytes, Bytes)>, Vec<u64>, u64, Option<v1::Unmatched>) {
    let mut read = 0;
    while let Some(far) = choosing.page().await.unwrap() {
        read = far.read;
    }
    choosing.complete().await.unwrap();
    let bundles = choosing.bundles();
    let unmatched = choosing.unmatched();
    (bundles, choosing.chosen.into_iter().collect(), read, unmatched)
}

#[tokio::test]
async fn a_session_is_found_whole_in_the_streams_that_it_can_stand_in() {
    let (mut by_streams, mut by_all) = (0, 0);
    for seed in 0..8 {
        let (book, calls) = generated(seed).await;
        let size = book.records;
        let evidence = book.closed().await;
        let mut names: Vec<String> = calls.iter().map(|called| called.session.to_string()).collect();
        names.sort();
        names.dedup();
        names.extend(["run".into(), "nobody".into()]);
        for name in &names {
            for asked in [
                about(name, "", (0, 0)),
                about(name, ALICE, (0, 0)),
                about(name, "", (20, 60)),
                about(name, BOB, (SESSION_KEY_US, 0)),
            ] {
                let scope = Scope::read(asked.clone()).unwrap();
                let choosing = gather::Choosing::new(&evidence, &scope, size).await.unwrap();
                let is_of_streams = choosing.is_of_streams();
                let all = gather::Choosing::new(&evidence, &scope, size).await.unwrap().of_all();
                let (found, wanted) = (chosen(choosing).await, chosen(all).await);
                assert_eq!((&found.0, &found.1, &found.3), (&wanted.0, &wanted.1, &wanted.3), "seed {seed}: {asked:?}");
                let key_is_there = match SessionId::named(name) {
                    Some(session) => evidence.bodies.whose(session).await.unwrap().is_some(),
                    None => false,
                };
                assert_eq!(is_of_streams, key_is_there, "{name}");
                if is_of_streams {
                    by_streams += usize::from(!found.1.is_empty());
                    assert!(found.2 < wanted.2, "seed {seed}: {} of {} records were read", found.2, wanted.2);
                } else {
                    by_all += usize::from(!found.1.is_empty());
                    assert_eq!(found.2, size);
                }
            }
        }
    }
    assert!(by_streams > 60 && by_all > 8, "{by_streams} {by_all}");
}

#[tokio::test]
async fn what_is_after_the_checkpoint_is_in_no_stream() {
    let mut book = Book::new().await;
    let first = book.call(ALICE, "run", None).await;
    book.outcome(&first).await;
    book.hold(&first).await;
    let name = first.session.to_string();
    let evidence = book.closed().await;
    for size in 0..=3 {
        let scope = Scope::read(about(&name, "", (0, 0))).unwrap();
        let choosing = gather::Choosing::new(&evidence, &scope, size).await.unwrap();
        assert!(choosing.is_of_streams());
        assert_eq!(chosen(choosing).await.1, (1..=size).collect::<Vec<_>>());
    }
}
