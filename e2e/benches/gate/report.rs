//! What was measured, as one table for people (Markdown, readable as it is) and as JSON for programs. It judges nothing.

use crate::gates::{CONTROL_PLANE, ENVOY, Kind, OPA};
use crate::machine::Machine;
use crate::numbers::median;
use crate::ratios::{Ratio, ratios};
use crate::rounds::{self, DRIVER, Half, Plan, Sample, added, over_rounds};
use serde_json::{Value, json};

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    pub(crate) workers: u32,
    pub(crate) era: &'static str,
    pub(crate) gates: Vec<(Kind, Vec<Sample>)>,
    /// What should have been measured and could not, and why.
    pub(crate) left_out: Vec<String>,
    /// The same rate with the other era's calls: added p50.
    pub(crate) other_era: Option<(&'static str, f64)>,
    pub(crate) module_bytes: Option<u64>,
    pub(crate) resident: Option<Resident>,
}

/// The control plane's memory after so many calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resident {
    pub(crate) calls: u64,
    pub(crate) megabytes: f64,
}

/// One line of the table.
struct Line {
    kind: Kind,
    p50: f64,
    p99: f64,
    added_p50: (f64, f64, f64),
    added_p99: (f64, f64, f64),
    envoy: f64,
    control_plane: f64,
    opa: f64,
    saturated: f64,
    /// Calls per second at half of its saturation, and the p99 there.
    half: Option<(f64, f64)>,
}

// === impl Report ===

impl Report {
    pub(crate) fn json(&self) -> Value {
        let gates: Vec<Value> = self.gates.iter().map(|(kind, samples)| self.gate_json(*kind, samples)).collect();
        let machine = &self.machine;
        json!({
            "machine": {
                "cpu": machine.cpu, "cores": machine.cores, "kernel": machine.kernel, "memory_gb": machine.memory_gb,
                "fdatasync_p50_us": machine.sync_p50_us, "fdatasync_p99_us": machine.sync_p99_us,
            },
            "plan": {
                "rounds": self.plan.rounds, "rate": self.plan.rate, "seconds": self.plan.length.as_secs_f64(),
                "saturating_seconds": self.plan.saturating.as_secs_f64(), "connections": self.plan.connections,
                "workers": self.workers, "era": self.era,
            },
            "gates": gates,
            "left_out": self.left_out,
            "ratios": self.ratios().iter().map(ratio_json).collect::<Vec<_>>(),
            "other_era": self.other_era.map(|(era, added)| json!({"era": era, "added_p50_us": added})),
            "module_bytes": self.module_bytes,
            "resident": self.resident.map(|resident| json!({"calls": resident.calls, "megabytes": resident.megabytes})),
        })
    }

    fn gate_json(&self, kind: Kind, samples: &[Sample]) -> Value {
        let rounds: Vec<Value> = samples.iter().map(sample_json).collect();
        let line = self.line(kind, samples);
        json!({
            "gate": kind.label(), "p50_us": line.p50, "p99_us": line.p99,
            "added_p50_us": line.added_p50.0, "added_p99_us": line.added_p99.0,
            "envoy_cpu_us": line.envoy, "control_plane_cpu_us": line.control_plane, "opa_cpu_us": line.opa,
            "saturated_per_second": line.saturated,
            "half_of_saturation": line.half.map(|(rate, p99)| json!({"rate": rate, "p99_us": p99})),
            "rounds": rounds,
        })
    }

    pub(crate) fn table(&self) -> String {
        let machine = &self.machine;
        let head = format!(
            "{} · {} cores · {:.0} GB · Linux {} · write and fdatasync of 1.5 KB: p50 {:.0} µs, p99 {:.0} µs\n\
             {} calls/s, evenly spaced, {} rounds of {} s; then {} s closed-loop over {} connections; Envoy with {} worker{}; MCP {}\n",
            machine.cpu,
            machine.cores,
            machine.memory_gb,
            machine.kernel,
            machine.sync_p50_us,
            machine.sync_p99_us,
            self.plan.rate,
            self.plan.rounds,
            self.plan.length.as_secs(),
            self.plan.saturating.as_secs(),
            self.plan.connections,
            self.workers,
            if self.workers == 1 { "" } else { "s" },
            self.era
        );
        let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
        rows.extend(self.gates.iter().map(|(kind, samples)| self.line(*kind, samples).cells()));
        [head, aligned(&rows), self.notes()].join("\n")
    }

    fn notes(&self) -> String {
        let mut notes = self.left_out.clone();
        if let Some(bytes) = self.module_bytes {
            notes.push(format!("Module: {:.0} KB.", kilobytes(bytes)));
        }
        if let Some(resident) = self.resident {
            notes.push(format!("Control plane after {} calls: {:.0} MB resident.", resident.calls, resident.megabytes));
        }
        if let Some((era, added)) = self.other_era {
            notes.push(format!("The same calls in MCP {era}: +{added:.0} µs at p50."));
        }
        let samples = || self.gates.iter().flat_map(|(_, samples)| samples.iter());
        let others = samples().map(|sample| sample.others).fold(0.0, f64::max);
        let unused = samples().map(|sample| sample.unused).fold(1.0, f64::min);
        let driver = rounds::over_rounds(&samples().cloned().collect::<Vec<_>>(), |sample| sample.process_us(DRIVER));
        notes.push(format!(
            "At this rate at least {:.0} % of the cores stayed unused; other programs took up to {:.0} %; driver and upstream {driver:.0} µs a call.",
            unused * 100.0, others * 100.0
        ));
        if others > DISTURBED {
            notes.push("Others were busy: latencies are too high and CPU is too; differences between gates are wider than on a quiet machine.".into());
        }
        for (kind, samples) in &self.gates {
            if let Some((rate, p99)) = self.line(*kind, samples).half {
                notes.push(format!("{} at half of its saturation ({rate:.0} calls/s): p99 {p99:.0} µs.", kind.label()));
            }
        }
        notes.extend(self.ratios().iter().map(Ratio::line));
        notes.join("\n") + "\n"
    }

