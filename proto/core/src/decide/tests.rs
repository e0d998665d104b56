//! The law as a table.

extern crate std;
use super::*;
use crate::mcp::{Kind, Method, Protocol, RequestId, Version};
use std::string::ToString;

fn facts(reading: Result<Message, Malformed>) -> Facts {
    Facts {
        at: Time::from_micros(1),
        tenant: Tenant::try_from("default").unwrap(),
        principal: Principal::try_from("spiffe://a/agent/x").unwrap(),
        asker: Asker::try_from("spiffe://a/filter/x").unwrap(),
        server: Server::try_from("notes").unwrap(),
        endpoint: Endpoint::default(),
        reading,
        kill: None,
        grant: None,
        denied: None,
    }
}

fn call() -> Message {
    Message {
        protocol: Protocol::Mcp(Version::V2025_11_25),
        kind: Kind::Request(RequestId::Number("1".to_string())),
        method: Method::ToolsCall,
        target: Some("add".to_string()),
        params: None,
        handle: None,
    }
}

/// Findings of the rules named in `rules`, one word each.
fn findings(rules: &str) -> Vec<Finding> {
    let finding = |rule| Finding {
        rule: RuleName::try_from(rule).unwrap(),
        reason: alloc::format!("because of {rule}"),
        scope: Some(Scope::Read),
    };
    rules.split_whitespace().map(finding).collect()
}

const ALLOW: Verdict = Verdict::Allow(Allow(()));

#[test]
fn any_deny_refuses_then_any_approval_pends_then_any_allow_allows() {
    for (deny, require_approval, allow, verdict, rule) in [
        ("", "", "", Verdict::Deny(Denial::Unmatched), "gate.unmatched"),
        ("", "", "a", ALLOW, "a"),
        ("", "p", "", Verdict::Pending, "p"),
        ("", "p", "a", Verdict::Pending, "p"),
        ("d", "", "", Verdict::Deny(Denial::Policy), "d"),
        ("d", "", "a", Verdict::Deny(Denial::Policy), "d"),
        ("d", "p", "", Verdict::Deny(Denial::Policy), "d"),
        ("d", "p", "a", Verdict::Deny(Denial::Policy), "d"),
    ] {
        let opinion = Opinion { deny: findings(deny), require_approval: findings(require_approval), allow: findings(allow) };
        let decision = settle(&facts(Ok(call())), Ok(&opinion));
        assert_eq!((decision.verdict, decision.rule.as_str()), (verdict, rule), "{opinion:?}");
    }
}

#[test]
fn the_least_finding_speaks_whatever_order_the_rules_ran_in() {
    for order in ["b c a", "c b a", "a b c"] {
        for opinion in [
            Opinion { deny: findings(order), ..Opinion::default() },
            Opinion { require_approval: findings(order), ..Opinion::default() },
            Opinion { allow: findings(order), ..Opinion::default() },
        ] {
            let decision = settle(&facts(Ok(call())), Ok(&opinion));
            assert_eq!((decision.rule.as_str(), decision.reason.as_str()), ("a", "because of a"), "{order}");
            assert_eq!(decision.scope, Some(Scope::Read));
        }
    }
}

#[test]
fn a_call_that_cannot_be_read_is_refused_whatever_a_policy_says() {
    let opinion = Opinion { allow: findings("a"), ..Opinion::default() };
    for malformed in Malformed::all() {
        for opinion in [Ok(&opinion), Err(&EvaluationError::Instructions)] {
            let decision = settle(&facts(Err(malformed)), opinion);
            assert_eq!(decision.verdict, Verdict::Deny(Denial::Malformed));
            assert_eq!(decision.rule.as_str(), alloc::format!("gate.{}", malformed.reason()));
            assert_eq!(decision.reason, malformed.to_string());
        }
    }
}

#[test]
fn an_error_of_the_policy_is_a_refusal() {
    for error in [EvaluationError::Instructions, EvaluationError::Failed("no".to_string())] {
        let decision = settle(&facts(Ok(call())), Err(&error));
        assert_eq!(decision.verdict, Verdict::Deny(Denial::PolicyFailed));
        assert_eq!((decision.rule.as_str(), decision.reason), ("gate.policy_failed", error.to_string()));
    }
}

