//! `agentgate openapi`: proposes the mapping of a REST server (the filter's route and the tool table's rows) from its OpenAPI
//! document.
//!
//! It follows no link out of the file, guesses no meaning, and names whatever it leaves out; nor does it propose a tool that
//! would take what it left out.

mod document;
mod operation;
mod overlap;
mod proposal;
mod render;
mod schema;

use crate::failure::{Exit, Failure};
use crate::output::Desk;
use clap::Args;
use document::Document;
use proposal::{Proposal, Wanted};
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

/// The largest public documents have some ten megabytes and thousands of operations; a route holds 512.
const FILE_BYTES_MAX: u64 = 8 << 20;

#[derive(Debug, Args)]
pub struct Arguments {
    /// An OpenAPI 3.0 or 3.1 document, as YAML or JSON
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The server's name in the route and in tools.yaml [default: made of the document's title]
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// What stands before each path [default: the path of the document's first server]
    #[arg(long, value_name = "PATH")]
    base_path: Option<String>,
    /// Take only requests to this host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

pub fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let text = read(&arguments.file)?;
    let refused = |error| Failure::new(Exit::Refused, format!("`{}` gives no mapping", arguments.file.display())).because(error);
    let document = Document::parse(&text).map_err(refused)?;
    let wanted = Wanted {
        server: arguments.server.as_deref(),
        base_path: arguments.base_path.as_deref(),
        host: arguments.host.as_deref(),
    };
    let proposal = Proposal::of(&document, &wanted).map_err(refused)?;
    desk.answer(|screen| render::text(&proposal, screen), || render::json(&proposal))
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    let failed = |error| Failure::new(Exit::Local, format!("cannot read `{}`", file.display())).because(error);
    let mut bytes = Vec::new();
    File::open(file).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::new(Exit::Refused, format!("`{}` is larger than {FILE_BYTES_MAX} bytes", file.display())));
    }
    String::from_utf8(bytes)
        .map_err(|error| Failure::new(Exit::Refused, format!("`{}` is not UTF-8", file.display())).because(error))
}

#[cfg(test)]
mod tests;
