//! What a durable append costs, beside what the disk itself asks for it in the same run: medians and 99th percentiles of
//! one append, and throughput with many under way. It needs no harness: means and regressions are not what it is after.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use agentgate_control_plane::journal::embedded::{Embedded, Settings};
use agentgate_control_plane::journal::{Change, Expected, Journal, Stream, Write};
use agentgate_core::digest::Digest;
use bytes::Bytes;
use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const RECORD_BYTES: usize = 1500;
const BODY_BYTES: usize = 1000;

/// Rounds are interleaved, so that a disk that slows down slows all of them.
const ROUNDS: u64 = 3;
const WITHIN: Duration = Duration::from_secs(2);

/// What the control plane has written when its size is looked at.
const CALLS: u64 = 100_000;

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let directory = tempfile::tempdir_in(".")?;
    let journal = Arc::new(Embedded::open(Settings::new(directory.path().join("journal")))?);
    let numbers = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    runtime.block_on(fill(&journal, &numbers, CALLS))?;
    let rate = journal.health().head as f64 / start.elapsed().as_secs_f64();
    println!("{} records with bodies: {rate:.0} per second, {} MB resident\n", journal.health().head, resident_kb()? / 1024);
    println!("{:<34} {:>9} {:>9} {:>12}", "", "p50 µs", "p99 µs", "per second");
    for _ in 0..ROUNDS {
        row("raw: write and fdatasync, 1.5 KB", &raw_syncs(directory.path())?);
        for bodies in [false, true] {
            for under_way in [1, 64, 256] {
                let name = format!("append, {} {under_way} under way", if bodies { "with body," } else { "record only," });
                row(&name, &runtime.block_on(appends(&journal, &numbers, under_way, bodies))?);
            }
        }
    }
    println!("\n{} records: {} MB resident", journal.health().head, resident_kb()? / 1024);
    Ok(())
}

struct Timed {
    latencies: Vec<Duration>,
    took: Duration,
}

fn row(name: &str, timed: &Timed) {
    let mut sorted = timed.latencies.clone();
    sorted.sort_unstable();
    let at = |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)));
    let micros = |percent| at(percent).map_or(0, Duration::as_micros);
    let rate = sorted.len() as f64 / timed.took.as_secs_f64();
    println!("{name:<34} {:>9} {:>9} {rate:>12.0}", micros(50), micros(99));
}

/// The floor: the same bytes into a file that was written out beforehand.
fn raw_syncs(directory: &Path) -> Outcome<Timed> {
    let path = directory.join("raw");
    fs::write(&path, vec![0; 16 << 20])?;
    let file = File::options().write(true).open(&path)?;
    file.sync_all()?;
    let record = vec![7; RECORD_BYTES];
    let (start, mut latencies, mut offset) = (Instant::now(), Vec::new(), 0);
    while start.elapsed() < WITHIN && offset + RECORD_BYTES < 16 << 20 {
        let began = Instant::now();
        file.write_all_at(&record, offset as u64)?;
        file.sync_data()?;
        latencies.push(began.elapsed());
        offset += RECORD_BYTES;
    }
    Ok(Timed { latencies, took: start.elapsed() })
}

async fn appends(journal: &Arc<Embedded>, numbers: &Arc<AtomicU64>, under_way: u64, bodies: bool) -> Outcome<Timed> {
    let start = Instant::now();
    let callers = (0..under_way).map(|_| {
        let (journal, numbers) = (Arc::clone(journal), Arc::clone(numbers));
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while start.elapsed() < WITHIN {
                let change = numbered(numbers.fetch_add(1, Ordering::Relaxed), bodies);
                let began = Instant::now();
                journal.append(change).await?;
                latencies.push(began.elapsed());
            }
            Outcome::Ok(latencies)
        })
    });
    let mut latencies = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        latencies.extend(caller.await??);
    }
    Ok(Timed { latencies, took: start.elapsed() })
}

/// As many calls as one run of the whole gate makes, from 64 callers.
async fn fill(journal: &Arc<Embedded>, numbers: &Arc<AtomicU64>, calls: u64) -> Outcome<()> {
    let callers = (0..64).map(|_| {
        let (journal, numbers) = (Arc::clone(journal), Arc::clone(numbers));
        tokio::spawn(async move {
            for _ in 0..calls / 64 {
                journal.append(numbered(numbers.fetch_add(1, Ordering::Relaxed), true)).await?;
            }
            Outcome::Ok(())
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    Ok(())
}

/// A change like a decision's: a record of one of a thousand subjects, and the body of the call.
fn numbered(number: u64, has_body: bool) -> Change {
    let bytes = number.to_le_bytes();
    let filled = |length: usize| Bytes::from(bytes.iter().copied().cycle().take(length).collect::<Vec<_>>());
    let write = Write {
        stream: Stream(Digest::of("bench/stream", &(number % 1000).to_le_bytes())),
        expected: Expected::Any,
        id: Digest::of("bench/id", &bytes),
        record: filled(RECORD_BYTES),
    };
    Change { fence: None, writes: vec![write], bodies: if has_body { vec![filled(BODY_BYTES)] } else { Vec::new() } }
}

fn resident_kb() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
