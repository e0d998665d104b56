//! `agentgate trace list`: calls that match, newest first, fetched page by page up to a limit.

use super::line;
use super::sieve::Sieve;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::moment::grouped;
use crate::output::Desk;
use crate::screen::{Palette, Screen};
use crate::table::Table;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// So many calls are asked for at once; the control plane gives at most 1,000.
const PAGE_SIZE_MAX: u32 = 500;

/// Among so many of the newest calls a principal is looked for by an end of its name; more is no page.
const NEWEST: u32 = 1_000;

/// More than this belongs into a file of its own, page by page.
const LIMIT_MAX: u32 = 100_000;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only calls of this principal: its whole name, or an end of it that only one of the newest calls' principals has
    #[arg(long, value_name = "ID")]
    principal: Option<String>,
    /// Only calls of this session (the handle that the agent wrote)
    #[arg(long, value_name = "HANDLE")]
    session: Option<String>,
    /// Only calls of this tool
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Only calls with this verdict
    #[arg(long, value_enum, value_name = "VERDICT")]
    verdict: Option<VerdictName>,
    /// Only calls decided by this rule
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// Only calls whose verdict was not enforced
    #[arg(long, conflicts_with = "enforced")]
    observed: bool,
    /// Only calls whose verdict was enforced
    #[arg(long)]
    enforced: bool,
    #[command(flatten)]
    sieve: Sieve,
    /// At most so many calls
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(LIMIT_MAX)))]
    limit: u32,
    /// Go on after the last call of an earlier answer (its `next_page_token`)
    #[arg(long, value_name = "TOKEN")]
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VerdictName {
    Allow,
    Pending,
    Deny,
}

pub(super) async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let principal = match &arguments.principal {
        Some(named) => whole_name(named, client).await?,
        None => String::new(),
    };
    let (mut traces, mut next) = (Vec::new(), arguments.after.clone().unwrap_or_default());
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    loop {
        let missing = limit - traces.len();
        let page_size = u32::try_from(arguments.page(missing, limit)).unwrap_or(PAGE_SIZE_MAX);
        let mut answer = client.list_traces(arguments.request(page_size, next.clone(), &principal)).await?;
        let nothing = answer.traces.is_empty();
        if let Some(enough) = arguments.enough(&answer.traces, missing) {
            // The token that follows exactly these is known to the control plane alone.
            answer = client.list_traces(arguments.request(enough, next, &principal)).await?;
        }
        traces.extend(answer.traces.into_iter().filter(|trace| arguments.wants(trace)));
        traces.truncate(limit);
        next = answer.next_page_token;
        // A page may be empty and not the last; one without progress and without a token is.
        if next.is_empty() || nothing || traces.len() == limit {
            break;
        }
    }
    let now = desk.now;
    desk.answer(|screen| render(&traces, &next, arguments.filtered(), now, screen), || to_json(&traces, &next))
}

/// A principal by the end of its name: tables leave out a trust domain that all of their lines share.
async fn whole_name(named: &str, client: &Client) -> Result<String, Failure> {
    if named.starts_with("spiffe://") || named.starts_with("user:") {
        return Ok(named.to_owned());
    }
    let newest = v1::ListTracesRequest { page_size: NEWEST, ..Default::default() };
    let end = format!("/{}", named.trim_start_matches('/'));
    let traces = client.list_traces(newest).await?.traces;
    let found: BTreeSet<&str> = traces.iter().map(|trace| trace.principal.as_str()).filter(|name| name.ends_with(&end)).collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only.to_owned()),
        (None, _) => {
            Err(Failure::new(Exit::Refused, format!("none of the newest calls is of a principal that ends with `{end}`"))
                .then("pass its whole name, like `spiffe://agentgate.local/agent/laptop`"))
        }
        (Some(one), Some(other)) => {
            Err(Failure::new(Exit::Refused, format!("`{named}` may be `{one}` or `{other}`")).then("pass its whole name"))
        }
    }
}

