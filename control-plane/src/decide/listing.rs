//! Listings: which tools of a list its caller need not see, because they are refused whatever their arguments.

use super::report::Reporter;
use super::{Decide, Undecided, reading, record};
use crate::policy;
use agentgate_core::decide::Facts;
use agentgate_core::id::{CallId, Principal, Server, Tenant};
use agentgate_core::mcp::Method;
use agentgate_policies::Trouble;
use agentgate_proto::v1;

// === impl Decide ===

impl Decide {
    /// The tools to leave out of the list that this very call asked for. Its facts are those on record; the policy is today's.
    pub(super) async fn listing(&self, reporter: &Reporter, listing: &v1::Listing) -> Result<Vec<String>, Undecided> {
        let call = CallId { asker: reporter.filter.identity.clone(), epoch: reporter.epoch, counter: listing.counter };
        let found = self.session.find(&call.digest()).await.map_err(record::unavailable)?;
        let found = found.filter(|found| found.record.verdict() == v1::Verdict::Allow);
        let body = found.and_then(|found| found.body).ok_or(Undecided::Unreadable("no call of this id was allowed"))?;
        let facts = self.facts(reporter, &body)?;
        let policy = self.policy.now().in_force.ok_or_else(|| Undecided::Policy("no policy is in force".into()))?;
        policy::hidden(&policy, &facts, &listing.tools).map_err(|trouble| match trouble {
            Trouble::Evaluation(error) => Undecided::Policy(error.to_string()),
            Trouble::Unavailable(why) => Undecided::Policy(why),
        })
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
            reading: Ok(message),
        })
    }
}
