//! Goes from group to group through a kind's segments, and names every byte that is in none.

use super::check::Report;
use super::format::{Gone, Head, Kind};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A shorter file was never made as a segment.
const SEGMENT_MIN: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub number: u32,
    pub path: PathBuf,
}

pub(super) enum Found<'a> {
    /// A head at a byte, and everything from there on.
    Group(usize, Head, &'a [u8]),
    Gone(Gone),
}

type Visit<'a> = &'a mut dyn FnMut(&mut Report, &Segment, &Found<'_>);

/// A kind's segments, in order.
pub(super) fn segments(directory: &Path, kind: Kind) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory.join(kind.noun()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix(kind.noun()).and_then(|name| name.strip_prefix('-'));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push(Segment { number, path });
        }
    }
    found.sort_unstable_by_key(|segment| segment.number);
    Ok(found)
}

pub(super) fn walk(
    segments: &[Segment],
    kind: Kind,
    report: &mut Report,
    progress: &mut dyn FnMut(&Path),
    visit: Visit<'_>,
) -> io::Result<()> {
    let (mut previous, mut expected) = (0, 1);
    // Bad bytes are a torn write when nothing stands behind them.
    let mut trailing: Option<(Segment, usize, bool)> = None;
    for segment in segments {
        progress(&segment.path);
        if segment.number != expected {
            report.differs(segment, 0, "the segment before it is missing");
        }
        expected = segment.number.saturating_add(1);
        let bytes = fs::read(&segment.path)?;
        if let Some(gone) = Gone::parse(segment.number, &bytes).filter(|_| kind == Kind::Bodies) {
            if gone.previous != previous {
                report.differs(segment, 0, "the groups before it are missing");
            }
            previous = gone.checksum;
            visit(report, segment, &Found::Gone(gone));
            continue;
        }
        let (mut at, mut made) = (0, SEGMENT_MIN);
        while let Some(rest) = bytes.get(at..).filter(|rest| rest.iter().any(|byte| *byte != 0)) {
            let head = Head::parse(kind, segment.number, at, rest);
            let whole = head.filter(|head| match kind {
                Kind::Records => head.records(rest).is_some(),
                Kind::Bodies => head.bodies(rest).is_some(),
            });
            if let Some(head) = whole {
                if let Some((segment, byte, _)) = trailing.take() {
                    report.differs(&segment, byte, "there is no group where one must stand");
                } else if head.previous != previous {
                    report.differs(segment, at, "the groups before it are missing");
                }
                previous = head.checksum;
                made = made.max(head.segment_bytes as usize);
                visit(report, segment, &Found::Group(at, head, rest));
                at += head.length();
            } else {
                let end = next_head(kind, segment.number, at, rest)
                    .unwrap_or_else(|| rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 1).next_multiple_of(8)));
                let end = head.map_or(end.max(Head::LEAST), |head| head.length());
                if let Some((segment, byte, _)) = trailing.replace((segment.clone(), at, is_torn(at, rest, end))) {
                    report.differs(&segment, byte, "there is no group where one must stand");
                }
                at += end.max(8);
            }
        }
        if bytes.len() < made {
            report.differs(segment, bytes.len(), "the segment is shorter than it was made");
        }
    }
    match trailing {
        Some((segment, byte, true)) => report.note(&segment, byte, "a write was never finished; opening cuts it"),
        Some((segment, byte, false)) => report.differs(&segment, byte, "the last group is not what was written"),
        None => {}
    }
    Ok(())
}

/// The next head behind the start of `rest`.
pub(super) fn next_head(kind: Kind, segment: u32, offset: usize, rest: &[u8]) -> Option<usize> {
    (8..rest.len())
        .step_by(8)
        .find(|at| rest.get(*at..).is_some_and(|rest| Head::parse(kind, segment, offset + at, rest).is_some()))
}

/// Whether a sector of it, or its end, never reached the disk.
fn is_torn(offset: usize, rest: &[u8], end: usize) -> bool {
    let end = end.min(rest.len());
    let mut at = 0;
    let mut has_hole = rest.get(end.saturating_sub(1)) == Some(&0);
    while at < end && !has_hole {
        let next = (offset + at + 1).next_multiple_of(SECTOR).saturating_sub(offset).min(end);
        has_hole = rest.get(at..next).is_some_and(|part| part.iter().all(|byte| *byte == 0));
        at = next;
    }
    has_hole
}
