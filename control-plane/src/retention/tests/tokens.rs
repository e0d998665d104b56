//! Stories about the key of a tenant's tokens: it goes with the whole tenant, whoever calls meanwhile and whatever is cut, and the
//! key that is made after it stays.

use super::cut::Holding;
use super::*;
use agentgate_core::pii::Kind;
use tokio::task::JoinHandle;

const OTHER: &str = "spiffe://a/agent/y";

fn whole() -> Wanted {
    of(extent("acme", "", ""))
}

impl Scene {
    async fn token(&self) -> String {
        self.retention.rooms.bodies.tokens("acme").await.unwrap().token(Kind::Email, "a@b.co")
    }

    /// The slot as the journal has it.
    async fn tokens_slot(&self) -> Option<Bytes> {
        self.journal.slot(self.retention.rooms.bodies.tokens_slot("acme")).await.unwrap()
    }

    /// A purge of the whole tenant, held up where it has looked and its record is not there yet.
    async fn purging(self: &Arc<Self>, cut: &Cut) -> (JoinHandle<Purged>, Holding) {
        self.retention.rooms.bodies.seal(&Scope::Orders, self.clock.now()).await.unwrap();
        let mut held = cut.hold_append();
        let scene = Arc::clone(self);
        let purging = tokio::spawn(async move { scene.purge(&whole()).await.unwrap() });
        held.is_there().await;
        (purging, held)
    }

    async fn hears_of(&self, other: &Self) {
        self.retention.rooms.control.caught_up(other.retention.rooms.control.now().epochs.global).await.unwrap();
    }
}

#[tokio::test]
async fn the_key_of_a_tenants_tokens_goes_with_the_tenant_and_with_nothing_less() {
    let old = || Wanted { before: Some(Time::from_micros(u64::MAX)), ..whole() };
    for (what, wanted, held, calls, dry_run, goes) in [
        ("the tenant", whole(), None, true, false, true),
        ("the tenant, of which nothing else is kept", whole(), None, false, false, true),
        ("the tenant, as if", whole(), None, true, true, true),
        ("another tenant", of(extent("other", "", "")), None, true, false, false),
        ("one of its principals", of(extent("acme", AGENT, "")), None, true, false, false),
        ("what is old of it", old(), None, true, false, false),
        ("the tenant, of which nothing is kept but a hold", whole(), Some("acme"), false, false, false),
        ("the tenant, while another is held", whole(), Some("empty"), true, false, true),
    ] {
        let scene = Scene::on(memory()).await;
        let replica = scene.again(&scene.journal).await;
        if calls {
            for (tenant, principal) in [("acme", AGENT), ("acme", OTHER), ("other", AGENT)] {
                scene.call(tenant, principal, "").await;
            }
        }
        let mut hold = None;
        if let Some(tenant) = held {
            hold = Some(scene.retention.place(&extent(tenant, "", ""), "a case", &me()).await.unwrap().0);
        }
        let before = scene.token().await;
        assert_eq!(replica.token().await, before);
        let purged = scene.retention.purge(&wanted, &me(), dry_run).await.unwrap();
        let tokens_held = hold.filter(|_| held == Some("acme"));
        assert_eq!((purged.finished, purged.tokens, purged.tokens_held), (true, goes, tokens_held), "{what}");
        let is_erased = goes && !dry_run;
        assert_eq!(scene.tokens_slot().await.is_none(), is_erased, "{what}");
        let after = scene.token().await;
        assert_eq!(after != before, is_erased, "{what}");
        // The other replica has heard of the purge, and reads it anew.
        replica.hears_of(&scene).await;
        assert_eq!(replica.token().await, after, "{what}");
        assert_eq!(scene.retention.rooms.bodies.unfinished_purges(), 0, "{what}");
    }
}

#[tokio::test]
async fn the_key_goes_though_the_tenant_calls_without_end() {
    for calls_before in [true, false] {
        let cut = Arc::new(Cut::after(memory(), i64::MAX));
        let scene = Arc::new(Scene::on(Arc::clone(&cut) as Arc<dyn Journal>).await);
        let before = scene.token().await;
        if calls_before {
            scene.call("acme", AGENT, "before").await;
        }
        let (purging, held) = scene.purging(&cut).await;
        let meanwhile = scene.call("acme", AGENT, "meanwhile").await;
        assert_eq!(scene.token().await, before);
        held.go_on();
        let purged = purging.await.unwrap();
        assert_eq!((purged.sessions, purged.tokens, purged.finished), (u64::from(calls_before), true, true));
        assert_eq!(scene.tokens_slot().await, None);
        assert!(!scene.is_erased(&meanwhile).await, "it came after the purge had looked");
        let after = scene.token().await;
        assert_ne!(after, before);
        // Nobody erases the next one.
        scene.retention.carry_out().await.unwrap();
        let next = scene.again(&scene.journal).await;
        next.retention.carry_out().await.unwrap();
        assert_eq!((scene.token().await, next.token().await), (after.clone(), after));
    }
}

