//! Reads every byte of a journal's files and says what is not what was written, by file and byte. It changes nothing, and
//! refuses to look at files that a control plane is writing.

use super::format::{Body, CELL, CELLS_AT, Cell, Gone, Kind, cells, first, form, is_unfinished, rest};
use super::walk::{Found, Segment, segments, walk};
use agentgate_core::digest::Digest;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::note::Note;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The newest form that this program knows.
pub(super) const FORM: u32 = 1;

/// Something that differs, or, among the notes, only was never finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub file: PathBuf,
    pub byte: u64,
    pub what: String,
}

/// What was read, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Report {
    pub head: u64,
    pub streams: u64,
    pub groups: u64,
    pub bodies: u64,
    pub discarded: u64,
    pub segments_removed: u64,
    pub slots: u64,
    pub findings: Vec<Finding>,
    /// What opening will cut or finish, as after a crash.
    pub notes: Vec<Finding>,
}

/// A slot's value, as far as its cells were read.
#[derive(Clone, Debug)]
struct Value {
    stamp: u64,
    length: usize,
    bytes: Vec<u8>,
}

/// Where a group of one kind stands.
#[derive(Clone, Debug, Default)]
struct Groups {
    /// The checksum of each head that records may speak of, by group.
    heads: BTreeMap<u64, u32>,
    /// The newest group that is in a removed segment.
    gone: u64,
    last: u64,
}

// === impl Report ===

impl Report {
    /// Reads everything below `directory`; `progress` hears of each file.
    pub fn read(directory: &Path, progress: &mut dyn FnMut(&Path)) -> io::Result<Self> {
        let mut report = Self::default();
        if is_unfinished(directory) {
            report.say(&directory.join("form"), 0, "a copy that was not finished; make it again, into a new directory");
            return Ok(report);
        }
        report.form(directory)?;
        let bodies = report.bodies(directory, progress)?;
        report.records(directory, &bodies, progress)?;
        progress(&directory.join("slots"));
        let signed = report.slots(directory)?;
        if let Some(signed) = signed.filter(|signed| *signed > report.head) {
            let head = report.head;
            let what = format!(
                "the last record that is whole is {head}, and the newest checkpoint, which lies in `slots`, is over {signed}: what was behind it is lost"
            );
            report.say(&directory.join(Kind::Records.noun()), 0, what);
        }
        Ok(report)
    }

    fn say(&mut self, file: &Path, byte: usize, what: impl Into<String>) {
        self.findings.push(Finding { file: file.to_owned(), byte: byte as u64, what: what.into() });
    }

