//! One HTTP exchange as a pure state machine: it does nothing, it says what to do.
//!
//! INVARIANT: an undecided exchange answers `Pause` to every event of the request, trailers included, because any later
//! callback that continued would release all that was paused before. Only `Answered::Allow` makes it continue.

mod budget;
mod event;
mod list;
mod observed;
mod reply;
mod response;

pub use budget::{Budget, Hold};
pub use event::{Action, Answerer, Effect, Event, Step};
pub use reply::Reply;

use crate::clock::Moment;
use crate::config::{Config, Route, UnnamedPaths, is_plain};
use crate::conversation::Answered;
use crate::count::Count;
use agentgate_core::mcp::{self, Head, Malformed, Message, Unread, check_origin, is_read, is_stripped};
use agentgate_proto::{ask, v1};
use response::Answering;
use std::rc::Rc;

/// Discovery of an authorization server, which a client needs before it can call.
const WELL_KNOWN: &[u8] = b"/.well-known/oauth-";

#[derive(Debug)]
pub struct Exchange {
    config: Rc<Config>,
    /// The call's number in this VM's life; in the answer to whoever was refused it stands behind the epoch.
    counter: u64,
    call_id: String,
    hold: Hold,
    state: State,
}

#[derive(Debug)]
enum State {
    Begun,
    /// The body comes in.
    Reading(Box<Reading>),
    /// The verdict is waited for.
    Asking(Box<Asking>),
    /// Allowed. Its answer is on the way.
    Released(Box<Answering>),
    /// None of our business, or ended: whatever comes passes.
    Passing,
    /// We have answered it. What the client still sends goes nowhere.
    Refused,
}

#[derive(Debug)]
struct Reading {
    /// Only the headers that are read: clients may send many more, and a thousand streams hold a thousand heads.
    head: Head,
    peer: String,
    /// None: a request without a body that passes unasked.
    route: Option<Rc<Route>>,
}

#[derive(Debug)]
struct Asking {
    /// Without what only a policy looks at: read JSON is many times as large as its text, and answers may take hours.
    message: Message,
    route: Rc<Route>,
}

// === impl Exchange ===

impl Exchange {
    #[must_use]
    pub fn new(config: Rc<Config>, counter: u64, call_id: String, hold: Hold) -> Self {
        Self { config, counter, call_id, hold, state: State::Begun }
    }

    /// What to do now. `now` is the time on the VM's own clock.
    pub fn on(&mut self, event: Event, now: Moment) -> Step {
        let mut effects = Vec::new();
        let action = match event {
            Event::RequestHeaders { headers, peer, end } => self.request_headers(headers, peer, end, &mut effects),
            Event::RequestBody { size, whole } => self.request_body(size, whole, &mut effects),
            Event::RequestTrailers { names, body } => self.request_trailers(&names, body, &mut effects),
            Event::Answered(answered) => self.answered(answered, now, &mut effects),
            Event::Gone => self.gone(now, &mut effects),
            Event::ResponseHeaders { headers, answerer, end } => match &mut self.state {
                State::Released(answering) => answering.headers(&headers, answerer, end, now, &mut effects),
                State::Begun | State::Reading(_) | State::Asking(_) | State::Passing | State::Refused => Action::Continue,
            },
            Event::ResponseBody { size, bytes, end } => match &mut self.state {
                State::Released(answering) => answering.body(size, bytes, end, &mut self.hold, now, &mut effects),
                State::Begun | State::Reading(_) | State::Asking(_) | State::Passing | State::Refused => Action::Continue,
            },
            Event::ResponseTrailers { names, bytes } => match &mut self.state {
                State::Released(answering) => answering.trailers(&names, bytes, &mut self.hold, now, &mut effects),
                State::Begun | State::Reading(_) | State::Asking(_) | State::Passing | State::Refused => Action::Continue,
            },
            Event::Listed { listed, bytes } => match &mut self.state {
                State::Released(answering) => answering.listed(listed, bytes, &mut self.hold, now, &mut effects),
                State::Begun | State::Reading(_) | State::Asking(_) | State::Passing | State::Refused => Action::Continue,
            },
        };
        Step { action, effects }
    }

