//! The answer to a call that was let through: observed as it flows by, or, where it lists tools to a caller whose verdicts are
//! enforced, held and shortened.
//!
//! It reports exactly one outcome. It never takes an answer that Envoy made for the server's, and it changes nothing of an
//! answer to a call that was only observed.

use super::list::{Allowed, JsonList, Judged, Shown, SseList, names, read_list};
use super::observed::{Answer, Found, Look, Observed, Tally};
use super::{Action, Answerer, Effect, Hold};
use crate::clock::Moment;
use crate::conversation::Listed;
use crate::count::Count;
use crate::standing::Standing;
use agentgate_core::config::Route;
use agentgate_core::mcp::{Era, Limits, Message, Method, RequestId, Unread, sse};
use agentgate_core::reply;
use agentgate_proto::v1;
use std::rc::Rc;

/// What an outcome says where the answer, or its end, did not come.
const UNANSWERED: &str = "the stream ended before the answer did";

#[derive(Debug)]
pub(super) struct Answering {
    counter: u64,
    call_id: String,
    called: Called,
    route: Rc<Route>,
    way: Way,
    released: Moment,
    http_status: u16,
    tally: Tally,
    mode: Mode,
}

/// What of a call has to be known until its answer is there.
#[derive(Debug)]
pub(super) struct Called {
    /// None: it wants no answer, or nobody could read under which id it does.
    id: Option<RequestId>,
    /// It asks which tools there are, in this era.
    list: Option<Era>,
}

/// How a call came to be let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By its verdict.
    Enforced,
    /// Whatever its verdict, which is known.
    Observed,
    /// Without asking: its copy is on the way, and the outcome follows it.
    Unasked,
}

#[derive(Debug)]
enum Mode {
    /// The head has not come yet.
    Waiting,
    Observing(Box<Observed>),
    Json(JsonList),
    Sse(Box<SseList>),
    /// What comes is swallowed. With the head still held, the refusal goes out at the end.
    Withheld {
        why: String,
        head_held: bool,
    },
    /// The outcome is reported.
    Done,
}

// === impl Answering ===

impl Answering {
    pub(super) fn new(counter: u64, call_id: String, called: Called, route: Rc<Route>, way: Way, now: Moment) -> Self {
        let (tally, mode) = (Tally::default(), Mode::Waiting);
        Self { counter, call_id, called, route, way, released: now, http_status: 0, tally, mode }
    }

    /// Whether the verdict was obeyed. If not, nothing on the way is changed.
    pub(super) fn is_enforced(&self) -> bool {
        match self.way {
            Way::Enforced => true,
            Way::Observed | Way::Unasked => false,
        }
    }

    /// A tool that is only observed is shown to everybody.
    pub(super) fn only_enforced(&self, listed: Listed, standing: &Standing) -> Listed {
        match listed {
            Listed::Hidden(hidden) => {
                Listed::Hidden(hidden.into_iter().filter(|tool| standing.enforces(&self.route, tool)).collect())
            }
            Listed::Undecided(undecided) => Listed::Undecided(undecided),
        }
    }

    pub(super) fn looks_at_bytes(&self, end: bool) -> bool {
        match &self.mode {
            Mode::Observing(_) => true,
            Mode::Json(JsonList::Coming) => end,
            Mode::Sse(list) => !list.is_waiting(),
            Mode::Waiting | Mode::Json(JsonList::Asked(..)) | Mode::Withheld { .. } | Mode::Done => false,
        }
    }

