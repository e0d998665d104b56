//! How each body was given, against what the control plane signed of that. What was altered for the pack no commitment covers:
//! only this shows that its words are those that were given.

use super::manifest::Bodies;
use super::report::{Of, Report};
use super::shape::{self, some};
use crate::pack::{Body, Pack, Packed};
use agentgate_core::transparency::given::{Given, How};
use agentgate_proto::{body_address, v1};

const ALTERED_SINCE: [&str; 2] = [
    "it was given sealed, and nobody signed what was left of it when it was opened",
    "they were given sealed, and nobody signed what was left of them when they were opened",
];
const ERASED_SINCE: [&str; 2] = [
    "it was given sealed, and is said to have been erased when it was opened",
    "they were given sealed, and are said to have been erased when they were opened",
];

pub(super) fn judge(pack: &Pack, signed: Option<&Bodies>, report: &mut Report) {
    let Some(signed) = signed else {
        let words = "that its bodies are as the control plane gave them: its list of the records does not say how it gave them";
        return report.not_shown(words.into());
    };
    let (mut given, mut named) = (Given::default(), false);
    let is_sealed = pack.is_sealed();
    for packed in &pack.records {
        let sequence = packed.entry.sequence;
        let erased = shape::holds(&signed.erased, sequence);
        let reference = packed.reference();
        let said = match (&packed.body, &reference) {
            (Body::Erased, _) if erased => None,
            (Body::Erased, Some(_)) if signed.sealed && !is_sealed => {
                report.not_shown_of(sequence, Of::Given, ERASED_SINCE);
                None
            }
            (Body::Erased, _) => Some("is said to be erased, and the control plane gave it"),
            (_, Some(_)) if erased => Some("was erased when the control plane gave it, and the pack has one"),
            (Body::Altered { .. }, Some(_)) if signed.sealed => {
                report.not_shown_of(sequence, Of::Given, ALTERED_SINCE);
                None
            }
            (Body::None | Body::Open { .. } | Body::Altered { .. } | Body::Sealed(_), _) => None,
        };
        if let Some(said) = said {
            named = true;
            report.wrong_of("bodies that are not as they were given", format!("the body of record {sequence} {said}"));
        }
        push(&mut given, packed, reference.as_ref(), signed.sealed && !erased);
    }
    // Of one that was named nobody knows what it was, and so not what was signed of all.
    if named {
        return;
    }
    if given.digest() == signed.digest {
        report.shown("how each body was given, and what, is as the control plane signed it".into());
    } else {
        report.wrong(changed(pack));
    }
}

/// A body that was given sealed is named by its address, also where it has been opened since.
fn push(given: &mut Given, packed: &Packed, reference: Option<&v1::BodyRef>, sealed: bool) {
    let address;
    let how = match (&packed.body, reference) {
        (Body::Open { .. } | Body::Altered { .. } | Body::Erased, Some(reference)) if sealed => {
            How::Sealed { address: &reference.address }
        }
        (Body::None, _) => How::None,
        (Body::Erased, _) => How::Erased,
        (Body::Open { plain, .. }, _) => How::Open { plain },
        (Body::Altered { plain, pii }, _) => How::Altered { pii, plain },
        (Body::Sealed(kept), _) => {
            address = body_address(kept);
            How::Sealed { address: address.as_bytes() }
        }
    };
    given.push(packed.entry.sequence, how);
}

/// One digest is over all of them. What is open its record has committed to, so a change shows there as well.
fn changed(pack: &Pack) -> String {
    let is_altered = |packed: &&Packed| matches!(packed.body, Body::Altered { .. });
    let altered: Vec<u64> = pack.records.iter().filter(is_altered).map(|packed| packed.entry.sequence).collect();
    let said = "its bodies are not as the control plane gave them";
    if altered.is_empty() {
        return said.into();
    }
    format!("{said}: others may have been put for what was left of the altered ones ({})", some(&altered))
}
