//! The command line: what can be said, and nothing about what it does.

use crate::failure::EXIT_CODES;
use crate::output::Output;
use crate::screen::ColorChoice;
use crate::{authority, check, envoy, policy, status, trace};
use clap::{Parser, Subcommand};

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
    Envoy(envoy::Arguments),
    /// Read what was asked, answered and done
    Trace(trace::Arguments),
    /// Try policies out before they are in force
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Show how the control plane is: policy, journal, filters, certificates
    Status(status::Arguments),
}
