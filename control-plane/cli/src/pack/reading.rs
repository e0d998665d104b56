//! What a person reads in a pack: calls in order, what became of them, which rules decided, what was written and who agreed,
//! and what is out of the ordinary. It follows from the pack alone, so that a verifier comes to the same.

use super::{Body, Pack, Packed};
use crate::extent;
use crate::screen::Charset;
use crate::text::{hex, shorten};
use crate::trace::arguments::{self, Brief};
use agentgate_core::digest::Digest;
use agentgate_core::time::Time;
use agentgate_proto::order::target_from_wire;
use agentgate_proto::v1;
use agentgate_proto::v1::approval_record::What as Step;
use agentgate_proto::v1::record::What;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// So many calls of one subject within so long are rapid fire.
pub(crate) const RAPID_CALLS: usize = 20;
pub(crate) const RAPID_US: u64 = 10_000_000;

/// A tool that a subject called once, of so many calls or more, is unusual for it.
pub(crate) const USUAL_CALLS: usize = 20;

/// Of a call's arguments so many lines are in the reading, each value in so many columns: a screenful. The body has all of them.
pub(crate) const ARGUMENT_LINES_MAX: usize = 40;
pub(crate) const ARGUMENT_COLUMNS_MAX: usize = 400;

/// What is seen of a call's arguments on one line.
const PREVIEW_COLUMNS: usize = 120;

/// What an order is about, in its cell.
const CELL_BYTES_MAX: usize = 80;

/// Sessions of a purge that one line names.
const PURGED_NAMED: usize = 4;

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
    /// Of an outcome or of a step of an approval: the record of the call that it is of, and of the one that spent it.
    pub of: Vec<Of>,
    pub rule: String,
    pub reason: String,
    pub scope: String,
    pub approval: String,
    /// Of an order: what it is about, in words.
    pub about: String,
    /// Of a call: what it was called with, escaped.
    pub(crate) arguments: Brief,
    pub voided: bool,
    /// Of a call: its verdict was not enforced, so that it went on whatever that was.
    pub observed: bool,
    /// Its words are what was left when something was taken out of them for the pack: no record committed to them.
    pub altered: bool,
    pub erased: bool,
    /// What it was about is in a body that only the control plane opens.
    pub sealed: bool,
}

/// A call that another record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Of {
    /// What stands before its number.
    pub word: &'static str,
    pub sequence: u64,
    /// It is in the pack too.
    pub is_here: bool,
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
    /// It was let through because nothing was enforced.
    pub observed: bool,
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
    /// Calls that went on whatever was decided, and bodies that were altered for the pack.
    pub observed: usize,
    pub altered: usize,
}

// === impl Reading ===

impl Reading {
    #[must_use]
    pub fn of(pack: &Pack) -> Self {
        let mut lines: Vec<Line> = pack.records.iter().map(Line::of).collect();
        refer(pack, &mut lines);
        let mut rules: BTreeMap<String, RuleCount> = BTreeMap::new();
        let count = |is: fn(&Line) -> bool| lines.iter().filter(|line| is(line)).count();
        let mut reading = Self {
            erased: count(|line| line.erased),
            sealed: count(|line| line.sealed),
            observed: count(|line| line.observed),
            altered: count(|line| line.altered),
            ..Self::default()
        };
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
        // Where there is nothing to say nothing is said.
        let with = |mut value: Value, name: &str, more: Option<Value>| {
            if let (Some(object), Some(more)) = (value.as_object_mut(), more) {
                object.insert(name.into(), more);
            }
            value
        };
        let sealed = |value: Value, sealed: Option<Value>| with(value, "sealed", sealed);
        let flag = |value: Value, name: &str, is_so: bool| with(value, name, is_so.then_some(Value::Bool(true)));
        let count = |value: Value, name: &str, count: usize| with(value, name, (count > 0).then(|| json!(count)));
        let line = |line: &Line| {
            let said = json!({
                "sequence": line.sequence, "at": line.at, "kind": line.kind, "principal": line.principal, "server": line.server,
                "target": line.target, "said": line.happened(), "rule": line.rule, "reason": line.reason, "scope": line.scope,
                "approval": line.approval, "erased": line.erased,
            });
            let said = sealed(said, line.sealed.then_some(Value::Bool(true)));
            let said = with(said, "about", (!line.about.is_empty()).then(|| json!(line.about)));
            let Brief { lines, cut } = &line.arguments;
            let said = with(said, "arguments", (!lines.is_empty()).then(|| json!(lines)));
            let said = flag(said, "arguments_cut", *cut);
            flag(flag(said, "observed", line.observed), "altered", line.altered)
        };
        let rule =
            |rule: &RuleCount| json!({ "rule": rule.rule, "allow": rule.allow, "pending": rule.pending, "deny": rule.deny });
        let written = |written: &Written| {
            let said = json!({
                "sequence": written.sequence, "at": written.at, "principal": written.principal, "tool": written.tool,
                "approval": written.approval, "agreed": written.agreed, "outcome": written.outcome,
            });
            flag(said, "observed", written.observed)
        };
        let anomaly = |anomaly: &Anomaly| json!({ "kind": anomaly.kind, "said": anomaly.said, "sequences": anomaly.sequences });
        let summary = json!({
            "records": self.lines.len(), "calls": self.calls(), "allow": self.allow, "pending": self.pending,
            "deny": self.deny, "erased": self.erased,
        });
        json!({
            "summary": count(count(count(summary, "sealed", self.sealed), "observed", self.observed), "altered", self.altered),
            "timeline": self.lines.iter().map(line).collect::<Vec<_>>(),
            "rules": self.rules.iter().map(rule).collect::<Vec<_>>(),
            "writes": self.writes.iter().map(written).collect::<Vec<_>>(),
            "anomalies": self.anomalies.iter().map(anomaly).collect::<Vec<_>>(),
        })
    }
}

