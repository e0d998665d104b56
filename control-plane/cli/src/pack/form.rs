//! Which fields `pack.json` has, as docs/evidence.schema.json names them. What no reader looks at could hold anything, and an
//! archive would keep it; so a field more is refused by name.

use crate::file::Unreadable;
use serde_json::Value;
use std::path::Path;

/// What a part of a pack may hold. Of what kind each value is, is for whoever reads it.
enum Part {
    Value,
    Fields(&'static [(&'static str, Part)]),
    Each(&'static Part),
    Body,
}

const PACK: Part = Part::Fields(&[
    ("form", Part::Value),
    ("version", Part::Value),
    ("release", Part::Value),
    ("manifest", Part::Value),
    ("checkpoint", Part::Value),
    ("keys", Part::Value),
    ("records", Part::Each(&RECORD)),
    ("bundles", Part::Each(&BUNDLE)),
    ("reading", READING),
]);

const RECORD: Part = Part::Fields(&[
    ("sequence", Part::Value),
    ("entry", Part::Value),
    ("hashes", Part::Value),
    ("record", Part::Value),
    ("body", Part::Body),
]);

const BUNDLE: Part = Part::Fields(&[("digest", Part::Value), ("content", Part::Value)]);

const ERASED: Part = Part::Fields(&[("erased", Part::Value)]);
const SEALED: Part = Part::Fields(&[("erased", Part::Value), ("sealed", Part::Value)]);
const ALTERED: Part = Part::Fields(&[("erased", Part::Value), ("altered", Part::Value), ("plain", Part::Value)]);
const OPEN: Part = Part::Fields(&[("erased", Part::Value), ("salt", Part::Value), ("plain", Part::Value)]);

const READING: Part = Part::Fields(&[
    ("summary", SUMMARY),
    ("timeline", Part::Each(&LINE)),
    ("rules", Part::Each(&RULE)),
    ("writes", Part::Each(&WRITE)),
    ("anomalies", Part::Each(&ANOMALY)),
]);

const SUMMARY: Part = Part::Fields(&[
    ("records", Part::Value),
    ("calls", Part::Value),
    ("allow", Part::Value),
    ("pending", Part::Value),
    ("deny", Part::Value),
    ("erased", Part::Value),
    ("sealed", Part::Value),
    ("observed", Part::Value),
    ("altered", Part::Value),
]);

const LINE: Part = Part::Fields(&[
    ("sequence", Part::Value),
    ("at", Part::Value),
    ("kind", Part::Value),
    ("principal", Part::Value),
    ("server", Part::Value),
    ("target", Part::Value),
    ("said", Part::Value),
    ("rule", Part::Value),
    ("reason", Part::Value),
    ("scope", Part::Value),
    ("approval", Part::Value),
    ("erased", Part::Value),
    ("sealed", Part::Value),
    ("about", Part::Value),
    ("arguments", Part::Value),
    ("arguments_cut", Part::Value),
    ("observed", Part::Value),
    ("altered", Part::Value),
]);

const RULE: Part =
    Part::Fields(&[("rule", Part::Value), ("allow", Part::Value), ("pending", Part::Value), ("deny", Part::Value)]);

const WRITE: Part = Part::Fields(&[
    ("sequence", Part::Value),
    ("at", Part::Value),
    ("principal", Part::Value),
    ("tool", Part::Value),
    ("approval", Part::Value),
    ("agreed", Part::Value),
    ("outcome", Part::Value),
    ("observed", Part::Value),
]);

const ANOMALY: Part = Part::Fields(&[("kind", Part::Value), ("said", Part::Value), ("sequences", Part::Value)]);

/// # Errors
/// Where it has a field that the form has not.
pub(super) fn is_kept(path: &Path, pack: &Value) -> Result<(), Unreadable> {
    match PACK.surplus(pack, "") {
        None => Ok(()),
        Some(field) => Err(Unreadable::Field { path: path.into(), field, wanted: WANTED }),
    }
}

const WANTED: &str = "a field of its form";

// === impl Part ===

impl Part {
    /// The way to the first field that is not named here.
    fn surplus(&self, value: &Value, way: &str) -> Option<String> {
        match (self, value) {
            (Self::Fields(parts), Value::Object(fields)) => fields.iter().find_map(|(name, value)| {
                let way = if way.is_empty() { name.clone() } else { format!("{way}.{name}") };
                match parts.iter().find(|(known, _)| known == name) {
                    Some((_, part)) => part.surplus(value, &way),
                    None => Some(way),
                }
            }),
            (Self::Each(part), Value::Array(values)) => {
                (0_usize..).zip(values).find_map(|(at, value)| part.surplus(value, &format!("{way}[{at}]")))
            }
            (Self::Body, Value::Object(fields)) => {
                let body = match fields.get("erased") {
                    Some(Value::Bool(true)) => &ERASED,
                    Some(_) | None if fields.contains_key("altered") => &ALTERED,
                    Some(_) | None if fields.contains_key("sealed") => &SEALED,
                    Some(_) | None => &OPEN,
                };
                body.surplus(value, way)
            }
            // Of another kind than the form says: its reader refuses that.
            (Self::Value | Self::Fields(_) | Self::Each(_) | Self::Body, _) => None,
        }
    }
}
