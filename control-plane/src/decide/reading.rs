//! Reads an ask: the same bytes by the same parser as in the filter, since a filter's word for them is not enough.

use super::Undecided;
use crate::config::Limits;
use agentgate_core::mcp::{Malformed, Message};
use agentgate_proto::reading::{self, NoAsk};
use agentgate_proto::v1;

/// What the call says, or why it cannot be read.
///
/// # Errors
/// When the ask itself, which the filter wrote, is none.
pub(super) fn read(ask: &v1::Ask, limits: &Limits) -> Result<Result<Message, Malformed>, Undecided> {
    Ok(reading::read(ask, limits.body_bytes_max as usize)?)
}

/// As `read`, of a call that the filter refused for the reason that it `said`.
///
/// # Errors
/// As `read`.
pub(crate) fn read_refused(ask: &v1::Ask, said: &str, limits: &Limits) -> Result<Result<Message, Malformed>, Undecided> {
    Ok(reading::read_refused(ask, said, limits.body_bytes_max as usize)?)
}

impl From<NoAsk> for Undecided {
    fn from(NoAsk(why): NoAsk) -> Self {
        Self::Unreadable(why)
    }
}
