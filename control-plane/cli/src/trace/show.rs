//! `agentgate trace show`: one call in full.

use super::{arguments, line};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::moment::{absolute, relative, size, span};
use crate::output::{Desk, moment_json};
use crate::screen::{Palette, Screen};
use crate::table::Pairs;
use crate::text::hex;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct Arguments {
    /// A sequence as `trace list` shows it, a call id as a refusal quotes it, or the unique beginning of one
    #[arg(value_name = "ID")]
    id: String,
}

pub(super) async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let answer = client.show_trace(arguments.id.clone()).await?;
    let Some(trace) = &answer.trace else {
        return Err(Failure::new(Exit::Unreachable, "the control plane's answer holds no call"));
    };
    let now = desk.now;
    desk.answer(
        |screen| match &trace.flood {
            Some(flood) => render_flood(trace, flood, now, screen),
            None => render(trace, &answer, now, screen),
        },
        || to_json(trace, &answer),
    )
}

/// What is known of a flood: its calls were counted, and nothing else of them was kept.
fn render_flood(trace: &v1::CallTrace, flood: &v1::Flood, now: Time, screen: &Screen) -> String {
    let mut pairs = Pairs::new(screen);
    pairs.heading("Verdict");
    verdict(trace, &mut pairs);
    pairs.heading("Flood");
    pairs.pair("calls", Palette::Plain, &line::times(flood, screen));
    pairs.pair("from", Palette::Plain, &absolute(flood.from_us));
    pairs.pair("to", Palette::Plain, &format!("{} ({})", absolute(flood.to_us), relative(now, flood.to_us)));
    pairs.pair("sequence", Palette::Plain, &trace.sequence.to_string());
    pairs.pair("tenant", Palette::Plain, &trace.tenant);
    pairs.pair("principal", Palette::Plain, &trace.principal);
    pairs.finish()
}

fn render(trace: &v1::CallTrace, answer: &v1::ShowTraceResponse, now: Time, screen: &Screen) -> String {
    let decision = answer.decision.clone().unwrap_or_default();
    let mut pairs = Pairs::new(screen);
    pairs.heading("Verdict");
    verdict(trace, &mut pairs);
    pairs.pair("step", Palette::Plain, &decision.step);
    if matches!(trace.verdict(), v1::Verdict::Deny | v1::Verdict::Pending) {
        pairs.pair("next", Palette::Dim, &format!("agentgate explain {}", trace.sequence));
    }
    pairs.heading("Call");
    call(trace, answer.body.as_ref(), now, &mut pairs);
    pairs.heading("Arguments");
    match answer.body.as_ref().and_then(|body| body.ask.as_ref()) {
        Some(ask) => pairs.block(&arguments::of(ask, screen)),
        None => pairs.pair("erased", Palette::Waiting, "the body of this record was erased; the record remains"),
    }
    pairs.heading("Decided by");
    pairs.pair("policy", Palette::Plain, &hex(&decision.policy_digest));
    pairs.pair("engine", Palette::Plain, &decision.engine);
    pairs.pair("settle", Palette::Plain, &format!("version {}", decision.settle_version));
    pairs.heading("Timeline");
    timeline(trace, answer, &mut pairs);
    pairs.finish()
}

fn verdict(trace: &v1::CallTrace, pairs: &mut Pairs<'_>) {
    let (name, palette) = line::spoken(trace);
    pairs.pair("verdict", palette, &name);
    pairs.pair("rule", Palette::Plain, &trace.rule);
    pairs.pair("reason", Palette::Plain, &trace.reason);
    if trace.observed {
        pairs.pair("enforced", Palette::Waiting, "no: it was only observed, and the call went on whatever the verdict");
    }
    pairs.pair("approval", Palette::Plain, &trace.approval);
}

