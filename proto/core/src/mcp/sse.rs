//! Server-sent events, chunk by chunk: bytes in, complete events out, each with its own bytes.
//!
//! It holds nothing but the event that is not complete yet, and refuses one that grows beyond its bound. It joins no
//! stream to another and interprets no data.

use alloc::vec::Vec;
use thiserror::Error;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads one stream.
#[derive(Clone, Debug)]
pub struct Reader {
    event_bytes_max: usize,
    /// The bytes of the event that is not complete yet.
    raw: Vec<u8>,
    /// Where its current line begins.
    line: usize,
    data: Option<Vec<u8>>,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// No line of the stream is complete yet: a byte order mark may stand before it.
    at_start: bool,
}

/// One complete event, or a block of comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its bytes as received, the blank line included: the raw bytes of all events and the rest make up the stream.
    pub raw: Vec<u8>,
    /// Its data lines, joined by line feeds. None: clients see no event here (a comment, or an id alone).
    pub data: Option<Vec<u8>>,
}

/// The event that is not complete yet has grown beyond the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an event of the stream is larger than {event_bytes_max} bytes")]
pub struct Overlong {
    pub event_bytes_max: usize,
}

// === impl Reader ===

impl Reader {
    #[must_use]
    pub fn new(event_bytes_max: usize) -> Self {
        Self { event_bytes_max, raw: Vec::new(), line: 0, data: None, after_return: false, at_start: true }
    }

    /// Takes the next bytes and returns the events that they completed.
    ///
    /// # Errors
    /// When an event is larger than the bound. The stream is lost then: nothing more can be read of it.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<Vec<Event>, Overlong> {
        let mut events = Vec::new();
        for byte in chunk {
            if self.raw.len() >= self.event_bytes_max {
                return Err(Overlong { event_bytes_max: self.event_bytes_max });
            }
            self.raw.push(*byte);
            let second_half = core::mem::replace(&mut self.after_return, *byte == b'\r') && *byte == b'\n';
            if second_half {
                self.line = self.raw.len();
            } else if matches!(byte, b'\r' | b'\n') && self.end_line() {
                self.line = 0;
                events.push(Event { raw: core::mem::take(&mut self.raw), data: self.data.take() });
            }
        }
        Ok(events)
    }

    /// What has been received of the event that is not complete. At the end of a stream clients drop it.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.raw
    }

    /// Whether the line that just ended was blank.
    fn end_line(&mut self) -> bool {
        let end = self.raw.len().saturating_sub(1);
        let mut line = self.raw.get(self.line..end).unwrap_or_default();
        if core::mem::take(&mut self.at_start) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        let blank = line.is_empty();
        if let Some(value) = data_of(line) {
            match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            }
        }
        self.line = self.raw.len();
        blank
    }
}

/// The value of a `data` line; none for every other line.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"data")?;
    match rest.strip_prefix(b":") {
        Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        None => rest.is_empty().then_some(rest),
    }
}

/// Whether clients see more in the line than a field that they do not know.
fn is_known(line: &[u8]) -> bool {
    let field = line.split(|byte| *byte == b':').next().unwrap_or_default();
    matches!(field, b"" | b"event" | b"id" | b"retry")
}

// === impl Event ===

impl Event {
    /// This event with other data: its other lines (id, event, retry, comments) stay, in their order. Lines that clients
    /// ignore are left out: behind a second byte order mark a server could keep data that comes to life once the first is gone.
    #[must_use]
    pub fn with_data(&self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.raw.len().saturating_add(data.len()));
        let mut written = false;
        let bare = self.raw.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.raw);
        // Cut at both terminators: the empty line inside a CRLF is as good as none.
        for line in bare.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| !line.is_empty()) {
            if data_of(line).is_none() {
                if is_known(line) {
                    out.extend_from_slice(line);
                    out.push(b'\n');
                }
            } else if !core::mem::replace(&mut written, true) {
                write_data(&mut out, data);
            }
        }
        if !written {
            write_data(&mut out, data);
        }
        out.push(b'\n');
        out
    }
}

/// One `data` line for each line of `data`: a carriage return or line feed in it would end the field.
fn write_data(out: &mut Vec<u8>, data: &[u8]) {
    let mut rest = data;
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
        if end.is_none() {
            return;
        }
        rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
