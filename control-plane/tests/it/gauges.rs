//! Every bound of the control plane, and how full it is: what piles up behind a bound has a gauge. The list of bounds comes
//! from the configuration and from the source: a new one without a row here fails.

use crate::limits::subject;
use crate::world::{Setup, World, ask, call, outcome, visit};
use agentgate_control_plane::config::DOCUMENTED;
use agentgate_proto::v1::converse_request::Message as Said;
use agentgate_proto::v1::converse_response::Message as Heard;
use agentgate_proto::v1::evidence_client::EvidenceClient;
use agentgate_proto::v1::policy_client::PolicyClient;
use agentgate_proto::v1::trace_client::TraceClient;
use agentgate_proto::v1::{self, OutcomeKind};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What is behind a bound.
#[derive(Clone, Copy, Debug)]
enum Behind {
    /// A queue, a view, a cache or a count, and the gauge that tells how full it is.
    Gauge(&'static str),
    /// Nothing that stays: it bounds one message, one answer, one wait, one attempt or a rate.
    Nothing,
}

use Behind::{Gauge, Nothing};

const LIMITS: &[(&str, Behind)] = &[
    ("in_flight_per_tenant_max", Gauge("agentgate_calls_in_flight")),
    ("in_flight_per_subject_max", Gauge("agentgate_calls_in_flight")),
    ("deciding_max", Gauge("agentgate_calls_deciding")),
    ("deadline_ms_max", Nothing),
    ("body_bytes_max", Nothing),
    ("message_bytes_max", Nothing),
    ("connections_max", Gauge("agentgate_connections{listener=\"filters\"}")),
    ("streams_per_connection_max", Gauge("agentgate_streams{listener=\"filters\"}")),
    ("messages_per_stream_max", Gauge("agentgate_messages_under_way")),
    ("handshake_ms_max", Nothing),
    ("metrics_connections_max", Gauge("agentgate_connections{listener=\"metrics\"}")),
    ("metrics_connection_ms_max", Nothing),
    ("log_connections_max", Gauge("agentgate_connections{listener=\"metrics\"}")),
    ("log_connection_ms_max", Nothing),
    ("keepalive_s", Nothing),
    ("outcome_deadline_s", Nothing),
    ("silence_s", Nothing),
    ("malformed_per_subject_per_s_max", Nothing),
    ("flood_interval_s", Nothing),
    ("recent_calls_max", Gauge("agentgate_recent_calls")),
    ("recent_traces_max", Gauge("agentgate_recent_traces")),
    ("indexed_traces_max", Gauge("agentgate_indexed_traces")),
    ("subjects_max", Gauge("agentgate_subjects")),
    ("open_calls_max", Gauge("agentgate_open_calls")),
    ("recovered_records_max", Nothing),
    ("approvals_max", Gauge("agentgate_approvals")),
    ("approvals_per_subject_max", Gauge("agentgate_approvals")),
    ("kills_max", Gauge("agentgate_kills")),
    ("modes_max", Gauge("agentgate_modes")),
    ("holds_max", Gauge("agentgate_holds")),
    ("tails_max", Gauge("agentgate_tails")),
    ("drain_s", Nothing),
];

const CONSTS: &[(&str, Behind)] = &[
    ("approval/mod.rs APPROVER_REASON_BYTES_MAX", Nothing),
    ("approval/mod.rs NEWS_MAX", Nothing),
    ("approval/open.rs OVER_RECOVERED_MAX", Nothing),
    ("approval/open.rs RECOVERED_STEPS_MAX", Nothing),
    ("approval/view.rs OVER_MAX", Gauge("agentgate_approvals")),
    ("body/known.rs SESSION_KEYS_MAX", Gauge("agentgate_session_keys")),
    ("body/known.rs SUBJECT_STREAMS_MAX", Gauge("agentgate_subject_streams")),
    ("body/known.rs TENANT_TOKENS_MAX", Gauge("agentgate_tenant_token_keys")),
    ("body/mod.rs HANDLES_PER_SUBJECT_MAX", Gauge("agentgate_session_keys")),
    ("body/mod.rs SEAL_ATTEMPTS_MAX", Nothing),
    ("body/purge.rs PURGES_UNFINISHED_MAX", Gauge("agentgate_purges_unfinished")),
    ("config/retention.rs DAYS_MAX", Nothing),
    ("control/order.rs ORDER_ATTEMPTS_MAX", Nothing),
    ("control/order.rs ORDER_REASON_BYTES_MAX", Nothing),
    ("decide/asks.rs RUNS_MAX", Nothing),
    ("decide/authz/mod.rs WAIT_MS_MAX", Nothing),
    ("decide/flood.rs LEFTOVER_MAX", Gauge("agentgate_flood_leftover")),
    ("decide/flood.rs SUBJECTS_MAX", Gauge("agentgate_flood_subjects")),
    ("decide/heavy.rs HEAVY_AT_ONCE_MAX", Gauge("agentgate_heavy_calls")),
    ("decide/heavy.rs LIGHT_BYTES_MAX", Nothing),
    ("decide/mod.rs ATTEMPTS_MAX", Nothing),
    ("decide/once.rs JOINED_MAX", Gauge("agentgate_calls_joined")),
    ("decide/rpc.rs SAID_MAX", Gauge("agentgate_messages_said")),
    ("evidence/mod.rs BUNDLES_MAX", Nothing),
    ("evidence/mod.rs FILES_MAX", Nothing),
    ("evidence/mod.rs GATHERED_AT_ONCE_MAX", Gauge("agentgate_evidence_gatherings")),
    ("evidence/mod.rs GATHERED_BYTES_MAX", Nothing),
    ("evidence/mod.rs GATHERED_RECORDS_MAX", Nothing),
    ("evidence/mod.rs LOG_FILES_MAX", Nothing),
    ("evidence/mod.rs OPENED_MAX", Nothing),
    ("evidence/mod.rs WHOSE_MAX", Gauge("agentgate_evidence_gatherings")),
    ("identity/users.rs SHOWN_CHARS_MAX", Nothing),
    ("history/explain.rs LISTS_READ_MAX", Nothing),
    ("history/explain.rs LOOKED_BACK_MAX", Nothing),
    ("history/impact.rs REASON_BYTES_MAX", Nothing),
    ("history/impact.rs ROWS_BYTES_MAX", Nothing),
    ("history/impact.rs ROWS_MAX", Nothing),
    ("history/impact.rs TARGET_BYTES_MAX", Nothing),
    ("history/learn.rs AWAITED_MAX", Nothing),
    ("history/learn.rs DEFINITIONS_BYTES_MAX", Nothing),
    ("history/learn.rs DEFINITIONS_MAX", Nothing),
    ("history/learn.rs NAMES_BYTES_MAX", Nothing),
    ("history/learn.rs TOOLS_MAX", Nothing),
    ("history/mod.rs EXPLAINED_AT_ONCE_MAX", Gauge("agentgate_histories{kind=\"explain\"}")),
    ("history/mod.rs HISTORIES_MAX", Gauge("agentgate_histories{kind=\"scan\"}")),
    ("history/mod.rs REQUEST_BYTES_MAX", Nothing),
    ("decide/routes.rs UNGRANTED_MAX", Gauge("agentgate_ungranted_servers")),
    ("follow.rs ATTEMPTS_MAX", Nothing),
    ("identity/view.rs SERVED_MAX", Nothing),
    ("identity/view.rs VMS_MAX", Gauge("agentgate_filter_vms")),
    ("journal/change.rs SLOT_ATTEMPTS_MAX", Nothing),
    ("journal/discard.rs QUEUE_DISCARDS_MAX", Gauge("agentgate_journal_queued_discards")),
    ("journal/discard.rs UNFINISHED_MAX", Gauge("agentgate_journal_queued_discards")),
    ("journal/embedded.rs READS_MAX", Gauge("agentgate_journal_reads")),
    ("journal/group.rs GROUP_BYTES_MAX", Nothing),
    ("journal/group.rs QUEUE_BYTES_MAX", Gauge("agentgate_journal_queued_bytes")),
    ("journal/group.rs QUEUE_CHANGES_MAX", Gauge("agentgate_journal_queued_changes")),
    ("journal/known.rs FAMILY_IDS_MAX", Gauge("agentgate_journal_known_ids")),
    ("journal/known.rs IDS_MAX", Gauge("agentgate_journal_known_ids")),
    ("journal/known.rs STREAMS_MAX", Gauge("agentgate_journal_known_streams")),
    ("journal/lock.rs LOOKS_MAX", Nothing),
    ("journal/mod.rs CHANGE_BYTES_MAX", Nothing),
    ("journal/mod.rs CONFLICT_RECORDS_MAX", Nothing),
    ("journal/mod.rs PAGE_BYTES_MAX", Nothing),
    ("journal/mod.rs BODIES_PAGE_MAX", Nothing),
    ("journal/mod.rs SLOTS_PAGE_MAX", Nothing),
    ("journal/mod.rs SLOT_BYTES_MAX", Nothing),
    ("journal/overlay.rs OVERLAY_ENTRIES_MAX", Gauge("agentgate_journal_overlay_entries")),
    ("journal/postgres/queue.rs WAITING_BYTES_MAX", Gauge("agentgate_journal_queued_bytes")),
    ("journal/postgres/queue.rs WAITING_MAX", Gauge("agentgate_journal_queued_changes")),
    ("journal/postgres/read.rs PAGE_RECORDS_MAX", Nothing),
    ("journal/postgres/read.rs READS_MAX", Gauge("agentgate_journal_reads")),
    ("journal/postgres/writer.rs CLOCK_APART_MAX", Nothing),
    ("journal/postgres/writer.rs GROUP_BYTES_MAX", Nothing),
    ("journal/postgres/writer.rs GROUP_WORKS_MAX", Nothing),
    ("journal/recovery.rs LEARN_ENTRIES_MAX", Nothing),
    ("journal/segments.rs OPEN_FILES_MAX", Gauge("agentgate_journal_open_files{kind=\"bodies\"}")),
    ("journal/slot_file.rs GROW_CELLS_MAX", Nothing),
    ("journal/slots.rs GROUP_SETS_MAX", Nothing),
    ("journal/slots.rs QUEUE_SETS_MAX", Gauge("agentgate_journal_queued_slots")),
    ("policy/mod.rs LOADED_MAX", Nothing),
    ("privacy/alter.rs ALTERED_BYTES_MAX", Nothing),
    ("quota/mod.rs QUOTA_ATTEMPTS_MAX", Nothing),
    ("replica.rs REPLICAS_MAX", Gauge("agentgate_replicas")),
    ("retention/mod.rs PURGED_PER_ORDER_MAX", Nothing),
    ("retention/mod.rs PURGED_PER_RECORD_MAX", Nothing),
    ("retention/mod.rs RETAIN_ATTEMPTS_MAX", Nothing),
    ("retention/streams.rs LEADS_PER_SWEEP_MAX", Nothing),
    ("retention/sweep.rs PAGES_PER_SWEEP_MAX", Nothing),
    ("retention/sweep.rs PURGED_PER_SWEEP_MAX", Nothing),
    ("server.rs HEADERS_BYTES_MAX", Nothing),
    ("session/columns.rs EARLY_MAX", Gauge("agentgate_early_outcomes")),
    ("session/query.rs LOOKED_AT_MAX", Nothing),
    ("session/query.rs PAGE_MAX", Nothing),
    ("session/query.rs SLICE_MAX", Nothing),
    ("session/line.rs REASON_BYTES_MAX", Nothing),
    ("session/line.rs TARGET_BYTES_MAX", Nothing),
    ("session/view.rs AHEAD_MAX", Gauge("agentgate_records_ahead")),
    ("config/transparency.rs WITNESSES_MAX", Nothing),
    ("transparency/anchor/mod.rs ANCHORS_MAX", Nothing),
    ("transparency/anchor/mod.rs BACKOFF_MAX", Nothing),
    ("transparency/anchor/mod.rs RECEIPT_BYTES_MAX", Nothing),
    ("transparency/anchor/mod.rs URL_BYTES_MAX", Nothing),
    ("transparency/shown.rs ASIDE_MAX", Nothing),
    ("transparency/witness/ask.rs ANSWER_BYTES_MAX", Nothing),
    ("transparency/witness/ask.rs ATTEMPTS_MAX", Nothing),
    ("transparency/witness/keep.rs ATTEMPTS_MAX", Nothing),
    ("transparency/witness/mod.rs BACKOFF_MAX", Nothing),
    ("webhook/mod.rs AT_ONCE_MAX", Nothing),
    ("webhook/mod.rs BACKOFF_MAX", Nothing),
    ("webhook/told.rs TOLD_MAX", Nothing),
    ("webhook/waiting.rs WAITING_MAX", Gauge("agentgate_webhook_waiting")),
];

/// The consts of the control plane's source that end in `_MAX`, by file.
fn consts(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if ["tests", "tests.rs", "contract.rs"].contains(&name) {
            continue;
        }
        if path.is_dir() {
            consts(&path, found);
            continue;
        }
        let file = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let declared = text.lines().filter_map(|line| line.trim_start().split_once("const ")?.1.split_once(':'));
        found.extend(declared.filter(|(name, _)| name.ends_with("_MAX")).map(|(name, _)| format!("{file} {name}")));
    }
}

