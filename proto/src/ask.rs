//! An ask: the head and the rules of reading, wire ⇄ core. A rule that is none is an error, never a looser one.

use crate::v1;
use agentgate_core::mcp::{Head, Version};
use agentgate_core::rest::{Body, Field, Parts, Rule, RuleError, Type};
use thiserror::Error;

/// Why the rule of a REST route cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RestError {
    #[error("its rule names the unknown type `{0}`")]
    Type(String),
    #[error("its rule is none")]
    Rule(#[from] RuleError),
}

// === impl Head ===

/// The head as it travels: method, path, and the headers that a parser looks at.
#[must_use]
pub fn head_to_wire(head: &Head) -> v1::Head {
    let headers = head
        .headers
        .iter()
        .filter(|(name, _)| agentgate_core::mcp::is_read(name) || agentgate_core::rest::is_read(name))
        .map(|(name, value)| v1::Header { name: name.clone().into(), value: value.clone().into() })
        .collect();
    v1::Head { method: head.method.clone().into(), path: head.path.clone().into(), headers }
}

#[must_use]
pub fn head_from_wire(head: &v1::Head) -> Head {
    let headers = head.headers.iter().map(|header| (header.name.to_vec(), header.value.to_vec())).collect();
    Head { method: head.method.to_vec(), path: head.path.to_vec(), headers }
}

/// The protocol versions named on the wire. None when one of them is unknown: never narrowed in silence.
#[must_use]
pub fn versions_from_wire(versions: &[String]) -> Option<Vec<Version>> {
    versions.iter().map(|version| Version::parse(version.as_bytes())).collect()
}

/// The rule by which a request of a REST route was read. None: no rule takes it.
#[must_use]
pub fn rest_to_wire(rule: Option<&Rule>) -> v1::Rest {
    let Some(Parts { tool, method, host, path, query, body }) = rule.map(Rule::parts) else { return v1::Rest::default() };
    let (body, any_body) = match body {
        Body::None => (Vec::new(), false),
        Body::Fields(fields) => (fields_to_wire(fields), false),
        Body::Any => (Vec::new(), true),
    };
    v1::Rest {
        tool: tool.clone(),
        method: method.clone(),
        host: host.clone().unwrap_or_default(),
        path: path.clone(),
        query: fields_to_wire(query),
        body,
        any_body,
    }
}

/// None: no rule takes the request.
///
/// # Errors
/// When there is a rule, and it is one that no configuration could hold.
pub fn rest_from_wire(rest: &v1::Rest) -> Result<Option<Rule>, RestError> {
    if *rest == v1::Rest::default() {
        return Ok(None);
    }
    let v1::Rest { tool, method, host, path, query, body, any_body } = rest;
    let body = match (body.as_slice(), any_body) {
        ([], false) => Body::None,
        ([], true) => Body::Any,
        // With both, the members that are named would be the only ones: the stricter reading.
        (fields, _) => Body::Fields(fields_from_wire(fields)?),
    };
    let parts = Parts {
        tool: tool.clone(),
        method: method.clone(),
        host: (!host.is_empty()).then(|| host.clone()),
        path: path.clone(),
        query: fields_from_wire(query)?,
        body,
    };
    Ok(Some(Rule::new(parts)?))
}

fn fields_to_wire(fields: &[Field]) -> Vec<v1::RestField> {
    let field = |Field { name, holds, required }: &Field| v1::RestField {
        name: name.clone(),
        r#type: holds.name().into(),
        required: *required,
    };
    fields.iter().map(field).collect()
}

fn fields_from_wire(fields: &[v1::RestField]) -> Result<Vec<Field>, RestError> {
    let field = |v1::RestField { name, r#type, required }: &v1::RestField| {
        let holds = Type::parse(r#type).ok_or_else(|| RestError::Type(r#type.clone()))?;
        Ok(Field { name: name.clone(), holds, required: *required })
    };
    fields.iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::{rest_from_wire, rest_to_wire};
    use crate::v1;

    fn field(name: &str, of: &str, required: bool) -> v1::RestField {
        v1::RestField { name: name.into(), r#type: of.into(), required }
    }

    #[test]
    fn a_rule_comes_back_from_the_wire_as_it_went_or_not_at_all() {
        let whole = v1::Rest {
            tool: "pay".into(),
            method: "POST".into(),
            host: "billing.example".into(),
            path: "/api/invoices/{id:integer}".into(),
            query: vec![field("dry_run", "boolean", false)],
            body: vec![field("amount", "number", true), field("lines", "array", false)],
            any_body: false,
        };
        for (rest, is_rule) in [
            (whole.clone(), true),
            (v1::Rest { host: String::new(), query: vec![], body: vec![], any_body: true, ..whole.clone() }, true),
            (v1::Rest { body: vec![], ..whole.clone() }, true),
            (v1::Rest { tool: String::new(), ..whole.clone() }, false),
            (v1::Rest { method: "post".into(), ..whole.clone() }, false),
            (v1::Rest { path: "invoices".into(), ..whole.clone() }, false),
            (v1::Rest { query: vec![field("id", "string", false)], ..whole.clone() }, false),
            (v1::Rest { query: vec![field("limit", "int", false)], ..whole.clone() }, false),
        ] {
            let read = rest_from_wire(&rest);
            assert_eq!(read.is_ok(), is_rule, "{rest:?} {read:?}");
            if let Ok(rule) = read {
                assert_eq!(rest_to_wire(rule.as_ref()), rest);
            }
        }
        assert_eq!(rest_from_wire(&rest_to_wire(None)), Ok(None));
    }
}