fn render(traces: &[v1::CallTrace], next: &str, filtered: bool, now: Time, screen: &Screen) -> String {
    if traces.is_empty() {
        let advice = if filtered {
            "no call matches; try with fewer filters"
        } else {
            "no call was recorded yet; watch with `agentgate trace tail`"
        };
        return format!("{advice}\n");
    }
    let mut table = Table::new(&line::COLUMNS);
    let shared = line::shared_domain(traces.iter().map(|trace| trace.principal.as_str()));
    for trace in traces {
        table.row(line::cells(trace, shared, now, screen));
    }
    let mut foot = vec![match (line::counted(traces), traces.len()) {
        (1, _) => "1 call".to_owned(),
        (calls, lines) if calls == lines as u64 => format!("{} calls", grouped(calls)),
        (calls, 1) => format!("{} calls in 1 line", grouped(calls)),
        (calls, lines) => format!("{} calls in {} lines", grouped(calls), grouped(lines as u64)),
    }];
    if !next.is_empty() {
        foot.push("there are more: raise --limit".to_owned());
    }
    if traces.iter().any(|trace| trace.observed) {
        foot.push(line::OBSERVED.to_owned());
    }
    if traces.iter().any(|trace| line::waits_for(trace).is_some()) {
        foot.push(line::WAITS.to_owned());
    }
    foot.push("one in full: agentgate trace show SEQ".to_owned());
    // On a narrow terminal each on a line of its own, not broken by the terminal somewhere.
    let length = foot.iter().map(|part| part.len() + 2).sum::<usize>().saturating_sub(2);
    let foot = foot.join(if length <= usize::from(screen.columns) { "; " } else { "\n" });
    let foot = foot.lines().map(|line| screen.paint(Palette::Dim, line) + "\n");
    table.render(screen) + &foot.collect::<String>()
}

fn to_json(traces: &[v1::CallTrace], next: &str) -> Value {
    let traces: Vec<Value> = traces.iter().map(line::to_json).collect();
    json!({ "traces": traces, "next_page_token": line::absent(next) })
}

// === impl Arguments ===

impl Arguments {
    fn wants(&self, trace: &v1::CallTrace) -> bool {
        self.sieve.wants(trace) && !(self.observed && !trace.observed || self.enforced && trace.observed)
    }

    /// How many are asked for at once. Where some of them are left out here, not only as many as are still missing.
    fn page(&self, missing: usize, limit: usize) -> usize {
        let wished = if self.observed || self.enforced || self.sieve.is_set() { limit } else { missing };
        wished.min(usize::try_from(PAGE_SIZE_MAX).unwrap_or(usize::MAX))
    }

    /// How much of a page is enough, where that is not all of it.
    fn enough(&self, page: &[v1::CallTrace], missing: usize) -> Option<u32> {
        let last = page.iter().enumerate().filter(|(_, trace)| self.wants(trace)).nth(missing.checked_sub(1)?)?.0;
        u32::try_from(last + 1).ok().filter(|_| last + 1 < page.len())
    }

    fn request(&self, page_size: u32, page_token: String, principal: &str) -> v1::ListTracesRequest {
        let verdict = match self.verdict {
            None => v1::Verdict::Unspecified,
            Some(VerdictName::Allow) => v1::Verdict::Allow,
            Some(VerdictName::Pending) => v1::Verdict::Pending,
            Some(VerdictName::Deny) => v1::Verdict::Deny,
        };
        v1::ListTracesRequest {
            page_size,
            page_token,
            principal: principal.to_owned(),
            handle: self.session.clone().unwrap_or_default(),
            tool: self.tool.clone().unwrap_or_default(),
            verdict: verdict.into(),
            rule: self.rule.clone().unwrap_or_default(),
        }
    }

