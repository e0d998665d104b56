//! Reads one request: which rule takes it, then its path, query and body as the arguments of that rule's tool.

use super::kind::Type;
use super::rule::{Body, Field, Rule};
use super::target::{Target, decode_value};
use super::template::Part;
use crate::endpoint::HOST;
use crate::fold;
use crate::json::{Bounds, Json, Keys, Number, Object, read as read_json};
use crate::mcp::{Head, Kind, Limits, Malformed, Message, Method, Protocol, check_entity, is_entity};
use alloc::string::String;
use alloc::vec::Vec;

/// Frameworks take the value of a member of this name for the method of the request. It is no argument unless a rule says so.
const OVERRIDE: &str = "_method";

/// What was read, and by which rule. None: no rule takes the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading<'a> {
    pub rule: Option<&'a Rule>,
    pub message: Result<Message, Malformed>,
}

/// Whether the reader, or the check of the origin, looks at the header of this name (lower case). The authority stands among
/// the headers as `host`.
#[must_use]
pub fn is_read(name: &[u8]) -> bool {
    name == HOST.as_bytes() || is_entity(name)
}

/// The rule that takes this request, by method, host and path: at most one, since no two of a route overlap. Where only the
/// values in the path are wrong, the rule says so itself.
///
/// # Errors
/// When the path can be read in two ways, or no rule takes it.
pub fn find<'a>(head: &Head, rules: &'a [Rule]) -> Result<&'a Rule, Malformed> {
    Target::of(&head.path).and_then(|target| find_for(head, &target, rules))
}

/// Reads one request. `body` is the whole of it: never call this before its end. With `rules` cut down to the one that took
/// the request it reads the same.
#[must_use]
pub fn read<'a>(head: &Head, body: &[u8], rules: &'a [Rule], limits: &Limits) -> Reading<'a> {
    let found = Target::of(&head.path).and_then(|target| find_for(head, &target, rules).map(|rule| (target, rule)));
    match found {
        Ok((target, rule)) => Reading { rule: Some(rule), message: call(head, &target, body, rule, limits) },
        Err(malformed) => Reading { rule: None, message: Err(malformed) },
    }
}

fn find_for<'a>(head: &Head, target: &Target<'_>, rules: &'a [Rule]) -> Result<&'a Rule, Malformed> {
    let takes = |rule: &&'a Rule| {
        let parts = rule.parts();
        let is_host = parts.host.as_ref().is_none_or(|host| is_asked_for(head, host));
        parts.method.as_bytes() == head.method && is_host && rule.path.takes(&target.segments)
    };
    let mut taking = rules.iter().filter(takes).peekable();
    let first = taking.peek().copied();
    taking.find(|rule| rule.path.fits(&target.segments)).or(first).ok_or(Malformed::UnmappedRequest)
}

/// A request with two hosts asks for none.
fn is_asked_for(head: &Head, host: &str) -> bool {
    let mut values = head.values(HOST);
    match (values.next(), values.next()) {
        (Some(authority), None) => is_host(authority, host),
        (None | Some(_), _) => false,
    }
}

/// Whether `authority` is `host` (in lower case), in whatever case and with whatever port.
#[must_use]
pub fn is_host(authority: &[u8], host: &str) -> bool {
    let port = authority.iter().rposition(|byte| *byte == b':').filter(|at| {
        let digits = authority.get(at.saturating_add(1)..).unwrap_or_default();
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    });
    authority.get(..port.unwrap_or(authority.len())).is_some_and(|name| name.eq_ignore_ascii_case(host.as_bytes()))
}

