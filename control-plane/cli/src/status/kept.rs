//! What is kept and for how long, how personal data is recorded, and who else saw what was signed. A control plane that tells
//! nothing of one of these has no line of it.

use crate::log::{Witnessed, remembered, remembered_json, trouble, trouble_json};
use crate::moment::{counted, grouped, relative};
use crate::output::moment_json;
use crate::screen::Palette;
use crate::table::Pairs;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use serde_json::{Value, json};

/// Tenants that one line names; JSON has all of them.
const TENANTS_SHOWN: usize = 4;

pub(super) fn kept(status: &v1::ShowStatusResponse, now: Time, pairs: &mut Pairs<'_>) {
    if let Some(retention) = &status.retention {
        let told = [days(retention), next(retention, now)];
        let told: Vec<String> = told.into_iter().filter(|part| !part.is_empty()).collect();
        pairs.pair("kept", Palette::Plain, &told.join("; "));
        if retention.holds > 0 {
            let said = format!("{}: agentgate hold list", counted(retention.holds.into(), "legal hold"));
            pairs.pair("held", Palette::Waiting, &said);
        }
    }
    pairs.pair("personal", Palette::Plain, &privacy(&status.privacy));
}

pub(super) fn log(status: &v1::ShowStatusResponse, now: Time, pairs: &mut Pairs<'_>) {
    let Some(log) = &status.log else { return };
    let witnessed = match seen(log) {
        Some((size, at_us)) => format!("witnessed {} {}", grouped(size), relative(now, at_us)),
        None => "not witnessed".to_owned(),
    };
    let anchored = match log.anchors.first() {
        Some(newest) => format!("anchored {} {}", grouped(newest.size), relative(now, newest.at_us)),
        None => "not anchored".to_owned(),
    };
    pairs.pair("signed", Palette::Plain, &format!("{}; {witnessed}; {anchored}", counted(log.size, "record")));
    for witness in log.witnesses.iter().filter(|witness| !witness.trouble.is_empty()) {
        let (name, palette) = if witness.fork { ("FORK", Palette::Bad) } else { ("no witness", Palette::Waiting) };
        pairs.pair(name, palette, &format!("{}: {}", witness.name, witness.trouble));
    }
    remembered(log, pairs);
    trouble(log, pairs);
    pairs.pair("log stopped", Palette::Bad, super::once(&log.stopped, &status.unready));
}

/// How far witnesses say that they saw, and when the last of them did.
fn seen(log: &v1::ShowLogResponse) -> Option<(u64, u64)> {
    let witnessed = Witnessed::read(&log.witnessed)?;
    let at_us = witnessed.by.iter().map(|(_, at_us)| *at_us).max()?;
    Some((witnessed.size, at_us))
}

fn days(retention: &v1::RetentionStatus) -> String {
    let told = |days: u32| if days == 0 { "for ever".to_owned() } else { counted(days.into(), "day") };
    let own = retention.tenants.iter().map(|tenant| format!("{} {}", tenant.tenant, told(tenant.days)));
    named(told(retention.days), own.collect())
}

/// What the last sweep saw come. What is kept for ever is looked at by none.
fn next(retention: &v1::RetentionStatus, now: Time) -> String {
    if retention.days == 0 && retention.tenants.iter().all(|tenant| tenant.days == 0) {
        return String::new();
    }
    match &retention.outlook {
        None => "no sweep came to its end yet".to_owned(),
        Some(v1::Outlook { next_purge_us: 0, .. }) => "nothing to purge".to_owned(),
        Some(outlook) if outlook.next_purge_us <= now.micros() => "a purge is due with the next sweep".to_owned(),
        Some(outlook) => format!("next purge {}", relative(now, outlook.next_purge_us)),
    }
}

fn privacy(modes: &[v1::TenantPrivacy]) -> String {
    let of_all = modes.iter().find(|mode| mode.tenant.is_empty());
    let Some(of_all) = of_all else { return String::new() };
    let told = |mode: &v1::TenantPrivacy| if mode.pii == "off" { "recorded as it is".to_owned() } else { mode.pii.clone() };
    let own = modes.iter().filter(|mode| !mode.tenant.is_empty());
    named(told(of_all), own.map(|mode| format!("{} {}", mode.tenant, told(mode))).collect())
}

/// What holds for all, then those who have something of their own.
fn named(of_all: String, own: Vec<String>) -> String {
    let more = own.len().saturating_sub(TENANTS_SHOWN);
    let mut parts: Vec<String> = own.into_iter().take(TENANTS_SHOWN).collect();
    if more > 0 {
        parts.push(format!("{more} tenants more"));
    }
    if parts.is_empty() { of_all } else { format!("{of_all} ({})", parts.join(", ")) }
}

pub(super) fn retention_json(retention: &v1::RetentionStatus) -> Value {
    let v1::RetentionStatus { days, tenants, holds, outlook } = retention;
    json!({
        "days": days,
        "tenants": tenants.iter().map(|tenant| json!({ "tenant": tenant.tenant, "days": tenant.days })).collect::<Vec<_>>(),
        "holds": holds,
        "swept_at": moment_json(outlook.map(|outlook| outlook.swept_at_us).unwrap_or_default()),
        "oldest_at": moment_json(outlook.map(|outlook| outlook.oldest_us).unwrap_or_default()),
        "next_purge_at": moment_json(outlook.map(|outlook| outlook.next_purge_us).unwrap_or_default()),
    })
}

pub(super) fn privacy_json(modes: &[v1::TenantPrivacy]) -> Value {
    let tenant = |mode: &v1::TenantPrivacy| Some(mode.tenant.clone()).filter(|tenant| !tenant.is_empty());
    modes.iter().map(|mode| json!({ "tenant": tenant(mode), "pii": mode.pii })).collect()
}

pub(super) fn log_json(log: &v1::ShowLogResponse) -> Value {
    let (witnessed, anchor) = (seen(log), log.anchors.first());
    json!({
        "size": log.size,
        "stopped": Some(&log.stopped).filter(|stopped| !stopped.is_empty()),
        "rolled_back": remembered_json(log),
        "trouble": trouble_json(log),
        "notices": log.notices,
        "witnessed": witnessed.map(|(size, at_us)| json!({ "size": size, "at": moment_json(at_us) })),
        "witnesses": log.witnesses.iter().map(|witness| json!({
            "name": witness.name,
            "trouble": Some(&witness.trouble).filter(|trouble| !trouble.is_empty()),
            "fork": witness.fork,
        })).collect::<Vec<_>>(),
        "anchored": anchor.map(|anchor| json!({ "size": anchor.size, "at": moment_json(anchor.at_us), "url": anchor.url })),
    })
}
