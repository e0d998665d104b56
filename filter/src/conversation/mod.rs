//! The stream to the control plane as a pure state machine: hello, deadlines, heartbeat, reopening, leaving.
//!
//! It opens no stream and reads no clock: it says what to send, and takes what came. It never turns silence into an
//! answer: what is late, lost or unreadable is `Undecided`.

mod answered;
mod reports;

pub use answered::{Answered, Cause, Listed, Undecided};

use crate::clock::Moment;
use crate::count::Count;
use crate::standing::Standing;
use agentgate_proto::v1::{self, converse_request, converse_response};
use prost::Message as _;
use reports::Reports;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The host's number of a stream.
pub type StreamId = u32;

/// A stream that is not welcomed by then is given up: a proxy between may accept and never forward.
pub const WELCOME_MS_MAX: u64 = 2_000;
/// How often the peer is asked whether it lives. An open stream says nothing about that.
pub const PING_EVERY_MS: u64 = 1_000;
/// A peer that has not echoed by then is dead.
pub const ECHO_MS_MAX: u64 = 3_000;
/// How long a stream that is left behind may still answer.
pub const LEAVING_MS_MAX: u64 = 5_000;
/// The first wait before a stream is opened again; it doubles with each failure.
pub const REOPEN_MS_MIN: u64 = 100;
/// A control plane that comes back is found within this time.
pub const REOPEN_MS_MAX: u64 = 2_000;
/// Calls that may wait for an answer in one VM. Their bodies are bounded by `gate::Budget`.
pub const WAITING_MAX: usize = 4_096;
/// Refusals in one callback. Envoy sends each from within the one before it, and some 350 overflow the stack of the whole
/// process; the rest waits, paused, for the next callback.
pub const REFUSED_AT_ONCE_MAX: usize = 64;

#[derive(Debug)]
pub struct Conversation {
    hello: v1::Hello,
    ask_timeout_ms: u64,
    /// Takes asks.
    serving: Option<Line>,
    /// Opened, but not yet welcomed.
    coming: Option<Line>,
    /// Still answers what was asked before the next was opened.
    leaving: Option<Line>,
    /// The host was told to open a stream and has not yet said which.
    opening: bool,
    /// The serving stream should be left as soon as another one serves.
    leave: bool,
    reopen_at: Moment,
    failures: u32,
    waiting: BTreeMap<u64, Waiting>,
    /// Answers of our own that are still to be given.
    overdue: VecDeque<Output>,
    /// Calls that were asked for and that nobody waits for any more: an allow for one of them was never used.
    given_up: BTreeSet<u64>,
    reports: Reports,
    standing: Standing,
    pings: u64,
}

#[derive(Debug)]
struct Line {
    stream: StreamId,
    /// When it came to this place: opened, welcomed or left.
    since: Moment,
    /// The last ping that was sent, and when; not yet echoed.
    ping: Option<(u64, Moment)>,
    ping_at: Moment,
}

#[derive(Debug)]
struct Waiting {
    deadline: Moment,
    question: Question,
    /// On which stream it was asked. None: not yet.
    stream: Option<StreamId>,
    /// It goes on if nobody decides it: never to be reported as not released.
    spared: bool,
}

/// What is waited for. The message is kept only until it is sent.
#[derive(Debug)]
enum Question {
    Ask(Option<Box<v1::Ask>>),
    Listing(Option<v1::Listing>),
}

#[derive(Debug)]
pub enum Input {
    /// Every 100 ms.
    Tick,
    /// The host's answer to [`Output::Open`]; None: it would not.
    Opened(Option<StreamId>),
    Received(StreamId, Vec<u8>),
    Closed(StreamId),
    Ask(v1::Ask),
    Listing(v1::Listing),
    /// Nobody waits for this any more.
    Forget(u64),
    Report(v1::Entry),
    /// The outcome of a call that went on unasked: never before its own copy has arrived.
    Follow(v1::Entry),
    /// A call went on of which there is no copy.
    Unobserved,
    /// The context that owns the streams will go: open the next elsewhere.
    Leave,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Open,
    Send(StreamId, Vec<u8>),
    /// Ends our side, and lets the peer end its own.
    Close(StreamId),
    /// Ends both sides at once.
    Reset(StreamId),
    Answered(u64, Answered),
    Listed(u64, Listed),
    Count(Count, u32),
}

