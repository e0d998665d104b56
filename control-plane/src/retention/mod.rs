//! Retention: what is erased and when, and what must not be. A purge is a record before it is anything else; then keys are erased,
//! and what they sealed is given back.
//!
//! A hold that was acknowledged before a purge is obeyed by it: both are orders under one epoch. The room refuses to erase
//! anything that a hold covers, and never erases orders, which are nobody's session.

mod carry;
mod named;
pub mod rpc;
mod streams;
mod sweep;
#[cfg(test)]
mod tests;
mod tokens;
mod view;

use crate::approval::Approvals;
use crate::body::{Bodies, Kept, KeyError, PURGES_UNFINISHED_MAX, Scope, Seal};
use crate::clock::Clock;
use crate::config;
use crate::control::{Ack, Control, Now, OrderError, Retaining, check_name};
use crate::journal::{AppendError, ReadError, Sequence};
use crate::privacy::Privacy;
use crate::session::Session;
use agentgate_core::digest::Digest;
use agentgate_core::id::{Principal, SpiffeId, Tenant};
use agentgate_core::retention::Extent;
use agentgate_core::time::Time;
use agentgate_proto::retention::extent_to_wire;
use agentgate_proto::v1;
use bytes::Bytes;
use named::Meant;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tokens::Going;
use view::last_call_us;

/// Sessions, or streams, that one record purges: 16 KiB of it, or 48 KiB.
pub const PURGED_PER_RECORD_MAX: usize = 1_024;

/// Sessions that one order purges; more are named in parts, by their time.
const PURGED_PER_ORDER_MAX: usize = 262_144;

/// How often one order is folded again because something was purged meanwhile.
const RETAIN_ATTEMPTS_MAX: u32 = 8;

#[derive(Clone, Debug, Error)]
pub enum RetentionError {
    #[error("{0}")]
    Malformed(String),
    #[error("nothing is kept of {0}; next: agentgate trace list")]
    Absent(String),
    #[error(
        "`[privacy]` redacts such handles in the tenant `{0}`, and others may have become the same; name the session by the 32 digits \
         that `agentgate trace show` gives"
    )]
    Redacted(Tenant),
    #[error(
        "`[privacy]` was another one once, and sessions under `{0}` may be of this handle too; name each session by the 32 digits \
         that `agentgate trace show` gives"
    )]
    OtherName(String),
    #[error("nobody is configured to call in the tenant `{0}`, and nothing of it is kept")]
    Stranger(Tenant),
    #[error("there is no hold {0}; next: agentgate hold list")]
    NoHold(Sequence),
    #[error("it is of {count} tenants ({names}); name one with --tenant")]
    Tenants { count: usize, names: String },
    #[error("HELD: the hold {hold} covers {what}; next: agentgate hold lift {hold} --reason TEXT")]
    Held { hold: Sequence, what: String },
    #[error("it is more than {PURGED_PER_ORDER_MAX} sessions; purge them in parts, with --before")]
    TooMany,
    #[error("{PURGES_UNFINISHED_MAX} purges are on record and could not be carried out yet; the control plane's log says why")]
    Crowded,
    #[error("something was purged {RETAIN_ATTEMPTS_MAX} times meanwhile; try again")]
    Contended,
    /// What was folded may name a key that was purged since.
    #[error("something was purged meanwhile")]
    Moved,
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error("a key cannot be had or erased")]
    Key(#[from] KeyError),
    #[error("the journal cannot be read")]
    Read(#[from] ReadError),
    #[error("what is erased cannot be given back yet")]
    GiveBack(#[source] AppendError),
    /// An order of several records, of which some are written.
    #[error("{sessions} of its sessions were erased for ever before it stopped ({}), and the rest was not", told(sequences))]
    Partly {
        sessions: u64,
        sequences: Vec<Sequence>,
        #[source]
        why: Box<RetentionError>,
    },
}

/// What is to be purged.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// None: of everybody.
    pub extent: Option<Extent>,
    /// Only sessions that took their last call before.
    pub before: Option<Time>,
    pub reason: String,
}

/// What a purge came to, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    pub sessions: u64,
    pub calls: u64,
    pub sequences: Vec<Sequence>,
    pub finished: bool,
    /// The key of a tenant's tokens goes too.
    pub tokens: bool,
    /// Or would, but for this hold.
    pub tokens_held: Option<Sequence>,
}

