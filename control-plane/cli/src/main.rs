//! The binary `agentgate`: hands the process's surroundings to the library and ends with its answer.

use std::process::ExitCode;

fn main() -> ExitCode {
    agentgate_cli::run(std::env::args_os(), &agentgate_cli::screen::Surroundings::of_process())
}
