//! Status: how the control plane is, gathered from the rooms' doors. It changes nothing.

pub mod growth;
pub mod rpc;

use crate::approval::Approvals;
use crate::body::digest_bytes;
use crate::clock::Clock;
use crate::control::Control;
use crate::control::rpc::{kill_orders, mode_orders};
use crate::decide::Decide;
use crate::identity::{Identity, Served};
use crate::journal::Journal;
use crate::policy::Policy;
use crate::privacy::Privacy;
use crate::quota::Quota;
use crate::replica::Replicas;
use crate::retention::Retention;
use crate::transparency::Transparency;
use crate::webhook::Webhook;
use agentgate_core::id::Server;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use bytes::Bytes;
use growth::Growth;
use prost::Message as _;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

#[derive(Debug)]
pub struct Status {
    pub replica: String,
    pub started_at: Time,
    pub clock: Clock,
    pub journal: Arc<dyn Journal>,
    pub identity: Arc<Identity>,
    pub control: Arc<Control>,
    pub policy: Arc<Policy>,
    pub approvals: Arc<Approvals>,
    pub webhook: Arc<Webhook>,
    pub decide: Arc<Decide>,
    pub quota: Arc<Quota>,
    pub replicas: Arc<Replicas>,
    pub retention: Arc<Retention>,
    pub privacy: Arc<Privacy>,
    pub log: Arc<Transparency>,
    /// When the journal's first record was written.
    pub oldest: OnceLock<Time>,
    pub growth: Mutex<Growth>,
}

// === impl Status ===

