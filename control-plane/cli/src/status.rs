//! `agentgate status`: on one screen, how the control plane is and what needs a hand.

mod kept;

use crate::client::{Client, Connection};
use crate::failure::Failure;
use crate::kill;
use crate::mode;
use crate::moment::{absolute, counted, relative, size, span};
use crate::output::{Desk, moment_json};
use crate::screen::{Palette, Screen};
use crate::table::{Cell, Column, Pairs, Table};
use crate::text::{escape, hex};
use crate::trace::line::absent;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use clap::Args;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A certificate with less of its life left than one part in so many is due.
const DUE_SHARE: u64 = 5;

/// Or with less than this, however short its life is.
const DUE_US: u64 = 3_600_000_000;

/// A filter that was not heard of for so long is probably gone: it speaks every few seconds.
const SILENT_US: u64 = 60_000_000;

/// A disk that is full sooner needs a hand now.
const FULL_DAYS: f64 = 7.0;

const FILTERS: [Column; 5] = [
    Column::cut("FILTER", u8::MAX),
    Column::whole("VMS", u8::MAX),
    Column::whole("HEARD", u8::MAX),
    Column::cut("NODE", 4),
    Column::cut("VERSION", 3),
];

/// With `--verbose`: each VM by itself.
const VMS: [Column; 5] = [
    Column::cut("FILTER", u8::MAX),
    Column::whole("HEARD", u8::MAX),
    Column::cut("NODE", 4),
    Column::whole("VERSION", 3),
    Column::cut("EPOCH", 1),
];

const CERTIFICATES: [Column; 4] =
    [Column::cut("CERTIFICATE", u8::MAX), Column::whole("EXPIRES", u8::MAX), Column::whole("AT", 4), Column::cut("SUBJECT", 3)];

#[derive(Debug, Args)]
pub struct Arguments {
    /// Show each VM of a filter by itself
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    pub connection: Connection,
}

pub async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let status = client.show_status().await?;
    desk.answer(|screen| render(&status, arguments.verbose, screen), || to_json(&status))
}

/// Distances are from the control plane's own now: its clock stamped everything that is shown here.
fn render(status: &v1::ShowStatusResponse, verbose: bool, screen: &Screen) -> String {
    let now = Time::from_micros(status.now_us);
    let mut pairs = Pairs::new(screen);
    pairs.heading("Control plane");
    pairs.pair("version", Palette::Plain, &status.version);
    pairs.pair("replica", Palette::Plain, &status.replica);
    let up = span(status.now_us.saturating_sub(status.started_at_us));
    pairs.pair("up", Palette::Plain, &format!("{up}, since {}", absolute(status.started_at_us)));
    match status.unready.as_str() {
        "" => pairs.pair("ready", Palette::Good, "yes"),
        why => pairs.pair("ready", Palette::Bad, &format!("no call can be decided: {why}")),
    }
    pairs.pair("in flight", Palette::Plain, &counted(status.in_flight, "call"));
    approvals(status, &mut pairs);
    orders(status, now, screen, &mut pairs);
    policy(&status.policy.clone().unwrap_or_default(), now, &mut pairs);
    journal(&status.journal.clone().unwrap_or_default(), &status.unready, now, &mut pairs);
    kept::kept(status, now, &mut pairs);
    kept::log(status, now, &mut pairs);
    quotas(&status.quotas, &mut pairs);
    replicas(status, now, &mut pairs);
    let mut text = pairs.finish();
    text.push('\n');
    text += &filters(&status.filters, verbose, now, screen);
    text += &troubled_filters(status, now, screen);
    text.push('\n');
    text + &certificates(&status.certificates, now, screen)
}

fn approvals(status: &v1::ShowStatusResponse, pairs: &mut Pairs<'_>) {
    if status.approvals_pending > 0 {
        let calls = if status.approvals_pending == 1 {
            "1 call waits".to_owned()
        } else {
            format!("{} calls wait", status.approvals_pending)
        };
        pairs.pair("approvals", Palette::Waiting, &format!("{calls} for a person: agentgate approve list"));
    }
    if !status.webhook_trouble.is_empty() {
        pairs.pair("webhook", Palette::Bad, &format!("approvers are not told: {}", status.webhook_trouble));
    }
}

