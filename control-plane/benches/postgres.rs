//! What durable appends of several replicas on one PostgreSQL come to: records per second and latencies with 1, 2 and 4
//! replicas, beside what one fdatasync of the same disk takes in the same run. A server of its own, with PostgreSQL's
//! defaults for everything that durability hangs on; all replicas in this process, on the machine that serves the database.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use agentgate_control_plane::clock::Clock;
use agentgate_control_plane::journal::postgres::{Postgres, Settings};
use agentgate_control_plane::journal::{Change, Expected, Journal, Stream, Write};
use agentgate_core::digest::Digest;
use agentgate_e2e::postgres::Postgres as Server;
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
const WITHIN: Duration = Duration::from_secs(5);

/// Changes under way, over all replicas.
const UNDER_WAY: [u64; 3] = [1, 256, 2048];

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = Server::start(&[])?;
    println!("one fdatasync of 8 KB: p50 {} µs", sync_micros(server.directory())?);
    println!("{:<48} {:>9} {:>9} {:>12}", "", "p50 µs", "p99 µs", "per second");
    let numbers = Arc::new(AtomicU64::new(0));
    for replicas in [1, 2, 4] {
        let url = server.url(&server.database()?);
        let mut journals = Vec::new();
        for _ in 0..replicas {
            journals.push(Arc::new(runtime.block_on(Postgres::open(Settings::new(url.as_str(), Clock::system())))?));
        }
        for under_way in UNDER_WAY {
            for has_body in [false, true] {
                let latencies = runtime.block_on(appends(&journals, &numbers, under_way, has_body))?;
                let what = if has_body { "with body" } else { "record only" };
                row(&format!("{replicas} replicas, {what}, {under_way} under way"), latencies);
            }
        }
    }
    println!("one fdatasync of 8 KB: p50 {} µs", sync_micros(server.directory())?);
    Ok(())
}

fn row(name: &str, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get((latencies.len() * percent / 100).min(latencies.len().saturating_sub(1)));
    let micros = |percent| at(percent).map_or(0, Duration::as_micros);
    println!("{name:<48} {:>9} {:>9} {:>12.0}", micros(50), micros(99), latencies.len() as f64 / WITHIN.as_secs_f64());
}

fn sync_micros(directory: &Path) -> Outcome<u128> {
    let path = directory.join("raw");
    fs::write(&path, vec![0; 1 << 20])?;
    let file = File::options().write(true).open(&path)?;
    file.sync_all()?;
    let mut latencies = Vec::new();
    for block in 0..100 {
        let began = Instant::now();
        file.write_all_at(&[7; 8192], block * 8192)?;
        file.sync_data()?;
        latencies.push(began.elapsed());
    }
    latencies.sort_unstable();
    Ok(latencies.get(50).map_or(0, Duration::as_micros))
}

async fn appends(journals: &[Arc<Postgres>], numbers: &Arc<AtomicU64>, under_way: u64, has_body: bool) -> Outcome<Vec<Duration>> {
    let start = Instant::now();
    let callers = journals.iter().cycle().zip(0..under_way).map(|(journal, _)| {
        let (journal, numbers) = (Arc::clone(journal), Arc::clone(numbers));
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while start.elapsed() < WITHIN {
                let change = numbered(numbers.fetch_add(1, Ordering::Relaxed), has_body);
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
    Ok(latencies)
}

/// A change like a decision's: a record of one of a thousand subjects, counted by its source, and the body of the call.
fn numbered(number: u64, has_body: bool) -> Change {
    let bytes = number.to_le_bytes();
    let filled = |length: usize| Bytes::from(bytes.iter().copied().cycle().take(length).collect::<Vec<_>>());
    let mut id = [7; 32];
    id.iter_mut().skip(20).zip(number.to_be_bytes()).for_each(|(byte, of_number)| *byte = of_number);
    let write = Write {
        stream: Stream(Digest::of("bench/stream", &(number % 1000).to_le_bytes())),
        expected: Expected::Any,
        id: Digest::from_bytes(id),
        record: filled(RECORD_BYTES),
    };
    Change { fence: None, writes: vec![write], bodies: if has_body { vec![filled(BODY_BYTES)] } else { Vec::new() } }
}
