//! `just crash`: kills a control plane under load again and again, and says whether anything was lost. It ends with 1 when
//! something was, and with 2 when it could not tell.

use agentgate_e2e::crash::{Crashes, Summary};
use clap::{Parser, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

#[derive(Parser)]
#[command(name = "crash", about = "Kills a control plane under load, and looks for everything that it acknowledged")]
struct Arguments {
    /// How many times it is killed
    #[arg(default_value_t = 100, value_name = "N")]
    rounds: u32,
    /// What all instants and calls are drawn from; without it another one each time
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Check the journal whole, and begin a new one, after so many kills
    #[arg(long, default_value_t = 20, value_name = "K")]
    rotate_every: u32,
    /// Agents that call through Envoy
    #[arg(long, default_value_t = 8, value_name = "N")]
    agents: usize,
    /// Callers that are filters themselves
    #[arg(long, default_value_t = 2, value_name = "N")]
    direct: usize,
    /// Purge nothing meanwhile: an older control plane may not purge as it should
    #[arg(long)]
    no_purges: bool,
    /// A control plane of an older revision: it begins each journal, and lives every other life
    #[arg(long, value_name = "PATH")]
    older: Option<PathBuf>,
    #[arg(long, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(drawn);
    eprintln!("seed {seed}");
    let plan = Crashes {
        rotate_every: arguments.rotate_every.max(1),
        agents: arguments.agents,
        direct: arguments.direct,
        purges: !arguments.no_purges,
        older: arguments.older,
        ..Crashes::new(arguments.rounds, seed)
    };
    let mut shown = 0;
    let say = |summary: &Summary| {
        eprintln!("{}", summary.line());
        summary.checked.faults.iter().skip(shown).for_each(|fault| eprintln!("FAULT {fault}"));
        shown = summary.checked.faults.len();
    };
    let summary = match plan.run(say) {
        Ok(summary) => summary,
        Err(broken) => {
            eprintln!("crash: {broken}");
            return ExitCode::from(2);
        }
    };
    let text = match arguments.output {
        Output::Table => summary.table(),
        Output::Json => format!("{:#}\n", summary.json()),
    };
    // Whoever closed the pipe has the exit code.
    drop(std::io::stdout().write_all(text.as_bytes()));
    if summary.checked.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Another one each time; it is printed, so that the same run can be had again.
#[expect(clippy::disallowed_methods, reason = "a seed for whoever gave none")]
fn drawn() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_secs())
}
