//! The command line: what can be said, and nothing about what it does.

use crate::client::Connection;
use crate::failure::EXIT_CODES;
use crate::output::Output;
use crate::screen::ColorChoice;
use crate::{
    approve, authority, check, envoy, evidence, explain, hold, journal, kill, log, mode, openapi, policy, purge, status, trace,
    verify,
};
use clap::{Arg, Command, CommandFactory as _, Parser, Subcommand};

/// What [`Connection`] is made of. Given before the verb they are for the verbs that take them; the others show none of them.
const CONNECTION: [&str; 4] = ["endpoint", "connection_authority", "certificate", "key"];

/// AgentGate's command line, for operators and policy authors
#[derive(Debug, Parser)]
#[command(name = "agentgate", version, after_help = EXIT_CODES, max_term_width = 110, disable_help_subcommand = true)]
pub struct Arguments {
    /// How to show the answer: a table for people, or JSON for programs (one object; for `tail` one a line)
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM", help_heading = "Showing the answer")]
    pub output: Output,

    /// When to use colours; `auto` obeys NO_COLOR, TERM=dumb and pipes
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", help_heading = "Showing the answer")]
    pub color: ColorChoice,

    // Clap hands what stands before the verb to the verb's own fields of these names.
    #[command(flatten)]
    connection: Connection,

    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make certificates for a laptop or for tests
    #[command(subcommand)]
    Authority(authority::verb::Verb),
    /// Look for holes in a gate: Envoy's configuration, certificates, clocks, versions
    Check(check::Arguments),
    /// Print whole configuration for an Envoy that gates your tool servers
    Envoy(Box<envoy::Arguments>),
    /// Propose the mapping of a REST server from its OpenAPI document
    Openapi(openapi::Arguments),
    /// Read what was asked, answered and done
    Trace(trace::Arguments),
    /// Tell why a call was decided as it was, and what would change it
    Explain(explain::Arguments),
    /// Decide about calls that wait for a person
    Approve(approve::Arguments),
    /// Have a server's calls wait for their verdict, and be refused by it
    Enforce(mode::EnforceArguments),
    /// Have a server's calls only observed: they go on whatever their verdict
    Observe(mode::ObserveArguments),
    /// List and forget what was ordered by enforce and observe
    Mode(mode::ModeArguments),
    /// Copy, restore and check the files of an embedded journal
    #[command(subcommand)]
    Journal(journal::Verb),
    /// Show, prove and export the transparency log over the journal
    Log(log::Arguments),
    /// Pack everything about a session, a subject or a time for an auditor, and archive it
    #[command(subcommand)]
    Evidence(evidence::Verb),
    /// Check a proof, an exported log or an evidence pack, with public keys alone
    Verify(verify::Arguments),
    /// Settle the decisions that `verify --redecide` asks for, in a process of its own
    #[command(name = verify::apart::VERB, hide = true)]
    SettleAgain,
    /// Keep what calls said from being erased, until the hold is lifted
    Hold(hold::Arguments),
    /// Erase what calls said, for ever; records and their proofs stay
    Purge(purge::Arguments),
    /// Stop calls at once, above every policy: all, or those of a tenant, server, tool, agent or session
    Kill(kill::KillArguments),
    /// Let go on what was killed
    Resume(kill::ResumeArguments),
    /// Try policies out before they are in force
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Show how the control plane is: policy, journal, filters, certificates
    Status(status::Arguments),
}

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    let command = Arguments::command();
    let own = |command: Command, id| command.mut_arg(id, |arg| arg.global(false));
    let command = CONNECTION.into_iter().fold(command, own);
    command.mut_subcommands(|verb| {
        let path = format!("agentgate {}", verb.get_name());
        where_it_reaches(verb, &path)
    })
}

/// With a usage of ours, below whatever takes a connection.
fn where_it_reaches(verb: Command, path: &str) -> Command {
    if takes_connection(&verb) {
        return with_usage(verb, path);
    }
    verb.mut_subcommands(|inner| {
        let path = format!("{path} {}", inner.get_name());
        where_it_reaches(inner, &path)
    })
}

fn takes_connection(verb: &Command) -> bool {
    verb.get_arguments().any(|arg| arg.get_id() == "endpoint")
}

/// Written out, because clap would count what the environment gives among what was typed.
fn with_usage(verb: Command, path: &str) -> Command {
    if verb.has_subcommands() {
        return verb.mut_subcommands(|inner| {
            let path = format!("{path} {}", inner.get_name());
            with_usage(inner, &path)
        });
    }
    // Until it is built no option knows its value, and no group what is in it.
    let mut built = verb.clone();
    built.build();
    let options = built.get_opts().filter(|arg| arg.is_required_set()).map(Arg::to_string);
    let asked = || built.get_groups().filter(|group| group.is_required_set());
    let is_asked = |arg: &&Arg| asked().any(|group| group.get_args().any(|id| id == arg.get_id()));
    let names = built.get_positionals().filter(|arg| !is_asked(arg)).map(Arg::to_string);
    let groups = asked().map(|group| {
        let one = |id| built.get_arguments().find(|arg| arg.get_id() == id).map(Arg::to_string);
        let one = |id| one(id).map(|text| text.trim_matches(['[', ']']).to_owned());
        format!("<{}>", group.get_args().filter_map(one).collect::<Vec<_>>().join("|"))
    });
    let words = [path.to_owned(), "[OPTIONS]".to_owned()].into_iter().chain(options).chain(groups).chain(names);
    let usage = words.collect::<Vec<_>>().join(" ");
    verb.override_usage(usage)
}

#[cfg(test)]
mod tests {
    use super::{CONNECTION, command};
    use clap::Command;

    #[test]
    fn no_verb_has_two_arguments_of_one_name() {
        command().debug_assert();
    }

    fn each(command: &Command, check: &mut dyn FnMut(&Command)) {
        check(command);
        command.get_subcommands().for_each(|verb| each(verb, check));
    }

    #[test]
    fn only_what_reaches_the_control_plane_stands_under_that_heading() {
        let mut whole = command();
        whole.build();
        each(&whole, &mut |verb| {
            for arg in verb.get_arguments() {
                let is_there = arg.get_help_heading() == Some("Reaching the control plane");
                let id = arg.get_id().as_str();
                let reaches = CONNECTION.contains(&id) && arg.get_value_names().is_none_or(|names| names[0] != "VERIFIER");
                assert_eq!(is_there, reaches, "{} {id}", verb.get_name());
            }
        });
    }

    #[test]
    fn what_the_environment_may_give_is_in_no_usage() {
        for (line, wanted) in [
            (&["agentgate", "evidence", "pack", "--out", "x"][..], "--out <DIR> <--session <SESSION>|--principal"),
            (&["agentgate", "log", "prove"], "--out <FILE> <SEQUENCE|--since <CHECKPOINT>"),
            (&["agentgate", "explain"], "[OPTIONS] <ID>"),
        ] {
            let said = command().try_get_matches_from(line).expect_err("something is missing").to_string();
            let usage = said.lines().find(|line| line.starts_with("Usage: ")).unwrap_or_default();
            assert!(usage.contains(wanted) && !usage.contains("--endpoint"), "{said}");
        }
    }
}
