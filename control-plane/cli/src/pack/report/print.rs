//! The report on paper: what the page says, in the same order.

use super::Cover;
use super::chart::{self, Chart};
use super::paper::{Cell, Column, Ink, Paper, PaperError, Row, Style, WIDTH, Weight};
use crate::pack::reading::Reading;

const TEXT: Style = Style { size: 9.0, weight: Weight::Regular, ink: Ink::Text };
const SOFT: Style = Style { size: 9.0, weight: Weight::Regular, ink: Ink::Soft };
const SMALL: Style = Style { size: 7.5, weight: Weight::Regular, ink: Ink::Soft };
const TITLE: Style = Style { size: 20.0, weight: Weight::Bold, ink: Ink::Text };

/// The letters of a table.
const TABLE: f32 = 7.5;

const CARD_HEIGHT: f32 = 40.0;
const CARD_GAP: f32 = 8.0;
const CHART_HEIGHT: f32 = 80.0;

pub(super) fn pdf(cover: &Cover, reading: &Reading, chart: &Chart) -> Result<Vec<u8>, PaperError> {
    written(cover, reading, chart)?.finish("AgentGate evidence", &foot(cover))
}

/// What stands under each page.
pub(super) fn foot(cover: &Cover) -> String {
    format!("AgentGate evidence, {}", cover.pack)
}

pub(super) fn written(cover: &Cover, reading: &Reading, chart: &Chart) -> Result<Paper, PaperError> {
    let mut paper = Paper::new()?;
    paper.paragraph("Evidence", TITLE);
    paper.paragraph(super::FOREWORD, SOFT);
    metadata(&mut paper, cover);
    summary(&mut paper, reading, chart);
    anomalies(&mut paper, reading);
    writes(&mut paper, reading);
    policies(&mut paper, cover, reading);
    timeline(&mut paper, reading);
    integrity(&mut paper, cover);
    if paper.has_boxes() {
        paper.space(8.0);
        paper.paragraph("A box stands for a letter that this file's font has not; pack.json has it.", SMALL);
    }
    Ok(paper)
}