// === impl Conversation ===

impl Conversation {
    #[must_use]
    pub fn new(epoch: [u8; 16], node: String, ask_timeout_ms: u64) -> Self {
        let hello = v1::Hello {
            epoch: epoch.to_vec().into(),
            contract: agentgate_proto::CONTRACT,
            filter_version: env!("CARGO_PKG_VERSION").to_owned(),
            node,
            served: Vec::new(),
        };
        Self {
            hello,
            ask_timeout_ms,
            serving: None,
            coming: None,
            leaving: None,
            opening: false,
            leave: false,
            reopen_at: Moment::default(),
            failures: 0,
            waiting: BTreeMap::new(),
            overdue: VecDeque::new(),
            given_up: BTreeSet::new(),
            reports: Reports::default(),
            standing: Standing::default(),
            pings: 0,
        }
    }

    /// For the calls that come from now on.
    pub fn set_ask_timeout_ms(&mut self, ask_timeout_ms: u64) {
        self.ask_timeout_ms = ask_timeout_ms;
    }

    /// What the next hello says of the configurations. Where another one was said, the next stream says it soon.
    pub fn set_served(&mut self, served: Vec<v1::Served>) {
        if self.hello.served != served {
            self.hello.served = served;
            self.leave = true;
        }
    }

    pub fn on(&mut self, input: Input, now: Moment) -> Vec<Output> {
        let mut out = Vec::new();
        let is_of_stream = matches!(input, Input::Tick | Input::Opened(_) | Input::Received(..) | Input::Closed(_));
        match input {
            Input::Tick => self.tick(now, &mut out),
            Input::Opened(stream) => self.opened(stream, now, &mut out),
            Input::Received(stream, bytes) => self.received(stream, &bytes, now, &mut out),
            Input::Closed(stream) => self.closed(stream, now, &mut out),
            Input::Ask(ask) => self.question(ask.counter, Question::Ask(Some(Box::new(ask))), now, &mut out),
            Input::Listing(listing) => {
                self.question(listing.counter, Question::Listing(Some(listing)), now, &mut out);
            }
            Input::Forget(counter) => {
                if let Some(waiting) = self.waiting.remove(&counter) {
                    self.give_up(counter, &waiting);
                }
            }
            Input::Report(entry) => self.report(entry, now, &mut out),
            Input::Follow(entry) => {
                if !self.reports.follow(entry) {
                    out.push(Output::Count(Count::ReportsLost, 1));
                }
                self.flush_batch(now, &mut out);
            }
            Input::Unobserved => {
                self.reports.unobserved();
                out.push(Output::Count(Count::ObservationsLost, 1));
            }
            Input::Leave => self.leave = true,
        }
        if is_of_stream {
            let some = self.overdue.len().min(REFUSED_AT_ONCE_MAX);
            out.extend(self.overdue.drain(..some));
        }
        out
    }

    /// Whether a stream is welcomed and takes asks.
    #[must_use]
    pub const fn is_serving(&self) -> bool {
        self.serving.is_some()
    }