/// What is killed, then what is only observed. Nothing of both has no lines: what is enforced is as it should be.
fn orders(status: &v1::ShowStatusResponse, now: Time, screen: &Screen, pairs: &mut Pairs<'_>) {
    let orders = status.orders.clone().unwrap_or_default();
    for kill in &orders.kills {
        let (what, resume) = kill::told(kill);
        let title = format!("KILLED: {}", escape(&what, screen.charset));
        pairs.heading(&screen.paint(Palette::Bad, &title));
        let by = format!("{} by {}: {}", relative(now, kill.at_us), kill.by, kill.reason);
        pairs.pair("killed", Palette::Bad, &by);
        pairs.pair("resume", Palette::Plain, &resume);
    }
    let observed = observed(status, &orders);
    let enforced = orders.modes.iter().filter(|order| order.mode() == v1::Mode::Enforce);
    if observed.is_empty() && orders.modes.is_empty() && status.ungranted.is_empty() {
        return;
    }
    pairs.heading("Modes");
    for ungranted in &status.ungranted {
        pairs.pair("ungated", Palette::Bad, &ungranted_told(ungranted, now));
    }
    for (name, when) in observed {
        let when = if when == 0 { "no call yet".to_owned() } else { format!("last call {}", relative(now, when)) };
        pairs.pair("observing", Palette::Waiting, &format!("{name} ({when}); its verdicts are not enforced"));
    }
    for route in status.routes.iter().filter(|route| route.turned_away > 0) {
        let calls =
            format!("{} observed calls of `{}` were of nobody whom their filter may name", route.turned_away, route.server);
        pairs.pair(
            "turned away",
            Palette::Bad,
            &format!("{calls}: on no record, and refused once it enforces; the log says who"),
        );
    }
    for order in enforced {
        let name = tool_name(order);
        let when = relative(now, order.at_us);
        if status.routes.iter().any(|route| route.server == order.server) {
            pairs.pair("enforcing", Palette::Good, &format!("{name}, ordered {when}"));
        } else {
            let nowhere = format!("{name}, ordered {when}; but no filter's route names this server, and no call of it came");
            pairs.pair("enforcing", Palette::Waiting, &nowhere);
        }
    }
}

/// Of whom no call is decided, and what to do.
fn ungranted_told(ungranted: &v1::Ungranted, now: Time) -> String {
    let v1::Ungranted { asker, server, calls, last_call_us } = ungranted;
    let called = match calls {
        0 => "not called yet".to_owned(),
        calls => format!("{}, the last {}", counted(*calls, "call"), relative(now, *last_call_us)),
    };
    format!(
        "a route of `{asker}` names the server `{server}`, and its [[filter]] does not ({called}): no call of it is decided or \
         recorded, and where the route observes each goes on; add it to `servers`, or correct the name"
    )
}

/// Each server or tool whose calls go on whatever their verdict, and when there was one.
fn observed(status: &v1::ShowStatusResponse, orders: &v1::OrderStatus) -> Vec<(String, u64)> {
    let ordered = |server: &str| orders.modes.iter().find(|order| order.server == server && order.tool.is_empty());
    let last_call_us = |server: &str| {
        status.routes.iter().filter(|route| route.server == server).map(|route| route.last_call_us).max().unwrap_or_default()
    };
    let by_route = status.routes.iter().filter(|route| route.observes && ordered(&route.server).is_none());
    let by_order = orders.modes.iter().filter(|order| order.mode() == v1::Mode::Observe);
    let mut observed: BTreeMap<String, u64> = by_route.map(|route| (route.server.clone(), last_call_us(&route.server))).collect();
    observed.extend(by_order.map(|order| (tool_name(order), last_call_us(&order.server))));
    observed.into_iter().collect()
}

fn tool_name(order: &v1::ModeOrder) -> String {
    if order.tool.is_empty() { order.server.clone() } else { format!("{}/{}", order.server, order.tool) }
}

fn policy(policy: &v1::PolicyStatus, now: Time, pairs: &mut Pairs<'_>) {
    pairs.heading("Policy in force");
    if policy.digest.is_empty() {
        pairs.pair("none", Palette::Bad, "every call is refused");
    } else {
        pairs.pair("digest", Palette::Plain, &hex(&policy.digest));
        let since = policy.in_force_since_us;
        pairs.pair("since", Palette::Plain, &format!("{} ({})", absolute(since), relative(now, since)));
        let holds = format!("{}, {}", counted(policy.rules.into(), "rule"), counted(policy.cases.into(), "case"));
        pairs.pair("holds", Palette::Plain, &holds);
    }
    for notice in &policy.notices {
        pairs.pair("notice", Palette::Waiting, notice);
    }
    if !policy.refused_edit.is_empty() {
        let when = relative(now, policy.refused_edit_at_us);
        pairs.pair("edit refused", Palette::Bad, &format!("{when}: {}", policy.refused_edit));
        pairs.pair("next", Palette::Plain, "agentgate policy test DIR, on the policy's folder");
    }
}