fn call(trace: &v1::CallTrace, body: Option<&v1::DecisionBody>, now: Time, pairs: &mut Pairs<'_>) {
    let plain = |pairs: &mut Pairs<'_>, name: &str, value: &str| pairs.pair(name, Palette::Plain, value);
    plain(pairs, "at", &format!("{} ({})", absolute(trace.at_us), relative(now, trace.at_us)));
    plain(pairs, "call id", &trace.call_id);
    plain(pairs, "sequence", &trace.sequence.to_string());
    plain(pairs, "tenant", &trace.tenant);
    plain(pairs, "principal", &trace.principal);
    plain(pairs, "server", &trace.server);
    plain(pairs, "method", &trace.method);
    plain(pairs, "target", &trace.target);
    plain(pairs, "session", &trace.handle);
    // What `purge` and `hold` take.
    plain(pairs, "session id", &trace.session);
    let Some(body) = body else {
        pairs.pair("erased", Palette::Waiting, "who called what, and why it was decided so");
        return;
    };
    plain(pairs, "malformed", &body.malformed);
    plain(pairs, "scope", &body.scope);
    plain(pairs, "version", &body.version);
    plain(pairs, "asker", &body.asker);
    plain(pairs, "call digest", &hex(&body.call_digest));
    pairs.pair("altered", Palette::Waiting, &body.altered.as_ref().map(altered).unwrap_or_default());
    if let Some(ask) = &body.ask {
        plain(pairs, "peer", &ask.peer);
        let head = ask.head.clone().unwrap_or_default();
        let request = [head.method.as_ref(), b" ", head.path.as_ref()].concat();
        plain(pairs, "request", String::from_utf8_lossy(&request).trim());
        for header in head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(b"origin")) {
            plain(pairs, "origin", &String::from_utf8_lossy(&header.value));
        }
        plain(pairs, "body", &size(u64::try_from(ask.body.len()).unwrap_or(u64::MAX)));
    }
}

fn timeline(trace: &v1::CallTrace, answer: &v1::ShowTraceResponse, pairs: &mut Pairs<'_>) {
    let outcomes = &answer.outcomes;
    let (name, palette) = line::verdict(trace.verdict());
    pairs.pair(&format!("#{}", trace.sequence), palette, &format!("{}  decided: {name}", absolute(trace.at_us)));
    for event in outcomes {
        let record = event.record.clone().unwrap_or_default();
        let body = event.body.clone().unwrap_or_default();
        let after = span(event.at_us.saturating_sub(trace.at_us));
        let mut said = format!("{}  +{after}  {}", absolute(event.at_us), line::outcome(record.kind()).unwrap_or("unreadable"));
        if record.http_status != 0 {
            said += &format!(", HTTP {}", record.http_status);
        }
        if record.result_bytes != 0 {
            said += &format!(", {}", size(record.result_bytes));
        }
        if record.duration_us != 0 {
            said += &format!(", took {}", span(record.duration_us));
        }
        pairs.pair(&format!("#{}", event.sequence), line::outcome_palette(record.kind()), &said);
        pairs.pair("", Palette::Plain, &body.detail);
        if is_erased(event) {
            pairs.pair("", Palette::Waiting, "what was said of it is erased");
        }
        if !body.hidden.is_empty() {
            let shown = format!("{} tools shown, {} hidden: {}", record.shown, body.hidden.len(), body.hidden.join(", "));
            pairs.pair("", Palette::Plain, &shown);
        }
    }
    if outcomes.is_empty() {
        let why = match trace.verdict() {
            v1::Verdict::Allow if trace.no_outcome => "no outcome: asked by ext_authz",
            _ if trace.observed && trace.no_outcome => "no outcome: asked by ext_authz",
            // Nobody can say whether one is still to come.
            v1::Verdict::Allow if answer.body.is_none() => "no outcome is on record",
            _ if trace.observed && answer.body.is_none() => "no outcome is on record",
            _ if trace.observed => "no outcome is reported yet",
            v1::Verdict::Allow => "no outcome is reported yet",
            v1::Verdict::Pending | v1::Verdict::Deny | v1::Verdict::Unspecified => "the call was not sent on",
        };
        pairs.pair("", Palette::Dim, why);
    }
}

/// Whether a body was beside its record once.
fn is_erased(event: &v1::OutcomeEvent) -> bool {
    event.body.is_none() && event.record.as_ref().is_some_and(|record| record.body.is_some())
}

