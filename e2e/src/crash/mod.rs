//! `just crash`: a control plane with a journal on a real disk is killed at random instants under load and started again, and
//! after some kills everything that anybody was told is looked for in the files. Sessions are purged meanwhile, and after each kill
//! it is looked whether what is gone is what a purge names, and no more. With an older control plane, it and this tree's live in turns
//! on one journal: each has to open what the other left. It asks the journal how it is only after it looked itself.

mod agents;
mod calls;
mod checker;
mod direct;
mod keys;
mod ledger;
mod opening;
mod operator;
mod purges;
mod seeded;
mod segments;
mod signed;
mod slots;
mod summary;
#[cfg(test)]
mod tests;
mod turns;
mod wire;

use crate::upstream::{Protocol, Reply};
use crate::{Broken, Doing, World, WorldPlan, clock, eventually, http1, now};
use agentgate_core::id::Asker;
use agentgate_core::transparency::tree::Hash;
use agents::Agent;
use direct::Direct;
use keys::Keys;
use ledger::{Ledger, Phase, Shared};
use operator::Operator;
use seeded::Seeded;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use turns::Turns;
use wire::Tls;

pub use checker::Checked;
pub use summary::Summary;

/// A kill comes at most so long after there is somebody to kill; or after somebody was told something, where that is awaited.
const ALIVE_MAX: Duration = Duration::from_millis(150);
const LOADED_MAX: Duration = Duration::from_millis(300);

/// One kill in so many comes while the control plane still starts.
const EARLY_PART: u64 = 8;

/// Faults that are written out; there are as many as there are, but nobody reads more.
const FAULTS_SHOWN: usize = 20;

const DIRECT: &str = "filter/direct";

/// How a control plane says that all purges on record are carried out.
const FINISHED: &str = "agentgate_purges_unfinished 0";

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Crashes {
    pub rounds: u32,
    pub seed: u64,
    /// Kills after which the journal is checked whole, and begun anew.
    pub rotate_every: u32,
    /// Agents that call through the gate.
    pub agents: usize,
    /// Callers that are filters themselves.
    pub direct: usize,
    /// Whether an operator purges sessions meanwhile.
    pub purges: bool,
    /// A control plane of an older revision, which lives every other life.
    pub older: Option<PathBuf>,
}

struct Driver {
    plan: Crashes,
    turns: Turns,
    world: World,
    shared: Arc<Shared>,
    seeded: Seeded,
    keys: Keys,
    agents: Vec<JoinHandle<()>>,
    direct: Option<JoinHandle<()>>,
    operator: Option<JoinHandle<()>>,
    /// All that the last kill left on record, and its root.
    tree: Option<(u64, Hash)>,
    summary: Summary,
}

// === impl Crashes ===

impl Crashes {
    #[must_use]
    pub fn new(rounds: u32, seed: u64) -> Self {
        Self { rounds, seed, rotate_every: 20, agents: 8, direct: 2, purges: true, older: None }
    }

    /// The operator is the last of them, where there is one.
    fn callers(&self) -> usize {
        self.operator() + usize::from(self.purges)
    }

    fn operator(&self) -> usize {
        self.agents + self.direct
    }

    /// Does all of it; `say` hears of each check.
    ///
    /// # Errors
    /// A part that does not come up, or not again. What differs is no error: it stands in the summary.
    pub fn run(self, mut say: impl FnMut(&Summary)) -> Result<Summary, Broken> {
        let (rounds, rotate_every) = (self.rounds, self.rotate_every);
        let mut driver = Driver::start(self)?;
        for round in 1..=rounds {
            driver.round(round)?;
            if round % rotate_every == 0 || round == rounds {
                driver.check()?;
                say(&driver.summary);
            }
        }
        driver.finish()
    }
}

// === impl Driver ===

