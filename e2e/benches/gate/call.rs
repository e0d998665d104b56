//! The call that is sent again and again: an MCP `tools/call` with about 1 KB of arguments. Only its id changes, and never its length.

use clap::ValueEnum;

/// Which era of MCP the calls speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Era {
    /// Stateless: 2026-07-28.
    #[value(name = "2026-07-28")]
    Newest,
    /// 2025-11-25, as most of the field.
    #[value(name = "2025-11-25")]
    Legacy,
}

/// One call's bytes, whole.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    bytes: Vec<u8>,
    id_at: usize,
}

/// Ten digits from the first call to the last, so that no length ever changes.
const ID_FIRST: u64 = 1_000_000_000;
const ID_DIGITS: usize = 10;

/// The tool is open in the default policy, and one of its rules looks at this argument.
pub(crate) const TOOL: &str = "search_notes";
/// No policy and no list knows it: whoever lets it through is no gate.
pub(crate) const TOOL_UNKNOWN: &str = "erase_notes";

const ARGUMENTS_BYTES: usize = 1024;

// === impl Era ===

impl Era {
    pub(crate) const fn version(self) -> &'static str {
        match self {
            Self::Newest => "2026-07-28",
            Self::Legacy => "2025-11-25",
        }
    }
}

// === impl Call ===

impl Call {
    /// The one that is measured, whatever the tool: about 1 KB.
    pub(crate) fn new(era: Era, tool: &str) -> Self {
        let words = "oats apples coffee and the gate goes live on Monday ".repeat(ARGUMENTS_BYTES / 50 + 1);
        let query: String = words.chars().take(ARGUMENTS_BYTES).collect();
        Self::with_arguments(era, tool, &format!(r#"{{"query":"{query}"}}"#))
    }

    /// `arguments` are written as JSON.
    pub(crate) fn with_arguments(era: Era, tool: &str, arguments: &str) -> Self {
        let body = body(era, tool, arguments);
        let head = head(era, tool, body.len());
        let bytes = [head, body].concat();
        let id_at = position(bytes.as_bytes(), ID_KEY).map_or(0, |at| at + ID_KEY.len());
        Self { bytes: bytes.into_bytes(), id_at }
    }

    /// The bytes of the call with this number.
    pub(crate) fn numbered(&mut self, number: u64) -> &[u8] {
        let digits = format!("{}", ID_FIRST + number);
        if let Some(place) = self.bytes.get_mut(self.id_at..self.id_at + ID_DIGITS) {
            place.copy_from_slice(digits.as_bytes());
        }
        &self.bytes
    }
}

const ID_KEY: &[u8] = b"\"id\":";

/// The id of the call whose bytes these are.
pub(crate) fn id(bytes: &[u8]) -> Option<&[u8]> {
    let at = position(bytes, ID_KEY)? + ID_KEY.len();
    bytes.get(at..at + ID_DIGITS)
}

pub(crate) fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn body(era: Era, tool: &str, arguments: &str) -> String {
    let meta = match era {
        Era::Newest => concat!(
            r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
            r#""io.modelcontextprotocol/clientCapabilities":{}}"#
        ),
        Era::Legacy => "",
    };
    format!(
        r#"{{"jsonrpc":"2.0","id":{ID_FIRST},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}{meta}}}}}"#
    )
}

fn head(era: Era, tool: &str, length: usize) -> String {
    let version = era.version();
    let mirrored = match era {
        Era::Newest => format!("mcp-method: tools/call\r\nmcp-name: {tool}\r\n"),
        Era::Legacy => String::new(),
    };
    format!(
        "POST /mcp HTTP/1.1\r\nhost: tools.local\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: {version}\r\n{mirrored}\
         content-length: {length}\r\n\r\n"
    )
}
