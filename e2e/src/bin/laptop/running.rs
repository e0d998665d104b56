//! `up` and `down`: what is left running in `.run/`, found again by its lock. It never ends a process that does not hold the
//! lock, and never removes what it was not told to: a policy that somebody wrote for their own servers, and its traces.

use crate::PortArguments;
use crate::servers::Servers;
use crate::told::{self, DIRECTORY};
use agentgate_e2e::{Broken, Doing, Process, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::env;
use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// There when `.run/` belongs to servers of the person's own.
const OWN: &str = "own";

/// What is made anew in each life, and what would be in its way.
const MADE_ANEW: [&str; 6] = ["certificates", "gate", "ready", "env", "pid", told::ENFORCED];

pub(crate) fn up(ports: PortArguments, servers: Option<&Servers>) -> Result<(), Broken> {
    let directory = PathBuf::from(DIRECTORY);
    if held(&directory)? {
        let by = told::line(&directory).map(|line| format!(", by `{line}`")).unwrap_or_default();
        if servers.is_some() {
            return Err(Broken(format!("it is running already{by}: end it with `./justw down`, then start it again")));
        }
        say!("already running{by}");
        return told::again(&directory);
    }
    kept(&directory, servers.is_some())?;
    free(ports)?;
    let was_own = directory.join(OWN).exists();
    prepare(&directory, servers.is_some())?;
    let mut command = Command::new(env::current_exe().doing("the path of this program")?);
    command.arg("serve");
    for (option, port) in ports.named() {
        command.arg(option).arg(port.to_string());
    }
    for server in servers.iter().flat_map(|servers| &servers.http) {
        command.arg("--server").arg(format!("{}={}", server.name, server.url));
    }
    let mut serving = Process::start("laptop", command, &directory.join("laptop.log"))?;
    serving.until("everything serves", || directory.join("ready").exists().then_some(())).inspect_err(|_| {
        // What never served holds nothing that anybody wrote.
        if !was_own {
            drop(fs::remove_file(directory.join(OWN)));
        }
    })?;
    serving.leave();
    told::keep_line(&directory)?;
    match servers {
        Some(servers) => told::own(&directory, servers),
        None => told::demo(&directory),
    }
}

/// Nothing of somebody's own servers gives way to the demo.
fn kept(directory: &Path, own: bool) -> Result<(), Broken> {
    if !own && directory.join(OWN).exists() {
        let again = told::line(directory).unwrap_or_else(|| "./justw up URL".into());
        return Err(Broken(format!(
            "{DIRECTORY}/ holds the policy and the traces of your own servers. Go on with them:\n  {again}\n\
             For the demo, move {DIRECTORY}/ elsewhere first; or have it removed with all of that by `./justw down --remove`"
        )));
    }
    Ok(())
}

/// What an earlier life left. The demo begins anew each time; somebody's own servers go on where they were.
fn prepare(directory: &Path, own: bool) -> Result<(), Broken> {
    let was_own = directory.join(OWN).exists();
    if was_own {
        for name in MADE_ANEW {
            let path = directory.join(name);
            drop(if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) });
        }
    } else {
        drop(fs::remove_dir_all(directory));
    }
    fs::create_dir_all(directory).doing(directory.display())?;
    if own { fs::write(directory.join(OWN), "").doing("the mark of own servers") } else { Ok(()) }
}

pub(crate) fn down(remove: bool) -> Result<(), Broken> {
    let directory = PathBuf::from(DIRECTORY);
    let own = directory.join(OWN).exists();
    let running = held(&directory)?;
    if running {
        let id = fs::read_to_string(directory.join("pid")).doing("the id of the running process")?;
        let id = id.trim().parse().ok().and_then(Pid::from_raw).doing(format_args!("`{id}` is no process id"))?;
        kill_process(id, Signal::TERM).doing("asking it to end")?;
        eventually("it ends", || held(&directory).ok().filter(|held| !held))?;
    }
    let said = if running { "ended" } else { "nothing was running" };
    let line = told::line(&directory);
    if own && !remove {
        say!("{said}; {DIRECTORY}/ keeps your policy and the traces for the next `up` (`./justw down --remove` removes it)");
    } else if directory.join("lock").exists() {
        fs::remove_dir_all(&directory).doing(directory.display())?;
        say!("{said}, and removed {DIRECTORY}/");
    } else {
        say!("{said}");
    }
    if let Some(line) = line {
        say!("start it again   {line}");
    }
    Ok(())
}

/// Whether somebody serves from there.
fn held(directory: &Path) -> Result<bool, Broken> {
    let Ok(lock) = File::open(directory.join("lock")) else { return Ok(false) };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).doing("the lock"),
    }
}

fn free(ports: PortArguments) -> Result<(), Broken> {
    for (option, port) in ports.named() {
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            return Err(Broken(format!("port {port} is taken: choose another with `./justw up {option} PORT`")));
        }
    }
    Ok(())
}