fn to_json(trace: &v1::CallTrace, answer: &v1::ShowTraceResponse) -> Value {
    let outcomes: Vec<Value> = answer.outcomes.iter().map(outcome_json).collect();
    json!({
        "trace": line::to_json(trace),
        "decision": answer.decision.as_ref().map(decision_json),
        "body": answer.body.as_ref().map(body_json),
        "outcomes": outcomes,
    })
}

fn decision_json(decision: &v1::DecisionRecord) -> Value {
    json!({
        "verdict": line::verdict(decision.verdict()).0,
        "step": line::absent(&decision.step),
        "settle_version": decision.settle_version,
        "engine": decision.engine,
        "policy_digest": hex(&decision.policy_digest),
        "request_commitment": hex(&decision.request_commitment),
        "enforced": decision.enforced,
        "no_outcome": decision.no_outcome,
    })
}

fn body_json(body: &v1::DecisionBody) -> Value {
    json!({
        "tenant": body.tenant,
        "principal": body.principal,
        "asker": body.asker,
        "epoch": hex(&body.epoch),
        "malformed": line::absent(&body.malformed),
        "rule": body.rule,
        "reason": body.reason,
        "scope": line::absent(&body.scope),
        "method": line::absent(&body.method),
        "target": line::absent(&body.target),
        "handle": line::absent(&body.handle),
        "version": line::absent(&body.version),
        "call_digest": line::absent(&hex(&body.call_digest)),
        "altered": body.altered.as_ref().map(altered_json),
        "ask": body.ask.as_ref().map(ask_json),
    })
}

/// What was taken out of what is shown.
fn altered(altered: &v1::Altered) -> String {
    let kinds: Vec<String> = altered.kinds.iter().map(|kind| format!("{} {}", kind.count, kind.kind)).collect();
    let word = agentgate_proto::facts::altered_word(altered);
    if kinds.is_empty() { word.to_owned() } else { format!("{word}: {}", kinds.join(", ")) }
}

fn altered_json(altered: &v1::Altered) -> Value {
    let kinds: serde_json::Map<String, Value> = altered.kinds.iter().map(|kind| (kind.kind.clone(), kind.count.into())).collect();
    json!({ "how": agentgate_proto::facts::altered_word(altered), "kinds": kinds })
}

/// Bytes are text where they are UTF-8; the hexadecimal is always exact.
fn ask_json(ask: &v1::Ask) -> Value {
    let head = ask.head.clone().unwrap_or_default();
    let headers: Vec<Value> = head
        .headers
        .iter()
        .map(|header| json!([String::from_utf8_lossy(&header.name), String::from_utf8_lossy(&header.value)]))
        .collect();
    json!({
        "counter": ask.counter,
        "server": ask.server,
        "peer": line::absent(&ask.peer),
        "method": String::from_utf8_lossy(&head.method),
        "path": String::from_utf8_lossy(&head.path),
        "headers": headers,
        "rest": ask.rest.as_ref().map(|rest| json!({ "tool": rest.tool, "method": rest.method, "path": rest.path })),
        "body": std::str::from_utf8(&ask.body).ok(),
        "body_hex": hex(&ask.body),
    })
}

fn outcome_json(event: &v1::OutcomeEvent) -> Value {
    let record = event.record.clone().unwrap_or_default();
    json!({
        "sequence": event.sequence,
        "at": moment_json(event.at_us),
        "kind": line::outcome(record.kind()),
        "http_status": record.http_status,
        "result_bytes": record.result_bytes,
        // A call that was released took longer than nothing.
        "duration_us": Some(record.duration_us).filter(|took| *took != 0),
        "shown": record.shown,
        "detail": event.body.as_ref().and_then(|body| line::absent(&body.detail)),
        "hidden": event.body.as_ref().map(|body| body.hidden.clone()),
        "result_digest": event.body.as_ref().and_then(|body| Some(hex(&body.result_digest)).filter(|hex| !hex.is_empty())),
        "erased": is_erased(event),
        "altered": event.body.as_ref().and_then(|body| body.altered.as_ref()).map(altered_json),
    })
}