#[test]
fn every_denial_has_its_own_name() {
    let names = [Denial::Malformed, Denial::Policy, Denial::Unmatched, Denial::PolicyFailed].map(Denial::name);
    let distinct: std::collections::BTreeSet<_> = names.into_iter().collect();
    assert_eq!(distinct.len(), names.len());
}

/// One finding a set, as the letters say: `d`eny, re`q`uire approval, `a`llow.
fn opinion(sets: &str) -> Opinion {
    let of = |letter: char| if sets.contains(letter) { findings("rule") } else { Vec::new() };
    Opinion { deny: of('d'), require_approval: of('q'), allow: of('a') }
}

#[test]
fn a_kill_stands_above_every_policy_and_every_grant() {
    let kill = Kill { target: crate::kill::KillTarget::Everything, reason: "an incident".into() };
    for sets in ["", "a", "q", "qa", "d"] {
        let facts = Facts { kill: Some(kill.clone()), grant: Some(grant_for(&facts(Ok(call())), 2)), ..facts(Ok(call())) };
        let decision = settle(&facts, Ok(&opinion(sets)));
        assert_eq!((decision.verdict, decision.rule.as_str()), (Verdict::Deny(Denial::Killed), "gate.killed"), "{sets}");
        assert_eq!((decision.reason.as_str(), decision.approval), ("everything is stopped: an incident", None));
    }
    let unreadable = Facts { kill: Some(kill), ..facts(Err(Malformed::Batch)) };
    assert_eq!(settle(&unreadable, Ok(&opinion("a"))).verdict, Verdict::Deny(Denial::Malformed), "unread is unread");
}

fn grant_for(facts: &Facts, expires_at_us: u64) -> Grant {
    let message = facts.reading.as_ref().unwrap();
    Grant {
        approval: Digest::of("test", b"approval"),
        call: call_digest(&facts.called(message)),
        expires_at: Time::from_micros(expires_at_us),
    }
}

#[test]
fn a_grant_lets_through_what_waits_for_it_and_nothing_else() {
    let asked = facts(Ok(call()));
    let live = grant_for(&asked, 2);
    let late = grant_for(&asked, 1);
    let of_another = Grant { call: Digest::of("test", b"another call"), ..live.clone() };
    for (sets, grant, verdict, spent) in [
        ("q", &live, ALLOW, true),
        ("qa", &live, ALLOW, true),
        ("q", &late, Verdict::Pending, false),
        ("q", &of_another, Verdict::Pending, false),
        ("dq", &live, Verdict::Deny(Denial::Policy), false),
        ("", &live, Verdict::Deny(Denial::Unmatched), false),
        ("a", &live, ALLOW, false),
    ] {
        let facts = Facts { grant: Some(grant.clone()), ..asked.clone() };
        let decision = settle(&facts, Ok(&opinion(sets)));
        assert_eq!((decision.verdict, decision.approval), (verdict, spent.then_some(live.approval)), "{sets} {grant:?}");
    }
}

#[test]
fn an_approvers_no_stands_against_the_very_call_that_was_denied() {
    let asked = facts(Ok(call()));
    let grant = grant_for(&asked, 9);
    let denied = |call: Digest, until: u64| Denied {
        approval: grant.approval,
        call,
        until: Time::from_micros(until),
        reason: "not on a friday".to_string(),
    };
    let of_another = Digest::of("test", b"another call");
    for (sets, denied, verdict, rule) in [
        ("q", denied(grant.call, 2), Verdict::Deny(Denial::Approver), "gate.approval_denied"),
        ("q", denied(grant.call, 1), Verdict::Pending, "rule"),
        ("q", denied(of_another, 2), Verdict::Pending, "rule"),
        ("a", denied(grant.call, 2), ALLOW, "rule"),
        ("d", denied(grant.call, 2), Verdict::Deny(Denial::Policy), "rule"),
    ] {
        let facts = Facts { denied: Some(denied.clone()), ..asked.clone() };
        let decision = settle(&facts, Ok(&opinion(sets)));
        assert_eq!((decision.verdict, decision.rule.as_str()), (verdict, rule), "{sets} {denied:?}");
        assert_eq!(decision.reason.contains("not on a friday"), verdict == Verdict::Deny(Denial::Approver));
    }
}
