//! The tool server behind every gate: it answers at once and does nothing.
//!
//! It is no real MCP server on purpose. One of those takes milliseconds a call, and the difference between two gates would drown in it.

use crate::call;
use agentgate_e2e::{Broken, Doing};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// How its threads are called, in `/proc` as well.
pub(crate) const THREAD: &str = "upstream";

/// What a request may be at most; ours is 1.5 KB.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Serves until the program ends.
pub(crate) fn start() -> Result<SocketAddr, Broken> {
    let listener = TcpListener::bind("127.0.0.1:0").doing("the upstream's port")?;
    let address = listener.local_addr().doing("the upstream's port")?;
    let serving = move || {
        for stream in listener.incoming().flatten() {
            // A thread that cannot be started is a connection that Envoy sees closed; its call fails and is counted.
            drop(thread::Builder::new().name(THREAD.into()).spawn(move || serve(stream)));
        }
    };
    thread::Builder::new().name(THREAD.into()).spawn(serving).doing("the upstream's thread")?;
    Ok(address)
}

/// Answers request after request until the other side leaves.
fn serve(mut stream: TcpStream) {
    let mut request = Vec::with_capacity(REQUEST_BYTES_MAX);
    let mut chunk = [0; 16 * 1024];
    if stream.set_nodelay(true).is_err() {
        return;
    }
    while let Ok(length @ 1..) = stream.read(&mut chunk) {
        request.extend_from_slice(chunk.get(..length).unwrap_or_default());
        if request.len() > REQUEST_BYTES_MAX {
            return;
        }
        if !whole(&request) {
            continue;
        }
        if stream.write_all(&answer(call::id(&request).unwrap_or(b"null"))).is_err() {
            return;
        }
        request.clear();
    }
}

/// Whether the body has ended; one request at a time, as Envoy sends them.
fn whole(request: &[u8]) -> bool {
    let Some(head_end) = call::position(request, b"\r\n\r\n") else { return false };
    let (head, body) = request.split_at(head_end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    match head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
        Some(length) => length.parse() == Ok(body.len()),
        None => body.ends_with(b"0\r\n\r\n"),
    }
}

/// A tool's result of about 300 bytes.
fn answer(id: &[u8]) -> Vec<u8> {
    let before = br#"{"jsonrpc":"2.0","id":"#;
    let text = "the notes 1, 2 and 3 contain the words; ".repeat(4);
    let after =
        format!(r#","result":{{"resultType":"complete","content":[{{"type":"text","text":"{text}"}}],"isError":false}}}}"#);
    let length = before.len() + id.len() + after.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), before, id, after.as_bytes()].concat()
}
