//! Real gRPC in process, over real mutual TLS with certificates from the real authority.

mod conversation;
mod drain;
mod identity;
mod outcomes;
mod policy;
mod refusals;
mod traces;
mod world;
