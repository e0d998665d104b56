//! How long a start takes on a long journal: opening it, with its index and without, and everything that a control plane reads
//! before it serves. `cargo bench -p agentgate-control-plane --bench start -- 1000000`
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod real;

use agentgate_cli::authority::{Init, Issue, Validity, init, issue};
use agentgate_control_plane::body::{DataKey, system_keys};
use agentgate_control_plane::clock::Clock;
use agentgate_control_plane::config::Config;
use agentgate_control_plane::journal::Journal;
use agentgate_control_plane::journal::embedded::{Embedded, Settings};
use agentgate_control_plane::run::{Given, start};
use agentgate_core::time::Time;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const RECORDS: u64 = 1_000_000;

/// Calls under way while the journal is filled.
const UNDER_WAY: u64 = 512;

/// Between two calls: a million of them in five hours.
const APART_US: u64 = 18_000;

fn main() -> Outcome<()> {
    let records = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(RECORDS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let directory = tempfile::tempdir_in(".")?;
    let open = || Embedded::open(Settings::new(directory.path().join("journal")));
    let began = Instant::now();
    let journal = Arc::new(open()?);
    runtime.block_on(real::begin(Arc::clone(&journal) as Arc<dyn Journal>))?;
    runtime.block_on(fill(&journal, records))?;
    say("written", began.elapsed());
    println!("{} MB in segments", journal.health().bytes >> 20);
    closed(journal);
    for what in ["opened, index as it was", "opened, index as it was"] {
        let began = Instant::now();
        let journal = open()?;
        say(what, began.elapsed());
        drop(journal);
    }
    fs::remove_dir_all(directory.path().join("journal/index"))?;
    let began = Instant::now();
    let journal = Arc::new(open()?);
    say("opened, index built anew", began.elapsed());
    let began = Instant::now();
    runtime.block_on(control_plane(directory.path(), journal))?;
    say("control plane: journal open to serving", began.elapsed());
    Ok(())
}

fn say(what: &str, took: Duration) {
    println!("{what:<40} {:>9.3} s", took.as_secs_f64());
}

fn closed(journal: Arc<Embedded>) {
    if Arc::into_inner(journal).is_none() {
        println!("somebody still holds the journal");
    }
}

async fn fill(journal: &Arc<Embedded>, records: u64) -> Outcome<()> {
    let now = Clock::system().now().micros();
    let first = now.saturating_sub(records * APART_US);
    let callers = (0..UNDER_WAY).map(|caller| {
        let journal = Arc::clone(journal);
        tokio::spawn(async move {
            for number in (caller..records).step_by(usize::try_from(UNDER_WAY)?) {
                journal.append(real::change(number, first + number * APART_US)?).await?;
            }
            Outcome::Ok(())
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    Ok(())
}

/// Every room is opened, and the listeners serve.
async fn control_plane(directory: &Path, journal: Arc<Embedded>) -> Outcome<()> {
    let clock = Clock::system();
    let now = clock.now();
    let validity = || Validity { not_before: now, not_after: Time::from_micros(now.micros() + 86_400_000_000) };
    init(&Init { directory, trust_domain: "agentgate.local", validity: validity(), force: true }).map_err(|_| "no authority")?;
    let (dns, ip) = (["localhost".to_owned()], ["127.0.0.1".parse()?]);
    let own = Issue { directory, name: "control-plane", dns: &dns, ip: &ip, validity: validity(), force: true };
    issue(&own).map_err(|_| "no certificate")?;
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/default").canonicalize()?;
    let file = directory.join("control-plane.toml");
    let listen = ["filters", "operators", "metrics"].map(|name| format!("{name}.listen = \"127.0.0.1:0\"\n")).concat();
    fs::write(&file, format!("{listen}journal.backend = \"memory\"\npolicy.directory = {policies:?}\n"))?;
    let config = Config::read(&file)?;
    let data_key = DataKey::new(&real::DATA_KEY);
    let running = start(Given { config, clock, journal, keys: system_keys, data_key, replica: "bench".into() }).await?;
    drop(running);
    Ok(())
}