impl Status {
    #[must_use]
    pub fn show(&self) -> v1::ShowStatusResponse {
        let served = self.identity.heard.served(self.clock.elapsed());
        let (granted, ungranted): (Vec<Served>, Vec<Served>) =
            served.into_iter().partition(|served| self.identity.grants(served));
        v1::ShowStatusResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            replica: self.replica.clone(),
            started_at_us: self.started_at.micros(),
            now_us: self.clock.now().micros(),
            policy: Some(self.policy()),
            journal: Some(self.journal()),
            filters: self.filters(),
            in_flight: self.decide.in_flight(),
            certificates: self.certificates(),
            unready: self.unready().unwrap_or_default(),
            orders: Some(self.orders()),
            approvals_pending: u64::try_from(self.approvals.pending()).unwrap_or(u64::MAX),
            routes: self.decide.routes(&granted),
            ungranted: self.decide.ungranted(&ungranted),
            webhook_trouble: self.webhook.trouble().unwrap_or_default(),
            quotas: self.quota.all(),
            replicas: self.replicas.all(),
            retention: Some(self.retention.shown()),
            privacy: self.privacy.modes(),
            log: None,
        }
    }

    /// The same with what is signed. A journal that cannot be read leaves that out, and says so itself.
    pub async fn show_with_log(&self) -> v1::ShowStatusResponse {
        self.look_at_oldest().await;
        v1::ShowStatusResponse { log: self.log.shown().await.ok(), ..self.show() }
    }

    /// No record ever goes, so that the first one is read once.
    async fn look_at_oldest(&self) {
        // To follow a journal that has nothing is to wait for its first record.
        if self.oldest.get().is_some() || self.journal.health().head == 0 {
            return;
        }
        let Ok(records) = self.journal.follow(0, 1).await else { return };
        if let Some(record) = records.first().and_then(|first| v1::Record::decode(first.bytes.clone()).ok()) {
            let _ = self.oldest.set(Time::from_micros(record.at_us));
        }
    }

    /// Why calls cannot be decided now. None: they can.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        if let Some(why) = self.journal.health().unavailable {
            return Some(format!("the journal cannot write: {why}"));
        }
        if self.policy.in_force(&self.control.now()).is_some() {
            return None;
        }
        let why = self.policy.refused().map_or_else(|| "its folder was not read yet".into(), |edit| edit.why);
        Some(format!("no policy is in force: {why}"))
    }

    fn policy(&self) -> v1::PolicyStatus {
        let mut status = v1::PolicyStatus::default();
        if let Some(now) = self.policy.in_force(&self.control.now()) {
            status.digest = digest_bytes(&now.bundle.digest());
            status.in_force_since_us = now.since.micros();
            status.rules = u32::try_from(now.bundle.rules()).unwrap_or(u32::MAX);
            status.cases = u32::try_from(now.bundle.cases()).unwrap_or(u32::MAX);
        }
        status.notices = self.notices();
        if let Some(edit) = self.policy.refused() {
            status.refused_edit = edit.why;
            status.refused_edit_at_us = edit.at.micros();
        }
        status
    }

    /// A server's name stands in three places, and one letter makes two servers of it.
    fn notices(&self) -> Vec<String> {
        let Some(now) = self.policy.in_force(&self.control.now()) else { return Vec::new() };
        let named: BTreeSet<&str> = now.bundle.servers().collect();
        let asked: BTreeSet<&str> = self.identity.servers().map(Server::as_str).collect();
        let unasked = named
            .difference(&asked)
            .map(|server| format!("tools.yaml names the server `{server}`, and no [[filter]] may ask for it"));
        let untold = asked.difference(&named).map(|server| {
            format!("tools.yaml has no tool of the server `{server}`: each call of one is refused once it is enforced")
        });
        let overruled =
            "another replica's policy is in force, and this replica's folder holds another; make the folders the same";
        let overruled = self.policy.is_overruled().then(|| overruled.to_owned());
        unasked.chain(untold).chain(overruled).collect()
    }

    fn orders(&self) -> v1::OrderStatus {
        let now = self.control.now();
        v1::OrderStatus { epoch: now.epochs.global, kills: kill_orders(&now), modes: mode_orders(&now) }
    }

    fn journal(&self) -> v1::JournalStatus {
        let health = self.journal.health();
        v1::JournalStatus {
            backend: health.backend.into(),
            head: health.head,
            bytes: health.bytes,
            free_bytes: health.free_bytes,
            full_in_days: health.free_bytes.and_then(|free| self.growth().full_in_days(free)),
            unavailable: health.unavailable.unwrap_or_default(),
            shared: self.journal.is_shared(),
            oldest_us: self.oldest.get().map_or(0, |at| at.micros()),
        }
    }

    /// Measures the journal for ever: how large it is, and when its file system is full.
    pub async fn measuring(self: Arc<Self>) {
        loop {
            self.measure();
            self.clock.sleep(growth::EVERY).await;
        }
    }

    fn measure(&self) {
        self.log.measure();
        let health = self.journal.health();
        let mut growth = self.growth();
        growth.measure(self.clock.elapsed(), health.bytes);
        let full_in_days = health.free_bytes.and_then(|free| growth.full_in_days(free));
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("agentgate_journal_bytes").set(health.bytes as f64);
        // An alert on few days left stays silent where none are counted.
        metrics::gauge!("agentgate_journal_full_in_days").set(full_in_days.unwrap_or(f64::INFINITY));
    }

    fn growth(&self) -> MutexGuard<'_, Growth> {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn filters(&self) -> Vec<v1::FilterStatus> {
        let status = |vm: &Arc<crate::identity::Vm>| v1::FilterStatus {
            asker: vm.asker.to_string(),
            epoch: Bytes::copy_from_slice(&vm.epoch.0),
            node: vm.node.clone(),
            filter_version: vm.version.clone(),
            last_heard_us: vm.heard_at().micros(),
            kept_epoch: vm.kept_epoch(),
            observations_lost: vm.observations_lost(),
        };
        self.identity.heard.all().iter().map(status).collect()
    }

    /// The certificates in force. A changed file that could not be used stands in front, as its own line.
    fn certificates(&self) -> Vec<v1::CertificateStatus> {
        let trouble = self.identity.trust.trouble().map(|why| v1::CertificateStatus {
            name: "not used".into(),
            subject: why,
            not_before_us: 0,
            not_after_us: 0,
        });
        let facts = self.identity.trust.certificates().into_iter().map(|facts| v1::CertificateStatus {
            name: facts.name.into(),
            subject: facts.subject,
            not_before_us: facts.not_before.micros(),
            not_after_us: facts.not_after.micros(),
        });
        trouble.into_iter().chain(facts).collect()
    }
}
