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

#[cfg(test)]
mod tests {
    use super::{DEFINITION_BYTES_MAX, DEFINITIONS_BYTES_MAX, DEFINITIONS_MAX, Definitions};
    use agentgate_core::mcp::Limits;
    use agentgate_core::mcp::response::{ServerMessage, read};
    use agentgate_proto::v1;

    /// Of a list of tools with texts of these lengths: how many are told, and whether something was left out.
    fn check(lengths: &[usize], told: usize, cut: bool) {
        let shell = r#"{"name":""}"#.len();
        let tool = |length: &usize| format!(r#"{{"name":"{}"}}"#, "t".repeat(length - shell));
        let tools: Vec<String> = lengths.iter().map(tool).collect();
        let list = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{}]}}}}"#, tools.join(","));
        let ServerMessage::Response(list) = read(list.as_bytes(), &Limits::default()).unwrap() else { panic!() };
        let (mut definitions, mut outcome) = (Definitions::default(), v1::Outcome::default());
        definitions.add(&list);
        assert_eq!(definitions.listed as usize, lengths.len());
        definitions.put_into(&mut outcome);
        assert_eq!((outcome.tools.len(), outcome.tools_cut), (told, cut), "{} tools", lengths.len());
        assert!(outcome.tools.iter().all(|told| tools.iter().any(|tool| tool.as_bytes() == told)), "each as it was written");
    }

    #[test]
    fn the_tools_of_a_list_are_told_as_far_as_there_is_room() {
        check(&[], 0, false);
        check(&[DEFINITION_BYTES_MAX], 1, false);
        check(&[20, DEFINITION_BYTES_MAX + 1, 30], 2, true);
        check(&[20; DEFINITIONS_MAX], DEFINITIONS_MAX, false);
        check(&[20; DEFINITIONS_MAX + 1], DEFINITIONS_MAX, true);
        let full = DEFINITIONS_BYTES_MAX / DEFINITION_BYTES_MAX;
        check(&vec![DEFINITION_BYTES_MAX; full], full, false);
        let mut more = vec![DEFINITION_BYTES_MAX; full - 1];
        more.extend([DEFINITION_BYTES_MAX - 20, 21, 20]);
        check(&more, full + 1, true);
    }
}
