//! The binary: parse, run, exit code.

use agentgate_control_plane::run;
use agentgate_policies::panics;
use mimalloc::MiMalloc;
use std::process::ExitCode;

/// A policy engine, gRPC and a journal allocate in small pieces and on several threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
