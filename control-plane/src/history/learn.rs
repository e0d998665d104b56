//! The tools that were seen: listed by their servers, or called. It keeps names, types and what servers said of their tools,
//! no value of an argument, and of all of it no more than one answer has room for.

use super::scan::{Span, Telling};
use super::{History, HistoryError};
use crate::body::Bodies;
use crate::bounded::Bounded;
use crate::config::Limits;
use crate::decide::read_refused;
use crate::journal::{Record, Sequence};
use crate::session::{PastError, body_of, parse};
use agentgate_core::digest::Digest;
use agentgate_core::id::NAME_BYTES_MAX;
use agentgate_core::json::{self, Bounds, Json, Keys, Object};
use agentgate_core::mcp::Method;
use agentgate_core::time::Time;
use agentgate_policies::learn::{DEFINITION_BYTES_MAX, SEEN_MAX};
use agentgate_policies::{ARGUMENTS_MAX, Arguments, Type, Types};
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Tools of one answer: as many as a proposal takes.
pub(super) const TOOLS_MAX: usize = SEEN_MAX;

/// What the names of tools and arguments may weigh together, and what the definitions may: an answer travels in one message.
pub(super) const NAMES_BYTES_MAX: usize = 1 << 20;
pub(super) const DEFINITIONS_BYTES_MAX: usize = 3 << 19;

/// Different definitions of one tool that are told apart.
const DEFINITIONS_MAX: usize = 16;

/// Calls of which it is known what they were when their outcome comes. Far fewer are under way at once.
const AWAITED_MAX: usize = 16_384;

/// What a name weighs beside its bytes: its types, or its numbers.
const NAME_BYTES: usize = 96;

/// What an outcome says something about.
#[derive(Clone, Debug)]
enum Awaited {
    Call(Arc<Key>),
    ListOf(String),
}

/// Server and tool.
type Key = (String, String);

#[derive(Debug, Default)]
struct Tool {
    definition: Bytes,
    /// Those that it had, each once.
    definitions: Vec<Digest>,
    definition_left_out: bool,
    calls: u64,
    failed: u64,
    last_called_us: u64,
    arguments: Arguments,
    arguments_left_out: bool,
}

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Seen {
    server: String,
    tools: BTreeMap<Arc<Key>, Tool>,
    /// Those that no server listed: they make room for those that one did, since whoever calls may make names up.
    unlisted: BTreeSet<Arc<Key>>,
    names_bytes: usize,
    definitions_bytes: usize,
    awaited: Bounded<Sequence, Awaited>,
    calls_read: u64,
    left_out: u64,
    lists_cut: u64,
}

pub(super) async fn scan(
    history: &History,
    request: &v1::LearnToolsRequest,
    telling: &mut Telling<v1::LearnedTools>,
) -> Result<v1::LearnedTools, HistoryError> {
    let bodies = history.bodies.as_ref();
    let span = Span::since(bodies.journal().as_ref(), Time::from_micros(request.since_us)).await?;
    let mut seen = Seen::new(request.server.clone());
    span.read(bodies.journal().as_ref(), telling, async |record, at, what| {
        match what {
            What::Decision(decision) => {
                if let Some(body) = body_of(bodies, record.sequence, decision.body.as_ref()).await? {
                    seen.called(record.sequence, at, &body, &history.limits);
                }
            }
            What::Outcome(outcome) => seen.ended(bodies, record, &outcome).await?,
            What::Policy(_)
            | What::Flood(_)
            | What::Approval(_)
            | What::Kill(_)
            | What::Mode(_)
            | What::Hold(_)
            | What::Purge(_) => {}
        }
        Ok(())
    })
    .await?;
    let table = |policy: &crate::policy::InForce| v1::FileContent {
        path: "tools.yaml".into(),
        content: policy.bundle.table().to_owned().into(),
    };
    Ok(v1::LearnedTools {
        from_us: span.oldest_at.micros(),
        observations_lost: history.observations_lost(),
        policy: history.in_force().as_deref().map(table).into_iter().collect(),
        ..seen.finish()
    })
}

/// The tool's name as its definition says it.
pub(super) fn name(definition: &[u8]) -> Option<String> {
    const BOUNDS: Bounds = Bounds { depth_max: 64, number_bytes_max: 64, values_max: 16_384 };
    if definition.len() > DEFINITION_BYTES_MAX {
        return None;
    }
    let Ok(Json::Object(tool)) = json::read(definition, BOUNDS, Keys::Exact) else { return None };
    tool.get("name").and_then(Json::as_str).map(str::to_owned)
}

