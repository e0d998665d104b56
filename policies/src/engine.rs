//! The one door to regorus: it reads Rego, runs it strictly and within a limit, and says what came out.
//!
//! A builtin that fails is an error here, never `undefined`. The engine is given no clock and no way out; what looks at the
//! world all the same is refused by `lint`, from what `read` found.

mod reading;

use crate::panics;
use agentgate_core::json::{self, Bounds, Json, Keys, Number, Object};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{LimitError, Value};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;
use thiserror::Error;

pub(crate) use reading::read;

/// Steps of the interpreter that one evaluation may take: about two hundred times what the default policy takes.
/// Beyond it the call is refused, the same way each time (decision 0003).
pub(crate) const INSTRUCTIONS_MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add(99_999);

/// Compiled patterns that the process keeps: all of a policy's at once, or each call would compile some again.
pub(crate) const PATTERNS_MAX: usize = 256;

/// What is kept of the engine's message: it quotes the value that a builtin would not take, however long that is.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// A value that was in the engine already, so that its size is bounded by what let it in.
const VALUE: Bounds = Bounds { depth_max: json::DEPTH_MAX, number_bytes_max: 400, values_max: usize::MAX };

/// The engine's own bound on a compiled pattern.
const PATTERN_BYTES_MAX: usize = 100 * 1024;

/// Rego and data, ready to be evaluated on one thread.
pub(crate) struct Engine {
    inner: regorus::Engine,
    /// As it was before its first evaluation: what a panic leaves behind is thrown away.
    fresh: regorus::Engine,
}

/// A document that goes into the engine.
#[derive(Clone, Debug)]
pub(crate) struct Document(Value);

/// What came out of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Text(String),
    Object(BTreeMap<String, Answer>),
    Set(Vec<Answer>),
    /// Anything else, by the name of its type.
    Other(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Failure {
    #[error("the policy took more than its instruction limit")]
    Instructions,
    #[error("the engine had not enough memory")]
    Memory,
    #[error("{0}")]
    Error(String),
}

/// A number that the engine cannot hold exactly.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the engine cannot hold the number `{0}` exactly")]
pub(crate) struct Inexact(pub String);

/// How often a line of Rego was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    pub path: String,
    pub reached: Vec<u32>,
    pub missed: Vec<u32>,
}

/// Whether the engine has a builtin of this name.
pub(crate) fn is_builtin(name: &str) -> bool {
    regorus::unstable::BUILTINS.contains_key(name)
}

/// What is wrong with a pattern, in the engine's own bounds.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    regex::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build().map(|_| ()).map_err(|error| error.to_string())
}

/// Forgets the compiled patterns.
#[cfg(test)]
pub(crate) fn clear_patterns() {
    regorus::cache::clear();
}

// === impl Engine ===

impl Engine {
    /// Takes the Rego files (path, text) and the data that they see. `limit` is in steps of the interpreter.
    pub(crate) fn new(rego: &[(String, String)], data: Document, limit: NonZeroU32) -> Result<Self, String> {
        regorus::cache::configure(regorus::cache::Config { regex: PATTERNS_MAX, glob: 0 });
        let mut engine = regorus::Engine::new();
        engine.set_strict_builtin_errors(true);
        // Whatever `print` would say is personal data; the lint refuses it, and this keeps it off stderr for certain.
        engine.set_gather_prints(true);
        for (path, text) in rego {
            engine.add_policy(path.clone(), text.clone()).map_err(|error| plain(&error.to_string()))?;
        }
        engine.add_data(data.0).map_err(|error| plain(&error.to_string()))?;
        // (decision 0003) The timer counts steps and looks at its clock only at each `check_interval`th. With no time allowed
        // it fails there, always: a counter of instructions, made of the only part that counts them.
        engine.set_execution_timer_config(ExecutionTimerConfig { limit: Duration::ZERO, check_interval: limit });
        Ok(Self { fresh: engine.clone(), inner: engine })
    }

    /// The engine's other mode, in which a builtin that fails is `undefined`: only to show what would come of it.
    #[cfg(test)]
    pub(crate) fn make_lenient(&mut self) {
        self.inner.set_strict_builtin_errors(false);
    }

    /// Evaluates one rule, by its whole path, over `input`. Nothing of an earlier evaluation is left.
    pub(crate) fn evaluate(&mut self, rule: &str, input: Document) -> Result<Answer, Failure> {
        self.inner.set_input(input.0);
        // Some builtins panic on values that an agent may send (`strings.count` of an empty text): that is a failure too,
        // and the next call must find an engine.
        match panics::catch(|| self.inner.eval_rule(rule.to_owned())) {
            Some(Ok(value)) => Ok(Answer::of(&value)),
            Some(Err(error)) => Err(Failure::of(error.downcast_ref(), &error.to_string())),
            None => Err(self.start_again()),
        }
    }

    /// The value of one rule as JSON, or none where it is undefined.
    pub(crate) fn json(&mut self, rule: &str, input: Document) -> Result<Option<String>, Failure> {
        self.inner.set_input(input.0);
        let value = match panics::catch(|| self.inner.eval_rule(rule.to_owned())) {
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(Failure::of(error.downcast_ref(), &error.to_string())),
            None => return Err(self.start_again()),
        };
        if value == Value::Undefined {
            return Ok(None);
        }
        let text = value.to_json_str().map_err(|error| Failure::Error(plain(&error.to_string())))?;
        // The engine writes it over many lines.
        let json = json::read(text.as_bytes(), VALUE, Keys::Exact).map_err(|fault| Failure::Error(fault.to_string()))?;
        Ok(Some(json.to_string()))
    }

