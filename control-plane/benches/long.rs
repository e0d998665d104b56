//! What a long journal costs: opening it, with its index and without, everything that a control plane reads before it serves,
//! the traces' index beside that, and queries. `cargo bench -p agentgate-control-plane --bench long -- 1000000`
//! And on a short one, how soon a decision is in the transparency log: `… --bench long -- transparency`
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod logged;
mod real;

use agentgate_cli::authority::{Init, Issue, Validity, init, issue};
use agentgate_control_plane::body::{DataKey, system_keys};
use agentgate_control_plane::clock::Clock;
use agentgate_control_plane::config::Config;
use agentgate_control_plane::journal::Journal;
use agentgate_control_plane::journal::embedded::{Embedded, Settings};
use agentgate_control_plane::run::{Given, Running, start};
use agentgate_control_plane::session::Session;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const RECORDS: u64 = 1_000_000;

/// Calls under way while the journal is filled.
const UNDER_WAY: u64 = 512;

/// How often each question is asked.
const ASKED: usize = 50;

/// Between two calls: a million of them in five hours.
const APART_US: u64 = 18_000;

fn main() -> Outcome<()> {
    let records = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(RECORDS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let directory = tempfile::tempdir_in(".")?;
    let open = || Embedded::open(Settings::new(directory.path().join("journal")));
    if std::env::args().any(|argument| argument == "transparency") {
        let journal: Arc<dyn Journal> = Arc::new(open()?);
        runtime.block_on(real::begin(Arc::clone(&journal)))?;
        let running = runtime.block_on(control_plane(directory.path(), Arc::clone(&journal)))?;
        runtime.block_on(logged::logged(&running, &journal))?;
        runtime.block_on(running.leave());
        return Ok(());
    }
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
    // The first start knows the journal alone; it saves the index of traces for the second one.
    for what in ["serving, without a snapshot", "serving, with a snapshot"] {
        let began = Instant::now();
        let running = runtime.block_on(control_plane(directory.path(), Arc::clone(&journal) as Arc<dyn Journal>))?;
        say(what, began.elapsed());
        runtime.block_on(indexed(&running.session))?;
        say("  and its index of traces whole", began.elapsed());
        runtime.block_on(ask(&running.session, records))?;
        println!("{} MB resident", resident_kb()? >> 10);
        runtime.block_on(running.leave());
    }
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
async fn control_plane(directory: &Path, journal: Arc<dyn Journal>) -> Outcome<Running> {
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
    let journal_directory = directory.join("journal");
    fs::write(
        &file,
        format!(
            "{listen}journal.backend = \"embedded\"\njournal.directory = {journal_directory:?}\npolicy.directory = {policies:?}\n"
        ),
    )?;
    let config = Config::read(&file)?;
    let data_key = DataKey::new(&real::DATA_KEY);
    Ok(start(Given { config, clock, journal, keys: system_keys, data_key, replica: "bench".into() }).await?)
}

/// Waits until nothing older is missing.
async fn indexed(session: &Session) -> Outcome<()> {
    loop {
        let none = v1::TraceFilter { tenant: "nobody".into(), from_us: u64::MAX - 1, ..v1::TraceFilter::default() };
        let page = session.list(&v1::ListTracesRequest { page_size: 1, filter: Some(none), ..Default::default() }).await?;
        if page.indexed_from <= 1 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One question.
struct Question {
    name: &'static str,
    filter: v1::TraceFilter,
    page_size: u32,
    oldest_first: bool,
}

/// What every kind of filter takes, and the least apt: one that matches nothing, and whole pages of what is rare.
async fn ask(session: &Session, records: u64) -> Outcome<()> {
    let filter = v1::TraceFilter::default;
    let rare = records / 3;
    let one = |name, filter| Question { name, filter, page_size: 50, oldest_first: false };
    let mut refused = v1::TraceFilter::default();
    refused.set_verdict(v1::Verdict::Deny);
    let middle = Clock::system().now().micros().saturating_sub(records * APART_US / 2);
    let questions = [
        one("the newest", filter()),
        Question { name: "the oldest", filter: filter(), page_size: 50, oldest_first: true },
        one("of a tenant", v1::TraceFilter { tenant: real::tenant(rare), ..filter() }),
        one("of a principal", v1::TraceFilter { principal: real::principal(rare), ..filter() }),
        one("of a session", v1::TraceFilter { session: real::seal(rare)?.session().to_string(), ..filter() }),
        one("of a tool", v1::TraceFilter { tool: real::tool(rare), ..filter() }),
        one("refused", refused.clone()),
        one("by a rule", v1::TraceFilter { rule: "table.blocked".into(), ..filter() }),
        one("of a minute", v1::TraceFilter { from_us: middle, until_us: middle + 60_000_000, ..filter() }),
        one(
            "of a principal and a tool, refused",
            v1::TraceFilter { principal: real::principal(rare), tool: real::tool(rare), ..refused.clone() },
        ),
        one("nothing matches", v1::TraceFilter { principal: "nobody".into(), ..filter() }),
        Question { name: "refused, a page of 1000", filter: refused, page_size: 1_000, oldest_first: false },
    ];
    println!("{:<40} {:>8} {:>8} {:>9} {:>6}", "question", "p50 ms", "p99 ms", "rows", "lines");
    for Question { name, filter, page_size, oldest_first } in questions {
        let request = v1::ListTracesRequest { page_size, filter: Some(filter), oldest_first, ..Default::default() };
        let mut took = Vec::new();
        let mut looked = Default::default();
        for _ in 0..ASKED {
            let began = Instant::now();
            looked = session.list_counted(&request).await?.1;
            took.push(began.elapsed());
        }
        took.sort_unstable();
        let at = |percent: usize| took.get((took.len() * percent / 100).min(took.len() - 1)).copied().unwrap_or_default();
        let ms = |percent| at(percent).as_secs_f64() * 1e3;
        println!("{name:<40} {:>8.2} {:>8.2} {:>9} {:>6}", ms(50), ms(99), looked.rows, looked.lines);
    }
    Ok(())
}

fn resident_kb() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().next().ok_or("no VmRSS")?.parse()?)
}