impl Driver {
    fn start(plan: Crashes) -> Result<Self, Broken> {
        let begun = now();
        let shared = Arc::new(Shared::new(plan.callers()));
        let seen = Arc::clone(&shared);
        let mut world = WorldPlan::recorder(Protocol::Http1, move |arrived| {
            match calls::mark(&arrived.body) {
                Some(mark) => seen.executed(mark),
                None => seen.fault(format!("the tool server got {}", String::from_utf8_lossy(&arrived.body))),
            }
            Reply::json(calls::RESULT)
        })?;
        world.stack.workers = 2;
        world.stack.configuration = format!(
            "[[filter]]\nidentity = \"spiffe://agentgate.local/{DIRECT}\"\ntenant = \"default\"\nservers = [\"notes\"]\n\
             peers = \"agentgate.local\"\n"
        );
        let turns = Turns::new(world.places.control_plane.clone(), plan.older.as_deref())?;
        turns.program(0).clone_into(&mut world.places.control_plane);
        let world = world.start()?;
        let summary = Summary::new(&plan, begun);
        let seeded = Seeded::new(plan.seed);
        let keys = Keys::of(world.stack.control_plane.directory())?;
        let (agents, direct, operator, tree) = (Vec::new(), None, None, None);
        let mut driver = Self { plan, turns, world, shared, seeded, keys, agents, direct, operator, tree, summary };
        driver.callers()?;
        Ok(driver)
    }

