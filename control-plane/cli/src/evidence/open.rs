//! `agentgate evidence open`: a sealed pack as an ordinary one. Only the control plane has the keys; what was erased since then
//! is said to be erased.

use super::files;
use super::pack::{Body, Pack};
use crate::client::{Client, Connection};
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use agentgate_proto::v1;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Bodies that are opened in one question; the control plane opens no more.
const OPENED_AT_ONCE: usize = 64;

/// Bytes of sealed bodies in one question, unless a single one has more.
const OPENED_BYTES_AT_ONCE: usize = 1 << 20;

#[derive(Debug, Args)]
pub struct Arguments {
    /// A pack that was written with --sealed, or one of an archive
    #[arg(value_name = "PACK")]
    pack: PathBuf,
    /// Where to; a new or empty directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let out = arguments.out.as_path();
    files::is_free(out)?;
    let path = arguments.pack.join(files::PACK_FILE);
    let bytes = files::file(&arguments.pack, files::PACK_FILE).map_err(|error| Failure::new(Exit::Local, error))?;
    let (mut pack, _) = Pack::read(&path, &bytes).map_err(|error| Failure::new(Exit::Local, error))?;
    if !pack.is_sealed() {
        let open = format!("{} holds no body that is sealed", arguments.pack.display());
        return Err(Failure::new(Exit::Refused, open).then("read it as it is"));
    }
    let client = Client::connect(&arguments.connection).await?;
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
    files::write(&pack, out, &client).await?;
    let at = out.display();
    let said = format!("Opened {opened} bodies into {at}; {erased} were erased\n");
    desk.answer(|_| said, || json!({ "out": at.to_string(), "opened": opened, "erased": erased }))
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