    /// The largest body that the host needs to read for this exchange.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        match &self.state {
            State::Reading(reading) => reading.route.as_ref().map_or(0, |route| route.rules.limits.body_bytes_max),
            State::Begun | State::Asking(_) | State::Released(_) | State::Passing | State::Refused => 0,
        }
    }

    /// Whether the answer's bytes are looked at. If not, the host need not copy them.
    #[must_use]
    pub fn looks_at_response(&self, end: bool) -> bool {
        match &self.state {
            State::Released(answering) => answering.looks_at_bytes(end),
            State::Begun | State::Reading(_) | State::Asking(_) | State::Passing | State::Refused => false,
        }
    }

    fn request_headers(
        &mut self,
        headers: Vec<(Vec<u8>, Vec<u8>)>,
        peer: String,
        end: bool,
        effects: &mut Vec<Effect>,
    ) -> Action {
        let upgrade = is_upgrade(&headers);
        let mut head = head_of(headers);
        if upgrade {
            effects.push(Effect::Count(Count::RequestsUpgrade));
            return self.refuse(reply::plain(403, "upgrades and tunnels are refused here"), effects);
        }
        let route = self.config.route(&head.path).map(Rc::clone);
        if route.is_none() && !is_discovery(&head) {
            match self.config.unnamed_paths {
                UnnamedPaths::Pass => {
                    effects.push(Effect::Count(Count::RequestsPassed));
                    self.state = State::Passing;
                    return Action::Continue;
                }
                UnnamedPaths::Refuse => {
                    effects.push(Effect::Count(Count::RequestsUnnamed));
                    return self.refuse(reply::plain(403, "no route of the gate names this path"), effects);
                }
            }
        }
        clean(&head, effects);
        // A preflight calls nothing; everything else on a named path is a call. With a query it may be one to some servers.
        let route = route.filter(|route| head.method != b"OPTIONS" || head.path != route.path.as_bytes());
        head.headers.retain(|(name, _)| is_read(name));
        let origin = route.as_ref().map_or(Ok(()), |route| check_origin(&head, &route.origins));
        let reading = Reading { head, peer, route };
        let has_room = self.hold.set(reading.head_bytes());
        self.state = State::Reading(Box::new(reading));
        if let Err(reason) = origin {
            return self.unread(&Unread { reason, id: None, version: None }, None, effects);
        }
        if !has_room {
            return self.too_large(false, effects);
        }
        if end { self.read(Some(Vec::new()), effects) } else { Action::Pause }
    }

    fn request_body(&mut self, size: usize, whole: Option<Option<Vec<u8>>>, effects: &mut Vec<Effect>) -> Action {
        match &self.state {
            State::Reading(reading) => {
                let max = reading.route.as_ref().map_or(0, |route| route.rules.limits.body_bytes_max);
                // The copy that is asked with, and its encoding, lie beside Envoy's own.
                if size > max || !self.hold.set(reading.head_bytes().saturating_add(size.saturating_mul(2))) {
                    return self.too_large(size > max, effects);
                }
                match whole {
                    Some(body) => self.read(body.filter(|body| body.len() == size), effects),
                    None => Action::Pause,
                }
            }
            State::Begun | State::Asking(_) | State::Refused => Action::Pause,
            State::Released(_) | State::Passing => Action::Continue,
        }
    }

    /// Trailers end the body: an HTTP/2 request that has them never says so on its data.
    fn request_trailers(&mut self, names: &[Vec<u8>], body: Option<Vec<u8>>, effects: &mut Vec<Effect>) -> Action {
        match &self.state {
            State::Passing => return Action::Continue,
            State::Released(_) => {
                effects.extend(names.iter().cloned().map(Effect::RemoveRequestTrailer));
                return Action::Continue;
            }
            State::Begun | State::Asking(_) | State::Refused => return Action::Pause,
            State::Reading(_) => {}
        }
        effects.extend(names.iter().cloned().map(Effect::RemoveRequestTrailer));
        if names.iter().any(|name| is_read(name) || is_stripped(name)) {
            return self.unread(&Unread { reason: Malformed::HeaderLookalike, id: None, version: None }, body, effects);
        }
        self.read(body, effects)
    }

    /// The request is whole: reads it, and asks. `body` is none where the host could not give it.
    fn read(&mut self, body: Option<Vec<u8>>, effects: &mut Vec<Effect>) -> Action {
        let State::Reading(reading) = &mut self.state else { return Action::Pause };
        let Some(route) = reading.route.clone() else {
            if body.is_some_and(|body| body.is_empty()) {
                effects.push(Effect::Count(Count::RequestsPassed));
                self.state = State::Passing;
                return Action::Continue;
            }
            return self.refuse(reply::plain(400, "a request of this HTTP method has no body"), effects);
        };
        let Some(body) = body else {
            // Neither malformed nor asked for: the host lost it. Nothing was read, so nothing may pass.
            effects.push(Effect::Count(Count::HostErrors));
            return self.refuse(reply::plain(503, "the request could not be read"), effects);
        };
        match mcp::read(&reading.head, &body, &route.rules) {
            Ok(message) => {
                effects.push(Effect::Ask(Box::new(ask_of(self.counter, reading, &route, body))));
                let message = Message { target: None, params: None, handle: None, ..message };
                self.state = State::Asking(Box::new(Asking { message, route }));
                Action::Pause
            }
            Err(unread) => self.unread(&unread, Some(body), effects),
        }
    }

    /// Refused unread, and recorded with the bytes that could not be read.
    fn unread(&mut self, unread: &Unread, body: Option<Vec<u8>>, effects: &mut Vec<Effect>) -> Action {
        let State::Reading(reading) = &self.state else { return Action::Pause };
        let Some(route) = reading.route.clone() else {
            return self.refuse(reply::plain(400, "a request of this HTTP method has no body"), effects);
        };
        let refused = ask_of(self.counter, reading, &route, body.unwrap_or_default());
        let what = Some(v1::entry::What::Refused(refused));
        let reason = unread.reason.reason().to_owned();
        effects.push(Effect::Report(Box::new(v1::Entry { counter: self.counter, what, reason })));
        effects.push(Effect::Count(Count::CallsMalformed));
        self.refuse(reply::malformed(unread, &route.rules, &self.call_id), effects)
    }

    fn too_large(&mut self, over_limit: bool, effects: &mut Vec<Effect>) -> Action {
        if matches!(&self.state, State::Reading(reading) if reading.route.is_some()) {
            effects.push(Effect::Count(Count::CallsTooLarge));
        }
        if over_limit {
            return self.unread(&Unread { reason: Malformed::BodyTooLarge, id: None, version: None }, None, effects);
        }
        self.refuse(reply::plain(503, "too many requests are held here: wait a moment, then send the same again"), effects)
    }

    fn answered(&mut self, answered: Answered, now: Moment, effects: &mut Vec<Effect>) -> Action {
        let asking = match std::mem::replace(&mut self.state, State::Refused) {
            State::Asking(asking) => asking,
            other @ (State::Begun | State::Reading(_) | State::Released(_) | State::Passing | State::Refused) => {
                self.state = other;
                return Action::Pause;
            }
        };
        let Asking { message, route } = *asking;
        self.hold.release();
        match answered {
            Answered::Allow => {
                effects.push(Effect::Count(Count::CallsAllowed));
                effects.push(Effect::ResumeRequest);
                let limits = route.rules.limits;
                self.state = State::Released(Box::new(Answering::new(self.counter, self.call_id.clone(), message, limits, now)));
                Action::Continue
            }
            Answered::Pending { rule, reason } => {
                effects.push(Effect::Count(Count::CallsPending));
                let no = reply::No { pending: true, rule: &rule, reason: &reason };
                self.refuse(reply::decided(route.denied, &message, no, &self.call_id), effects)
            }
            Answered::Deny { rule, reason } => {
                effects.push(Effect::Count(Count::CallsDenied));
                let no = reply::No { pending: false, rule: &rule, reason: &reason };
                self.refuse(reply::decided(route.denied, &message, no, &self.call_id), effects)
            }
            Answered::Undecided(undecided) => {
                effects.push(Effect::Count(undecided.cause.count()));
                self.refuse(reply::undecided(route.denied, &message, &undecided, &self.call_id), effects)
            }
        }
    }

    fn refuse(&mut self, reply: Reply, effects: &mut Vec<Effect>) -> Action {
        self.hold.release();
        self.state = State::Refused;
        effects.push(Effect::Refuse(reply));
        Action::Pause
    }

    /// The stream is over, by whoever's will.
    fn gone(&mut self, now: Moment, effects: &mut Vec<Effect>) -> Action {
        match std::mem::replace(&mut self.state, State::Refused) {
            State::Asking(_) => effects.push(Effect::Forget(self.counter)),
            State::Released(mut answering) => answering.gone(now, effects),
            State::Begun | State::Reading(_) | State::Passing | State::Refused => {}
        }
        self.hold.release();
        Action::Pause
    }
}

