//! Whose calls are to be gated: one address, or the `mcpServers` file that people already have. It refuses what it would have
//! to guess at, and names it.

use crate::place;
use agentgate_core::id::Server;
use agentgate_core::json::{Json, Object};
use agentgate_e2e::Broken;
use std::fs;
use std::path::Path;

/// Such files are written by people.
const FILE_BYTES_MAX: usize = 1 << 20;
/// The members that name an HTTP server's address; clients differ.
pub(crate) const ADDRESSES: [&str; 3] = ["url", "httpUrl", "serverUrl"];

/// A server that is reached over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpServer {
    /// Under which it stands behind the gate.
    pub(crate) name: String,
    /// Under which it stands in the client's file.
    pub(crate) key: String,
    pub(crate) url: String,
}

/// A server that a client starts and speaks to over a pipe. No gate stands in a pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StdioServer {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Servers {
    pub(crate) http: Vec<HttpServer>,
    pub(crate) stdio: Vec<StdioServer>,
    /// Left out, and why.
    pub(crate) left_out: Vec<String>,
    /// The client's file as it was read.
    pub(crate) file: Object,
}

/// What a person can do about one entry.
const MEND: &str = "leave the entry out, or correct it";

// === impl Servers ===

impl Servers {
    /// One server, by its address.
    pub(crate) fn one(url: &str, name: Option<&str>) -> Result<Self, Broken> {
        let name = name.map_or_else(|| named_by(url), ToOwned::to_owned);
        let server = HttpServer { name: checked(&name)?, key: name.clone(), url: addressed(url, &name)? };
        let entry = Object::default().with("type", "http").with("url", url);
        let file = Object::default().with("mcpServers", Object::default().with(&name, entry));
        Ok(Self { http: vec![server], file, ..Self::default() })
    }

    /// Those of an `mcpServers` file (or of its sibling, whose key is `servers`).
    pub(crate) fn read(path: &Path) -> Result<Self, Broken> {
        let shown = path.display();
        let bytes = fs::read(path).map_err(|error| Broken(format!("cannot read `{shown}`: {error}")))?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(Broken(format!("`{shown}` is longer than {FILE_BYTES_MAX} bytes: is it the right file?")));
        }
        Self::parse(&bytes).map_err(|Broken(why)| Broken(format!("`{shown}`: {why}")))
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Broken> {
        let json = place::read(bytes).map_err(Broken)?;
        let Json::Object(file) = json else { return Err(Broken("it is no JSON object".into())) };
        let all = listed(&file).and_then(|key| file.get(key)?.as_object());
        let all = all.ok_or_else(|| Broken("it has no object `mcpServers`".into()))?;
        let mut servers = Self::default();
        for (key, entry) in all.iter() {
            let entry = entry.as_object().ok_or_else(|| Broken(format!("`{}` is no object", key.escape_debug())));
            entry.and_then(|entry| servers.take(key, entry)).map_err(|Broken(why)| Broken(format!("{why}; {MEND}")))?;
        }
        if servers.http.is_empty() {
            return Err(Broken(servers.without_http()));
        }
        servers.file = file;
        Ok(servers)
    }

    /// Why no gate can be made of it, and what to do.
    fn without_http(&self) -> String {
        let left_out = self.left_out.iter().map(|why| format!("\n  {why}"));
        let stdio = (1..).zip(&self.stdio);
        let stdio =
            stdio.map(|(number, stdio)| format!("\n  {}: it speaks stdio; a bridge: {}", stdio.name, stdio.bridge(number)));
        let all: String = left_out.chain(stdio).collect();
        if all.is_empty() { "it names no server".into() } else { format!("none of its servers can stand behind the gate{all}") }
    }

