//! What a durable append costs, beside what the disk itself asks for it in the same run: medians and 99th percentiles of
//! one append, and throughput with many under way. It needs no harness: means and regressions are not what it is after.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod real;

use agentgate_control_plane::journal::embedded::{Embedded, Settings};
use agentgate_control_plane::journal::{Change, Journal};
use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What is written and synced alone, to know the disk.
const RAW_BYTES: usize = 1500;

/// Changes under way when nobody waits for anything but the disk.
const SATURATING: u64 = 512;

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
    runtime.block_on(real::begin(Arc::clone(&journal) as Arc<dyn Journal>))?;
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
    runtime.block_on(promised(&journal, &numbers, directory.path()))?;
    println!("\n{} records: {} MB resident", journal.health().head, resident_kb()? / 1024);
    Ok(())
}

struct Timed {
    latencies: Vec<Duration>,
    took: Duration,
}

fn row(name: &str, timed: &Timed) {
    let micros = |percent| percentile(timed, percent).as_micros();
    let rate = timed.latencies.len() as f64 / timed.took.as_secs_f64();
    println!("{name:<34} {:>9} {:>9} {rate:>12.0}", micros(50), micros(99));
}

/// The floor: the same bytes into a file that was written out beforehand.
fn raw_syncs(directory: &Path) -> Outcome<Timed> {
    let path = directory.join("raw");
    fs::write(&path, vec![0; 16 << 20])?;
    let file = File::options().write(true).open(&path)?;
    file.sync_all()?;
    let record = vec![7; RAW_BYTES];
    let (start, mut latencies, mut offset) = (Instant::now(), Vec::new(), 0);
    while start.elapsed() < WITHIN && offset + RAW_BYTES < 16 << 20 {
        let began = Instant::now();
        file.write_all_at(&record, offset as u64)?;
        file.sync_data()?;
        latencies.push(began.elapsed());
        offset += RAW_BYTES;
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
                let change = numbered(numbers.fetch_add(1, Ordering::Relaxed), bodies)?;
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
                journal.append(numbered(numbers.fetch_add(1, Ordering::Relaxed), true)?).await?;
            }
            Outcome::Ok(())
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    Ok(())
}

/// A change like a decision's, with its body or without.
fn numbered(number: u64, has_body: bool) -> Result<Change, String> {
    let change = real::change(number, number)?;
    Ok(if has_body { change } else { Change { bodies: Vec::new(), ..change } })
}

/// The promise: how far many changes share a sync, and what that costs each of them at half of the most.
async fn promised(journal: &Arc<Embedded>, numbers: &Arc<AtomicU64>, directory: &Path) -> Outcome<()> {
    let (record, body) = (numbered(0, true)?.writes.first().map_or(0, |write| write.record.len()), numbered(0, true)?.bodies);
    println!("\nrecords of {record} bytes, bodies of {}", body.first().map_or(0, bytes::Bytes::len));
    println!(
        "{:>12} {:>14} {:>7} {:>12} {:>9} {:>9} {:>14}",
        "syncs/s", "saturated/s", "ratio", "half/s", "p50 µs", "p99 µs", "p99 in syncs"
    );
    for _ in 0..ROUNDS {
        let raw = raw_syncs(directory)?;
        let sync = percentile(&raw, 50);
        let syncs = raw.latencies.len() as f64 / raw.took.as_secs_f64();
        let saturated = appends(journal, numbers, SATURATING, true).await?;
        let most = saturated.latencies.len() as f64 / saturated.took.as_secs_f64();
        let half = open_loop(journal, numbers, most / 2.0).await?;
        let (p50, p99) = (percentile(&half, 50), percentile(&half, 99));
        println!(
            "{syncs:>12.0} {most:>14.0} {:>7.1} {:>12.0} {:>9} {:>9} {:>14.1}",
            most / syncs,
            half.latencies.len() as f64 / half.took.as_secs_f64(),
            p50.as_micros(),
            p99.as_micros(),
            p99.as_secs_f64() / sync.as_secs_f64(),
        );
    }
    Ok(())
}

/// Changes begin at `rate`, whatever becomes of the ones before; each latency counts from when its change was due. They are
/// made beforehand: what is measured is the journal.
async fn open_loop(journal: &Arc<Embedded>, numbers: &Arc<AtomicU64>, rate: f64) -> Outcome<Timed> {
    #[expect(clippy::cast_possible_truncation, reason = "some thousand changes")]
    let count = (rate * WITHIN.as_secs_f64()) as u64;
    let changes = (0..count).map(|_| numbered(numbers.fetch_add(1, Ordering::Relaxed), true));
    let changes = changes.collect::<Result<Vec<_>, _>>()?;
    let (runtime, journal) = (tokio::runtime::Handle::current(), Arc::clone(journal));
    // On a thread of its own, which sleeps: whoever waits on a core takes it from the journal.
    let (start, answers) = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let ask = |(change, number): (Change, u32)| {
            let due = start + Duration::from_secs_f64(f64::from(number) / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let answer = journal.append(change);
            runtime.spawn(async move { answer.await.map(|_| due.elapsed()) })
        };
        (start, changes.into_iter().zip(0_u32..).map(ask).collect::<Vec<_>>())
    })
    .await?;
    let mut latencies = Vec::with_capacity(answers.len());
    for answer in answers {
        latencies.push(answer.await??);
    }
    Ok(Timed { latencies, took: start.elapsed() })
}

fn percentile(timed: &Timed, percent: usize) -> Duration {
    let mut sorted = timed.latencies.clone();
    sorted.sort_unstable();
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn resident_kb() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
