//! The binary: parse, run, exit code.

use agentgate_control_plane::run;
use agentgate_policies::panics;
use std::process::ExitCode;

fn main() -> ExitCode {
    panics::tell(|place| tracing::error!(place, "the policy engine gave up in the middle of a builtin"));
    match run::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agentgate-control-plane: {}", agentgate_core::error::chain(&error));
            ExitCode::FAILURE
        }
    }
}
