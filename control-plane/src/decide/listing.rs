//! Listings: which tools of a list its caller need not see, because they are refused whatever their arguments.

use super::report::Reporter;
use super::{Decide, Undecided, reading, record};
use crate::policy;
use agentgate_core::decide::Facts;
use agentgate_core::id::{CallId, Principal, Server, Tenant};
use agentgate_core::mcp::Method;
use agentgate_core::mode::Mode;
use agentgate_policies::Trouble;
use agentgate_proto::v1;

// === impl Decide ===

impl Decide {
    /// The tools to leave out of the list that this very call asked for. Its facts are those on record; the policy is today's.
    pub(super) async fn listing(&self, reporter: &Reporter, listing: &v1::Listing) -> Result<Vec<String>, Undecided> {
        let call = CallId { asker: reporter.filter.identity.clone(), epoch: reporter.epoch, counter: listing.counter };
        let found = self.session.find(&call.digest()).await.map_err(record::unavailable)?;
        let found = found.filter(|found| found.was_sent_on());
        if found.as_ref().is_some_and(|found| !found.record.enforced) {
            return Ok(Vec::new());
        }
        let body = found.and_then(|found| found.body).ok_or(Undecided::Unreadable("no call of this id was allowed"))?;
        if body.altered.is_some() {
            return Err(Undecided::Unreadable("what its list call said that is personal is not on record"));
        }
        let facts = self.facts(reporter, &body)?;
        let now = self.control.now();
        let policy = self.policy.deciding(&now).await.map_err(record::unavailable)?;
        let policy = policy.ok_or_else(|| Undecided::Policy("no policy is in force".into()))?;
        let hidden = policy::hidden(&policy, &facts, &listing.tools).map_err(|trouble| match trouble {
            Trouble::Evaluation(error) => Undecided::Policy(error.to_string()),
            Trouble::Unavailable(why) => Undecided::Policy(why),
        })?;
        // Of a tool that is only observed the answer shows what it always showed.
        let is_enforced = |tool: &String| now.mode(&facts.server, Some(tool), Mode::Enforce) == Mode::Enforce;
        Ok(hidden.into_iter().filter(is_enforced).collect())
    }

    fn facts(&self, reporter: &Reporter, body: &v1::DecisionBody) -> Result<Facts, Undecided> {
        let unreadable = || Undecided::Unreadable("its record does not hold the facts of a list call");
        let ask = body.ask.as_ref().ok_or_else(unreadable)?;
        let message = reading::read(ask, &self.limits)?.map_err(|_| unreadable())?;
        if message.method != Method::ToolsList {
            return Err(unreadable());
        }
        Ok(Facts {
            at: self.session.moment(),
            tenant: Tenant::try_from(body.tenant.as_str()).map_err(|_| unreadable())?,
            principal: Principal::try_from(body.principal.as_str()).map_err(|_| unreadable())?,
            asker: reporter.filter.identity.clone(),
            server: Server::try_from(ask.server.as_str()).map_err(|_| unreadable())?,
            endpoint: agentgate_proto::reading::endpoint_of(ask),
            reading: Ok(message),
            kill: None,
            grant: None,
            denied: None,
        })
    }
}
