//! Why a request could not be read: one name for each reason, and what the client is told.

use crate::json::{Fault, Json, Object};
use crate::mcp::{Era, Head, RequestId, Rules, Version};
use alloc::vec::Vec;
use thiserror::Error;

/// A reason for which a request cannot be read without guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    // The head.
    #[error("the Origin header came twice, or is not among the `origins` that the route takes")]
    Origin,
    #[error("the HTTP method is not one that MCP has")]
    HttpMethod,
    #[error("a body stands where none is taken")]
    BodyUnexpected,
    #[error("the query string holds a key that the route does not take, or holds one twice")]
    Query,
    #[error("a header that the protocol defines came twice")]
    HeaderRepeated,
    #[error("a header looks like one that the protocol defines, and is not")]
    HeaderLookalike,
    #[error("a header that the protocol defines holds other characters than visible ASCII")]
    HeaderNotText,
    #[error("the Connection header names a header that the protocol defines")]
    ConnectionNamesHeader,
    #[error("the content type is not `application/json`")]
    ContentType,
    #[error("the charset is not UTF-8")]
    Charset,
    #[error("the body is compressed or encoded")]
    ContentEncoding,
    #[error("an Mcp-Param header cannot be checked, because no schema of the tool is known here")]
    ParamHeader,
    #[error("the protocol version is unknown or not taken on this route")]
    UnsupportedVersion,
    #[error("the protocol version has no such message")]
    WrongEra,
    #[error("the session id is empty, too long, or holds other characters than visible ASCII")]
    SessionId,

    // The body as JSON-RPC.
    #[error("the body is too large")]
    BodyTooLarge,
    #[error(transparent)]
    Json(#[from] Fault),
    #[error("the body is a batch")]
    Batch,
    #[error("the body is not a JSON object")]
    NotObject,
    #[error("a key of the protocol is written in another case or form")]
    LookalikeKey,
    #[error("a key of the protocol's own objects is `constructor` or `prototype`")]
    PollutingKey,
    #[error("the message has a member that JSON-RPC does not know")]
    UnknownMember,
    #[error("`jsonrpc` is not \"2.0\"")]
    JsonRpc,
    #[error("`method` is missing or not a string")]
    MethodType,
    #[error("the method's name is not in normal form")]
    MethodForm,
    #[error("the method is unknown")]
    UnknownMethod,
    #[error("`result` or `error` stands beside `method`")]
    ResultBesideMethod,
    #[error("the answer has not exactly one of `result` and `error`, as an object")]
    ResponseShape,
    #[error("the id is neither an integer nor a string of 1024 bytes at most")]
    IdType,
    #[error("the method wants an answer, and the message has no id")]
    IdMissing,
    #[error("the method is a notification, and the message has an id")]
    IdUnexpected,
    #[error("`params` is an array")]
    ParamsPositional,
    #[error("`params` is not an object")]
    ParamsType,

    // What the method takes.
    #[error("`_meta` is not an object")]
    MetaType,
    #[error("`_meta` lacks the protocol version or the client's capabilities, or they have the wrong type")]
    MetaMissing,
    #[error("the name, URI or task id that the method acts on is missing or not a string")]
    TargetType,
    #[error("the name, URI or task id is not in normal form")]
    TargetForm,
    #[error("`arguments` is not an object")]
    ArgumentsType,
    #[error("`protocolVersion` is missing or not a string")]
    ProtocolVersionType,
    #[error("`inputResponses` is not an object")]
    InputResponsesType,
    #[error("`requestState` is not a string")]
    RequestStateType,
    #[error("a number has more digits than every reader keeps; where the tool takes a text, write it as one")]
    NumberInexact,

    // The head against the body.
    #[error("the MCP-Protocol-Version header is missing")]
    VersionHeaderMissing,
    #[error("the MCP-Protocol-Version header is not the body's version")]
    VersionMismatch,
    #[error("the Mcp-Method header is missing")]
    MethodHeaderMissing,
    #[error("the Mcp-Method header is not the body's method")]
    MethodMismatch,
    #[error("the Mcp-Name header is missing")]
    NameHeaderMissing,
    #[error("the Mcp-Name header is not the body's name, or cannot be decoded")]
    NameMismatch,

    // REST.
    #[error("the path has an empty or a dot segment, or holds a character that has to be encoded")]
    PathForm,
    #[error("the path's encoding is invalid, is not UTF-8, or hides a character that servers read in different ways")]
    PathEncoding,
    #[error("the query's encoding is invalid or is not UTF-8, or a space or plus in it is not written `%20` or `%2B`")]
    QueryEncoding,
    #[error("no tool of the route is mapped to this host, method and path")]
    UnmappedRequest,
    #[error("a value is not of the type that the tool's mapping says")]
    ArgumentType,
    #[error("the body has a member that the tool's mapping does not name")]
    ArgumentUnknown,
    #[error("an argument that the tool's mapping requires is missing")]
    ArgumentMissing,
    #[error("the body has a member that the path or the query gives already")]
    ArgumentTwice,
}

