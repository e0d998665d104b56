//! The filter: reads each call strictly, asks the control plane, and enforces the answer.
//!
//! It never decides. What is undecided is paused; what stays undecided is refused. Only `host` knows that there is an
//! Envoy; all else takes events, time and randomness as arguments and says what to do.

pub mod clock;
pub mod config;
pub mod conversation;
pub mod count;
pub mod exchange;
pub mod gate;
mod grpc_service;
mod pairs;
#[cfg(target_family = "wasm")]
mod host;
