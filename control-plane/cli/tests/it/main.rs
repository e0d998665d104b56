//! The binary itself, against a control plane of fixed answers behind real mutual TLS.
//!
//! What a control plane would decide is none of these tests' business; how it is asked and shown is.

#[cfg(test)]
mod approve;
#[cfg(test)]
mod double;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod learn;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod status;
#[cfg(test)]
mod trace;
