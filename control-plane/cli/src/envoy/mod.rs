//! `agentgate envoy`: whole configuration for a plain Envoy that gates tool servers, made from what the project ships.
//!
//! It starts nothing, asks no control plane, and prints nothing that has a hole by `agentgate check`.

mod address;
mod own;
mod part;
mod plan;
mod quote;
mod render;
mod secrets;
mod template;
mod validate;

use crate::check;
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use crate::screen::Palette;
use crate::text::escape;
use agentgate_core::mode::Mode;
use clap::{Args, ValueEnum};
use plan::{Plan, PlanError};
use secrets::Secret;
use serde_json::json;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use template::TemplateError;
use validate::Validated;

/// The name under which the configuration is written.
const FILE: &str = "envoy.yaml";

/// Where the gate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum At {
    /// Beside the agent: loopback, plain HTTP, the principal is configured
    Outbound,
    /// Before the tool server: mutual TLS, the principal is the caller's certificate
    Inbound,
    /// Shared by many: as inbound, for several servers
    Gateway,
}

/// How it judges to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Begins {
    /// Record what would be decided, refuse nothing
    Observe,
    /// Obey the verdict
    Enforce,
}

/// What asks the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Asks {
    /// The filter: sees what became of each call, shortens lists
    Wasm,
    /// Envoy's own ext_authz, where no module may be loaded: records verdicts and no outcomes
    ExtAuthz,
}

/// Which half is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Envoy's configuration
    Envoy,
    /// The `[[filter]]` entry of control-plane.toml
    ControlPlane,
}

#[derive(Debug, Args)]
#[command(override_usage = "agentgate envoy --at PLACE --upstream URL --server NAME [OPTIONS]")]
pub struct Arguments {
    /// Where the gate stands
    #[arg(long, value_enum, value_name = "PLACE")]
    pub at: At,
    /// A tool server, as `http://HOST:PORT/mcp` or `https://…`; for several, each as NAME=URL
    #[arg(long, required = true, value_name = "[NAME=]URL")]
    pub upstream: Vec<String>,
    /// The server's name: in tools.yaml, in `[[filter]]`, and in every trace
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
    /// The path that callers use, when it is not the server's own; of several servers each has `/NAME` before its path
    #[arg(long, value_name = "[NAME=]PATH")]
    pub path: Vec<String>,
    /// Whether it refuses anything to begin with; `agentgate enforce NAME` changes it later
    #[arg(long, value_enum, default_value = "observe", value_name = "MODE")]
    pub mode: Begins,
    /// What asks for each call
    #[arg(long, value_enum, default_value = "wasm", value_name = "FILTER")]
    pub filter: Asks,
    /// Where callers reach it [default: 127.0.0.1:10000 outbound, else 0.0.0.0:10000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Envoy's admin port, on loopback
    #[arg(long, default_value = "127.0.0.1:9901", value_name = "ADDRESS:PORT")]
    pub admin: String,
    /// The name of this Envoy, beside the filter in `agentgate status`
    #[arg(long, default_value = "laptop", value_name = "NAME")]
    pub node: String,
    /// Where the control plane listens for filters
    #[arg(long, default_value = "127.0.0.1:9443", value_name = "HOST:PORT")]
    pub control_plane: String,
    /// The trust domain of all certificates
    #[arg(long, default_value = "agentgate.local", value_name = "DOMAIN")]
    pub trust_domain: String,
    /// Outbound: who stands beside the gate, within the trust domain
    #[arg(long, default_value = "agent/laptop", value_name = "NAME")]
    pub principal: String,
    /// The filter's module
    #[arg(long, default_value = "agentgate_filter.wasm", value_name = "FILE", help_heading = "Files, from where Envoy starts")]
    pub wasm: PathBuf,
    /// The filter's own certificate, never a workload's [default: certs/filter-NODE.pem]
    #[arg(long, value_name = "PEM", help_heading = "Files, from where Envoy starts")]
    pub filter_certificate: Option<PathBuf>,
    /// Its key [default: certs/filter-NODE.key]
    #[arg(long, value_name = "PEM", help_heading = "Files, from where Envoy starts")]
    pub filter_key: Option<PathBuf>,
    /// What the control plane's certificate is checked against
    #[arg(long, default_value = "certs/authority.pem", value_name = "PEM", help_heading = "Files, from where Envoy starts")]
    pub authority: PathBuf,
    /// Inbound and gateway: the certificate that callers check [default: certs/listener.pem]
    #[arg(long, value_name = "PEM", help_heading = "Files, from where Envoy starts")]
    pub listener_certificate: Option<PathBuf>,
    /// Its key [default: certs/listener.key]
    #[arg(long, value_name = "PEM", help_heading = "Files, from where Envoy starts")]
    pub listener_key: Option<PathBuf>,
    /// What callers' certificates are checked against [default: certs/authority.pem]
    #[arg(long, value_name = "PEM", help_heading = "Files, from where Envoy starts")]
    pub callers_authority: Option<PathBuf>,
    /// What the certificate of an https:// server is checked against [default: the system's roots]
    #[arg(long, value_name = "PEM", help_heading = "Files, from where Envoy starts")]
    pub upstream_authority: Option<PathBuf>,
    /// Which half to print
    #[arg(long, value_enum, default_value = "envoy", value_name = "PART", help_heading = "Writing")]
    pub part: Part,
    /// Write envoy.yaml and sds/*.yaml here instead of printing; nothing is overwritten
    #[arg(long, value_name = "DIR", help_heading = "Writing")]
    pub directory: Option<PathBuf>,
    /// Overwrite what is there
    #[arg(long, requires = "directory", help_heading = "Writing")]
    pub force: bool,
    /// Have this Envoy read it, and fail if it cannot [default: the one in PATH, if all files lie there]
    #[arg(long, num_args = 0..=1, default_missing_value = "envoy", value_name = "ENVOY", help_heading = "Writing")]
    pub validate: Option<PathBuf>,
}

