//! The keys at hand: what was used lately, so that a call waits for no slot. It refuses to grow beyond its named bounds; what
//! it forgot is read again, or made anew.

use super::{HANDLES_PER_SUBJECT_MAX, SESSION_KEY_US, Scope, Seal, SessionId, Tokens};
use crate::bounded::Bounded;
use crate::journal::Stream;
use crate::telemetry::number;
use agentgate_core::id::{Principal, Tenant};
use agentgate_core::time::Time;
use std::collections::HashSet;
use std::sync::Arc;

/// Sessions whose key is at hand. A key that was forgotten while its session goes on is followed by another: that costs a
/// slot, and nothing else.
pub(super) const SESSION_KEYS_MAX: usize = 16_384;

/// Subjects whose stream, and whose number of handles, are at hand.
pub(super) const SUBJECT_STREAMS_MAX: usize = 16_384;

/// Tenants whose tokens' key is at hand.
pub(super) const TENANT_TOKENS_MAX: usize = 1_024;

type Subject = (Tenant, Principal);

#[derive(Debug)]
pub(super) struct Known {
    current: Bounded<Scope, Arc<Seal>>,
    /// Of the past as well.
    by_session: Bounded<SessionId, Arc<Seal>>,
    streams: Bounded<Subject, Stream>,
    handles: Bounded<Subject, Handles>,
    tokens: Bounded<String, Arc<Tokens>>,
    /// How often keys or streams were forgotten. What was read or made before the last time may be one of them.
    pub(super) forgotten: u64,
}

/// The handles of a subject that got a key since then.
#[derive(Debug)]
struct Handles {
    since: Time,
    count: usize,
}

// === impl Known ===

impl Known {
    pub(super) fn new() -> Self {
        Self {
            current: Bounded::new(SESSION_KEYS_MAX),
            by_session: Bounded::new(SESSION_KEYS_MAX),
            streams: Bounded::new(SUBJECT_STREAMS_MAX),
            handles: Bounded::new(SUBJECT_STREAMS_MAX),
            tokens: Bounded::new(TENANT_TOKENS_MAX),
            forgotten: 0,
        }
    }

    pub(super) fn stream(&self, subject: &Subject) -> Option<Stream> {
        self.streams.get(subject).copied()
    }

    pub(super) fn streams(&mut self, subject: Subject, stream: Stream) {
        self.streams.put(subject, stream);
        self.say();
    }

    /// The key that takes this scope's bodies at `at`.
    pub(super) fn seal(&self, scope: &Scope, at: Time) -> Option<Arc<Seal>> {
        self.current.get(scope).filter(|seal| seal.takes(at)).cloned()
    }

    pub(super) fn seal_by(&self, session: SessionId) -> Option<Arc<Seal>> {
        self.by_session.get(&session).cloned()
    }

    /// The scope under which a new key may be made: of a subject that makes handles up without end, the one of all of them.
    pub(super) fn admitted(&mut self, scope: &Scope, at: Time) -> Scope {
        let Scope::Calls { tenant, principal, handle } = scope else { return scope.clone() };
        if handle.is_empty() {
            return scope.clone();
        }
        let subject = (tenant.clone(), principal.clone());
        let handles = self.handles.get_or_put(subject, || Handles { since: at, count: 0 });
        if at.micros_since(handles.since) >= SESSION_KEY_US {
            *handles = Handles { since: at, count: 0 };
        }
        if handles.count >= HANDLES_PER_SUBJECT_MAX {
            return Scope::Calls { tenant: tenant.clone(), principal: principal.clone(), handle: String::new() };
        }
        handles.count += 1;
        scope.clone()
    }

    /// No key of the scope that was admitted was made: its handle is none of those that got one.
    pub(super) fn not_made(&mut self, scope: &Scope) {
        let Scope::Calls { tenant, principal, handle } = scope else { return };
        if !handle.is_empty()
            && let Some(handles) = self.handles.get_mut(&(tenant.clone(), principal.clone()))
        {
            handles.count = handles.count.saturating_sub(1);
        }
    }

    /// A key was made.
    pub(super) fn sealed(&mut self, scope: Scope, seal: Arc<Seal>) {
        self.opened(Arc::clone(&seal));
        self.current.put(scope, seal);
        self.say();
    }

    /// A key was read.
    pub(super) fn opened(&mut self, seal: Arc<Seal>) {
        self.by_session.put(seal.session, seal);
        self.say();
    }

    /// Keys of tokens are read again: one of them may be what was purged.
    pub(super) fn forget(&mut self, sessions: &HashSet<SessionId>, streams: &HashSet<Stream>) {
        if !streams.is_empty() {
            self.streams.retain(|_, stream| !streams.contains(stream));
        }
        self.tokens = Bounded::new(TENANT_TOKENS_MAX);
        self.current.retain(|_, seal| !sessions.contains(&seal.session));
        self.by_session.retain(|known, _| !sessions.contains(known));
        self.forgotten += 1;
        self.say();
    }

    pub(super) fn tokens(&self, tenant: &str) -> Option<Arc<Tokens>> {
        self.tokens.get(&tenant.to_owned()).cloned()
    }

    pub(super) fn made_tokens(&mut self, tenant: &str, tokens: Arc<Tokens>) {
        self.tokens.put(tenant.into(), tokens);
        self.say();
    }

    fn say(&self) {
        metrics::gauge!("agentgate_session_keys").set(number(self.by_session.len()));
        metrics::gauge!("agentgate_subject_streams").set(number(self.streams.len()));
        metrics::gauge!("agentgate_tenant_token_keys").set(number(self.tokens.len()));
    }
}
