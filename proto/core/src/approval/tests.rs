//! The life of an approval, as tables.

extern crate std;
use super::{Approval, Denied, Event, Grant, Order, Refusal, Request, State, Use};
use crate::digest::Digest;
use crate::id::{SpiffeId, Tenant};
use crate::principal::Principal;
use crate::time::Time;

const PENDING_UNTIL: Time = Time::from_micros(900);
const USABLE_US: u64 = 300;

fn spiffe(name: &str) -> SpiffeId {
    SpiffeId::try_from(std::format!("spiffe://a/{name}").as_str()).unwrap()
}

fn digest(name: &str) -> Digest {
    Digest::of("test", name.as_bytes())
}

fn approval(steps: u32) -> Approval {
    Approval::new(Request {
        id: digest("id"),
        tenant: Tenant::try_from("acme").unwrap(),
        requester: Principal::try_from("spiffe://a/agent+user:u@i").unwrap(),
        asker: spiffe("filter"),
        call: digest("call"),
        shown: digest("shown"),
        expires_at: PENDING_UNTIL,
        steps,
    })
}

fn order(by: &str, grant: bool) -> Order {
    Order { by: spiffe(by), grant, seen: digest("shown") }
}

/// Follows the order, and says where that leads.
fn follow(approval: &mut Approval, order: &Order, at_us: u64) -> Result<State, Refusal> {
    let at = Time::from_micros(at_us);
    let event = approval.decide(order, at, USABLE_US)?;
    approval.apply(&event);
    Ok(approval.state(at))
}

fn granted(until: u64) -> State {
    State::Granted { expires_at: Time::from_micros(until) }
}

#[test]
fn an_approver_grants_or_denies_what_is_pending() {
    for (by, grant, at_us, wanted) in [
        ("boss", true, 0, Ok(granted(300))),
        ("boss", true, 899, Ok(granted(1_199))),
        ("boss", true, 900, Err(Refusal::Over("lapsed"))),
        ("boss", false, 0, Ok(State::Denied)),
        ("boss", false, 900, Err(Refusal::Over("lapsed"))),
        ("agent", true, 0, Err(Refusal::Requester(spiffe("agent")))),
        ("filter", true, 0, Err(Refusal::Requester(spiffe("filter")))),
        // Who asked may take it back.
        ("agent", false, 0, Ok(State::Denied)),
    ] {
        assert_eq!(follow(&mut approval(1), &order(by, grant), at_us), wanted, "{by} {grant} {at_us}");
    }
}

#[test]
fn nobody_decides_about_what_they_were_not_shown() {
    for grant in [true, false] {
        let other = Order { seen: digest("another"), ..order("boss", grant) };
        assert_eq!(follow(&mut approval(1), &other, 0), Err(Refusal::NotSeen));
    }
}

#[test]
fn what_is_decided_is_not_decided_again() {
    for (event, over) in [
        (Event::Granted { by: spiffe("boss"), expires_at: Some(Time::from_micros(300)) }, "granted"),
        (Event::Denied { by: spiffe("boss") }, "denied"),
        (Event::Spent(Use::Used), "used"),
        (Event::Spent(Use::Voided), "voided"),
    ] {
        for grant in [true, false] {
            let mut approval = approval(1);
            approval.apply(&event);
            assert_eq!(follow(&mut approval, &order("other", grant), 1), Err(Refusal::Over(over)));
        }
    }
}

#[test]
fn a_grant_is_for_one_call_and_for_a_time() {
    let mut approval = approval(1);
    assert_eq!(approval.grant(Time::from_micros(10)), None, "pending");
    assert_eq!(follow(&mut approval, &order("boss", true), 10), Ok(granted(310)));
    let grant = Grant { approval: digest("id"), call: digest("call"), expires_at: Time::from_micros(310) };
    assert_eq!(approval.grant(Time::from_micros(309)), Some(grant.clone()));
    assert_eq!(approval.grant(Time::from_micros(310)), None);
    assert_eq!(approval.state(Time::from_micros(310)), State::Lapsed);
    for (call, at_us, covers) in [("call", 309, true), ("call", 310, false), ("another", 309, false)] {
        assert_eq!(grant.covers(&digest(call), Time::from_micros(at_us)), covers, "{call} {at_us}");
    }
    approval.apply(&Event::Spent(Use::Used));
    assert_eq!((approval.grant(Time::from_micros(11)), approval.state(Time::from_micros(11))), (None, State::Used));
}

#[test]
fn a_denial_stands_as_long_as_the_call_would_have_waited() {
    let mut approval = approval(1);
    assert_eq!(approval.denied_until(Time::from_micros(0)), None, "pending");
    assert_eq!(follow(&mut approval, &order("boss", false), 1), Ok(State::Denied));
    for (at_us, until) in [(1, Some(PENDING_UNTIL)), (899, Some(PENDING_UNTIL)), (900, None)] {
        assert_eq!(approval.denied_until(Time::from_micros(at_us)), until, "{at_us}");
    }
    let denied = Denied { approval: digest("id"), call: digest("call"), until: PENDING_UNTIL, reason: "no".into() };
    for (call, at_us, covers) in [("call", 899, true), ("call", 900, false), ("another", 0, false)] {
        assert_eq!(denied.covers(&digest(call), Time::from_micros(at_us)), covers, "{call} {at_us}");
    }
}

#[test]
fn several_steps_take_several_people() {
    let mut approval = approval(3);
    assert_eq!(follow(&mut approval, &order("one", true), 0), Ok(State::Pending));
    assert_eq!(follow(&mut approval, &order("one", true), 1), Err(Refusal::SameApprover(spiffe("one"))));
    assert_eq!(follow(&mut approval, &order("two", true), 2), Ok(State::Pending));
    assert_eq!(approval.grant(Time::from_micros(3)), None, "not whole yet");
    assert_eq!(follow(&mut approval, &order("three", true), 4), Ok(granted(304)));
    assert_eq!(approval.granted_by(), [spiffe("one"), spiffe("two"), spiffe("three")]);
}