#[tokio::test]
async fn a_hold_that_comes_before_the_record_keeps_the_key() {
    let inner: Arc<dyn Journal> = Arc::new(Memory::shared());
    let cut = Arc::new(Cut::after(Arc::clone(&inner), i64::MAX));
    let scene = Arc::new(Scene::on(Arc::clone(&cut) as Arc<dyn Journal>).await);
    let other = scene.again(&inner).await;
    let before = scene.token().await;
    let (purging, held) = scene.purging(&cut).await;
    let (hold, _) = other.retention.place(&extent("acme", "", ""), "a case", &me()).await.unwrap();
    held.go_on();
    let purged = purging.await.unwrap();
    assert_eq!((purged.tokens, purged.tokens_held, purged.sessions), (false, Some(hold), 0));
    assert_eq!((scene.token().await, other.token().await), (before.clone(), before));
}

#[tokio::test]
async fn a_purge_that_was_cut_anywhere_takes_the_key_in_the_next_life() {
    for calls_between in [false, true] {
        let mut unfinished = 0;
        for writes in 0.. {
            let inner = memory();
            let before = Scene::on(Arc::clone(&inner)).await;
            before.call("acme", AGENT, "one").await;
            before.call("acme", OTHER, "two").await;
            let old = before.token().await;
            let cut = Arc::new(Cut::after(Arc::clone(&inner), i64::MAX));
            let scene = before.again(&(Arc::clone(&cut) as Arc<dyn Journal>)).await;
            scene.retention.rooms.bodies.seal(&Scope::Orders, scene.clock.now()).await.unwrap();
            cut.left.store(writes, Ordering::SeqCst);
            let told = scene.purge(&whole()).await;
            let (is_recorded, is_whole) = (told.is_ok(), told.is_ok_and(|purged| purged.finished));
            let next = before.again(&inner).await;
            unfinished += next.retention.rooms.bodies.unfinished_purges();
            let mut new = None;
            if calls_between {
                // Before it is carried out: nobody makes a token with the old one.
                let token = next.token().await;
                assert_eq!(token != old, is_recorded, "{writes}");
                new = Some(token);
            }
            next.retention.carry_out().await.unwrap();
            let slot = next.tokens_slot().await;
            assert_eq!(slot.is_none(), is_recorded && !calls_between, "{writes}");
            let last = before.again(&inner).await;
            assert_eq!(last.retention.rooms.bodies.unfinished_purges(), 0);
            last.retention.carry_out().await.unwrap();
            let token = last.token().await;
            assert_eq!(token != old, is_recorded, "{writes}");
            assert!(new.is_none_or(|new| new == token), "{writes}: what was made since stays");
            if is_whole {
                break;
            }
        }
        // The keys, the bodies, the key of the tokens, and that it is done.
        assert!(unfinished >= 5, "{unfinished}");
    }
}

#[tokio::test]
async fn whoever_folds_the_purge_makes_no_token_with_the_old_key() {
    for is_carried_out in [false, true] {
        let journal: Arc<dyn Journal> = Arc::new(Memory::shared());
        let one = Scene::on(Arc::clone(&journal)).await;
        let other = one.again(&journal).await;
        let old = one.token().await;
        assert_eq!(other.token().await, old, "it has it at hand");
        let key = one.retention.rooms.bodies.tokens_there("acme").await.unwrap().unwrap();
        let purge = v1::PurgeRecord { tokens: crate::body::digest_bytes(&key), ..v1::PurgeRecord::default() };
        one.retention.write(None, |_| Ok(purge.clone())).await.unwrap();
        if is_carried_out {
            one.retention.carry_out().await.unwrap();
        }
        assert_eq!(other.token().await, old, "it has not heard of it yet");
        other.hears_of(&one).await;
        let new = other.token().await;
        assert_ne!(new, old);
        assert_eq!(one.token().await, new);
        for replica in [&one, &other, &one.again(&journal).await] {
            replica.retention.carry_out().await.unwrap();
            assert_eq!(replica.token().await, new);
        }
    }
}
