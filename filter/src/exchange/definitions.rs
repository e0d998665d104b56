//! The tools that a server lists, each as it was written, bounded: what a policy's author learns from.
//!
//! What there is no room for is left out, and the report says that something was.

use agentgate_core::json::Json;
use agentgate_core::mcp::response::Response;
use agentgate_proto::v1;

/// Tools of one answer. Servers that list more are rare, and pages of a long list are answers of their own.
pub(super) const DEFINITIONS_MAX: usize = 512;
/// One tool's name, words and schemas.
pub(super) const DEFINITION_BYTES_MAX: usize = 32 * 1_024;
/// All of them: some dozens of such reports must fit beside what became of calls.
pub(super) const DEFINITIONS_BYTES_MAX: usize = 256 * 1_024;

#[derive(Debug, Default)]
pub(super) struct Definitions {
    tools: Vec<Vec<u8>>,
    bytes: usize,
    /// Those that stood in the list, with and without room.
    pub(super) listed: u32,
    cut: bool,
}

// === impl Definitions ===

impl Definitions {
    pub(super) fn add(&mut self, list: &Response) {
        let tools = list.result().and_then(|result| result.get("tools")).and_then(Json::as_array).unwrap_or_default();
        for tool in tools {
            self.listed = self.listed.saturating_add(1);
            if self.tools.len() >= DEFINITIONS_MAX {
                self.cut = true;
                continue;
            }
            let text = tool.to_string().into_bytes();
            let bytes = self.bytes.saturating_add(text.len());
            if text.len() > DEFINITION_BYTES_MAX || bytes > DEFINITIONS_BYTES_MAX {
                self.cut = true;
                continue;
            }
            self.bytes = bytes;
            self.tools.push(text);
        }
    }

    pub(super) fn put_into(self, outcome: &mut v1::Outcome) {
        outcome.tools = self.tools.into_iter().map(Into::into).collect();
        outcome.tools_cut = self.cut;
    }
}
