//! Findings as people and programs read them: the gravest first, each check once with all places where it fired.

use super::finding::{Finding, Findings};
use super::table::{Check, Severity};
use crate::screen::{Palette, Screen};
use crate::text::escape;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

/// Where words begin below a heading.
const INDENT: usize = 11;

/// A line of running text is not longer, however wide the terminal is.
const COLUMNS_MAX: usize = 120;

#[must_use]
pub(crate) fn render(findings: &Findings, file: &str, screen: &Screen) -> String {
    let mut text = String::new();
    for severity in Severity::ALL {
        for check in Check::ALL.iter().filter(|check| check.severity() == severity) {
            let fired: Vec<&Finding> = findings.list.iter().filter(|finding| finding.check == *check).collect();
            if !fired.is_empty() {
                text += &block(*check, &fired, file, screen);
                text.push('\n');
            }
        }
    }
    for seen in &findings.seen {
        text += &paragraph("seen", Palette::Dim, seen, screen);
    }
    for unseen in &findings.unseen {
        text += &paragraph("not seen", Palette::Dim, unseen, screen);
    }
    if !findings.seen.is_empty() || !findings.unseen.is_empty() {
        text.push('\n');
    }
    text + &summary(findings, screen)
}

fn block(check: Check, fired: &[&Finding], file: &str, screen: &Screen) -> String {
    let severity = check.severity();
    let palette = match severity {
        Severity::Hole => Palette::Bad,
        Severity::Warning => Palette::Waiting,
        Severity::Note => Palette::Plain,
    };
    let mut text = paragraph(severity.name(), palette, &format!("{} ({})", check.what(), check.name()), screen);
    for finding in fired {
        let said = if finding.said.is_empty() { String::new() } else { format!(": {}", finding.said) };
        text += &paragraph("  where", Palette::Dim, &format!("{}{said}", place(finding, file)), screen);
    }
    text += &paragraph("  why", Palette::Dim, check.why(), screen);
    text + &paragraph("  repair", Palette::Title, check.repair(), screen)
}

/// `envoy.yaml:118, listener agents`.
fn place(finding: &Finding, file: &str) -> String {
    match finding.line {
        Some(line) => format!("{file}:{line}, {}", finding.at),
        None => finding.at.clone(),
    }
}

fn summary(findings: &Findings, screen: &Screen) -> String {
    let counted = Severity::ALL.map(|severity| {
        let count = findings.count(severity);
        format!("{count} {}{}", severity.name(), if count == 1 { "" } else { "s" })
    });
    let seen = if findings.unseen.is_empty() { "" } else { " in what was seen" };
    let said = format!("{}{seen}", counted.join(", "));
    let said = if findings.no_gate { format!("{said}; no gate was looked at") } else { said };
    match findings.count(Severity::Hole) {
        0 => format!("{} {said}\n", screen.paint(Palette::Good, screen.sign("✓", "ok"))),
        _ => format!("{} {said}\n", screen.paint(Palette::Bad, screen.sign("✗", "open"))),
    }
}

/// A word at the left, and text in a column of its own that breaks between words.
fn paragraph(name: &str, palette: Palette, text: &str, screen: &Screen) -> String {
    let room = usize::from(screen.columns).min(COLUMNS_MAX).saturating_sub(INDENT).max(1);
    let mut lines = vec![String::new()];
    for word in escape(text, screen.charset).split(' ') {
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(word);
        } else if line.width() + 1 + word.width() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    let head = screen.paint(palette, &format!("{name:<width$}", width = INDENT - 1));
    lines
        .iter()
        .enumerate()
        .map(|(at, line)| if at == 0 { format!("{head} {line}\n") } else { format!("{:INDENT$}{line}\n", "") })
        .collect()
}

#[must_use]
pub(crate) fn to_json(findings: &Findings) -> Value {
    let list = findings.list.iter().map(|finding| {
        json!({
            "check": finding.check.name(),
            "severity": finding.check.severity().name(),
            "where": finding.at,
            "line": finding.line,
            "said": (!finding.said.is_empty()).then_some(&finding.said),
            "what": finding.check.what(),
            "why": finding.check.why(),
            "repair": finding.check.repair(),
        })
    });
    json!({
        "holes": findings.count(Severity::Hole),
        "warnings": findings.count(Severity::Warning),
        "notes": findings.count(Severity::Note),
        "findings": list.collect::<Vec<_>>(),
        "seen": findings.seen,
        "unseen": findings.unseen,
        "gate_seen": !findings.no_gate,
    })
}