// === impl Reading ===

impl Reading {
    /// What the head takes of the budget. It comes compressed: a header that fills a kilobyte may cost its sender one byte.
    fn head_bytes(&self) -> usize {
        let headers = self.head.headers.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        headers.fold(self.head.path.len().saturating_add(self.peer.len()), usize::saturating_add)
    }
}

/// Takes out what could have the request taken for another, executed more than once, or answered unreadably.
fn clean(head: &Head, effects: &mut Vec<Effect>) {
    let mut removed: Vec<&[u8]> = Vec::new();
    for (name, _) in &head.headers {
        let unwanted = is_stripped(name) || name == b"accept-encoding" || name == b"expect";
        if unwanted && !removed.contains(&name.as_slice()) {
            removed.push(name);
            effects.push(Effect::RemoveRequestHeader(name.clone()));
        }
    }
    // One verdict is one execution, whatever the route's retry policy says.
    effects.push(Effect::SetRequestHeader("x-envoy-max-retries", "0"));
}

fn is_upgrade(headers: &[(Vec<u8>, Vec<u8>)]) -> bool {
    headers.iter().any(|(name, value)| {
        name == b"upgrade" || name == b":protocol" || (name == b":method" && value.eq_ignore_ascii_case(b"CONNECT"))
    })
}

/// Without a body, as `read` will see to, and by a path that no server takes for another one.
fn is_discovery(head: &Head) -> bool {
    let plain = head.path.starts_with(WELL_KNOWN) && std::str::from_utf8(&head.path).is_ok_and(is_plain);
    plain && matches!(head.method.as_slice(), b"GET" | b"OPTIONS")
}

fn head_of(headers: Vec<(Vec<u8>, Vec<u8>)>) -> Head {
    let mut head = Head::default();
    for (name, value) in headers {
        match name.as_slice() {
            b":method" => head.method = value,
            b":path" => head.path = value,
            [b':', ..] => {}
            _ => head.headers.push((name, value)),
        }
    }
    head
}

fn ask_of(counter: u64, reading: &Reading, route: &Route, body: Vec<u8>) -> v1::Ask {
    v1::Ask {
        counter,
        deadline_ms: 0,
        server: route.server.as_str().to_owned(),
        peer: reading.peer.clone(),
        head: Some(ask::head_to_wire(&reading.head)),
        body: body.into(),
        versions: route.rules.versions.iter().map(|version| version.as_str().to_owned()).collect(),
        query_keys: route.rules.query_keys.clone(),
        observe: false,
        claims: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
