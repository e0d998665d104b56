//! Reads the head: what the protocol's headers say, each at most once and in plain text.
//!
//! It looks only at headers for which `is_read` holds, so that filter and control plane come to the same end.

use crate::id::Handle;
use crate::mcp::origin::ORIGIN;
use crate::mcp::{Head, Malformed, Rules, Version};
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const CONNECTION: &str = "connection";
const CONTENT_ENCODING: &str = "content-encoding";
const CONTENT_TYPE: &str = "content-type";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
const PARAM_PREFIX: &str = "mcp-param-";

/// Headers that may come once.
const SINGLE: [&str; 6] = [CONTENT_ENCODING, CONTENT_TYPE, METHOD, NAME, SESSION, VERSION];

/// How a value that is no plain ASCII is written in a header.
const ENCODED: (&str, &str) = ("=?base64?", "?=");

/// What the HTTP method wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Post,
    Get,
    Delete,
}

/// What the head says.
#[derive(Debug)]
pub(super) struct Headers<'a> {
    pub(super) verb: Verb,
    /// None: the header is missing.
    pub(super) version: Option<Version>,
    pub(super) method: Option<&'a str>,
    /// As it stands in the header: see [`decode`].
    pub(super) name: Option<&'a str>,
    pub(super) handle: Option<Handle>,
}

/// Whether the parser, or the check of the origin, looks at the header of this name (lower case). Only these travel to the
/// control plane.
#[must_use]
pub fn is_read(name: &[u8]) -> bool {
    is_entity(name) || SINGLE.into_iter().any(|known| is(name, known)) || begins(name, PARAM_PREFIX)
}

/// As [`is_read`], of what is no protocol's own: what the body is, which page sends it, and what a hop may take away.
pub(crate) fn is_entity(name: &[u8]) -> bool {
    [CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, ORIGIN].into_iter().any(|known| is(name, known))
}

/// Checks the headers for which `is_read` holds: names that look like theirs, what Connection takes away, and, where there is
/// `json`, what the body is.
pub(crate) fn check_entity(head: &Head, is_read: fn(&[u8]) -> bool, json: bool) -> Result<(), Malformed> {
    for (name, value) in head.headers.iter().filter(|(name, _)| is_read(name)) {
        check_name(name)?;
        if name == CONNECTION.as_bytes() {
            check_connection(value, is_read)?;
        }
    }
    if json {
        check_content_type(once(head, CONTENT_TYPE)?)?;
    }
    if !once(head, CONTENT_ENCODING)?.is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity")) {
        return Err(Malformed::ContentEncoding);
    }
    Ok(())
}

/// The value of an `Mcp-Name` header, `=?base64?…?=` decoded. None: it cannot be decoded.
pub(super) fn decode(value: &str) -> Option<String> {
    match value.strip_prefix(ENCODED.0).and_then(|rest| rest.strip_suffix(ENCODED.1)) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.into()),
    }
}

// === impl Headers ===

impl<'a> Headers<'a> {
    pub(super) fn read(head: &'a Head, body: &[u8], rules: &Rules) -> Result<Self, Malformed> {
        let verb = Verb::read(&head.method, body)?;
        read_query(&head.path, &rules.query_keys)?;
        check_entity(head, is_read, verb == Verb::Post)?;
        if head.headers.iter().any(|(name, _)| name.starts_with(PARAM_PREFIX.as_bytes())) {
            return Err(Malformed::ParamHeader);
        }
        let version = once(head, VERSION)?.map(|text| taken(text.as_bytes(), rules)).transpose()?;
        let handle = once(head, SESSION)?.map(read_session).transpose()?;
        Ok(Self { verb, version, method: once(head, METHOD)?, name: once(head, NAME)?, handle })
    }
}

// === impl Verb ===