    fn take(&mut self, key: &str, entry: &Object) -> Result<(), Broken> {
        let name = checked(key)?;
        if self.http.iter().map(|http| &http.name).chain(self.stdio.iter().map(|stdio| &stdio.name)).any(|known| *known == name) {
            return Err(Broken(format!("`{}` and another server would both be named `{name}`", key.escape_debug())));
        }
        if matches!(entry.get("disabled"), Some(Json::Bool(true))) {
            self.left_out.push(format!("{name}: it is disabled"));
            return Ok(());
        }
        let kind = text(entry, "type", &name)?.map(|kind| kind.to_ascii_lowercase());
        let url = address(entry, &name)?;
        let command = text(entry, "command", &name)?;
        match (url, command) {
            (Some(_), Some(_)) => Err(Broken(format!("`{name}` has both a `url` and a `command`: leave one of them out"))),
            (None, None) => Err(Broken(format!("`{name}` has neither a `url` nor a `command`"))),
            (Some(_), None) if kind.as_deref() == Some("sse") => {
                // Its answers come on another request than its calls: a gate cannot tell which belongs to which.
                self.left_out.push(format!("{name}: the old HTTP+SSE transport is not read; ask its server for streamable HTTP"));
                Ok(())
            }
            (Some(url), None) => {
                let url = addressed(&url, &name)?;
                self.http.push(HttpServer { name, key: key.into(), url });
                Ok(())
            }
            (None, Some(command)) => {
                let arguments = match entry.get("args") {
                    None => Vec::new(),
                    Some(Json::Array(all)) => {
                        let texts: Option<Vec<String>> = all.iter().map(|one| one.as_str().map(ToOwned::to_owned)).collect();
                        texts.ok_or_else(|| Broken(format!("`args` of `{name}` is no list of texts")))?
                    }
                    Some(_) => return Err(Broken(format!("`args` of `{name}` is no list of texts"))),
                };
                self.stdio.push(StdioServer { name, command: [vec![command], arguments].concat() });
                Ok(())
            }
        }
    }
}

// === impl StdioServer ===

impl StdioServer {
    /// The command that makes an HTTP server of it, the `number`th on this machine.
    pub(crate) fn bridge(&self, number: u16) -> String {
        let port = 8_100_u16.saturating_add(number);
        let command: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        format!("uvx mcp-proxy --port {port} -- {}", command.join(" "))
    }
}

/// The key whose value lists the servers.
pub(crate) fn listed(file: &Object) -> Option<&'static str> {
    ["mcpServers", "servers"].into_iter().find(|key| file.get(key).is_some())
}

/// As a shell reads it as one word.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@,+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''").escape_debug())
}

/// The name that a server gets: what a route's path and the tool table can hold.
fn checked(key: &str) -> Result<String, Broken> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = key.trim().chars().map(|c| if plain(c) { c } else { '-' }).collect();
    let usable = name.trim_matches(['-', '.']);
    if usable.is_empty() || Server::try_from(usable).is_err() {
        return Err(Broken(format!(
            "`{}` is no name that a server can have behind the gate; use letters and digits",
            key.escape_debug()
        )));
    }
    Ok(usable.into())
}

