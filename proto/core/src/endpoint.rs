//! Where a request goes, as whoever gates it received it: the method of HTTP, the host and the path. One tool's name may stand
//! for several of them, and an approval is for one.

use crate::mcp::Head;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The host that a request asks for stands under this name among the headers of a [`Head`].
pub const HOST: &str = "host";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Of HTTP.
    pub method: String,
    /// With its port, if one was written; in the letters in which it was written.
    pub host: String,
    /// With its query, which may choose what is acted upon.
    pub path: String,
}

// === impl Endpoint ===

impl Endpoint {
    /// Two heads that ask for different hosts, or by different methods, have different endpoints, whatever bytes they hold: what
    /// is no visible ASCII is escaped, and a line break parts two hosts. What is not UTF-8 in a path was refused, or stands in
    /// a query that no route takes.
    #[must_use]
    pub fn of(head: &Head) -> Self {
        let hosts: Vec<String> = head.values(HOST).map(|host| host.escape_ascii().to_string()).collect();
        Self {
            method: head.method.escape_ascii().to_string(),
            host: hosts.join("\n"),
            path: String::from_utf8_lossy(&head.path).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::Endpoint;
    use crate::mcp::Head;

    fn endpoint(method: &[u8], hosts: &[&[u8]]) -> Endpoint {
        let headers = hosts.iter().map(|host| (b"host".to_vec(), host.to_vec())).collect();
        Endpoint::of(&Head { method: method.to_vec(), path: b"/a?b".to_vec(), headers })
    }

    #[test]
    fn other_bytes_are_another_place() {
        let plain = endpoint(b"GET", &[b"a.example:80"]);
        assert_eq!((plain.method.as_str(), plain.host.as_str(), plain.path.as_str()), ("GET", "a.example:80", "/a?b"));
        let others: [(&[u8], &[&[u8]]); 8] = [
            (b"PUT", &[b"a.example:80"]),
            (b"GET", &[]),
            (b"GET", &[b"b.example:80"]),
            (b"GET", &[b"A.example:80"]),
            (b"GET", &[b"a.example:80", b"b.example"]),
            (b"GET", &[b"a.example:80\nb.example"]),
            (b"GET", &[b"a\xff"]),
            (b"GET", &[b"a\xfe"]),
        ];
        for (at, (method, hosts)) in others.iter().enumerate() {
            let one = endpoint(method, hosts);
            assert_ne!(one, plain, "{at}");
            assert!(others.iter().skip(at + 1).all(|(method, hosts)| endpoint(method, hosts) != one), "{at}");
        }
    }
}
