//! The binary: parse, run, exit code.

use agentgate_control_plane::run;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agentgate-control-plane: {}", run::chain(&error));
            ExitCode::FAILURE
        }
    }
}
