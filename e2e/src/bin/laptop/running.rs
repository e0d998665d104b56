//! `up` and `down`: what is left running in `.run/`, found again by its lock. It never ends a process that does not hold the lock.

use crate::PortArguments;
use agentgate_e2e::{Broken, Doing, Process, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::env;
use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where `up` keeps everything: beside the justfile, from which the recipes run.
pub(crate) const DIRECTORY: &str = ".run";

pub(crate) fn up(ports: PortArguments) -> Result<(), Broken> {
    let directory = PathBuf::from(DIRECTORY);
    if held(&directory)? {
        println!("already running");
        return tell(&directory);
    }
    free(ports)?;
    // What an earlier life left without ending properly.
    drop(fs::remove_dir_all(&directory));
    fs::create_dir_all(&directory).doing(directory.display())?;
    let mut command = Command::new(env::current_exe().doing("the path of this program")?);
    command.arg("serve");
    for (option, port) in ports.named() {
        command.arg(option).arg(port.to_string());
    }
    let mut serving = Process::start("laptop", command, &directory.join("laptop.log"))?;
    serving.until("everything serves", || directory.join("ready").exists().then_some(()))?;
    serving.leave();
    tell(&directory)
}

pub(crate) fn down() -> Result<(), Broken> {
    let directory = PathBuf::from(DIRECTORY);
    if !held(&directory)? {
        drop(fs::remove_dir_all(&directory));
        println!("nothing was running");
        return Ok(());
    }
    let id = fs::read_to_string(directory.join("pid")).doing("the id of the running process")?;
    let id = id.trim().parse().ok().and_then(Pid::from_raw).doing(format_args!("`{id}` is no process id"))?;
    kill_process(id, Signal::TERM).doing("asking it to end")?;
    eventually("it ends", || held(&directory).ok().filter(|held| !held))?;
    fs::remove_dir_all(&directory).doing(directory.display())?;
    println!("ended, and removed {DIRECTORY}/");
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

fn tell(directory: &Path) -> Result<(), Broken> {
    let url = fs::read_to_string(directory.join("ready")).doing("the gate's address")?;
    println!("point your MCP client at   {url}");
    println!("then see what it did       source {DIRECTORY}/env && agentgate trace tail");
    println!("change what is allowed     {DIRECTORY}/control-plane/policies/tools.yaml");
    println!("end it                     ./justw down");
    Ok(())
}
