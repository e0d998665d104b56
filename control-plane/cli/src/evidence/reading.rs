//! What a person reads in a pack: calls in order, what became of them, which rules decided, what was written and who agreed,
//! and what is out of the ordinary. It follows from the pack alone, so that a verifier comes to the same.

use super::pack::{Body, Pack, Packed};
use crate::text::hex;
use agentgate_core::digest::Digest;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// So many calls of one subject within so long are rapid fire.
pub(super) const RAPID_CALLS: usize = 20;
pub(super) const RAPID_US: u64 = 10_000_000;

/// A tool that a subject called once, of so many calls or more, is unusual for it.
pub(super) const USUAL_CALLS: usize = 20;

/// One line of the timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub sequence: u64,
    pub at: String,
    pub(super) at_us: u64,
    /// decision, outcome, approval, policy, flood, kill, mode or unknown
    pub kind: &'static str,
    pub principal: String,
    pub server: String,
    pub target: String,
    /// allow, pending or deny of a decision; of others what happened.
    pub said: String,
    pub rule: String,
    pub reason: String,
    pub scope: String,
    pub approval: String,
    pub voided: bool,
    pub erased: bool,
    /// What it was about is in a body that only the control plane opens.
    pub sealed: bool,
}

/// A rule and how often it decided what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleCount {
    pub rule: String,
    pub allow: usize,
    pub pending: usize,
    pub deny: usize,
}

/// A call that writes, and who agreed to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub sequence: u64,
    pub at: String,
    pub principal: String,
    pub tool: String,
    pub approval: String,
    pub agreed: Vec<String>,
    pub outcome: String,
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    pub kind: &'static str,
    pub said: String,
    pub sequences: Vec<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub lines: Vec<Line>,
    pub rules: Vec<RuleCount>,
    pub writes: Vec<Written>,
    pub anomalies: Vec<Anomaly>,
    pub allow: usize,
    pub pending: usize,
    pub deny: usize,
    pub erased: usize,
    pub sealed: usize,
}

// === impl Reading ===

impl Reading {
    #[must_use]
    pub fn of(pack: &Pack) -> Self {
        let lines: Vec<Line> = pack.records.iter().map(Line::of).collect();
        let mut rules: BTreeMap<String, RuleCount> = BTreeMap::new();
        let count = |is: fn(&Line) -> bool| lines.iter().filter(|line| is(line)).count();
        let mut reading = Self { erased: count(|line| line.erased), sealed: count(|line| line.sealed), ..Self::default() };
        for line in lines.iter().filter(|line| line.kind == "decision") {
            let rule = rules.entry(line.rule.clone()).or_default();
            let counts = match line.said.as_str() {
                "allow" => (&mut reading.allow, &mut rule.allow),
                "pending" => (&mut reading.pending, &mut rule.pending),
                _ => (&mut reading.deny, &mut rule.deny),
            };
            *counts.0 += 1;
            *counts.1 += 1;
        }
        reading.rules = rules.into_iter().map(|(rule, counts)| RuleCount { rule, ..counts }).collect();
        reading.writes = writes(pack, &lines);
        reading.anomalies = anomalies(&lines);
        reading.lines = lines;
        reading
    }

    #[must_use]
    pub fn calls(&self) -> usize {
        self.allow + self.pending + self.deny
    }

    #[must_use]
    pub fn to_json(&self) -> Value {
        // Where nothing is sealed nothing is said of it, so that an earlier program comes to the same reading.
        let sealed = |mut value: Value, sealed: Option<Value>| {
            if let (Some(object), Some(sealed)) = (value.as_object_mut(), sealed) {
                object.insert("sealed".into(), sealed);
            }
            value
        };
        let line = |line: &Line| {
            let said = json!({
                "sequence": line.sequence, "at": line.at, "kind": line.kind, "principal": line.principal, "server": line.server,
                "target": line.target, "said": line.said, "rule": line.rule, "reason": line.reason, "scope": line.scope,
                "approval": line.approval, "erased": line.erased,
            });
            sealed(said, line.sealed.then_some(Value::Bool(true)))
        };
        let rule =
            |rule: &RuleCount| json!({ "rule": rule.rule, "allow": rule.allow, "pending": rule.pending, "deny": rule.deny });
        let written = |written: &Written| {
            json!({
                "sequence": written.sequence, "at": written.at, "principal": written.principal, "tool": written.tool,
                "approval": written.approval, "agreed": written.agreed, "outcome": written.outcome,
            })
        };
        let anomaly = |anomaly: &Anomaly| json!({ "kind": anomaly.kind, "said": anomaly.said, "sequences": anomaly.sequences });
        let summary = json!({
            "records": self.lines.len(), "calls": self.calls(), "allow": self.allow, "pending": self.pending,
            "deny": self.deny, "erased": self.erased,
        });
        json!({
            "summary": sealed(summary, (self.sealed > 0).then(|| json!(self.sealed))),
            "timeline": self.lines.iter().map(line).collect::<Vec<_>>(),
            "rules": self.rules.iter().map(rule).collect::<Vec<_>>(),
            "writes": self.writes.iter().map(written).collect::<Vec<_>>(),
            "anomalies": self.anomalies.iter().map(anomaly).collect::<Vec<_>>(),
        })
    }
}

