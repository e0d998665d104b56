//! The recording server's HTTP/2: many streams at once, trailers in both directions.

use super::recorded::Recorded;
use super::{Arrived, Part, Reply, Shared};
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

pub(super) async fn serve(socket: Recorded, shared: Shared) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    while let Some(Ok((request, response))) = connection.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            // A stream that its other side resets has said all that it will.
            drop(answer(request, response, shared).await);
        });
    }
}

async fn answer(request: Request<h2::RecvStream>, response: SendResponse<Bytes>, shared: Shared) -> Result<(), h2::Error> {
    let arrived = read(request).await?;
    let reply = shared.take(arrived);
    write(response, &reply, &shared).await
}

async fn read(request: Request<h2::RecvStream>) -> Result<Arrived, h2::Error> {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let mut arrived = Arrived { method: head.method.to_string(), path, headers: fields(&head.headers), ..Arrived::default() };
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        arrived.body.extend_from_slice(&piece);
    }
    arrived.trailers = body.trailers().await?.as_ref().map(fields).unwrap_or_default();
    Ok(arrived)
}

async fn write(mut response: SendResponse<Bytes>, reply: &Reply, shared: &Shared) -> Result<(), h2::Error> {
    let mut head = Response::new(());
    *head.status_mut() = http::StatusCode::from_u16(reply.status).unwrap_or_default();
    *head.headers_mut() = map(&reply.headers);
    let mut sending = response.send_response(head, false)?;
    for part in &reply.parts {
        match part {
            Part::Bytes(bytes) => sending.send_data(Bytes::copy_from_slice(bytes), false)?,
            Part::Wait => shared.released().await,
            Part::Cut => {
                sending.send_reset(h2::Reason::INTERNAL_ERROR);
                return Ok(());
            }
        }
    }
    if reply.trailers.is_empty() { sending.send_data(Bytes::new(), true) } else { sending.send_trailers(map(&reply.trailers)) }
}

fn map(fields: &[(String, String)]) -> HeaderMap {
    let parsed = fields.iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    let mut map = HeaderMap::new();
    map.extend(parsed);
    map
}

fn fields(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}
