//! One approval as it came, read for the screen; and the digest of the very bytes that were read.
//!
//! What cannot be read, or names another approval than its answer does, is shown to nobody as something to decide about.

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::moment::{absolute, relative};
use crate::output::moment_json;
use crate::screen::{Palette, Screen};
use crate::table::Pairs;
use crate::text::{hex, is_covert};
use crate::trace::arguments::whole;
use crate::trace::line::{absent, named};
use agentgate_core::approval::shown_digest;
use agentgate_core::digest::Digest;
use agentgate_core::id::Principal;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::ApprovalState as State;
use prost::Message as _;
use serde_json::{Value, json};

const UNREADABLE: &str = "the control plane's answer cannot be read as an approval";

/// An approval and what an approver sees of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) approval: v1::Approval,
    pub(super) request: v1::ApprovalRequest,
    /// Of the bytes that `request` was read from.
    pub(super) digest: Digest,
}

/// Fetches one by its id, or by the unique beginning of it.
pub(super) async fn fetch(id: &str, client: &Client) -> Result<Seen, Failure> {
    let approval = client.show_approval(id.to_owned()).await?;
    approval.map(Seen::read).unwrap_or_else(|| Err(Failure::new(Exit::Unreachable, UNREADABLE)))
}

/// A state's name and what it means for who reads it.
#[must_use]
pub(super) const fn state(state: State) -> (&'static str, Palette) {
    match state {
        State::Unspecified => ("unreadable", Palette::Bad),
        State::Pending => ("pending", Palette::Waiting),
        State::Granted => ("granted", Palette::Good),
        State::Denied => ("denied", Palette::Bad),
        State::Used => ("used", Palette::Dim),
        State::Voided => ("voided", Palette::Bad),
        State::Lapsed => ("lapsed", Palette::Dim),
    }
}

/// When a state ends by itself; those that are over do not.
#[must_use]
pub(super) fn lapses(approval: &v1::Approval, now: Time) -> Option<String> {
    match approval.state() {
        State::Pending | State::Granted => Some(relative(now, approval.expires_at_us)),
        State::Unspecified | State::Denied | State::Used | State::Voided | State::Lapsed => None,
    }
}

// === impl Seen ===

impl Seen {
    pub(super) fn read(approval: v1::Approval) -> Result<Self, Failure> {
        let request = v1::ApprovalRequest::decode(approval.request.clone())
            .map_err(|error| Failure::new(Exit::Unreachable, UNREADABLE).because(error))?;
        // People quote the beginning of an id, which is random enough.
        if approval.id.is_empty() || !hex(&request.approval).starts_with(&approval.id) {
            return Err(Failure::new(Exit::Unreachable, format!("{UNREADABLE}: it holds another's request")));
        }
        Ok(Self { digest: shown_digest(&approval.request), approval, request })
    }

    /// `notes/send_note`.
    pub(super) fn call(&self) -> String {
        named(&self.request.server, &self.request.method, &self.request.target)
    }

    /// Who asks for what, and why it takes a person.
    pub(super) fn asked(&self, pairs: &mut Pairs<'_>) {
        let plain = |pairs: &mut Pairs<'_>, name: &str, value: &str| pairs.pair(name, Palette::Plain, value);
        pairs.heading("Who asks");
        plain(pairs, "principal", &self.request.principal);
        // An agent for itself is the principal, and said already.
        let principal = Principal::try_from(self.request.principal.as_str()).ok();
        if let Some((principal, user)) = principal.as_ref().and_then(|principal| Some((principal, principal.user()?))) {
            plain(pairs, "agent", principal.agent().map(|agent| agent.as_str()).unwrap_or_default());
            plain(pairs, "user", &format!("{}, says {}", user.subject(), user.issuer()));
        }
        plain(pairs, "tenant", &self.request.tenant);
        pairs.heading("For what");
        plain(pairs, "server", &self.request.server);
        plain(pairs, if self.request.method == "tools/call" { "tool" } else { "target" }, &self.request.target);
        plain(pairs, "method", &self.request.method);
        plain(pairs, "http method", &self.request.http_method);
        plain(pairs, "host", &self.request.host);
        plain(pairs, "path", &self.request.path);
        if !self.request.answers.is_empty() {
            plain(pairs, "answers", &self.request.answers);
        }
        plain(pairs, "scope", &self.request.scope);
        plain(pairs, "rule", &self.request.rule);
        plain(pairs, "reason", &self.request.reason);
    }

