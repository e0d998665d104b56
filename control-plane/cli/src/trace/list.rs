//! `agentgate trace list`: calls that match, newest or oldest first, fetched page by page up to a limit.

use super::line;
use super::wanted::Wanted;
use crate::client::Client;
use crate::failure::Failure;
use crate::moment::grouped;
use crate::output::Desk;
use crate::screen::{Palette, Screen};
use crate::span::Moment;
use crate::table::Table;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use clap::Args;
use serde_json::{Value, json};

/// So many calls are asked for at once; the control plane gives at most 1,000.
const PAGE_SIZE_MAX: u32 = 500;

/// More than this belongs into a file of its own, page by page.
const LIMIT_MAX: u32 = 100_000;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    wanted: Wanted,
    /// Only calls since then: `2h` (ago), `2026-11-22`, or `2026-11-22T10:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Moment::past, allow_hyphen_values = true)]
    since: Option<Moment>,
    /// Only calls before then
    #[arg(long, value_name = "TIME", value_parser = Moment::past, allow_hyphen_values = true)]
    until: Option<Moment>,
    /// Oldest first
    #[arg(long)]
    oldest: bool,
    /// At most so many calls
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(LIMIT_MAX)))]
    limit: u32,
    /// Every call that matches: as many as --limit may be
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Go on after the last call of an earlier answer (its `next_page_token`)
    #[arg(long, value_name = "TOKEN", alias = "after")]
    page: Option<String>,
}

pub(super) async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let resolve = |moment: Option<Moment>| moment.map(|moment| moment.resolve(desk.now).micros()).unwrap_or_default();
    let (from_us, until_us) = (resolve(arguments.since), resolve(arguments.until));
    let filter = v1::TraceFilter { from_us, until_us, ..arguments.wanted.filter(client).await? };
    let is_filtered = filter != v1::TraceFilter::default();
    let limit = usize::try_from(if arguments.all { LIMIT_MAX } else { arguments.limit }).unwrap_or(usize::MAX);
    let (mut traces, mut next) = (Vec::new(), arguments.page.clone().unwrap_or_default());
    loop {
        let page_size = u32::try_from(limit - traces.len()).unwrap_or(PAGE_SIZE_MAX).min(PAGE_SIZE_MAX);
        let request = v1::ListTracesRequest {
            page_size,
            page_token: next.clone(),
            filter: Some(filter.clone()),
            oldest_first: arguments.oldest,
        };
        let answer = client.list_traces(request).await?;
        traces.extend(answer.traces);
        traces.truncate(limit);
        let stands = answer.next_page_token == next;
        next = answer.next_page_token;
        // A page may be empty and not the last; one without progress is.
        if next.is_empty() || stands || traces.len() == limit {
            break;
        }
    }
    let now = desk.now;
    desk.answer(|screen| render(&traces, &next, is_filtered, now, screen), || to_json(&traces, &next))
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
