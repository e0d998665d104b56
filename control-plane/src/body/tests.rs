//! Bodies as stories, on the memory journal.

use super::*;
use crate::journal::{Change, Memory, Stream, body_address};
use agentgate_proto::v1::FloodBody;
use std::sync::atomic::{AtomicU64, Ordering};

/// Never the same twice, and no more than that.
pub(crate) fn counting() -> Result<[u8; KEY_BYTES], String> {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    Ok(*Digest::of("test/key", &COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes()).as_bytes())
}

impl Bodies {
    /// Over a journal of a test.
    pub(crate) async fn over(journal: Arc<dyn Journal>) -> Arc<Self> {
        Arc::new(Self::open(journal, DataKey::new(&[1; KEY_BYTES]), counting).await.unwrap())
    }
}

const DAY_US: u64 = SESSION_KEY_US;

fn calls(principal: &str, handle: &str) -> Scope {
    let (tenant, principal) = (Tenant::try_from("t").unwrap(), Principal::try_from(principal).unwrap());
    Scope::Calls { tenant, principal, handle: handle.into() }
}

fn at(us: u64) -> Time {
    Time::from_micros(us)
}

fn body(text: &str) -> FloodBody {
    FloodBody { tenant: text.into(), principal: "p".into() }
}

async fn keep(bodies: &Bodies, sealed: &Sealed) {
    let change = Change { fence: None, writes: Vec::new(), bodies: vec![sealed.stored.clone()] };
    bodies.journal().append(change).await.unwrap();
}

#[tokio::test]
async fn a_changed_body_is_not_opened() {
    let bodies = Bodies::over(Arc::new(Memory::new())).await;
    let seal = bodies.seal(&calls("spiffe://a/p", ""), at(0)).await.unwrap();
    let (sealed, again) = (seal.seal(&body("x")).unwrap(), seal.seal(&body("x")).unwrap());
    let opened = seal.open::<FloodBody>(&sealed.stored, &sealed.reference).unwrap();
    assert_eq!(opened.body, body("x"));
    assert!(opened.salt.committed(&sealed.commit(b"beside"), b"beside"));
    assert!(!opened.salt.committed(&sealed.commit(b"beside"), b"besides"));
    for at in 0..sealed.stored.len() {
        let mut changed = sealed.stored.to_vec();
        changed[at] ^= 1;
        let told = seal.open::<FloodBody>(&changed.into(), &sealed.reference);
        assert_eq!(told.unwrap_err(), BodyError::Changed, "byte {at}");
    }
    assert_eq!(seal.open::<FloodBody>(&sealed.stored.slice(..11), &sealed.reference).unwrap_err(), BodyError::Short);
    // The same words leave other traces each time.
    assert_ne!(sealed.reference.commitment, again.reference.commitment);
    assert_ne!(sealed.reference.address, again.reference.address);
    assert_ne!(sealed.commit(b"beside"), again.commit(b"beside"));
    assert_eq!(seal.open::<FloodBody>(&sealed.stored, &again.reference).unwrap_err(), BodyError::Changed);
    assert_eq!(sealed.stored.len(), prost::Message::encoded_len(&body("x")) + SEALED_BYTES);
}

#[tokio::test]
async fn an_erased_session_opens_nowhere_and_the_others_do() {
    let memory = Arc::new(Memory::new());
    let bodies = Bodies::over(Arc::clone(&memory) as Arc<dyn Journal>).await;
    let mut references = Vec::new();
    for handle in ["one", "two", ""] {
        let seal = bodies.seal(&calls("spiffe://a/p", handle), at(0)).await.unwrap();
        let sealed = seal.seal(&body(handle)).unwrap();
        keep(&bodies, &sealed).await;
        references.push(sealed.reference);
    }
    let replica = Bodies::over(memory).await;
    let session = SessionId::of(&references[0]).unwrap();
    assert!(bodies.erase(session).await.unwrap());
    assert!(!bodies.erase(session).await.unwrap());
    for other in [&bodies, &replica] {
        let opened = async |at: usize| other.fetch::<FloodBody>(Some(&references[at])).await.unwrap();
        assert_eq!(opened(0).await, None);
        assert_eq!(opened(1).await, Some(body("two")));
        assert_eq!(opened(2).await, Some(body("")));
    }
    assert!(bodies.seal_by(session).await.unwrap().is_none());
    // The session goes on under another key.
    let seal = bodies.seal(&calls("spiffe://a/p", "one"), at(1)).await.unwrap();
    assert_ne!(seal.session(), session);
}