fn journal(journal: &v1::JournalStatus, unready: &str, now: Time, pairs: &mut Pairs<'_>) {
    pairs.heading("Journal");
    pairs.pair("backend", Palette::Plain, &journal.backend);
    let first = match journal.oldest_us {
        0 => String::new(),
        at_us => format!(", the first record {}", relative(now, at_us)),
    };
    pairs.pair("head", Palette::Plain, &format!("{} ({}){first}", journal.head, size(journal.bytes)));
    if let Some(free) = journal.free_bytes {
        let (days, palette) = match journal.full_in_days {
            Some(days) if days < FULL_DAYS => (format!(", full in {days:.1} days at the pace of the last hours"), Palette::Bad),
            Some(days) => (format!(", full in {days:.0} days at the pace of the last hours"), Palette::Plain),
            None => (String::new(), Palette::Plain),
        };
        pairs.pair("free", palette, &format!("{}{days}", size(free)));
    }
    if !journal.unavailable.is_empty() {
        pairs.pair("unavailable", Palette::Bad, &format!("{}; every call is refused", once(&journal.unavailable, unready)));
    }
}

/// What stands under `ready` already, whole, is not told again.
fn once<'a>(why: &'a str, unready: &str) -> &'a str {
    if !why.is_empty() && unready.contains(why) { "as `ready` says" } else { why }
}

fn filters(vms: &[v1::FilterStatus], verbose: bool, now: Time, screen: &Screen) -> String {
    if vms.is_empty() {
        let said = screen
            .paint(Palette::Waiting, "No filter VM was heard of: nothing asks this control plane, or only through ext_authz");
        let why = "A filter that is refused, or whose TLS handshake fails, looks like this too: the control plane's log tells.";
        return format!("{said}\n{}\n", screen.paint(Palette::Dim, why));
    }
    let mut table = Table::new(if verbose { &VMS } else { &FILTERS });
    if verbose {
        vms.iter().for_each(|vm| table.row(vm_cells(vm, now)));
    } else {
        let mut filters: BTreeMap<&str, Vec<&v1::FilterStatus>> = BTreeMap::new();
        vms.iter().for_each(|vm| filters.entry(&vm.asker).or_default().push(vm));
        filters.iter().for_each(|(asker, vms)| table.row(filter_cells(asker, vms, now)));
    }
    table.render(screen)
}

/// VMs that do not obey the newest orders yet, and those that lost observations.
fn troubled_filters(status: &v1::ShowStatusResponse, now: Time, screen: &Screen) -> String {
    let epoch = status.orders.as_ref().map(|orders| orders.epoch).unwrap_or_default();
    let mut text = String::new();
    for vm in &status.filters {
        let who = format!("{} (VM {})", vm.asker, hex(&vm.epoch).get(..8).unwrap_or_default());
        let mut say = |said: String| text += &format!("{}\n", screen.paint(Palette::Waiting, &escape(&said, screen.charset)));
        if vm.kept_epoch < epoch && !is_silent(vm, now) {
            say(format!("{who} obeys epoch {} of {epoch}", vm.kept_epoch));
        }
        if vm.observations_lost > 0 {
            say(format!("{who} lost {}", counted(vm.observations_lost, "observation")));
        }
    }
    text
}

/// A filter, with all of its VMs: an Envoy has one for each of its threads.
fn filter_cells(asker: &str, vms: &[&v1::FilterStatus], now: Time) -> Vec<Cell> {
    let silent = vms.iter().filter(|vm| is_silent(vm, now)).count();
    let (said, palette) = match silent {
        0 => (vms.len().to_string(), Palette::Plain),
        silent => (format!("{}, {silent} silent", vms.len()), Palette::Waiting),
    };
    let last_heard_us = vms.iter().map(|vm| vm.last_heard_us).max().unwrap_or_default();
    let versions = distinct(vms.iter().map(|vm| vm.filter_version.as_str()));
    vec![
        Cell::plain(asker),
        Cell::new(palette, said),
        Cell::new(if silent == vms.len() { Palette::Waiting } else { Palette::Good }, relative(now, last_heard_us)),
        Cell::plain(distinct(vms.iter().map(|vm| vm.node.as_str())).join(", ")),
        Cell::new(if versions.len() > 1 { Palette::Waiting } else { Palette::Plain }, versions.join(", ")),
    ]
}

