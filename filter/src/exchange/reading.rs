//! A request that comes in: what is kept of its head until its body is whole, and what becomes of both.
//!
//! Of the head it keeps only what is read: a client may send much more.

use super::Effect;
use crate::standing::Standing;
use agentgate_core::config::{Route, is_plain};
use agentgate_core::id::NAME_BYTES_MAX;
use agentgate_core::mcp::{self, Head, Message, Unread, is_stripped};
use agentgate_core::rest;
use agentgate_proto::{ask, v1};
use std::rc::Rc;

/// Discovery of an authorization server, which a client needs before it can call.
const WELL_KNOWN: &[u8] = b"/.well-known/oauth-";

#[derive(Debug)]
pub(super) struct Reading {
    /// Only the headers that are read: clients may send many more, and a thousand streams hold a thousand heads.
    pub(super) head: Head,
    pub(super) peer: String,
    pub(super) claims: Vec<v1::Claim>,
    /// None: a request without a body that passes unasked.
    pub(super) route: Option<Rc<Route>>,
    /// What has to be taken out of the head if the request is to be asked for after all.
    pub(super) unclean: Vec<Effect>,
}

// === impl Reading ===

impl Reading {
    pub(super) fn new(mut head: Head, peer: String, claims: Vec<v1::Claim>, route: Option<Rc<Route>>) -> Self {
        let is_rest = route.as_ref().is_some_and(|route| route.rest.is_some());
        // The host counts on every route: a call of a tool at another host is another call.
        head.headers.retain(|(name, _)| rest::is_read(name) || (!is_rest && mcp::is_read(name)));
        Self { head, peer, claims, route, unclean: Vec::new() }
    }

    /// What the head takes of the budget. It comes compressed: a header that fills a kilobyte may cost its sender one byte.
    pub(super) fn head_bytes(&self) -> usize {
        let headers = self.head.headers.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        let claims = self.claims.iter().map(|claim| claim.name.len().saturating_add(claim.value.len()));
        headers.chain(claims).fold(self.head.path.len().saturating_add(self.peer.len()), usize::saturating_add)
    }

    /// Whether it goes on whatever it says.
    pub(super) fn is_only_observed(&self, standing: &Standing) -> bool {
        self.route.as_ref().is_some_and(|route| standing.only_observes(route))
    }

    pub(super) fn body_bytes_max(&self) -> usize {
        self.route.as_ref().map_or(0, |route| route.rules.limits.body_bytes_max)
    }

    /// By the rules of the route. The control plane reads the same bytes by the same rule.
    pub(super) fn read(&self, body: &[u8], route: &Route) -> Result<Message, Unread> {
        match &route.rest {
            None => mcp::read(&self.head, body, &route.rules),
            Some(rest) => {
                let reading = rest::read(&self.head, body, &rest.rules, &route.rules.limits);
                reading.message.map_err(|reason| Unread { reason, id: None, version: None })
            }
        }
    }

    pub(super) fn ask(&self, counter: u64, route: &Route, body: Vec<u8>) -> v1::Ask {
        v1::Ask {
            counter,
            // It gets one when it is told.
            number: 0,
            deadline_ms: 0,
            server: route.server.as_str().to_owned(),
            peer: self.peer.clone(),
            head: Some(ask::head_to_wire(&self.head)),
            body: body.into(),
            versions: route.rules.versions.iter().map(|version| version.as_str().to_owned()).collect(),
            query_keys: route.rules.query_keys.clone(),
            observe: route.observes(),
            claims: self.claims.clone(),
            rest: route.rest.as_ref().map(|rest| ask::rest_to_wire(rest::find(&self.head, &rest.rules).ok())),
        }
    }
}

/// A claim that is there, as the host gives it; none: as something that it cannot give. Unless it is a text that could name
/// somebody, all that is told of it is that it is there: as if it were not, a token would say less than it says. A number comes
/// as the eight bytes of a double, a list as a message, and both hold bytes that no text has; one whose bytes all look like
/// letters cannot be told from text.
#[must_use]
pub fn claim(name: &str, bytes: Option<Vec<u8>>) -> v1::Claim {
    let is_text = |value: &String| !value.is_empty() && value.len() <= NAME_BYTES_MAX && !value.chars().any(char::is_control);
    let value = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(is_text);
    v1::Claim { name: name.to_owned(), unreadable: value.is_none(), value: value.unwrap_or_default() }
}

/// Takes out what could have the request taken for another, executed more than once, or answered unreadably.
pub(super) fn clean(head: &Head) -> Vec<Effect> {
    let mut removed: Vec<&[u8]> = Vec::new();
    for (name, _) in &head.headers {
        let unwanted = is_stripped(name) || name == b"accept-encoding" || name == b"expect";
        if unwanted && !removed.contains(&name.as_slice()) {
            removed.push(name);
        }
    }
    let removed = removed.into_iter().map(|name| Effect::RemoveRequestHeader(name.to_vec()));
    // One verdict is one execution, whatever the route's retry policy says.
    removed.chain([Effect::SetRequestHeader("x-envoy-max-retries", "0")]).collect()
}

pub(super) fn is_upgrade(headers: &[(Vec<u8>, Vec<u8>)]) -> bool {
    headers.iter().any(|(name, value)| {
        name == b"upgrade" || name == b":protocol" || (name == b":method" && value.eq_ignore_ascii_case(b"CONNECT"))
    })
}

/// Without a body, as `read` will see to, and by a path that no server takes for another one.
pub(super) fn is_discovery(head: &Head) -> bool {
    let plain = head.path.starts_with(WELL_KNOWN) && std::str::from_utf8(&head.path).is_ok_and(is_plain);
    plain && matches!(head.method.as_slice(), b"GET" | b"OPTIONS")
}

pub(super) fn head_of(headers: Vec<(Vec<u8>, Vec<u8>)>) -> Head {
    let mut head = Head::default();
    for (name, value) in headers {
        match name.as_slice() {
            b":method" => head.method = value,
            b":path" => head.path = value,
            // Envoy keeps no Host header beside it.
            b":authority" => head.headers.push((b"host".to_vec(), value)),
            [b':', ..] => {}
            _ => head.headers.push((name, value)),
        }
    }
    head
}