    /// The orders in force, as far as they are known here.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    fn tick(&mut self, now: Moment, out: &mut Vec<Output>) {
        self.expire(now);
        self.mind_the_lines(now, out);
        let wanted = self.serving.is_none() || self.leave;
        if wanted && self.coming.is_none() && !self.opening && now >= self.reopen_at {
            self.opening = true;
            out.push(Output::Open);
        }
        self.reports.send_late_ones_again(now);
        self.flush(now, out);
    }

    /// Whoever waited for longer than the deadline is told so.
    fn expire(&mut self, now: Moment) {
        let late: Vec<u64> =
            self.waiting.iter().filter(|(_, waiting)| waiting.deadline <= now).map(|(counter, _)| *counter).collect();
        for counter in late {
            if let Some(waiting) = self.waiting.remove(&counter) {
                let cause = if waiting.stream.is_some() { Cause::NoAnswer } else { Cause::Unreachable };
                if !waiting.spared {
                    self.give_up(counter, &waiting);
                }
                self.overdue.push_back(waiting.question.undecided(counter, cause));
            }
        }
    }

    /// Gives up the stream that is not welcomed, the one that does not echo, and the one that has answered all.
    fn mind_the_lines(&mut self, now: Moment, out: &mut Vec<Output>) {
        if let Some(line) = &self.coming
            && now.ms_since(line.since) >= WELCOME_MS_MAX
        {
            let stream = line.stream;
            out.push(Output::Reset(stream));
            self.closed(stream, now, out);
        }
        if let Some(line) = &mut self.serving {
            match line.ping {
                Some((_, sent)) if now.ms_since(sent) >= ECHO_MS_MAX => {
                    let stream = line.stream;
                    out.push(Output::Reset(stream));
                    self.closed(stream, now, out);
                }
                Some(_) => {}
                None if now >= line.ping_at => {
                    self.pings = self.pings.wrapping_add(1);
                    line.ping = Some((self.pings, now));
                    line.ping_at = now.plus_ms(PING_EVERY_MS);
                    out.push(send(line.stream, converse_request::Message::Ping(v1::Ping { number: self.pings })));
                }
                None => {}
            }
        }
        if let Some(line) = &self.leaving {
            let stream = line.stream;
            let waited_for = self.waiting.values().any(|waiting| waiting.stream == Some(stream));
            if !(waited_for || self.reports.flies_on(stream)) || now.ms_since(line.since) >= LEAVING_MS_MAX {
                out.push(Output::Close(stream));
                self.closed(stream, now, out);
            }
        }
    }

    fn opened(&mut self, stream: Option<StreamId>, now: Moment, out: &mut Vec<Output>) {
        if !std::mem::take(&mut self.opening) {
            return;
        }
        let Some(stream) = stream else {
            self.failed(now, out);
            return;
        };
        self.coming = Some(Line { stream, since: now, ping: None, ping_at: now });
        out.push(send(stream, converse_request::Message::Hello(self.hello.clone())));
    }

    fn received(&mut self, stream: StreamId, bytes: &[u8], now: Moment, out: &mut Vec<Output>) {
        if ![&self.serving, &self.coming, &self.leaving].into_iter().flatten().any(|line| line.stream == stream) {
            return;
        }
        let message = v1::ConverseResponse::decode(bytes).ok().and_then(|response| response.message);
        match message {
            Some(converse_response::Message::Welcome(_)) => self.welcomed(stream, now, out),
            Some(converse_response::Message::Answer(answer)) => self.answered(stream, answer, out),
            Some(converse_response::Message::Listed(listed)) => self.listed(stream, listed, out),
            Some(converse_response::Message::Acknowledged(acknowledged)) => {
                self.reports.acknowledged(&acknowledged.counters);
                self.flush_batch(now, out);
            }
            Some(converse_response::Message::Echo(echo)) => {
                if let Some(line) = &mut self.serving
                    && line.stream == stream
                    && line.ping.is_some_and(|(number, _)| number == echo.number)
                {
                    line.ping = None;
                }
            }
            Some(converse_response::Message::Draining(_)) => {
                if self.serving.as_ref().is_some_and(|line| line.stream == stream) {
                    self.leave = true;
                }
            }
            Some(converse_response::Message::Standing(standing)) => self.stands(stream, &standing, now, out),
            None => self.not_understood(stream, now, out),
        }
    }

    /// A peer that says what this contract does not know cannot be understood any further.
    fn not_understood(&mut self, stream: StreamId, now: Moment, out: &mut Vec<Output>) {
        out.push(Output::Reset(stream));
        self.closed(stream, now, out);
    }

    /// What the serving stream says counts. One that is left may know less by now: what it says counts if it is not older.
    fn stands(&mut self, stream: StreamId, said: &v1::Standing, now: Moment, out: &mut Vec<Output>) {
        let is = |line: &Option<Line>| line.as_ref().is_some_and(|line| line.stream == stream);
        let kept = match self.standing.epoch() {
            Some(epoch) if is(&self.leaving) && said.epoch < epoch => Some(epoch),
            Some(_) | None if is(&self.serving) || is(&self.leaving) => self.standing.take(said),
            // Before the welcome, nothing counts.
            Some(_) | None => return,
        };
        match kept {
            Some(epoch) => {
                out.push(Output::Count(Count::StandingsKept, 1));
                out.push(send(stream, converse_request::Message::Kept(v1::Kept { epoch })));
            }
            None => self.not_understood(stream, now, out),
        }
    }

    fn welcomed(&mut self, stream: StreamId, now: Moment, out: &mut Vec<Output>) {
        let Some(line) = self.coming.take_if(|line| line.stream == stream) else { return };
        out.push(Output::Count(Count::StreamsOpened, 1));
        self.failures = 0;
        self.leave = false;
        let ping_at = now.plus_ms(PING_EVERY_MS);
        let left = self.serving.replace(Line { since: now, ping_at, ..line });
        if let Some(left) = left {
            // Two cannot leave at once: the older one has had its time.
            if let Some(older) = self.leaving.take() {
                out.push(Output::Close(older.stream));
                self.abandon(older.stream, out);
            }
            self.leaving = Some(Line { since: now, ..left });
        }
        for waiting in self.waiting.values_mut() {
            if waiting.stream.is_none() {
                out.extend(waiting.ask_on(stream, now));
            }
        }
        self.flush(now, out);
    }

    fn answered(&mut self, stream: StreamId, answer: v1::Answer, out: &mut Vec<Output>) {
        let counter = answer.counter;
        let answered = Answered::from(answer);
        let asked = |waiting: &Waiting| matches!(waiting.question, Question::Ask(_)) && waiting.stream == Some(stream);
        if self.waiting.get(&counter).is_some_and(asked) {
            self.waiting.remove(&counter);
            out.push(Output::Answered(counter, answered));
            return;
        }
        out.push(Output::Count(Count::AnswersLate, 1));
        if self.given_up.remove(&counter) && answered.releases() {
            out.push(Output::Count(Count::CallsNotReleased, 1));
            self.keep(not_released(counter, "nobody waited for the answer any more"), out);
        }
    }

    fn listed(&mut self, stream: StreamId, listed: v1::Listed, out: &mut Vec<Output>) {
        let counter = listed.counter;
        let asked = |waiting: &Waiting| matches!(waiting.question, Question::Listing(_)) && waiting.stream == Some(stream);
        if self.waiting.get(&counter).is_some_and(asked) {
            self.waiting.remove(&counter);
            out.push(Output::Listed(counter, listed.into()));
        } else {
            out.push(Output::Count(Count::AnswersLate, 1));
        }
    }

    /// A stream has ended, by whichever side.
    fn closed(&mut self, stream: StreamId, now: Moment, out: &mut Vec<Output>) {
        if self.coming.take_if(|line| line.stream == stream).is_some() {
            self.failed(now, out);
        } else if self.serving.take_if(|line| line.stream == stream).is_some() {
            out.push(Output::Count(Count::StreamsLost, 1));
            self.leave = false;
            self.reopen_at = now;
            self.abandon(stream, out);
        } else if self.leaving.take_if(|line| line.stream == stream).is_some() {
            self.abandon(stream, out);
        }
    }

    /// No stream could be opened. Whoever waited for one is told at once, unless the one in force still serves.
    fn failed(&mut self, now: Moment, out: &mut Vec<Output>) {
        out.push(Output::Count(Count::StreamsRefused, 1));
        self.reopen_at = now.plus_ms(self.backoff_ms());
        self.failures = self.failures.saturating_add(1);
        self.standing.nobody_there();
        if self.serving.is_none() {
            self.refuse(None, Cause::Unreachable);
        }
    }

    fn backoff_ms(&self) -> u64 {
        let doubled = REOPEN_MS_MIN.checked_shl(self.failures.min(8)).unwrap_or(REOPEN_MS_MAX);
        // VMs that lost one replica at the same moment must not come back at the same moment.
        let jitter = self.hello.epoch.first().copied().unwrap_or_default();
        doubled.min(REOPEN_MS_MAX).saturating_add(u64::from(jitter) / 4)
    }

    /// Answers that were expected on `stream` will not come. What was asked may have been allowed, and is not released.
    fn abandon(&mut self, stream: StreamId, out: &mut Vec<Output>) {
        self.reports.take_back(stream);
        for counter in self.refuse(Some(stream), Cause::StreamLost) {
            self.keep(not_released(counter, "the stream ended before the answer"), out);
        }
    }

    /// Refuses whoever waits on `stream` (None: for a stream), and names the calls among them that go no further.
    fn refuse(&mut self, stream: Option<StreamId>, cause: Cause) -> Vec<u64> {
        let lost: Vec<u64> =
            self.waiting.iter().filter(|(_, waiting)| waiting.stream == stream).map(|(counter, _)| *counter).collect();
        let mut calls = Vec::new();
        for counter in lost {
            let Some(waiting) = self.waiting.remove(&counter) else { continue };
            if matches!(waiting.question, Question::Ask(_)) && !waiting.spared {
                calls.push(counter);
            }
            self.overdue.push_back(waiting.question.undecided(counter, cause));
        }
        calls
    }

    fn question(&mut self, counter: u64, question: Question, now: Moment, out: &mut Vec<Output>) {
        // While the very first stream opens, and while any does, there is something to wait for.
        let hope = self.serving.is_some() || self.coming.is_some() || self.opening || self.failures == 0;
        if self.waiting.len().saturating_add(self.overdue.len()) >= WAITING_MAX || !hope {
            let cause = if hope { Cause::Crowded } else { Cause::Unreachable };
            out.push(question.undecided(counter, cause));
            return;
        }
        let spared = matches!(&question, Question::Ask(Some(ask)) if self.standing.spares(ask.observe));
        let mut waiting = Waiting { deadline: now.plus_ms(self.ask_timeout_ms), question, stream: None, spared };
        if let Some(line) = &self.serving {
            out.extend(waiting.ask_on(line.stream, now));
        }
        self.waiting.insert(counter, waiting);
    }

    fn give_up(&mut self, counter: u64, waiting: &Waiting) {
        if matches!(waiting.question, Question::Ask(_)) && waiting.stream.is_some() {
            // The oldest is the least likely to be answered yet; its record is closed as unknown at its deadline.
            if self.given_up.len() >= WAITING_MAX {
                self.given_up.pop_first();
            }
            self.given_up.insert(counter);
        }
    }

    fn report(&mut self, entry: v1::Entry, now: Moment, out: &mut Vec<Output>) {
        if matches!(entry.what, Some(v1::entry::What::Observed(_))) {
            if !self.reports.observe(entry) {
                out.push(Output::Count(Count::ObservationsLost, 1));
            }
        } else {
            self.keep(entry, out);
        }
        self.flush_batch(now, out);
    }

    fn keep(&mut self, entry: v1::Entry, out: &mut Vec<Output>) {
        if !self.reports.push(entry) {
            out.push(Output::Count(Count::ReportsLost, 1));
        }
    }

    /// A batch that is full does not wait for the tick.
    fn flush_batch(&mut self, now: Moment, out: &mut Vec<Output>) {
        if self.reports.is_batch() {
            self.flush(now, out);
        }
    }

    fn flush(&mut self, now: Moment, out: &mut Vec<Output>) {
        if let Some(line) = &self.serving {
            while let Some(report) = self.reports.batch(line.stream, now) {
                out.push(send(line.stream, converse_request::Message::Report(report)));
            }
        }
    }
}

