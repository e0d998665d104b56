//! One decision, explained: which rules spoke and where they stand, what they read, whether deciding again comes to the
//! same, and which edit of the tool table would have changed it.

use super::facts::{Case, NotAgain};
use super::{History, HistoryError};
use crate::policy::{self, InForce};
use crate::session::{PastError, body_of, parse};
use agentgate_core::decide::{Decision, Facts, Finding, Opinion};
use agentgate_core::digest::Digest;
use agentgate_core::mcp::Method;
use agentgate_core::time::Time;
use agentgate_policies::learn::{Definition, definition};
use agentgate_policies::{Bundle, ENGINE, RuleSet, explain};
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;

/// The newest records that are looked at for what the server said of the tool.
const LOOKED_BACK_MAX: u64 = 1_000;

/// Lists among them that are read.
const LISTS_READ_MAX: usize = 8;

const GATE: &str = "gate.";

pub(super) async fn explain(history: &History, shown: v1::ShowTraceResponse) -> Result<v1::ExplainCallResponse, HistoryError> {
    let trace = shown.trace.unwrap_or_default();
    let Some(record) = shown.decision else { return Ok(of_a_flood(trace)) };
    let digest = Digest::try_from(record.policy_digest.as_ref()).ok();
    let mut answer = v1::ExplainCallResponse {
        policy_in_force: digest.is_some() && history.rooms.control.now().policy.map(|mark| mark.digest) == digest,
        ..v1::ExplainCallResponse::default()
    };
    let bundle = match &digest {
        Some(digest) => history.rooms.policy.once_in_force(digest).await?,
        None => None,
    };
    let once = bundle.map(|bundle| InForce { since: Time::from_micros(trace.at_us), bundle });
    let at = Time::from_micros(trace.at_us);
    let case = Case::of(at, &record, shown.body.as_ref(), &history.limits);
    let deciding = Deciding { record: &record, rule: &trace.rule, reason: &trace.reason };
    let opinion = once.as_ref().zip(case.as_ref().ok()).and_then(|(once, case)| opinion(once, case));
    answer.rules = deciding.rules(once.as_ref().map(|once| &once.bundle), opinion.as_ref());
    if let (Some(once), Ok(case)) = (&once, &case) {
        let read = explain::facts(&once.bundle, &case.facts, &trace.rule);
        let fact = |(path, value): (String, Option<String>)| v1::FactRead { path, value: value.unwrap_or_default() };
        answer.facts = read.into_iter().map(fact).collect();
    }
    match case.and_then(|case| Ok((deciding.again(&case, once.as_ref())?, case))) {
        Ok((Again { differs: None, decision }, case)) => {
            answer.again_same = true;
            edits(history, &mut answer, once.as_ref(), &case, &decision).await?;
        }
        Ok((Again { differs: Some(differs), .. }, _)) => answer.again_differs = differs,
        Err(why) => answer.again_differs = agentgate_core::error::chain(&why),
    }
    if !answer.again_same {
        answer.no_edit = "it cannot be decided again as it was, so that no edit can be tried".into();
    }
    answer.trace = Some(trace);
    Ok(answer)
}

/// Calls that were counted: each was refused for the same reason.
fn of_a_flood(trace: v1::CallTrace) -> v1::ExplainCallResponse {
    let reason = format!("{}; each could not be read", trace.reason);
    v1::ExplainCallResponse {
        rules: vec![v1::RulePlace { rule: trace.rule.clone(), reason, ..v1::RulePlace::default() }],
        no_edit: "the calls could not be read, and no policy was asked: the client has to write them otherwise".into(),
        again_differs: "the calls were counted, and none of them is on record by itself".into(),
        trace: Some(trace),
        ..v1::ExplainCallResponse::default()
    }
}

/// All that the policy said of the call, where it was asked.
fn opinion(once: &InForce, case: &Case) -> Option<Opinion> {
    let is_asked = case.facts.reading.is_ok() && case.facts.kill.is_none() && !case.refused_by_filter;
    is_asked.then(|| policy::opinion(once, &case.facts).ok()).flatten()
}

