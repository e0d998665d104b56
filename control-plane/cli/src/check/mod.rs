//! `agentgate check`: looks for holes in a gate, in Envoy's configuration, certificates, clocks and versions, and says how to mend each.
//!
//! It changes nothing. What it cannot look at it says, and never counts as whole.

mod authz;
mod certificates;
mod cluster;
mod configuration;
mod finding;
mod folder;
mod gate;
mod listener;
mod missing;
mod parts;
mod place;
mod route;
mod running;
mod screen;
mod source;
mod table;
mod users;
pub(crate) mod yaml;

use crate::client::{Client, Connection};
use crate::clock;
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use agentgate_core::time::Time;
pub(crate) use certificates::name_of;
use clap::Args;
use configuration::Configuration;
use finding::Findings;
use folder::Folder;
use missing::{Base, Sure};
use place::Place;
use running::Told;
use source::Admin;
use std::path::{Path, PathBuf};
use table::{Check, Severity};
use yaml::Document;

#[derive(Debug, Args)]
#[command(override_usage = "agentgate check [--envoy-config FILE | --envoy-admin URL] [--directory DIR] [OPTIONS]")]
pub struct Arguments {
    /// Envoy's configuration, YAML or JSON
    #[arg(long, value_name = "FILE", conflicts_with = "envoy_admin", help_heading = "What to look at")]
    pub envoy_config: Option<PathBuf>,
    /// The admin port of a running Envoy, like http://127.0.0.1:9901
    #[arg(long, value_name = "URL", help_heading = "What to look at")]
    pub envoy_admin: Option<String>,
    /// Where Envoy was started, which paths begin at [default: the file's directory]; alone: look at the certificates in it
    #[arg(long, value_name = "DIR", help_heading = "What to look at")]
    pub directory: Option<PathBuf>,
    /// Print every check, as docs/check.md has them, and look at nothing
    #[arg(long, help_heading = "What to look at")]
    pub list: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// What was gathered before anything is judged.
#[derive(Debug, Default)]
struct Seen {
    document: Option<Document>,
    admin: Option<Admin>,
    base: Base,
    /// In the place of a configuration.
    folder: Option<Folder>,
}

/// For whoever writes configuration: it has no hole.
///
/// # Errors
/// It has one.
pub fn envoy_is_whole(text: &str) -> Result<(), Failure> {
    let document = yaml::read(text).map_err(|error| {
        Failure::new(Exit::Local, "what was made is no YAML").because(error).then("please report this, with the command line")
    })?;
    let mut findings = Findings::default();
    let root = Place::root(&document);
    configured(&Configuration::of(&root), &mut findings);
    match findings.list.iter().find(|finding| finding.check.severity() == Severity::Hole) {
        Some(hole) => {
            let said = format!("what was made has a hole at {}: {}", hole.at, hole.check.what());
            Err(Failure::new(Exit::Refused, said).then(hole.check.repair()))
        }
        None => Ok(()),
    }
}

/// The values of a YAML text, for tests that compare what they mean.
#[cfg(test)]
pub(crate) fn value_of(text: &str) -> Result<serde_json::Value, yaml::YamlError> {
    Ok(yaml::read(text)?.value)
}

pub async fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    if arguments.list {
        let all =
            || Check::ALL.iter().map(|check| serde_json::json!({ "check": check.name(), "severity": check.severity().name() }));
        return desk.answer(|_| table::document(), || all().collect());
    }
    let seen = Seen::of(arguments).await?;
    let mut findings = Findings::default();
    let told = told(arguments, &mut findings).await;
    judged(&seen, told.as_ref(), desk.now, &mut findings);
    findings.sort();
    let file = arguments.envoy_config.as_ref().and_then(|file| file.file_name()).map(|name| name.to_string_lossy().into_owned());
    desk.answer(|screen| screen::render(&findings, &file.unwrap_or_default(), screen), || screen::to_json(&findings))?;
    match findings.count(Severity::Hole) {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Refused, "the gate has a hole").then("mend it, then run the same again")),
        holes => {
            Err(Failure::new(Exit::Refused, format!("the gate has {holes} holes")).then("mend them, then run the same again"))
        }
    }
}