fn vm_cells(vm: &v1::FilterStatus, now: Time) -> Vec<Cell> {
    vec![
        Cell::plain(vm.asker.clone()),
        Cell::new(if is_silent(vm, now) { Palette::Waiting } else { Palette::Good }, relative(now, vm.last_heard_us)),
        Cell::plain(vm.node.clone()),
        Cell::plain(vm.filter_version.clone()),
        Cell::new(Palette::Dim, hex(&vm.epoch)),
    ]
}

fn is_silent(vm: &v1::FilterStatus, now: Time) -> bool {
    now.micros().saturating_sub(vm.last_heard_us) > SILENT_US
}

/// Each once, in order.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

fn certificates(certificates: &[v1::CertificateStatus], now: Time, screen: &Screen) -> String {
    let mut table = Table::new(&CERTIFICATES);
    for certificate in certificates {
        let palette = life(certificate, now).1;
        table.row(vec![
            Cell::plain(certificate.name.clone()),
            Cell::new(palette, relative(now, certificate.not_after_us)),
            Cell::plain(absolute(certificate.not_after_us)),
            Cell::plain(certificate.subject.clone()),
        ]);
    }
    let mut text = if certificates.is_empty() { String::new() } else { table.render(screen) };
    for certificate in certificates {
        let (state, palette) = life(certificate, now);
        let name = escape(&certificate.name, screen.charset);
        let said = match state {
            Life::Good => continue,
            Life::Due => format!("{name} expires soon; issue another: agentgate authority issue … --force"),
            Life::Over => format!("{name} is expired; issue another: agentgate authority issue … --force"),
        };
        let said = said.replace('…', screen.sign("…", "..."));
        text += &format!("{}\n", screen.paint(palette, &said));
    }
    text
}

/// Where a certificate stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Good,
    Due,
    Over,
}

fn life(certificate: &v1::CertificateStatus, now: Time) -> (Life, Palette) {
    let left = certificate.not_after_us.saturating_sub(now.micros());
    // A beginning that is not told (0) makes no certificate due by share.
    let lifetime = match certificate.not_before_us {
        0 => 0,
        begin => certificate.not_after_us.saturating_sub(begin),
    };
    if left == 0 {
        (Life::Over, Palette::Bad)
    } else if left < DUE_US || left < lifetime / DUE_SHARE {
        (Life::Due, Palette::Waiting)
    } else {
        (Life::Good, Palette::Good)
    }
}

/// All that share the journal. Alone, there is nothing to say of others.
fn replicas(status: &v1::ShowStatusResponse, now: Time, pairs: &mut Pairs<'_>) {
    if status.replicas.is_empty() {
        return;
    }
    pairs.heading("Replicas");
    let newest = status.replicas.iter().map(|replica| replica.epoch).max().unwrap_or_default();
    for replica in &status.replicas {
        let v1::ReplicaStatus { name, version, started_at_us, last_seen_us, filters, epoch, .. } = replica;
        let seen = relative(now, *last_seen_us);
        let vms = counted(u64::from(*filters), "VM");
        let lags = if *epoch < newest { format!(", obeys epoch {epoch} of {newest}") } else { String::new() };
        let up = span(now.micros().saturating_sub(*started_at_us));
        let (palette, said) = match (replica.gone, replica.doubled) {
            (true, _) => (Palette::Bad, format!("GONE, last seen {seen}")),
            (false, true) => {
                (Palette::Bad, format!("TWO have this name: give each a `replica` of its own (version {version}, up {up})"))
            }
            (false, false) if lags.is_empty() => (Palette::Good, format!("version {version}, up {up}, hears {vms}, seen {seen}")),
            (false, false) => (Palette::Waiting, format!("version {version}, up {up}, hears {vms}, seen {seen}{lags}")),
        };
        pairs.pair(name, palette, &said);
    }
}

fn replica_json(replica: &v1::ReplicaStatus) -> Value {
    let v1::ReplicaStatus { name, version, started_at_us, last_seen_us, filters, epoch, life, gone, doubled } = replica;
    json!({
        "name": name,
        "version": version,
        "started_at": moment_json(*started_at_us),
        "last_seen": moment_json(*last_seen_us),
        "filters": filters,
        "epoch": epoch,
        "life": hex(life),
        "gone": gone,
        "doubled": doubled,
    })
}