    fn callers(&mut self) -> Result<(), Broken> {
        let asker = |name: &str| Asker::try_from(format!("spiffe://agentgate.local/{name}").as_str()).doing(name);
        for caller in 0..self.plan.agents {
            let (gate, shared, seeded) = (self.world.stack.gate, Arc::clone(&self.shared), Seeded::new(self.seeded.next()));
            self.agents.push(Agent { caller, gate, asker: asker("filter/laptop")?, shared, seeded }.start());
        }
        let certificates = &self.world.stack.certificates;
        let tls = Tls::new(&certificates.issue(DIRECT, &["--valid-for", "24h"])?, certificates)?;
        let control_plane: SocketAddr = self.world.stack.control_plane.ports.filters.parse().doing("the filters' port")?;
        let mut direct = Vec::new();
        for caller in self.plan.agents..self.plan.agents + self.plan.direct {
            let (shared, tls, asker) = (Arc::clone(&self.shared), tls.clone(), asker(DIRECT)?);
            let seeded = Seeded::new(self.seeded.next());
            direct.push(Direct { caller, control_plane, tls, asker, shared, seeded });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("a runtime")?;
        self.direct = Some(std::thread::spawn(move || {
            runtime.block_on(async {
                let running: Vec<_> = direct.into_iter().map(|direct| tokio::spawn(direct.run())).collect();
                for caller in running {
                    drop(caller.await);
                }
            });
        }));
        let (cli, shared, seeded) = (self.world.stack.cli.clone(), Arc::clone(&self.shared), Seeded::new(self.seeded.next()));
        let operator = Operator { caller: self.plan.operator(), cli, shared, seeded };
        self.operator = self.plan.purges.then(|| operator.start());
        Ok(())
    }

    /// One life of the control plane, and its end.
    fn round(&mut self, round: u32) -> Result<(), Broken> {
        let life = (round - 1) % self.plan.rotate_every;
        self.world.stack.control_plane.becomes(self.turns.program(life));
        self.summary.older_lives += u32::from(self.turns.is_older(life));
        let is_running = self.world.stack.control_plane.process_id().is_some();
        let draw = self.seeded.next();
        let is_early = !is_running && draw.is_multiple_of(EARLY_PART);
        if is_early {
            self.world.stack.control_plane.launch()?;
            self.summary.early += 1;
        } else if !is_running {
            let begun = now();
            self.world.stack.control_plane.begin()?;
            self.summary.restarts.push(begun.elapsed());
        }
        let most = if !is_early && self.until_told(draw)? { LOADED_MAX } else { ALIVE_MAX };
        clock::pause(self.seeded.instant_within(most));
        if !self.world.stack.envoy.is_running() {
            return Err(Broken(format!("Envoy is gone\n{}", self.world.stack.envoy.tail())));
        }
        self.world.stack.control_plane.kill();
        self.summary.kills = round;
        let ledger = Ledger { tree: self.tree, ..self.shared.orders(self.plan.operator()) };
        let checked = Checked::after_kill(&self.world.stack.control_plane.journal(), &self.keys, ledger)?;
        self.tree = checked.tree;
        self.summary.unfinished += checked.unfinished;
        checked.faults.into_iter().for_each(|fault| self.shared.fault(format!("after kill {round}: {fault}")));
        Ok(())
    }

    /// A quarter of the lives last until somebody was told something by way of the gate, a quarter until a caller of the other
    /// kind was, a quarter until a purge was acknowledged (if any is made), and the rest no time at all: then it is false.
    fn until_told(&self, draw: u64) -> Result<bool, Broken> {
        let counter = match (draw >> 32) % 4 {
            0 => &self.shared.through_gate,
            1 if self.plan.purges => &self.shared.purged,
            2 => &self.shared.direct,
            _ => return Ok(false),
        };
        let before = counter.load(Ordering::Acquire);
        eventually("an acknowledgement after a restart", || (counter.load(Ordering::Acquire) > before).then_some(true))
            .map_err(|broken| Broken(format!("{broken}\n{}", self.log())))
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.world.stack.control_plane.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// Everybody rests; the journal is held against what they were told, and the next life begins with a new one.
    fn check(&mut self) -> Result<(), Broken> {
        self.shared.set(Phase::Rest);
        let callers = self.plan.callers();
        let rest = || (self.shared.resting.load(Ordering::Acquire) == callers).then_some(());
        eventually("all callers rest", rest)?;
        self.world.upstream()?.take();
        let ledger = self.shared.take();
        self.summary.undecided += ledger.undecided;
        let journal = self.world.stack.control_plane.journal();
        let checked = Checked::of(&journal, &self.keys, Ledger { tree: self.tree.take(), ..ledger.clone() })?;
        self.keep(&journal, "killed", &checked)?;
        self.settle()?;
        let ledger = Ledger { tree: checked.tree, settled: checked.records, faults: Vec::new(), ..ledger };
        let mut settled = Checked::of(&journal, &self.keys, ledger)?;
        settled.faults.extend(self.own_check(&journal)?);
        self.keep(&journal, "settled", &settled)?;
        self.summary.checked.add(checked.settled(settled));
        self.summary.journals += 1;
        // A log that remembered would take the new journal for one that was rolled back.
        for gone in [&journal, &self.world.stack.control_plane.directory().join("log")] {
            fs::remove_dir_all(gone).doing(gone.display())?;
        }
        let until = || (self.shared.resting.load(Ordering::Acquire) == 0).then_some(());
        self.shared.set(Phase::Call);
        eventually("all callers call", until)
    }

    /// A life in which nobody calls, until it says that it carried out what the kills cut short.
    fn settle(&mut self) -> Result<(), Broken> {
        let control_plane = &mut self.world.stack.control_plane;
        control_plane.becomes(&self.turns.own);
        control_plane.begin()?;
        let metrics: SocketAddr = control_plane.ports.metrics.parse().doing("the metrics' port")?;
        let is_told = || http1::get(metrics, "/metrics").is_ok_and(|answer| answer.text().lines().any(|line| line == FINISHED));
        eventually("no purge is unfinished", || is_told().then_some(()))
            .map_err(|broken| Broken(format!("{broken}\n{}", self.log())))?;
        self.world.stack.control_plane.kill();
        Ok(())
    }

    /// What the command that people check a journal with finds.
    fn own_check(&self, journal: &Path) -> Result<Option<String>, Broken> {
        let output = self.world.stack.cli.run(&["journal", "check", &journal.display().to_string()])?;
        let said = [output.stdout, output.stderr].concat();
        Ok((!output.status.success()).then(|| format!("`agentgate journal check`: {}", String::from_utf8_lossy(&said).trim())))
    }

    /// A journal with a fault is the only proof of it.
    fn keep(&mut self, journal: &Path, what: &str, checked: &Checked) -> Result<(), Broken> {
        if checked.faults.is_empty() {
            return Ok(());
        }
        let name = format!("target/crash-{}-{}-{what}", self.plan.seed, self.summary.kills);
        let kept = self.world.places.repository.join(name);
        fs::create_dir_all(&kept).doing(kept.display())?;
        let copied = std::process::Command::new("cp").arg("-r").arg(journal).arg(&kept).status().doing("keeping the journal")?;
        self.summary.kept.push(kept.display().to_string());
        if copied.success() { Ok(()) } else { Err(Broken("the journal could not be kept".into())) }
    }

    fn finish(mut self) -> Result<Summary, Broken> {
        self.shared.set(Phase::Leave);
        for caller in self.agents.drain(..).chain(self.direct.take()).chain(self.operator.take()) {
            caller.join().map_err(|_| Broken("a caller panicked".into()))?;
        }
        self.summary.finish();
        Ok(self.summary)
    }
}
