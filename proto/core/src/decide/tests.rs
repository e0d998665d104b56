//! The law as a table.

extern crate std;
use super::*;
use crate::mcp::{Kind, Method, RequestId, Version};
use std::string::ToString;

fn facts(reading: Result<Message, Malformed>) -> Facts {
    Facts {
        at: Time::from_micros(1),
        tenant: Tenant::try_from("default").unwrap(),
        principal: Principal::try_from("spiffe://a/agent/x").unwrap(),
        asker: Asker::try_from("spiffe://a/filter/x").unwrap(),
        server: Server::try_from("notes").unwrap(),
        reading,
    }
}

fn call() -> Message {
    Message {
        version: Version::V2025_11_25,
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
