//! `agentgate-control-plane journal`: what is done to a journal while no control plane writes it. It stands here and not in
//! `agentgate`, which opens no journal and asks control planes alone.
//!
//! It refuses a journal that somebody has opened, and to remove one.

use super::RunError;
use crate::clock::Clock;
use crate::config::{Backend, Config, Database};
use crate::copy::{self, Copied, Step};
use crate::journal::Journal;
use crate::journal::embedded::{self, Embedded};
use crate::journal::postgres::{self, Postgres};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a line says how far it is where nobody watches: a log is read as well.
const SAY_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Copy a whole journal into another backend, compare both, and print the root that they share
    Copy(CopyArguments),
    /// Bring a database's schema to this program's, or one step back
    Migrate(MigrateArguments),
}

#[derive(Debug, Args)]
pub(super) struct CopyArguments {
    /// What is copied: an embedded journal's directory, or a database's url
    #[arg(long, value_name = "DIR|URL")]
    from: String,
    /// Where to: a new directory, an empty database, or what an earlier copy left unfinished
    #[arg(long, value_name = "DIR|URL")]
    to: String,
    /// A file that holds the database's password
    #[arg(long, value_name = "FILE")]
    password: Option<PathBuf>,
    /// What the database's certificate is checked against; the system's roots without it
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct MigrateArguments {
    /// The control plane's configuration, whose [journal] names the database
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// One step back, for an older program
    #[arg(long)]
    back: bool,
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Says how far a copy is, on standard error.
struct Progress {
    clock: Clock,
    is_watched: bool,
    said: Option<(std::mem::Discriminant<Step>, Duration)>,
}

pub(super) fn run(verb: Verb) -> Result<(), RunError> {
    // The rooms' clients speak TLS, and reading a journal takes threads.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(super::WORKERS).enable_all().build();
    runtime.map_err(RunError::Start)?.block_on(async {
        match verb {
            Verb::Copy(arguments) => copy(arguments).await,
            Verb::Migrate(arguments) => migrate(arguments).await,
        }
    })
}

async fn copy(arguments: CopyArguments) -> Result<(), RunError> {
    let CopyArguments { from, to, password, authority, output } = arguments;
    let clock = Clock::system();
    let settings = |url: &str, migrate: bool| postgres::Settings {
        url: url.to_owned(),
        password: password.clone(),
        authority: authority.clone(),
        migrate,
        clock: clock.clone(),
    };
    let source: Box<dyn Journal> = if is_url(&from) {
        Box::new(Postgres::open(settings(&from, false)).await?)
    } else {
        existing(Path::new(&from))?;
        Box::new(Embedded::open(embedded::Settings::new(from.clone().into()))?)
    };
    let target: Box<dyn Journal> = if is_url(&to) {
        Box::new(Postgres::open(settings(&to, true)).await?)
    } else {
        Box::new(Embedded::open(embedded::Settings::new(to.clone().into()))?)
    };
    let mut progress = Progress { clock: clock.clone(), is_watched: io::stderr().is_terminal(), said: None };
    let copied = copy::copy(source.as_ref(), target.as_ref(), &mut |step, done| progress.say(step, done)).await;
    progress.end();
    let (from, to) = (source.health().backend, target.health().backend);
    print(output, &copied?, from, to);
    Ok(())
}

fn print(output: Output, copied: &Copied, from: &str, to: &str) {
    let Copied { head, bodies, slots, root, signed } = copied;
    match output {
        Output::Text => {
            let signed = signed
                .map_or_else(|| "nothing was signed".to_owned(), |size| format!("the one signed over {size} is among its past"));
            println!("Copied and compared: {head} records, {bodies} bodies, {slots} slots, {from} to {to}");
            println!("Root over both: {root} ({signed})");
        }
        Output::Json => {
            let root = root.to_string();
            println!(
                "{}",
                json!({"from": from, "to": to, "head": head, "bodies": bodies, "slots": slots, "root": root, "signed": signed})
            );
        }
    }
}

/// As libpq reads it: an url, or `name=value` beside each other.
fn is_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://") || text.split(' ').any(|part| part.starts_with("host="))
}

/// Opening would make one.
fn existing(directory: &Path) -> Result<(), RunError> {
    if directory.join("records").is_dir() { Ok(()) } else { Err(RunError::NoJournal(directory.to_owned())) }
}

async fn migrate(arguments: MigrateArguments) -> Result<(), RunError> {
    let Backend::Postgres(Database { url, password, authority, migrate: _ }) = Config::read(&arguments.config)?.journal else {
        return Err(RunError::NoSchema);
    };
    let settings = postgres::Settings { url, password, authority, migrate: false, clock: Clock::system() };
    let before = postgres::schema_of(&settings).await?;
    let after = if arguments.back { before - 1 } else { postgres::CURRENT };
    if arguments.back && after < 1 {
        return Err(RunError::FirstStep);
    }
    postgres::migrate(&settings, after).await?;
    match arguments.output {
        Output::Text if before == after => println!("The schema is {after} already"),
        Output::Text => println!("Schema {before} is {after} now"),
        Output::Json => println!("{}", json!({"before": before, "after": after})),
    }
    Ok(())
}

// === impl Progress ===

impl Progress {
    fn say(&mut self, step: Step, done: u64) {
        let (now, kind) = (self.clock.elapsed(), std::mem::discriminant(&step));
        let is_new = self.said.is_none_or(|(said, at)| said != kind || now.saturating_sub(at) >= SAY_EVERY);
        if !self.is_watched && !is_new {
            return;
        }
        self.said = Some((kind, now));
        let text = match step {
            Step::Bodies => format!("{done} bodies copied"),
            Step::Records { of } => format!("{done} of {of} records copied"),
            Step::Slots => format!("{done} slots copied"),
            Step::Comparing { of } => format!("{done} of {of} records compared"),
            Step::ComparingBodies => format!("{done} bodies compared"),
        };
        let (before, after) = if self.is_watched { ("\r\x1b[2K", "") } else { ("", "\n") };
        // Whoever closed it does not want to hear.
        let _ = write!(io::stderr(), "{before}{text}{after}");
    }

    fn end(&self) {
        if self.is_watched && self.said.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}
