//! `agentgate policy test`: tries a policy folder's cases here, without a control plane, by the same engine and the same law.
//!
//! It puts nothing into force.

use super::read_folder;
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use crate::screen::{Palette, Screen};
use crate::table::{Cell, Column, Pairs, Table};
use crate::text::hex;
use agentgate_policies::{Bundle, CaseReport, CaseRow, Coverage};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

const CASES: [Column; 3] = [Column::whole("", u8::MAX), Column::cut("CASE", u8::MAX), Column::cut("WHERE", 1)];

const COVERAGE: [Column; 3] =
    [Column::cut("FILE", u8::MAX), Column::right("REACHED", u8::MAX), Column::cut("LINES THAT NO CASE REACHES", 1)];

#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder: `rego/*.rego`, `tools.yaml` and `cases/*.yaml`
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// List the cases that pass as well
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let directory = arguments.directory.display().to_string();
    let again = format!("correct it, then: agentgate policy test {directory}");
    let files = read_folder(&arguments.directory)?;
    let bundle = Bundle::load(files).map_err(|error| {
        let said = format!("the policy in `{directory}` would not be put into force");
        Failure::new(Exit::Refused, said).because(error).then(again.clone())
    })?;
    let cases = bundle.cases();
    desk.progress(&format!("trying {cases} cases {}", desk.screen.sign("…", "...")))?;
    let report = bundle.try_cases();
    desk.progress_over()?;
    desk.answer(|screen| render(&bundle, &report, arguments.verbose, screen), || to_json(&bundle, &report))?;
    if report.passed() && cases > 0 {
        return Ok(());
    }
    let failed = report.failed();
    let said = if cases == 0 {
        "there is no case, so nothing is shown to work".to_owned()
    } else {
        format!("{failed} of {cases} cases fail")
    };
    Err(Failure::new(Exit::Refused, said).then(if cases == 0 {
        "write one in `cases/*.yaml`: what is given, and what is wanted".to_owned()
    } else {
        again
    }))
}

fn render(bundle: &Bundle, report: &CaseReport, verbose: bool, screen: &Screen) -> String {
    let mut pairs = Pairs::new(screen);
    pairs.heading("Policy");
    pairs.pair("digest", Palette::Plain, &hex(bundle.digest().as_bytes()));
    pairs.pair("rules", Palette::Plain, &bundle.rules().to_string());
    pairs.pair("cases", Palette::Plain, &bundle.cases().to_string());
    let mut text = pairs.finish();
    let failed: Vec<&CaseRow> = report.rows.iter().filter(|row| row.failure.is_some()).collect();
    let listed: Vec<&CaseRow> = if verbose { report.rows.iter().collect() } else { failed.clone() };
    if !listed.is_empty() {
        text += &format!("\n{}", table(&listed, screen));
    }
    if !failed.is_empty() {
        text += &format!("\n{}", failures(&failed, screen));
    }
    if !report.coverage.is_empty() {
        text += &format!("\n{}", coverage(&report.coverage, screen));
        // No case can reach what a rule says of a row that nobody has written.
        if bundle.servers().next().is_none() && report.coverage.iter().any(|file| !file.missed.is_empty()) {
            let said =
                "tools.yaml has no row yet: what is said of open, gated and blocked tools waits for one, and for a case of it";
            text += &format!("{}\n", screen.paint(Palette::Dim, said));
        }
    }
    if report.passed() && !report.rows.is_empty() {
        let sign = screen.paint(Palette::Good, screen.sign("✓", "ok"));
        let all = if report.rows.len() == 1 {
            "the only case passes".to_owned()
        } else {
            format!("all {} cases pass", report.rows.len())
        };
        text += &format!("\n{sign} {all}\n");
    }
    text
}

fn table(rows: &[&CaseRow], screen: &Screen) -> String {
    let mut table = Table::new(&CASES);
    for row in rows {
        let result = match row.failure {
            None => Cell::new(Palette::Good, screen.sign("✓", "ok")),
            Some(_) => Cell::new(Palette::Bad, screen.sign("✗", "fails")),
        };
        table.row(vec![result, Cell::plain(row.name.clone()), Cell::new(Palette::Dim, format!("{}:{}", row.file, row.line))]);
    }
    table.render(screen)
}

/// What was wanted and what came instead, in full: this is what the author came for.
fn failures(rows: &[&CaseRow], screen: &Screen) -> String {
    let mut pairs = Pairs::new(screen);
    for row in rows {
        pairs.heading(&crate::text::escape(&row.name, screen.charset));
        pairs.pair("where", Palette::Dim, &format!("{}:{}", row.file, row.line));
        pairs.pair("result", Palette::Bad, row.failure.as_deref().unwrap_or_default());
    }
    pairs.finish()
}

fn coverage(coverage: &[Coverage], screen: &Screen) -> String {
    let mut table = Table::new(&COVERAGE);
    for file in coverage {
        let all = file.reached + file.missed.len();
        let palette = if file.missed.is_empty() { Palette::Good } else { Palette::Waiting };
        table.row(vec![
            Cell::plain(file.file.clone()),
            Cell::new(palette, format!("{} of {all}", file.reached)),
            Cell::plain(ranges(&file.missed)),
        ]);
    }
    table.render(screen)
}

/// `3, 7-9`, of lines in order.
fn ranges(lines: &[u32]) -> String {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for line in lines.iter().copied() {
        match spans.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(line) => *end = line,
            Some(_) | None => spans.push((line, line)),
        }
    }
    let write = |(begin, end): &(u32, u32)| if begin == end { begin.to_string() } else { format!("{begin}-{end}") };
    spans.iter().map(write).collect::<Vec<_>>().join(", ")
}

fn to_json(bundle: &Bundle, report: &CaseReport) -> Value {
    let cases = report.rows.iter().map(|row| {
        json!({ "name": row.name, "file": row.file, "line": row.line, "passed": row.failure.is_none(), "failure": row.failure })
    });
    let coverage =
        report.coverage.iter().map(|file| json!({ "file": file.file, "reached": file.reached, "missed": file.missed }));
    json!({
        "digest": hex(bundle.digest().as_bytes()),
        "rules": bundle.rules(),
        "passed": report.passed(),
        "cases": cases.collect::<Vec<_>>(),
        "coverage": coverage.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn lines_that_follow_each_other_are_one_range() {
        for (lines, written) in
            [(&[][..], ""), (&[3], "3"), (&[3, 4], "3-4"), (&[3, 7, 8, 9, 12], "3, 7-9, 12"), (&[u32::MAX], "4294967295")]
        {
            assert_eq!(ranges(lines), written);
        }
    }
}