    fn form(&mut self, directory: &Path) -> io::Result<()> {
        let path = directory.join("form");
        match fs::read(&path).map(|bytes| form(&String::from_utf8_lossy(&bytes))) {
            Ok(Some((_, needs))) if needs <= FORM => {}
            Ok(Some((form, needs))) => {
                let what = format!("it is of form {form} and needs a program that knows form {needs}; this one knows {FORM}");
                self.say(&path, 0, what);
            }
            Ok(None) => self.say(&path, 0, "it says no form"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.say(&path, 0, "the file is missing: no journal, or a backup that was not finished");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn bodies(&mut self, directory: &Path, progress: &mut dyn FnMut(&Path)) -> io::Result<Groups> {
        let mut groups = Groups::default();
        let (mut kept, mut discarded, mut removed) = (0, 0, 0);
        walk(&segments(directory, Kind::Bodies)?, Kind::Bodies, self, progress, &mut |report, segment, found| match found {
            Found::Gone(Gone { group, .. }) => {
                (groups.gone, groups.last) = (*group, *group);
                removed += 1;
            }
            Found::Group(at, head, bytes) => {
                let whole = head.bodies(bytes);
                for body in whole.iter().flatten() {
                    match body {
                        Body::Kept => kept += 1,
                        Body::Discarded => discarded += 1,
                    }
                }
                if whole.is_none() {
                    report.say(&segment.path, *at, "a group of bodies is not what was written");
                }
                groups.heads.insert(head.group, head.checksum);
                groups.last = head.group;
            }
        })?;
        (self.bodies, self.discarded, self.segments_removed) = (kept, discarded, removed);
        Ok(groups)
    }

    fn records(&mut self, directory: &Path, bodies: &Groups, progress: &mut dyn FnMut(&Path)) -> io::Result<()> {
        let (mut next, mut group, mut last) = (1, 0, None);
        let mut versions: HashMap<[u8; 32], u64> = HashMap::new();
        let mut ids = HashSet::new();
        walk(&segments(directory, Kind::Records)?, Kind::Records, self, progress, &mut |report, segment, found| {
            let Found::Group(at, head, bytes) = found else { return };
            if head.group != group + 1 {
                report.say(&segment.path, *at, format!("group {} stands where {} must", head.group, group + 1));
            }
            if head.first != next {
                report.say(&segment.path, *at, format!("sequence {} stands where {next} must", head.first));
            }
            (group, next) = (head.group, head.first);
            for record in head.records(bytes).unwrap_or_default() {
                let version = versions.entry(record.stream).or_default();
                if record.sequence != next {
                    report.say(&segment.path, *at, format!("sequence {} stands where {next} must", record.sequence));
                }
                if record.version != *version + 1 {
                    let what = format!("sequence {next} is version {} of its stream, which is at {version}", record.version);
                    report.say(&segment.path, *at, what);
                }
                if !ids.insert(record.id) {
                    report.say(&segment.path, *at, format!("sequence {next} has an id that was there before"));
                }
                (*version, next) = (record.version, next + 1);
            }
            if head.records(bytes).is_none() {
                report.say(&segment.path, *at, "a group of records is not what was written");
                next = head.first + u64::from(head.count);
            }
            if let Some(expected) = head.bodies.filter(|_| head.group > bodies.gone) {
                match bodies.heads.get(&head.group) {
                    Some(found) if *found == expected => {}
                    Some(_) => report.say(&segment.path, *at, format!("group {group} has the bodies of another")),
                    None => last = Some((segment.path.clone(), *at, head.group)),
                }
                if let Some((path, at, missing)) = last.take_if(|(_, _, missing)| *missing < head.group) {
                    report.say(&path, at, format!("the bodies of group {missing} are missing"));
                }
            }
            report.groups += 1;
        })?;
        match last {
            // Nobody was told of it: its records were whole before its bodies.
            Some((file, at, missing)) if missing == group && bodies.last < group => {
                self.notes.push(Finding {
                    file,
                    byte: at as u64,
                    what: format!("the bodies of group {missing} were never finished"),
                });
            }
            Some((file, at, missing)) => self.say(&file, at, format!("the bodies of group {missing} are missing")),
            None => {}
        }
        let beyond = bodies.heads.keys().filter(|number| **number > group).count();
        let path = directory.join(Kind::Bodies.noun());
        match beyond {
            0 => {}
            1 => self.notes.push(Finding {
                file: path,
                byte: 0,
                what: format!("group {} has bodies and no records yet", bodies.last),
            }),
            _ => self.say(&path, 0, format!("{beyond} groups of bodies have no records")),
        }
        (self.head, self.streams) = (next - 1, versions.len() as u64);
        Ok(())
    }

    /// How many records the newest checkpoint is over, if there is one.
    fn slots(&mut self, directory: &Path) -> io::Result<Option<u64>> {
        let path = directory.join("slots");
        let file = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.say(&path, 0, "the file is missing");
                return Ok(None);
            }
            read => read?,
        };
        let Some(count) = cells(&file) else {
            self.say(&path, 0, "neither of its heads is what was written");
            return Ok(None);
        };
        let end = CELLS_AT + count as usize * CELL;
        if file.len() < end {
            self.say(&path, file.len(), "the file is shorter than it was made");
        }
        let mut open: Option<(u64, u8, u8)> = None;
        let mut names = HashSet::new();
        let mut unfinished = 0_u64;
        for (number, cell) in (0..count).zip(file.get(CELLS_AT..).unwrap_or_default().chunks_exact(CELL)) {
            let cell = Cell::parse(number, cell);
            let continues =
                matches!((&cell, open), (Cell::Rest { stamp, index }, Some((of, seen, _))) if *stamp == of && *index == seen);
            open = match (&cell, open) {
                (_, Some((stamp, seen, all))) if continues => (seen + 1 < all).then_some((stamp, seen + 1, all)),
                (Cell::First { name, stamp, count }, _) => {
                    unfinished += u64::from(open.is_some() || !names.insert(*name));
                    (*count > 1).then_some((*stamp, 1, *count))
                }
                (Cell::Free | Cell::Unfinished | Cell::Rest { .. } | Cell::Bad, _) => {
                    unfinished += u64::from(open.is_some() || !matches!(cell, Cell::Free | Cell::Bad));
                    None
                }
            };
            if cell == Cell::Bad {
                self.say(&path, CELLS_AT + number as usize * CELL, "a cell is not what was written");
            }
        }
        if unfinished > 0 {
            self.notes.push(Finding {
                file: path,
                byte: CELLS_AT as u64,
                what: format!("{unfinished} cells were never finished"),
            });
        }
        self.slots = names.len() as u64;
        Ok(signed(&file, count))
    }

    pub(super) fn differs(&mut self, segment: &Segment, byte: usize, what: &str) {
        self.say(&segment.path, byte, what);
    }

    pub(super) fn note(&mut self, segment: &Segment, byte: usize, what: &str) {
        self.notes.push(Finding { file: segment.path.clone(), byte: byte as u64, what: what.to_owned() });
    }

    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// The size that the newest checkpoint says. Whether a key of the log signed it is not judged here.
fn signed(file: &[u8], count: u32) -> Option<u64> {
    let slot = Digest::of("agentgate/slot/checkpoint/1", b"");
    let (mut newest, mut open): (Option<(u64, u64)>, Option<Value>) = (None, None);
    for (number, bytes) in (0..count).zip(file.get(CELLS_AT..).unwrap_or_default().chunks_exact(CELL)) {
        open = match (Cell::parse(number, bytes), open.take()) {
            (Cell::First { name, stamp, .. }, _) if name == *slot.as_bytes() => Value::begin(stamp, bytes),
            (Cell::Rest { stamp, .. }, Some(value)) if value.stamp == stamp => Some(value.go_on(bytes)),
            (Cell::First { .. } | Cell::Rest { .. } | Cell::Free | Cell::Unfinished | Cell::Bad, _) => None,
        };
        let whole = open.as_ref().and_then(|value| Some((value.stamp, value.checkpoint()?.size)));
        newest = newest.max(whole);
    }
    newest.map(|(_, size)| size)
}

// === impl Value ===

impl Value {
    fn begin(stamp: u64, cell: &[u8]) -> Option<Self> {
        let (length, bytes) = first(cell)?;
        Some(Self { stamp, length, bytes: bytes.to_vec() })
    }

    fn go_on(mut self, cell: &[u8]) -> Self {
        self.bytes.extend(rest(cell));
        self
    }

    /// None: it is not whole, or none.
    fn checkpoint(&self) -> Option<Checkpoint> {
        let note = Note::parse(self.bytes.get(..self.length)?).ok()?;
        Checkpoint::parse(note.text()).ok()
    }
}