#[test]
fn every_bound_has_a_row() {
    let documented: toml::Table = toml::from_str(DOCUMENTED).unwrap();
    let limits: BTreeSet<&str> = documented["limits"].as_table().unwrap().keys().map(String::as_str).collect();
    assert_eq!(limits, LIMITS.iter().map(|(name, _)| *name).collect(), "the limits of the configuration and their rows");
    let mut found = BTreeSet::new();
    consts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let rows: BTreeSet<String> = CONSTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, rows, "the consts that bound something and their rows");
}

/// Whatever is quoted and named like a metric in these files.
fn metrics_named(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            metrics_named(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let quoted = text.split('"').filter(|word| word.starts_with("agentgate_"));
            let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            found.extend(quoted.filter(is_name).map(str::to_owned));
        }
    }
}

#[test]
fn every_metric_is_described() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut named = BTreeSet::new();
    metrics_named(&source, &mut named);
    let described = std::fs::read_to_string(source.join("telemetry.rs")).unwrap();
    let is_described =
        |name: &&String| described.contains(&format!("\"{name}\", \"")) || described.contains(&format!("\"{name}\",\n"));
    let missing: Vec<&String> = named.iter().filter(|name| !is_described(name)).collect();
    assert!(missing.is_empty() && named.len() > 50, "{missing:?} of {}", named.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_piles_up_has_a_gauge() {
    let world = World::with(Setup { embedded: true, ..Setup::default() }).await;
    let mut vm = world.vm().await;
    let mut operator = world.operator(TraceClient::new).await;
    let _tail = operator.tail_traces(v1::TailTracesRequest::default()).await.unwrap();
    vm.decided(call(1, "read_note")).await;
    vm.decided(ask(2, "[]")).await;
    vm.decided(call(3, "add_note")).await;
    // Asked again while somebody else has the subject's turn: the second joins the first.
    let turn = world.running.session.turn(&subject()).await.unwrap();
    let twice = call(98, "read_note");
    for _ in 0..2 {
        vm.say(Said::Ask(twice.clone())).await;
    }
    vm.say(Said::Ping(v1::Ping { number: 1 })).await;
    assert!(matches!(vm.hear().await.unwrap(), Heard::Echo(_)));
    drop(turn);
    for _ in 0..2 {
        assert!(matches!(vm.hear().await.unwrap(), Heard::Answer(_)));
    }
    vm.decided(ask(99, &" ".repeat(100_000))).await;
    vm.report(vec![outcome(1, OutcomeKind::Completed)]).await;
    // Its body is read from a segment.
    operator.show_trace(v1::ShowTraceRequest { id: "2".into() }).await.unwrap();
    let mut past = world.operator(PolicyClient::new).await;
    past.explain_call(v1::ExplainCallRequest { id: "2".into() }).await.unwrap();
    past.learn_tools(v1::LearnToolsRequest::default()).await.unwrap();
    let about = v1::GatherEvidenceRequest { since_us: 1, ..v1::GatherEvidenceRequest::default() };
    world.operator(EvidenceClient::new).await.gather_evidence(about).await.unwrap();

    let (_, shown) = visit(world.running.metrics, "/metrics").await;
    let is_there = |gauge: &str| {
        let kind = format!("# TYPE {} gauge", gauge.split('{').next().unwrap());
        let has_value = |line: &str| line.strip_prefix(gauge).is_some_and(|value| value.trim().parse::<f64>().is_ok());
        shown.lines().any(|line| line == kind) && shown.lines().any(has_value)
    };
    for answer in ["allow", "deny"] {
        assert!(shown.contains(&format!("agentgate_asks_total{{answer=\"{answer}\"}}")), "`{answer}` in\n{shown}");
    }
    for (bound, behind) in LIMITS.iter().chain(CONSTS) {
        if let Gauge(gauge) = behind {
            assert!(is_there(gauge), "`{bound}` has no gauge `{gauge}` in\n{shown}");
        }
    }
}
