//! Looks at what runs: Envoy's version, VMs and certificates by its admin port, and what the control plane says of itself.

use super::certificates::{Life, aged};
use super::finding::Findings;
use super::gate::observed;
use super::parts::{Asks, Chain, Gate};
use super::place::Place;
use super::source::Admin;
use super::table::Check;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use serde_json::Value;

/// Envoy knows `allow_on_headers_stop_iteration` from here on.
const KNOWN_SINCE: (u64, u64) = (1, 35);

/// The stories ran with these.
const TRIED: std::ops::RangeInclusive<(u64, u64)> = (1, 36)..=(1, 40);

/// A clock that differs by more is told.
const CLOCK_OFF_US: u64 = 1_000_000;
const CLOCK_FAR_US: u64 = 30_000_000;

/// A filter speaks every few seconds.
const SILENT_US: u64 = 60_000_000;

pub(crate) fn envoy(admin: &Admin, chains: &[Chain<'_>], now: Time, findings: &mut Findings) {
    let info = &admin.server_info;
    let text = info.get("version").and_then(Value::as_str).unwrap_or_default();
    version(text, findings);
    if !by_ext_authz(chains) {
        streams(admin, chains, findings);
    }
    let entries = admin.certs.get("certificates").and_then(Value::as_array).into_iter().flatten();
    let chains = entries.flat_map(|entry| entry.get("cert_chain").and_then(Value::as_array).into_iter().flatten());
    for certificate in chains {
        let text = |name: &str| certificate.get(name).and_then(Value::as_str).unwrap_or_default();
        // Moments in UTC and of one form are in the order of their text.
        let (ends, now) = (text("expiration_time"), now.to_string());
        if !ends.is_empty() && ends < now.as_str() {
            let at = format!("Envoy, {}", text("path"));
            findings.add(Check::CertificateExpired, &at, None, format!("Envoy holds it still; it ended at {ends}"));
        }
    }
}

/// `HASH/1.40.0/Clean/RELEASE/BoringSSL`, or the number alone.
pub(crate) fn version(text: &str, findings: &mut Findings) {
    let number = text.split('/').find(|part| part.contains('.') && part.starts_with(|c: char| c.is_ascii_digit()));
    let mut parts = number.unwrap_or_default().split('.').map(|part| part.parse::<u64>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (parts.next(), parts.next()) else {
        return findings.unseen(format!("Envoy's version: it says `{text}`"));
    };
    if (major, minor) < KNOWN_SINCE {
        findings.add(Check::EnvoyOld, "Envoy", None, format!("it is {major}.{minor}"));
    } else if !TRIED.contains(&(major, minor)) {
        findings.add(Check::EnvoyUntried, "Envoy", None, format!("it is {major}.{minor}"));
    }
}

/// Streams of the filter's VMs, by its own counters.
fn streams(admin: &Admin, chains: &[Chain<'_>], findings: &mut Findings) {
    let stat = |name: &str| {
        let name = format!("{name}: ");
        admin.stats.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    if stat("wasmcustom.agentgate.streams_opened") == 0 {
        findings.add(Check::FilterUnheard, "Envoy", None, "");
        observing(chains).iter().for_each(|route| route.unheard(findings));
    }
    let refused = stat("wasmcustom.agentgate.streams_refused");
    if refused > 0 {
        findings.add(Check::FilterTurnedAway, "Envoy", None, format!("{refused} since it started"));
    }
    let trapped = stat("wasm.agentgate.vm_reload");
    if trapped > 0 {
        findings.add(Check::VmTrapped, "Envoy", None, format!("{trapped} since it started"));
    }
}

/// What a control plane says, and when we asked by our own clock: before and after.
pub(crate) struct Told {
    pub(crate) status: v1::ShowStatusResponse,
    pub(crate) asked: Time,
    pub(crate) answered: Time,
}

pub(crate) fn control_plane(told: &Told, chains: &[Chain<'_>], identities: &[String], own: &str, findings: &mut Findings) {
    let status = &told.status;
    clocks(told, findings);
    for filter in &status.filters {
        if filter.filter_version != status.version {
            let said = format!("filter {}, control plane {}", filter.filter_version, status.version);
            findings.add(Check::Versions, &filter.asker, None, said);
        }
    }
    if own != status.version {
        findings.add(Check::Versions, "agentgate", None, format!("command line {own}, control plane {}", status.version));
    }
    let now = Time::from_micros(status.now_us);
    for certificate in &status.certificates {
        let life = Life { not_before: certificate.not_before_us, not_after: certificate.not_after_us };
        aged(&format!("control plane, {}", certificate.name), &life, now, findings);
    }
    for ungranted in &status.ungranted {
        findings.add(Check::ServerUngranted, &ungranted.asker, None, format!("the server `{}`", ungranted.server));
    }
    // Who asks through ext_authz says nothing but what it asks.
    if !by_ext_authz(chains) {
        silent(status, identities, findings);
    }
    ordered(status, chains, identities, findings);
}

/// No gate here has a VM.
fn by_ext_authz(chains: &[Chain<'_>]) -> bool {
    let mut gates = chains.iter().filter_map(|chain| chain.gate.as_ref()).peekable();
    gates.peek().is_some() && gates.all(|gate| gate.asks == Asks::ExtAuthz)
}

fn clocks(told: &Told, findings: &mut Findings) {
    // It looked at its clock somewhere between: only what is outside of that is a difference.
    let theirs = told.status.now_us;
    let off = told.asked.micros().saturating_sub(theirs).max(theirs.saturating_sub(told.answered.micros()));
    if off > CLOCK_OFF_US {
        let check = if off > CLOCK_FAR_US { Check::ClockFar } else { Check::ClockOff };
        findings.add(check, "control plane", None, format!("by {}", crate::moment::span(off)));
    }
}

fn silent(status: &v1::ShowStatusResponse, identities: &[String], findings: &mut Findings) {
    for identity in identities {
        let heard = status.filters.iter().filter(|filter| filter.asker == *identity).map(|filter| filter.last_heard_us).max();
        match heard {
            Some(heard) if status.now_us.saturating_sub(heard) <= SILENT_US => {}
            Some(heard) => {
                let ago = crate::moment::span(status.now_us.saturating_sub(heard));
                findings.add(Check::FilterSilent, identity, None, format!("last heard {ago} ago"));
            }
            None => findings.add(Check::FilterSilent, identity, None, "it was never heard of"),
        }
    }
}

/// Servers that observe by their filter's configuration, and enforce by an order.
fn ordered(status: &v1::ShowStatusResponse, chains: &[Chain<'_>], identities: &[String], findings: &mut Findings) {
    let orders = status.orders.clone().unwrap_or_default().modes;
    let heard = |identity: &String| status.filters.iter().any(|filter| filter.asker == *identity && !is_silent(filter, status));
    let unheard = !identities.is_empty() && !identities.iter().any(heard);
    for route in observing(chains) {
        let enforced = orders.iter().filter(|order| order.server == route.server && order.mode() == v1::Mode::Enforce);
        let tools: Vec<&str> = enforced.map(|order| order.tool.as_str()).collect();
        match (tools.is_empty(), route.gate.asks) {
            (true, _) => {}
            // Where nobody can decide, its Envoy refuses: the order holds.
            (false, Asks::ExtAuthz) => route.withdraw(findings),
            (false, Asks::Wasm) if unheard => route.unheard(findings),
            (false, Asks::Wasm) => route.enforced_by_order(&tools, findings),
        }
    }
}

fn is_silent(filter: &v1::FilterStatus, status: &v1::ShowStatusResponse) -> bool {
    status.now_us.saturating_sub(filter.last_heard_us) > SILENT_US
}

/// A route whose own configuration observes.
struct Observing<'a> {
    chain: &'a Chain<'a>,
    gate: &'a Gate<'a>,
    server: String,
}

fn observing<'a>(chains: &'a [Chain<'a>]) -> Vec<Observing<'a>> {
    let gates = chains.iter().filter_map(|chain| Some((chain, chain.gate.as_ref()?)));
    gates
        .flat_map(|(chain, gate)| {
            let routes = gate.told_routes().into_iter();
            let observes = routes.filter(|route| route.get("mode").and_then(Value::as_str) == Some("observe"));
            let servers = observes.map(|route| route.get("server").and_then(Value::as_str).unwrap_or_default().to_owned());
            servers.map(move |server| Observing { chain, gate, server }).collect::<Vec<_>>()
        })
        .collect()
}

// === impl Observing ===

impl Observing<'_> {
    fn unheard(&self, findings: &mut Findings) {
        if self.gate.asks == Asks::Wasm {
            self.withdraw(findings);
            findings.at(Check::ObservesUnheard, &self.chain.at, &self.place(), self.named());
        }
    }

    fn enforced_by_order(&self, tools: &[&str], findings: &mut Findings) {
        self.withdraw(findings);
        if findings.has(Check::ObservesUnheard, &self.chain.at, &self.named()) {
            return;
        }
        // Without a tool it is the whole server.
        let said = if tools.contains(&"") {
            self.named()
        } else {
            let tools: Vec<String> = tools.iter().map(|tool| format!("`{tool}`")).collect();
            format!("{}, of which {} alone; all else is only observed", self.named(), tools.join(", "))
        };
        findings.at(Check::EnforcedByOrder, &self.chain.at, &self.place(), said);
    }

    /// That it refuses nothing is not so.
    fn withdraw(&self, findings: &mut Findings) {
        findings.withdraw(Check::Observes, &self.chain.at, &observed(&self.server));
    }

    fn place(&self) -> Place<'_> {
        self.gate.plugin.field("configuration")
    }

    fn named(&self) -> String {
        format!("`{}`", self.server)
    }
}
