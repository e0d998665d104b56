//! `agentgate policy learn`: a tool table that has the tools that were seen, as a diff of the one that is there.
//!
//! It proposes. A file is written only with `--write`, only after the diff was shown, and never over somebody's edit.

use super::{cut_short, far};
use crate::client::{Client, Connection};
use crate::diff;
use crate::failure::{Exit, Failure};
use crate::moment::{absolute, counted, grouped, relative};
use crate::output::{Desk, Output, moment_json};
use crate::screen::{Palette, Screen};
use crate::span::Moment;
use crate::table::Pairs;
use crate::text::{escape, shell_word};
use agentgate_core::time::Time;
use agentgate_policies::learn::{self, Proposal, SeenTool};
use agentgate_policies::{Arguments as ToolArguments, Type, Types};
use agentgate_proto::v1;
use agentgate_proto::v1::learn_tools_response::What;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The table's name in a policy folder, as the policies' own crate reads it.
const TABLE: &str = "tools.yaml";

#[derive(Debug, Args)]
pub struct Arguments {
    /// The policy folder whose `tools.yaml` is compared; without it, the table in force
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Only tools of this server
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Only calls since then: `7d` (ago), `2026-11-22`, or `2026-11-22T10:00:00Z`
    #[arg(long, value_name = "TIME", default_value = "7d", allow_hyphen_values = true, value_parser = Moment::past)]
    since: Moment,
    /// Write the proposal into `tools.yaml` of the folder
    #[arg(long, requires = "directory")]
    write: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// What was seen, and what is proposed for which text.
struct Learned {
    tools: v1::LearnedTools,
    /// The file that is compared; none: the table in force.
    file: Option<PathBuf>,
    before: String,
    proposal: Proposal,
    /// What was seen and cannot be proposed.
    notes: Vec<String>,
}

pub(super) async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let request = v1::LearnToolsRequest {
        since_us: arguments.since.resolve(desk.now).micros(),
        server: arguments.server.clone().unwrap_or_default(),
    };
    // Before the long reading: a folder that cannot be read is told at once.
    let given = arguments.directory.as_deref().map(|directory| read_table(&directory.join(TABLE))).transpose()?;
    let tools = read(request, client, desk).await?;
    let before = match given {
        Some(text) => text,
        None => in_force(&tools)?,
    };
    let mut notes = Vec::new();
    // Of a list that was recorded in part nobody knows what is not in it.
    let may_be_listed = |tool: &v1::LearnedTool| tools.lists_cut > 0 || tool.definitions > 0 || !tool.definition.is_empty();
    let seen: Vec<SeenTool> =
        tools.tools.iter().map(|tool| SeenTool { is_listed: may_be_listed(tool), ..seen(tool, &mut notes) }).collect();
    let proposal = learn::propose(&before, &seen)
        .map_err(|error| Failure::new(Exit::Refused, "no tool table can be proposed").because(error))?;
    let file = arguments.directory.as_ref().map(|directory| directory.join(TABLE));
    let learned = Learned { tools, file, before, proposal, notes };
    let (now, writes) = (desk.now, arguments.write && !learned.proposal.unchanged);
    if desk.output == Output::Table {
        let screen = desk.screen;
        desk.write(&learned.render(now, &screen))?;
    }
    if writes {
        learned.write()?;
    }
    desk.answer(|screen| learned.render_next(arguments, writes, screen), || learned.to_json(writes))
}

async fn read(request: v1::LearnToolsRequest, client: &Client, desk: &mut Desk<'_>) -> Result<v1::LearnedTools, Failure> {
    let mut messages = client.learn_tools(request).await?;
    let answer = loop {
        match messages.next().await {
            Ok(Some(v1::LearnToolsResponse { what: Some(What::Progress(progress)) })) => {
                desk.progress(&far("looking for tools", &progress))?;
            }
            Ok(Some(v1::LearnToolsResponse { what: Some(What::Tools(tools)) })) => break Ok(tools),
            Ok(Some(v1::LearnToolsResponse { what: None })) => {}
            Ok(None) => break Err(cut_short()),
            Err(failure) => break Err(failure),
        }
    };
    desk.progress_over()?;
    answer
}