fn call(head: &Head, target: &Target<'_>, body: &[u8], rule: &Rule, limits: &Limits) -> Result<Message, Malformed> {
    check_entity(head, is_entity, !body.is_empty())?;
    let mut arguments = Object::default();
    for (part, segment) in rule.path.parts().zip(&target.segments) {
        if let Part::Field { name, holds } = part {
            arguments.set(name, value(&segment.text, *holds, limits)?);
        }
    }
    read_query(&mut arguments, target, &rule.parts().query, limits)?;
    read_body(&mut arguments, body, rule, limits)?;
    if !arguments.all_numbers(Number::is_exact_everywhere) {
        return Err(Malformed::NumberInexact);
    }
    let tool = rule.parts().tool.clone();
    let params = Object::default().with("name", tool.as_str()).with("arguments", arguments);
    Ok(Message {
        protocol: Protocol::Rest,
        kind: Kind::Http,
        method: Method::ToolsCall,
        target: Some(tool),
        params: Some(params),
        handle: None,
    })
}

/// A text of the path or the query as the value that its rule says.
fn value(text: &str, holds: Type, limits: &Limits) -> Result<Json, Malformed> {
    match holds {
        Type::String => Ok(text.into()),
        Type::Boolean if holds.is_written(text) => Ok((text == "true").into()),
        Type::Integer | Type::Number if text.len() <= limits.number_bytes_max && holds.is_written(text) => {
            Number::parse(text).map(Json::Number).ok_or(Malformed::ArgumentType)
        }
        Type::Boolean | Type::Integer | Type::Number | Type::Array | Type::Object | Type::Any => Err(Malformed::ArgumentType),
    }
}

fn read_query(arguments: &mut Object, target: &Target<'_>, fields: &[Field], limits: &Limits) -> Result<(), Malformed> {
    for pair in target.pairs() {
        let (key, text) = pair?;
        let field = fields.iter().find(|field| field.name.as_bytes() == key).ok_or(Malformed::Query)?;
        if arguments.get(&field.name).is_some() {
            return Err(Malformed::Query);
        }
        arguments.set(&field.name, value(&decode_value(text)?, field.holds, limits)?);
    }
    check_required(arguments, fields)
}

fn read_body(arguments: &mut Object, body: &[u8], rule: &Rule, limits: &Limits) -> Result<(), Malformed> {
    let fields = rule.body_fields();
    if body.is_empty() {
        return check_required(arguments, fields);
    }
    if rule.parts().body == Body::None {
        return Err(Malformed::BodyUnexpected);
    }
    if body.len() > limits.body_bytes_max {
        return Err(Malformed::BodyTooLarge);
    }
    let bounds = Bounds { depth_max: limits.depth_max, number_bytes_max: limits.number_bytes_max, values_max: limits.values_max };
    let Json::Object(members) = read_json(body, bounds, Keys::Folded)? else { return Err(Malformed::NotObject) };
    let elsewhere = names_elsewhere(rule);
    for (name, member) in members.iter() {
        match fields.iter().find(|field| field.name == name) {
            Some(field) if field.holds.holds(member) => {}
            Some(_) => return Err(Malformed::ArgumentType),
            None if rule.parts().body != Body::Any => return Err(Malformed::ArgumentUnknown),
            None if fold::form_key(name) == OVERRIDE => return Err(Malformed::ArgumentUnknown),
            None if elsewhere.contains(&fold::form_key(name)) => return Err(Malformed::ArgumentTwice),
            None => {}
        }
    }
    // INVARIANT: no name is in both.
    *arguments = core::mem::take(arguments).followed_by(members);
    check_required(arguments, fields)
}

/// The folded names of the arguments that do not stand in the body.
fn names_elsewhere(rule: &Rule) -> Vec<String> {
    let query = rule.parts().query.iter().map(|field| field.name.as_str());
    rule.path.fields().map(|(name, _)| name).chain(query).map(fold::form_key).collect()
}

fn check_required(arguments: &Object, fields: &[Field]) -> Result<(), Malformed> {
    let missing = |field: &&Field| field.required && arguments.get(&field.name).is_none();
    if fields.iter().any(|field| missing(&field)) { Err(Malformed::ArgumentMissing) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