/// The first part of the host's name that says something.
fn named_by(url: &str) -> String {
    let host = url.split("://").nth(1).unwrap_or_default().split(['/', ':', '?']).next().unwrap_or_default();
    let is_address = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') || host.starts_with('[');
    if is_address || host == "localhost" {
        return "tools".into();
    }
    let said = host.split('.').find(|label| !matches!(*label, "www" | "mcp" | "api"));
    said.unwrap_or("tools").into()
}

/// The rest is looked at by `agentgate envoy`.
fn addressed(url: &str, name: &str) -> Result<String, Broken> {
    if url.starts_with("http://") || url.starts_with("https://") {
        return Ok(url.into());
    }
    Err(Broken(format!("the address of `{name}` is `{}`: write it like `http://host:port/mcp`", url.escape_debug())))
}

/// The one address that an entry gives.
fn address(entry: &Object, name: &str) -> Result<Option<String>, Broken> {
    let mut given = Vec::new();
    for member in ADDRESSES {
        given.extend(text(entry, member, name)?.map(|url| (member, url)));
    }
    if let [(first, _), (second, _), ..] = given.as_slice() {
        return Err(Broken(format!("`{name}` has both a `{first}` and a `{second}`: leave one of them out")));
    }
    Ok(given.pop().map(|(_, url)| url))
}

fn text(entry: &Object, member: &str, name: &str) -> Result<Option<String>, Broken> {
    match entry.get(member) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Broken(format!("`{member}` of `{name}` is no text"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Broken, HttpServer, Servers, StdioServer};

    fn http(name: &str, url: &str) -> HttpServer {
        HttpServer { name: name.into(), key: name.into(), url: url.into() }
    }

    #[test]
    fn each_entry_of_a_file_is_read_or_named() {
        let file = br#"{"mcpServers": {
            "notes": {"type": "http", "url": "http://127.0.0.1:8000/mcp", "headers": {"Authorization": "Bearer x"}},
            "My Files": {"url": "https://files.example/mcp", "timeout": 5, "alwaysAllow": ["x"]},
            "git": {"command": "uvx", "args": ["mcp-server-git", "--repository", "/a b"], "env": {"X": "y"}},
            "gem": {"httpUrl": "http://127.0.0.1:8001/mcp"},
            "old": {"type": "sse", "url": "http://127.0.0.1:9000/sse"},
            "off": {"disabled": true, "command": "x"}}}"#;
        let servers = Servers::parse(file).unwrap();
        let files = HttpServer { key: "My Files".into(), ..http("My-Files", "https://files.example/mcp") };
        assert_eq!(servers.http, [http("notes", "http://127.0.0.1:8000/mcp"), files, http("gem", "http://127.0.0.1:8001/mcp")]);
        let command = ["uvx", "mcp-server-git", "--repository", "/a b"].map(ToOwned::to_owned).to_vec();
        assert_eq!(servers.stdio, [StdioServer { name: "git".into(), command }]);
        assert_eq!(servers.stdio[0].bridge(1), "uvx mcp-proxy --port 8101 -- uvx mcp-server-git --repository '/a b'");
        assert_eq!(servers.left_out.len(), 2, "{:?}", servers.left_out);
    }

    #[test]
    fn what_would_have_to_be_guessed_is_named_instead() {
        for (file, named) in [
            (&br#"{"mcpServers": {"#[..], "the file ends in the middle of its JSON"),
            (br#"[]"#, "no JSON object"),
            (br#"{}"#, "no object `mcpServers`"),
            (br#"{"mcpServers": []}"#, "no object `mcpServers`"),
            (br#"{"mcpServers": {}}"#, "it names no server"),
            (br#"{"mcpServers": {"a": {"type": "sse", "url": "http://a/sse"}}}"#, "a: the old HTTP+SSE transport is not read"),
            (br#"{"mcpServers": {"a": {"disabled": true, "url": "http://a/mcp"}}}"#, "a: it is disabled"),
            (br#"{"mcpServers": {"a": 1}}"#, "`a` is no object; leave the entry out, or correct it"),
            (br#"{"mcpServers": {"a": {}}}"#, "neither a `url` nor a `command`"),
            (br#"{"mcpServers": {"a": {"url": "http://a/mcp", "command": "x"}}}"#, "both a `url` and a `command`"),
            (br#"{"mcpServers": {"a": {"url": "http://a/sse", "httpUrl": "http://a/mcp"}}}"#, "both a `url` and a `httpUrl`"),
            (br#"{"mcpServers": {"a": {"url": 1}}}"#, "`url` of `a` is no text"),
            (br#"{"mcpServers": {"a": {"url": "ftp://a"}}}"#, "write it like `http://host:port/mcp`"),
            (br#"{"mcpServers": {"a": {"command": "x", "args": "y"}}}"#, "`args` of `a`"),
            (br#"{"mcpServers": {"a b": {"url": "http://a/mcp"}, "a-b": {"url": "http://b/mcp"}}}"#, "would both be named `a-b`"),
            (br#"{"mcpServers": {"a": {"url": "http://a/mcp"}, "a": {"url": "http://b/mcp"}}}"#, "the same key twice"),
            (br#"{"mcpServers": {"\u202e": {"url": "http://a/mcp"}}}"#, "is no name"),
            (br#"{"mcpServers": {"git": {"command": "uvx", "args": ["git"]}}}"#, "mcp-proxy --port 8101 -- uvx git"),
        ] {
            let Broken(why) = Servers::parse(file).unwrap_err();
            assert!(why.contains(named), "{}\n  gave: {why}\n  want: {named}", String::from_utf8_lossy(file));
        }
    }

    #[test]
    fn one_server_is_named_by_its_host_unless_it_is_given_a_name() {
        for (url, name, wanted) in [
            ("http://127.0.0.1:8000/mcp", None, "tools"),
            ("http://localhost/mcp", None, "tools"),
            ("http://[::1]:8000/mcp", None, "tools"),
            ("https://mcp.linear.app/mcp", None, "linear"),
            ("https://github.example", None, "github"),
            ("http://127.0.0.1:8000/mcp", Some("files"), "files"),
        ] {
            assert_eq!(Servers::one(url, name).unwrap().http, [http(wanted, url)]);
        }
        assert!(Servers::one("127.0.0.1:8000", None).is_err());
    }
}
