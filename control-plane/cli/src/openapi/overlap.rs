//! What is left out, and which tools would take it for calls of their own: those cannot be proposed either.
//!
//! Whether two paths meet is core's to say. Where a path cannot be written as a rule it is taken wider than it is.

use agentgate_core::rest::{Body, Parts, Rule, SEGMENTS_MAX};

/// An operation that no tool is proposed for.
#[derive(Debug)]
pub(super) struct LeftOut {
    /// `GET /documents/purge`
    pub(super) called: String,
    pub(super) why: String,
    /// The requests it stands for; more than one where a name in its path takes several segments.
    pub(super) rules: Vec<Rule>,
}

/// The requests of an operation that is no tool, whatever its path looks like.
pub(super) fn requests(method: &str, host: Option<&str>, prefix: &str, path: &str) -> Vec<Rule> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let last = segments.len().saturating_sub(1);
    let inner = segments.iter().enumerate().filter(|(at, text)| *at == last || !text.is_empty()).map(|(_, text)| *text);
    let segments: Vec<&str> = inner.collect();
    let longest = if segments.iter().any(|segment| takes_several(segment)) { SEGMENTS_MAX } else { 1 };
    let rule = |times: usize| {
        let mut fields = 0;
        let mut path = prefix.to_owned();
        for segment in &segments {
            for _ in 0..if takes_several(segment) { times } else { 1 } {
                if is_fixed(segment) {
                    path += &format!("/{segment}");
                } else {
                    fields += 1;
                    path += &format!("/{{f{fields}}}");
                }
            }
        }
        let (tool, method, host) = ("left_out".to_owned(), method.to_uppercase(), host.map(ToOwned::to_owned));
        Rule::new(Parts { tool, method, host, path, query: Vec::new(), body: Body::None }).ok()
    };
    // A method that no rule can name is no tool's either, and a path that is longer than any rule's is in no rule.
    (1..=longest).filter_map(rule).collect()
}

/// `{+path}`, `{path*}`, `{path...}`: names that stand for more than one segment, where a server knows such.
pub(super) fn takes_several(segment: &str) -> bool {
    segment.contains('{') && (segment.contains(['+', '*']) || segment.contains("..."))
}

/// Whether a request that is left out could pass as a call of `tool`. It cannot where the tool's path is the narrower one:
/// by OpenAPI a fixed path counts before one with names in it.
pub(super) fn would_take(tool: &Rule, left_out: &LeftOut) -> bool {
    left_out.rules.iter().any(|rule| tool.overlaps(rule) && !is_narrower(tool, rule))
}

/// Of two paths that meet.
fn is_narrower(one: &Rule, other: &Rule) -> bool {
    let (one, other) = (one.parts().path.as_str(), other.parts().path.as_str());
    let is_field = |segment: &str| segment.starts_with('{');
    let pairs = || one.split('/').zip(other.split('/'));
    let takes_more = pairs().any(|(one, other)| is_field(one) && !is_field(other));
    // Another letter case, or a slash at the end of one of them: the gate takes neither for the other.
    let differs = pairs().any(|(one, other)| !is_field(one) && one != other);
    !takes_more && (differs || one.ends_with('/') != other.ends_with('/'))
}

/// Whether a rule can hold the segment as it stands.
fn is_fixed(segment: &str) -> bool {
    let parts = |path: String| Parts {
        tool: "left_out".to_owned(),
        method: "GET".to_owned(),
        host: None,
        path,
        query: Vec::new(),
        body: Body::None,
    };
    !segment.contains(['{', '}']) && Rule::new(parts(format!("/{segment}"))).is_ok()
}
