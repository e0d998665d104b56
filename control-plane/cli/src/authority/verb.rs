//! `agentgate authority init | issue`: the words around the authority.

use super::{AuthorityError, Init, Issue, Issued, Validity};
use crate::failure::{Exit, Failure};
use crate::output::{Desk, moment_json};
use crate::screen::{Palette, Screen};
use crate::span::{Moment, Span};
use crate::text::{escape, shell_word};
use agentgate_core::time::Time;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make an authority: a key and a certificate that everybody here will trust
    ///
    /// For a laptop and for tests. It is valid for 90 days unless told otherwise: long enough to forget it, short enough
    /// that a forgotten one does no harm.
    Init(InitArguments),
    /// Issue a certificate with a SPIFFE ID, for a control plane, a filter, an agent or an operator
    Issue(IssueArguments),
}

#[derive(Debug, Args)]
pub struct InitArguments {
    /// Where `authority.pem` and `authority.key` are written
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
    /// The trust domain of all identities that it will issue
    #[arg(long, default_value = "agentgate.local", value_name = "NAME")]
    trust_domain: String,
    /// How long it is valid: a number and s, m, h or d
    #[arg(long, default_value = "90d", value_name = "SPAN", value_parser = Span::parse)]
    valid_for: Span,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Debug, Args)]
pub struct IssueArguments {
    /// The path of the SPIFFE ID: `control-plane`, `filter/laptop`, `operator/me`
    name: String,
    /// Where the authority is, and where the new certificate and key are written
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
    /// A DNS name that it also stands for; may be repeated
    #[arg(long, value_name = "HOST")]
    dns: Vec<String>,
    /// An address that it also stands for; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// How long it is valid: a number and s, m, h or d
    #[arg(long, default_value = "24h", value_name = "SPAN", value_parser = Span::parse)]
    valid_for: Span,
    #[command(flatten)]
    writing: Writing,
}

/// What both verbs may be told about the files that they write.
#[derive(Debug, Args)]
pub struct Writing {
    /// From when on it is valid: `2026-11-22T10:00:00Z`, or from now `-2h` or `+30m`
    #[arg(long, value_name = "MOMENT", value_parser = Moment::parse, allow_hyphen_values = true)]
    not_before: Option<Moment>,
    /// Replace the files if they are there
    #[arg(long)]
    force: bool,
}

pub fn run(verb: &Verb, desk: &mut Desk<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Init(arguments) => {
            let InitArguments { directory, trust_domain, valid_for, writing } = arguments;
            let validity = writing.validity(*valid_for, desk.now);
            let made = super::init(&Init { directory, trust_domain, validity, force: writing.force })?;
            let directory = directory.display();
            let next = format!("agentgate authority issue control-plane --directory {directory} --dns localhost --ip 127.0.0.1");
            desk.answer(|screen| render("authority", &made, &[next], screen), || to_json(&made))
        }
        Verb::Issue(arguments) => {
            let IssueArguments { name, directory, dns, ip, valid_for, writing } = arguments;
            let validity = writing.validity(*valid_for, desk.now);
            let made = super::issue(&Issue { directory, name, dns, ip, validity, force: writing.force })?;
            let next = next_of(name, &made, &directory.join("authority.pem"));
            desk.answer(|screen| render("certificate", &made, &next, screen), || to_json(&made))
        }
    }
}

/// What a certificate of this name is for, and so what is done with it.
fn next_of(name: &str, made: &Issued, authority: &Path) -> Vec<String> {
    let Issued { identity, certificate, key, .. } = made;
    match name.split('/').next() {
        Some("operator") => vec![
            format!("name `{identity}` as an [[operator]] of the control plane; then, with its operators' address:"),
            "export AGENTGATE_ENDPOINT=https://127.0.0.1:9444".to_owned(),
            format!("export AGENTGATE_AUTHORITY={}", word(authority)),
            format!("export AGENTGATE_CERTIFICATE={}", word(certificate)),
            format!("export AGENTGATE_KEY={}", word(key)),
        ],
        Some("filter") => vec![
            format!("name `{identity}` as a [[filter]] of the control plane; then, where Envoy starts:"),
            // Envoy reads what is moved into the directory, not what is copied over.
            "mkdir -p certs certs.new".to_owned(),
            format!("cp {} {} {} certs.new/ && mv certs.new/* certs/", word(certificate), word(key), word(authority)),
        ],
        Some("control-plane") => vec![
            "name them in the control plane's configuration, in [tls]:".to_owned(),
            format!("certificate = {:?}", absolute(certificate)),
            format!("key = {:?}", absolute(key)),
            format!("authority = {:?}", absolute(authority)),
        ],
        Some(_) | None => vec![
            format!("name `{identity}` as the `principal` of a [[filter]] of the control plane;"),
            "or have the workload show this certificate, where the [[filter]] has `peers`".to_owned(),
        ],
    }
}

/// A path that holds from wherever it is used.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}

/// The same as a word of a shell.
fn word(path: &Path) -> String {
    shell_word(&absolute(path))
}

fn render(what: &str, made: &Issued, next: &[String], screen: &Screen) -> String {
    let Validity { not_before, not_after } = made.validity;
    let line = |name: &str, value: &str| {
        format!("  {} {}\n", screen.paint(Palette::Dim, &format!("{name:<12}")), escape(value, screen.charset))
    };
    let mut text = format!(
        "{} {what} {}\n",
        screen.paint(Palette::Good, screen.sign("✓", "made")),
        screen.paint(Palette::Title, &escape(&made.identity, screen.charset))
    );
    text += &line("certificate", &made.certificate.display().to_string());
    text += &line("key", &format!("{} (readable by you alone)", made.key.display()));
    text += &line("valid", &format!("{not_before} to {not_after}"));
    for (at, step) in next.iter().enumerate() {
        text += &line(if at == 0 { "next" } else { "" }, step);
    }
    text
}

fn to_json(made: &Issued) -> Value {
    json!({
        "identity": made.identity,
        "certificate": made.certificate.display().to_string(),
        "key": made.key.display().to_string(),
        "not_before": moment_json(made.validity.not_before.micros()),
        "not_after": moment_json(made.validity.not_after.micros()),
    })
}

// === impl Writing ===

impl Writing {
    fn validity(&self, valid_for: Span, now: Time) -> Validity {
        let not_before = self.not_before.map_or(now, |moment| moment.resolve(now));
        Validity { not_before, not_after: not_before.plus_micros(valid_for.micros()) }
    }
}

// === impl Failure ===

impl From<AuthorityError> for Failure {
    fn from(error: AuthorityError) -> Self {
        let exit = match &error {
            AuthorityError::TrustDomain(_)
            | AuthorityError::Name(_)
            | AuthorityError::LongName(_)
            | AuthorityError::Reserved(_)
            | AuthorityError::Dns(_)
            | AuthorityError::OutlivesAuthority { .. }
            | AuthorityError::Validity { .. } => Exit::Usage,
            AuthorityError::Exists(_) => Exit::Refused,
            AuthorityError::NoAuthority(_)
            | AuthorityError::Unreadable { .. }
            | AuthorityError::Write { .. }
            | AuthorityError::Read { .. }
            | AuthorityError::Make(_) => Exit::Local,
        };
        Self::new(exit, error)
    }
}