#[tokio::test]
async fn a_session_has_one_key_a_day() {
    let bodies = Bodies::over(Arc::new(Memory::new())).await;
    let session = async |scope: &Scope, us: u64| bodies.seal(scope, at(us)).await.unwrap().session();
    let (one, other) = (calls("spiffe://a/p", "one"), calls("spiffe://a/q", "one"));
    let first = session(&one, 5).await;
    assert_eq!(session(&one, 4 + DAY_US).await, first);
    let second = session(&one, 5 + DAY_US).await;
    assert_ne!(second, first);
    assert_eq!(session(&one, 6 + DAY_US).await, second);
    assert_ne!(session(&other, 6).await, first);
    assert_ne!(session(&Scope::Orders, 6).await, first);
}

#[tokio::test]
async fn a_key_that_was_not_made_takes_no_handle_of_its_subject() {
    let memory = Arc::new(Memory::new());
    let bodies = Bodies::over(Arc::clone(&memory) as Arc<dyn Journal>).await;
    let seal = async |handle: &str| bodies.seal(&calls("spiffe://a/p", handle), at(0)).await;
    memory.refuse(Some("full"));
    for _ in 0..=HANDLES_PER_SUBJECT_MAX {
        assert!(matches!(seal("one").await, Err(KeyError::Keep(_))));
    }
    memory.refuse(None);
    assert_ne!(seal("one").await.unwrap().session(), seal("").await.unwrap().session());
}

#[tokio::test]
async fn a_subject_that_makes_handles_up_runs_out_of_keys_of_their_own() {
    let bodies = Bodies::over(Arc::new(Memory::new())).await;
    let session = async |handle: &str, us: u64| bodies.seal(&calls("spiffe://a/p", handle), at(us)).await.unwrap().session();
    let mut seen = std::collections::HashSet::new();
    for number in 0..HANDLES_PER_SUBJECT_MAX {
        seen.insert(session(&format!("{number}"), 0).await);
    }
    assert_eq!(seen.len(), HANDLES_PER_SUBJECT_MAX);
    let shared = session("one too many", 0).await;
    assert!(seen.insert(shared));
    assert_eq!(session("another", 1).await, shared);
    assert_eq!(session("", 1).await, shared);
    assert!(!seen.insert(session("7", 1).await), "whoever has a key keeps it");
    assert!(seen.insert(session("the next day", DAY_US).await));
}

#[tokio::test]
async fn a_subjects_stream_is_the_same_for_everybody_and_says_nothing() {
    let memory = Arc::new(Memory::new());
    let (one, two) = tokio::join!(
        Bodies::over(Arc::clone(&memory) as Arc<dyn Journal>),
        Bodies::over(Arc::clone(&memory) as Arc<dyn Journal>)
    );
    let stream = async |bodies: &Bodies, tenant: &str, principal: &str| {
        bodies.stream(&tenant.try_into().unwrap(), &principal.try_into().unwrap()).await.unwrap()
    };
    let first = stream(&one, "t", "spiffe://a/p").await;
    assert_eq!(stream(&two, "t", "spiffe://a/p").await, first);
    assert_ne!(stream(&two, "t", "spiffe://a/q").await, first);
    assert_ne!(stream(&two, "u", "spiffe://a/p").await, first);
    // Another journal gives the same names other streams.
    let other = Bodies::over(Arc::new(Memory::new())).await;
    assert_ne!(stream(&other, "t", "spiffe://a/p").await, first);
}

