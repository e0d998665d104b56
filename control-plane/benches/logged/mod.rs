//! How long a decision waits for a signed checkpoint that holds it, while decisions are appended at several rates: what
//! docs/operating.md promises. It asks nobody but whoever publishes.

use crate::{Outcome, real};
use agentgate_control_plane::clock::Clock;
use agentgate_control_plane::journal::Journal;
use agentgate_control_plane::run::Running;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Appends a second.
const RATES: [u32; 3] = [100, 1_000, 5_000];

/// Each rate is kept up for so long.
const FOR_S: u32 = 10;

/// A record that is signed as late as this is not waited for any longer.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// One checkpoint, when it was published.
struct Signed {
    at: Instant,
    size: u64,
}

/// One decision: when it was due, when it was acknowledged, and its place.
struct Decided {
    due: Instant,
    acknowledged: Instant,
    sequence: u64,
}

pub(crate) async fn logged(running: &Running, journal: &Arc<dyn Journal>) -> Outcome<()> {
    println!(
        "{:>10} {:>10} {:>9} {:>9} {:>9}   {:>9} {:>9} {:>9}   {:>11}",
        "asked/s", "done/s", "p50 ms", "p99 ms", "max ms", "p50 ms", "p99 ms", "max ms", "checkpoints"
    );
    println!("{:>21} {:>29}   {:>29}", "", "from the decision", "from the acknowledgement");
    let mut first = 0;
    for rate in RATES {
        let (decided, signed) = at_rate(running, journal, rate, first).await?;
        first += u64::from(rate * FOR_S);
        let took = decided.iter().map(|decided| decided.acknowledged).max().zip(decided.first().map(|decided| decided.due));
        let done = decided.len() as f64 / took.map_or(1.0, |(last, first)| (last - first).as_secs_f64());
        let seen = |decided: &Decided| {
            let at = signed.partition_point(|signed| signed.size < decided.sequence);
            signed.get(at).map(|signed| signed.at).ok_or("a record is under no root")
        };
        let (mut from_decision, mut from_acknowledgement) = (Vec::new(), Vec::new());
        for decided in &decided {
            let at = seen(decided)?;
            from_decision.push(at.saturating_duration_since(decided.due));
            from_acknowledgement.push(at.saturating_duration_since(decided.acknowledged));
        }
        let [of_decision, of_acknowledgement] = [from_decision, from_acknowledgement].map(figures);
        println!("{rate:>10} {done:>10.0} {of_decision}   {of_acknowledgement}   {:>11}", signed.len());
    }
    Ok(())
}

fn figures(mut waits: Vec<Duration>) -> String {
    waits.sort_unstable();
    let at = |percent: usize| waits.get((waits.len() * percent / 100).min(waits.len().saturating_sub(1)));
    let ms = |percent| at(percent).copied().unwrap_or_default().as_secs_f64() * 1e3;
    format!("{:>9.1} {:>9.1} {:>9.1}", ms(50), ms(99), ms(100))
}

/// Decisions begin at `rate`, whatever becomes of the ones before; and every checkpoint that was published meanwhile.
async fn at_rate(running: &Running, journal: &Arc<dyn Journal>, rate: u32, first: u64) -> Outcome<(Vec<Decided>, Vec<Signed>)> {
    let mut published = running.status.log.follow();
    let (told, mut last) = oneshot::channel::<u64>();
    let watching = tokio::spawn(async move {
        let (mut signed, mut until) = (Vec::new(), None);
        loop {
            let size = published.borrow_and_update().as_ref().map_or(0, |newest| newest.size);
            signed.push(Signed { at: Instant::now(), size });
            if until.is_some_and(|until| size >= until) {
                return Outcome::Ok(signed);
            }
            tokio::select! {
                changed = published.changed() => changed?,
                head = &mut last, if until.is_none() => until = Some(head?),
            }
        }
    });
    let now = Clock::system().now().micros();
    let change = |number: u32| real::change(first + u64::from(number), now + u64::from(number) * 1_000_000 / u64::from(rate));
    let changes = (0..rate * FOR_S).map(change).collect::<Result<Vec<_>, _>>()?;
    let (runtime, journal) = (tokio::runtime::Handle::current(), Arc::clone(journal));
    // On a thread of its own, which sleeps: whoever waits on a core takes it from the journal.
    let answers = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let ask = |(change, number): (_, u32)| {
            let due = start + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let answer = journal.append(change);
            runtime.spawn(async move { answer.await.map(|appended| (due, Instant::now(), appended)) })
        };
        changes.into_iter().zip(0_u32..).map(ask).collect::<Vec<_>>()
    })
    .await?;
    let mut decided = Vec::with_capacity(answers.len());
    for answer in answers {
        let (due, acknowledged, appended) = answer.await??;
        decided.push(Decided { due, acknowledged, sequence: appended.positions.first().ok_or("no position")?.sequence });
    }
    let head = decided.iter().map(|decided| decided.sequence).max().unwrap_or_default();
    told.send(head).map_err(|_| "nobody watches the log")?;
    Ok((decided, tokio::time::timeout(GIVEN_UP, watching).await???))
}