/// What became of calls and who agreed to them, read once of the whole pack.
#[derive(Debug, Default)]
struct Sequels {
    agreed: BTreeMap<String, Vec<String>>,
    outcomes: BTreeMap<u64, &'static str>,
}

/// Calls that write and were let through, with who agreed and what became of them.
fn writes(pack: &Pack, lines: &[Line]) -> Vec<Written> {
    let sequels = Sequels::of(pack);
    let let_through = lines.iter().filter(|line| line.kind == "decision" && line.said == "allow" && line.scope == "write");
    let_through
        .map(|line| Written {
            sequence: line.sequence,
            at: line.at.clone(),
            principal: line.principal.clone(),
            tool: format!("{} {}", line.server, line.target),
            approval: line.approval.clone(),
            agreed: sequels.agreed.get(&line.approval).cloned().unwrap_or_default(),
            outcome: (*sequels.outcomes.get(&line.sequence).unwrap_or(&"none in this pack")).to_owned(),
        })
        .collect()
}

fn anomalies(lines: &[Line]) -> Vec<Anomaly> {
    let mut by_subject: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.kind == "decision" && line.is_told()) {
        by_subject.entry(&line.principal).or_default().push(line);
    }
    let mut found = Vec::new();
    for (subject, calls) in &by_subject {
        let rapid = calls.iter().zip(calls.iter().skip(RAPID_CALLS - 1));
        if let Some((first, last)) = rapid.into_iter().find(|(first, last)| last.at_us.saturating_sub(first.at_us) <= RAPID_US) {
            let said = format!("{subject} called {RAPID_CALLS} times within {} s", RAPID_US / 1_000_000);
            found.push(Anomaly { kind: "rapid_fire", said, sequences: vec![first.sequence, last.sequence] });
        }
        let mut tools: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
        for call in calls.iter().filter(|call| !call.target.is_empty()) {
            tools.entry((&call.server, &call.target)).or_default().push(call.sequence);
        }
        for ((server, tool), sequences) in tools.into_iter().filter(|(_, once)| calls.len() >= USUAL_CALLS && once.len() == 1) {
            let said = format!("{subject} called {server} {tool} once in {} calls", calls.len());
            found.push(Anomaly { kind: "unusual_tool", said, sequences });
        }
    }
    for line in lines.iter().filter(|line| line.voided) {
        let target = if line.is_told() { line.target.as_str() } else { "a call" };
        let rule = if line.is_told() { line.rule.as_str() } else { "a policy" };
        let said = format!("{target} was refused by {rule} though it was granted");
        found.push(Anomaly { kind: "refused_after_approval", said, sequences: vec![line.sequence] });
    }
    found
}

// === impl Sequels ===

impl Sequels {
    fn of(pack: &Pack) -> Self {
        let mut sequels = Self::default();
        for packed in &pack.records {
            match packed.what() {
                Some((_, What::Approval(step))) if !step.approval.is_empty() => sequels.step(packed, &step),
                // The last one is what it came to.
                Some((_, What::Outcome(outcome))) => {
                    sequels.outcomes.insert(outcome.decision, outcome_word(outcome.kind()));
                }
                Some((
                    _,
                    What::Approval(_)
                    | What::Decision(_)
                    | What::Policy(_)
                    | What::Flood(_)
                    | What::Kill(_)
                    | What::Mode(_)
                    | What::Hold(_)
                    | What::Purge(_),
                ))
                | None => {}
            }
        }
        sequels
    }

    fn step(&mut self, packed: &Packed, step: &v1::ApprovalRecord) {
        match &step.what {
            Some(v1::approval_record::What::Granted(_)) => {
                let words = packed.opened::<v1::ApprovalBody>();
                let by = words.map_or_else(|| "somebody, whose name was erased".to_owned(), |words| words.by);
                self.agreed.entry(hex(&step.approval)).or_default().push(by);
            }
            Some(
                v1::approval_record::What::Requested(_)
                | v1::approval_record::What::Denied(_)
                | v1::approval_record::What::Spent(_),
            )
            | None => {}
        }
    }
}

// === impl Written ===

impl Written {
    /// What is said where this pack names nobody who agreed.
    #[must_use]
    pub fn unagreed(&self) -> &'static str {
        if self.approval.is_empty() { "nobody was asked" } else { "its approval is not in this pack" }
    }
}

// === impl Line ===

