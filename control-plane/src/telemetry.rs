//! What the process says of itself: log lines to stderr, and metrics for Prometheus. Names end with their unit.

use metrics::Gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use tracing::Level;

/// Buckets of every duration, in seconds: fine around the half millisecond that an ask is to take.
const DURATION_BUCKETS: [f64; 14] =
    [0.0001, 0.0002, 0.0003, 0.0004, 0.0005, 0.00075, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

/// Every metric, by name and meaning.
const COUNTERS: &[(&str, &str)] = &[
    ("agentgate_asks_total", "Asks by what was answered: a verdict (allow, pending, deny), or the cause for which there is none"),
    ("agentgate_outcomes_total", "Outcomes recorded, by kind"),
    ("agentgate_decisions_folded_again_total", "Decisions taken again, because the subject or the policy moved"),
    ("agentgate_malformed_counted_total", "Unreadable calls beyond the rate, counted into one record for an interval"),
    ("agentgate_reports_failed_total", "Report entries that were not recorded and will be repeated"),
    ("agentgate_reports_unmatched_total", "Report entries that belong to no call on record, by why"),
    ("agentgate_rpcs_refused_total", "Rpcs refused because of who called"),
    ("agentgate_handshakes_failed_total", "Connections whose TLS handshake failed or took too long"),
    ("agentgate_connections_total", "Connections accepted, by listener"),
    ("agentgate_connections_cut_total", "Connections that were cut because they took too long, by listener"),
    ("agentgate_certificate_reloads_failed_total", "Changed certificate files that could not be used"),
    ("agentgate_approvals_decided_total", "Approvals that were granted or denied, by answer"),
    ("agentgate_observations_lost_total", "Calls that a filter sent on unasked and had no room to tell of"),
    ("agentgate_policy_edits_refused_total", "Contents of the policy folder that were not put in force"),
    ("agentgate_pii_altered_total", "Parts of bodies that were redacted or tokenised as they were recorded, by kind"),
    ("agentgate_bodies_left_out_total", "Bodies that were left out because what is personal could not be taken out of them"),
    ("agentgate_purges_total", "Purges on record, by cause"),
    ("agentgate_session_keys_erased_total", "Sessions whose keys were erased"),
    ("agentgate_subjects_forgotten_total", "Subjects of whom nothing was kept and whose stream is found no more"),
    ("agentgate_bodies_given_back_total", "Bodies whose space was given back after a purge"),
    ("agentgate_sessions_kept_by_holds_total", "Sessions that a sweep would have erased, and a hold kept"),
    ("agentgate_sweeps_failed_total", "Sweeps for sessions that are over that failed; all are tried again"),
    ("agentgate_authz_unconfigured_total", "Questions of Envoy's ext_authz that its configuration does not fit"),
    ("agentgate_records_not_followed_total", "Times that the records of other replicas could not be followed, by reason"),
    ("agentgate_purges_delayed_total", "Purges that could not be carried out at once; all are tried again"),
    ("agentgate_quota_refused_total", "Calls refused because their tenant's share of the journal was used up"),
    ("agentgate_webhook_messages_total", "Messages to approvers that are over, by end: sent, failed, dropped or erased"),
    ("agentgate_witness_answers_total", "Questions to witnesses, by end: cosigned, failed, fork"),
    ("agentgate_anchors_total", "Checkpoints that were anchored"),
    ("agentgate_anchor_attempts_failed_total", "Attempts to anchor a checkpoint that failed; all are tried again"),
    ("agentgate_webhook_attempts_failed_total", "Attempts to tell approvers that failed; most are tried again"),
];
const GAUGES: &[(&str, &str)] = &[
    ("agentgate_calls_in_flight", "Calls waiting or being decided; bounded by limits.in_flight_per_tenant_max a tenant"),
    (
        "agentgate_connections",
        "Open connections, by listener; bounded by limits.connections_max each, by limits.metrics_connections_max for metrics",
    ),
    ("agentgate_streams", "Open rpcs, by listener; bounded by limits.streams_per_connection_max a connection"),
    ("agentgate_open_calls", "Allowed calls without an outcome; bounded by limits.open_calls_max"),
    ("agentgate_indexed_traces", "Traces in the index of queries; bounded by limits.indexed_traces_max"),
    ("agentgate_early_outcomes", "Outcomes met before their decision while the index of traces is built"),
    ("agentgate_recent_traces", "Traces in memory; bounded by limits.recent_traces_max"),
    ("agentgate_subjects", "Subjects whose version is in memory; bounded by limits.subjects_max"),
    ("agentgate_calls_deciding", "Calls being decided; bounded by limits.deciding_max"),
    ("agentgate_calls_joined", "Repeated asks that wait for the first one's answer"),
    ("agentgate_heavy_calls", "Calls with a large body that are read or judged"),
    ("agentgate_messages_under_way", "Asks, listings and reports under way; bounded by limits.messages_per_stream_max a stream"),
    ("agentgate_messages_said", "Answers that wait for their stream"),
    ("agentgate_flood_subjects", "Subjects whose rate of unreadable calls is watched; the oldest is forgotten first"),
    (
        "agentgate_flood_leftover",
        "Counts that wait to be recorded: those of forgotten subjects, and those that a sweep has in hand",
    ),
    ("agentgate_recent_calls", "Answers in memory for repeated asks; bounded by limits.recent_calls_max"),
    ("agentgate_session_keys", "Sessions whose key is in memory; bounded, and read again or made anew beyond"),
    ("agentgate_subject_streams", "Subjects whose stream is in memory; bounded likewise"),
    ("agentgate_evidence_gatherings", "Gatherings of evidence under way"),
    ("agentgate_ungranted_servers", "Servers that filters gate and their [[filter]] does not name"),
    ("agentgate_records_ahead", "Records of this replica that are known before those in front of them"),
    ("agentgate_records_behind", "Records of the journal that this replica has not followed yet"),
    ("agentgate_tenant_token_keys", "Tenants whose key of tokens is in memory; bounded, and read again beyond"),
    ("agentgate_holds", "Holds in force; bounded by limits.holds_max"),
    ("agentgate_purges_unfinished", "Purges on record that are not carried out yet"),
    ("agentgate_quota_tenants", "Tenants that have a quota of the journal"),
    ("agentgate_quota_used_ratio", "How much of its quota that tenant used today that used most"),
    ("agentgate_replicas", "Replicas of the journal that were heard of lately"),
    ("agentgate_replica_doubled", "1 where another replica has this one's name"),
    ("agentgate_log_witnessed_size", "Records under the newest checkpoint that a witness cosigned"),
    ("agentgate_witness_forks", "Witnesses that saw another log than this one"),
    ("agentgate_log_size", "Records under the newest signed root of the transparency log"),
    (
        "agentgate_log_rolled_back",
        "1: the log's directory, the journal's own slot or a witness remembers more signed records than the journal has; alert on it",
    ),
    (
        "agentgate_log_waiting_seconds",
        "For how long records wait for a signed root while the log gets no further; measured every minute and with each failure; alert on it",
    ),
    (
        "agentgate_log_memory_damaged",
        "Files of what was signed that were no checkpoints of their key at a start; a rollback may not have been noticed; alert on it",
    ),
    ("agentgate_journal_halted", "1: the journal contradicts what was signed, and nothing is written any more"),
    ("agentgate_journal_queued_changes", "Changes that wait for the journal's writer; bounded, and refused as overloaded beyond"),
    ("agentgate_journal_queued_bytes", "What they weigh together; bounded likewise"),
    ("agentgate_journal_bytes", "What the journal has written and not given back"),
    (
        "agentgate_journal_full_in_days",
        "Until its file system is full, at the pace of the last hours; +Inf: it does not grow, or is not known yet",
    ),
    ("agentgate_journal_queued_discards", "Discards that wait, and bodies whose erasure failed and is tried again; both bounded"),
    ("agentgate_journal_queued_slots", "Slots that wait to be set; bounded, and refused as overloaded beyond"),
    (
        "agentgate_journal_overlay_entries",
        "Durable records and bodies that the index does not know yet; at the bound the writer waits for it",
    ),
    ("agentgate_journal_known_streams", "Streams whose version the writer knows by heart"),
    ("agentgate_journal_known_ids", "Ids that the writer knows by heart, and their families"),
    (
        "agentgate_journal_forked",
        "1: the journal's store is another one than before, and nothing is written any more; alert on it",
    ),
    ("agentgate_journal_reads", "Reads under way; more wait"),
    ("agentgate_journal_open_files", "Segments that readers hold open, by kind"),
    ("agentgate_filter_vms", "Filter VMs remembered, the silent ones too; the oldest is forgotten first"),
    ("agentgate_tails", "Operators that follow traces; bounded by limits.tails_max"),
    ("agentgate_histories", "Readings of the past under way, by kind; a scan too many is refused, an explanation waits"),
    ("agentgate_control_epoch", "The control epoch: how many orders there were, policies among them"),
    ("agentgate_kills", "Kills in force; bounded by limits.kills_max"),
    ("agentgate_modes", "Orders to enforce or observe, in force; bounded by limits.modes_max"),
    ("agentgate_approvals", "Approvals in memory; those that are not over are bounded by limits.approvals_max"),
    ("agentgate_webhook_waiting", "Messages to approvers that wait for their next attempt; at the bound the oldest is dropped"),
];

/// One of what a gauge counts, until it is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

/// Log lines of `level` and above go to stderr. Only the first call counts.
pub fn log(level: Level) {
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).with_ansi(false).finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// The process's metrics. Several control planes in one process, as in tests, share them.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let recorder = builder
            .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".into()), &DURATION_BUCKETS)
            .unwrap_or_default()
            .build_recorder();
        let handle = recorder.handle();
        let _ = metrics::set_global_recorder(recorder);
        describe();
        handle
    })
}

