//! One keep-alive connection of the load: a call goes out, its answer comes back, and every answer is checked.

use crate::call::position;
use agentgate_e2e::{Broken, Doing};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// A whole answer; more than this is none of ours.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
    /// When the call under way was meant to start: latency counts from there, however late it was sent.
    pub(crate) due: Option<Instant>,
}

/// What a gate made of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The tool's own result.
    Result,
    /// Anything else, as far as it can be shown.
    Other(String),
}

// === impl Answer ===

impl Answer {
    pub(crate) fn of(ok: bool, body: &[u8]) -> Self {
        if ok && position(body, br#""isError":false"#).is_some() {
            return Self::Result;
        }
        Self::Other(String::from_utf8_lossy(body).into_owned())
    }
}

// === impl Connection ===

impl Connection {
    pub(crate) fn open(target: SocketAddr) -> Result<Self, Broken> {
        let stream = TcpStream::connect(target).doing(target)?;
        stream.set_nodelay(true).doing(target)?;
        stream.set_nonblocking(true).doing(target)?;
        Ok(Self { stream, received: Vec::with_capacity(4096), due: None })
    }

    pub(crate) fn send(&mut self, call: &[u8], due: Instant) -> Result<(), Broken> {
        self.due = Some(due);
        // 1.5 KB into an empty socket buffer never waits.
        self.stream.write_all(call).doing("sending a call")
    }

    /// The answer, once all of it is here.
    pub(crate) fn receive(&mut self) -> Result<Option<Answer>, Broken> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(Broken("the gate closed a connection in the middle of a call".into())),
            Ok(length) => self.received.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(Broken(format!("receiving an answer: {error}"))),
        }
        if self.received.len() > ANSWER_BYTES_MAX {
            return Err(Broken("an answer is longer than any of ours".into()));
        }
        let answer = read(&self.received);
        if answer.is_some() {
            self.received.clear();
        }
        Ok(answer)
    }
}

/// The answer in these bytes, once its body has ended.
pub(crate) fn read(bytes: &[u8]) -> Option<Answer> {
    let head_end = position(bytes, b"\r\n\r\n")? + 4;
    let (head, body) = bytes.split_at(head_end);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let ended = match head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
        Some(length) => length.parse() == Ok(body.len()),
        None => body.ends_with(b"0\r\n\r\n"),
    };
    if !ended {
        return None;
    }
    Some(Answer::of(head.starts_with("http/1.1 200 "), body))
}
