//! `agentgate evidence open`: a sealed pack as an ordinary one. Only the control plane has the keys; what was erased since then
//! is said to be erased. It opens nothing that `agentgate verify` finds wrong: what comes out is signed again, and would be
//! believed.

use super::archive::{Whole, untaken};
use super::places::{self, Places, local};
use crate::client::{Client, Connection};
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use crate::pack::{Body, NOTE_FILE, Named, Pack};
use crate::verify;
use agentgate_proto::v1;
use clap::Args;
use serde_json::json;
use std::path::Path;

/// Bodies that are opened in one question; the control plane opens no more.
const OPENED_AT_ONCE: usize = 64;

/// Bytes of sealed bodies in one question, unless a single one has more.
const OPENED_BYTES_AT_ONCE: usize = 1 << 20;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    places: Places,
    /// A verifier key of the log, as `agentgate log show` prints it; without it those that the control plane shows
    #[arg(long = "log-key", value_name = "VERIFIER")]
    log_key: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let Places { pack, out } = &arguments.places;
    places::is_free(out)?;
    let client = Client::connect(&arguments.connection).await?;
    let keys = if arguments.log_key.is_empty() { client.show_log().await?.keys } else { arguments.log_key.clone() };
    let mut pack = judged(pack, &keys)?;
    let (mut opened, mut erased) = (0_usize, 0_usize);
    for questions in questions(&pack) {
        let asked = questions.iter().map(|(_, body)| body.clone()).collect();
        let answer = client.open_evidence(asked).await?;
        if answer.bodies.len() != questions.len() {
            return Err(Failure::new(Exit::Unreachable, "the control plane's answer holds another number of bodies"));
        }
        for ((at, _), body) in questions.iter().zip(answer.bodies) {
            let body = Body::of_wire(body);
            let count = if body == Body::Erased { &mut erased } else { &mut opened };
            *count = count.saturating_add(1);
            if let Some(packed) = pack.records.get_mut(*at) {
                packed.body = body;
            }
        }
    }
    places::write(&pack, out, &client).await?;
    let at = out.display();
    let counted = |count: usize, one: &str, many: &str| if count == 1 { one.to_owned() } else { format!("{count} {many}") };
    let bodies = counted(opened, "1 body", "bodies");
    let gone = counted(erased, "1 was erased", "were erased");
    let said = format!("Opened {bodies} into {at}; {gone}\n");
    desk.answer(|_| said, || json!({ "out": at.to_string(), "opened": opened, "erased": erased }))
}

/// The pack that lies there, sealed whole, where nothing in it is wrong.
pub(super) fn judged(directory: &Path, keys: &[String]) -> Result<Pack, Failure> {
    let refused = |said: String| Failure::new(Exit::Refused, format!("{} was not opened: {said}", directory.display()));
    let bytes = Named::read(directory).map_err(local)?.bytes;
    let report = verify::judge(directory, &verify::question(keys)?, &[]).map_err(local)?;
    if let Some(wrong) = report.all_wrong().first() {
        return Err(refused(wrong.clone()).then("`agentgate verify` says all that is wrong with it; keep it as it is"));
    }
    let untaken = |why| untaken(directory, "opened", why);
    let whole = Whole::read(directory).map_err(untaken)?;
    // What was judged is what the note names, and so is this.
    if !whole.is_named_by(&bytes) {
        return Err(refused(format!("`{NOTE_FILE}` was changed meanwhile")));
    }
    if !whole.pack.is_sealed() {
        return Err(refused("it holds no body that is sealed".into()).then("read it as it is"));
    }
    if let Some(open) = whole.pack.open() {
        return Err(refused(format!("the body of record {open} is open, and others are sealed")));
    }
    // What another release made looks otherwise, and nothing of that is in what comes out.
    if whole.is_of_this_release() {
        whole.as_made().map_err(untaken)?;
    }
    Ok(whole.pack)
}

/// What is asked at once, each with the place of its record.
fn questions(pack: &Pack) -> Vec<Vec<(usize, v1::SealedBody)>> {
    let mut all: Vec<Vec<(usize, v1::SealedBody)>> = Vec::new();
    let mut bytes = 0_usize;
    for (at, packed) in pack.records.iter().enumerate() {
        let Body::Sealed(sealed) = &packed.body else { continue };
        let body = v1::SealedBody {
            record: packed.record.clone().into(),
            sealed: sealed.clone().into(),
            sequence: packed.entry.sequence,
        };
        bytes = bytes.saturating_add(sealed.len());
        match all.last_mut() {
            Some(last) if last.len() < OPENED_AT_ONCE && bytes <= OPENED_BYTES_AT_ONCE => last.push((at, body)),
            Some(_) | None => {
                bytes = sealed.len();
                all.push(vec![(at, body)]);
            }
        }
    }
    all
}
