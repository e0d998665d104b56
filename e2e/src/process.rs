//! One child process: a group of its own, its output in a file, killed with all its own children when it is dropped.

use crate::{Broken, Doing, clock, reaper};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread;

/// How many of its last lines are shown of a process in trouble.
const TAIL_LINES: usize = 40;

#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    left: bool,
}

struct Order {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

// === impl Process ===

impl Process {
    /// Starts `command` with its output in `log`. Its standard input is ours to close: it stays open while this value lives.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self, Broken> {
        let output = File::options().create(true).append(true).open(log).doing(log.display())?;
        let errors = output.try_clone().doing(log.display())?;
        command.stdin(Stdio::piped()).stdout(output).stderr(errors).process_group(0);
        let child = spawned(command).doing(format_args!("starting {name}"))?;
        reaper::watch(child.id())?;
        Ok(Self { name: name.into(), log: log.into(), child, left: false })
    }

    /// Waits until `ready` yields something, or says why this process never will.
    ///
    /// # Errors
    /// The process ended, or time ran out; with the end of its log.
    pub fn until<T>(&mut self, what: &str, mut ready: impl FnMut() -> Option<T>) -> Result<T, Broken> {
        let outcome = clock::eventually(what, || match self.child.try_wait() {
            Ok(None) => ready().map(Ok),
            Ok(Some(status)) => Some(Err(Broken(format!("it ended with {status} before: {what}")))),
            Err(error) => Some(Err(Broken(format!("it cannot be watched: {error}")))),
        });
        outcome.and_then(|inner| inner).map_err(|broken| Broken(format!("{}: {broken}\n{}", self.name, self.tail())))
    }

    /// Asks it to end, and waits until it did.
    ///
    /// # Errors
    /// It did not end in time.
    pub fn end(&mut self) -> Result<ExitStatus, Broken> {
        self.signal(Signal::TERM);
        let child = &mut self.child;
        clock::eventually(format_args!("{} ends", self.name), || child.try_wait().ok().flatten())
    }

    /// Ends it between any two of its instructions.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        // Its status says no more than that it was killed.
        drop(self.child.wait());
    }

    /// Lets it live on when this program ends.
    pub fn leave(mut self) {
        reaper::forget(self.child.id());
        self.left = true;
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn tail(&self) -> String {
        let written = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&written);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES));
        last.fold(format!("--- the end of {}'s log\n", self.name), |all, line| all + line + "\n")
    }

    fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // An error says that it is gone: that is what was wanted.
            let _gone = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.left {
            self.kill();
            reaper::forget(self.child.id());
        }
    }
}

/// Starts it from a thread that lives as long as this program: some programs ask the kernel to end them with the thread
/// that started them, and a test's thread ends early.
fn spawned(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for mut order in taken {
                // Nobody waits for the answer any more: then the child is dropped, and the reaper never heard of it.
                drop(order.answer.send(order.command.spawn()));
            }
        });
        orders
    });
    let (answer, answered) = mpsc::channel();
    let gone = |_| io::Error::other("the starting thread is gone");
    starter.send(Order { command, answer }).map_err(|_| io::Error::other("the starting thread is gone"))?;
    answered.recv().map_err(gone)?
}