fn send(stream: StreamId, message: converse_request::Message) -> Output {
    Output::Send(stream, v1::ConverseRequest { message: Some(message) }.encode_to_vec())
}

/// A call that was asked for and never sent on.
fn not_released(counter: u64, detail: &str) -> v1::Entry {
    let outcome = v1::Outcome { kind: v1::OutcomeKind::NotReleased.into(), detail: detail.to_owned(), ..v1::Outcome::default() };
    v1::Entry { counter, what: Some(v1::entry::What::Outcome(outcome)), reason: String::new() }
}

// === impl Waiting ===

impl Waiting {
    /// Sends the question; the peer is told how much time is left.
    fn ask_on(&mut self, stream: StreamId, now: Moment) -> Option<Output> {
        let left = self.deadline.micros_since(now) / 1_000;
        let message = match &mut self.question {
            Question::Ask(ask) => {
                let mut ask = ask.take()?;
                ask.deadline_ms = u32::try_from(left).unwrap_or(u32::MAX);
                converse_request::Message::Ask(*ask)
            }
            Question::Listing(listing) => converse_request::Message::Listing(listing.take()?),
        };
        self.stream = Some(stream);
        Some(send(stream, message))
    }
}

// === impl Question ===

impl Question {
    fn undecided(&self, counter: u64, cause: Cause) -> Output {
        let undecided = Undecided { cause, detail: String::new() };
        match self {
            Self::Ask(_) => Output::Answered(counter, Answered::Undecided(undecided)),
            Self::Listing(_) => Output::Listed(counter, Listed::Undecided(undecided)),
        }
    }
}

#[cfg(test)]
mod tests;
