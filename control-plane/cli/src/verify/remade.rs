//! What a person reads of a pack, made again from the pack: what was signed beside it must be that, byte for byte, since anybody
//! who may gather can have any digest signed. What another release made looks otherwise without being forged, and is not shown.

use super::report::Report;
use crate::pack::files::{digest, told};
use crate::pack::reading::Reading;
use crate::pack::{Beside, Named, PACK_FILE, Pack, RELEASE};

/// Holds the reading in the pack, and each file that was signed with it, against those that this program makes; the files only
/// where they are the signed ones.
pub(super) fn judge(pack: &Pack, beside: &Beside, (named, signed): (&Named, bool), report: &mut Report) {
    let other = other_release(beside);
    if Reading::of(pack).to_json() == beside.reading {
        report.shown("its reading (summary, timeline, rules, writes, anomalies) follows from its records".into());
    } else {
        match &other {
            None => report.wrong("its reading does not follow from its records".into()),
            Some(other) => {
                report.unmade("its reading");
                report.not_shown(format!("that its reading follows from its records: {other}"));
            }
        }
    }
    // Where a file is not the one that was signed, that is said already.
    if !signed {
        return;
    }
    let made = match told(pack) {
        Ok(made) => made,
        Err(failure) => {
            read(named).for_each(|(name, _)| report.unmade(&format!("`{name}`")));
            return report.not_shown(format!("that its report is one of this pack: {}", failure.chain().join(": ")));
        }
    };
    let mut same = Vec::new();
    for (name, digits) in read(named) {
        let own = made.iter().find(|(own, _)| own == name);
        match (own, &other) {
            (Some((_, bytes)), _) if digest(bytes) == *digits => same.push(format!("`{name}`")),
            (_, None) => report.wrong(format!(
                "`{name}` is not the report of this pack: it was changed, or another build of release {RELEASE} made it"
            )),
            (_, Some(other)) => {
                report.unmade(&format!("`{name}`"));
                report.not_shown(format!("that `{name}` says what the pack holds: {other}"));
            }
        }
    }
    let one = format!("{} says what the pack holds: made of it again, it is the same bytes", same.concat());
    report.shown_of(same.len(), &one, |_| {
        format!("{} say what the pack holds: made of it again, they are the same bytes", same.join(" and "))
    });
}

/// What was signed for a person to read, with its digest.
fn read(named: &Named) -> impl Iterator<Item = (&String, &String)> {
    named.files.iter().filter(|(name, _)| *name != PACK_FILE)
}

/// Who made it, unless it was this release.
fn other_release(beside: &Beside) -> Option<String> {
    match beside.release.as_deref() {
        Some(RELEASE) => None,
        Some(release) => Some(format!(
            "the pack says that release {release} made it, and this is {RELEASE}; `agentgate verify` of that one shows it"
        )),
        None => Some(format!("the pack does not say which release made it, and {RELEASE} makes another one")),
    }
}