// === impl At ===

impl At {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::Gateway => "gateway",
        }
    }

    const fn listen_default(self) -> &'static str {
        match self {
            Self::Outbound => "127.0.0.1:10000",
            Self::Inbound | Self::Gateway => "0.0.0.0:10000",
        }
    }
}

// === impl Mode ===

impl From<Begins> for Mode {
    fn from(begins: Begins) -> Self {
        match begins {
            Begins::Observe => Self::Observe,
            Begins::Enforce => Self::Enforce,
        }
    }
}

pub fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let plan = Plan::of(arguments)?;
    let part = part::control_plane(&plan);
    if arguments.part == Part::ControlPlane {
        return desk.answer(|_| part.clone(), || json!({ "control_plane": part }));
    }
    let secrets = secrets::all(&plan)?;
    let configuration = render::configuration(&plan)?;
    check::envoy_is_whole(&configuration)?;
    let text = configuration + &footer(&part, &secrets, arguments.directory.is_some());
    if let Some(directory) = &arguments.directory {
        write(directory, &text, &secrets, arguments.force)?;
    }
    let validated = validated(arguments, &plan, &text)?;
    let directory = arguments.directory.as_deref();
    let amiss = directory.and_then(|directory| own::amiss(&plan, directory, arguments.filter_certificate.is_some()));
    say(&plan, &validated, amiss.as_deref(), desk);
    desk.answer(
        |screen| match &arguments.directory {
            None => text.clone(),
            Some(directory) => written(directory, &secrets, screen),
        },
        || {
            let files: serde_json::Map<_, _> = secrets.iter().map(|file| (file.name.clone(), json!(file.text))).collect();
            json!({ "mode": plan.mode.name(), "envoy": text, "sds": files, "control_plane": part, "validated": matches!(validated, Validated::By(_)), "amiss": amiss })
        },
    )
}

/// The control plane's half, and the files that the configuration names, as comments.
fn footer(part: &str, secrets: &[Secret], written: bool) -> String {
    let comment = |text: &str| text.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect::<String>();
    let mut footer = format!("\n# control-plane.toml, so that this gate may ask:\n#\n{}", comment(part));
    if !written {
        for secret in secrets {
            footer += &format!("\n# {} (--directory writes it):\n#\n{}", secret.name, comment(&secret.text));
        }
    }
    footer
}