fn read_table(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Exit::Local, format!("cannot read {}", path.display()))
            .because(error)
            .then("a policy folder is wanted: `rego/*.rego`, `tools.yaml` and `cases/*.yaml`")
    })
}

/// The table that the control plane sent; without a policy there is an empty one to begin with.
fn in_force(tools: &v1::LearnedTools) -> Result<String, Failure> {
    let Some(file) = tools.policy.iter().find(|file| file.path == TABLE) else { return Ok("{}\n".to_owned()) };
    String::from_utf8(file.content.to_vec())
        .map_err(|error| Failure::new(Exit::Unreachable, "the table in force is no text").because(error))
}

/// One tool as the policies know it; what cannot be taken over is noted.
fn seen(tool: &v1::LearnedTool, notes: &mut Vec<String>) -> SeenTool {
    let mut note = |error: &dyn std::error::Error| notes.push(format!("{}/{}: {error}", tool.server, tool.tool));
    let mut definition = None;
    if !tool.definition.is_empty() {
        match learn::definition(&tool.definition) {
            Ok(read) => definition = Some(read),
            Err(error) => note(&error),
        }
    }
    let mut arguments = ToolArguments::default();
    for argument in &tool.arguments {
        let types: BTreeSet<Type> = argument.types.iter().filter_map(|name| Type::parse(name)).collect();
        let types = if types.is_empty() { Types::Any } else { Types::Of(types) };
        if let Err(error) = arguments.insert(&argument.name, types) {
            note(&error);
        }
    }
    let (server, tool_name) = (tool.server.clone(), tool.tool.clone());
    SeenTool { server, tool: tool_name, is_listed: false, definition, calls: tool.calls, arguments }
}

// === impl Learned ===

impl Learned {
    fn render(&self, now: Time, screen: &Screen) -> String {
        let mut pairs = Pairs::new(screen);
        pairs.heading("Seen");
        let tools = &self.tools.tools;
        let servers: BTreeSet<&str> = tools.iter().map(|tool| tool.server.as_str()).collect();
        pairs.pair(
            "tools",
            Palette::Plain,
            &format!("{} of {}", counted(tools.len() as u64, "tool"), counted(servers.len() as u64, "server")),
        );
        let unlisted = tools.iter().filter(|tool| tool.definition.is_empty()).count();
        if unlisted > 0 {
            pairs.pair("", Palette::Waiting, &format!("{unlisted} called and never listed"));
        }
        pairs.pair("calls", Palette::Plain, &grouped(self.tools.calls_read));
        if self.tools.from_us > 0 {
            let from = self.tools.from_us;
            pairs.pair("records", Palette::Plain, &format!("since {} ({})", absolute(from), relative(now, from)));
        }
        if self.tools.observations_lost > 0 {
            let lost = counted(self.tools.observations_lost, "observation");
            pairs.pair("lost", Palette::Waiting, &format!("{lost}: of these calls nothing is known"));
        }
        if self.tools.sightings_left_out > 0 {
            let left_out = counted(self.tools.sightings_left_out, "sighting");
            pairs.pair(
                "left out",
                Palette::Waiting,
                &format!("{left_out}, for which there was no room; try --server or --since"),
            );
        }
        if self.tools.lists_cut > 0 {
            let cut = counted(self.tools.lists_cut, "list");
            pairs.pair("cut", Palette::Waiting, &format!("{cut} of tools, recorded in part"));
        }
        let (added, removed) = self.lines();
        if self.proposal.unchanged {
            pairs.heading("Nothing to propose");
            pairs.pair("table", Palette::Good, &format!("{} has every tool that was seen", self.name()));
        } else {
            let title = format!("Proposed for {}: {added} lines more, {removed} less", self.name());
            pairs.heading(&escape(&title, screen.charset));
            pairs.block(&diff::render(&self.proposal.diff, screen));
        }
        if !self.all_notes().is_empty() {
            pairs.heading("To know");
            for note in self.all_notes() {
                pairs.block(&format!("- {}", escape(note, screen.charset)));
            }
        }
        pairs.finish()
    }

