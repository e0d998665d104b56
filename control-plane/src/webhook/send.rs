//! One attempt: a signed POST, a status. An answer's body is never read.

use super::message::Message;
use super::target::Target;
use agentgate_core::time::Time;
use agentgate_outbound::{SendError, header::CONTENT_TYPE, status};
use hyper::{Request, StatusCode};

/// The message as it is sent at `at`, signed over its own bytes.
pub(super) fn request(target: &Target, message: &Message, at: Time) -> Result<Request<String>, SendError> {
    let timestamp = at.micros() / 1_000_000;
    let request = target.address().post().header(CONTENT_TYPE, "application/json");
    request
        .header("webhook-id", &message.id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", target.secret().sign(&message.id, timestamp, &message.body))
        .body(message.body.clone())
        .map_err(SendError::Request)
}

pub(super) async fn post(target: &Target, request: Request<String>) -> Result<StatusCode, SendError> {
    status(target.address(), request).await
}
