//! `agentgate explain`: why a call was decided as it was, and the smallest edit of the tool table that would change it.
//!
//! What it tells was found and tried by the control plane; it changes nothing.

use crate::client::{Client, Connection};
use crate::diff;
use crate::failure::{Exit, Failure};
use crate::kill;
use crate::moment::{absolute, relative};
use crate::output::Desk;
use crate::screen::{Palette, Screen};
use crate::table::Pairs;
use crate::text::escape;
use crate::trace::line;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::OutcomeKind;
use clap::Args;
use prost::Message as _;
use serde_json::{Value, json};

/// The rule of a call that a kill stopped.
const KILLED: &str = "gate.killed";

/// So much of an approval's id is shown by `approve list`; less of it is more often a sequence.
const APPROVAL_DIGITS_MIN: usize = 8;

#[derive(Debug, Args)]
pub struct Arguments {
    /// A sequence as `trace list` shows it, a call id or an approval's id as a refusal quotes it, or the unique beginning of one
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    pub connection: Connection,
}

pub async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let answer = match client.explain_call(arguments.id.clone()).await {
        Err(failure) if failure.exit == Exit::Refused => match asked_by(&arguments.id, client).await {
            Some(call) => client.explain_call(call).await?,
            None => return Err(failure),
        },
        answer => answer?,
    };
    let Some(trace) = &answer.trace else {
        return Err(Failure::new(Exit::Unreachable, "the control plane's answer holds no call"));
    };
    let kills = if trace.rule == KILLED { client.list_orders().await?.kills } else { Vec::new() };
    let resume: Vec<String> = kills.iter().filter(|kill| kill::stops(kill, trace)).map(|kill| kill::told(kill).1).collect();
    let now = desk.now;
    desk.answer(|screen| render(trace, &answer, &resume, now, screen), || to_json(trace, &answer, &resume))
}

/// The call that asked for this approval: its id is all that a client is told of a call that waits.
async fn asked_by(id: &str, client: &Client) -> Option<String> {
    let is_id = id.len() >= APPROVAL_DIGITS_MIN && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let approval = if is_id { client.show_approval(id.to_owned()).await.ok()?? } else { return None };
    let request = v1::ApprovalRequest::decode(approval.request).ok()?;
    Some(request.call_id).filter(|call| !call.is_empty())
}

fn render(trace: &v1::CallTrace, answer: &v1::ExplainCallResponse, resume: &[String], now: Time, screen: &Screen) -> String {
    let mut pairs = Pairs::new(screen);
    verdict(trace, now, screen, &mut pairs);
    let mut rules = answer.rules.iter();
    if let Some(decided) = rules.next() {
        pairs.heading("The rule that decided");
        rule(decided, screen, &mut pairs);
    }
    if !answer.facts.is_empty() {
        pairs.heading("What it read");
        facts(&answer.facts, screen, &mut pairs);
    }
    if rules.len() > 0 {
        pairs.heading("Other rules that spoke");
        for other in rules {
            let reason = line::absent(&other.reason).map(|reason| format!(": {reason}")).unwrap_or_default();
            pairs.pair(&escape(&other.rule, screen.charset), Palette::Plain, &format!("{}{reason}", place(other)));
        }
    }
    waits(trace, &mut pairs);
    killed(trace, resume, &mut pairs);
    edits(trace, answer, screen, &mut pairs);
    caveats(trace, answer, &mut pairs);
    pairs.finish()
}

/// The verdict in a line, then who and when.
fn verdict(trace: &v1::CallTrace, now: Time, screen: &Screen, pairs: &mut Pairs<'_>) {
    let (name, palette) = line::spoken(trace);
    let call = escape(&line::call(trace, screen), screen.charset);
    pairs.heading(&format!("{}  {call}", screen.paint(palette, &name)));
    pairs.pair("rule", Palette::Plain, &trace.rule);
    pairs.pair("reason", Palette::Plain, &trace.reason);
    pairs.pair("principal", Palette::Plain, &trace.principal);
    pairs.pair("at", Palette::Plain, &format!("{} ({}), #{}", absolute(trace.at_us), relative(now, trace.at_us), trace.sequence));
    if trace.observed {
        pairs.pair("enforced", Palette::Waiting, "no: it was only observed, and the call went on whatever the verdict");
    }
}

/// Where a rule stands: `rego/platform.rego:12 (deny)`.
fn place(rule: &v1::RulePlace) -> String {
    if rule.file.is_empty() {
        return "the gate's own, above every policy".to_owned();
    }
    let set = line::absent(&rule.set).map(|set| format!(" ({set})")).unwrap_or_default();
    format!("{}:{}{set}", rule.file, rule.line)
}

fn rule(rule: &v1::RulePlace, screen: &Screen, pairs: &mut Pairs<'_>) {
    pairs.pair("name", Palette::Plain, &rule.rule);
    pairs.pair("place", Palette::Plain, &place(rule));
    let last = u64::from(rule.line) + rule.text.lines().count() as u64;
    let width = last.to_string().len();
    for (number, text) in (u64::from(rule.line)..).zip(rule.text.lines()) {
        let number = screen.paint(Palette::Dim, &format!("{number:>width$}"));
        // A tab is an indentation here, and nothing that moves the cursor.
        let text = escape(&text.replace('\t', "    "), screen.charset);
        pairs.block(format!("{number}  {text}").trim_end());
    }
}