    fn filtered(&self) -> bool {
        let names = [&self.principal, &self.session, &self.tool, &self.rule];
        names.iter().any(|name| name.is_some()) || self.verdict.is_some() || self.observed || self.enforced || self.sieve.is_set()
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::screen::{Charset, Screen};
    use agentgate_core::time::Time;
    use agentgate_proto::v1::{CallTrace, Flood, OutcomeKind, Verdict};

    const NOW: u64 = 1_795_374_352_123_000;

    fn traces() -> Vec<CallTrace> {
        let call = |sequence: u64, seconds: u64, target: &str, verdict: Verdict, rule: &str| CallTrace {
            sequence,
            at_us: NOW - seconds * 1_000_000,
            principal: "spiffe://agentgate.local/agent/laptop".into(),
            server: "notes".into(),
            method: "tools/call".into(),
            target: target.into(),
            verdict: verdict.into(),
            rule: rule.into(),
            ..Default::default()
        };
        let mut read = call(9, 90_000, "read_note", Verdict::Allow, "tools.open");
        read.set_outcome(OutcomeKind::Completed);
        read.duration_us = Some(12_345);
        let list = CallTrace { method: "tools/list".into(), ..call(11, 5, "", Verdict::Allow, "methods.list") };
        let broken = CallTrace { method: String::new(), ..call(12, 0, "", Verdict::Deny, "gate.not_json") };
        let flood = Flood { count: 1_204, from_us: NOW - 12_000_000, to_us: NOW - 2_000_000 };
        let flood = CallTrace { flood: Some(flood), server: String::new(), ..call(13, 0, "", Verdict::Deny, "gate.not_json") };
        vec![flood, broken, list, call(10, 60, "send\u{1b}", Verdict::Pending, "tools.gated"), read]
    }

    #[test]
    fn what_was_only_observed_is_told_without_colours() {
        let screen = Screen { color: false, charset: Charset::Ascii, columns: 80, terminal: false };
        let observed: Vec<CallTrace> = traces().into_iter().skip(2).map(|trace| CallTrace { observed: true, ..trace }).collect();
        let text = render(&observed, "", false, Time::from_micros(NOW), &screen);
        let wanted = "
SEQ  TIME              VERDICT    CALL              RULE          OUTCOME
---------------------------------------------------------------------------
 11  19:05:47.123Z     (allow)    notes tools/list  methods.list  -
 10  19:04:52.123Z     (pending)  notes/send\\u{1b}  tools.gated   -
  9  2026-11-21 18:05  (allow)    notes/read_note   tools.open    completed
3 calls
in parentheses: observed, not enforced
one in full: agentgate trace show SEQ
";
        assert_eq!(text, wanted.trim_start_matches('\n'), "\n{text}");
    }

    fn check(columns: u16, wanted: &str) {
        let screen = Screen { color: false, charset: Charset::Ascii, columns, terminal: false };
        let text = render(&traces(), "", false, Time::from_micros(NOW), &screen);
        assert_eq!(text, wanted.trim_start_matches('\n'), "\n{text}");
    }

    #[test]
    fn calls_are_listed_one_a_line_in_the_room_there_is() {
        check(
            140,
            "
SEQ  TIME              AGE     VERDICT  CALL                RULE           OUTCOME      TOOK  PRINCIPAL
----------------------------------------------------------------------------------------------------------
 13  19:05:52.123Z     now     deny     x1,204 in 10s       gate.not_json  -               -  agent/laptop
 12  19:05:52.123Z     now     deny     notes (unreadable)  gate.not_json  -               -  agent/laptop
 11  19:05:47.123Z     5s ago  allow    notes tools/list    methods.list   -               -  agent/laptop
 10  19:04:52.123Z     1m ago  pending  notes/send\\u{1b}    tools.gated    -               -  agent/laptop
  9  2026-11-21 18:05  1d ago  allow    notes/read_note     tools.open     completed  12.3ms  agent/laptop
1,208 calls in 5 lines; one in full: agentgate trace show SEQ
",
        );
        check(
            80,
            "
SEQ  TIME              VERDICT  CALL                RULE           OUTCOME
----------------------------------------------------------------------------
 13  19:05:52.123Z     deny     x1,204 in 10s       gate.not_json  -
 12  19:05:52.123Z     deny     notes (unreadable)  gate.not_json  -
 11  19:05:47.123Z     allow    notes tools/list    methods.list   -
 10  19:04:52.123Z     pending  notes/send\\u{1b}    tools.gated    -
  9  2026-11-21 18:05  allow    notes/read_note     tools.open     completed
1,208 calls in 5 lines; one in full: agentgate trace show SEQ
",
        );
        check(
            60,
            "
SEQ  VERDICT  CALL                RULE           OUTCOME
----------------------------------------------------------
 13  deny     x1,204 in 10s       gate.not_json  -
 12  deny     notes (unreadable)  gate.not_json  -
 11  allow    notes tools/list    methods.list   -
 10  pending  notes/send\\u{1b}    tools.gated    -
  9  allow    notes/read_note     tools.open     completed
1,208 calls in 5 lines
one in full: agentgate trace show SEQ
",
        );
        check(
            40,
            "
SEQ  VERDICT  CALL          RULE
----------------------------------------
 13  deny     x1,204 in 1~  gate.not_js~
 12  deny     notes (unre~  gate.not_js~
 11  allow    notes tools~  methods.list
 10  pending  notes/send\\~  tools.gated
  9  allow    notes/read_~  tools.open
1,208 calls in 5 lines
one in full: agentgate trace show SEQ
",
        );
    }
}