/// What the room is joined with.
#[derive(Clone, Debug)]
pub struct Rooms {
    pub bodies: Arc<Bodies>,
    pub control: Arc<Control>,
    pub session: Arc<Session>,
    pub approvals: Arc<Approvals>,
    pub privacy: Arc<Privacy>,
}

#[derive(Debug)]
pub struct Retention {
    rooms: Rooms,
    clock: Clock,
    config: config::Retention,
    /// In which somebody may call.
    tenants: BTreeSet<Tenant>,
    /// Purges are carried out one after the other.
    carrying: tokio::sync::Mutex<()>,
    /// Where the next sweep goes on, and what it found so far.
    swept: tokio::sync::Mutex<(Option<Digest>, v1::Outlook)>,
    /// And where it goes on through the slots that lead to streams.
    leads: tokio::sync::Mutex<Option<Digest>>,
    /// What the last one that came to its end found.
    outlook: Mutex<Option<v1::Outlook>>,
}

// === impl Retention ===

impl Retention {
    #[must_use]
    pub fn new(rooms: Rooms, clock: Clock, config: config::Retention, tenants: BTreeSet<Tenant>) -> Self {
        let (carrying, leads) = (tokio::sync::Mutex::default(), tokio::sync::Mutex::default());
        let (swept, outlook) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { rooms, clock, config, tenants, carrying, swept, leads, outlook }
    }

