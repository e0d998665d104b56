//! AgentGate's nouns and laws: what a call is, how it is read, and how it is decided.
//!
//! Nothing here has a clock, does IO, waits, or serialises: time and bytes arrive as arguments, values go out.
//! `no_std` holds that up; compiling for wasm alone would not.
#![no_std]

extern crate alloc;

pub mod approval;
pub mod canonical;
pub mod config;
pub mod decide;
pub mod digest;
pub mod endpoint;
pub mod error;
pub mod fold;
pub mod id;
pub mod json;
pub mod kill;
pub mod mcp;
pub mod mode;
pub mod pii;
pub mod principal;
pub mod reply;
pub mod rest;
pub mod retention;
pub mod time;
#[cfg(feature = "transparency")]
pub mod transparency;