/// A count as a gauge takes it.
pub fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn describe() {
    for (name, meaning) in COUNTERS {
        metrics::describe_counter!(*name, *meaning);
    }
    for (name, meaning) in GAUGES {
        metrics::describe_gauge!(*name, *meaning);
    }
    metrics::describe_histogram!("agentgate_ask_duration_seconds", "From an ask's arrival to its durable answer");
    metrics::describe_histogram!("agentgate_log_duration_seconds", "From a record's time to the signed root that it is under");
}

// === impl Counted ===

impl Counted {
    #[must_use]
    pub fn by(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;
    use std::task::{Context, Waker};

    /// What the gauge shows to whoever asks for it.
    struct Shown(PrometheusHandle);

    impl Shown {
        fn is(&self, wanted: f64, when: &str) {
            let shown = self.0.render();
            let value = shown.lines().find_map(|line| line.strip_prefix("counted ")).map(|value| value.parse::<f64>().unwrap());
            assert_eq!(value, Some(wanted), "{when}");
        }
    }

    /// With a recorder of this thread's own.
    fn recorded(test: impl FnOnce(&Shown)) {
        let recorder = PrometheusBuilder::new().build_recorder();
        let shown = Shown(recorder.handle());
        metrics::with_local_recorder(&recorder, || test(&shown));
    }

    fn counted() -> Counted {
        Counted::by(metrics::gauge!("counted"))
    }

    #[test]
    fn what_is_counted_is_counted_for_as_long_as_it_is_there() {
        recorded(|shown| {
            let first = counted();
            shown.is(1.0, "one");
            let second = counted();
            shown.is(2.0, "two");
            drop(first);
            shown.is(1.0, "one is gone");
            drop(second);
            shown.is(0.0, "both are");
        });
    }

    #[test]
    fn a_future_that_nobody_waits_for_any_more_is_not_counted() {
        recorded(|shown| {
            let mut work = Box::pin(async {
                let _counted = counted();
                std::future::pending::<()>().await;
            });
            assert!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            shown.is(1.0, "under way");
            drop(work);
            shown.is(0.0, "given up");
            let mut done = pin!(async { drop(counted()) });
            assert!(done.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
            shown.is(0.0, "done");
        });
    }

    #[test]
    fn a_panic_takes_its_count_along() {
        recorded(|shown| {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let _counted = counted();
                shown.is(1.0, "before");
                panic!("as it may happen");
            }));
            assert!(panicked.is_err());
            shown.is(0.0, "after");
        });
    }
}
