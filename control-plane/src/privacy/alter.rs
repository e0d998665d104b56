//! Which parts of a body may hold what is personal: whatever an agent, a server or an operator wrote. Names by which
//! AgentGate itself knows somebody (tenant, principal, asker, peer, claims, the operator who ordered) are identities and stay.
//!
//! A digest of what was altered would confirm a guess, so it is keyed.

use super::{Altering, left_out, pii_to_wire};
use crate::body::{Scope, Tokens};
use agentgate_core::pii::{How, Kind, Pii, Rewriter};
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use bytes::Bytes;
use prost::Message;

/// Of what one body may have become: a token is longer than a short address, and a change of the journal holds 4 MiB. What would
/// be longer is left out, or a call full of addresses could never be recorded.
pub(super) const ALTERED_BYTES_MAX: usize = 3 << 20;

// === impl Altering ===

impl Altering {
    /// What stands for a digest in a record of what was altered.
    #[must_use]
    pub fn keyed(&self, digest: &[u8]) -> Bytes {
        self.tokens.keyed(digest)
    }

    /// The session that a call is of: its handle is the agent's to choose.
    #[must_use]
    pub fn scope(&self, scope: Scope) -> Scope {
        let Scope::Calls { tenant, principal, handle } = scope else { return scope };
        Scope::Calls { tenant, principal, handle: self.handle(&handle) }
    }

    /// What a session's handle is kept as.
    #[must_use]
    pub fn handle(&self, handle: &str) -> String {
        let mut handle = handle.to_owned();
        self.rewrite(|rewriter| text(rewriter, &mut handle));
        handle
    }

    /// A decision's body, which says so where it was altered.
    pub fn decision(&self, body: &mut v1::DecisionBody) {
        let altered = self.rewrite(|rewriter| {
            body.ask.iter_mut().for_each(|ask| in_ask(rewriter, ask));
            for part in [&mut body.target, &mut body.handle, &mut body.reason] {
                text(rewriter, part);
            }
            if let Some(kill) = &mut body.kill {
                text(rewriter, &mut kill.reason);
                in_target(rewriter, kill.target.as_mut());
            }
            body.denied.iter_mut().for_each(|denied| text(rewriter, &mut denied.reason));
        });
        let Some(mut altered) = altered else { return };
        if let Some(ask) = body.ask.as_mut().filter(|ask| ask.encoded_len() > ALTERED_BYTES_MAX) {
            (ask.body, ask.head, altered.left_out) = (Bytes::new(), None, true);
        }
        if body.altered.is_none() {
            let of_grant = body.grant.iter_mut().map(|grant| &mut grant.call_digest);
            let of_denial = body.denied.iter_mut().map(|denied| &mut denied.call_digest);
            of_grant.chain(of_denial).chain([&mut body.call_digest]).for_each(|digest| self.key(digest));
        }
        body.altered = Some(altered);
    }

    /// An outcome's body. The digest of a result is keyed whatever else is in it: the result itself may be personal.
    pub fn outcome(&self, body: &mut v1::OutcomeBody) {
        let altered = self.rewrite(|rewriter| {
            text(rewriter, &mut body.detail);
            body.hidden.iter_mut().for_each(|tool| text(rewriter, tool));
            body.tools.iter_mut().for_each(|tool| json(rewriter, tool));
        });
        if body.altered.is_some() {
            body.altered = altered.or_else(|| body.altered.take());
            return;
        }
        let has_digest = !body.result_digest.is_empty();
        self.key(&mut body.result_digest);
        body.altered = altered.or_else(|| has_digest.then(|| self.altered(Vec::new())));
        if body.encoded_len() > ALTERED_BYTES_MAX {
            *body = v1::OutcomeBody { altered: Some(left_out(self.pii)), ..v1::OutcomeBody::default() };
        }
    }

    /// The body of a record as it is given away, and what was done; none where nothing was.
    ///
    /// # Errors
    /// When it cannot be read, so that nobody knows what is in it.
    pub fn given(&self, what: &What, plain: &[u8]) -> Result<Option<(Bytes, v1::Altered)>, prost::DecodeError> {
        match what {
            What::Decision(_) => {
                let before = v1::DecisionBody::decode(plain)?;
                let mut body = before.clone();
                self.decision(&mut body);
                let altered = body.altered.clone().filter(|_| body != before);
                Ok(altered.map(|altered| (body.encode_to_vec().into(), altered)))
            }
            What::Outcome(_) => {
                let before = v1::OutcomeBody::decode(plain)?;
                let mut body = before.clone();
                self.outcome(&mut body);
                let altered = body.altered.clone().filter(|_| body != before);
                Ok(altered.map(|altered| (body.encode_to_vec().into(), altered)))
            }
            What::Approval(_) => self.each(plain, Self::approval),
            What::Kill(_) => self.each(plain, |altering, body: &mut v1::KillBody| {
                altering.rewrite(|rewriter| {
                    text(rewriter, &mut body.reason);
                    in_target(rewriter, body.target.as_mut());
                })
            }),
            What::Mode(_) => self.each(plain, |altering, body: &mut v1::ModeBody| {
                altering.rewrite(|rewriter| [&mut body.tool, &mut body.reason].into_iter().for_each(|part| text(rewriter, part)))
            }),
            What::Hold(_) => self.each(plain, |altering, body: &mut v1::HoldBody| {
                altering.rewrite(|rewriter| {
                    text(rewriter, &mut body.reason);
                    // What else it covers is an identity, or an id of our own.
                    if let Some(extent) = body.extent.as_mut() {
                        text(rewriter, &mut extent.session);
                    }
                })
            }),
            What::Purge(_) => self
                .each(plain, |altering, body: &mut v1::PurgeBody| altering.rewrite(|rewriter| text(rewriter, &mut body.reason))),
            // It names a subject and nothing else.
            What::Flood(_) | What::Policy(_) => Ok(None),
        }
    }

