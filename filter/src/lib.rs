//! The filter: reads each call strictly, asks the control plane, and enforces the answer.
//!
//! It never decides. What is undecided is paused; what stays undecided is refused. Only `host` knows that there is an
//! Envoy; all else takes events, time and randomness as arguments and says what to do.

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::string_slice,
        clippy::wildcard_enum_match_arm,
        reason = "a test that is wrong fails loudly, and looks only for what it wants"
    )
)]

pub mod clock;
pub mod conversation;
pub mod count;
pub mod exchange;
pub mod gate;
mod grpc_service;
#[cfg(target_family = "wasm")]
mod host;
mod pairs;
pub mod standing;