// === impl Seen ===

impl Seen {
    pub(super) fn new(server: String) -> Self {
        Self {
            server,
            tools: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            names_bytes: 0,
            definitions_bytes: 0,
            awaited: Bounded::new(AWAITED_MAX),
            calls_read: 0,
            left_out: 0,
            lists_cut: 0,
        }
    }

    fn is_asked_for(&self, server: &str) -> bool {
        self.server.is_empty() || self.server == server
    }

    fn called(&mut self, sequence: Sequence, at: Time, body: &v1::DecisionBody, limits: &Limits) {
        let Some(ask) = body.ask.as_ref().filter(|ask| self.is_asked_for(&ask.server)) else { return };
        if body.method == Method::ToolsList.name() {
            self.awaited.put(sequence, Awaited::ListOf(ask.server.clone()));
        }
        if body.method != Method::ToolsCall.name() {
            return;
        }
        // A body that cannot be read any more, by stricter limits perhaps, is still a call.
        let message = read_refused(ask, &body.malformed, limits).ok().and_then(Result::ok);
        // Names and types that were altered are not the tool's.
        let arguments = message.as_ref().and_then(|message| message.arguments()).filter(|_| body.altered.is_none());
        let key = (ask.server.clone(), body.target.clone());
        if let Some(tool) = self.call(&key, at, arguments) {
            if body.altered.is_some() {
                self.tools.get_mut(&tool).into_iter().for_each(|tool| tool.arguments_left_out = true);
            }
            self.awaited.put(sequence, Awaited::Call(tool));
        }
    }

    /// One call of a tool. None: there was no room for it.
    pub(super) fn call(&mut self, key: &Key, at: Time, arguments: Option<&Object>) -> Option<Arc<Key>> {
        self.calls_read += 1;
        if !self.has_room_for(key, false) {
            self.left_out += 1;
            return None;
        }
        let (key, _) = self.tools.get_key_value(key)?;
        let key = Arc::clone(key);
        let tool = self.tools.get_mut(&key)?;
        tool.calls += 1;
        tool.last_called_us = tool.last_called_us.max(at.micros());
        if let Some(arguments) = arguments {
            self.names_bytes += tool.carried(arguments, NAMES_BYTES_MAX - self.names_bytes);
        }
        Some(key)
    }

    /// What became of a call or a list.
    async fn ended(&mut self, bodies: &Bodies, record: &Record, outcome: &v1::OutcomeRecord) -> Result<(), PastError> {
        let awaited = match self.awaited.get(&outcome.decision) {
            Some(awaited) => awaited.clone(),
            None if outcome.shown == 0 => return Ok(()),
            // A list that was asked for before: what it says was said in this time.
            None => match list_of(bodies, outcome.decision).await? {
                Some(server) if self.is_asked_for(&server) => Awaited::ListOf(server),
                Some(_) | None => return Ok(()),
            },
        };
        match awaited {
            Awaited::Call(key) if outcome.kind() == v1::OutcomeKind::Failed => {
                if let Some(tool) = self.tools.get_mut(&key) {
                    tool.failed += 1;
                }
            }
            Awaited::Call(_) => {}
            Awaited::ListOf(server) => {
                let body: Option<v1::OutcomeBody> = body_of(bodies, record.sequence, outcome.body.as_ref()).await?;
                let body = body.unwrap_or_default();
                self.lists_cut += u64::from(body.tools_cut);
                for definition in &body.tools {
                    self.list(&server, definition);
                }
            }
        }
        Ok(())
    }

    /// A tool as its server lists it.
    pub(super) fn list(&mut self, server: &str, definition: &Bytes) {
        let Some(name) = name(definition) else {
            self.left_out += 1;
            return;
        };
        let key = (server.to_owned(), name);
        if !self.has_room_for(&key, true) {
            self.left_out += 1;
            return;
        }
        let Some(tool) = self.tools.get_mut(&key) else { return };
        let digest = Digest::of("agentgate/tool-definition/1", definition);
        if !tool.definitions.contains(&digest) && tool.definitions.len() < DEFINITIONS_MAX {
            tool.definitions.push(digest);
        }
        self.definitions_bytes -= tool.definition.len();
        tool.definition_left_out = self.definitions_bytes + definition.len() > DEFINITIONS_BYTES_MAX;
        // Copied, or it would hold on to the list that it came in.
        tool.definition = if tool.definition_left_out { Bytes::new() } else { Bytes::copy_from_slice(definition) };
        self.definitions_bytes += tool.definition.len();
    }

