//! An answer to `tools/list`: held until it is known which tools its caller may know of, and shortened.
//!
//! What cannot be read is not shown, and what nobody answered for is not shown either.

use super::definitions::Definitions;
use super::observed::{Answer, Found};
use agentgate_core::mcp::response::{self, Response, ServerMessage, Unreadable};
use agentgate_core::mcp::{Era, Limits, sse};
use agentgate_proto::v1;

/// What stands in one list or several.
#[derive(Debug, Default)]
pub(super) struct Shown {
    hidden: Vec<String>,
    shown: u32,
    definitions: Definitions,
}

/// Which tools may be shown: those that were asked about, without those that were named as hidden.
#[derive(Debug)]
pub(super) struct Allowed {
    asked: Vec<String>,
    hidden: Vec<String>,
}

/// An answer that is one JSON message.
#[derive(Debug)]
pub(super) enum JsonList {
    /// It is not whole yet.
    Coming,
    /// The question was sent.
    Asked(Box<Response>, Vec<String>),
}

/// An answer that is a stream of events. Only the event that is not complete lives here; complete ones that have to wait
/// stay in the host's buffer.
#[derive(Debug)]
pub(super) struct SseList {
    reader: sse::Reader,
    limits: Limits,
    era: Era,
    answer: Answer,
    state: SseState,
    pub(super) sums: Shown,
}

#[derive(Debug)]
enum SseState {
    Flowing,
    /// The question was sent. The host's buffer begins with this many bytes of complete events.
    Asked {
        asked: Vec<String>,
        complete: usize,
        ended: bool,
    },
    Known(Allowed),
}

/// What to do with the bytes that came.
#[derive(Debug)]
pub(super) enum Judged {
    /// Show these, and go on.
    Show(Vec<u8>),
    /// Put these back, pause, and ask about these tools.
    Ask(Vec<u8>, Vec<String>),
}

/// Reads one message as an answer to `tools/list`. None: it is an error of the server's and names no tool.
pub(super) fn read_list(bytes: &[u8], limits: &Limits) -> Result<Option<Response>, Unreadable> {
    match response::read(bytes, limits)? {
        ServerMessage::Response(response) if response.result().is_none() => Ok(None),
        ServerMessage::Response(response) => {
            response.tools()?;
            Ok(Some(response))
        }
        ServerMessage::Request { .. } | ServerMessage::Notification { .. } => Err(Unreadable::Shape),
    }
}

pub(super) fn names(response: &Response) -> Result<Vec<String>, Unreadable> {
    Ok(response.tools()?.into_iter().map(str::to_owned).collect())
}

// === impl Shown ===

impl Shown {
    pub(super) fn put_into(self, mut outcome: v1::Outcome) -> v1::Outcome {
        self.definitions.put_into(&mut outcome);
        v1::Outcome { hidden: self.hidden, shown: self.shown, ..outcome }
    }
}

// === impl Allowed ===

impl Allowed {
    pub(super) fn new(asked: Vec<String>, hidden: Vec<String>) -> Self {
        Self { asked, hidden }
    }

    /// The list as its caller may see it.
    pub(super) fn shorten(&self, list: &Response, era: Era, sums: &mut Shown) -> Result<String, Unreadable> {
        let (mut hidden, mut shown) = (Vec::new(), 0_u32);
        for name in names(list)? {
            if self.hidden.contains(&name) || !self.asked.contains(&name) {
                hidden.push(name);
            } else {
                shown = shown.saturating_add(1);
            }
        }
        let shortened = list.without(&hidden, era)?;
        sums.definitions.add(list);
        sums.hidden.extend(hidden);
        sums.shown = sums.shown.saturating_add(shown);
        Ok(shortened)
    }
}

// === impl SseList ===

impl SseList {
    pub(super) fn new(limits: Limits, era: Era, answer: Answer) -> Self {
        let reader = sse::Reader::new(limits.body_bytes_max);
        Self { reader, limits, era, answer, state: SseState::Flowing, sums: Shown::default() }
    }

