//! Decisions that are settled again by a process of their own. A policy of a pack is a program that somebody else wrote, and the
//! engine counts its steps but not what one of them costs (decision 0003): a text that is doubled forty times fits no machine.
//! Whatever becomes of that process, the program that started it says all else of the pack, and which policy ended it.
//!
//! It is given no key and no path: the pack comes with the question, and each answer is a line as soon as it is there.

use super::redecide::{Again, Answers, alike, here};
use crate::failure::{Exit, Failure};
use crate::pack::files::FILE_BYTES_MAX;
use crate::pack::{PACK_FILE, Pack};
use crate::text::hex;
use agentgate_core::error::chain;
use agentgate_proto::v1::record::What;
use rustix::process::{Resource, Signal, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// The verb that no person types.
pub(crate) const VERB: &str = "settle-again";

/// Of that process, which holds the pack as well: the largest pack takes a sixth of it.
pub(super) const MEMORY_BYTES_MAX: u64 = 4 << 30;

/// Of a processor's time: twice what 10,000 decisions take of which each takes all the steps that it may.
const PROCESSOR_SECONDS_MAX: u64 = 15 * 60;

/// Policies that end the process before nothing is decided any more; each is started again without what they decided.
pub(super) const ENDED_MAX: usize = 3;

/// The question: the bound and the decisions beside the pack.
const QUESTION_BYTES_MAX: u64 = FILE_BYTES_MAX * 2;

/// What the system sends to a program that takes more time than it may, and a program to itself that has no memory left.
const OUT_OF_TIME: i32 = Signal::XCPU.as_raw();
const OUT_OF_MEMORY: i32 = Signal::ABORT.as_raw();

/// What is started for each question.
pub(super) type Program = fn() -> io::Result<Command>;

/// This program as it runs now, asked for the verb below.
fn own() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(VERB);
    Ok(command)
}

pub(super) fn apart(pack: &Pack, wanted: &BTreeSet<u64>, body_bytes_max: usize) -> Answers {
    through(own, pack, wanted, body_bytes_max)
}

/// What that program answers. Where it ended before all was answered, the rest is answered here: nothing shows it.
pub(super) fn through(program: Program, pack: &Pack, wanted: &BTreeSet<u64>, body_bytes_max: usize) -> Answers {
    let (mut left, mut answers, mut ended) = (wanted.clone(), Answers::new(), 0_usize);
    loop {
        let asked = if left.is_empty() { return answers } else { ask(program, pack, &left, body_bytes_max, &mut answers) };
        left.retain(|sequence| !answers.contains_key(sequence));
        let Some(at) = left.first().copied() else { return answers };
        let policy = policy_of(pack, at);
        let is_full = matches!(&asked, Ok(status) if status.signal() == Some(OUT_OF_MEMORY));
        ended = ended.saturating_add(1);
        if !is_full || ended > ENDED_MAX {
            let why = format!("deciding again ended with decision {at}, by the policy {policy}: {}", said(asked));
            answers.extend(left.into_iter().map(|sequence| (sequence, Again::Cannot(alike(why.clone())))));
            return answers;
        }
        let why = format!("the policy {policy} takes more memory than {} GiB", MEMORY_BYTES_MAX >> 30);
        let its = left.iter().filter(|sequence| policy_of(pack, **sequence) == policy);
        answers.extend(its.map(|sequence| (*sequence, Again::Cannot(alike(why.clone())))));
        left.retain(|sequence| !answers.contains_key(sequence));
    }
}

fn said(asked: io::Result<ExitStatus>) -> String {
    match asked {
        Ok(status) if status.signal() == Some(OUT_OF_MEMORY) => {
            format!("more than {ENDED_MAX} policies take more memory than {} GiB", MEMORY_BYTES_MAX >> 30)
        }
        Ok(status) if status.signal() == Some(OUT_OF_TIME) => {
            format!("it takes longer than {} minutes", PROCESSOR_SECONDS_MAX / 60)
        }
        Ok(status) => format!("it gave no answer ({status})"),
        Err(error) => format!("the program that decides cannot be started: {}", chain(&error)),
    }
}

fn policy_of(pack: &Pack, sequence: u64) -> String {
    let packed = pack.records.iter().find(|packed| packed.entry.sequence == sequence);
    match packed.and_then(crate::pack::Packed::what) {
        Some((_, What::Decision(decision))) => hex(&decision.policy_digest),
        Some(_) | None => String::new(),
    }
}

fn ask(
    program: Program,
    pack: &Pack,
    wanted: &BTreeSet<u64>,
    body_bytes_max: usize,
    answers: &mut Answers,
) -> io::Result<ExitStatus> {
    let mut child = program()?.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let question = json!({ "body_bytes_max": body_bytes_max, "decisions": wanted });
    // It reads all of it before it answers, or has ended.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = writeln!(stdin, "{question}").and_then(|()| stdin.write_all(&pack.to_bytes()));
    }
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { break };
            let answer = serde_json::from_str(&line).ok().and_then(|value| Again::read(&value));
            answers.extend(answer.filter(|(sequence, _)| wanted.contains(sequence)));
        }
    }
    child.wait()
}

/// What the process that was started does: it answers, and nothing else. It may take no more than a policy may.
pub(crate) fn answer(out: &mut dyn Write) -> Result<(), Failure> {
    // Who began this program holds the lock of its input.
    let question = || io::stdin().as_fd().try_clone_to_owned().map(File::from);
    bound(MEMORY_BYTES_MAX).and_then(|()| told(question()?, out)).map_err(|error| {
        Failure::new(Exit::Local, format!("`agentgate {VERB}` is asked by `agentgate verify --redecide` alone")).because(error)
    })
}

pub(super) fn told(question: impl io::Read, out: &mut dyn Write) -> io::Result<()> {
    let (mut head, mut question) = (String::new(), BufReader::new(question.take(QUESTION_BYTES_MAX)));
    question.read_line(&mut head)?;
    let head: Value = serde_json::from_str(&head)?;
    let bytes_max = head.get("body_bytes_max").and_then(Value::as_u64).and_then(|max| usize::try_from(max).ok());
    let wanted = head.get("decisions").and_then(Value::as_array).map(|all| all.iter().filter_map(Value::as_u64).collect());
    let (Some(bytes_max), Some(wanted)) = (bytes_max, wanted) else { return Err(io::ErrorKind::InvalidData.into()) };
    let mut bytes = Vec::new();
    question.read_to_end(&mut bytes)?;
    let (pack, _) = Pack::read(Path::new(PACK_FILE), &bytes).map_err(io::Error::other)?;
    drop(bytes);
    let mut said = Ok(());
    here(&pack, &wanted, bytes_max, &mut |sequence, again| {
        if said.is_ok() {
            said = writeln!(out, "{}", again.to_json(sequence)).and_then(|()| out.flush());
        }
    });
    said
}

/// From here on this program has no more than that; it may have less already. It leaves no core, which could be as large.
pub(super) fn bound(memory_bytes_max: u64) -> io::Result<()> {
    for (resource, max) in [(Resource::As, memory_bytes_max), (Resource::Cpu, PROCESSOR_SECONDS_MAX), (Resource::Core, 0)] {
        let mut limit = getrlimit(resource);
        limit.current = Some(limit.current.map_or(max, |current| current.min(max)));
        setrlimit(resource, limit)?;
    }
    Ok(())
}
