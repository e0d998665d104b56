//! The policies: what is wished, written in Rego over a table of tools, and the one engine that runs it.
//!
//! A policy gives an opinion and nothing else; `core::decide::settle` makes the verdict of it. Nothing here reads a clock,
//! a network or the environment; only `folder` reads files, and only those it is pointed at.

mod arguments;
mod bundle;
mod cases;
mod engine;
mod evaluator;
pub mod explain;
pub mod folder;
mod input;
pub mod learn;
mod lint;
pub mod panics;
mod places;
mod questions;
mod reads;
mod strict;
mod syntax;
mod table;
pub mod table_edit;
mod trial;
mod yaml;

pub use arguments::{ARGUMENT_BYTES_MAX, ARGUMENTS_MAX, Arguments, ArgumentsError, Type, Types};
pub use bundle::{Bundle, BundleError};
pub use evaluator::{Evaluator, Trouble};
pub use folder::SourceFile;
pub use places::{RULE_TEXT_BYTES_MAX, RulePlace, RuleSet};
pub use table::{Row, Tag};
pub use trial::{CaseReport, CaseRow, Coverage};

/// The engine and the evaluator of it that decided, as a record names them.
pub const ENGINE: &str = "regorus 0.14.1 interpreter";
