//! `agentgate status`: on one screen, how the control plane is and what needs a hand.

use crate::client::{Client, Connection};
use crate::failure::Failure;
use crate::moment::{absolute, relative, size, span};
use crate::output::{Desk, moment_json};
use crate::screen::{Palette, Screen};
use crate::table::{Cell, Column, Pairs, Table};
use crate::text::hex;
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
#[command(override_usage = "agentgate status [OPTIONS]")]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    /// Show each VM of a filter by itself
    #[arg(long, short)]
    verbose: bool,
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
    policy(&status.policy.clone().unwrap_or_default(), now, &mut pairs);
    journal(&status.journal.clone().unwrap_or_default(), &mut pairs);
    let mut text = pairs.finish();
    text.push('\n');
    text += &filters(&status.filters, verbose, now, screen);
    text.push('\n');
    text + &certificates(&status.certificates, now, screen)
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
    if !policy.refused_edit.is_empty() {
        let when = relative(now, policy.refused_edit_at_us);
        pairs.pair("edit refused", Palette::Bad, &format!("{when}: {}", policy.refused_edit));
        pairs.pair("next", Palette::Plain, "agentgate policy test DIR, on the policy's folder");
    }
}

fn journal(journal: &v1::JournalStatus, pairs: &mut Pairs<'_>) {
    pairs.heading("Journal");
    pairs.pair("backend", Palette::Plain, &journal.backend);
    pairs.pair("head", Palette::Plain, &format!("{} ({})", journal.head, size(journal.bytes)));
    if !journal.unavailable.is_empty() {
        pairs.pair("unavailable", Palette::Bad, &format!("{}; every call is refused", journal.unavailable));
    }
}

fn filters(vms: &[v1::FilterStatus], verbose: bool, now: Time, screen: &Screen) -> String {
    if vms.is_empty() {
        let said = screen.paint(Palette::Waiting, "No filter was heard of: nothing asks this control plane");
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
        let name = crate::text::escape(&certificate.name, screen.charset);
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

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn to_json(status: &v1::ShowStatusResponse) -> Value {
    let now = Time::from_micros(status.now_us);
    let policy = status.policy.clone().unwrap_or_default();
    let journal = status.journal.clone().unwrap_or_default();
    json!({
        "version": status.version,
        "replica": status.replica,
        "started_at": moment_json(status.started_at_us),
        "now": moment_json(status.now_us),
        "unready": absent(&status.unready),
        "in_flight": status.in_flight,
        "policy": {
            "digest": absent(&hex(&policy.digest)),
            "in_force_since": moment_json(policy.in_force_since_us),
            "rules": policy.rules,
            "cases": policy.cases,
            "refused_edit": absent(&policy.refused_edit),
            "refused_edit_at": moment_json(policy.refused_edit_at_us),
        },
        "journal": {
            "backend": journal.backend,
            "head": journal.head,
            "bytes": journal.bytes,
            "unavailable": absent(&journal.unavailable),
        },
        "filters": status.filters.iter().map(filter_json).collect::<Vec<_>>(),
        "certificates": status.certificates.iter().map(|certificate| certificate_json(certificate, now)).collect::<Vec<_>>(),
    })
}

fn filter_json(filter: &v1::FilterStatus) -> Value {
    json!({
        "asker": filter.asker,
        "epoch": hex(&filter.epoch),
        "node": filter.node,
        "filter_version": filter.filter_version,
        "last_heard": moment_json(filter.last_heard_us),
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
