//! What a gate must do before it is measured: let through what it should, and say what the default policy says. It measures nothing.

use crate::call::{Call, Era, TOOL, TOOL_UNKNOWN};
use agentgate_e2e::http1::Connection;
use agentgate_e2e::{Broken, eventually};
use serde_json::Value;
use std::net::SocketAddr;

/// By what a gate tells one call from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looks {
    /// Everything gets through.
    Nowhere,
    /// A list of tools.
    AtTools,
    /// The default policy, arguments and all.
    AtPolicy,
}

/// What a gate made of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// The tool's own result.
    Through,
    /// A refusal that names its verdict and its rule.
    No { verdict: String, rule: String },
    /// A refusal, or anything else, as far as it can be shown.
    Other(String),
}

/// One call, and what the default policy says of it: `through`, or verdict and rule. A rule that ends in a point is any of those.
struct Probe {
    tool: &'static str,
    arguments: &'static str,
    wanted: &'static str,
}

const fn probe(tool: &'static str, arguments: &'static str, wanted: &'static str) -> Probe {
    Probe { tool, arguments, wanted }
}

const THROUGH: &str = "through";

/// Two gates that differ here decide by different policies, and comparing them would say nothing.
const PROBES: [Probe; 9] = [
    probe(TOOL, r#"{"query":"milk"}"#, THROUGH),
    probe("list_notes", "{}", THROUGH),
    probe("add_note", r#"{"title":"milk","text":"two litres"}"#, "pending tool_gated"),
    probe("delete_note", r#"{"id":1}"#, "deny tool_blocked"),
    probe(TOOL_UNKNOWN, r#"{"id":1}"#, "deny unknown_tool"),
    probe(TOOL, r#"{"query":"my PassWord"}"#, "deny forbidden_query"),
    // A builtin that fails: where errors are not strict, it would get through. AgentGate says so before it asks the builtin.
    probe(TOOL, r#"{"query":["password"]}"#, "deny gate."),
    probe("send_note", r#"{"id":1,"to":"eve@example.net"}"#, "deny recipient_outside"),
    probe("send_note", r#"{"id":1,"to":"ann@example.com"}"#, "pending tool_gated"),
];

/// Holds the gate at `address` to what it is; the error says what it did instead.
pub(crate) fn check(looks: Looks, address: SocketAddr, era: Era) -> Result<(), Broken> {
    let ask = |tool: &str, arguments: &str| ask(address, &mut Call::with_arguments(era, tool, arguments));
    let mut last = None;
    let through = eventually(format_args!("`{TOOL}` gets through"), || {
        last = Some(ask(TOOL, r#"{"query":"milk"}"#));
        matches!(last, Some(Ok(Said::Through))).then_some(())
    });
    through.map_err(|broken| Broken(format!("{broken}; last: {last:?}")))?;
    match looks {
        Looks::Nowhere if ask(TOOL_UNKNOWN, "{}")? != Said::Through => {
            Err(Broken("it refused a call that it cannot read".into()))
        }
        Looks::AtTools if ask(TOOL_UNKNOWN, "{}")? == Said::Through => Err(Broken("it let an unknown tool through".into())),
        Looks::Nowhere | Looks::AtTools => Ok(()),
        Looks::AtPolicy => PROBES.iter().try_for_each(|probe| {
            let said = ask(probe.tool, probe.arguments)?.in_words();
            if said == probe.wanted || (probe.wanted.ends_with('.') && said.starts_with(probe.wanted)) {
                return Ok(());
            }
            let Probe { tool, arguments, wanted } = probe;
            Err(Broken(format!("of `{tool}` {arguments} it says `{said}`, and the default policy `{wanted}`: not measured")))
        }),
    }
}

fn ask(address: SocketAddr, call: &mut Call) -> Result<Said, Broken> {
    let mut connection = Connection::open(address)?;
    connection.send(call.numbered(0))?;
    let answer = connection.answer()?;
    Ok(Said::of(answer.status, &answer.json(), answer.text()))
}

// === impl Said ===

impl Said {
    fn of(status: u16, body: &Value, text: String) -> Self {
        if status == 200 && body.pointer("/result/isError") == Some(&Value::Bool(false)) {
            return Self::Through;
        }
        let places = ["/result/_meta/agentgate~1verdict", "/error/data/agentgate~1verdict"];
        let made = places.iter().find_map(|place| body.pointer(place));
        let word = |name: &str| Some(made?.get(name)?.as_str()?.to_owned());
        match (word("verdict"), word("rule")) {
            (Some(verdict), Some(rule)) => Self::No { verdict, rule },
            _ => Self::Other(text),
        }
    }

    fn in_words(self) -> String {
        match self {
            Self::Through => THROUGH.into(),
            Self::No { verdict, rule } => format!("{verdict} {rule}"),
            Self::Other(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_tools_result_is_through() {
        let check = |status: u16, body: Value, wanted: &str| {
            assert_eq!(Said::of(status, &body, body.to_string()).in_words(), wanted, "{status} {body}");
        };
        let made = json!({"verdict": "deny", "rule": "unknown_tool"});
        check(200, json!({"result": {"isError": false}}), "through");
        check(403, json!({"result": {"isError": false}}), r#"{"result":{"isError":false}}"#);
        check(200, json!({"result": {"isError": true, "_meta": {"agentgate/verdict": made}}}), "deny unknown_tool");
        check(403, json!({"error": {"data": {"agentgate/verdict": made}}}), "deny unknown_tool");
        check(
            403,
            json!({"error": {"data": {"agentgate/verdict": {"verdict": "deny"}}}}),
            r#"{"error":{"data":{"agentgate/verdict":{"verdict":"deny"}}}}"#,
        );
        check(503, Value::Null, "null");
    }
}