    fn ratios(&self) -> Vec<Ratio> {
        let added: Vec<_> = self.gates.iter().map(|(kind, samples)| (*kind, self.line(*kind, samples).added_p50.0)).collect();
        ratios(&added)
    }

    fn line(&self, kind: Kind, samples: &[Sample]) -> Line {
        let first = self.gates.first().map_or(samples, |(_, first)| first);
        Line {
            kind,
            p50: over_rounds(samples, |sample| sample.p50_us),
            p99: over_rounds(samples, |sample| sample.p99_us),
            added_p50: added(samples, first, |sample| sample.p50_us),
            added_p99: added(samples, first, |sample| sample.p99_us),
            envoy: over_rounds(samples, |sample| sample.process_us(ENVOY)),
            control_plane: over_rounds(samples, |sample| sample.process_us(CONTROL_PLANE)),
            opa: over_rounds(samples, |sample| sample.process_us(OPA)),
            saturated: over_rounds(samples, |sample| sample.saturated_per_second),
            half: half(samples),
        }
    }
}

/// The share of the cores above which others are worth a word. The kernel's own work beside any process is a few percent.
const DISTURBED: f64 = 0.1;

const HEADINGS: [&str; 9] = [
    "gate",
    "p50 µs",
    "added p50 (lowest–highest round)",
    "p99 µs",
    "added p99",
    "Envoy CPU µs/call",
    "control plane CPU µs/call",
    "OPA CPU µs/call",
    "calls/s at most",
];

// === impl Line ===

impl Line {
    fn cells(&self) -> Vec<String> {
        let whole = |value: f64| format!("{value:.0}");
        let spent = |micros: f64| if micros > 0.0 { whole(micros) } else { "–".into() };
        let first = self.kind == Kind::Plain;
        let (middle, lowest, highest) = self.added_p50;
        vec![
            self.kind.label().to_owned(),
            whole(self.p50),
            if first { "–".into() } else { format!("{middle:+.0} ({lowest:+.0}–{highest:+.0})") },
            whole(self.p99),
            if first { "–".into() } else { format!("{:+.0}", self.added_p99.0) },
            whole(self.envoy),
            spent(self.control_plane),
            spent(self.opa),
            whole(self.saturated),
        ]
    }
}

/// The medians over rounds; none where it was not measured.
fn half(samples: &[Sample]) -> Option<(f64, f64)> {
    let halves: Vec<Half> = samples.iter().filter_map(|sample| sample.half).collect();
    let rate = median(halves.iter().map(|half| f64::from(half.rate)));
    let p99 = median(halves.iter().map(|half| half.p99_us));
    (!halves.is_empty()).then_some((rate, p99))
}

fn ratio_json(ratio: &Ratio) -> Value {
    json!({"of": ratio.of.label(), "over": ratio.over.label(), "added_p50": ratio.value})
}

fn sample_json(sample: &Sample) -> Value {
    let threads: Vec<Value> = sample
        .cpu_us
        .iter()
        .map(|((process, thread), micros)| json!({"process": process, "thread": thread, "cpu_us": micros}))
        .collect();
    json!({
        "p50_us": sample.p50_us, "p99_us": sample.p99_us, "saturated_per_second": sample.saturated_per_second,
        "half_of_saturation": sample.half.map(|half| json!({"rate": half.rate, "p99_us": half.p99_us})),
        "others_share": sample.others, "unused_share": sample.unused, "threads": threads,
    })
}

/// A Markdown table whose columns stand under each other.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).enumerate();
            let padded =
                cells.map(|(at, (cell, width))| if at == 0 { format!(" {cell:<width$} ") } else { format!(" {cell:>width$} ") });
            format!("|{}|", padded.collect::<Vec<_>>().join("|"))
        })
        .collect();
    let rule =
        widths.iter().enumerate().map(|(at, width)| if at == 0 { "-".repeat(width + 2) } else { "-".repeat(width + 1) + ":" });
    lines.insert(1.min(lines.len()), format!("|{}|", rule.collect::<Vec<_>>().join("|")));
    lines.join("\n") + "\n"
}

fn kilobytes(bytes: u64) -> f64 {
    u32::try_from(bytes).map_or(f64::INFINITY, f64::from) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [vec!["a".to_owned(), "µs".to_owned()], vec!["longer".to_owned(), "1".to_owned()]];
        assert_eq!(aligned(&rows), "| a      | µs |\n|--------|---:|\n| longer |  1 |\n");
    }
}
