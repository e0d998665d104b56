//! The binary: parse, run, exit code.

use agentgate_control_plane::{cause, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agentgate-control-plane: {}", cause::chain(&error));
            ExitCode::FAILURE
        }
    }
}
