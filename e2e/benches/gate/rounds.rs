//! The measurement: every gate in every round, each round beginning with another one, so that what changes on the machine changes for all.

use crate::gates::Gate;
use crate::load::{Pace, Seen};
use crate::machine::Busy;
use crate::numbers::median;
use crate::processes::{Spent, Watched};
use agentgate_e2e::Broken;
use std::collections::BTreeMap;
use std::time::Duration;

/// Connections, pools and caches as they are after a while.
const WARM_UP: Duration = Duration::from_secs(2);

/// Samples that may be thrown away one after the other: a quarter of an hour, and then nobody waits any longer.
const DISTURBED_MAX: usize = 100;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) rate: u32,
    pub(crate) length: Duration,
    pub(crate) saturating: Duration,
    pub(crate) connections: usize,
    /// A sample during which other programs used a larger share of the cores is thrown away and taken again.
    pub(crate) others_max: f64,
}

/// One gate in one round.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Microseconds of CPU for each call, by process and thread.
    pub(crate) cpu_us: BTreeMap<(&'static str, String), f64>,
    /// The share of the cores that neither the gate nor the driver used.
    pub(crate) others: f64,
    /// The share of the cores that nobody used.
    pub(crate) unused: f64,
    pub(crate) saturated_per_second: f64,
    /// AgentGate's own gates only: what one promises is kept at half of what one can take.
    pub(crate) half: Option<Half>,
}

/// A gate at half of the rate that it could just take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half {
    pub(crate) rate: u32,
    pub(crate) p99_us: f64,
    /// As a sample's.
    others: f64,
}

/// What went where while a gate was measured.
struct Shares {
    /// Microseconds of CPU, by process and thread.
    cpu_us: BTreeMap<(&'static str, String), f64>,
    others: f64,
    unused: f64,
}

pub(crate) const DRIVER: &str = "driver and upstream";

// === impl Plan ===

impl Plan {
    /// Samples by gate, in the order of `gates`, and in each by round.
    pub(crate) fn measure(&self, gates: &mut [Gate], mut say: impl FnMut(String)) -> Result<Vec<Vec<Sample>>, Broken> {
        for gate in &mut *gates {
            say(format!("warming up {}", gate.kind.label()));
            gate.load.run(Pace::Open { rate: self.rate }, WARM_UP)?;
            gate.load.run(Pace::Closed { connections: self.connections }, WARM_UP)?;
        }
        let mut samples = vec![Vec::new(); gates.len()];
        for round in 0..self.rounds {
            for turn in 0..gates.len() {
                let at = (turn + round) % gates.len();
                let (Some(gate), Some(of_gate)) = (gates.get_mut(at), samples.get_mut(at)) else { continue };
                let sample = self.undisturbed(gate, &mut say)?;
                say(format!("round {} of {}  {}  {}", round + 1, self.rounds, gate.kind.label(), sample.line()));
                of_gate.push(sample);
            }
        }
        Ok(samples)
    }

    /// Chosen by what others did meanwhile, never by what was measured.
    fn undisturbed(&self, gate: &mut Gate, mut say: impl FnMut(String)) -> Result<Sample, Broken> {
        for _ in 0..DISTURBED_MAX {
            let sample = self.sample(gate)?;
            if sample.others <= self.others_max {
                return Ok(sample);
            }
            say(format!("again: others used {:.0} % of the cores", sample.others * 100.0));
        }
        Err(Broken(format!("other programs disturbed {DISTURBED_MAX} samples in a row; measure when they are done")))
    }

    fn sample(&self, gate: &mut Gate) -> Result<Sample, Broken> {
        let (seen, spent) = watched(gate, self.rate, self.length)?;
        let saturated = gate.load.run(Pace::Closed { connections: self.connections }, self.saturating)?;
        let half = if gate.kind.is_ours() { Some(self.half(gate, saturated.per_second())?) } else { None };
        Ok(Sample {
            p50_us: seen.quantile_us(0.5),
            p99_us: seen.quantile_us(0.99),
            others: spent.others.max(half.map_or(0.0, |half| half.others)),
            unused: spent.unused,
            cpu_us: spent.cpu_us.into_iter().map(|(key, micros)| (key, micros / seen.count())).collect(),
            saturated_per_second: saturated.per_second(),
            half,
        })
    }

    fn half(&self, gate: &mut Gate, saturated_per_second: f64) -> Result<Half, Broken> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "calls per second, and no machine makes 2³²")]
        let rate = ((saturated_per_second / 2.0) as u32).max(1);
        let (seen, spent) = watched(gate, rate, self.length)?;
        Ok(Half { rate, p99_us: seen.quantile_us(0.99), others: spent.others })
    }
}

fn watched(gate: &mut Gate, rate: u32, length: Duration) -> Result<(Seen, Shares), Broken> {
    let mut watched = gate.watched.clone();
    watched.push(Watched::new(DRIVER, std::process::id()));
    let (spent, busy) = (Spent::now(&watched)?, Busy::now()?);
    let seen = gate.load.run(Pace::Open { rate }, length)?;
    let (cpu_us, busy) = (Spent::now(&watched)?.since(&spent), Busy::now()?.since(busy));
    let own = cpu_us.values().sum::<f64>() / 1e6;
    let others = ((busy.seconds - own) / busy.available_seconds).max(0.0);
    Ok((seen, Shares { cpu_us, others, unused: 1.0 - busy.seconds / busy.available_seconds }))
}

// === impl Sample ===

impl Sample {
    /// CPU of one process, all its threads.
    pub(crate) fn process_us(&self, process: &str) -> f64 {
        self.cpu_us.iter().filter(|((name, _), _)| *name == process).map(|(_, micros)| micros).sum()
    }

    fn line(&self) -> String {
        format!(
            "p50 {:.0} µs  p99 {:.0} µs  {:.0}/s at most  (others used {:.0} % of the cores)",
            self.p50_us,
            self.p99_us,
            self.saturated_per_second,
            self.others * 100.0
        )
    }
}

/// The median over rounds of what each sample says.
pub(crate) fn over_rounds(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    median(samples.iter().map(of))
}

/// What is added to the first gate: the median, lowest and highest of the differences within each round.
pub(crate) fn added(samples: &[Sample], first: &[Sample], of: impl Fn(&Sample) -> f64) -> (f64, f64, f64) {
    let differences: Vec<f64> = samples.iter().zip(first).map(|(sample, first)| of(sample) - of(first)).collect();
    let lowest = differences.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = differences.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (median(differences), lowest, highest)
}
