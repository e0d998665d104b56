//! Reports: what became of calls, and which ones the filter could not read. Each entry is acknowledged once its record is
//! durable, and recorded once however often it is reported.
//!
//! Only the asker itself can report: the call id is made of its own certificate and the epoch that it said hello with.

use super::hearing::{Hearing, Treatment, refusal};
use super::{ATTEMPTS_MAX, Decide, Question, Undecided, reading};
use crate::body::{self, Seal, Sealed, SessionId};
use crate::config::Filter;
use crate::identity;
use crate::journal::{Sequence, Stream};
use crate::privacy::{self, left_out};
use crate::session::{Draft, Ended, Setback, Source, outcome_id};
use agentgate_core::id::{CallId, Epoch, Server, Tenant};
use agentgate_proto::v1;
use agentgate_proto::v1::entry::What;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;

/// Who reports.
#[derive(Clone, Debug)]
pub struct Reporter {
    pub filter: Arc<Filter>,
    pub epoch: Epoch,
}

/// The call that an outcome belongs to.
struct Awaited {
    sequence: Sequence,
    stream: Stream,
    session: Option<SessionId>,
}

// === impl Decide ===

impl Decide {
    /// Records one entry. True: it is durable, was durable before, or can never be recorded; the filter may forget it.
    pub async fn report(&self, reporter: &Reporter, entry: v1::Entry) -> bool {
        let call = CallId { asker: reporter.filter.identity.clone(), epoch: reporter.epoch, counter: entry.counter };
        let result = match entry.what {
            Some(What::Outcome(outcome)) => self.outcome(&call, &outcome).await,
            Some(What::Refused(ask)) => self.gone_by(reporter, call, ask, &entry.reason, Treatment::Refused).await,
            Some(What::Observed(ask)) => self.gone_by(reporter, call, ask, &entry.reason, Treatment::Observed).await,
            None => {
                unmatched("empty");
                Ok(())
            }
        };
        if let Err(error) = &result {
            let detail = error.detail();
            tracing::warn!(%error, detail, "a report was not recorded; the filter will repeat it");
            metrics::counter!("agentgate_reports_failed_total").increment(1);
        }
        result.is_ok()
    }

    async fn outcome(&self, call: &CallId, outcome: &v1::Outcome) -> Result<(), Undecided> {
        if matches!(outcome.kind(), v1::OutcomeKind::Unspecified | v1::OutcomeKind::Unknown) {
            unmatched("kind");
            return Ok(());
        }
        match self.decision_of(call).await? {
            Some(decision) => self.end(call, &decision, outcome, Source::Reported).await,
            None => Ok(()),
        }
    }

    /// The allowed decision that waits for this outcome. None: there is none, or its outcome was reported before.
    async fn decision_of(&self, call: &CallId) -> Result<Option<Awaited>, Undecided> {
        let id = call.digest();
        if let Some(open) = self.session.open_call(&id) {
            return Ok(Some(Awaited { sequence: open.sequence, stream: open.stream, session: open.session }));
        }
        if self.session.reported(&id).await.map_err(super::record::unavailable)?.is_some() {
            return Ok(None);
        }
        let found = self.session.find(&id).await.map_err(super::record::unavailable)?;
        let Some(found) = found.filter(|found| found.was_sent_on()) else {
            unmatched("call");
            return Ok(None);
        };
        let session = found.record.body.as_ref().and_then(SessionId::of);
        Ok(Some(Awaited { sequence: found.sequence, stream: found.stream, session }))
    }

    /// Nobody reported this call in time.
    pub(super) async fn unknown(&self, open: &crate::session::OpenCall, detail: &str) -> Result<(), Undecided> {
        let outcome = v1::Outcome { kind: v1::OutcomeKind::Unknown.into(), detail: detail.into(), ..v1::Outcome::default() };
        let decision = Awaited { sequence: open.sequence, stream: open.stream, session: open.session };
        self.end(&open.call, &decision, &outcome, Source::Unknown).await
    }

