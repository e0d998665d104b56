//! `agentgate evidence policy`: the policies of a pack as the folders that they were, for somebody to read. Each is what its digest
//! says, or nothing is written; whether a decision of the pack names that digest is for `agentgate verify`. It asks nobody, and
//! writes over nothing.

use super::places::{self, Places, local, unwritten};
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use crate::pack::files;
use crate::text::hex;
use agentgate_policies::Bundle;
use serde_json::{Value, json};
use std::path::Path;

const VERIFY: &str = "`agentgate verify` says all that is wrong with the pack";

/// One policy's files, below the directory of its digest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) digest: String,
    pub(super) files: Vec<String>,
}

pub(super) fn run(arguments: &Places, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let written = write(&arguments.pack, &arguments.out)?;
    let out = arguments.out.display().to_string();
    let json = || json!({ "out": out, "policies": written.iter().map(Written::to_json).collect::<Vec<_>>() });
    desk.answer(|_| render(&written, &out), json)
}

/// Nothing is written before all of it is known to be what it says.
pub(super) fn write(directory: &Path, out: &Path) -> Result<Vec<Written>, Failure> {
    places::is_free(out)?;
    let pack = files::pack(directory).map_err(local)?;
    if pack.bundles.is_empty() {
        let said = format!("the pack in {} holds no policy", directory.display());
        return Err(Failure::new(Exit::Refused, said).then("name a pack with calls in it: it has the policies that decided them"));
    }
    let bundles = pack.bundles.iter().map(|(digest, content)| bundle(digest, content)).collect::<Result<Vec<_>, _>>()?;
    let failed = |error| unwritten(out, error);
    let mut all = Vec::new();
    for (digest, bundle) in bundles {
        let mut files = Vec::new();
        for file in bundle.files() {
            let path = out.join(&digest).join(&file.path);
            path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
            std::fs::write(&path, &file.bytes).map_err(failed)?;
            files.push(file.path.clone());
        }
        all.push(Written { digest, files });
    }
    Ok(all)
}

/// The policy that has this digest.
fn bundle(digest: &[u8], content: &[u8]) -> Result<(String, Bundle), Failure> {
    let named = hex(digest);
    let bundle = Bundle::from_bytes(content).map_err(|error| {
        Failure::new(Exit::Refused, format!("the policy {named} cannot be read: no policy was written"))
            .because(error)
            .then(VERIFY)
    })?;
    if bundle.digest().as_bytes().as_slice() != digest {
        let said = format!("the policy {named} is another one: no policy was written");
        return Err(Failure::new(Exit::Refused, said).then(VERIFY));
    }
    Ok((named, bundle))
}

fn render(written: &[Written], out: &str) -> String {
    let mut text = String::new();
    for Written { digest, files } in written {
        text += &format!("{out}/{digest}\n");
        text.extend(files.iter().map(|file| format!("  {file}\n")));
    }
    text + "Each is what its digest says; `agentgate verify` says whether the pack holds\n"
}

// === impl Written ===

impl Written {
    fn to_json(&self) -> Value {
        json!({ "digest": self.digest, "files": self.files })
    }
}