fn write(directory: &Path, text: &str, secrets: &[Secret], force: bool) -> Result<(), Failure> {
    let files: Vec<(PathBuf, &str)> = [(directory.join(FILE), text)]
        .into_iter()
        .chain(secrets.iter().map(|secret| (directory.join(&secret.name), secret.text.as_str())))
        .collect();
    if let Some((there, _)) = files.iter().find(|(path, _)| !force && path.symlink_metadata().is_ok()) {
        let said = format!("{} is there already", there.display());
        return Err(Failure::new(Exit::Refused, said).then("pass --force to overwrite it, or take another --directory"));
    }
    for (path, text) in &files {
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| place(path, text))
            .map_err(|error| Failure::new(Exit::Local, format!("cannot write {}", path.display())).because(error))?;
    }
    Ok(())
}

/// Whole or not at all: Envoy watches `sds/`.
fn place(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}

fn validated(arguments: &Arguments, plan: &Plan, text: &str) -> Result<Validated, Failure> {
    let path = std::env::var_os("PATH");
    let Some(envoy) = validate::envoy(arguments.validate.as_deref(), path.as_deref()) else {
        let missing = "there is no `envoy` in PATH";
        return match &arguments.validate {
            Some(_) => Err(Failure::new(Exit::Local, missing).then("name one: --validate /path/to/envoy")),
            None => Ok(Validated::Not(missing.into())),
        };
    };
    let names = secrets::names(plan);
    let needs: Vec<&str> = names.iter().map(String::as_str).chain(named_files(plan)).collect();
    match (validate::ask(&envoy, text, arguments.directory.as_deref().unwrap_or(Path::new(".")), &needs), &arguments.validate) {
        (Validated::Refused { by, said }, _) => {
            let failure = Failure::new(Exit::Refused, format!("`{}` does not take this configuration", by.display()));
            Err(failure.because(io::Error::other(said)).then("is it older than 1.36? see `envoy --version`"))
        }
        (Validated::Not(why), Some(_)) => Err(Failure::new(Exit::Local, format!("it cannot be validated: {why}"))
            .then("put all files in their place, then the same with --force")),
        (validated, _) => Ok(validated),
    }
}

fn named_files(plan: &Plan) -> impl Iterator<Item = &str> {
    let listener = plan
        .callers
        .iter()
        .flat_map(|callers| [callers.listener.certificate.as_str(), &callers.listener.key, &callers.authority]);
    let own = [plan.filter.certificate.as_str(), &plan.filter.key, &plan.authority];
    plan.wasm().into_iter().chain(own).chain(listener).chain(plan.upstream_authority.as_deref())
}

/// On standard error, so that a pipe gets the configuration alone.
fn say(plan: &Plan, validated: &Validated, amiss: Option<&str>, desk: &Desk<'_>) {
    let screen = &desk.screen;
    let names: Vec<&str> = plan.servers.iter().map(|behind| behind.server.as_str()).collect();
    let mode = match plan.mode {
        Mode::Observe => {
            let how = names.iter().map(|name| format!("agentgate enforce {name}")).collect::<Vec<_>>().join("; ");
            let said = screen.paint(Palette::Waiting, "this gate OBSERVES: it refuses nothing. Enforce:");
            format!("{said} {}\n", escape(&how, screen.charset))
        }
        Mode::Enforce => "this gate enforces: what is not allowed is refused\n".to_owned(),
    };
    let envoy = match validated {
        Validated::By(envoy) => format!("checked by agentgate, and validated by {}\n", envoy.display()),
        Validated::Not(why) => format!("checked by agentgate; not validated by an Envoy: {}\n", escape(why, screen.charset)),
        Validated::Refused { .. } => String::new(),
    };
    let amiss = amiss.map(|amiss| format!("{} {}\n", screen.paint(Palette::Bad, "warning:"), escape(amiss, screen.charset)));
    // Whoever closed standard error does not want to know.
    let _ = io::stderr().write_all((mode + &envoy + &amiss.unwrap_or_default()).as_bytes());
}

fn written(directory: &Path, secrets: &[Secret], screen: &crate::screen::Screen) -> String {
    let names = [FILE].into_iter().chain(secrets.iter().map(|secret| secret.name.as_str()));
    let sign = screen.paint(Palette::Good, screen.sign("✓", "wrote"));
    names.map(|name| format!("{sign} {}\n", escape(&directory.join(name).display().to_string(), screen.charset))).collect()
}

// === impl Failure ===

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        Self::new(Exit::Local, error)
    }
}

#[cfg(test)]
pub(crate) mod tests;