    /// Whether the tool is there now, in the place of one that nobody lists if need be.
    fn has_room_for(&mut self, key: &Key, is_listed: bool) -> bool {
        if self.tools.contains_key(key) {
            if is_listed {
                self.unlisted.remove(key);
            }
            return true;
        }
        let bytes = weight(key);
        if key.1.len() > NAME_BYTES_MAX {
            return false;
        }
        while self.tools.len() >= TOOLS_MAX || self.names_bytes + bytes > NAMES_BYTES_MAX {
            if !is_listed {
                return false;
            }
            let Some(other) = self.unlisted.pop_last() else { return false };
            if let Some(tool) = self.tools.remove(&other) {
                self.left_out += tool.calls;
                self.names_bytes -= weight(&other) + tool.names_bytes();
            }
        }
        self.names_bytes += bytes;
        let key = Arc::new(key.clone());
        if !is_listed {
            self.unlisted.insert(Arc::clone(&key));
        }
        self.tools.insert(key, Tool::default());
        true
    }

    pub(super) fn finish(self) -> v1::LearnedTools {
        v1::LearnedTools {
            tools: self.tools.into_iter().map(|(key, tool)| tool.into_wire(&key)).collect(),
            calls_read: self.calls_read,
            sightings_left_out: self.left_out,
            lists_cut: self.lists_cut,
            ..v1::LearnedTools::default()
        }
    }
}

fn weight(key: &Key) -> usize {
    key.0.len() + key.1.len() + NAME_BYTES
}

/// The server of the list that was asked for at `sequence`. None: it was none, or is erased.
async fn list_of(bodies: &Bodies, sequence: Sequence) -> Result<Option<String>, PastError> {
    if sequence == 0 || sequence > bodies.journal().health().head {
        return Ok(None);
    }
    for record in bodies.journal().follow(sequence.saturating_sub(1), 1).await.map_err(PastError::Read)? {
        if let (_, What::Decision(decision)) = parse(&record)? {
            let body: Option<v1::DecisionBody> = body_of(bodies, sequence, decision.body.as_ref()).await?;
            let list = body.filter(|body| body.method == Method::ToolsList.name());
            return Ok(list.and_then(|body| body.ask).map(|ask| ask.server));
        }
    }
    Ok(None)
}

// === impl Tool ===

impl Tool {
    /// Takes the names and types of what one call carried, and says what new names weigh.
    fn carried(&mut self, arguments: &Object, room: usize) -> usize {
        let mut taken = 0;
        // What is beyond the bound is no evidence for a row, and looking at it takes long.
        self.arguments_left_out |= arguments.len() > ARGUMENTS_MAX;
        for (name, value) in arguments.iter().take(ARGUMENTS_MAX) {
            let seen = Types::one(Type::of(value));
            let (types, weight) = match self.arguments.get(name) {
                Some(known) => (known.with(&seen), 0),
                None => (seen, name.len() + NAME_BYTES),
            };
            if taken + weight > room || self.arguments.insert(name, types).is_err() {
                self.arguments_left_out = true;
            } else {
                taken += weight;
            }
        }
        taken
    }

    fn names_bytes(&self) -> usize {
        self.arguments.iter().map(|(name, _)| name.len() + NAME_BYTES).sum()
    }

    fn into_wire(self, key: &Key) -> v1::LearnedTool {
        let argument = |(name, types): (&str, &Types)| v1::LearnedArgument {
            name: name.into(),
            types: types.names().into_iter().map(str::to_owned).collect(),
        };
        v1::LearnedTool {
            server: key.0.clone(),
            tool: key.1.clone(),
            definition: self.definition,
            calls: self.calls,
            failed: self.failed,
            last_called_us: self.last_called_us,
            arguments: self.arguments.iter().map(argument).collect(),
            definitions: u32::try_from(self.definitions.len()).unwrap_or(u32::MAX),
            arguments_left_out: self.arguments_left_out,
            definition_left_out: self.definition_left_out,
        }
    }
}