/// How much of its day's bytes each tenant took. Whoever has used up three quarters stands out, and all is too late to.
fn quotas(quotas: &[v1::TenantQuota], pairs: &mut Pairs<'_>) {
    for v1::TenantQuota { tenant, used_bytes, limit_bytes, day_us: _ } in quotas {
        let palette = match used_bytes.saturating_mul(4) / limit_bytes.max(&1) {
            0..=2 => Palette::Plain,
            3 => Palette::Waiting,
            _ => Palette::Bad,
        };
        let said = format!("tenant {tenant}: {} of {} today", size(*used_bytes), size(*limit_bytes));
        pairs.pair("quota", palette, &said);
    }
}

fn quota_json(quota: &v1::TenantQuota) -> Value {
    let v1::TenantQuota { tenant, used_bytes, limit_bytes, day_us } = quota;
    json!({ "tenant": tenant, "used_bytes": used_bytes, "limit_bytes": limit_bytes, "day": moment_json(*day_us) })
}

fn to_json(status: &v1::ShowStatusResponse) -> Value {
    let now = Time::from_micros(status.now_us);
    let policy = status.policy.clone().unwrap_or_default();
    let journal = status.journal.clone().unwrap_or_default();
    let orders = status.orders.clone().unwrap_or_default();
    json!({
        "version": status.version,
        "replica": status.replica,
        "started_at": moment_json(status.started_at_us),
        "now": moment_json(status.now_us),
        "unready": absent(&status.unready),
        "in_flight": status.in_flight,
        "approvals_pending": status.approvals_pending,
        "webhook_trouble": absent(&status.webhook_trouble),
        "orders": {
            "epoch": orders.epoch,
            "kills": orders.kills.iter().map(kill::kill_json).collect::<Vec<_>>(),
            "modes": orders.modes.iter().map(mode::mode_json).collect::<Vec<_>>(),
        },
        "routes": status.routes.iter().map(route_json).collect::<Vec<_>>(),
        "ungranted": status.ungranted.iter().map(ungranted_json).collect::<Vec<_>>(),
        "policy": {
            "digest": absent(&hex(&policy.digest)),
            "in_force_since": moment_json(policy.in_force_since_us),
            "rules": policy.rules,
            "cases": policy.cases,
            "notices": policy.notices,
            "refused_edit": absent(&policy.refused_edit),
            "refused_edit_at": moment_json(policy.refused_edit_at_us),
        },
        "journal": {
            "backend": journal.backend,
            "head": journal.head,
            "bytes": journal.bytes,
            "free_bytes": journal.free_bytes,
            "full_in_days": journal.full_in_days,
            "unavailable": absent(&journal.unavailable),
            "shared": journal.shared,
            "oldest_at": moment_json(journal.oldest_us),
        },
        "retention": status.retention.as_ref().map(kept::retention_json),
        "privacy": kept::privacy_json(&status.privacy),
        "log": status.log.as_ref().map(kept::log_json),
        "replicas": status.replicas.iter().map(replica_json).collect::<Vec<_>>(),
        "quotas": status.quotas.iter().map(quota_json).collect::<Vec<_>>(),
        "filters": status.filters.iter().map(filter_json).collect::<Vec<_>>(),
        "certificates": status.certificates.iter().map(|certificate| certificate_json(certificate, now)).collect::<Vec<_>>(),
    })
}

fn route_json(route: &v1::RouteStatus) -> Value {
    json!({ "server": route.server, "observes": route.observes, "last_call": moment_json(route.last_call_us), "turned_away": route.turned_away })
}

fn ungranted_json(ungranted: &v1::Ungranted) -> Value {
    let v1::Ungranted { asker, server, calls, last_call_us } = ungranted;
    json!({ "asker": asker, "server": server, "calls": calls, "last_call": moment_json(*last_call_us) })
}

fn filter_json(filter: &v1::FilterStatus) -> Value {
    json!({
        "asker": filter.asker,
        "epoch": hex(&filter.epoch),
        "node": filter.node,
        "filter_version": filter.filter_version,
        "last_heard": moment_json(filter.last_heard_us),
        "kept_epoch": filter.kept_epoch,
        "observations_lost": filter.observations_lost,
    })
}

fn certificate_json(certificate: &v1::CertificateStatus, now: Time) -> Value {
    let due = match life(certificate, now).0 {
        Life::Good => "good",
        Life::Due => "due",
        Life::Over => "expired",
    };
    json!({
        "name": certificate.name,
        "subject": certificate.subject,
        "not_before": moment_json(certificate.not_before_us),
        "not_after": moment_json(certificate.not_after_us),
        "life": due,
    })
}
