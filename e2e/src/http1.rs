//! HTTP/1.1 as raw bytes over a socket of our own: what is sent is exactly what the story says, well formed or not.

use crate::{Broken, Doing, clock};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// One answer, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// The stream or connection ended before the answer did.
    pub cut: bool,
}

/// A connection that stays open between answers.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
}

// === impl Answer ===

impl Answer {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; of an event stream, its last event that is JSON. Null where there is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let whole = serde_json::from_slice(&self.body).ok();
        let text = self.text();
        let event = || text.lines().rev().find_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok());
        whole.or_else(event).unwrap_or_default()
    }
}

// === impl Connection ===

impl Connection {
    /// # Errors
    /// Nobody listens there.
    pub fn open(address: SocketAddr) -> Result<Self, Broken> {
        let stream = TcpStream::connect(address).doing(address)?;
        stream.set_read_timeout(Some(clock::PATIENCE)).doing(address)?;
        stream.set_nodelay(true).doing(address)?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// # Errors
    /// The other side has left.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.reader.get_mut().write_all(bytes).doing("sending")
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        // Already closed by the other side: just as finished.
        drop(self.reader.get_ref().shutdown(std::net::Shutdown::Write));
    }

    /// The next answer, whole.
    ///
    /// # Errors
    /// The other side says nothing, or nothing that is HTTP.
    pub fn answer(&mut self) -> Result<Answer, Broken> {
        let mut answer = self.head()?;
        if answer.status == 100 || answer.status == 204 || answer.status == 304 {
            return Ok(answer);
        }
        self.body(&mut answer)?;
        Ok(answer)
    }

    /// The next answer's status and headers; its body is left to be read.
    ///
    /// # Errors
    /// The other side says nothing, or nothing that is HTTP.
    pub fn head(&mut self) -> Result<Answer, Broken> {
        let first = self.line()?.doing("the connection ended before an answer")?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.doing(format_args!("`{first}` is no status line"))?;
        Ok(Answer { status, headers: self.fields()?, ..Answer::default() })
    }

    /// Reads until these bytes came; what came before and they themselves are returned.
    ///
    /// # Errors
    /// They never came.
    pub fn until(&mut self, wanted: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(wanted) {
            self.reader.read_exact(&mut byte).doing(format_args!(
                "waiting for {:?} after {:?}",
                String::from_utf8_lossy(wanted),
                String::from_utf8_lossy(&seen)
            ))?;
            seen.extend_from_slice(&byte);
        }
        Ok(seen)
    }

    /// All that comes until the other side closes.
    #[must_use]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset ends it as well as a close.
        drop(self.reader.read_to_end(&mut rest));
        rest
    }

    fn body(&mut self, answer: &mut Answer) -> Result<(), Broken> {
        if answer.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            return self.chunks(answer);
        }
        match answer.header("content-length").and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => {
                let taken = self.reader.by_ref().take(length as u64).read_to_end(&mut answer.body);
                answer.cut = taken.ok() != Some(length);
            }
            None => answer.body = self.rest(),
        }
        Ok(())
    }

    fn chunks(&mut self, answer: &mut Answer) -> Result<(), Broken> {
        loop {
            let Some(size) = self.line()? else {
                answer.cut = true;
                return Ok(());
            };
            let size = u64::from_str_radix(size.trim(), 16).doing(format_args!("`{size}` is no chunk size"))?;
            if size == 0 {
                answer.trailers = self.fields()?;
                return Ok(());
            }
            let taken = self.reader.by_ref().take(size).read_to_end(&mut answer.body);
            if taken.ok().map(|taken| taken as u64) != Some(size) || self.line()?.is_none() {
                answer.cut = true;
                return Ok(());
            }
        }
    }

    fn fields(&mut self) -> Result<Vec<(String, String)>, Broken> {
        let mut fields = Vec::new();
        while let Some(line) = self.line()?.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').doing(format_args!("`{line}` is no header"))?;
            fields.push((name.to_lowercase(), value.trim().to_owned()));
        }
        Ok(fields)
    }

    fn line(&mut self) -> Result<Option<String>, Broken> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).doing("reading an answer")?;
        if line.is_empty() {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
    }
}

/// One GET on a connection of its own.
///
/// # Errors
/// Nobody listens there, or it is not HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<Answer, Broken> {
    exchange(address, format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())
}

/// Sends these bytes on a connection of its own and reads one answer; an interim one is passed over.
///
/// # Errors
/// Nobody listens there, or it is not HTTP.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Answer, Broken> {
    let mut connection = Connection::open(address)?;
    // Whoever refuses early need not read on; its answer says more than a broken pipe.
    drop(connection.send(bytes));
    loop {
        let answer = connection.answer()?;
        if answer.status != 100 {
            return Ok(answer);
        }
    }
}

/// A request as bytes: what the story gave, then `content-length`, unless the story says itself how the body is framed.
#[must_use]
pub fn request(method: &str, path: &str, headers: &[(&str, &[u8])], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    let names = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    if !names("host") {
        bytes.extend_from_slice(b"host: tools.example\r\n");
    }
    if !(names("content-length") || names("transfer-encoding") || (body.is_empty() && method != "POST")) {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}
