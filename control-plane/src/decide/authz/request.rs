//! The request as Envoy describes it in a Check: its head as bytes, and whether its body is whole.
//!
//! It takes only the raw headers, in which a repeated one is seen twice; the map of joined ones hides that.

use agentgate_core::endpoint::HOST;
use agentgate_core::json::Fault;
use agentgate_core::mcp::{Head, Malformed, is_stripped};
use std::collections::HashMap;

/// Which Envoy adds to what it asks: whether the body that it sends was cut. A client's own it leaves out when it asks, so none
/// is seen here; and leaves in when the request goes on, so it is always taken out.
const PARTIAL: &str = "x-envoy-auth-partial-body";

/// Everything that a Check says and that is read.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) extensions: HashMap<String, String>,
    /// The caller's name by its verified certificate; empty: none.
    pub(super) peer: String,
    /// With the pseudo-headers; none where Envoy sent only the joined ones.
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

// === impl Request ===

impl Request {
    /// The head, without what Envoy added for us.
    ///
    /// # Errors
    /// What Envoy's configuration has to say so that there is one.
    pub(super) fn head(&self) -> Result<Head, &'static str> {
        const RAW: &str = "Envoy sends no raw headers; set `encode_raw_headers: true` in its ext_authz filter";
        let (mut methods, mut paths) = (self.values(b":method"), self.values(b":path"));
        let (Some(method), None, Some(path), None) = (methods.next(), methods.next(), paths.next(), paths.next()) else {
            return Err(RAW);
        };
        let is_header = |(name, _): &&(Vec<u8>, Vec<u8>)| !name.starts_with(b":") && name != PARTIAL.as_bytes();
        // As the filter has it: Envoy keeps no Host header beside its own pseudo-header.
        let hosts = self.values(b":authority").map(|host| (HOST.as_bytes().to_vec(), host.to_vec()));
        let headers = hosts.chain(self.headers.iter().filter(is_header).cloned()).collect();
        Ok(Head { method: method.to_vec(), path: path.to_vec(), headers })
    }

    pub(super) fn is_upgrade(&self) -> bool {
        let connects = self.values(b":method").any(|method| method.eq_ignore_ascii_case(b"CONNECT"));
        connects || self.values(b"upgrade").next().is_some() || self.values(b":protocol").next().is_some()
    }

    /// Whether the body that came is the whole of it. One that Envoy's configuration keeps back, in part or at all, is not.
    pub(super) fn check_body(&self, head: &Head) -> Result<(), Malformed> {
        let mut said = self.values(PARTIAL.as_bytes());
        match (said.next(), said.next()) {
            (Some(b"false"), None) => {}
            (None, _) if self.body.is_empty() => {}
            (Some(_) | None, _) => return Err(Malformed::BodyTooLarge),
        }
        let is_chunked = self.body.is_empty() && self.values(b"transfer-encoding").next().is_some();
        let length = self.body.len().to_string();
        if !is_chunked && self.values(b"content-length").all(|said| said == length.as_bytes()) {
            return Ok(());
        }
        Err(if head.method == b"POST" { Malformed::Json(Fault::Truncated) } else { Malformed::BodyUnexpected })
    }

    /// The names of what could have the request taken for another, executed more than once, or read differently. Envoy removes
    /// by exact name: those that came are named.
    pub(super) fn unclean(&self) -> Vec<String> {
        let mut unclean = vec![PARTIAL.to_owned()];
        for (name, _) in &self.headers {
            let Ok(text) = std::str::from_utf8(name) else { continue };
            if (is_stripped(name) || text == "expect") && !unclean.iter().any(|other| other == text) {
                unclean.push(text.to_owned());
            }
        }
        unclean
    }

    fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_slice())
    }
}
