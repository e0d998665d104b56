//! `agentgate trace tail`: calls as they are decided and outcomes as they arrive, one a line, until ctrl-C. When the control
//! plane leaves it waits for another one, and goes on where it was: nothing is told twice, and nothing is left out.

use super::line;
use super::wanted::Wanted;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::moment::{absolute, span};
use crate::output::Desk;
use crate::screen::{Palette, Screen};
use crate::span::Span;
use crate::text::shorten;
use agentgate_proto::v1::{CallTrace, TailTracesRequest, TailTracesResponse};
use clap::Args;
use serde_json::Value;
use std::convert::Infallible;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use unicode_width::UnicodeWidthStr as _;

/// A call gets no more than this, and no more than half of what verdict and time leave; what is cut is in `trace show`.
const CALL_COLUMNS_MAX: usize = 32;

/// Terminals from here on see the time, and from there on its milliseconds as well.
const CLOCK_FROM_COLUMNS: u16 = 72;
const MILLIS_FROM_COLUMNS: u16 = 100;

/// The wait before the control plane is asked again: the first one, and the longest, which it grows to.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    wanted: Wanted,
    /// Begin after this record, and not now: a `SEQ`
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// How long a control plane that left is waited for
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = Span::parse)]
    patience: Span,
}

/// What one line tells of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Decided,
    Ended,
}

pub(super) async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    leave_at_ctrl_c().map_err(|error| Failure::new(Exit::Local, error))?;
    let filter = arguments.wanted.filter(client).await?;
    let mut request = TailTracesRequest { filter: Some(filter), after_sequence: arguments.after };
    let (mut waited, mut wait) = (Duration::ZERO, AGAIN);
    let mut is_first = true;
    loop {
        let before = request.after_sequence;
        let Err(failure) = follow(&mut request, is_first, client, desk).await;
        // Nobody was there as yet, or nobody can help it.
        if failure.exit != Exit::Unreachable || is_first && request.after_sequence == before {
            return Err(failure);
        }
        if request.after_sequence != before {
            (waited, wait) = (Duration::ZERO, AGAIN);
        }
        is_first = false;
        if waited >= Duration::from_micros(arguments.patience.micros()) {
            return Err(failure);
        }
        desk.progress("the control plane is away; waiting for it")?;
        tokio::time::sleep(wait).await;
        waited += wait;
        wait = AGAIN_MAX.min(wait * 2);
    }
}

/// Shows what comes, and keeps where it is in the request, until it fails.
async fn follow(
    request: &mut TailTracesRequest,
    is_first: bool,
    client: &Client,
    desk: &mut Desk<'_>,
) -> Result<Infallible, Failure> {
    let mut tail = client.tail_traces(request.clone()).await?;
    if is_first && desk.is_live() {
        desk.write(&format!(
            "{}\n",
            desk.screen.paint(Palette::Dim, &format!("waiting for calls; ctrl-C ends this; {}", line::OBSERVED))
        ))?;
    }
    desk.progress_over()?;
    while let Some(news) = tail.next().await? {
        for (event, trace) in told(&news) {
            desk.answer(|screen| render(event, trace, screen), || to_json(event, trace))?;
        }
        request.after_sequence = Some(news.sequence);
    }
    Err(Failure::new(Exit::Unreachable, "the control plane ended the tail")
        .then("it is probably restarting; run `agentgate trace tail` again"))
}

/// Ctrl-C is the wanted end of a tail, and comes through even while a reader that has stopped reading blocks our writing:
/// hence a thread of its own, which ends the process.
fn leave_at_ctrl_c() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut interrupt = {
        let _inside = runtime.enter();
        signal(SignalKind::interrupt())?
    };
    std::thread::Builder::new().name("ctrl-c".to_owned()).spawn(move || {
        runtime.block_on(interrupt.recv());
        std::process::exit(i32::from(Exit::Done.code()));
    })?;
    Ok(())
}

fn told(news: &TailTracesResponse) -> impl Iterator<Item = (Event, &CallTrace)> {
    let decided = news.trace.iter().map(|trace| (Event::Decided, trace));
    decided.chain(news.ended.iter().map(|trace| (Event::Ended, trace)))
}

/// A line is not a table: the next call is not known yet, so widths are those of the screen.
fn render(event: Event, trace: &CallTrace, screen: &Screen) -> String {
    let clock = clock(event, trace, screen);
    let (word, palette, why) = match event {
        Event::Decided => {
            let (verdict, palette) = line::spoken(trace);
            let why = [line::rule(trace), trace.reason.clone()];
            (verdict, palette, why.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": "))
        }
        Event::Ended => {
            let outcome = line::outcome(trace.outcome()).unwrap_or("unreadable");
            let took = trace.duration_us.map(|took| format!(", took {}", span(took))).unwrap_or_default();
            ("ended".to_owned(), line::outcome_palette(trace.outcome()), format!("{outcome}{took}"))
        }
    };
    let before = format!("{:>6}  {clock}", trace.sequence);
    let word = format!("{word:<9}");
    let left = usize::from(screen.columns).saturating_sub(before.width() + word.width() + 4);
    let call_columns = CALL_COLUMNS_MAX.min((left / 2).saturating_sub(1));
    let call = shorten(&line::call(trace, screen), call_columns, screen.charset);
    let pad = " ".repeat(call_columns.saturating_sub(call.width()));
    let why = shorten(&why, left.saturating_sub(call_columns), screen.charset);
    let shown = match event {
        Event::Decided => format!("{}  {call}{pad}  {why}", screen.paint(palette, &word)),
        Event::Ended => format!("{}  {call}{pad}  {}", screen.paint(Palette::Dim, &word), screen.paint(palette, &why)),
    };
    format!("{}{}\n", screen.paint(Palette::Dim, &before), shown.trim_end())
}

