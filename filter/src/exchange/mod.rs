//! One HTTP exchange as a pure state machine: it does nothing, it says what to do.
//!
//! INVARIANT: an undecided exchange answers `Pause` to every event of the request, trailers included, because any later
//! callback that continued would release all that was paused before. Only `Answered::Allow` makes it continue, or that it is
//! observed: because the orders in force say so (`Standing`), because the answer does (`Answered::Observed`), or because
//! nobody answers whose orders were ever known, on a route whose configuration observes.

mod budget;
mod definitions;
mod event;
mod list;
mod observed;
mod reading;
mod response;

pub use agentgate_core::reply::Reply;
pub use budget::{Budget, Hold};
pub use event::{Action, Answerer, Effect, Event, Step};
pub use reading::claim;

use crate::clock::Moment;
use crate::conversation::Answered;
use crate::count::Count;
use crate::standing::{Standing, Treatment};
use agentgate_core::config::{Config, Route, UnnamedPaths};
use agentgate_core::mcp::{Malformed, Message, Unread, check_origin, is_read, is_stripped};
use agentgate_core::reply;
use agentgate_proto::v1;
use reading::{Reading, clean, head_of, is_discovery, is_upgrade};
use response::{Answering, Called, Way};
use std::rc::Rc;

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
    /// Allowed, or observed. Its answer is on the way.
    Released(Box<Answering>),
    /// None of our business, or ended: whatever comes passes.
    Passing,
    /// We have answered it. What the client still sends goes nowhere.
    Refused,
}

#[derive(Debug)]
struct Asking {
    /// Without what only a policy looks at: read JSON is many times as large as its text, and answers may take hours.
    message: Message,
    route: Rc<Route>,
    /// No order was known when it was asked for, and its route observes.
    spared: bool,
}

/// What is known around the exchange while something happens to it.
#[derive(Clone, Copy, Debug)]
struct Context<'a> {
    standing: &'a Standing,
    now: Moment,
}

// === impl Exchange ===

impl Exchange {
    #[must_use]
    pub fn new(config: Rc<Config>, counter: u64, call_id: String, hold: Hold) -> Self {
        Self { config, counter, call_id, hold, state: State::Begun }
    }

