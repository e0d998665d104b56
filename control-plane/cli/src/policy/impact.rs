//! `agentgate policy impact`: the recorded calls, decided again, and those that would not have been let through.
//!
//! It enforces nothing. What is not known (records erased, observations lost) is told beside what is.

use super::{cut_short, far, read_folder};
use crate::client::{Client, Connection};
use crate::failure::Failure;
use crate::known;
use crate::moment::{absolute, counted, grouped, relative};
use crate::output::{Desk, moment_json};
use crate::screen::{Palette, Screen};
use crate::span::Moment;
use crate::table::{Cell, Column, Table};
use crate::text::{escape, hex, shell_word};
use crate::trace::line::{absent, named, shared_domain, short, verdict};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::show_impact_response::What;
use clap::Args;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Rules that one line tells of; the table has all.
const RULES_IN_SHORT: usize = 4;

const COLUMNS: [Column; 6] = [
    Column::whole("VERDICT", u8::MAX),
    Column::cut("RULE", u8::MAX).wishing(24),
    Column::cut("CALL", u8::MAX).wishing(32),
    Column::cut("PRINCIPAL", 6).wishing(32),
    Column::right("CALLS", u8::MAX),
    Column::whole("LAST", 4),
];

#[derive(Debug, Args)]
pub struct Arguments {
    /// A policy folder to try instead of the policy in force
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Only calls since then: `7d` (ago), `2026-11-22`, or `2026-11-22T10:00:00Z`
    #[arg(long, value_name = "TIME", default_value = "7d", allow_hyphen_values = true, value_parser = Moment::past)]
    since: Moment,
    /// Only calls of this server
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Only calls of this tool of it
    #[arg(long, value_name = "NAME", requires = "server")]
    tool: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
}

pub(super) async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let candidate = arguments.directory.as_deref().map(read_folder).transpose()?.unwrap_or_default();
    let file = |file: agentgate_policies::SourceFile| v1::FileContent { path: file.path, content: file.bytes.into() };
    let request = v1::ShowImpactRequest {
        since_us: arguments.since.resolve(desk.now).micros(),
        candidate: candidate.into_iter().map(file).collect(),
        server: arguments.server.clone().unwrap_or_default(),
        tool: arguments.tool.clone().unwrap_or_default(),
    };
    let impact = read(request, client, desk).await?;
    let doubts = match &arguments.server {
        Some(server) if impact.calls == 0 => known::doubts(server, arguments.tool.as_deref(), client).await,
        Some(_) | None => Vec::new(),
    };
    let now = desk.now;
    desk.answer(|screen| render(&impact, arguments, &doubts, now, screen), || to_json(&impact, &doubts))
}

/// Reads it to its end, and says how far it is.
pub async fn read(request: v1::ShowImpactRequest, client: &Client, desk: &mut Desk<'_>) -> Result<v1::Impact, Failure> {
    let mut messages = client.show_impact(request).await?;
    let answer = loop {
        match messages.next().await {
            Ok(Some(v1::ShowImpactResponse { what: Some(What::Progress(progress)) })) => {
                desk.progress(&far("deciding again", &progress))?;
            }
            Ok(Some(v1::ShowImpactResponse { what: Some(What::Impact(impact)) })) => break Ok(impact),
            Ok(Some(v1::ShowImpactResponse { what: None })) => {}
            Ok(None) => break Err(cut_short()),
            Err(failure) => break Err(failure),
        }
    };
    desk.progress_over()?;
    answer
}

/// `would have refused 12 of 340 calls: 9 unknown_tool, 3 tool_gated`.
#[must_use]
pub fn in_short(impact: &v1::Impact) -> String {
    if impact.calls == 0 {
        return "has no call to tell by".to_owned();
    }
    let refused = impact.calls.saturating_sub(impact.allowed);
    let mut text = format!("would have refused {} of {} calls", grouped(refused), grouped(impact.calls));
    let mut rules: BTreeMap<&str, u64> = BTreeMap::new();
    for row in &impact.rows {
        *rules.entry(&row.rule).or_default() += row.calls;
    }
    let mut rules: Vec<(&str, u64)> = rules.into_iter().collect();
    rules.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    let told: Vec<String> =
        rules.iter().take(RULES_IN_SHORT).map(|(rule, calls)| format!("{} {rule}", grouped(*calls))).collect();
    if !told.is_empty() {
        let more = if rules.len() > RULES_IN_SHORT { " and more" } else { "" };
        text += &format!(": {}{more}", told.join(", "));
    }
    text
}