fn metadata(paper: &mut Paper, cover: &Cover) {
    paper.heading("What was asked for");
    let columns = [Column::new("", 0.22), Column::new("", 0.78)];
    let row = |(name, value): &(&'static str, String)| vec![Cell::inked(*name, Ink::Soft), Cell::new(value.clone())];
    paper.table(&columns, TEXT.size, cover.lines.iter().map(row));
}

fn summary(paper: &mut Paper, reading: &Reading, chart: &Chart) {
    paper.heading("Summary");
    let cards = super::cards(reading);
    let width = (WIDTH + CARD_GAP) / cards.len().max(1) as f32 - CARD_GAP;
    paper.need(CARD_HEIGHT);
    let mut x = 0.0;
    for (count, name, kind) in &cards {
        let ink = Ink::of(kind);
        paper.fill(x, 0.0, width, CARD_HEIGHT, Ink::Shade);
        paper.label(x + 8.0, 20.0, width - 12.0, &count.to_string(), Style { size: 15.0, weight: Weight::Bold, ink });
        paper.label(x + 8.0, 33.0, width - 12.0, name, Style { ink, ..SMALL });
        x += width + CARD_GAP;
    }
    paper.space(CARD_HEIGHT + 6.0);
    super::notices(reading).iter().for_each(|notice| paper.paragraph(notice, TEXT));
    if chart.bars.is_empty() {
        return;
    }
    paper.need(CHART_HEIGHT + 34.0);
    paper.space(4.0);
    paper.label(0.0, 8.0, WIDTH, &format!("Calls over time; the highest column counts {}", chart.most), SMALL);
    paper.space(14.0);
    let (across, up) = (WIDTH / chart::WIDTH as f32, CHART_HEIGHT / chart::HEIGHT as f32);
    for bar in &chart.bars {
        let (x, y) = (bar.x as f32 * across, bar.y as f32 * up);
        paper.fill(x, y, bar.width as f32 * across, bar.height as f32 * up, Ink::of(bar.name));
    }
    paper.fill(0.0, CHART_HEIGHT, WIDTH, 0.7, Ink::Line);
    paper.label(0.0, CHART_HEIGHT + 11.0, WIDTH / 2.0, &chart.from, SMALL);
    let end = WIDTH - paper.label_width(&chart.to, SMALL);
    paper.label(end, CHART_HEIGHT + 11.0, WIDTH / 2.0, &chart.to, SMALL);
    paper.space(CHART_HEIGHT + 16.0);
}

fn anomalies(paper: &mut Paper, reading: &Reading) {
    paper.heading("Out of the ordinary");
    unread(paper, reading);
    if reading.anomalies.is_empty() {
        if super::is_read(reading) {
            paper.paragraph(super::ORDINARY, TEXT);
        }
        return;
    }
    let columns = [Column::new("What", 0.74), Column::new("Records", 0.26)];
    let row = |anomaly: &crate::pack::reading::Anomaly| {
        let numbers: Vec<String> = anomaly.sequences.iter().map(|sequence| format!("#{sequence}")).collect();
        vec![Cell::new(anomaly.said.clone()), Cell::inked(numbers.join(" "), Ink::Soft)]
    };
    paper.table(&columns, TABLE, reading.anomalies.iter().map(row));
}

fn unread(paper: &mut Paper, reading: &Reading) {
    if let Some(said) = super::unread(reading) {
        paper.paragraph(&said, SOFT);
    }
}

fn writes(paper: &mut Paper, reading: &Reading) {
    paper.heading("Writes");
    unread(paper, reading);
    if reading.writes.is_empty() {
        if super::is_read(reading) {
            paper.paragraph(super::NO_WRITES, TEXT);
        }
        return;
    }
    let columns = [
        Column::right("#", 0.06),
        Column::new("At", 0.2),
        Column::new("Who", 0.24),
        Column::new("Tool", 0.16),
        Column::new("Agreed", 0.22),
        Column::new("Outcome", 0.12),
    ];
    let row = |write: &crate::pack::reading::Written| {
        let agreed =
            if write.agreed.is_empty() { Cell::inked(write.unagreed(), Ink::Soft) } else { Cell::new(write.agreed.join(", ")) };
        let number = Cell::new(write.sequence.to_string());
        vec![number, Cell::new(&write.at), Cell::new(&write.principal), Cell::new(&write.tool), agreed, Cell::new(&write.outcome)]
    };
    paper.table(&columns, TABLE, reading.writes.iter().map(row));
}

fn policies(paper: &mut Paper, cover: &Cover, reading: &Reading) {
    paper.heading("Policy analysis");
    let columns = [
        Column::new("Rule", 0.55),
        Column::right("Allowed", 0.15),
        Column::right("Pending", 0.15),
        Column::right("Denied", 0.15),
    ];
    let row = |rule: &crate::pack::reading::RuleCount| {
        let name = if rule.rule.is_empty() { Cell::inked("erased or sealed", Ink::Soft) } else { Cell::new(&rule.rule) };
        let count = |count: usize| Cell::new(count.to_string());
        vec![name, count(rule.allow), count(rule.pending), count(rule.deny)]
    };
    paper.table(&columns, TABLE, reading.rules.iter().map(row));
    paper.space(8.0);
    let columns =
        [Column::new("Policy in force, by its digest", 0.7), Column::right("Calls", 0.12), Column::new("Its text", 0.18)];
    let row = |policy: &super::Policy| {
        vec![Cell::new(&policy.digest), Cell::new(policy.decided.to_string()), Cell::inked(policy.text(), Ink::Soft)]
    };
    paper.table(&columns, TABLE, cover.policies.iter().map(row));
    if let Some(said) = cover.policy_text() {
        paper.space(4.0);
        paper.paragraph(said, SMALL);
    }
}

fn timeline(paper: &mut Paper, reading: &Reading) {
    paper.heading("Timeline");
    let columns = [
        Column::right("#", 0.06),
        Column::new("At", 0.2),
        Column::new("What", 0.08),
        Column::new("Who", 0.2),
        Column::new("Call or order", 0.15),
        Column::new("Said", 0.1),
        Column::new("Why", 0.21),
    ];
    let row = |line: &crate::pack::reading::Line| {
        let who = if line.is_told() { Cell::new(&line.principal) } else { Cell::inked(line.untold(), Ink::Soft) };
        let cells = vec![
            Cell::new(line.sequence.to_string()),
            Cell::new(&line.at),
            Cell::new(line.kind),
            who,
            Cell::new(if line.is_wordy() { String::new() } else { line.named() }),
            Cell::inked(line.happened(), Ink::of(&line.said)),
            Cell::new(line.why()),
        ];
        Row { cells, below: below(line) }
    };
    paper.table_with(&columns, TABLE, reading.lines.iter().map(row));
}

/// A call's arguments, as far as they go. A sign says where they are cut.
fn below(line: &crate::pack::reading::Line) -> String {
    if line.is_wordy() {
        return line.about.clone();
    }
    let mut said = line.arguments_in_line();
    if line.arguments.cut {
        said += " …";
    }
    if said.is_empty() { said } else { format!("with {said}") }
}

fn integrity(paper: &mut Paper, cover: &Cover) {
    paper.heading("Integrity");
    paper.paragraph("Each record in pack.json carries a proof that leads to this checkpoint of the transparency log:", TEXT);
    paper.space(2.0);
    paper.paragraph(&cover.checkpoint, SMALL);
    paper.space(6.0);
    paper.paragraph("and the control plane signed that these are all the records that it gave:", TEXT);
    paper.space(2.0);
    paper.paragraph(&cover.manifest, SMALL);
    paper.space(6.0);
    paper.paragraph(super::AFTERWORD, SOFT);
}