    async fn end(&self, call: &CallId, decision: &Awaited, outcome: &v1::Outcome, source: Source) -> Result<(), Undecided> {
        let id = call.digest();
        let ended = Ended { call: id, decision: decision.sequence, kind: outcome.kind(), duration_us: outcome.duration_us };
        let _unfenced = self.bodies.unfenced().await;
        let seal = self.seal_of(decision.session).await?;
        let words = match &seal {
            Some(seal) => Some(self.words(seal, outcome).await),
            None => None,
        };
        let sealed = seal.as_ref().zip(words.as_ref()).map(|(seal, words)| seal.seal(words));
        let sealed = sealed.transpose().map_err(Undecided::Journal)?;
        let record = outcome_record(&ended, outcome, (sealed.as_ref(), words.as_ref()));
        let stored = sealed.map(|sealed| sealed.stored);
        let altered = words.and_then(|words| words.altered);
        for _ in 0..ATTEMPTS_MAX {
            let turn = self.session.turn_of(decision.stream).await.map_err(super::record::unavailable)?;
            // Reported to another replica meanwhile: whatever is reported from here on moves the stream.
            if source == Source::Unknown
                && let Some(reported) = self.session.reported(&id).await.map_err(super::record::unavailable)?
            {
                self.session.ended(&reported);
                return Ok(());
            }
            let at = self.session.moment();
            let encoded =
                v1::Record { at_us: at.micros(), what: Some(v1::record::What::Outcome(record.clone())) }.encode_to_vec();
            let draft = Draft {
                id: outcome_id(&id, source),
                record: encoded.into(),
                body: stored.clone(),
                fence: None,
                also: Vec::new(),
            };
            let bytes = draft.bytes();
            match turn.append(draft).await {
                Ok(_) => {
                    if let Some(tenant) = seal.as_ref().and_then(|seal| seal.tenant()) {
                        self.quota.write_off(tenant, bytes, at);
                    }
                    metrics::counter!("agentgate_outcomes_total", "kind" => kind(ended.kind)).increment(1);
                    privacy::count(altered.as_ref());
                    self.session.ended(&ended);
                    return Ok(());
                }
                Err(Setback::Duplicate(_)) => {
                    self.session.ended(&ended);
                    return Ok(());
                }
                Err(Setback::Moved | Setback::Fenced(_)) => {}
                Err(Setback::Journal(why) | Setback::Unknown(why)) => return Err(Undecided::Journal(why)),
            }
        }
        Err(Undecided::Contended)
    }

    /// The key of an outcome's call. None: that was erased meanwhile, and the outcome's words are erased with it.
    async fn seal_of(&self, session: Option<SessionId>) -> Result<Option<Arc<Seal>>, Undecided> {
        let Some(session) = session else { return Ok(None) };
        self.bodies.seal_by(session).await.map_err(super::record::unavailable)
    }

    /// What is kept of an outcome's words.
    async fn words(&self, seal: &Seal, outcome: &v1::Outcome) -> v1::OutcomeBody {
        let tenant = seal.tenant().map_or("", Tenant::as_str);
        let mut words = v1::OutcomeBody {
            detail: outcome.detail.clone(),
            hidden: outcome.hidden.clone(),
            result_digest: outcome.result_digest.clone(),
            tools: outcome.tools.clone(),
            tools_cut: outcome.tools_cut,
            altered: None,
        };
        match self.privacy.recording(tenant).await {
            Ok(altering) => altering.iter().for_each(|altering| altering.outcome(&mut words)),
            // The call has happened: that it ended is recorded, and nothing of what was said.
            Err(error) => {
                tracing::warn!(
                    error = agentgate_core::error::chain(&error),
                    "the body of an outcome was left out: what is personal cannot be taken out of it"
                );
                words = v1::OutcomeBody { altered: Some(left_out(self.privacy.of(tenant))), ..v1::OutcomeBody::default() };
            }
        }
        words
    }

    /// Nothing is known of a call whose caller its filter may not name; but whoever wants to enforce has to know that there are some.
    pub(super) fn of_nobody(&self, filter: &Filter, server: &str, treatment: Treatment, why: &identity::Refused) {
        metrics::counter!("agentgate_reports_unmatched_total", "why" => "subject").increment(1);
        let server = Server::try_from(server).ok().filter(|server| filter.servers.contains(server));
        if let Some(server) = server.filter(|_| treatment == Treatment::Observed) {
            self.routes.turned_away(&server, self.clock.now());
        }
        if let Some(more) = self.turned_away.told(self.clock.elapsed()) {
            tracing::warn!(%why, more, "a call that its filter decided by itself is of nobody whom that filter may name: it is on no record");
        }
    }