async fn edits(
    history: &History,
    answer: &mut v1::ExplainCallResponse,
    once: Option<&InForce>,
    case: &Case,
    decision: &Decision,
) -> Result<(), HistoryError> {
    if case.refused_by_filter {
        answer.no_edit = "its filter could not read it and sent nothing on, so that no policy matters".into();
        return Ok(());
    }
    let Some(once) = once else {
        answer.no_edit = "no policy was in force, and none was asked".into();
        return Ok(());
    };
    let definition = newest_definition(history, &case.facts).await?;
    let edits = explain::edits(&once.bundle, &case.facts, decision, definition.as_ref());
    answer.no_edit = edits.none_because.unwrap_or_default();
    answer.edits = edits
        .tried
        .into_iter()
        .map(|edit| v1::TableEdit {
            server: edit.server,
            tool: edit.tool,
            diff: edit.diff,
            verdict: v1::Verdict::from(edit.verdict).into(),
            rule: edit.rule.to_string(),
        })
        .collect();
    Ok(())
}

/// What the server last said of the tool that is called, if that was lately.
async fn newest_definition(history: &History, facts: &Facts) -> Result<Option<Definition>, PastError> {
    let Some(tool) = facts.reading.as_ref().ok().filter(|message| message.method == Method::ToolsCall) else { return Ok(None) };
    let Some(tool) = tool.target.as_deref() else { return Ok(None) };
    let bodies = history.bodies.as_ref();
    let head = bodies.journal().health().head;
    let mut lists = Vec::new();
    let mut cursor = head.saturating_sub(LOOKED_BACK_MAX);
    while cursor < head {
        let limit = u32::try_from(head - cursor).unwrap_or(u32::MAX);
        let page = bodies.journal().follow(cursor, limit).await.map_err(PastError::Read)?;
        let Some(last) = page.last() else { break };
        cursor = last.sequence;
        for record in &page {
            if let (_, What::Outcome(outcome)) = parse(record)?
                && outcome.shown > 0
            {
                lists.push((record.sequence, outcome));
            }
        }
    }
    for (sequence, outcome) in lists.into_iter().rev().take(LISTS_READ_MAX) {
        let found = history.rooms.session.find(&digest(&outcome.call_id)).await?;
        let server = found.and_then(|found| found.body).and_then(|body| body.ask).map(|ask| ask.server);
        if server.as_deref() != Some(facts.server.as_str()) {
            continue;
        }
        let body: Option<v1::OutcomeBody> = body_of(bodies, sequence, outcome.body.as_ref()).await?;
        let said = body.unwrap_or_default().tools;
        if let Some(found) = said.iter().find(|said| super::learn::name(said).as_deref() == Some(tool)) {
            return Ok(definition(found).ok());
        }
    }
    Ok(None)
}

/// Of our own records.
fn digest(bytes: &[u8]) -> Digest {
    Digest::try_from(bytes).unwrap_or_else(|_| Digest::of("agentgate/unreadable/1", bytes))
}

/// What was recorded of the rule that decided.
struct Deciding<'a> {
    record: &'a v1::DecisionRecord,
    rule: &'a str,
    reason: &'a str,
}

/// What deciding again came to.
struct Again {
    decision: Decision,
    /// None: to the same.
    differs: Option<String>,
}

// === impl Deciding ===