    fn each<M: Message + Default>(
        &self,
        plain: &[u8],
        alter: impl FnOnce(&Self, &mut M) -> Option<v1::Altered>,
    ) -> Result<Option<(Bytes, v1::Altered)>, prost::DecodeError> {
        let mut body = M::decode(plain)?;
        Ok(alter(self, &mut body).map(|altered| (body.encode_to_vec().into(), altered)))
    }

    /// A step of an approval. It is recorded as it is, since an approver must see what he approves; only what is given away is
    /// altered. `seen` is a digest of all that the approver was shown.
    fn approval(&self, body: &mut v1::ApprovalBody) -> Option<v1::Altered> {
        let mut request = v1::ApprovalRequest::decode(body.request.clone()).ok();
        let altered = self.rewrite(|rewriter| {
            text(rewriter, &mut body.reason);
            request.iter_mut().for_each(|request| in_request(rewriter, request));
        });
        let has_seen = !body.seen.is_empty();
        self.key(&mut body.seen);
        if altered.is_some() && !body.request.is_empty() {
            // What is no request is not given away unread.
            let keyed = request.map(|mut request| {
                self.key(&mut request.call_digest);
                request
            });
            body.request = keyed.unwrap_or_default().encode_to_vec().into();
        }
        altered.or_else(|| has_seen.then(|| self.altered(Vec::new())))
    }

    /// An approval, for somebody who is not the one to decide it. Its digests are keyed whatever else is in it: what was left
    /// out of a list counts in them.
    pub(super) fn shown(&self, approval: &mut v1::Approval, mut request: v1::ApprovalRequest) {
        self.rewrite(|rewriter| {
            in_request(rewriter, &mut request);
            approval.steps.iter_mut().for_each(|step| text(rewriter, &mut step.reason));
        });
        self.key(&mut request.call_digest);
        approval.steps.iter_mut().for_each(|step| self.key(&mut step.seen));
        approval.request = request.encode_to_vec().into();
    }

    fn key(&self, digest: &mut Bytes) {
        if !digest.is_empty() {
            *digest = self.keyed(digest);
        }
    }

    /// None: there was nothing personal.
    fn rewrite(&self, run: impl FnOnce(&mut Rewriter<'_>)) -> Option<v1::Altered> {
        let tokens: &Tokens = &self.tokens;
        let token = |kind: Kind, normal: &str| tokens.token(kind, normal);
        let mut rewriter = Rewriter::new(match self.pii {
            Pii::Tokenise => How::Tokenise(&token),
            Pii::Off | Pii::Redact => How::Redact,
        });
        run(&mut rewriter);
        let kinds: Vec<v1::AlteredKind> =
            rewriter.counts().map(|(kind, count)| v1::AlteredKind { kind: kind.name().into(), count }).collect();
        (!kinds.is_empty()).then(|| self.altered(kinds))
    }

    fn altered(&self, kinds: Vec<v1::AlteredKind>) -> v1::Altered {
        v1::Altered { pii: pii_to_wire(self.pii).into(), kinds, left_out: false }
    }
}

/// The request as it came. Who sent it, and what its route says, are not the agent's to write.
fn in_ask(rewriter: &mut Rewriter<'_>, ask: &mut v1::Ask) {
    json(rewriter, &mut ask.body);
    let Some(head) = &mut ask.head else { return };
    if let Some(path) = rewriter.path(&head.path) {
        head.path = path.into();
    }
    for header in &mut head.headers {
        if let Some(name) = rewriter.bytes(&header.name) {
            header.name = name.into();
        }
        if let Some(value) = rewriter.header(&header.value) {
            header.value = value.into();
        }
    }
}

fn in_request(rewriter: &mut Rewriter<'_>, request: &mut v1::ApprovalRequest) {
    for part in [&mut request.target, &mut request.reason] {
        text(rewriter, part);
    }
    for part in [&mut request.params, &mut request.answers] {
        if let Some(rewritten) = rewriter.json(part.as_bytes()) {
            *part = String::from_utf8_lossy(&rewritten).into_owned();
        }
    }
    if let Some(rewritten) = rewriter.path(request.path.as_bytes()) {
        request.path = String::from_utf8_lossy(&rewritten).into_owned();
    }
}

fn in_target(rewriter: &mut Rewriter<'_>, target: Option<&mut v1::KillTarget>) {
    use v1::kill_target::Height;
    match target.and_then(|target| target.height.as_mut()) {
        Some(Height::Session(handle)) => text(rewriter, handle),
        Some(Height::Tool(tool)) => text(rewriter, &mut tool.tool),
        // Identities.
        Some(Height::Everything(_) | Height::Tenant(_) | Height::Agent(_)) | None => {}
    }
}

fn text(rewriter: &mut Rewriter<'_>, part: &mut String) {
    if let Some(rewritten) = rewriter.text(part) {
        *part = rewritten;
    }
}

fn json(rewriter: &mut Rewriter<'_>, part: &mut Bytes) {
    if let Some(rewritten) = rewriter.json(part) {
        *part = rewritten.into();
    }
}