    fn render_next(&self, arguments: &Arguments, written: bool, screen: &Screen) -> String {
        let mut pairs = Pairs::new(screen);
        let directory = arguments.directory.as_ref().map(|directory| shell_word(&directory.display().to_string()));
        let (word, lines) = match (directory, written) {
            (Some(directory), true) => (
                format!("Written to {}; next", self.name()),
                vec![
                    "set `tag: open` where a call may pass without a person".to_owned(),
                    format!("agentgate policy test {directory}"),
                    format!("agentgate policy impact {directory}"),
                ],
            ),
            (Some(directory), false) if !self.proposal.unchanged => {
                ("Nothing was written; next".to_owned(), vec![format!("agentgate policy learn --directory {directory} --write")])
            }
            (None, _) if !self.proposal.unchanged => {
                ("Next, in the policy's folder".to_owned(), vec!["agentgate policy learn --directory DIR --write".to_owned()])
            }
            (_, _) => ("Next".to_owned(), vec!["agentgate policy impact".to_owned()]),
        };
        pairs.heading(&escape(&word, screen.charset));
        for line in lines {
            pairs.block(&escape(&line, screen.charset));
        }
        format!("\n{}", pairs.finish())
    }

    fn name(&self) -> String {
        self.file.as_ref().map_or_else(|| "the table in force".to_owned(), |file| file.display().to_string())
    }

    fn all_notes(&self) -> Vec<&str> {
        self.proposal.notes.iter().chain(&self.notes).map(String::as_str).collect()
    }

    /// Lines that come, and lines that go.
    fn lines(&self) -> (usize, usize) {
        let count = |sign: char, head: &str| {
            self.proposal.diff.lines().filter(|line| line.starts_with(sign) && !line.starts_with(head)).count()
        };
        (count('+', "+++"), count('-', "---"))
    }

    /// Whole or not at all: a file beside it takes its place, if nobody else changed it meanwhile.
    fn write(&self) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        let failed = |error: io::Error| Failure::new(Exit::Local, format!("cannot write {}", file.display())).because(error);
        // A link stays a link: what it leads to is written.
        let real = file.canonicalize().map_err(failed)?;
        // Hidden, so that nobody who watches the folder reads it.
        let beside = real.with_file_name(format!(".{TABLE}.{}", std::process::id()));
        let written = (|| {
            let mut new = std::fs::OpenOptions::new().write(true).create_new(true).open(&beside)?;
            new.write_all(self.proposal.table.as_bytes())?;
            new.set_permissions(std::fs::metadata(&real)?.permissions())?;
            new.sync_all()
        })();
        let put = written.map_err(failed).and_then(|()| {
            if read_table(&real)? != self.before {
                return Err(Failure::new(
                    Exit::Refused,
                    format!("{} was changed meanwhile; nothing was written", file.display()),
                )
                .then("run it again"));
            }
            std::fs::rename(&beside, &real).map_err(failed)
        });
        if put.is_err() {
            // It is ours, and of no use any more.
            let _ = std::fs::remove_file(&beside);
        }
        put
    }

    fn to_json(&self, written: bool) -> Value {
        let tools = self.tools.tools.iter().map(|tool| {
            let arguments = tool.arguments.iter().map(|argument| json!({ "name": argument.name, "types": argument.types }));
            json!({
                "server": tool.server,
                "tool": tool.tool,
                "listed": !tool.definition.is_empty(),
                "definitions": tool.definitions,
                "calls": tool.calls,
                "failed": tool.failed,
                "last_called": moment_json(tool.last_called_us),
                "arguments": arguments.collect::<Vec<_>>(),
            })
        });
        json!({
            "tools": tools.collect::<Vec<_>>(),
            "calls_read": self.tools.calls_read,
            "from": moment_json(self.tools.from_us),
            "observations_lost": self.tools.observations_lost,
            "sightings_left_out": self.tools.sightings_left_out,
            "lists_cut": self.tools.lists_cut,
            "unchanged": self.proposal.unchanged,
            "diff": self.proposal.diff,
            "table": self.proposal.table,
            "notes": self.all_notes(),
            "written": written,
        })
    }
}
