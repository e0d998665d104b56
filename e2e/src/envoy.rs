//! A real Envoy on free ports: a bootstrap file, edited in places that must exist, and what its admin port says of it.

use crate::{Broken, Doing, Places, Process, clock, http1};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One replacement in a bootstrap. `from` must be there: an edit that hits nothing would test nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub from: String,
    pub to: String,
}

/// A bootstrap and what to change in it.
#[derive(Clone, Debug)]
pub struct EnvoyPlan {
    pub name: &'static str,
    pub bootstrap: PathBuf,
    pub edits: Vec<Edit>,
    pub workers: u32,
}

#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
    log: PathBuf,
}

// === impl Edit ===

impl Edit {
    #[must_use]
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into() }
    }
}

// === impl EnvoyPlan ===

impl EnvoyPlan {
    /// # Errors
    /// An edit that hits nothing.
    pub fn rendered(&self) -> Result<String, Broken> {
        let text = fs::read_to_string(&self.bootstrap).doing(self.bootstrap.display())?;
        self.edits.iter().try_fold(text, |text, edit| {
            if text.contains(&edit.from) {
                return Ok(text.replace(&edit.from, &edit.to));
            }
            Err(Broken(format!("`{}` says nowhere `{}`", self.bootstrap.display(), edit.from)))
        })
    }
}

// === impl Envoy ===

impl Envoy {
    /// # Errors
    /// It cannot be started, refuses its configuration, or does not listen; with the end of its log.
    pub fn start(places: &Places, directory: &Path, plan: &EnvoyPlan) -> Result<Self, Broken> {
        fs::create_dir_all(directory).doing(directory.display())?;
        let config = directory.join("envoy.yaml");
        fs::write(&config, plan.rendered()?).doing(config.display())?;
        let admin_file = directory.join("admin-address");
        let log = directory.join("envoy.log");
        let mut command = Command::new(&places.envoy);
        command.arg("-c").arg(&config).arg("--admin-address-path").arg(&admin_file).current_dir(directory);
        command.args(["--disable-hot-restart", "--log-level", "warning", "--concurrency", &plan.workers.to_string()]);
        let mut process = Process::start(plan.name, command, &log)?;
        let admin = process.until("its admin port is open", || fs::read_to_string(&admin_file).ok()?.trim().parse().ok())?;
        let listeners = process.until("it is live and listens", || live(admin))?;
        Ok(Self { process, admin, listeners, log })
    }

    /// Where the listener of this name is bound.
    ///
    /// # Errors
    /// There is no such listener.
    pub fn listener(&self, name: &str) -> Result<SocketAddr, Broken> {
        self.listeners
            .get(name)
            .copied()
            .doing(format_args!("Envoy has a listener `{name}`, not only {:?}", self.listeners.keys()))
    }

    /// The value of one counter or gauge; 0 where Envoy has not made it yet.
    ///
    /// # Errors
    /// The admin port does not answer.
    pub fn stat(&self, name: &str) -> Result<u64, Broken> {
        let stats = self.stats(name)?;
        Ok(stats.get(name).copied().unwrap_or_default())
    }

    /// Every counter and gauge whose name contains `part`.
    ///
    /// # Errors
    /// The admin port does not answer.
    pub fn stats(&self, part: &str) -> Result<BTreeMap<String, u64>, Broken> {
        let text = http1::get(self.admin, "/stats").doing("Envoy's statistics")?.text();
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        let named = lines.filter(|(name, _)| name.contains(part));
        Ok(named.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// Waits until a counter or gauge is what the story needs.
    ///
    /// # Errors
    /// It never was.
    pub fn until_stat(&mut self, name: &str, wanted: impl Fn(u64) -> bool) -> Result<u64, Broken> {
        let admin = self.admin;
        self.process.until(name, || {
            let text = http1::get(admin, "/stats").ok()?.text();
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
            Some(value.unwrap_or_default()).filter(|value| wanted(*value))
        })
    }

    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    #[must_use]
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// Ends it, and waits until it did.
    ///
    /// # Errors
    /// It did not end in time.
    pub fn end(&mut self) -> Result<(), Broken> {
        self.process.end().map(drop)
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        clock::answers(self.admin)
    }
}

/// The listeners, once Envoy says that it is live.
fn live(admin: SocketAddr) -> Option<BTreeMap<String, SocketAddr>> {
    if http1::get(admin, "/ready").ok()?.status != 200 {
        return None;
    }
    let listed: Value = serde_json::from_slice(&http1::get(admin, "/listeners?format=json").ok()?.body).ok()?;
    let statuses = listed.get("listener_statuses")?.as_array()?;
    statuses
        .iter()
        .map(|status| Some((status.get("name")?.as_str()?.to_owned(), address(status.get("local_address")?)?)))
        .collect()
}

fn address(value: &Value) -> Option<SocketAddr> {
    let socket = value.get("socket_address")?;
    let port = u16::try_from(socket.get("port_value")?.as_u64()?).ok()?;
    Some(SocketAddr::new(socket.get("address")?.as_str()?.parse().ok()?, port))
}
