//! A real control plane on free ports, or on the ports of the life before. It knows nothing of what the control plane does inside.

use crate::{Broken, Certificates, Doing, Places, Plan, Process, certificates::spiffe};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where it serves, each `ADDRESS:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlanePorts {
    pub filters: String,
    pub operators: String,
    pub metrics: String,
}

#[derive(Debug)]
pub struct ControlPlane {
    program: PathBuf,
    directory: PathBuf,
    process: Option<Process>,
    pub ports: ControlPlanePorts,
}

// === impl ControlPlanePorts ===

impl ControlPlanePorts {
    /// Any free port for each.
    #[must_use]
    pub fn any() -> Self {
        let any = || "127.0.0.1:0".to_owned();
        Self { filters: any(), operators: any(), metrics: any() }
    }

    fn read(text: &str) -> Option<Self> {
        let ready: Value = serde_json::from_str(text).ok()?;
        let at = |name: &str| Some(ready.get(name)?.as_str()?.to_owned());
        Some(Self { filters: at("filters")?, operators: at("operators")?, metrics: at("metrics")? })
    }
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Writes its configuration into `directory` and starts it.
    ///
    /// # Errors
    /// It cannot be started, or does not become ready; with the end of its log.
    pub fn start(places: &Places, certificates: &Certificates, directory: &Path, plan: &Plan) -> Result<Self, Broken> {
        let ports = plan.ports.control_plane();
        Self::named("control-plane/laptop", ports, places, certificates, directory, plan)
    }

    /// Another replica of this one, on ports of its own: it writes the same database, under the same keys.
    ///
    /// # Errors
    /// It cannot be started, or does not become ready; with the end of its log.
    pub fn beside(&self, name: &str, places: &Places, certificates: &Certificates, plan: &Plan) -> Result<Self, Broken> {
        let directory = self.directory.with_file_name(name);
        fs::create_dir_all(&directory).doing(directory.display())?;
        for key in ["data.key", "log.key"] {
            fs::copy(self.directory.join(key), directory.join(key)).doing(key)?;
        }
        let identity = format!("control-plane/{name}");
        Self::named(&identity, ControlPlanePorts::any(), places, certificates, &directory, plan)
    }

    fn named(
        identity: &str,
        ports: ControlPlanePorts,
        places: &Places,
        certificates: &Certificates,
        directory: &Path,
        plan: &Plan,
    ) -> Result<Self, Broken> {
        let own = certificates.issue(identity, &["--valid-for", plan.valid_for])?;
        let kept = directory.join("policies");
        // What somebody edited in an earlier life stays as it is.
        if !kept.exists() {
            let policies = plan.policies.as_ref().map_or_else(|| places.policies(), |folder| places.repository.join(folder));
            fs::create_dir_all(&kept).doing(kept.display())?;
            copy_folder(&policies, &kept)?;
        }
        let servers: Vec<&str> = plan.servers.iter().map(|(name, _)| name.as_str()).collect();
        let servers = if servers.is_empty() { vec![plan.server] } else { servers };
        let tls = format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}\nauthority = {:?}\n",
            own.certificate,
            own.key,
            certificates.authority()
        );
        let identities = format!(
            "[[filter]]\nidentity = {:?}\ntenant = \"default\"\nservers = {servers:?}\nprincipal = {:?}\n\
             [[operator]]\nidentity = {:?}\nroles = [\"admin\"]\n",
            spiffe("filter/laptop"),
            spiffe("agent/laptop"),
            spiffe("operator/me")
        );
        let journal = match &plan.database {
            Some(url) => format!("[journal]\nbackend = \"postgres\"\nurl = {url:?}\n"),
            None => "[journal]\nbackend = \"embedded\"\ndirectory = \"journal\"\n".to_owned(),
        };
        let policy = "[policy]\ndirectory = \"policies\"\n";
        fs::write(directory.join("rest.toml"), [&tls, &journal, policy, &identities, &plan.configuration].concat())
            .doing("writing the configuration")?;
        let mut control_plane = Self { program: places.control_plane.clone(), directory: directory.into(), process: None, ports };
        control_plane.begin()?;
        Ok(control_plane)
    }

    /// Starts it again, on the same ports and the same journal.
    ///
    /// # Errors
    /// It does not become ready; with the end of its log.
    pub fn begin(&mut self) -> Result<(), Broken> {
        self.launch()?;
        let ready = self.directory.join("ready.json");
        let process = self.process.as_mut().doing("a process that was started")?;
        self.ports = process.until("it serves", || ControlPlanePorts::read(&fs::read_to_string(&ready).ok()?))?;
        Ok(())
    }

    /// The same, and waits for nothing.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(&mut self) -> Result<(), Broken> {
        let rest = fs::read_to_string(self.directory.join("rest.toml")).doing("the configuration")?;
        let ports = &self.ports;
        let listeners = format!(
            "[filters]\nlisten = {:?}\n[operators]\nlisten = {:?}\n[metrics]\nlisten = {:?}\n",
            ports.filters, ports.operators, ports.metrics
        );
        let config = self.directory.join("control-plane.toml");
        fs::write(&config, listeners + &rest).doing(config.display())?;
        let ready = self.directory.join("ready.json");
        drop(fs::remove_file(&ready));
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&config).arg("--ready-file").arg(&ready);
        self.process = Some(Process::start("the control plane", command, &self.directory.join("control-plane.log"))?);
        Ok(())
    }

    /// From its next life on it is this program.
    pub fn becomes(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// Ends it, and starts it again with something else in its configuration.
    ///
    /// # Errors
    /// There is no such thing in it, or it does not become ready; with the end of its log.
    pub fn reconfigure(&mut self, from: &str, to: &str) -> Result<(), Broken> {
        let rest = self.directory.join("rest.toml");
        let text = fs::read_to_string(&rest).doing(rest.display())?;
        if !text.contains(from) {
            return Err(Broken(format!("the configuration says nowhere `{from}`")));
        }
        fs::write(&rest, text.replace(from, to)).doing(rest.display())?;
        self.end()?;
        self.begin()
    }

    /// SIGTERM: it drains, and then it ends.
    ///
    /// # Errors
    /// It did not end, or not well.
    pub fn end(&mut self) -> Result<(), Broken> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let status = process.end()?;
        if status.success() { Ok(()) } else { Err(Broken(format!("the control plane ended with {status}\n{}", process.tail()))) }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Its policy folder, to edit.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.directory.join("policies")
    }

    /// Its files: configuration, keys and all that it writes.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.directory.join("journal")
    }

    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.directory.join("control-plane.log")
    }

    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Broken> {
    for entry in fs::read_dir(from).doing(from.display())? {
        let entry = entry.doing(from.display())?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).doing(target.display())?;
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).doing(target.display())?;
        }
    }
    Ok(())
}
