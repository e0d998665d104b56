//! What the control plane signed of what it gave: what was asked for, by whom and when, which records there were, and how the
//! body of each was given. What an earlier release did not say yet is none here, and is made up nowhere.

use crate::moment::absolute;
use serde_json::Value;
use std::ops::RangeInclusive;

#[derive(Debug)]
pub(super) struct Manifest {
    /// As it stands there; and read, where this program knows its form.
    pub(super) scope: String,
    pub(super) asked: Option<Asked>,
    pub(super) by: String,
    pub(super) at: String,
    pub(super) pii: String,
    pub(super) size: u64,
    pub(super) body_bytes_max: usize,
    pub(super) records: Vec<RangeInclusive<u64>>,
    pub(super) bodies: Option<Bodies>,
    /// Erased records that no name finds, and what erased them; none where there were none.
    pub(super) unmatched: Option<String>,
}

/// What was asked for; all that is named agrees.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    session: String,
    principal: String,
    since_us: u64,
    /// 0: until then.
    until_us: u64,
}

/// How the bodies were given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bodies {
    /// As ciphertext, whatever became of them since.
    pub(super) sealed: bool,
    /// Records whose bodies nobody could open any more.
    pub(super) erased: Vec<RangeInclusive<u64>>,
    /// Over how each was given.
    pub(super) digest: String,
}

// === impl Manifest ===

impl Manifest {
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "agentgate evidence 1" {
            return None;
        }
        let lines: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(' ')).collect();
        let of = |wanted: &str| lines.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let bodies = || {
            let (how, digest) = of("bodies")?.split_once(' ')?;
            let sealed = match how {
                "sealed" => true,
                "open" => false,
                _ => return None,
            };
            Some(Bodies { sealed, erased: ranges_of(of("erased")?)?, digest: digest.to_owned() })
        };
        let said = |name: &str| of(name).unwrap_or_default().to_owned();
        let manifest = Self {
            scope: said("scope"),
            asked: of("scope").and_then(Asked::read),
            by: said("by"),
            at: said("at"),
            pii: said("pii"),
            size: of("size")?.parse().ok()?,
            body_bytes_max: of("body_bytes_max")?.parse().ok()?,
            records: ranges_of(of("records")?)?,
            bodies: match of("bodies") {
                Some(_) => Some(bodies()?),
                None => None,
            },
            unmatched: of("unmatched").map(str::to_owned),
        };
        Some(manifest)
    }
}

// === impl Asked ===

impl Asked {
    /// None where it is of a form that this program does not know.
    pub(super) fn read(scope: &str) -> Option<Self> {
        let scope: Value = serde_json::from_str(scope).ok()?;
        let text = |field: &str| Some(scope.get(field)?.as_str()?.to_owned());
        let moment = |field: &str| scope.get(field)?.as_u64();
        let (session, principal) = (text("session")?, text("principal")?);
        Some(Self { session, principal, since_us: moment("since_us")?, until_us: moment("until_us")? })
    }

    /// As people say it.
    pub(super) fn in_words(&self) -> String {
        let named = |name: &str, noun: &str| (!name.is_empty()).then(|| format!("the {noun} `{name}`"));
        let moment = |at_us: u64, word: &str| (at_us > 0).then(|| format!("{word} {}", absolute(at_us)));
        let parts = [
            named(&self.session, "session"),
            named(&self.principal, "principal"),
            moment(self.since_us, "from"),
            moment(self.until_us, "until"),
        ];
        let said: Vec<String> = parts.into_iter().flatten().collect();
        if said.is_empty() { "all that there is".into() } else { said.join(", ") }
    }

    /// Whether every record of its time was asked for, whosever it is.
    pub(super) fn is_of_everybody(&self) -> bool {
        self.session.is_empty() && self.principal.is_empty()
    }

    /// Whether nothing is too old for it: no clock shows its first moment.
    pub(super) fn is_of_all_before(&self) -> bool {
        self.since_us <= 1
    }

    pub(super) fn is_until_now(&self) -> bool {
        self.until_us == 0
    }

    /// Whether it covers this moment by whatever clock, if none is off by more than that.
    pub(super) fn covers_for_sure(&self, at_us: u64, apart_us: u64) -> bool {
        let since = self.is_of_all_before() || at_us.saturating_sub(apart_us) >= self.since_us;
        since && (self.is_until_now() || at_us.saturating_add(apart_us) < self.until_us)
    }

    pub(super) fn covers(&self, at_us: u64) -> bool {
        at_us >= self.since_us && (self.until_us == 0 || at_us < self.until_us)
    }
}

/// None where they do not rise, or do not lie apart: whoever counts on that would count for ever.
fn ranges_of(text: &str) -> Option<Vec<RangeInclusive<u64>>> {
    if text == "none" {
        return Some(Vec::new());
    }
    let range = |range: &str| {
        let (start, end) = range.split_once('-').unwrap_or((range, range));
        Some(start.parse().ok()?..=end.parse().ok()?)
    };
    let ranges: Vec<RangeInclusive<u64>> = text.split(',').map(range).collect::<Option<_>>()?;
    let rise = ranges.iter().zip(ranges.iter().skip(1)).all(|(one, next)| one.end() < next.start());
    (rise && ranges.iter().all(|range| range.start() <= range.end())).then_some(ranges)
}