/// When it was decided, and the gap after it. A line of an outcome has the same room and leaves it empty: the time of the decision
/// would be read as its own.
fn clock(event: Event, trace: &CallTrace, screen: &Screen) -> String {
    let time = absolute(trace.at_us);
    let whole = time.split_once(' ').map_or(time.as_str(), |(_, clock)| clock);
    let shown = match screen.columns {
        ..CLOCK_FROM_COLUMNS => return String::new(),
        CLOCK_FROM_COLUMNS..MILLIS_FROM_COLUMNS => whole.split_once('.').map_or(whole, |(seconds, _)| seconds),
        MILLIS_FROM_COLUMNS.. => whole,
    };
    match event {
        Event::Decided => format!("{shown}  "),
        Event::Ended => " ".repeat(shown.width() + 2),
    }
}

/// The line of the call as the list has it, and what it tells.
fn to_json(event: Event, trace: &CallTrace) -> Value {
    let mut value = line::to_json(trace);
    if let Some(fields) = value.as_object_mut() {
        let event = match event {
            Event::Decided => "decided",
            Event::Ended => "ended",
        };
        fields.insert("event".to_owned(), event.into());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::{Event, render};
    use crate::screen::{Charset, Screen};
    use agentgate_proto::v1::{CallTrace, Flood, OutcomeKind, Verdict};
    use unicode_width::UnicodeWidthStr as _;

    const AT: u64 = 1_795_374_352_123_000;

    fn lines() -> Vec<(Event, CallTrace)> {
        let call = |sequence: u64, target: &str, verdict: Verdict, rule: &str, reason: &str| CallTrace {
            sequence,
            at_us: AT,
            principal: "spiffe://a/x".into(),
            server: "notes".into(),
            method: "tools/call".into(),
            target: target.into(),
            verdict: verdict.into(),
            rule: rule.into(),
            reason: reason.into(),
            ..Default::default()
        };
        let read = call(9, "read_note", Verdict::Allow, "tool_open", "reading is open");
        let mut ended = CallTrace { duration_us: Some(12_345), ..read.clone() };
        ended.set_outcome(OutcomeKind::Completed);
        let mut old = CallTrace { sequence: 3, ..Default::default() };
        old.set_outcome(OutcomeKind::NotReleased);
        let flood = Flood { count: 1_204, from_us: AT - 10_000_000, to_us: AT };
        let flood = CallTrace { flood: Some(flood), ..call(11, "", Verdict::Deny, "gate.duplicate_key", "too many") };
        let observed =
            CallTrace { observed: true, ..call(12, "send_note", Verdict::Pending, "tool_gated", "it asks for an approval") };
        let longest = call(10, "search_all_of_the_notes_at_once", Verdict::Pending, "tool_gated", "it asks for an approval");
        let longest = CallTrace { approval: "0f1e2d3c4b5a69788796a5b4c3d2e1f0".into(), ..longest };
        vec![
            (Event::Decided, read),
            (Event::Ended, ended),
            (Event::Decided, longest),
            (Event::Ended, old),
            (Event::Decided, flood),
            (Event::Decided, observed),
        ]
    }

    fn check(columns: u16, wanted: &str) {
        let screen = Screen { color: false, charset: Charset::Unicode, columns, terminal: false };
        let text: String = lines().iter().map(|(event, trace)| render(*event, trace, &screen)).collect();
        assert_eq!(text, wanted.trim_start_matches('\n'), "\n{text}");
        assert!(text.lines().all(|line| line.width() <= usize::from(columns)));
    }

    #[test]
    fn verdict_call_and_rule_are_the_last_to_go() {
        check(
            110,
            "
     9  19:05:52.123Z  allow      notes/read_note                   tool_open: reading is open
     9                 ended      notes/read_note                   completed, took 12.3ms
    10  19:05:52.123Z  pending    notes/search_all_of_the_notes_a…  tool_gated [0f1e2d3c]: it asks for an app…
     3                 ended      (erased)                          not_released
    11  19:05:52.123Z  deny       ×1,204 in 10s                     gate.duplicate_key: too many
    12  19:05:52.123Z  (pending)  notes/send_note                   tool_gated: it asks for an approval
",
        );
        check(
            80,
            "
     9  19:05:52  allow      notes/read_note          tool_open: reading is open
     9            ended      notes/read_note          completed, took 12.3ms
    10  19:05:52  pending    notes/search_all_of_th…  tool_gated [0f1e2d3c]: it…
     3            ended      (erased)                 not_released
    11  19:05:52  deny       ×1,204 in 10s            gate.duplicate_key: too m…
    12  19:05:52  (pending)  notes/send_note          tool_gated: it asks for a…
",
        );
        check(
            60,
            "
     9  allow      notes/read_note     tool_open: reading i…
     9  ended      notes/read_note     completed, took 12.3…
    10  pending    notes/search_all_…  tool_gated [0f1e2d3c…
     3  ended      (erased)            not_released
    11  deny       ×1,204 in 10s       gate.duplicate_key: …
    12  (pending)  notes/send_note     tool_gated: it asks …
",
        );
        check(
            40,
            "
     9  allow      notes/r…  tool_open:…
     9  ended      notes/r…  completed,…
    10  pending    notes/s…  tool_gated…
     3  ended      (erased)  not_releas…
    11  deny       ×1,204 …  gate.dupli…
    12  (pending)  notes/s…  tool_gated…
",
        );
    }
}