/// Says of each step of an approval which call asked for it, or spent it. The records name both by numbers that are nobody's
/// name, so that this is said of what is erased or sealed as well.
fn refer(pack: &Pack, lines: &mut [Line]) {
    let mut calls: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let mut asked: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for packed in &pack.records {
        match packed.what() {
            Some((_, What::Decision(decision))) => {
                calls.insert(decision.call_id.to_vec(), packed.entry.sequence);
                if decision.approval_use() == v1::ApprovalUse::Requested && !decision.approval.is_empty() {
                    asked.entry(decision.approval.to_vec()).or_insert_with(|| decision.call_id.to_vec());
                }
            }
            Some((_, What::Approval(v1::ApprovalRecord { approval, what: Some(Step::Requested(by)), .. })))
                if !by.call_id.is_empty() =>
            {
                asked.insert(approval.to_vec(), by.call_id.to_vec());
            }
            Some(_) | None => {}
        }
    }
    let here: BTreeSet<u64> = pack.records.iter().map(|packed| packed.entry.sequence).collect();
    for (line, packed) in lines.iter_mut().zip(&pack.records) {
        if let Some((_, What::Approval(step))) = packed.what() {
            let found = |call: Option<&[u8]>| call.and_then(|call| calls.get(call)).copied();
            let by = match &step.what {
                Some(Step::Spent(spent)) => found(Some(&spent.call_id)),
                Some(Step::Requested(_) | Step::Granted(_) | Step::Denied(_)) | None => None,
            };
            let of = found(asked.get(step.approval.as_ref()).map(Vec::as_slice));
            let said = [("by", by), ("of", of)].into_iter();
            line.of = said.filter_map(|(word, call)| Some(Of { word, sequence: call?, is_here: true })).collect();
        }
        for of in &mut line.of {
            of.is_here = here.contains(&of.sequence);
        }
    }
}

/// What became of calls and who agreed to them, read once of the whole pack.
#[derive(Debug, Default)]
struct Sequels {
    agreed: BTreeMap<String, Vec<String>>,
    outcomes: BTreeMap<u64, &'static str>,
}

