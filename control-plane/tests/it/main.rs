//! Real gRPC in process, over real mutual TLS with certificates from the real authority.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a story that cannot go on fails; the lints let off test functions and not what they share"
)]

mod authz;
mod conversation;
mod copy;
mod drain;
mod gauges;
mod held;
mod history;
mod identity;
mod limits;
mod orders;
mod outcomes;
mod policy;
mod quota;
mod raw;
mod refusals;
mod replicas;
mod status;
mod traces;
mod users;
mod webhook;
mod world;