impl Line {
    /// Whether it says what it is about.
    #[must_use]
    pub fn is_told(&self) -> bool {
        !self.erased && !self.sealed
    }

    /// Why it does not.
    #[must_use]
    pub fn untold(&self) -> &'static str {
        match (self.erased, self.sealed) {
            (true, _) => "erased",
            (false, true) => "sealed",
            (false, false) => "",
        }
    }

    fn of(packed: &Packed) -> Self {
        let sequence = packed.entry.sequence;
        let Some((at_us, what)) = packed.what() else { return Self { sequence, kind: "unknown", ..Self::default() } };
        let (erased, sealed) = (packed.body == Body::Erased, packed.body.is_sealed());
        let line = Self { sequence, at: Time::from_micros(at_us).to_string(), at_us, erased, sealed, ..Self::default() };
        match what {
            What::Decision(decision) => line.decision(&decision, packed.opened().unwrap_or_default()),
            What::Outcome(outcome) => {
                let detail = packed.opened::<v1::OutcomeBody>().unwrap_or_default().detail;
                let said = format!("{}, of #{}", outcome_word(outcome.kind()), outcome.decision);
                Self { kind: "outcome", said, reason: detail, ..line }
            }
            What::Approval(step) => line.approval(&step, packed.opened().unwrap_or_default()),
            What::Policy(policy) => Self { kind: "policy", said: "in force".into(), rule: hex(&policy.digest), ..line },
            What::Flood(flood) => {
                let names = packed.opened::<v1::FloodBody>().unwrap_or_default();
                let said = format!("{} refused, counted together", flood.count);
                Self { kind: "flood", principal: names.principal, said, reason: flood.reason, ..line }
            }
            What::Kill(kill) => {
                let words = packed.opened::<v1::KillBody>().unwrap_or_default();
                let said = if kill.resumed { "resumed" } else { "killed" }.to_owned();
                Self { kind: "kill", principal: words.by, said, reason: words.reason, ..line }
            }
            What::Hold(hold) => {
                let words = packed.opened::<v1::HoldBody>().unwrap_or_default();
                let said = if hold.lifts == 0 { "held".to_owned() } else { format!("the hold #{} was lifted", hold.lifts) };
                Self { kind: "hold", principal: words.by, said, reason: words.reason, ..line }
            }
            What::Purge(purge) => {
                let words = packed.opened::<v1::PurgeBody>().unwrap_or_default();
                let why = if purge.cause() == v1::PurgeCause::Retention { "as old as they may get" } else { "by order" };
                let said = format!("{} sessions were erased, {why}", purge.sessions.len());
                Self { kind: "purge", principal: words.by, said, reason: words.reason, ..line }
            }
            What::Mode(_) => {
                let words = packed.opened::<v1::ModeBody>().unwrap_or_default();
                let said = "a mode was ordered".to_owned();
                Self {
                    kind: "mode",
                    principal: words.by,
                    server: words.server,
                    target: words.tool,
                    said,
                    reason: words.reason,
                    ..line
                }
            }
        }
    }

    fn decision(self, decision: &v1::DecisionRecord, body: v1::DecisionBody) -> Self {
        let said = match decision.verdict() {
            v1::Verdict::Allow => "allow",
            v1::Verdict::Pending => "pending",
            v1::Verdict::Deny | v1::Verdict::Unspecified => "deny",
        };
        let target = if body.target.is_empty() { body.method } else { body.target };
        Self {
            kind: "decision",
            principal: body.principal,
            server: body.ask.unwrap_or_default().server,
            target,
            said: said.into(),
            rule: body.rule,
            reason: body.reason,
            scope: body.scope,
            approval: hex(&decision.approval),
            voided: decision.approval_use() == v1::ApprovalUse::Voided,
            ..self
        }
    }

    fn approval(self, step: &v1::ApprovalRecord, body: v1::ApprovalBody) -> Self {
        use v1::approval_record::What as Step;
        let said = match &step.what {
            Some(Step::Requested(_)) => "asked for",
            Some(Step::Granted(_)) => "granted",
            Some(Step::Denied(_)) => "denied",
            Some(Step::Spent(_)) => "spent",
            None => "unknown",
        };
        let approval = Digest::try_from(step.approval.as_ref()).map(|id| id.to_string()).unwrap_or_default();
        Self { kind: "approval", principal: body.by, said: said.into(), reason: body.reason, approval, ..self }
    }
}

fn outcome_word(kind: v1::OutcomeKind) -> &'static str {
    match kind {
        v1::OutcomeKind::Completed => "completed",
        v1::OutcomeKind::Failed => "failed",
        v1::OutcomeKind::Cut => "cut",
        v1::OutcomeKind::NotReleased => "not released",
        v1::OutcomeKind::Withheld => "withheld",
        v1::OutcomeKind::Unknown | v1::OutcomeKind::Unspecified => "unknown",
    }
}
