//! HTTP/2 requests, frame by frame as the story says: body in pieces, trailers, or left in the middle.

use crate::http1::Answer;
use crate::{Broken, Doing, clock};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// What one HTTP/2 stream carries.
#[derive(Clone, Debug, Default)]
pub struct Stream<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: Vec<(&'a str, &'a [u8])>,
    pub body: Vec<&'a [u8]>,
    pub trailers: Vec<(&'a str, &'a [u8])>,
}

/// Sends one stream on a connection of its own and reads its answer. An answer that ends in a reset is `cut`; status 0: not even a head came.
///
/// # Errors
/// Nobody listens there, or the library refuses to send this.
pub fn exchange(address: SocketAddr, stream: &Stream<'_>) -> Result<Answer, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("a runtime")?;
    runtime.block_on(async {
        let within = tokio::time::timeout(clock::PATIENCE, exchanged(address, stream));
        within.await.doing("an HTTP/2 answer")?
    })
}

async fn exchanged(address: SocketAddr, stream: &Stream<'_>) -> Result<Answer, Broken> {
    let socket = TcpStream::connect(address).await.doing(address)?;
    let (client, connection) = h2::client::handshake(socket).await.doing("the HTTP/2 handshake")?;
    // Its failure shows in the stream's.
    let driver = tokio::spawn(async move { drop(connection.await) });
    let mut client = client.ready().await.doing("the HTTP/2 connection")?;
    let bodiless = stream.body.is_empty() && stream.trailers.is_empty();
    let (response, mut sending) = client.send_request(head(stream)?, bodiless).doing("an HTTP/2 head")?;
    if !bodiless {
        // A reset while we send is an answer too: `received` tells it.
        drop(sent(stream, &mut sending));
    }
    let answer = received(response).await;
    driver.abort();
    Ok(answer)
}

fn head(stream: &Stream<'_>) -> Result<Request<()>, Broken> {
    let mut request = Request::builder().method(stream.method).uri(format!("http://tools.example{}", stream.path));
    for (name, value) in &stream.headers {
        request = request.header(*name, HeaderValue::from_bytes(value).doing(name)?);
    }
    let request = request.body(()).doing("an HTTP/2 request")?;
    // The library drops a fragment: then it is not the story's request any more.
    let path = request.uri().path_and_query().map(http::uri::PathAndQuery::as_str);
    if path == Some(stream.path) { Ok(request) } else { Err(Broken(format!("HTTP/2 cannot say `{}`", stream.path))) }
}

fn sent(stream: &Stream<'_>, sending: &mut h2::SendStream<Bytes>) -> Result<(), h2::Error> {
    let last = stream.body.len().saturating_sub(1);
    for (index, piece) in stream.body.iter().enumerate() {
        sending.send_data(Bytes::copy_from_slice(piece), index == last && stream.trailers.is_empty())?;
    }
    if stream.trailers.is_empty() {
        return Ok(());
    }
    let mut trailers = HeaderMap::new();
    for (name, value) in &stream.trailers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            trailers.append(name, value);
        }
    }
    sending.send_trailers(trailers)
}

async fn received(response: h2::client::ResponseFuture) -> Answer {
    let mut answer = Answer { cut: true, ..Answer::default() };
    let Ok(response) = response.await else { return answer };
    answer.status = response.status().as_u16();
    answer.headers = fields(response.headers());
    let mut body = response.into_body();
    while let Some(piece) = body.data().await {
        let Ok(piece) = piece else { return answer };
        // The window is ours alone: it cannot be released twice.
        drop(body.flow_control().release_capacity(piece.len()));
        answer.body.extend_from_slice(&piece);
    }
    if let Ok(trailers) = body.trailers().await {
        answer.trailers = trailers.as_ref().map(fields).unwrap_or_default();
        answer.cut = false;
    }
    answer
}

fn fields(map: &HeaderMap) -> Vec<(String, String)> {
    map.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}
