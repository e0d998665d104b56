//! How to say no to a REST client: HTTP's own status, and a flat JSON object whose `error` says which no it is.
//!
//! 403: a policy refuses it. 428: an approver has to grant it first; no client repeats that by itself, as many do with 503 and
//! 409. 503: nobody could decide, and the same request may be sent again. It is never a status of success.

use super::{No, RETRY_AFTER_MS, Reply, Undecided, undecided_text, unread_text, words};
use crate::json::Object;
use crate::mcp::Unread;

/// As [`RETRY_AFTER_MS`]: the header knows no less than a second.
const RETRY_AFTER_S: &str = "1";

pub(super) fn decided(no: No<'_>, call_id: &str) -> Reply {
    let (http_status, error) = if no.pending { (428, "pending") } else { (403, "denied") };
    let mut body = said(error, &no.text()).with("rule", words(no.rule)).with("reason", words(no.reason)).with("call_id", call_id);
    if no.pending {
        if !no.approval.is_empty() {
            body.set("approval", no.approval);
        }
        body.set("retry_after_ms", RETRY_AFTER_MS);
    }
    Reply::json(http_status, &body)
}

pub(super) fn undecided(undecided: Undecided<'_>, call_id: &str) -> Reply {
    let body = said("undecided", &undecided_text(undecided)).with("cause", undecided.cause).with("call_id", call_id);
    if undecided.is_lasting { Reply::json(503, &body) } else { later(&body) }
}

pub(super) fn unavailable(text: &str) -> Reply {
    later(&said("unavailable", text))
}

pub(super) fn malformed(unread: &Unread, call_id: &str) -> Reply {
    let body = said("malformed", &unread_text(unread)).with("reason", unread.reason.reason()).with("call_id", call_id);
    Reply::json(unread.answer().http_status, &body)
}

fn later(body: &Object) -> Reply {
    Reply { retry_after_s: Some(RETRY_AFTER_S), ..Reply::json(503, body) }
}

fn said(error: &str, message: &str) -> Object {
    Object::default().with("error", error).with("message", message)
}