    /// A call about which its filter asked nobody: refused since it could not read it, or sent on since its route observes.
    /// It is read again by the same parser, decided and recorded.
    async fn gone_by(
        &self,
        reporter: &Reporter,
        call: CallId,
        ask: v1::Ask,
        said: &str,
        treatment: Treatment,
    ) -> Result<(), Undecided> {
        let caller = match identity::caller(&reporter.filter, &ask.server, &ask.peer, &ask.claims) {
            Ok(caller) => caller,
            Err(why) => {
                self.turned_away(&why);
                self.of_nobody(&reporter.filter, &ask.server, treatment, &why);
                return Ok(());
            }
        };
        if self.quota.admit(&caller.subject.tenant, self.session.moment()).is_err() {
            beyond_quota(treatment);
            return Ok(());
        }
        let read = if said.is_empty() && treatment == Treatment::Observed {
            reading::read(&ask, &self.limits)
        } else {
            reading::read_refused(&ask, said, &self.limits)
        };
        let Ok(reading) = read else {
            unmatched("ask");
            return Ok(());
        };
        let is_refusal = treatment == Treatment::Refused || reading.is_err();
        if is_refusal
            && let Some(mut counted) =
                self.flood.count(&caller.subject, refusal(&reading), (&call, ask.number), self.clock.elapsed(), self.clock.now())
        {
            let durable = counted.wait_for(|durable| *durable).await;
            return durable.map(|_| ()).map_err(|_| Undecided::Journal("the count that it went into is not on record".into()));
        }
        let deadline = self.clock.elapsed() + Duration::from_millis(self.limits.deadline_ms_max.into());
        let question = Question::new(Arc::clone(&reporter.filter), call, ask, deadline);
        let turn = self.heavy.turn(question.ask.body.len()).await.ok_or(Undecided::Draining)?;
        match self.record(&Hearing::new(&question, &caller, reading, treatment), Some(&turn)).await {
            Ok(_) => Ok(()),
            Err(Undecided::Reused) => {
                unmatched("reused");
                Ok(())
            }
            Err(Undecided::QuotaExceeded) => {
                beyond_quota(treatment);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn outcome_record(
    ended: &Ended,
    outcome: &v1::Outcome,
    (sealed, words): (Option<&Sealed>, Option<&v1::OutcomeBody>),
) -> v1::OutcomeRecord {
    v1::OutcomeRecord {
        call_id: body::digest_bytes(&ended.call),
        decision: ended.decision,
        kind: outcome.kind,
        http_status: outcome.http_status,
        result_bytes: outcome.result_bytes,
        result_commitment: sealed.zip(words).map(|(sealed, words)| sealed.commit(&words.result_digest)).unwrap_or_default(),
        duration_us: outcome.duration_us,
        shown: outcome.shown,
        body: sealed.map(|sealed| sealed.reference.clone()),
    }
}

/// A call that its filter decided by itself, and for which its tenant has no room on record today. It is acknowledged, or the
/// filter would keep it until the next day and lose others.
fn beyond_quota(treatment: Treatment) {
    match treatment {
        Treatment::Observed => metrics::counter!("agentgate_observations_lost_total").increment(1),
        Treatment::Asked | Treatment::Refused => unmatched("quota"),
    }
}

fn kind(kind: v1::OutcomeKind) -> &'static str {
    match kind {
        v1::OutcomeKind::Unspecified => "unspecified",
        v1::OutcomeKind::Completed => "completed",
        v1::OutcomeKind::Failed => "failed",
        v1::OutcomeKind::Cut => "cut",
        v1::OutcomeKind::NotReleased => "not_released",
        v1::OutcomeKind::Withheld => "withheld",
        v1::OutcomeKind::Unknown => "unknown",
    }
}

/// A report that belongs to nothing on record. It is acknowledged, or the filter would repeat it for ever.
fn unmatched(why: &'static str) {
    metrics::counter!("agentgate_reports_unmatched_total", "why" => why).increment(1);
    tracing::warn!(why, "a report belongs to no call on record");
}