fn judged(seen: &Seen, told: Option<&Told>, now: Time, findings: &mut Findings) {
    let Some(document) = &seen.document else {
        findings.no_gate = true;
        findings.unseen("Envoy's configuration: neither --envoy-config nor --envoy-admin was given");
        if let Some(folder) = &seen.folder {
            folder.look(now, findings);
        }
        if let Some(told) = told {
            running::control_plane(told, &[], &[], env!("CARGO_PKG_VERSION"), findings);
        }
        return;
    };
    let root = Place::root(document);
    let configuration = Configuration::of(&root);
    configured(&configuration, findings);
    let chains = configuration.chains();
    let identities = certificates::look(&configuration, &chains, &seen.base, now, findings);
    match &seen.admin {
        Some(admin) => running::envoy(admin, &chains, now, findings),
        None => findings.unseen("a running Envoy: its version, its VMs and the certificates that it holds; pass --envoy-admin"),
    }
    if let Some(told) = told {
        running::control_plane(told, &chains, &identities, env!("CARGO_PKG_VERSION"), findings);
    }
}

/// Everything that the configuration alone tells.
fn configured(configuration: &Configuration<'_>, findings: &mut Findings) {
    let chains = configuration.chains();
    gate::look(configuration, &chains, findings);
    for chain in &chains {
        if let Some(gate) = &chain.gate {
            listener::look(chain, gate, findings);
            route::look(chain, gate, findings);
            users::look(chain, gate, findings);
        }
    }
    listener::admin(configuration, findings);
    cluster::look(configuration, &chains, findings);
}

/// The control plane, when we have what it takes to ask it and it answers.
async fn told(arguments: &Arguments, findings: &mut Findings) -> Option<Told> {
    let connection = &arguments.connection;
    if connection.authority.is_none() && connection.certificate.is_none() && connection.key.is_none() {
        findings.unseen(
            "the control plane: its clock, its version and the filters it hears; pass --authority, --certificate and --key",
        );
        return None;
    }
    let status = async {
        let client = Client::connect(connection).await?;
        let asked = clock::now();
        Ok::<_, Failure>(Told { asked, status: client.show_status().await?, answered: clock::now() })
    };
    match status.await {
        Ok(told) => Some(told),
        Err(failure) => {
            findings.unseen(format!("the control plane: {}", failure.chain().join(": ")));
            None
        }
    }
}

// === impl Seen ===

impl Seen {
    async fn of(arguments: &Arguments) -> Result<Self, Failure> {
        let base = |beside: Option<&Path>, sure: Sure| match &arguments.directory {
            Some(directory) => Base { path: directory.clone(), sure: Sure::Told },
            None => {
                let path = beside.filter(|path| !path.as_os_str().is_empty()).map_or(".".into(), PathBuf::from);
                Base { path, sure }
            }
        };
        if let Some(directory) = &arguments.directory {
            folder::is_there(directory)?;
        }
        if let Some(file) = &arguments.envoy_config {
            let base = base(file.parent(), Sure::Beside);
            return Ok(Self { document: Some(source::file(file)?), base, ..Self::default() });
        }
        let Some(address) = &arguments.envoy_admin else {
            // A control plane alone has no gate: what it says of itself is `agentgate status`.
            let directory = arguments.directory.as_deref().ok_or_else(nothing)?;
            return Ok(Self { folder: Some(Folder::of(directory)?), ..Self::default() });
        };
        let mut admin = source::admin(address).await?;
        let options = admin.server_info.get("command_line_options");
        let file = options.and_then(|options| options.get("config_path")?.as_str()).map(PathBuf::from);
        let base = base(file.as_deref().and_then(Path::parent), Sure::Guessed);
        Ok(Self { document: Some(std::mem::take(&mut admin.config_dump)), admin: Some(admin), base, ..Self::default() })
    }
}

fn nothing() -> Failure {
    Failure::new(Exit::Usage, "there is nothing to look at")
        .then("pass --envoy-config FILE, or --envoy-admin http://127.0.0.1:9901")
        .then("for certificates alone pass --directory DIR; what the control plane says of itself: `agentgate status`")
}

#[cfg(test)]
mod tests;