    /// All that the grant is about, whole; and a warning where a person cannot see all of it.
    pub(super) fn arguments(&self, screen: &Screen, pairs: &mut Pairs<'_>) {
        let (shown, covert) = whole(&self.request.params, screen);
        pairs.heading("Arguments");
        match self.request.params.as_str() {
            "" => pairs.pair("none", Palette::Dim, "the call has no parameters"),
            _ => pairs.block(&shown),
        }
        let names = [&self.request.principal, &self.request.server, &self.request.target, &self.request.method];
        if covert || names.iter().any(|name| name.chars().any(is_covert)) {
            let warning = "warning: it contains characters that are not seen; each is written as \\u{…} with its number";
            let warning = warning.replace('…', screen.sign("…", "..."));
            pairs.block(&screen.paint(Palette::Bad, &warning));
        }
    }

    pub(super) fn decided(&self, now: Time, pairs: &mut Pairs<'_>) {
        if self.approval.steps.is_empty() && self.approval.used_by.is_empty() {
            return;
        }
        pairs.heading("Decided");
        for step in &self.approval.steps {
            let (word, palette) = if step.granted { ("granted", Palette::Good) } else { ("denied", Palette::Bad) };
            let reason = absent(&step.reason).map(|reason| format!(": {reason}")).unwrap_or_default();
            pairs.pair(word, palette, &format!("{} by {}{reason}", relative(now, step.at_us), step.by));
        }
        pairs.pair("used by", Palette::Plain, &self.approval.used_by);
    }

    pub(super) fn standing(&self, now: Time, pairs: &mut Pairs<'_>) {
        let (name, palette) = state(self.approval.state());
        pairs.pair("state", palette, name);
        if let Some(lapses) = lapses(&self.approval, now) {
            pairs.pair("lapses", Palette::Plain, &format!("{lapses} ({})", absolute(self.approval.expires_at_us)));
        }
        if self.request.steps > 1 {
            let granted = self.approval.steps.iter().filter(|step| step.granted).count();
            pairs.pair("grants", Palette::Plain, &format!("{granted} of {}, each by somebody else", self.request.steps));
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let steps = self.approval.steps.iter().map(|step| {
            json!({
                "granted": step.granted,
                "by": step.by,
                "reason": step.reason,
                "at": moment_json(step.at_us),
                "seen": hex(&step.seen),
            })
        });
        json!({
            "id": self.approval.id,
            "state": state(self.approval.state()).0,
            "expires_at": moment_json(self.approval.expires_at_us),
            "used_by": absent(&self.approval.used_by),
            "seen": self.digest.to_string(),
            "steps": steps.collect::<Vec<_>>(),
            "request": self.request_json(),
        })
    }

    fn request_json(&self) -> Value {
        json!({
            "call_digest": hex(&self.request.call_digest),
            "call_id": self.request.call_id,
            "tenant": self.request.tenant,
            "principal": self.request.principal,
            "asker": self.request.asker,
            "server": self.request.server,
            "method": self.request.method,
            "http_method": self.request.http_method,
            "host": self.request.host,
            "path": self.request.path,
            "answers": absent(&self.request.answers),
            "target": absent(&self.request.target),
            "scope": absent(&self.request.scope),
            "rule": self.request.rule,
            "reason": self.request.reason,
            "params": self.request.params,
            "requested_at": moment_json(self.request.requested_at_us),
            "expires_at": moment_json(self.request.expires_at_us),
            "policy_digest": hex(&self.request.policy_digest),
            "steps": self.request.steps,
        })
    }
}