    /// What to do now. `standing` is what is known of the orders in force; `now` is the time on the VM's own clock.
    pub fn on(&mut self, event: Event, standing: &Standing, now: Moment) -> Step {
        let mut effects = Vec::new();
        let action = match event {
            Event::RequestHeaders { headers, peer, claims, end } => {
                self.request_headers(headers, (peer, claims), end, Context { standing, now }, &mut effects)
            }
            Event::RequestBody { size, whole } => self.request_body(size, whole, Context { standing, now }, &mut effects),
            Event::RequestTrailers { names, body } => {
                self.request_trailers(&names, body, Context { standing, now }, &mut effects)
            }
            Event::Answered(answered) => self.answered(answered, Context { standing, now }, &mut effects),
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
                State::Released(answering) => {
                    let listed = answering.only_enforced(listed, standing);
                    answering.listed(listed, bytes, &mut self.hold, now, &mut effects)
                }
                State::Begun | State::Reading(_) | State::Asking(_) | State::Passing | State::Refused => Action::Continue,
            },
        };
        Step { action, effects }
    }

    /// The claims that the host shall read for a request with this head: each one's name, and its property.
    #[must_use]
    pub fn claims(&self, headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<(String, String)> {
        let value = |wanted: &[u8]| headers.iter().rev().find(|(name, _)| name == wanted).map_or(&[][..], |(_, value)| value);
        let route = self.config.route(value(b":path"), value(b":authority"));
        let Some(claims) = route.and_then(|route| route.claims.as_ref()) else { return Vec::new() };
        claims.names.iter().map(|name| (name.clone(), claims.property(name))).collect()
    }

    /// The largest body that the host needs to read for this exchange.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        match &self.state {
            State::Reading(reading) => reading.body_bytes_max(),
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
        (peer, claims): (String, Vec<v1::Claim>),
        end: bool,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> Action {
        let upgrade = is_upgrade(&headers);
        let head = head_of(headers);
        if upgrade {
            effects.push(Effect::Count(Count::RequestsUpgrade));
            return self.refuse(reply::plain(403, "upgrades and tunnels are refused here"), effects);
        }
        let route = self.config.route(&head.path, head.values("host").next().unwrap_or_default()).map(Rc::clone);
        if route.is_none() && !is_discovery(&head) {
            return self.unnamed(effects);
        }
        let only_observed = route.as_ref().is_some_and(|route| context.standing.only_observes(route));
        let unclean = clean(&head);
        // A preflight calls nothing; everything else on a named path is a call. With a query it may be one to some servers.
        let route = route.filter(|route| route.rest.is_some() || head.method != b"OPTIONS" || head.path != route.path.as_bytes());
        if only_observed && route.is_none() {
            return self.pass(effects);
        }
        let origin = route.as_ref().map_or(Ok(()), |route| check_origin(&head, &route.origins));
        let mut reading = Reading::new(head, peer, claims, route);
        if only_observed {
            reading.unclean = unclean;
        } else {
            effects.extend(unclean);
        }
        let has_room = self.hold.set(reading.head_bytes());
        self.state = State::Reading(Box::new(reading));
        if let Err(reason) = origin {
            return self.unread(&Unread { reason, id: None, version: None }, None, context, effects);
        }
        if !has_room {
            return self.too_large(false, context, effects);
        }
        if end { self.read(Some(Vec::new()), context, effects) } else { Action::Pause }
    }

    fn unnamed(&mut self, effects: &mut Vec<Effect>) -> Action {
        match self.config.unnamed_paths {
            UnnamedPaths::Pass => self.pass(effects),
            UnnamedPaths::Refuse => {
                effects.push(Effect::Count(Count::RequestsUnnamed));
                self.refuse(reply::plain(403, "no route of the gate names this path"), effects)
            }
        }
    }

    fn pass(&mut self, effects: &mut Vec<Effect>) -> Action {
        effects.push(Effect::Count(Count::RequestsPassed));
        self.state = State::Passing;
        Action::Continue
    }

    fn request_body(
        &mut self,
        size: usize,
        whole: Option<Option<Vec<u8>>>,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> Action {
        match &self.state {
            State::Reading(reading) => {
                let over_limit = size > reading.body_bytes_max();
                // The copy that is asked with, and its encoding, lie beside Envoy's own.
                if over_limit || !self.hold.set(reading.head_bytes().saturating_add(size.saturating_mul(2))) {
                    return self.too_large(over_limit, context, effects);
                }
                match whole {
                    Some(body) => self.read(body.filter(|body| body.len() == size), context, effects),
                    None => Action::Pause,
                }
            }
            State::Begun | State::Asking(_) | State::Refused => Action::Pause,
            State::Released(_) | State::Passing => Action::Continue,
        }
    }

    /// Trailers end the body: an HTTP/2 request that has them never says so on its data.
    fn request_trailers(
        &mut self,
        names: &[Vec<u8>],
        body: Option<Vec<u8>>,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> Action {
        let removed = names.iter().cloned().map(Effect::RemoveRequestTrailer);
        match &self.state {
            State::Passing => return Action::Continue,
            State::Released(answering) => {
                if answering.is_enforced() {
                    effects.extend(removed);
                }
                return Action::Continue;
            }
            State::Begun | State::Asking(_) | State::Refused => return Action::Pause,
            State::Reading(reading) => {
                if !reading.is_only_observed(context.standing) {
                    effects.extend(removed);
                }
            }
        }
        if names.iter().any(|name| is_read(name) || is_stripped(name)) {
            let unread = Unread { reason: Malformed::HeaderLookalike, id: None, version: None };
            return self.unread(&unread, body, context, effects);
        }
        self.read(body, context, effects)
    }

    /// The request is whole: reads it, and asks, or lets it go on. `body` is none where the host could not give it.
    fn read(&mut self, body: Option<Vec<u8>>, context: Context<'_>, effects: &mut Vec<Effect>) -> Action {
        let State::Reading(reading) = &mut self.state else { return Action::Pause };
        let Some(route) = reading.route.clone() else {
            if body.is_some_and(|body| body.is_empty()) {
                return self.pass(effects);
            }
            return self.refuse(reply::plain(400, "a request of this HTTP method has no body"), effects);
        };
        let Some(body) = body else {
            effects.push(Effect::Count(Count::HostErrors));
            if context.standing.only_observes(&route) {
                return self.unobserved(effects);
            }
            // Neither malformed nor asked for: the host lost it. Nothing was read, so nothing may pass.
            return self.refuse(reply::unavailable(route.rest.is_some(), "the request could not be read"), effects);
        };
        let message = match reading.read(&body, &route) {
            Ok(message) => message,
            Err(unread) => return self.unread(&unread, Some(body), context, effects),
        };
        let ask = reading.ask(self.counter, &route, body);
        match context.standing.treatment(&route, &message) {
            Treatment::Observe => self.observe(ask, "", Called::by(&message), route, context, effects),
            Treatment::Ask => {
                effects.append(&mut reading.unclean);
                effects.push(Effect::Ask(Box::new(ask)));
                let message = Message { target: None, params: None, handle: None, ..message };
                let spared = context.standing.spares(route.observes());
                self.state = State::Asking(Box::new(Asking { message, route, spared }));
                Action::Pause
            }
        }
    }

    /// Refused unread, and recorded with the bytes that could not be read; where all is only observed, it goes on.
    fn unread(&mut self, unread: &Unread, body: Option<Vec<u8>>, context: Context<'_>, effects: &mut Vec<Effect>) -> Action {
        let State::Reading(reading) = &self.state else { return Action::Pause };
        let Some(route) = reading.route.clone() else {
            return self.refuse(reply::plain(400, "a request of this HTTP method has no body"), effects);
        };
        let ask = reading.ask(self.counter, &route, body.unwrap_or_default());
        let reason = unread.reason.reason();
        if context.standing.only_observes(&route) {
            return self.observe(ask, reason, Called::unread(unread), route, context, effects);
        }
        let what = Some(v1::entry::What::Refused(ask));
        effects.push(Effect::Report(Box::new(v1::Entry { counter: self.counter, what, reason: reason.to_owned() })));
        effects.push(Effect::Count(Count::CallsMalformed));
        self.refuse(reply::malformed(unread, route.versions(), &self.call_id), effects)
    }

    fn too_large(&mut self, over_limit: bool, context: Context<'_>, effects: &mut Vec<Effect>) -> Action {
        let State::Reading(reading) = &self.state else { return Action::Pause };
        let is_observed = reading.is_only_observed(context.standing);
        if reading.route.is_some() && !is_observed {
            effects.push(Effect::Count(Count::CallsTooLarge));
        }
        if over_limit {
            let unread = Unread { reason: Malformed::BodyTooLarge, id: None, version: None };
            return self.unread(&unread, None, context, effects);
        }
        if is_observed {
            return self.unobserved(effects);
        }
        let text = "too many requests are held here: wait a moment, then send the same again";
        let reply = reading
            .route
            .as_ref()
            .map_or_else(|| reply::plain(503, text), |route| reply::unavailable(route.rest.is_some(), text));
        self.refuse(reply, effects)
    }

    /// Goes on at once. The copy is decided later, and its verdict enforced nowhere.
    fn observe(
        &mut self,
        ask: v1::Ask,
        reason: &str,
        called: Called,
        route: Rc<Route>,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> Action {
        let what = Some(v1::entry::What::Observed(ask));
        effects.push(Effect::Report(Box::new(v1::Entry { counter: self.counter, what, reason: reason.to_owned() })));
        effects.push(Effect::Count(Count::CallsObserved));
        self.release(called, route, Way::Unasked, context.now);
        Action::Continue
    }

    /// Goes on, and nothing of it is known later but that there was one more.
    fn unobserved(&mut self, effects: &mut Vec<Effect>) -> Action {
        effects.push(Effect::Count(Count::CallsObserved));
        effects.push(Effect::Unobserved);
        self.hold.release();
        self.state = State::Passing;
        Action::Continue
    }

    fn release(&mut self, called: Called, route: Rc<Route>, way: Way, now: Moment) {
        self.hold.release();
        let answering = Answering::new(self.counter, self.call_id.clone(), called, route, way, now);
        self.state = State::Released(Box::new(answering));
    }

    fn answered(&mut self, answered: Answered, context: Context<'_>, effects: &mut Vec<Effect>) -> Action {
        let asking = match std::mem::replace(&mut self.state, State::Refused) {
            State::Asking(asking) => asking,
            other @ (State::Begun | State::Reading(_) | State::Released(_) | State::Passing | State::Refused) => {
                self.state = other;
                return Action::Pause;
            }
        };
        let goes_on_undecided = asking.goes_on_undecided(context.standing);
        let Asking { message, route, spared: _ } = *asking;
        match answered {
            Answered::Allow => {
                effects.extend([Effect::Count(Count::CallsAllowed), Effect::ResumeRequest]);
                self.release(Called::by(&message), route, Way::Enforced, context.now);
                Action::Continue
            }
            Answered::Observed => {
                effects.extend([Effect::Count(Count::CallsObserved), Effect::ResumeRequest]);
                self.release(Called::by(&message), route, Way::Observed, context.now);
                Action::Continue
            }
            Answered::Pending { rule, reason, approval } => {
                effects.push(Effect::Count(Count::CallsPending));
                let no = reply::No { pending: true, rule: &rule, reason: &reason, approval: &approval };
                self.refuse(reply::decided(route.denied, &message, no, &self.call_id), effects)
            }
            Answered::Deny { rule, reason } => {
                effects.push(Effect::Count(Count::CallsDenied));
                let no = reply::No { pending: false, rule: &rule, reason: &reason, approval: "" };
                self.refuse(reply::decided(route.denied, &message, no, &self.call_id), effects)
            }
            Answered::Undecided(undecided) => {
                effects.push(Effect::Count(undecided.cause.count()));
                if goes_on_undecided {
                    effects.push(Effect::ResumeRequest);
                    return self.unobserved(effects);
                }
                self.refuse(reply::undecided(route.denied, &message, undecided.told(), &self.call_id), effects)
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

// === impl Asking ===

impl Asking {
    /// Nobody decided. It was asked for before any order was known, and none that came since concerns it.
    fn goes_on_undecided(&self, standing: &Standing) -> bool {
        self.spared && (standing.spares(self.route.observes()) || standing.only_observes(&self.route))
    }
}

#[cfg(test)]
mod tests;