impl Verb {
    fn read(method: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        match method {
            b"POST" => Ok(Self::Post),
            b"GET" | b"DELETE" | b"OPTIONS" | b"HEAD" if !body.is_empty() => Err(Malformed::BodyUnexpected),
            b"GET" => Ok(Self::Get),
            b"DELETE" => Ok(Self::Delete),
            _ => Err(Malformed::HttpMethod),
        }
    }
}

/// The version written as `text`, if the route takes it.
pub(super) fn taken(text: &[u8], rules: &Rules) -> Result<Version, Malformed> {
    let version = Version::parse(text).ok_or(Malformed::UnsupportedVersion)?;
    if rules.versions.contains(&version) { Ok(version) } else { Err(Malformed::UnsupportedVersion) }
}

/// A byte of a name as servers compare names: in lower case, and as `-` whatever is neither letter nor digit, since CGI and
/// its heirs write `_` for `-`, and some of them for `.` and all else.
fn normal(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// Whether a server could take `name` for `known`, which is in normal form.
pub(super) fn is(name: &[u8], known: &str) -> bool {
    name.len() == known.len() && begins(name, known)
}

pub(super) fn begins(name: &[u8], known: &str) -> bool {
    name.len() >= known.len() && name.iter().zip(known.bytes()).all(|(byte, known)| normal(*byte) == known)
}

fn check_name(name: &[u8]) -> Result<(), Malformed> {
    if name.iter().all(|byte| normal(*byte) == *byte) { Ok(()) } else { Err(Malformed::HeaderLookalike) }
}

/// A hop may remove what Connection names, so that the next one reads another head than this one.
fn check_connection(value: &[u8], is_read: fn(&[u8]) -> bool) -> Result<(), Malformed> {
    let named = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    if named.into_iter().any(|name| is_read(name) && !name.eq_ignore_ascii_case(CONNECTION.as_bytes())) {
        return Err(Malformed::ConnectionNamesHeader);
    }
    Ok(())
}

fn once<'a>(head: &'a Head, name: &'static str) -> Result<Option<&'a str>, Malformed> {
    let mut values = head.values(name);
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Malformed::HeaderRepeated);
    }
    let Some(value) = first else {
        return Ok(None);
    };
    if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Malformed::HeaderNotText);
    }
    core::str::from_utf8(value).map(Some).map_err(|_| Malformed::HeaderNotText)
}

/// `application/json`, and no parameter but `charset=utf-8`, once.
fn check_content_type(value: Option<&str>) -> Result<(), Malformed> {
    let mut parts = value.ok_or(Malformed::ContentType)?.split(';').map(str::trim);
    if !parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        return Err(Malformed::ContentType);
    }
    let Some(parameter) = parts.next() else {
        return Ok(());
    };
    let (name, value) = parameter.split_once('=').ok_or(Malformed::ContentType)?;
    if !name.eq_ignore_ascii_case("charset") || parts.next().is_some() {
        return Err(Malformed::ContentType);
    }
    let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    if bare.eq_ignore_ascii_case("utf-8") { Ok(()) } else { Err(Malformed::Charset) }
}

/// Some servers read method and params from the query: only keys that the route names, each once, and no encoded ones.
fn read_query(path: &[u8], taken: &[String]) -> Result<(), Malformed> {
    if path.contains(&b'#') {
        return Err(Malformed::Query);
    }
    let Some(at) = path.iter().position(|byte| *byte == b'?') else {
        return Ok(());
    };
    let mut seen: Vec<&[u8]> = Vec::new();
    for pair in path.get(at + 1..).unwrap_or_default().split(|byte| *byte == b'&') {
        let key = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        // Some readers split at `;` as well, and would find another key behind it.
        if pair.contains(&b';') || seen.contains(&key) || !taken.iter().any(|name| name.as_bytes() == key) {
            return Err(Malformed::Query);
        }
        seen.push(key);
    }
    Ok(())
}

/// Visible ASCII, as the protocol has it.
fn read_session(text: &str) -> Result<Handle, Malformed> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Malformed::SessionId);
    }
    Handle::try_from(text).map_err(|_| Malformed::SessionId)
}
