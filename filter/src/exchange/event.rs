//! What can happen to an exchange, and what it can want done.

use super::Reply;
use crate::conversation::{Answered, Listed};
use crate::count::Count;
use agentgate_proto::v1;

/// What the host is told about the callback that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Continue,
    Pause,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub action: Action,
    pub effects: Vec<Effect>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Every header as it came, pseudo-headers and repetitions included.
    RequestHeaders {
        headers: Vec<(Vec<u8>, Vec<u8>)>,
        peer: String,
        /// Those that [`super::Exchange::claims`] named and that are there.
        claims: Vec<v1::Claim>,
        end: bool,
    },
    /// `size` is what the host holds of the body so far. `whole` is there at its end: the bytes, or none where the host
    /// could not give them or they are more than [`super::Exchange::body_bytes_max`].
    RequestBody {
        size: usize,
        whole: Option<Option<Vec<u8>>>,
    },
    RequestTrailers {
        names: Vec<Vec<u8>>,
        body: Option<Vec<u8>>,
    },
    Answered(Answered),
    ResponseHeaders {
        headers: Vec<(Vec<u8>, Vec<u8>)>,
        answerer: Answerer,
        end: bool,
    },
    /// `size` and `bytes` are of all that the host holds of the answer's body: what came last, and what was paused before.
    /// None: it could not be read, or [`super::Exchange::looks_at_response`] said that it need not be.
    ResponseBody {
        size: usize,
        bytes: Option<Vec<u8>>,
        end: bool,
    },
    ResponseTrailers {
        names: Vec<Vec<u8>>,
        bytes: Option<Vec<u8>>,
    },
    /// With all that the host holds of the answer's body by now.
    Listed {
        listed: Listed,
        bytes: Option<Vec<u8>>,
    },
    /// Nothing follows.
    Gone,
}

/// Whose answer it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answerer {
    Upstream,
    /// Envoy made it itself, for this reason.
    Local(String),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    RemoveRequestHeader(Vec<u8>),
    SetRequestHeader(&'static str, &'static str),
    RemoveRequestTrailer(Vec<u8>),
    RemoveResponseHeader(&'static str),
    SetResponseHeader(&'static str, &'static str),
    RemoveResponseTrailer(Vec<u8>),
    /// Puts these bytes in the place of all that the host holds of the answer's body.
    ReplaceResponseBody(Vec<u8>),
    Ask(Box<v1::Ask>),
    Listing(v1::Listing),
    Forget(u64),
    ResumeRequest,
    ResumeResponse,
    /// Answers in the server's place.
    Refuse(Reply),
    Report(Box<v1::Entry>),
    /// The outcome of a call that went on unasked.
    Follow(Box<v1::Entry>),
    /// The call goes on, and there is no copy of it.
    Unobserved,
    Count(Count),
}