#[tokio::test]
async fn another_data_key_takes_over_while_everything_can_be_read() {
    let memory = Arc::new(Memory::new());
    let journal = || Arc::clone(&memory) as Arc<dyn Journal>;
    let (old, new) = ([1; KEY_BYTES], [2; KEY_BYTES]);
    let bodies = Bodies::over(journal()).await;
    let sealed = bodies.seal(&calls("spiffe://a/p", ""), at(0)).await.unwrap().seal(&body("x")).unwrap();
    keep(&bodies, &sealed).await;
    let beside = Digest::of("test", b"a checkpoint");
    memory.set(beside, None, Some(Bytes::from_static(b"agentgate.local\n7\n"))).await.unwrap();

    let opens = async |data_key: DataKey| {
        let bodies = Bodies::open(journal(), data_key, counting).await?;
        Ok::<_, KeyError>(bodies.fetch::<FloodBody>(Some(&sealed.reference)).await.unwrap())
    };
    assert!(matches!(opens(DataKey::new(&new)).await, Err(KeyError::Unwrap(UnwrapError::Key(_)))));
    let both = Bodies::open(journal(), DataKey::new(&new).after(&old), counting).await.unwrap();
    assert_eq!(both.fetch(Some(&sealed.reference)).await.unwrap(), Some(body("x")));
    assert_eq!(both.rewrap().await.unwrap(), 2, "the naming key and the session's");
    assert_eq!(both.rewrap().await.unwrap(), 0);
    assert_eq!(opens(DataKey::new(&new)).await.unwrap(), Some(body("x")));
    assert!(matches!(opens(DataKey::new(&old)).await, Err(KeyError::Unwrap(UnwrapError::Key(_)))));
    assert_eq!(memory.slot(beside).await.unwrap().unwrap().as_ref(), b"agentgate.local\n7\n");
}

#[tokio::test]
async fn a_start_without_the_earlier_data_key_is_refused_wherever_its_replacement_was_cut() {
    let (old, new, lost) = ([1; KEY_BYTES], [2; KEY_BYTES], [3; KEY_BYTES]);
    for first_byte in [0, 0x80, 0xff] {
        let memory = Arc::new(Memory::new());
        let journal = || Arc::clone(&memory) as Arc<dyn Journal>;
        let bodies = Bodies::over(journal()).await;
        bodies.seal(&calls("spiffe://a/p", ""), at(0)).await.unwrap();
        // It ends there: nobody has what this one is wrapped under.
        let cut = Digest::from_bytes([first_byte; KEY_BYTES]);
        let wrapped = DataKey::new(&lost).wrap(&cut, b"a key", [0; NONCE_BYTES]).unwrap();
        memory.set(cut, None, Some(wrapped.clone())).await.unwrap();
        let both = Bodies::open(journal(), DataKey::new(&new).after(&old), counting).await.unwrap();
        assert!(matches!(both.rewrap().await, Err(KeyError::Unwrap(UnwrapError::Key(_)))), "{first_byte}");
        let alone = Bodies::open(journal(), DataKey::new(&new), counting).await;
        assert!(matches!(alone, Err(KeyError::Unwrap(UnwrapError::Key(_)))), "{first_byte}: {alone:?}");
        memory.set(cut, Some(wrapped), None).await.unwrap();
        both.rewrap().await.unwrap();
        Bodies::open(journal(), DataKey::new(&new), counting).await.unwrap();
    }
}

#[tokio::test]
async fn a_secret_in_another_slot_is_none() {
    let memory = Arc::new(Memory::new());
    let bodies = Bodies::over(Arc::clone(&memory) as Arc<dyn Journal>).await;
    let one = bodies.seal(&calls("spiffe://a/p", "1"), at(0)).await.unwrap();
    let two = bodies.seal(&calls("spiffe://a/p", "2"), at(0)).await.unwrap();
    let sealed = two.seal(&body("x")).unwrap();
    keep(&bodies, &sealed).await;
    let [of_one, of_two] = [one, two].map(|seal| slot_of(seal.session()));
    let (kept, other) = (memory.slot(of_one).await.unwrap(), memory.slot(of_two).await.unwrap());
    memory.set(of_two, other, kept).await.unwrap();
    let replica = Bodies::over(memory).await;
    let told = replica.fetch::<FloodBody>(Some(&sealed.reference)).await;
    assert!(matches!(told, Err(FetchError::Key(KeyError::Unwrap(UnwrapError::Changed)))), "{told:?}");
    assert_eq!(body_address(&sealed.stored).as_bytes(), sealed.reference.address.as_ref());
}

