//! Admission: how many calls are under way, and who is next. Bounded for each tenant and subject, and fair: tenants take
//! turns, and in a tenant its subjects do. One call too many is refused at once, never queued.

use super::Undecided;
use crate::clock::Clock;
use crate::config::Limits;
use crate::identity::Subject;
use agentgate_core::id::{Principal, Tenant};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

#[derive(Debug)]
pub struct Admission(Arc<Mutex<Queue>>);

#[derive(Debug)]
struct Queue {
    per_tenant_max: u32,
    per_subject_max: u32,
    deciding_max: u32,
    deciding: u32,
    tenants: HashMap<Tenant, TenantCalls>,
    /// Tenants with a call that waits, in the order of their turns.
    turns: VecDeque<Tenant>,
}

#[derive(Debug, Default)]
struct TenantCalls {
    in_flight: u32,
    subjects: HashMap<Principal, SubjectCalls>,
    /// Subjects with a call that waits, in the order of their turns.
    turns: VecDeque<Principal>,
}

#[derive(Debug, Default)]
struct SubjectCalls {
    in_flight: u32,
    waiting: VecDeque<oneshot::Sender<()>>,
}

/// One call's place: counted until it is dropped.
#[derive(Debug)]
pub struct Place {
    queue: Arc<Mutex<Queue>>,
    subject: Subject,
    /// Some: still waiting to be let on.
    waiting: Option<oneshot::Receiver<()>>,
}

// === impl Admission ===

impl Admission {
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self(Arc::new(Mutex::new(Queue {
            per_tenant_max: limits.in_flight_per_tenant_max,
            per_subject_max: limits.in_flight_per_subject_max,
            deciding_max: limits.deciding_max,
            deciding: 0,
            tenants: HashMap::new(),
            turns: VecDeque::new(),
        })))
    }

    /// Resolves when it is this call's turn.
    ///
    /// # Errors
    /// At once when there are too many already; at the deadline when its turn did not come.
    pub async fn enter(&self, subject: &Subject, clock: &Clock, deadline: Duration) -> Result<Place, Undecided> {
        let waiting = lock(&self.0).enter(subject)?;
        let mut place = Place { queue: Arc::clone(&self.0), subject: subject.clone(), waiting };
        if let Some(turn) = &mut place.waiting {
            clock.before(deadline, turn).await.ok_or(Undecided::Expired)?.map_err(|_| Undecided::Draining)?;
            place.waiting = None;
        }
        if clock.elapsed() >= deadline { Err(Undecided::Expired) } else { Ok(place) }
    }

    /// Calls under way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        lock(&self.0).tenants.values().map(|tenant| u64::from(tenant.in_flight)).sum()
    }
}

// === impl Queue ===

impl Queue {
    fn enter(&mut self, subject: &Subject) -> Result<Option<oneshot::Receiver<()>>, Undecided> {
        let tenant = self.tenants.entry(subject.tenant.clone()).or_default();
        if tenant.in_flight >= self.per_tenant_max {
            return Err(Undecided::Overloaded { what: "the tenant's share", max: self.per_tenant_max });
        }
        let calls = tenant.subjects.entry(subject.principal.clone()).or_default();
        if calls.in_flight >= self.per_subject_max {
            return Err(Undecided::Overloaded { what: "the subject's share", max: self.per_subject_max });
        }
        tenant.in_flight += 1;
        calls.in_flight += 1;
        metrics::gauge!("agentgate_calls_in_flight").increment(1.0);
        if self.deciding < self.deciding_max {
            self.deciding += 1;
            self.say();
            return Ok(None);
        }
        let (sender, receiver) = oneshot::channel();
        if tenant.turns.is_empty() {
            self.turns.push_back(subject.tenant.clone());
        }
        if calls.waiting.is_empty() {
            tenant.turns.push_back(subject.principal.clone());
        }
        calls.waiting.push_back(sender);
        Ok(Some(receiver))
    }

    /// One call is through: the next one may begin, if any still waits.
    fn next(&mut self) {
        while let Some(waiting) = self.pop() {
            if waiting.send(()).is_ok() {
                return;
            }
        }
        self.deciding = self.deciding.saturating_sub(1);
        self.say();
    }

    fn say(&self) {
        metrics::gauge!("agentgate_calls_deciding").set(f64::from(self.deciding));
    }

    fn pop(&mut self) -> Option<oneshot::Sender<()>> {
        loop {
            let name = self.turns.pop_front()?;
            let Some(tenant) = self.tenants.get_mut(&name) else { continue };
            let next = tenant.pop();
            if !tenant.turns.is_empty() {
                self.turns.push_back(name);
            }
            if next.is_some() {
                return next;
            }
        }
    }

    fn leave(&mut self, subject: &Subject) {
        metrics::gauge!("agentgate_calls_in_flight").decrement(1.0);
        let Some(tenant) = self.tenants.get_mut(&subject.tenant) else { return };
        tenant.in_flight = tenant.in_flight.saturating_sub(1);
        if let Some(calls) = tenant.subjects.get_mut(&subject.principal) {
            calls.in_flight = calls.in_flight.saturating_sub(1);
            if calls.in_flight == 0 {
                tenant.subjects.remove(&subject.principal);
                tenant.turns.retain(|principal| *principal != subject.principal);
            }
        }
        if tenant.in_flight == 0 {
            self.tenants.remove(&subject.tenant);
            self.turns.retain(|tenant| *tenant != subject.tenant);
        }
    }
}

impl TenantCalls {
    fn pop(&mut self) -> Option<oneshot::Sender<()>> {
        loop {
            let principal = self.turns.pop_front()?;
            let Some(calls) = self.subjects.get_mut(&principal) else { continue };
            let next = calls.waiting.pop_front();
            if !calls.waiting.is_empty() {
                self.turns.push_back(principal);
            }
            if next.is_some() {
                return next;
            }
        }
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let let_on = match &mut self.waiting {
            None => true,
            // Closed first: after that nobody can be let on who is not here to see it.
            Some(turn) => {
                turn.close();
                turn.try_recv().is_ok()
            }
        };
        let mut queue = lock(&self.queue);
        queue.leave(&self.subject);
        if let_on {
            queue.next();
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