    fn start_again(&mut self) -> Failure {
        self.inner = self.fresh.clone();
        Failure::Error("the engine gave up in the middle of a builtin".to_owned())
    }

    /// From now on, remembers which lines are reached.
    pub(crate) fn watch_lines(&mut self) {
        self.inner.set_enable_coverage(true);
    }

    pub(crate) fn lines(&self) -> Result<Vec<Lines>, String> {
        let report = self.inner.get_coverage_report().map_err(|error| plain(&error.to_string()))?;
        Ok(report
            .files
            .into_iter()
            .map(|file| Lines {
                path: file.path,
                reached: file.covered.iter().copied().collect(),
                missed: file.not_covered.difference(&file.covered).copied().collect(),
            })
            .collect())
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

// === impl Document ===

impl Document {
    pub(crate) fn text(text: &str) -> Self {
        Self(Value::from(text))
    }

    pub(crate) fn whole(number: u64) -> Self {
        Self(Value::from(number))
    }

    pub(crate) fn list(elements: impl IntoIterator<Item = Document>) -> Self {
        Self(Value::from(elements.into_iter().map(|element| element.0).collect::<Vec<_>>()))
    }

    pub(crate) fn object<'a>(members: impl IntoIterator<Item = (&'a str, Document)>) -> Self {
        Self(Value::from(members.into_iter().map(|(key, value)| (Value::from(key), value.0)).collect::<BTreeMap<_, _>>()))
    }

    /// A member of an object, shared with it.
    pub(crate) fn member(&self, key: &str) -> Option<Self> {
        self.0.as_object().ok()?.get(&Value::from(key)).cloned().map(Self)
    }

    pub(crate) fn of_object(object: &Object) -> Result<Self, Inexact> {
        let members: Result<BTreeMap<_, _>, _> =
            object.iter().map(|(key, value)| Ok((Value::from(key), Self::of_json(value)?.0))).collect();
        Ok(Self(Value::from(members?)))
    }

    pub(crate) fn of_json(json: &Json) -> Result<Self, Inexact> {
        Ok(Self(match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => of_number(number).ok_or_else(|| Inexact(number.as_str().to_owned()))?,
            Json::String(text) => Value::from(text.as_str()),
            Json::Array(elements) => {
                let elements: Result<Vec<_>, _> = elements.iter().map(|element| Ok(Self::of_json(element)?.0)).collect();
                Value::from(elements?)
            }
            Json::Object(object) => return Self::of_object(object),
        }))
    }
}

/// The engine takes 2⁶⁴ and 2⁶⁴+1 for one number, so neither gets in.
fn of_number(number: &Number) -> Option<Value> {
    if !number.is_exact() {
        return None;
    }
    let text = number.as_str();
    if !number.is_integer() {
        return text.parse::<f64>().ok().map(Value::from);
    }
    text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok()
}

// === impl Answer ===

impl Answer {
    fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.to_string()),
            Value::Set(set) => Self::Set(set.iter().map(Self::of).collect()),
            Value::Object(object) => {
                let members: Option<BTreeMap<_, _>> =
                    object.iter().map(|(key, value)| Some((key.as_string().ok()?.to_string(), Self::of(value)))).collect();
                members.map_or(Self::Other("an object with keys that are not strings"), Self::Object)
            }
            Value::Null => Self::Other("null"),
            Value::Bool(_) => Self::Other("a boolean"),
            Value::Number(_) => Self::Other("a number"),
            Value::Array(_) => Self::Other("an array"),
            Value::Undefined => Self::Other("undefined"),
        }
    }

    /// The name of its type, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Object(_) => "an object",
            Self::Set(_) => "a set",
            Self::Other(kind) => kind,
        }
    }
}

// === impl Failure ===

impl Failure {
    fn of(limit: Option<&LimitError>, text: &str) -> Self {
        match limit {
            Some(LimitError::TimeLimitExceeded { .. }) => return Self::Instructions,
            Some(LimitError::MemoryLimitExceeded { .. }) => return Self::Memory,
            Some(LimitError::RegexSizeLimitExceeded { .. }) | None => {}
        }
        // Out of a function the engine passes errors on as text. The text names nanoseconds, which no record may hold.
        if text.contains("execution exceeded time limit") {
            return Self::Instructions;
        }
        if text.contains("execution exceeded memory limit") {
            return Self::Memory;
        }
        let text = plain(text);
        Self::Error(text.get(..text.floor_char_boundary(MESSAGE_BYTES_MAX)).unwrap_or_default().to_owned())
    }
}

/// The engine's message in one line: `rego/a.rego:3:5: what`. It draws the source around it otherwise.
fn plain(message: &str) -> String {
    let place = message.lines().find_map(|line| line.trim().strip_prefix("--> "));
    let what = message.lines().find_map(|line| line.trim().strip_prefix("error: "));
    match (place, what) {
        (Some(place), Some(what)) => format!("{place}: {what}"),
        (_, Some(what)) => what.to_owned(),
        (_, None) => message.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests;