    pub(super) fn headers(
        &mut self,
        headers: &[(Vec<u8>, Vec<u8>)],
        answerer: Answerer,
        end: bool,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Action {
        if !matches!(self.mode, Mode::Waiting) {
            return Action::Continue;
        }
        if let Answerer::Local(why) = answerer {
            self.finish(v1::OutcomeKind::Cut, format!("no answer of the server: {why}"), now, effects);
            return Action::Continue;
        }
        self.http_status = value(headers, ":status").and_then(|status| status.parse().ok()).unwrap_or_default();
        let challenge = self.http_status == 401 && value(headers, "www-authenticate").is_some();
        if end {
            let stream = content_type(headers).as_deref() == Some("text/event-stream");
            let found = if stream { self.answer().found_in_stream() } else { Found::Nothing };
            self.finish_found(found, "", now, effects);
            return Action::Continue;
        }
        if let Some(era) = self.called.list
            && self.is_enforced()
            && !challenge
        {
            return self.list_headers(headers, era, effects);
        }
        let look = match content_type(headers).as_deref() {
            // What HTTP says of it is all that there is to say.
            _ if self.route.rest.is_some() => Look::Away(""),
            _ if is_encoded(headers) => Look::Away("encoded"),
            Some("application/json") => Look::Json(Vec::new()),
            Some("text/event-stream") => Look::Sse(sse::Reader::new(self.limits().body_bytes_max)),
            Some(_) | None => Look::Away(""),
        };
        let lists = self.called.list.is_some();
        self.mode = Mode::Observing(Box::new(Observed::new(look, self.answer(), self.limits(), lists)));
        Action::Continue
    }

    /// The length will change, and so will the head where nothing can be shown.
    fn list_headers(&mut self, headers: &[(Vec<u8>, Vec<u8>)], era: Era, effects: &mut Vec<Effect>) -> Action {
        effects.push(Effect::RemoveResponseHeader("content-length"));
        let types = headers.iter().filter(|(name, _)| name == b"content-type").count();
        match content_type(headers).as_deref() {
            _ if is_encoded(headers) => self.withhold("it is encoded", true, effects),
            Some("application/json") if types == 1 => {
                self.mode = Mode::Json(JsonList::Coming);
                Action::Pause
            }
            Some("text/event-stream") if types == 1 => {
                let list = SseList::new(self.limits(), era, self.answer());
                self.mode = Mode::Sse(Box::new(list));
                Action::Continue
            }
            Some(_) | None => self.withhold("its content type is no list's", true, effects),
        }
    }

    pub(super) fn body(
        &mut self,
        size: usize,
        bytes: Option<Vec<u8>>,
        end: bool,
        hold: &mut Hold,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Action {
        match &mut self.mode {
            Mode::Observing(observed) => {
                match &bytes {
                    Some(bytes) => {
                        self.tally.add(bytes);
                        observed.add(bytes, hold);
                    }
                    None => self.tally.skip(size),
                }
                if end {
                    self.end_observed(now, effects);
                    hold.release();
                }
                Action::Continue
            }
            Mode::Json(JsonList::Coming) => {
                // The bytes, what is read of them, and what is written for them.
                if size > self.limits().body_bytes_max || !hold.set(size.saturating_mul(3)) {
                    self.tally.skip(size);
                    self.withhold("it is too large", true, effects);
                    return self.swallow(0, end, hold, now, effects);
                }
                if end { self.json(bytes, hold, now, effects) } else { Action::Pause }
            }
            Mode::Json(JsonList::Asked(..)) => Action::Pause,
            Mode::Sse(list) if list.is_waiting() => {
                if end {
                    list.ended();
                }
                Action::Pause
            }
            Mode::Sse(_) => self.sse(bytes, end, hold, now, effects),
            Mode::Withheld { .. } => self.swallow(size, end, hold, now, effects),
            Mode::Waiting | Mode::Done => Action::Continue,
        }
    }

    /// Trailers end the body, and where a verdict was obeyed nothing in them is passed on: nobody has looked at them.
    pub(super) fn trailers(
        &mut self,
        names: &[Vec<u8>],
        bytes: Option<Vec<u8>>,
        hold: &mut Hold,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Action {
        if self.is_enforced() {
            effects.extend(names.iter().cloned().map(Effect::RemoveResponseTrailer));
        }
        match &mut self.mode {
            Mode::Json(JsonList::Coming) => self.json(bytes, hold, now, effects),
            Mode::Json(JsonList::Asked(..)) => Action::Pause,
            Mode::Sse(list) if list.is_waiting() => {
                list.ended();
                Action::Pause
            }
            // An event that is not complete is dropped: at the trailers there is no body any more to put it into.
            Mode::Sse(_) => self.end_sse(hold, now, effects),
            Mode::Observing(_) => {
                self.end_observed(now, effects);
                hold.release();
                Action::Continue
            }
            Mode::Withheld { .. } => self.swallow(0, true, hold, now, effects),
            Mode::Waiting | Mode::Done => Action::Continue,
        }
    }

    /// Which tools may be shown. What the host holds by now is judged before it goes on.
    pub(super) fn listed(
        &mut self,
        listed: Listed,
        bytes: Option<Vec<u8>>,
        hold: &mut Hold,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Action {
        if let (Mode::Sse(list), Some(bytes)) = (&self.mode, &bytes) {
            self.tally.add(list.came_meanwhile(bytes));
        }
        let hidden = match listed {
            Listed::Hidden(hidden) => hidden,
            Listed::Undecided(undecided) => {
                effects.push(Effect::Count(undecided.cause.count()));
                let why = format!("nobody could say which tools may be shown ({})", undecided.cause.name());
                return self.withhold_now(&why, bytes, hold, now, effects);
            }
        };
        match std::mem::replace(&mut self.mode, Mode::Done) {
            Mode::Json(JsonList::Asked(list, asked)) => {
                let (mut sums, era) = (Shown::default(), self.called.list.unwrap_or(Era::Stateless));
                match Allowed::new(asked, hidden).shorten(&list, era, &mut sums) {
                    Ok(shortened) => {
                        effects.push(Effect::ReplaceResponseBody(shortened.into_bytes()));
                        effects.push(Effect::ResumeResponse);
                        hold.release();
                        self.finish_list(sums, now, effects);
                        Action::Continue
                    }
                    Err(error) => self.withhold_now(&error.to_string(), bytes, hold, now, effects),
                }
            }
            Mode::Sse(mut list) => {
                let judged = bytes.as_deref().map(|bytes| list.known(hidden, bytes));
                let complete = match judged {
                    Some(Ok((shown, ended))) => {
                        effects.push(Effect::ReplaceResponseBody(shown));
                        effects.push(Effect::ResumeResponse);
                        let _ = hold.set(list.held());
                        Ok(ended)
                    }
                    Some(Err(error)) => Err(error.to_string()),
                    None => Err("the host could not give it".to_owned()),
                };
                self.mode = Mode::Sse(list);
                match complete {
                    Ok(true) => self.end_sse(hold, now, effects),
                    Ok(false) => Action::Continue,
                    Err(why) => self.withhold_now(&why, bytes, hold, now, effects),
                }
            }
            other @ (Mode::Waiting | Mode::Observing(_) | Mode::Json(JsonList::Coming) | Mode::Withheld { .. } | Mode::Done) => {
                self.mode = other;
                Action::Continue
            }
        }
    }

    pub(super) fn gone(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.is_asking() {
            effects.push(Effect::Forget(self.counter));
        }
        match &self.mode {
            Mode::Done => {}
            Mode::Withheld { why, .. } => {
                let why = why.clone();
                self.finish(v1::OutcomeKind::Withheld, why, now, effects);
            }
            // Many clients leave a stream once they have their answer.
            Mode::Observing(observed) if observed.has_answer() => self.end_observed(now, effects),
            Mode::Sse(list) if list.is_shown() => self.finish_sse(now, effects),
            Mode::Waiting | Mode::Observing(_) | Mode::Json(_) | Mode::Sse(_) => {
                self.finish(v1::OutcomeKind::Cut, UNANSWERED.to_owned(), now, effects);
            }
        }
    }

    fn is_asking(&self) -> bool {
        match &self.mode {
            Mode::Json(JsonList::Asked(..)) => true,
            Mode::Sse(list) => list.is_waiting(),
            Mode::Json(JsonList::Coming) | Mode::Waiting | Mode::Observing(_) | Mode::Withheld { .. } | Mode::Done => false,
        }
    }

    /// The list is whole: reads it, and asks.
    fn json(&mut self, bytes: Option<Vec<u8>>, hold: &mut Hold, now: Moment, effects: &mut Vec<Effect>) -> Action {
        let Some(bytes) = bytes else {
            self.withhold("the host could not give it", true, effects);
            return self.swallow(0, true, hold, now, effects);
        };
        self.tally.add(&bytes);
        match read_list(&bytes, &self.limits()).and_then(|list| list.map(|list| Ok((names(&list)?, list))).transpose()) {
            Ok(Some((asked, list))) if !asked.is_empty() => {
                effects.push(Effect::Listing(v1::Listing { counter: self.counter, tools: asked.clone() }));
                self.mode = Mode::Json(JsonList::Asked(Box::new(list), asked));
                Action::Pause
            }
            Ok(Some(_)) => {
                hold.release();
                self.finish_list(Shown::default(), now, effects);
                Action::Continue
            }
            Ok(None) => {
                hold.release();
                self.finish(v1::OutcomeKind::Failed, String::new(), now, effects);
                Action::Continue
            }
            Err(error) => {
                self.withhold(&error.to_string(), true, effects);
                self.swallow(0, true, hold, now, effects)
            }
        }
    }

    fn sse(&mut self, bytes: Option<Vec<u8>>, end: bool, hold: &mut Hold, now: Moment, effects: &mut Vec<Effect>) -> Action {
        let Mode::Sse(list) = &mut self.mode else { return Action::Pause };
        let Some(bytes) = bytes else {
            return self.withhold_sse("the host could not give it", end, hold, now, effects);
        };
        self.tally.add(&bytes);
        let judged = list.feed(&bytes, end);
        let held = list.held();
        if !hold.set(held) {
            return self.withhold_sse("too much is held here", end, hold, now, effects);
        }
        match judged {
            Ok(Judged::Show(shown)) => {
                effects.push(Effect::ReplaceResponseBody(shown));
                if end { self.end_sse(hold, now, effects) } else { Action::Continue }
            }
            Ok(Judged::Ask(complete, tools)) => {
                effects.push(Effect::ReplaceResponseBody(complete));
                effects.push(Effect::Listing(v1::Listing { counter: self.counter, tools }));
                Action::Pause
            }
            Err(error) => self.withhold_sse(&error.to_string(), end, hold, now, effects),
        }
    }

    fn end_sse(&mut self, hold: &mut Hold, now: Moment, effects: &mut Vec<Effect>) -> Action {
        hold.release();
        self.finish_sse(now, effects);
        Action::Continue
    }

    fn finish_sse(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Mode::Sse(list) = &mut self.mode else { return };
        let (found, sums) = (list.found(), std::mem::take(&mut list.sums));
        match found {
            Found::Nothing | Found::Result => self.finish_list(sums, now, effects),
            Found::Missing | Found::Unaddressed | Found::Failure => {
                let outcome = self.outcome_found(found, "", now);
                self.report(sums.put_into(outcome), effects);
            }
        }
    }

    fn withhold(&mut self, why: &str, head_held: bool, effects: &mut Vec<Effect>) -> Action {
        effects.push(Effect::Count(Count::ResponsesWithheld));
        self.mode = Mode::Withheld { why: why.to_owned(), head_held };
        Action::Pause
    }

    /// The head of a stream is long gone: one event says what happened, and nothing follows.
    fn withhold_sse(&mut self, why: &str, end: bool, hold: &mut Hold, now: Moment, effects: &mut Vec<Effect>) -> Action {
        self.withhold(why, false, effects);
        effects.push(Effect::ReplaceResponseBody(self.refusal_event(why)));
        if end {
            self.finish(v1::OutcomeKind::Withheld, why.to_owned(), now, effects);
        }
        hold.release();
        Action::Continue
    }

    /// As above, from outside of the body's callbacks: what was paused goes on with the refusal in its place.
    fn withhold_now(
        &mut self,
        why: &str,
        bytes: Option<Vec<u8>>,
        hold: &mut Hold,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Action {
        drop(bytes);
        let (stream, ended) = match &self.mode {
            Mode::Sse(list) => (true, list.has_ended()),
            Mode::Waiting | Mode::Observing(_) | Mode::Json(_) | Mode::Withheld { .. } | Mode::Done => (false, true),
        };
        self.withhold(why, !stream, effects);
        let body = if stream { self.refusal_event(why) } else { self.refusal() };
        if !stream {
            effects.push(Effect::SetResponseHeader("content-type", "application/json"));
        }
        effects.push(Effect::ReplaceResponseBody(body));
        effects.push(Effect::ResumeResponse);
        if ended {
            self.finish(v1::OutcomeKind::Withheld, why.to_owned(), now, effects);
        }
        hold.release();
        Action::Continue
    }

    /// More of an answer that is not passed on.
    fn swallow(&mut self, size: usize, end: bool, hold: &mut Hold, now: Moment, effects: &mut Vec<Effect>) -> Action {
        let Mode::Withheld { why, head_held } = &self.mode else { return Action::Pause };
        let (why, head_held) = (why.clone(), *head_held);
        self.tally.skip(size);
        hold.release();
        if !end {
            effects.push(Effect::ReplaceResponseBody(Vec::new()));
            return if head_held { Action::Pause } else { Action::Continue };
        }
        if head_held {
            effects.push(Effect::RemoveResponseHeader("content-encoding"));
            effects.push(Effect::SetResponseHeader("content-type", "application/json"));
            effects.push(Effect::ReplaceResponseBody(self.refusal()));
        } else {
            effects.push(Effect::ReplaceResponseBody(Vec::new()));
        }
        self.finish(v1::OutcomeKind::Withheld, why, now, effects);
        Action::Continue
    }

    fn refusal(&self) -> Vec<u8> {
        let why = match &self.mode {
            Mode::Withheld { why, .. } => why.as_str(),
            Mode::Waiting | Mode::Observing(_) | Mode::Json(_) | Mode::Sse(_) | Mode::Done => "",
        };
        reply::withheld(self.called.id.as_ref(), why, &self.call_id)
    }

    fn refusal_event(&self, why: &str) -> Vec<u8> {
        let mut event = b"event: message\ndata: ".to_vec();
        event.extend(reply::withheld(self.called.id.as_ref(), why, &self.call_id));
        event.extend(b"\n\n");
        event
    }

    fn end_observed(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Mode::Observing(observed) = &mut self.mode else { return };
        let (found, detail) = observed.end();
        let seen = observed.definitions();
        let mut outcome = self.outcome_found(found, detail, now);
        outcome.shown = seen.listed;
        seen.put_into(&mut outcome);
        self.report(outcome, effects);
    }

    fn finish_found(&mut self, found: Found, detail: &str, now: Moment, effects: &mut Vec<Effect>) {
        let outcome = self.outcome_found(found, detail, now);
        self.report(outcome, effects);
    }

    fn outcome_found(&self, found: Found, detail: &str, now: Moment) -> v1::Outcome {
        let kind = match (found, self.kind_by_status()) {
            (Found::Unaddressed | Found::Failure, _) => v1::OutcomeKind::Failed,
            // A status of failure is an answer, whatever stream it comes with.
            (Found::Missing, v1::OutcomeKind::Completed) => {
                return self.outcome(v1::OutcomeKind::Cut, UNANSWERED.to_owned(), now);
            }
            (Found::Nothing | Found::Missing | Found::Result, by_status) => by_status,
        };
        self.outcome(kind, detail.to_owned(), now)
    }

    fn kind_by_status(&self) -> v1::OutcomeKind {
        if (200..400).contains(&self.http_status) { v1::OutcomeKind::Completed } else { v1::OutcomeKind::Failed }
    }

    fn finish_list(&mut self, sums: Shown, now: Moment, effects: &mut Vec<Effect>) {
        effects.push(Effect::Count(Count::ListsFiltered));
        let outcome = self.outcome(self.kind_by_status(), String::new(), now);
        self.report(sums.put_into(outcome), effects);
    }

    fn finish(&mut self, kind: v1::OutcomeKind, detail: String, now: Moment, effects: &mut Vec<Effect>) {
        let outcome = self.outcome(kind, detail, now);
        self.report(outcome, effects);
    }

    fn report(&mut self, outcome: v1::Outcome, effects: &mut Vec<Effect>) {
        self.mode = Mode::Done;
        let what = Some(v1::entry::What::Outcome(outcome));
        let entry = Box::new(v1::Entry { counter: self.counter, what, reason: String::new() });
        effects.push(match self.way {
            Way::Enforced | Way::Observed => Effect::Report(entry),
            Way::Unasked => Effect::Follow(entry),
        });
    }

    fn answer(&self) -> Answer {
        Answer::to(self.called.id.clone())
    }

    fn limits(&self) -> Limits {
        self.route.rules.limits
    }

    fn outcome(&self, kind: v1::OutcomeKind, detail: String, now: Moment) -> v1::Outcome {
        let whole = matches!(kind, v1::OutcomeKind::Completed | v1::OutcomeKind::Failed) && self.tally.bytes > 0;
        v1::Outcome {
            kind: kind.into(),
            http_status: u32::from(self.http_status),
            result_bytes: self.tally.bytes,
            result_digest: if whole { self.tally.digest().as_bytes().to_vec().into() } else { Vec::new().into() },
            duration_us: now.micros_since(self.released),
            detail,
            hidden: Vec::new(),
            shown: 0,
            tools: Vec::new(),
            tools_cut: false,
        }
    }
}

// === impl Called ===

impl Called {
    pub(super) fn by(message: &Message) -> Self {
        let list = (message.method == Method::ToolsList).then(|| message.protocol.era()).flatten();
        Self { id: message.request_id().cloned(), list }
    }

    /// What it asks for is not known.
    pub(super) fn unread(unread: &Unread) -> Self {
        Self { id: unread.id.clone(), list: None }
    }
}

fn value<'a>(headers: &'a [(Vec<u8>, Vec<u8>)], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(known, _)| known == name.as_bytes())?;
    std::str::from_utf8(value).ok()
}

/// Without parameters, in lower case.
fn content_type(headers: &[(Vec<u8>, Vec<u8>)]) -> Option<String> {
    let value = value(headers, "content-type")?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn is_encoded(headers: &[(Vec<u8>, Vec<u8>)]) -> bool {
    headers.iter().any(|(name, value)| name == b"content-encoding" && !value.trim_ascii().eq_ignore_ascii_case(b"identity"))
}