/// Calls that write and went on, because they were allowed or because nothing was enforced, with who agreed and what became of
/// them.
fn writes(pack: &Pack, lines: &[Line]) -> Vec<Written> {
    let sequels = Sequels::of(pack);
    let went_on = |line: &&Line| line.kind == "decision" && (line.said == "allow" || line.observed);
    let let_through = lines.iter().filter(went_on).filter(|line| line.scope == "write");
    let_through
        .map(|line| Written {
            sequence: line.sequence,
            at: line.at.clone(),
            principal: line.principal.clone(),
            tool: format!("{} {}", line.server, line.target),
            approval: line.approval.clone(),
            agreed: sequels.agreed.get(&line.approval).cloned().unwrap_or_default(),
            outcome: (*sequels.outcomes.get(&line.sequence).unwrap_or(&"none in this pack")).to_owned(),
            observed: line.observed,
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
        let mut tools: BTreeMap<(&str, &str), Vec<&Line>> = BTreeMap::new();
        for call in calls.iter().filter(|call| !call.target.is_empty()) {
            tools.entry((&call.server, &call.target)).or_default().push(call);
        }
        for ((server, tool), once) in tools {
            if let ([call], true) = (once.as_slice(), calls.len() >= USUAL_CALLS) {
                let became = call.became();
                let said = format!("{subject} called {server} {tool} once in {} calls, and it {became}", calls.len());
                found.push(Anomaly { kind: "unusual_tool", said, sequences: vec![call.sequence] });
            }
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
            Some(Step::Granted(_)) => {
                let words = packed.opened::<v1::ApprovalBody>();
                let by = words.map_or_else(|| "somebody, whose name was erased".to_owned(), |words| words.by);
                self.agreed.entry(hex(&step.approval)).or_default().push(by);
            }
            Some(Step::Requested(_) | Step::Denied(_) | Step::Spent(_)) | None => {}
        }
    }
}

// === impl Written ===

impl Written {
    /// What is said where this pack names nobody who agreed.
    #[must_use]
    pub fn unagreed(&self) -> &'static str {
        match (self.approval.is_empty(), self.observed) {
            (true, true) => "nobody was asked: it was only observed",
            (true, false) => "nobody was asked",
            (false, _) => "its approval is not in this pack",
        }
    }
}

// === impl Line ===

impl Line {
    /// Whether it says what it is about.
    #[must_use]
    pub fn is_told(&self) -> bool {
        !self.erased && !self.sealed
    }

    /// What happened, and to which call, in one line.
    #[must_use]
    pub fn happened(&self) -> String {
        let of = self.of.iter().map(|of| format!(", {} #{}", of.word, of.sequence));
        self.said.clone() + self.marks() + &of.collect::<String>()
    }