fn facts(facts: &[v1::FactRead], screen: &Screen, pairs: &mut Pairs<'_>) {
    for fact in facts {
        let path = escape(&fact.path, screen.charset);
        let value = match fact.value.as_str() {
            "" => screen.paint(Palette::Dim, "(not there)"),
            value => escape(value, screen.charset),
        };
        pairs.block(&format!("{path} = {value}"));
    }
}

/// A call that waits needs a person, and no edit.
fn waits(trace: &v1::CallTrace, pairs: &mut Pairs<'_>) {
    if let Some(approval) = line::waits_for(trace) {
        pairs.heading("It waits for a person");
        pairs.pair("look", Palette::Title, &format!("agentgate approve show {approval}"));
        pairs.pair("then", Palette::Plain, &format!("agentgate approve grant {approval}, or deny {approval}"));
    }
}

/// A call that a kill stopped: it passes once that is resumed.
fn killed(trace: &v1::CallTrace, resume: &[String], pairs: &mut Pairs<'_>) {
    if trace.rule != KILLED {
        return;
    }
    pairs.heading("A kill stopped it");
    for command in resume {
        pairs.pair("resume", Palette::Title, command);
    }
    if resume.is_empty() {
        pairs.pair("by now", Palette::Plain, "no kill in force stops it any more: the same call is decided by the policy");
    }
}

/// What went wrong with a call after it was let through; none where nothing did.
fn broken(trace: &v1::CallTrace) -> Option<&'static str> {
    let outcome = trace.outcome();
    match outcome {
        _ if trace.verdict() != v1::Verdict::Allow => None,
        OutcomeKind::Unspecified | OutcomeKind::Completed => None,
        OutcomeKind::Failed | OutcomeKind::Cut | OutcomeKind::NotReleased | OutcomeKind::Withheld | OutcomeKind::Unknown => {
            line::outcome(outcome)
        }
    }
}

fn edits(trace: &v1::CallTrace, answer: &v1::ExplainCallResponse, screen: &Screen, pairs: &mut Pairs<'_>) {
    if let Some(outcome) = broken(trace) {
        pairs.heading("No edit of tools.yaml mends it");
        let said = format!("it was let through, and ended as `{outcome}`: agentgate trace show {}", trace.sequence);
        return pairs.pair("because", Palette::Plain, &said);
    }
    let passed = trace.verdict() == v1::Verdict::Allow;
    for edit in &answer.edits {
        let what = if passed { "It passes; a stricter tools.yaml for" } else { "An edit of tools.yaml for" };
        let what = format!("{what} {}/{}", edit.server, edit.tool);
        pairs.heading(&escape(&what, screen.charset));
        pairs.block(&diff::render(&edit.diff, screen));
        let (name, palette) = line::verdict(edit.verdict());
        let name = screen.paint(palette, name);
        pairs.block(&format!("with this the call would be: {name} ({})", escape(&edit.rule, screen.charset)));
    }
    if trace.flood.is_none() && line::is_erased(trace) {
        // No edit was tried.
        pairs.heading("It cannot be decided again");
        return pairs.pair("because", Palette::Plain, "what was asked is erased");
    }
    if answer.edits.is_empty() {
        pairs.heading("No edit of tools.yaml changes it");
        let why = line::absent(&answer.no_edit).unwrap_or("the control plane does not say why");
        pairs.pair("because", Palette::Plain, why);
    }
}

/// What makes all of the above less than certain.
fn caveats(trace: &v1::CallTrace, answer: &v1::ExplainCallResponse, pairs: &mut Pairs<'_>) {
    if answer.policy_in_force && (answer.again_same || line::is_erased(trace)) {
        return;
    }
    pairs.heading("Mind");
    if !answer.policy_in_force {
        let said = "the policy that decided is no longer in force; today the call may be decided otherwise";
        pairs.pair("policy", Palette::Waiting, said);
    }
    if !answer.again_same && !line::is_erased(trace) {
        let differs = line::absent(&answer.again_differs).unwrap_or("it came to something else");
        pairs.pair("again", Palette::Bad, &format!("decided again from its record: {differs}"));
    }
}

fn to_json(trace: &v1::CallTrace, answer: &v1::ExplainCallResponse, resume: &[String]) -> Value {
    let rules = answer.rules.iter().map(|rule| {
        json!({
            "rule": rule.rule,
            "set": line::absent(&rule.set),
            "file": line::absent(&rule.file),
            "line": Some(rule.line).filter(|line| *line != 0),
            "text": line::absent(&rule.text),
            "reason": rule.reason,
        })
    });
    let facts = answer.facts.iter().map(|fact| json!({ "path": fact.path, "value": line::absent(&fact.value) }));
    let edits = answer.edits.iter().map(|edit| {
        json!({
            "server": edit.server,
            "tool": edit.tool,
            "diff": edit.diff,
            "verdict": line::verdict(edit.verdict()).0,
            "rule": edit.rule,
        })
    });
    json!({
        "trace": line::to_json(trace),
        "rules": rules.collect::<Vec<_>>(),
        "facts": facts.collect::<Vec<_>>(),
        "edits": edits.collect::<Vec<_>>(),
        "no_edit": line::absent(&answer.no_edit),
        "resume": resume,
        "again_same": answer.again_same,
        "again_differs": line::absent(&answer.again_differs),
        "policy_in_force": answer.policy_in_force,
    })
}
