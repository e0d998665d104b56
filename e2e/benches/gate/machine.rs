//! The machine that a figure was made on, and how much of it others used meanwhile. It changes nothing about it.

use crate::numbers::quantile;
use agentgate_e2e::{Broken, Doing, now};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;

/// Enough for a p99.
const SYNCS: usize = 400;
/// A decision and the record around it.
const SYNC_BYTES: usize = 1536;

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) memory_gb: f64,
    /// One write of 1.5 KB into a file that was written out before, and one `fdatasync`.
    pub(crate) sync_p50_us: f64,
    pub(crate) sync_p99_us: f64,
}

/// What all cores together spent on anything, of what they had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Busy {
    pub(crate) seconds: f64,
    pub(crate) available_seconds: f64,
}

/// What the kernel counts `/proc/stat` in, on every machine that Envoy runs on.
const TICKS_PER_SECOND: f64 = 100.0;

// === impl Machine ===

impl Machine {
    /// `directory` lies where the journals will be.
    pub(crate) fn look(directory: &Path) -> Result<Self, Broken> {
        let cpus = fs::read_to_string("/proc/cpuinfo").doing("/proc/cpuinfo")?;
        let cpu =
            cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("unknown", |(_, name)| name);
        let memory = fs::read_to_string("/proc/meminfo").doing("/proc/meminfo")?;
        let memory_kib: f64 = memory.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).doing("/proc/meminfo")?;
        let syncs = syncs(directory)?;
        Ok(Self {
            cpu: cpu.into(),
            cores: thread::available_parallelism().doing("the cores")?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").doing("the kernel's version")?.trim().into(),
            memory_gb: memory_kib / 1024.0 / 1024.0,
            sync_p50_us: quantile(&syncs, 0.5),
            sync_p99_us: quantile(&syncs, 0.99),
        })
    }
}

fn syncs(directory: &Path) -> Result<Vec<f64>, Broken> {
    let path = directory.join("syncs");
    let mut file = File::create(&path).doing(path.display())?;
    file.write_all(&vec![0; SYNC_BYTES * SYNCS]).and_then(|()| file.sync_all()).doing(path.display())?;
    file.seek(SeekFrom::Start(0)).doing(path.display())?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = now();
        file.write_all(&[7; SYNC_BYTES]).and_then(|()| file.sync_data()).doing(path.display())?;
        took.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    fs::remove_file(&path).doing(path.display())?;
    took.sort_by(f64::total_cmp);
    Ok(took)
}

// === impl Busy ===

impl Busy {
    pub(crate) fn now() -> Result<Self, Broken> {
        let stat = fs::read_to_string("/proc/stat").doing("/proc/stat")?;
        let first = stat.lines().next().unwrap_or_default();
        // user, nice, system, idle, iowait, irq, softirq, steal
        let ticks: Vec<f64> = first.split_whitespace().skip(1).take(8).filter_map(|ticks| ticks.parse().ok()).collect();
        let still: f64 = ticks.iter().skip(3).take(2).sum();
        let available_seconds = ticks.iter().sum::<f64>() / TICKS_PER_SECOND;
        Ok(Self { seconds: available_seconds - still / TICKS_PER_SECOND, available_seconds })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        let available_seconds = (self.available_seconds - before.available_seconds).max(1.0 / TICKS_PER_SECOND);
        Self { seconds: self.seconds - before.seconds, available_seconds }
    }
}
