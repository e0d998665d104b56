//! Asked through Envoy's ext_authz, for places where a module of WebAssembly is not allowed: the same reading, law and
//! record, and no word of what became of a call.
//!
//! INVARIANT: only a recorded Allow, or a verdict that is recorded and not enforced, lets a request on; and, on a route that
//! observes and of which nothing else is ordered, that nobody could decide.

mod request;
mod route;
pub mod rpc;

use super::hearing::Treatment;
use super::{Decide, Question, Undecided, answer, reading};
use crate::config::Filter;
use crate::control::{Now, standing};
use agentgate_core::id::CallId;
use agentgate_core::mcp::{self, Limits, Rules, Unread};
use agentgate_core::reply::{self, No, Reply};
use agentgate_proto::{ask, v1};
use request::Request;
use route::{Route, RouteError};
use std::sync::Arc;
use std::time::Duration;

/// How long a request may wait for its verdict: below the timeout that `agentgate envoy` writes for Envoy, so that it is told
/// why there was none.
pub(super) const WAIT_MS_MAX: u64 = 2_000;

/// What Envoy is told.
#[derive(Debug)]
pub(super) enum Answer {
    /// It goes on, without these headers.
    Released {
        remove: Vec<String>,
    },
    /// It goes on as it came.
    Observed,
    Refused(Reply),
}

// === impl Decide ===

impl Decide {
    /// One request, from its route's configuration to its answer.
    async fn check(&self, filter: Arc<Filter>, call: CallId, request: Request) -> Answer {
        let route = match Route::of(&request.extensions) {
            Ok(route) => route,
            // Most likely a request that the gate is not for: it says no more of it than the filter would.
            Err(error @ RouteError::Unnamed) => {
                return Answer::Refused(reply::plain(403, &format!("no route of the gate names this path: {error}")));
            }
            Err(error) => return self.unconfigured(&error.to_string()),
        };
        if request.is_upgrade() {
            return Answer::Refused(reply::plain(403, "upgrades and tunnels are refused here"));
        }
        let head = match request.head() {
            Ok(head) => head,
            Err(missing) => return self.unconfigured(missing),
        };
        if !route.takes(&head.path) {
            return Answer::Refused(reply::plain(403, "no route of the gate names this path"));
        }
        let unread = mcp::check_origin(&head, &route.origins).and_then(|()| request.check_body(&head)).err();
        let remove = request.unclean();
        let asked = v1::Ask {
            counter: call.counter,
            number: call.counter,
            server: route.server.to_string(),
            peer: request.peer,
            head: Some(ask::head_to_wire(&head)),
            body: request.body.into(),
            versions: route.versions.iter().map(|version| version.as_str().to_owned()).collect(),
            query_keys: route.query_keys.clone(),
            observe: route.observe,
            ..v1::Ask::default()
        };
        let deadline = self.clock.elapsed() + Duration::from_millis(WAIT_MS_MAX);
        let question = Question::by_authz(filter, call, asked, unread, deadline);
        match self.decide(&question).await {
            Ok(decided) if decided.observed => Answer::Observed,
            Ok(decided) if decided.verdict() == v1::Verdict::Allow => Answer::Released { remove },
            Ok(decided) => Answer::Refused(self.refusal(&question, &route, &decided).await),
            Err(undecided) if route.observe && only_observes(&self.control.now(), &question, &route) => {
                metrics::counter!("agentgate_observations_lost_total").increment(1);
                if let Undecided::Identity(why) = &undecided {
                    self.of_nobody(&question.filter, &question.ask.server, Treatment::Observed, why);
                }
                tracing::debug!(%undecided, "a call that is only observed went on undecided");
                Answer::Observed
            }
            Err(undecided) => Answer::Refused(self.undecided(&question, &route, &undecided).await),
        }
    }

    /// Nobody but whoever wrote Envoy's configuration can mend it: they find it in the log, and in the answer.
    fn unconfigured(&self, why: &str) -> Answer {
        metrics::counter!("agentgate_authz_unconfigured_total").increment(1);
        if let Some(more) = self.unconfigured.told(self.clock.elapsed()) {
            tracing::warn!(
                why,
                more,
                "Envoy asked for a request that its configuration does not say enough of; see `agentgate envoy --filter ext-authz`"
            );
        }
        Answer::Refused(reply::plain(503, &format!("this gate is not configured for this request: {why}")))
    }

    async fn refusal(&self, question: &Question, route: &Route, decided: &v1::Decided) -> Reply {
        let call_id = question.call.to_string();
        let message = match self.message(question, route).await {
            Ok(message) => message,
            Err(unread) => return reply::malformed(&unread, Some(&route.versions), &call_id),
        };
        let pending = decided.verdict() == v1::Verdict::Pending;
        let no = No { pending, rule: &decided.rule, reason: &decided.reason, approval: &decided.approval };
        reply::decided(route.denied, &message, no, &call_id)
    }

    async fn undecided(&self, question: &Question, route: &Route, undecided: &Undecided) -> Reply {
        let call_id = question.call.to_string();
        let told = undecided.to_string();
        match self.message(question, route).await {
            Ok(message) => {
                let cause = answer::cause_of(undecided);
                let undecided = reply::Undecided { cause, detail: &told, is_lasting: answer::is_lasting(undecided) };
                reply::undecided(route.denied, &message, undecided, &call_id)
            }
            Err(unread) => reply::malformed(&unread, Some(&route.versions), &call_id),
        }
    }

    /// Read once more, for the words of a refusal: which request it answers, and in which way.
    async fn message(&self, question: &Question, route: &Route) -> Result<mcp::Message, Unread> {
        let unread = |reason| Unread { reason, id: None, version: None };
        if let Some(reason) = question.unread {
            return Err(unread(reason));
        }
        let limits = Limits { body_bytes_max: self.limits.body_bytes_max as usize, ..Limits::default() };
        let rules = Rules { versions: route.versions.clone(), query_keys: route.query_keys.clone(), limits };
        let head = question.ask.head.as_ref().map(ask::head_from_wire).unwrap_or_default();
        match self.heavy.turn(question.ask.body.len()).await {
            Some(turn) => turn.work(|| mcp::read(&head, &question.ask.body, &rules)),
            None => Err(unread(mcp::Malformed::BodyTooLarge)),
        }
    }
}

/// Whether a call goes on though nobody decided it: no order says that something of its server is enforced, or may be killed.
fn only_observes(now: &Now, question: &Question, route: &Route) -> bool {
    let standing = standing(now, &question.filter, [&route.server]);
    let ordered = standing.servers.iter().find(|of| of.server == route.server.as_str());
    let enforces = |mode: v1::Mode| mode == v1::Mode::Enforce;
    !standing.consult
        && ordered.is_none_or(|of| !of.consult && !enforces(of.mode()) && !of.tools.iter().any(|tool| enforces(tool.mode())))
}

// === impl Question ===

impl Question {
    /// `unread`: why it cannot be read, where the ask itself does not show it.
    fn by_authz(filter: Arc<Filter>, call: CallId, ask: v1::Ask, unread: Option<mcp::Malformed>, deadline: Duration) -> Self {
        Self { unread, has_outcome: false, ..Self::new(filter, call, ask, deadline) }
    }

    /// What the call says. Envoy's word that a body is not whole counts; it never makes a call readable.
    pub(super) fn read(&self, limits: &crate::config::Limits) -> Result<Result<mcp::Message, mcp::Malformed>, Undecided> {
        self.unread.map_or_else(|| reading::read(&self.ask, limits), |unread| Ok(Err(unread)))
    }
}
