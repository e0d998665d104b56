//! `agentgate trace tail`: calls as they are decided, one a line, until ctrl-C or until the control plane leaves.

use super::line;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::moment::absolute;
use crate::output::{Desk, Output};
use crate::screen::{Palette, Screen};
use crate::text::shorten;
use agentgate_proto::v1::CallTrace;
use tokio::signal::unix::{SignalKind, signal};

/// A call and its rule get so many columns each at most; what is cut is in `trace show`.
const CALL_COLUMNS: usize = 32;

pub(super) async fn run(client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    leave_at_ctrl_c().map_err(|error| Failure::new(Exit::Local, error))?;
    let mut tail = client.tail_traces().await?;
    if desk.output == Output::Table && desk.screen.terminal {
        desk.write(&format!("{}\n", desk.screen.paint(Palette::Dim, "waiting for calls; ctrl-C ends this")))?;
    }
    while let Some(trace) = tail.next().await? {
        desk.answer(|screen| render(&trace, screen), || line::to_json(&trace))?;
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

/// A line is not a table: the next call is not known yet, so widths are fixed.
fn render(trace: &CallTrace, screen: &Screen) -> String {
    let (verdict, palette) = line::verdict(trace.verdict());
    let time = absolute(trace.at_us);
    let clock = time.split_once(' ').map_or(time.as_str(), |(_, clock)| clock);
    let call = shorten(&line::call(trace), CALL_COLUMNS, screen.charset);
    let pad = " ".repeat(CALL_COLUMNS.saturating_sub(unicode_width::UnicodeWidthStr::width(call.as_str())));
    let head = format!("{:>6}  {clock}  {verdict:<8} {call}{pad}  ", trace.sequence);
    let room = usize::from(screen.columns).saturating_sub(unicode_width::UnicodeWidthStr::width(head.as_str()));
    let why = match trace.reason.as_str() {
        "" => trace.rule.clone(),
        reason => format!("{}: {reason}", trace.rule),
    };
    let why = shorten(&why, room, screen.charset);
    let sequence = screen.paint(Palette::Dim, &format!("{:>6}  {clock}", trace.sequence));
    format!("{sequence}  {} {call}{pad}  {why}\n", screen.paint(palette, &format!("{verdict:<8}")))
}
