//! What an ask says: the same bytes by the same parser as in the filter. What is no ask is an error, and never a looser reading.

use crate::ask;
use crate::v1;
use agentgate_core::digest::{Digest, Digester};
use agentgate_core::endpoint::Endpoint;
use agentgate_core::mcp::{self, Head, Malformed, Message, Rules};
use agentgate_core::rest;
use prost::Message as _;
use thiserror::Error;

/// The ask itself, which a filter wrote, is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the ask cannot be read: {0}")]
pub struct NoAsk(pub &'static str);

/// What the call says, or why it cannot be read.
///
/// # Errors
/// When the ask itself is none.
pub fn read(ask: &v1::Ask, body_bytes_max: usize) -> Result<Result<Message, Malformed>, NoAsk> {
    let head: Head = ask.head.as_ref().map(ask::head_from_wire).ok_or(NoAsk("it has no head"))?;
    let limits = mcp::Limits { body_bytes_max, ..mcp::Limits::default() };
    if let Some(rest) = &ask.rest {
        let rule = ask::rest_from_wire(rest).map_err(|_| NoAsk("the rule of its REST route is none"))?;
        return Ok(rest::read(&head, &ask.body, rule.as_slice(), &limits).message);
    }
    let versions = ask::versions_from_wire(&ask.versions).ok_or(NoAsk("it names an unknown protocol version"))?;
    let rules = Rules { versions, query_keys: ask.query_keys.clone(), limits };
    Ok(mcp::read(&head, &ask.body, &rules).map_err(|unread| unread.reason))
}

/// As `read`, of a call that the filter refused for the reason that it `said`. Its word counts where the body is left out,
/// since only the filter saw that body; it never makes a call readable.
///
/// # Errors
/// As `read`.
pub fn read_refused(ask: &v1::Ask, said: &str, body_bytes_max: usize) -> Result<Result<Message, Malformed>, NoAsk> {
    if ask.body.is_empty()
        && let Some(malformed) = Malformed::all().find(|malformed| malformed.reason() == said)
    {
        return Ok(Err(malformed));
    }
    read(ask, body_bytes_max)
}

/// Where the request goes.
#[must_use]
pub fn endpoint_of(ask: &v1::Ask) -> Endpoint {
    ask.head.as_ref().map(|head| Endpoint::of(&ask::head_from_wire(head))).unwrap_or_default()
}

/// What a repeated ask must have in common with the first: everything but how long its asker waits.
#[must_use]
pub fn request_digest(ask: &v1::Ask) -> Digest {
    let mut digester = Digester::new("agentgate/request/3");
    digester.part(ask.server.as_bytes());
    digester.part(ask.peer.as_bytes());
    digester.part(&ask.body);
    if let Some(head) = &ask.head {
        digester.part(&head.method);
        digester.part(&head.path);
        list(&mut digester, head.headers.iter().flat_map(|header| [header.name.as_ref(), header.value.as_ref()]));
    }
    list(&mut digester, ask.versions.iter().map(String::as_bytes));
    list(&mut digester, ask.query_keys.iter().map(String::as_bytes));
    let unreadable = |claim: &v1::Claim| -> &[u8] { if claim.unreadable { b"unreadable" } else { b"" } };
    list(&mut digester, ask.claims.iter().flat_map(|claim| [claim.name.as_bytes(), claim.value.as_bytes(), unreadable(claim)]));
    digester.part(&[u8::from(ask.observe)]);
    digester.part(&ask.rest.as_ref().map(v1::Rest::encode_to_vec).unwrap_or_default());
    digester.finish()
}

/// A list's length stands behind it, so that no part can move from one list to the next.
fn list<'a>(digester: &mut Digester, parts: impl Iterator<Item = &'a [u8]>) {
    let mut count: u64 = 0;
    for part in parts {
        digester.part(part);
        count += 1;
    }
    digester.part(&count.to_be_bytes());
}