    /// The hold's number, and its order.
    ///
    /// # Errors
    /// When what is meant is not known, or the order cannot be recorded.
    pub async fn place(&self, extent: &Extent, reason: &str, by: &SpiffeId) -> Result<(Sequence, Ack), RetentionError> {
        wanted(reason, "a hold")?;
        // A session's key is kept under its handle as it was altered: that may be held. Nobody's identity is altered.
        if let Some(principal) = extent.principal() {
            check_name("principal", principal.as_str(), "write it as its identity has it")?;
        }
        for _ in 0..RETAIN_ATTEMPTS_MAX {
            let seen = self.rooms.control.now().purges;
            let (extent, key) = self.key_of(&self.as_kept(extent, Meant::ToHold).await?).await?;
            let placed = self.rooms.control.retain(key.as_deref(), |now| {
                unmoved(now, seen)?;
                let body = v1::HoldBody { extent: Some(extent_to_wire(&extent)), reason: reason.into(), by: by.to_string() };
                Ok(number_of(now, &extent).is_none().then_some(Retaining::Place(body)))
            });
            match placed.await {
                Err(RetentionError::Moved) => {}
                Ok(ack) if ack.changed => return Ok((ack.sequence, ack)),
                // It may have been lifted since: then it is placed anew.
                Ok(ack) => {
                    if let Some(hold) = number_of(&self.rooms.control.now(), &extent) {
                        return Ok((hold, ack));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(RetentionError::Contended)
    }

    /// # Errors
    /// When there is no such hold, or the order cannot be recorded.
    pub async fn lift(&self, hold: Sequence, reason: &str, by: &SpiffeId) -> Result<Ack, RetentionError> {
        wanted(reason, "lifting a hold")?;
        // Another replica may have placed it.
        self.rooms.control.catch_up().await.map_err(OrderError::from)?;
        let now = self.rooms.control.now();
        let held = now.holds.get(&hold).ok_or(RetentionError::NoHold(hold))?;
        // Whoever erases what was held erases what was said of it. Of a hold that nobody can read, the key is gone.
        let key = match held.key {
            Some(key) => self.rooms.bodies.seal_by(key).await?,
            None => None,
        };
        let body = v1::HoldBody { extent: held.extent.as_ref().map(extent_to_wire), reason: reason.into(), by: by.to_string() };
        let lifted = self.rooms.control.retain(key.as_deref(), |now| {
            let lift = || Retaining::Lift { hold, body: body.clone() };
            Ok::<_, RetentionError>(now.holds.contains_key(&hold).then(lift))
        });
        lifted.await
    }

    /// How long what is kept is, and what is next.
    #[must_use]
    pub fn shown(&self) -> v1::RetentionStatus {
        let tenant = |(tenant, days): (&Tenant, &u32)| v1::TenantRetention { tenant: tenant.to_string(), days: *days };
        v1::RetentionStatus {
            days: self.config.days,
            tenants: self.config.tenants.iter().map(tenant).collect(),
            holds: u32::try_from(self.rooms.control.now().holds.len()).unwrap_or(u32::MAX),
            outlook: *self.outlook.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Those in force, the oldest first.
    #[must_use]
    pub fn holds(&self) -> Vec<v1::Hold> {
        let hold = |(number, hold): (&Sequence, &crate::control::Hold)| v1::Hold {
            hold: *number,
            extent: hold.extent.as_ref().map(extent_to_wire),
            reason: hold.order.reason.clone(),
            by: hold.order.by.clone(),
            at_us: hold.order.at.micros(),
        };
        self.rooms.control.now().holds.iter().map(hold).collect()
    }

    /// Purges what is wanted, or nothing: if a hold covers some of it, it is refused whole.
    ///
    /// # Errors
    /// When it is held, cannot be told apart, or cannot be recorded.
    pub async fn purge(&self, purge: &Wanted, by: &SpiffeId, dry_run: bool) -> Result<Purged, RetentionError> {
        if purge.extent.is_none() && purge.before.is_none() {
            return Err(RetentionError::Malformed(
                "it does not say what is meant: name a session, a principal, a tenant or a time".into(),
            ));
        }
        if !dry_run {
            wanted(&purge.reason, "a purge")?;
        }
        let extent = match &purge.extent {
            Some(extent) => Some(self.as_kept(extent, Meant::ToPurge).await?),
            None => None,
        };
        let purge = &Wanted { extent, ..purge.clone() };
        let words = v1::PurgeBody { reason: purge.reason.clone(), by: by.to_string() };
        let mut purged = Purged { finished: true, ..Purged::default() };
        let mut subjects = BTreeSet::new();
        match self.purge_what_is_left(purge, &words, &mut purged, &mut subjects, dry_run).await {
            Ok(()) => {}
            Err(why) if purged.sequences.is_empty() => return Err(why),
            Err(why) => return Err(purged.stopped(why)),
        }
        if dry_run {
            return Ok(purged);
        }
        if let Err(error) = self.forget_subjects(&subjects, &words, &mut purged).await {
            self.trouble(&error);
            purged.finished = false;
        }
        Ok(purged)
    }

    /// Looks again whenever somebody else purged meanwhile.
    async fn purge_what_is_left(
        &self,
        purge: &Wanted,
        words: &v1::PurgeBody,
        purged: &mut Purged,
        subjects: &mut BTreeSet<(Tenant, Principal)>,
        dry_run: bool,
    ) -> Result<(), RetentionError> {
        let mut attempts = 0;
        while attempts < RETAIN_ATTEMPTS_MAX {
            let seen = self.rooms.control.now().purges;
            let chosen = self.chosen(purge).await?;
            check_held(&self.rooms.control.now(), &chosen)?;
            let (calls, going) = (self.count(&chosen).await?, self.going(purge).await?);
            (purged.tokens, purged.tokens_held) = (going.goes(), going.held());
            if dry_run {
                (purged.sessions, purged.calls) = (chosen.len() as u64, calls);
                return Ok(());
            }
            subjects.extend(streams::subjects_of(purge.extent.as_ref(), &chosen));
            let written = purged.sequences.len();
            match self.purge_all((&chosen, &going), seen, words, purged).await {
                // Of two large orders at two replicas each is stopped by each record of the other, and both come to their end.
                Err(RetentionError::Moved) if purged.sequences.len() > written => attempts = 0,
                Err(RetentionError::Moved) => attempts += 1,
                told => {
                    purged.calls += calls;
                    return told;
                }
            }
        }
        Err(RetentionError::Contended)
    }

    /// Record by record, each carried out before the next one.
    async fn purge_all(
        &self,
        (chosen, going): (&[Kept], &Going),
        mut seen: u64,
        words: &v1::PurgeBody,
        purged: &mut Purged,
    ) -> Result<(), RetentionError> {
        let mut parts: Vec<&[Kept]> = chosen.chunks(PURGED_PER_RECORD_MAX).collect();
        if parts.is_empty() && going.goes() {
            parts.push(&[]);
        }
        let last = parts.len().saturating_sub(1);
        for (number, part) in parts.into_iter().enumerate() {
            let draft = |now: &Now| {
                unmoved(now, seen)?;
                check_held(now, part)?;
                // With the last sessions: as long as some of them are left, so is what their tokens stood for.
                let tokens = if number == last { going.to_wire(now)? } else { Bytes::new() };
                Ok((part.to_vec(), tokens))
            };
            let ack = self.order(part, Some(words), draft).await?;
            seen += 1;
            purged.sessions += part.len() as u64;
            purged.sequences.push(ack.sequence);
            if let Err(error) = self.carry_out().await {
                // It is on record: what was not erased yet is, as soon as the journal takes it.
                self.trouble(&error);
                purged.finished = false;
            }
        }
        Ok(())
    }

    /// Writes the record of a purge of what `draft` leaves of `part`, and of a key of tokens, and erases nothing. Without words nobody ordered it: it is
    /// as old as it may get.
    async fn order(
        &self,
        part: &[Kept],
        words: Option<&v1::PurgeBody>,
        draft: impl Fn(&Now) -> Result<(Vec<Kept>, Bytes), RetentionError>,
    ) -> Result<Ack, RetentionError> {
        let since_us = part.iter().map(|kept| kept.since_us).min().unwrap_or_default();
        let until_us = part.iter().map(last_call_us).max().unwrap_or_default();
        let record = |now: &Now| {
            let (kept, tokens) = draft(now)?;
            let sessions = kept.iter().map(|kept| Bytes::copy_from_slice(&kept.session.0)).collect();
            Ok(v1::PurgeRecord { sessions, since_us, until_us, tokens, ..v1::PurgeRecord::default() })
        };
        self.write(words, record).await
    }

    /// Writes this purge, if it names anything.
    async fn write(
        &self,
        words: Option<&v1::PurgeBody>,
        draft: impl Fn(&Now) -> Result<v1::PurgeRecord, RetentionError>,
    ) -> Result<Ack, RetentionError> {
        if self.rooms.bodies.unfinished_purges() >= PURGES_UNFINISHED_MAX {
            return Err(RetentionError::Crowded);
        }
        let cause = if words.is_some() { v1::PurgeCause::Ordered } else { v1::PurgeCause::Retention };
        let ack = self.rooms.control.retain(None, |now| {
            let purge = v1::PurgeRecord { cause: cause.into(), ..draft(now)? };
            let is_empty = purge.sessions.is_empty() && purge.streams.is_empty() && purge.tokens.is_empty();
            Ok::<_, RetentionError>((!is_empty).then(|| Retaining::Purge { purge, body: words.cloned() }))
        });
        let ack = ack.await?;
        if ack.changed {
            metrics::counter!("agentgate_purges_total", "cause" => cause_name(cause)).increment(1);
        }
        Ok(ack)
    }

    /// What a hold of this is sealed under, so that it is forgotten with what it holds; none: it names nobody. And what it
    /// means, with its tenant.
    async fn key_of(&self, extent: &Extent) -> Result<(Extent, Option<Arc<Seal>>), RetentionError> {
        if let (None, None, Some(tenant)) = (extent.session(), extent.principal(), extent.tenant()) {
            self.check_tenant(tenant).await?;
            return Ok((extent.clone(), None));
        }
        let covered = self.covered(Some(extent), None).await?;
        if let Some(newest) = covered.iter().max_by_key(|kept| kept.since_us) {
            let extent = extent.clone().in_tenant(one_tenant(extent, &covered)?);
            if let (None, Some(principal)) = (extent.session(), extent.principal()) {
                let tenant = newest.whose.tenant.clone();
                let scope = Scope::Calls { tenant, principal: principal.clone(), handle: String::new() };
                return Ok((extent, Some(self.rooms.bodies.seal(&scope, self.clock.now()).await?)));
            }
            let key = self.rooms.bodies.seal_by(newest.session).await?.ok_or(RetentionError::Moved)?;
            return Ok((extent, Some(key)));
        }
        let (None, Some(principal), Some(tenant)) = (extent.session(), extent.principal(), extent.tenant()) else {
            return Err(RetentionError::Absent(extent.to_string()));
        };
        self.check_tenant(tenant).await?;
        let scope = Scope::Calls { tenant: tenant.clone(), principal: principal.clone(), handle: String::new() };
        Ok((extent.clone(), Some(self.rooms.bodies.seal(&scope, self.clock.now()).await?)))
    }

    /// A tenant that is misspelt would hold nothing, and nobody would notice.
    async fn check_tenant(&self, tenant: &Tenant) -> Result<(), RetentionError> {
        if self.tenants.contains(tenant) {
            return Ok(());
        }
        let of_it = Extent::new(Some(tenant.clone()), None, None);
        if self.covered(of_it.as_ref(), None).await?.is_empty() {
            return Err(RetentionError::Stranger(tenant.clone()));
        }
        Ok(())
    }

    fn trouble(&self, error: &RetentionError) {
        metrics::counter!("agentgate_purges_delayed_total").increment(1);
        let error = agentgate_core::error::chain(error);
        tracing::warn!(error, "a purge is on record and not carried out yet; it is tried again");
    }
}

// === impl Purged ===

impl Purged {
    /// What was erased is erased, whatever stopped the rest.
    fn stopped(self, why: RetentionError) -> RetentionError {
        RetentionError::Partly { sessions: self.sessions, sequences: self.sequences, why: Box::new(why) }
    }
}

fn told(sequences: &[Sequence]) -> String {
    sequences.iter().map(|sequence| format!("#{sequence}")).collect::<Vec<_>>().join(" ")
}

/// People will ask.
fn wanted(reason: &str, what: &str) -> Result<(), RetentionError> {
    if reason.trim().is_empty() {
        return Err(RetentionError::Malformed(format!("{what} needs a reason: people will ask")));
    }
    Ok(())
}

/// Nothing was purged since.
fn unmoved(now: &Now, seen: u64) -> Result<(), RetentionError> {
    if now.purges == seen { Ok(()) } else { Err(RetentionError::Moved) }
}

/// The hold in force of this very extent.
fn number_of(now: &Now, extent: &Extent) -> Option<Sequence> {
    now.holds.iter().find(|(_, hold)| hold.extent.as_ref() == Some(extent)).map(|(number, _)| *number)
}

fn check_held(now: &Now, chosen: &[Kept]) -> Result<(), RetentionError> {
    let held = chosen.iter().find_map(|kept| now.hold(&kept.whose));
    let Some((hold, of)) = held else { return Ok(()) };
    let what = of.extent.as_ref().map_or_else(|| "everything, since it cannot be read".to_owned(), ToString::to_string);
    Err(RetentionError::Held { hold, what })
}

/// A name that is known in several tenants means nobody in particular.
fn one_tenant(extent: &Extent, kept: &[Kept]) -> Result<Tenant, RetentionError> {
    let tenants: BTreeSet<&Tenant> = kept.iter().map(|kept| &kept.whose.tenant).collect();
    match (tenants.len(), tenants.first()) {
        (1, Some(tenant)) => Ok((*tenant).clone()),
        (0, _) | (_, None) => Err(RetentionError::Absent(extent.to_string())),
        (count, Some(_)) => {
            let names: Vec<&str> = tenants.iter().take(8).map(|tenant| tenant.as_str()).collect();
            Err(RetentionError::Tenants { count, names: names.join(", ") })
        }
    }
}

fn cause_name(cause: v1::PurgeCause) -> &'static str {
    match cause {
        v1::PurgeCause::Unspecified => "unspecified",
        v1::PurgeCause::Ordered => "ordered",
        v1::PurgeCause::Retention => "retention",
    }
}