/// A request that could not be read, and what could be read of it: for the answer, never for a decision.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Unread {
    #[source]
    pub reason: Malformed,
    /// The id to echo, where the body got that far.
    pub id: Option<RequestId>,
    /// The version that the head named, where it named one.
    pub version: Option<Version>,
}

/// What a client is told: an HTTP status and the code of a JSON-RPC error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub http_status: u16,
    pub code: i32,
}

const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;
const METHOD_NOT_FOUND: i32 = -32_601;
const INVALID_PARAMS: i32 = -32_602;
const HEADER_MISMATCH: i32 = -32_020;
const UNSUPPORTED_VERSION: i32 = -32_022;

// === impl Malformed ===

impl Malformed {
    /// Every reason, the JSON reader's own included.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OF_MCP.into_iter().chain(Self::OF_REST).chain(Fault::ALL.into_iter().map(Self::Json))
    }

    const OF_MCP: [Self; 47] = [
        Self::Origin,
        Self::HttpMethod,
        Self::BodyUnexpected,
        Self::Query,
        Self::HeaderRepeated,
        Self::HeaderLookalike,
        Self::HeaderNotText,
        Self::ConnectionNamesHeader,
        Self::ContentType,
        Self::Charset,
        Self::ContentEncoding,
        Self::ParamHeader,
        Self::UnsupportedVersion,
        Self::WrongEra,
        Self::SessionId,
        Self::BodyTooLarge,
        Self::Batch,
        Self::NotObject,
        Self::LookalikeKey,
        Self::PollutingKey,
        Self::UnknownMember,
        Self::JsonRpc,
        Self::MethodType,
        Self::MethodForm,
        Self::UnknownMethod,
        Self::ResultBesideMethod,
        Self::ResponseShape,
        Self::IdType,
        Self::IdMissing,
        Self::IdUnexpected,
        Self::ParamsPositional,
        Self::ParamsType,
        Self::MetaType,
        Self::MetaMissing,
        Self::TargetType,
        Self::TargetForm,
        Self::ArgumentsType,
        Self::ProtocolVersionType,
        Self::InputResponsesType,
        Self::RequestStateType,
        Self::NumberInexact,
        Self::VersionHeaderMissing,
        Self::VersionMismatch,
        Self::MethodHeaderMissing,
        Self::MethodMismatch,
        Self::NameHeaderMissing,
        Self::NameMismatch,
    ];

    const OF_REST: [Self; 8] = [
        Self::PathForm,
        Self::PathEncoding,
        Self::QueryEncoding,
        Self::UnmappedRequest,
        Self::ArgumentType,
        Self::ArgumentUnknown,
        Self::ArgumentMissing,
        Self::ArgumentTwice,
    ];

    /// The one spelling of this reason, in records, metrics and answers.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::HttpMethod => "http_method",
            Self::BodyUnexpected => "body_unexpected",
            Self::Query => "query",
            Self::HeaderRepeated => "header_repeated",
            Self::HeaderLookalike => "header_lookalike",
            Self::HeaderNotText => "header_not_text",
            Self::ConnectionNamesHeader => "connection_names_header",
            Self::ContentType => "content_type",
            Self::Charset => "charset",
            Self::ContentEncoding => "content_encoding",
            Self::ParamHeader => "param_header",
            Self::UnsupportedVersion => "unsupported_version",
            Self::WrongEra => "wrong_era",
            Self::SessionId => "session_id",
            Self::BodyTooLarge => "body_too_large",
            Self::Json(fault) => fault.reason(),
            Self::Batch => "batch",
            Self::NotObject => "not_object",
            Self::LookalikeKey => "lookalike_key",
            Self::PollutingKey => "polluting_key",
            Self::UnknownMember => "unknown_member",
            Self::JsonRpc => "jsonrpc",
            Self::MethodType => "method_type",
            Self::MethodForm => "method_form",
            Self::UnknownMethod => "unknown_method",
            Self::ResultBesideMethod => "result_beside_method",
            Self::ResponseShape => "response_shape",
            Self::IdType => "id_type",
            Self::IdMissing => "id_missing",
            Self::IdUnexpected => "id_unexpected",
            Self::ParamsPositional => "params_positional",
            Self::ParamsType => "params_type",
            Self::MetaType => "meta_type",
            Self::MetaMissing => "meta_missing",
            Self::TargetType => "target_type",
            Self::TargetForm => "target_form",
            Self::ArgumentsType => "arguments_type",
            Self::ProtocolVersionType => "protocol_version_type",
            Self::InputResponsesType => "input_responses_type",
            Self::RequestStateType => "request_state_type",
            Self::NumberInexact => "number_inexact",
            Self::VersionHeaderMissing => "version_header_missing",
            Self::VersionMismatch => "version_mismatch",
            Self::MethodHeaderMissing => "method_header_missing",
            Self::MethodMismatch => "method_mismatch",
            Self::NameHeaderMissing => "name_header_missing",
            Self::NameMismatch => "name_mismatch",
            Self::PathForm => "path_form",
            Self::PathEncoding => "path_encoding",
            Self::QueryEncoding => "query_encoding",
            Self::UnmappedRequest => "unmapped_request",
            Self::ArgumentType => "argument_type",
            Self::ArgumentUnknown => "argument_unknown",
            Self::ArgumentMissing => "argument_missing",
            Self::ArgumentTwice => "argument_twice",
        }
    }
}