fn render(impact: &v1::Impact, arguments: &Arguments, doubts: &[String], now: Time, screen: &Screen) -> String {
    let what = arguments.directory.as_ref().map(|directory| format!("the policy in {}", directory.display()));
    let what = what.unwrap_or_else(|| "enforcing".to_owned());
    let mut text = escape(&headline(impact, &what), screen.charset);
    let refused = impact.calls.saturating_sub(impact.allowed);
    text = screen.paint(if refused == 0 { Palette::Good } else { Palette::Title }, &text) + "\n";
    if !impact.rows.is_empty() {
        text += "\n";
        text += &table(impact, now, screen);
        text += "\n";
    }
    for (palette, line) in doubts.iter().map(|doubt| (Palette::Waiting, doubt.clone())).chain(told(impact, arguments, now)) {
        text += &screen.paint(palette, &escape(&line, screen.charset));
        text.push('\n');
    }
    text
}

fn headline(impact: &v1::Impact, what: &str) -> String {
    let refused = impact.calls.saturating_sub(impact.allowed);
    let calls = counted(impact.calls, "call");
    match (impact.calls, refused) {
        (0, _) => "no call was recorded in this time, so nothing is known".to_owned(),
        (_, 0) => format!("{what} would have refused none of {calls}"),
        (_, refused) => {
            let principals: BTreeSet<&str> = impact.rows.iter().map(|row| row.principal.as_str()).collect();
            let least = if impact.rows_cut { "at least " } else { "" };
            let principals = counted(principals.len() as u64, "principal");
            format!("{what} would have refused {} of {calls}, of {least}{principals}", grouped(refused))
        }
    }
}

fn table(impact: &v1::Impact, now: Time, screen: &Screen) -> String {
    let shared = shared_domain(impact.rows.iter().map(|row| row.principal.as_str()));
    let mut table = Table::new(&COLUMNS);
    for row in &impact.rows {
        let (name, palette) = verdict(row.verdict());
        table.row(vec![
            Cell::new(palette, name),
            Cell::plain(row.rule.clone()),
            Cell::plain(named(&row.server, &row.method, &row.target)),
            Cell::plain(short(&row.principal, shared)),
            Cell::plain(grouped(row.calls)),
            Cell::new(Palette::Dim, relative(now, row.last_us)),
        ]);
    }
    table.render(screen)
}

/// How much is known, and what to do next.
fn told(impact: &v1::Impact, arguments: &Arguments, now: Time) -> Vec<(Palette, String)> {
    let mut lines = Vec::new();
    if impact.rows_cut {
        lines.push((Palette::Waiting, "there are more rows than these; look at one server with --server".to_owned()));
    }
    let waiting: u64 = impact.rows.iter().filter(|row| row.verdict() == v1::Verdict::Pending).map(|row| row.calls).sum();
    if waiting > 0 {
        lines.push((Palette::Waiting, format!("{} of them would wait for a person, and pass once granted", grouped(waiting))));
    }
    let enforced: u64 = impact.rows.iter().map(|row| row.were_enforced).sum();
    if enforced > 0 {
        lines.push((Palette::Dim, format!("{} of them were refused already when they came", grouped(enforced))));
    }
    if impact.from_us > 0 {
        lines.push((Palette::Dim, format!("records since {} ({})", absolute(impact.from_us), relative(now, impact.from_us))));
    }
    if impact.not_decidable > 0 {
        let calls = counted(impact.not_decidable, "call");
        lines.push((Palette::Waiting, format!("{calls} could not be decided again: erased, or decided by an older law")));
    }
    match impact.observations_lost {
        0 => lines.push((Palette::Dim, "no observation was lost".to_owned())),
        lost => lines.push((Palette::Waiting, format!("{} lost: of these calls nothing is known", counted(lost, "observation")))),
    }
    if let Some(row) = impact.rows.first() {
        lines.push((Palette::Dim, format!("why, and what would change it: agentgate explain {}", row.last_call_id)));
    } else if let Some(server) = arguments.server.as_ref().filter(|_| impact.calls > 0) {
        let tool = arguments.tool.as_ref().map(|tool| format!(" --tool {}", shell_word(tool))).unwrap_or_default();
        lines.push((Palette::Dim, format!("agentgate enforce {}{tool}", shell_word(server))));
    }
    lines
}

fn to_json(impact: &v1::Impact, doubts: &[String]) -> Value {
    let rows = impact.rows.iter().map(|row| {
        json!({
            "tenant": row.tenant,
            "principal": row.principal,
            "server": row.server,
            "method": row.method,
            "target": absent(&row.target),
            "verdict": verdict(row.verdict()).0,
            "rule": row.rule,
            "reason": row.reason,
            "calls": row.calls,
            "last": moment_json(row.last_us),
            "last_call_id": row.last_call_id,
            "were_enforced": row.were_enforced,
        })
    });
    json!({
        "calls": impact.calls,
        "allowed": impact.allowed,
        "refused": impact.calls.saturating_sub(impact.allowed),
        "not_decidable": impact.not_decidable,
        "rows": rows.collect::<Vec<_>>(),
        "rows_cut": impact.rows_cut,
        "from": moment_json(impact.from_us),
        "observations_lost": impact.observations_lost,
        "policy_digest": hex(&impact.policy_digest),
        "warnings": doubts,
    })
}