    /// What a verdict, or words, are not what they look like for.
    #[must_use]
    pub fn marks(&self) -> &'static str {
        match (self.observed, self.altered) {
            (true, true) => ", only observed, altered",
            (true, false) => ", only observed",
            (false, true) => ", altered",
            (false, false) => "",
        }
    }

    /// The rule that decided and the reason that it gave, told apart.
    #[must_use]
    pub fn why(&self) -> String {
        let parts = [self.rule.as_str(), self.reason.as_str()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }

    /// The call, or what an order is about.
    #[must_use]
    pub fn named(&self) -> String {
        if self.about.is_empty() { format!("{} {}", self.server, self.target).trim().to_owned() } else { self.about.clone() }
    }

    /// Whether what an order is about has no room in a cell, and stands below its row.
    #[must_use]
    pub fn is_wordy(&self) -> bool {
        self.about.len() > CELL_BYTES_MAX
    }

    #[must_use]
    pub fn arguments_in_lines(&self) -> String {
        self.arguments.lines.join("\n")
    }

    /// The arguments in one line.
    #[must_use]
    pub fn arguments_in_line(&self) -> String {
        let lines: Vec<&str> = self.arguments.lines.iter().map(|line| line.trim_start()).collect();
        lines.join(" ")
    }

    /// What of them is seen before anybody opens them.
    #[must_use]
    pub fn preview(&self) -> String {
        shorten(&self.arguments_in_line(), PREVIEW_COLUMNS, Charset::Unicode)
    }

    /// Of a call: what its verdict did to it.
    fn became(&self) -> &'static str {
        match self.said.as_str() {
            _ if self.observed => "went on, since it was only observed",
            "allow" => "was let through",
            "pending" => "was put before a person",
            _ => "was refused",
        }
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
        let altered = matches!(packed.body, Body::Altered { .. });
        let line = Self { sequence, at: Time::from_micros(at_us).to_string(), at_us, erased, sealed, altered, ..Self::default() };
        match what {
            What::Decision(decision) => line.decision(&decision, packed.opened().unwrap_or_default()),
            What::Outcome(outcome) => {
                let detail = packed.opened::<v1::OutcomeBody>().unwrap_or_default().detail;
                let said = outcome_word(outcome.kind()).to_owned();
                let of = vec![Of { word: "of", sequence: outcome.decision, is_here: false }];
                Self { kind: "outcome", said, of, reason: detail, ..line }
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
                let about = if line.is_told() { killed(words.target.as_ref()) } else { String::new() };
                Self { kind: "kill", principal: words.by, said, about, reason: words.reason, ..line }
            }
            What::Hold(hold) => {
                let words = packed.opened::<v1::HoldBody>().unwrap_or_default();
                let said = if hold.lifts == 0 { "held".to_owned() } else { format!("the hold #{} was lifted", hold.lifts) };
                let is_said = line.is_told() && packed.body != Body::None;
                let about = if is_said { extent::told(words.extent.as_ref()) } else { String::new() };
                Self { kind: "hold", principal: words.by, said, about, reason: words.reason, ..line }
            }
            What::Purge(purge) => {
                let words = packed.opened::<v1::PurgeBody>().unwrap_or_default();
                let said = erased_by(&purge);
                Self { kind: "purge", principal: words.by, said, about: purged(&purge), reason: words.reason, ..line }
            }
            What::Mode(mode) => {
                let words = packed.opened::<v1::ModeBody>().unwrap_or_default();
                let said = "a mode was ordered".to_owned();
                let about = if line.is_told() { ordered(mode.mode(), &words) } else { String::new() };
                Self {
                    kind: "mode",
                    principal: words.by,
                    server: words.server,
                    target: words.tool,
                    said,
                    about,
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
        let ask = body.ask.unwrap_or_default();
        let arguments = arguments::brief(&ask, ARGUMENT_LINES_MAX, ARGUMENT_COLUMNS_MAX);
        Self {
            kind: "decision",
            principal: body.principal,
            server: ask.server,
            target,
            arguments,
            said: said.into(),
            rule: body.rule,
            reason: body.reason,
            scope: body.scope,
            approval: hex(&decision.approval),
            voided: decision.approval_use() == v1::ApprovalUse::Voided,
            observed: !decision.enforced,
            ..self
        }
    }

    fn approval(self, step: &v1::ApprovalRecord, body: v1::ApprovalBody) -> Self {
        let said = match &step.what {
            Some(Step::Requested(_)) => "asked for",
            Some(Step::Granted(_)) => "granted",
            Some(Step::Denied(_)) => "denied",
            Some(Step::Spent(_)) => "spent",
            None => "unknown",
        };
        let approval = Digest::try_from(step.approval.as_ref()).map(|id| id.to_string()).unwrap_or_default();
        // Nobody spends one: a call does, and its id is no name of anybody.
        let principal = if matches!(step.what, Some(Step::Spent(_))) { String::new() } else { body.by };
        Self { kind: "approval", principal, said: said.into(), reason: body.reason, approval, ..self }
    }
}

fn killed(target: Option<&v1::KillTarget>) -> String {
    match target_from_wire(target) {
        Ok(target) => target.to_string(),
        Err(unnamed) => format!("something that this program does not know: {unnamed}"),
    }
}

fn ordered(mode: v1::Mode, words: &v1::ModeBody) -> String {
    let mode = match mode {
        v1::Mode::Enforce => "enforce",
        v1::Mode::Observe => "observe",
        v1::Mode::Unspecified => "as its configuration says",
    };
    let (server, tool) = (words.server.as_str(), words.tool.as_str());
    let of =
        if tool.is_empty() { format!("the server `{server}`") } else { format!("the tool `{tool}` of the server `{server}`") };
    format!("{mode}: {of}")
}

/// What a purge erased, and why.
fn erased_by(purge: &v1::PurgeRecord) -> String {
    let erased = match (purge.sessions.len(), purge.streams.len(), purge.tokens.is_empty()) {
        (0, 0, _) => "the key of a tenant's tokens was erased".to_owned(),
        (0, 1, _) => "what led to 1 subject of whom nothing is kept was erased".to_owned(),
        (0, subjects, _) => format!("what led to {subjects} subjects of whom nothing is kept was erased"),
        (1, _, true) => "1 session was erased".to_owned(),
        (1, _, false) => "1 session and the key of its tenant's tokens were erased".to_owned(),
        (sessions, _, true) => format!("{sessions} sessions were erased"),
        (sessions, _, false) => format!("{sessions} sessions and the key of their tenant's tokens were erased"),
    };
    let why = if purge.cause() == v1::PurgeCause::Retention { "as old as they may get" } else { "by order" };
    format!("{erased}, {why}")
}

/// Random ids and a time: they name nobody.
fn purged(purge: &v1::PurgeRecord) -> String {
    let named: Vec<String> = purge.sessions.iter().take(PURGED_NAMED).map(|session| hex(session)).collect();
    let more = match purge.sessions.len().saturating_sub(PURGED_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let calls = match (purge.since_us, purge.until_us) {
        (0, 0) => String::new(),
        (since, until) => format!(", of {} to {}", Time::from_micros(since), Time::from_micros(until)),
    };
    format!("{}{more}{calls}", named.join(", "))
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
