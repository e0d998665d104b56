//! The control plane: rooms around the journal. A filter asks, it decides, remembers, and answers.
//!
//! Nothing here reaches into another room past its `mod.rs`, and nothing but `run` knows all of them.

pub mod approval;
pub mod body;
pub mod bounded;
#[cfg(test)]
mod calls;
pub mod clock;
pub mod config;
pub mod control;
pub mod copy;
pub mod decide;
pub mod error;
pub mod evidence;
pub mod follow;
pub mod history;
pub mod identity;
pub mod journal;
pub mod policy;
pub mod privacy;
pub mod quota;
pub mod rarely;
pub mod replica;
pub mod retention;
pub mod run;
mod secret_file;
pub mod server;
pub mod session;
pub mod status;
pub mod telemetry;
pub mod transparency;
pub mod webhook;