#[tokio::test]
async fn what_a_purge_names_is_erased_before_its_keys_are_and_nothing_brings_it_back() {
    let memory = Arc::new(Memory::new());
    let journal = || Arc::clone(&memory) as Arc<dyn Journal>;
    let bodies = Bodies::over(journal()).await;
    let scope = calls("spiffe://a/p", "one");
    let sealed = bodies.seal(&scope, at(0)).await.unwrap().seal(&body("x")).unwrap();
    let other = bodies.seal(&calls("spiffe://a/p", "two"), at(0)).await.unwrap().seal(&body("y")).unwrap();
    keep(&bodies, &sealed).await;
    keep(&bodies, &other).await;
    let session = SessionId::of(&sealed.reference).unwrap();
    let (stream, key) = (Stream(Digest::from_bytes([8; KEY_BYTES])), Digest::from_bytes([9; KEY_BYTES]));
    let purge = v1::PurgeRecord {
        sessions: vec![sealed.reference.session.clone()],
        streams: vec![v1::PurgedStream { stream: digest_bytes(&stream.0), version: 1 }],
        tokens: digest_bytes(&key),
        ..v1::PurgeRecord::default()
    };
    let known = |bodies: &Bodies| {
        let named = bodies.named();
        (bodies.unfinished_sessions().len(), usize::from(named.takes(&key)), usize::from(named.left(stream).is_some()))
    };
    let names = |kept: Vec<Kept>| kept.into_iter().map(|kept| kept.whose.handle).collect::<Vec<_>>();
    let opens = async |bodies: &Bodies, sealed: &Sealed| bodies.fetch::<FloodBody>(Some(&sealed.reference)).await.unwrap();
    bodies.purged(7, &purge);
    assert_eq!(known(&bodies), (1, 1, 1));
    assert!(memory.slot(slot_of(session)).await.unwrap().is_some(), "its key is there still");
    assert_eq!((opens(&bodies, &sealed).await, opens(&bodies, &other).await), (None, Some(body("y"))));
    assert_eq!((bodies.whose(session).await.unwrap(), names(bodies.kept(None).await.unwrap().0)), (None, vec!["two".into()]));
    let next = bodies.seal(&scope, at(1)).await.unwrap();
    assert_ne!(next.session(), session, "the session goes on under another key");
    // Another process knows of it when it folds the record, as long as it is not carried out.
    let replica = Bodies::over(journal()).await;
    assert_eq!(opens(&replica, &sealed).await, Some(body("x")));
    replica.purged(7, &purge);
    assert_eq!(opens(&replica, &sealed).await, None);
    assert_eq!(bodies.erase_purged(&[session]).await.unwrap(), 1);
    assert_eq!(replica.erase_purged(&[session]).await.unwrap(), 0);
    assert!(!replica.is_finished(7).await.unwrap());
    bodies.finished(7).await.unwrap();
    assert!(replica.is_finished(7).await.unwrap() && !replica.is_finished(8).await.unwrap());
    replica.finished(7).await.unwrap();
    for bodies in [&bodies, &replica, &Bodies::over(journal()).await] {
        bodies.purged(7, &purge);
        assert_eq!((bodies.unfinished(), bodies.unfinished_purges()), (None, 0), "it is done once");
        assert_eq!(known(bodies), (0, 0, 0), "nothing of it is kept in mind");
        assert_eq!(opens(bodies, &sealed).await, None);
    }
    bodies.finished(3).await.unwrap();
    assert!(bodies.is_finished(7).await.unwrap(), "never back");
}