impl Deciding<'_> {
    fn again(&self, case: &Case, once: Option<&InForce>) -> Result<Again, NotAgain> {
        let needs_none = case.facts.reading.is_err() || case.facts.kill.is_some() || case.refused_by_filter;
        if once.is_none() && !needs_none {
            return Err(NotAgain::PolicyGone);
        }
        let decision = case.settle(once)?;
        let verdict = v1::Verdict::from(decision.verdict);
        if verdict == self.record.verdict() && decision.rule.as_str() == self.rule {
            return Ok(Again { decision, differs: None });
        }
        let mut differs = format!("it comes to {} by `{}`", spoken(verdict), decision.rule);
        if self.record.engine != ENGINE {
            differs += &format!("; it was decided by the engine `{}`, and this release has `{ENGINE}`", self.record.engine);
        }
        Ok(Again { decision, differs: Some(differs) })
    }

    /// The rule that decided first, then the others that spoke.
    fn rules(&self, bundle: Option<&Bundle>, opinion: Option<&Opinion>) -> Vec<v1::RulePlace> {
        if self.rule.is_empty() {
            return Vec::new();
        }
        let own = self.set();
        let mut rules = match own {
            Some(set) => places(bundle, set, self.rule, self.reason),
            None => vec![of_the_gate(self.rule, self.reason)],
        };
        for (set, findings) in opinion.into_iter().flat_map(sets) {
            let others = findings.iter().filter(|finding| own != Some(set) || finding.rule.as_str() != self.rule);
            for other in others.filter(|other| other.rule.as_str() != self.rule || !self.rule.starts_with(GATE)) {
                rules.extend(places(bundle, set, other.rule.as_str(), &other.reason));
            }
        }
        rules
    }

    /// The set that decided. None: the gate itself did.
    fn set(&self) -> Option<RuleSet> {
        if self.rule.starts_with(GATE) {
            return None;
        }
        match self.record.verdict() {
            v1::Verdict::Pending => Some(RuleSet::RequireApproval),
            v1::Verdict::Allow if self.record.approval_use() == v1::ApprovalUse::Used => Some(RuleSet::RequireApproval),
            v1::Verdict::Allow => Some(RuleSet::Allow),
            v1::Verdict::Deny | v1::Verdict::Unspecified => Some(RuleSet::Deny),
        }
    }
}

fn sets(opinion: &Opinion) -> [(RuleSet, &[Finding]); 3] {
    RuleSet::ALL.map(|set| match set {
        RuleSet::Deny => (set, opinion.deny.as_slice()),
        RuleSet::RequireApproval => (set, opinion.require_approval.as_slice()),
        RuleSet::Allow => (set, opinion.allow.as_slice()),
    })
}

/// Where the rules of this name in this set stand; one without a place where its name is computed.
fn places(bundle: Option<&Bundle>, set: RuleSet, rule: &str, reason: &str) -> Vec<v1::RulePlace> {
    if rule.starts_with(GATE) {
        return vec![of_the_gate(rule, reason)];
    }
    let named = |file: String, line, text| v1::RulePlace {
        rule: rule.into(),
        set: set.name().into(),
        file,
        line,
        text,
        reason: reason.into(),
    };
    let places = bundle.map(|bundle| bundle.places(rule)).unwrap_or_default();
    let places: Vec<_> = places.into_iter().filter(|place| place.set == set).collect();
    if places.is_empty() {
        return vec![named(String::new(), 0, String::new())];
    }
    places.into_iter().map(|place| named(place.file, place.line, place.text)).collect()
}

fn of_the_gate(rule: &str, reason: &str) -> v1::RulePlace {
    let name = rule.strip_prefix(GATE).unwrap_or(rule);
    let why = match name {
        "killed" => "an operator ordered it, and a kill stands above every policy; `agentgate resume` ends it",
        "unmatched" => "what no rule allows is refused; give the tool a row in the table, or write a rule",
        "policy_failed" => "a policy that fails on a call refuses it; correct the rule that is named",
        "refused_by_filter" => "what a filter cannot read does not go on, whoever else can read it",
        "argument_lookalike" | "argument_unknown" | "argument_type" => {
            "a rule looks at the arguments of this tool, and a server might read these otherwise than the rule does"
        }
        _ => "what cannot be read in one way only is refused before any policy is asked",
    };
    let reason = if reason.is_empty() { why.to_owned() } else { format!("{reason}: {why}") };
    v1::RulePlace { rule: rule.into(), reason, ..v1::RulePlace::default() }
}

fn spoken(verdict: v1::Verdict) -> &'static str {
    match verdict {
        v1::Verdict::Allow => "allow",
        v1::Verdict::Pending => "pending",
        v1::Verdict::Deny => "deny",
        v1::Verdict::Unspecified => "no verdict",
    }
}