    /// Bytes that came while nothing was waited for.
    pub(super) fn feed(&mut self, chunk: &[u8], end: bool) -> Result<Judged, Unreadable> {
        let events = self.take(chunk, end)?;
        if let SseState::Known(_) = self.state {
            return Ok(Judged::Show(self.rewrite(&events)?));
        }
        let mut asked = Vec::new();
        for list in self.lists(&events)? {
            asked.extend(names(&list)?);
        }
        let complete: Vec<u8> = events.into_iter().flat_map(|event| event.raw).collect();
        if asked.is_empty() {
            return Ok(Judged::Show(complete));
        }
        self.state = SseState::Asked { asked: asked.clone(), complete: complete.len(), ended: end };
        Ok(Judged::Ask(complete, asked))
    }

    /// The answer came. `buffer` is all that the host holds by now; what to show of it, and whether the stream had ended.
    pub(super) fn known(&mut self, hidden: Vec<String>, buffer: &[u8]) -> Result<(Vec<u8>, bool), Unreadable> {
        let SseState::Asked { asked, complete, ended } = std::mem::replace(&mut self.state, SseState::Flowing) else {
            return Err(Unreadable::Shape);
        };
        self.state = SseState::Known(Allowed::new(asked, hidden));
        let (first, later) = buffer.split_at_checked(complete).ok_or(Unreadable::Shape)?;
        let mut events = sse::Reader::new(usize::MAX).feed(first).map_err(|_| Unreadable::TooLarge)?;
        events.extend(self.take(later, ended)?);
        Ok((self.rewrite(&events)?, ended))
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, SseState::Asked { .. })
    }

    /// What of `buffer` came while it waited.
    pub(super) fn came_meanwhile<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        match &self.state {
            SseState::Asked { complete, .. } => buffer.get(*complete..).unwrap_or_default(),
            SseState::Flowing | SseState::Known(_) => &[],
        }
    }

    /// Whether a list, or an answer that names no tool, has been passed on.
    pub(super) fn is_shown(&self) -> bool {
        match &self.state {
            SseState::Flowing => self.answer.found() != Found::Nothing,
            SseState::Asked { .. } => false,
            SseState::Known(_) => true,
        }
    }

    /// What the stream brought, now that it is over.
    pub(super) fn found(&self) -> Found {
        self.answer.found_in_stream()
    }

    /// Whether the stream ended while it waited.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, SseState::Asked { ended: true, .. })
    }

    pub(super) fn ended(&mut self) {
        if let SseState::Asked { ended, .. } = &mut self.state {
            *ended = true;
        }
    }

    /// The bytes of the event that is not complete.
    pub(super) fn held(&self) -> usize {
        self.reader.rest().len()
    }

    fn take(&mut self, chunk: &[u8], end: bool) -> Result<Vec<sse::Event>, Unreadable> {
        let mut events = self.reader.feed(chunk).map_err(|_| Unreadable::TooLarge)?;
        // Some clients take an event that its stream cut off, so it is judged like the others.
        if end && !self.reader.rest().is_empty() {
            events.extend(self.reader.feed(b"\n\n").map_err(|_| Unreadable::TooLarge)?);
        }
        Ok(events)
    }

    /// The lists among `events`. An event that carries anything but a message of the protocol is not passed on.
    fn lists(&mut self, events: &[sse::Event]) -> Result<Vec<Response>, Unreadable> {
        events.iter().filter_map(|event| self.list(event).transpose()).collect()
    }

    fn list(&mut self, event: &sse::Event) -> Result<Option<Response>, Unreadable> {
        let Some(data) = event.data.as_deref().filter(|data| !data.is_empty()) else { return Ok(None) };
        match response::read(data, &self.limits)? {
            ServerMessage::Response(response) => {
                let list = read_list(data, &self.limits)?;
                self.answer.see(&response, list.is_none());
                Ok(list)
            }
            ServerMessage::Request { .. } | ServerMessage::Notification { .. } => Ok(None),
        }
    }

    fn rewrite(&mut self, events: &[sse::Event]) -> Result<Vec<u8>, Unreadable> {
        let mut bytes = Vec::new();
        for event in events {
            match (self.list(event)?, &self.state) {
                (Some(list), SseState::Known(allowed)) => {
                    let shortened = allowed.shorten(&list, self.era, &mut self.sums)?;
                    bytes.extend(event.with_data(shortened.as_bytes()));
                }
                (Some(_), SseState::Flowing | SseState::Asked { .. }) => return Err(Unreadable::Tools),
                (None, _) => bytes.extend(&event.raw),
            }
        }
        Ok(bytes)
    }
}
