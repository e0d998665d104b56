//! The head of an HTTP request, as bytes: nothing here was decoded, joined or dropped.

use super::headers::{begins, is};
use alloc::vec::Vec;

/// Method, path and headers of one request. Names are lower case, as HTTP/2 and Envoy write them; a header that came
/// twice is here twice; pseudo-headers are not in `headers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub method: Vec<u8>,
    /// With the query string, if there was one.
    pub path: Vec<u8>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Headers by which a client could have a gated request taken for another, of another method, host or path, or executed more
/// than once. Removed on the way in, with every name that begins with [`STRIPPED_PREFIX`] and every name that a server could
/// take for one of these; the parser never looks at them.
const STRIPPED: [&str; 18] = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-server",
    "x-host",
    "x-http-host-override",
    "x-original-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-path",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
    "x-forwarded-method",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-forwarded-uri",
];

/// Envoy's own headers, whoever it takes for internal: a client's `x-envoy-max-retries` executed one call four times.
pub const STRIPPED_PREFIX: &str = "x-envoy-";

// === impl Head ===

impl Head {
    /// Every value of the header `name` (lower case), in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(n, _)| n == name.as_bytes()).map(|(_, value)| value.as_slice())
    }
}

/// The names that are removed from a gated request; see also [`STRIPPED_PREFIX`] and [`is_stripped`].
#[must_use]
pub const fn stripped_headers() -> &'static [&'static str] {
    &STRIPPED
}

/// Whether a client's header of this name is removed from a gated request. Names are compared as servers compare them:
/// `x-http-method.override` is what CGI and its heirs know as `HTTP_X_HTTP_METHOD_OVERRIDE` too.
#[must_use]
pub fn is_stripped(name: &[u8]) -> bool {
    begins(name, STRIPPED_PREFIX) || STRIPPED.iter().any(|stripped| is(name, stripped))
}