impl From<Unread> for Malformed {
    fn from(unread: Unread) -> Self {
        unread.reason
    }
}

// === impl Unread ===

impl Unread {
    /// What the client is told. MCP's own refusals keep their codes and status; all else is JSON-RPC's.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let (http_status, code) = match self.reason {
            Malformed::Origin | Malformed::UnmappedRequest => (403, INVALID_REQUEST),
            Malformed::HttpMethod | Malformed::WrongEra => (405, INVALID_REQUEST),
            Malformed::ContentType | Malformed::Charset | Malformed::ContentEncoding => (415, INVALID_REQUEST),
            Malformed::BodyTooLarge => (413, INVALID_REQUEST),
            Malformed::Json(_) => (400, PARSE_ERROR),
            Malformed::UnsupportedVersion => (400, UNSUPPORTED_VERSION),
            Malformed::UnknownMethod => (self.unknown_method_status(), METHOD_NOT_FOUND),
            Malformed::MetaType
            | Malformed::MetaMissing
            | Malformed::TargetType
            | Malformed::TargetForm
            | Malformed::ArgumentsType
            | Malformed::ProtocolVersionType
            | Malformed::InputResponsesType
            | Malformed::RequestStateType
            | Malformed::NumberInexact
            | Malformed::ArgumentType
            | Malformed::ArgumentUnknown
            | Malformed::ArgumentMissing
            | Malformed::ArgumentTwice => (400, INVALID_PARAMS),
            Malformed::HeaderRepeated
            | Malformed::HeaderLookalike
            | Malformed::HeaderNotText
            | Malformed::ConnectionNamesHeader
            | Malformed::ParamHeader
            | Malformed::VersionHeaderMissing
            | Malformed::VersionMismatch
            | Malformed::MethodHeaderMissing
            | Malformed::MethodMismatch
            | Malformed::NameHeaderMissing
            | Malformed::NameMismatch => (400, HEADER_MISMATCH),
            Malformed::BodyUnexpected
            | Malformed::Query
            | Malformed::SessionId
            | Malformed::Batch
            | Malformed::NotObject
            | Malformed::LookalikeKey
            | Malformed::PollutingKey
            | Malformed::UnknownMember
            | Malformed::JsonRpc
            | Malformed::MethodType
            | Malformed::MethodForm
            | Malformed::ResultBesideMethod
            | Malformed::ResponseShape
            | Malformed::IdType
            | Malformed::IdMissing
            | Malformed::IdUnexpected
            | Malformed::ParamsPositional
            | Malformed::ParamsType
            | Malformed::PathForm
            | Malformed::PathEncoding
            | Malformed::QueryEncoding => (400, INVALID_REQUEST),
        };
        Answer { http_status, code }
    }

    /// What MCP wants beside the code: for an unsupported version the ones that are taken, so that a client can try again.
    #[must_use]
    pub fn data(&self, head: &Head, rules: &Rules) -> Option<Object> {
        if self.reason != Malformed::UnsupportedVersion {
            return None;
        }
        let supported: Vec<Json> = rules.versions.iter().map(|version| version.as_str().into()).collect();
        let asked = head.values("mcp-protocol-version").next().and_then(|value| core::str::from_utf8(value).ok());
        Some(Object::default().with("supported", supported).with("requested", asked.unwrap_or_default()))
    }

    /// In the session era 404 means that the session is gone, and a client would begin anew: 200 carries the error there.
    fn unknown_method_status(&self) -> u16 {
        match (self.version.map(Version::era), &self.id) {
            (Some(Era::Stateless), _) => 404,
            (Some(Era::Session) | None, Some(_)) => 200,
            (Some(Era::Session) | None, None) => 400,
        }
    }
}

#[cfg(test)]
mod tests;
